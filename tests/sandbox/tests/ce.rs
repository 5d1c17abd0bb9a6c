//! The CE's session files met by curl. What is expected was seen on a real A-REX 6.17.

#[allow(dead_code, reason = "every test file uses a part of it")]
mod curl;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;

use act_sandbox::ce::{Ce, Options, Session, SessionView};
use act_sandbox::front::{Fault, Kind};
use act_sandbox::pki::ProxyOptions;
use curl::{Grid, text};

/// One job, of the usual user.
struct OneJob {
    dir: PathBuf,
    owner: String,
}

impl SessionView for OneJob {
    fn session(&self, id: &str) -> Option<Session> {
        (id == "abc").then(|| Session { dir: self.dir.clone(), owner: self.owner.clone() })
    }
}

async fn start(grid: &Grid) -> (Ce, PathBuf, String) {
    let dir = grid.dir.path().join("session");
    fs::create_dir_all(dir.join("sub/deep")).expect("a directory");
    fs::create_dir(dir.join("none")).expect("a directory");
    fs::write(dir.join("out.txt"), "out\n").expect("written");
    fs::write(dir.join("sub/f"), "hi\n").expect("written");
    fs::write(dir.join("empty"), "").expect("written");
    let job = OneJob { dir: dir.clone(), owner: grid.proxy.dn.clone() };
    let ce = Ce::start(&Options::default(), &grid.pki, Arc::new(job)).await.expect("a CE");
    let url = format!("{}/rest/1.0/jobs/abc/session", ce.url());
    (ce, dir, url)
}

#[tokio::test]
async fn the_owner_reads_files_whole_and_in_part() {
    let grid = Grid::new();
    let (_ce, dir, url) = start(&grid).await;
    let file = format!("{url}/out.txt");
    let whole = grid.curl().get(&file).await;
    assert_eq!((whole.status, whole.text().as_str()), (200, "out\n"));
    assert_eq!(whole.header("content-type"), Some("application/octet-stream"));
    assert_eq!((whole.header("etag"), whole.header("last-modified")), (None, None));
    let head = grid.curl().head(&file).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("4")));
    for (range, status, body, content_range) in [
        ("0-2", 206, "out", Some("bytes 0-2/4")),
        ("2-", 206, "t\n", Some("bytes 2-3/4")),
        ("1-99", 206, "ut\n", Some("bytes 1-3/4")),
        ("0-0,2-3", 206, "o", Some("bytes 0-0/4")),
        ("-2", 200, "out\n", None),
        ("4-", 416, "", Some("bytes */4")),
        ("3-1", 416, "", Some("bytes */4")),
    ] {
        let part = grid.curl().args(["-r", range]).get(&file).await;
        assert_eq!((part.status, part.text().as_str(), part.header("content-range")), (status, body, content_range));
    }
    let empty = grid.curl().args(["-r", "0-"]).get(&format!("{url}/empty")).await;
    assert_eq!((empty.status, empty.body.len(), empty.header("transfer-encoding")), (200, 0, Some("chunked")));
    fs::write(dir.join("å %#?.txt"), "x").expect("written");
    assert_eq!(grid.curl().get(&format!("{url}/%C3%A5%20%25%23%3F.txt")).await.text(), "x");
    for same in ["//out.txt", "/out.txt/"] {
        assert_eq!(grid.curl().get(&format!("{url}{same}")).await.text(), "out\n", "{same}");
    }
}

#[tokio::test]
async fn directories_are_listed_in_three_forms() {
    let grid = Grid::new();
    let (_ce, dir, url) = start(&grid).await;
    let list = async |accept: &str, path: &str| {
        let curl = grid.curl().args(["-H", &format!("Accept: {accept}")]);
        curl.get(&format!("{url}{path}")).await
    };
    let all: serde_json::Value = serde_json::from_slice(&list("application/json", "").await.body).expect("JSON");
    let sorted = |key: &str| {
        let mut names: Vec<&str> =
            all[key].as_array().expect("a list").iter().filter_map(|name| name.as_str()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!((sorted("file"), sorted("dir")), (vec!["empty", "out.txt"], vec!["none", "sub"]));
    // One name is no list, and nothing is no JSON.
    assert_eq!(list("application/json", "/sub/").await.text(), r#"{"file":"f","dir":"deep"}"#);
    let nothing = list("application/json", "/none").await;
    assert_eq!((nothing.status, nothing.text().as_str()), (200, ""));
    assert_eq!(
        list("text/xml", "/sub").await.text(),
        "<list>\n  <file size=\"3\">f</file>\n  <dir>deep</dir>\n</list>\n"
    );
    assert_eq!(list("application/xml", "/none").await.text(), "<list/>");
    let html = list("*/*", "/sub").await;
    assert!(html.text().contains("<tr><td>file</td><td>f</td></tr>"), "{}", html.text());
    assert_eq!(html.header("content-type"), None);
    fs::write(dir.join("sub/deep/a<&\"b"), "").expect("written");
    assert_eq!(list("application/json", "/sub/deep").await.text(), r#"{"file":"a<&\"b"}"#);
    assert!(list("application/xml", "/sub/deep").await.text().contains(">a&lt;&amp;\"b<"));
}

#[tokio::test]
async fn others_see_nothing_and_nobody_leaves_the_directory() {
    let grid = Grid::new();
    let (ce, dir, url) = start(&grid).await;
    let other = grid.pki.proxy(&ProxyOptions::of("Other")).expect("a proxy");
    for curl in [grid.anonymous_curl(), grid.anonymous_curl().args(["--cert", text(&other.path)])] {
        assert_eq!(curl.get(&format!("{url}/out.txt")).await.status, 404);
    }
    let deeper = grid.pki.proxy(&ProxyOptions::default().levels(2)).expect("a proxy");
    let same_person = grid.anonymous_curl().args(["--cert", text(&deeper.path)]);
    assert_eq!(same_person.get(&format!("{url}/out.txt")).await.status, 200);

    fs::write(grid.dir.path().join("secret"), "secret").expect("written");
    symlink("../secret", dir.join("out")).expect("a link");
    symlink("nowhere", dir.join("dangling")).expect("a link");
    symlink("out.txt", dir.join("inside")).expect("a link");
    assert_eq!(grid.curl().get(&format!("{url}/inside")).await.text(), "out\n");
    for path in ["/out", "/dangling", "/nosuch", "/../../secret", "/..%2fsecret", "/%2e%2e/secret", "/out.txt/x", "x"] {
        let answer = grid.curl().args(["--path-as-is"]).get(&format!("{url}{path}")).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    for path in ["/rest/1.0/jobs/nosuch/session/out.txt", "/rest/1.0/jobs/abc", "/rest/1.0/jobs/abc/", "/rest/1.0/info"]
    {
        assert_eq!(grid.curl().get(&format!("{}{path}", ce.url())).await.status, 404, "{path}");
    }
    assert_eq!(grid.curl().method("POST", &format!("{url}/out.txt")).await.status, 501);
    fs::remove_dir_all(&dir).expect("removed");
    assert_eq!(grid.curl().get(&format!("{url}/out.txt")).await.status, 404);
}

#[tokio::test]
async fn requests_are_noted_and_can_be_broken() {
    let grid = Grid::new();
    let (ce, dir, url) = start(&grid).await;
    fs::write(dir.join("big"), vec![7; 300_000]).expect("written");
    let once = |kind| Fault {
        method: None,
        path: Some("/session/big".into()),
        at: None,
        skip: 0,
        count: Some(1),
        fault: kind,
    };
    ce.front().add_fault(once(Kind::Truncate { bytes: 100_000 }));
    let cut = grid.curl().get(&format!("{url}/big")).await;
    assert!(cut.code != 0 && cut.body.len() == 100_000, "{} {}", cut.code, cut.body.len());
    ce.front().add_fault(once(Kind::Status { status: 500, execute: false }));
    assert_eq!(grid.curl().get(&format!("{url}/out.txt")).await.status, 200);
    assert_eq!(grid.curl().get(&format!("{url}/big")).await.status, 500);
    assert_eq!(grid.curl().get(&format!("{url}/big")).await.body.len(), 300_000);
    let journal = ce.front().journal();
    let seen: Vec<_> = journal.iter().map(|seen| (seen.method.as_str(), seen.status, seen.authorization)).collect();
    let [a, b, c, d] = [200, 200, 500, 200].map(|status| ("GET", Some(status), false));
    assert_eq!(seen, [a, b, c, d]);
    assert!(journal.iter().all(|seen| seen.dn.as_deref() == Some(grid.proxy.dn.as_str()) && seen.at == "ce"));
}
