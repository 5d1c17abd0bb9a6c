//! The WebDAV store met by curl: its methods, both ways of taking uploads, its journal and its faults.

#[allow(dead_code, reason = "every test file uses a part of it")]
mod curl;

use act_sandbox::front::{Fault, Kind};
use act_sandbox::pki::ServerCert;
use act_sandbox::webdav::{Behaviour, Options, WebDav};
use curl::{Answer, Curl, Grid};

async fn start(grid: &Grid, behaviour: Behaviour) -> WebDav {
    let options = Options { behaviour, ..Options::new(grid.dir.path().join("dav")) };
    WebDav::start(&options, &grid.pki).await.expect("a store")
}

fn fault(method: &str, at: &str, kind: Kind) -> Fault {
    Fault { method: Some(method.into()), path: None, at: Some(at.into()), skip: 0, count: Some(1), fault: kind }
}

/// curl that waits with the body until it is told to go on, and for long.
fn patient(curl: Curl) -> Curl {
    curl.args(["-H", "Expect: 100-continue", "--expect100-timeout", "30"])
}

/// A body of more than a few buffers.
fn body() -> Vec<u8> {
    (0..700_000_u32).map(|n| (n / 7) as u8).collect()
}

fn place(answer: &Answer) -> String {
    answer.header("location").expect("a location").to_owned()
}

#[tokio::test]
async fn directories_and_files_come_and_go() {
    let grid = Grid::new();
    let dav = start(&grid, Behaviour::Plain).await;
    let url = dav.url();
    assert_eq!(grid.curl().method("MKCOL", &format!("{url}/36/sub")).await.status, 409);
    assert_eq!(grid.curl().method("MKCOL", &format!("{url}/36")).await.status, 201);
    assert_eq!(grid.curl().method("MKCOL", &format!("{url}/36/")).await.status, 405);
    assert_eq!(grid.curl().method("MKCOL", &format!("{url}/36/sub/")).await.status, 201);
    assert_eq!(grid.curl().put(&format!("{url}/37/in.txt"), b"x").await.status, 409);
    assert_eq!(grid.curl().put(&format!("{url}/36"), b"x").await.status, 409);
    let body = body();
    assert_eq!(patient(grid.curl()).put(&format!("{url}/36/in.txt"), &body).await.status, 201);
    assert_eq!(grid.curl().put_chunked(&format!("{url}/36/sub/empty"), b"").await.status, 201);
    assert_eq!(grid.curl().put(&format!("{url}/36/in.txt/x"), b"").await.status, 409);
    assert_eq!(dav.contents().expect("a list"), ["36/", "36/in.txt", "36/sub/", "36/sub/empty"]);

    let whole = grid.curl().get(&format!("{url}/36/in.txt")).await;
    assert!(whole.status == 200 && whole.body == body);
    let part = grid.curl().args(["-r", "699990-"]).get(&format!("{url}/36/in.txt")).await;
    assert_eq!((part.status, &part.body[..]), (206, &body[699_990..]));
    assert_eq!(part.header("content-range"), Some("bytes 699990-699999/700000"));
    let head = grid.curl().head(&format!("{url}/36/in.txt")).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("700000")));
    assert_eq!(grid.curl().get(&format!("{url}/36/none")).await.status, 404);

    assert_eq!(grid.curl().method("DELETE", &format!("{url}/36/sub/empty")).await.status, 204);
    assert_eq!(grid.curl().method("DELETE", &format!("{url}/36")).await.status, 204);
    assert_eq!(grid.curl().method("DELETE", &format!("{url}/36")).await.status, 404);
    assert_eq!(grid.curl().method("DELETE", &format!("{url}/")).await.status, 403);
    assert_eq!(dav.contents().expect("a list"), [""; 0]);
    assert_eq!(grid.curl().method("COPY", &url).await.status, 405);
    let options = grid.curl().method("OPTIONS", &url).await;
    assert_eq!((options.status, options.header("dav")), (200, Some("1")));
}

#[tokio::test]
async fn only_a_server_like_apache_tells_a_replaced_file_from_a_new_one() {
    for (behaviour, replaced) in
        [(Behaviour::Plain, 201), (Behaviour::Apache, 204), (Behaviour::Dcache { pool_tls: false }, 201)]
    {
        let grid = Grid::new();
        let dav = start(&grid, behaviour).await;
        let url = format!("{}/a", dav.url());
        let hasty = || grid.curl().args(["-H", "Expect:"]);
        assert_eq!(hasty().put(&url, b"one").await.status, 201);
        assert_eq!(hasty().put(&url, b"two").await.status, replaced, "{behaviour:?}");
        assert_eq!(grid.curl().get(&url).await.text(), "two");
    }
}

#[tokio::test]
async fn properties_are_listed_to_depth_one() {
    let grid = Grid::new();
    let dav = start(&grid, Behaviour::Plain).await;
    let url = dav.url();
    grid.curl().method("MKCOL", &format!("{url}/7")).await;
    grid.curl().put(&format!("{url}/7/a%20%26b"), b"four").await;
    let find = async |depth: &str, path: &str| {
        let curl = grid.curl().args(["-H", &format!("Depth: {depth}")]);
        curl.method("PROPFIND", &format!("{url}{path}")).await
    };
    let own = find("0", "/7").await;
    assert_eq!(own.status, 207);
    assert_eq!(own.text().matches("<D:href>").count(), 1, "{}", own.text());
    assert!(own.text().contains("<D:href>/dav/7/</D:href>"), "{}", own.text());
    assert!(own.text().contains("<D:collection/>"), "{}", own.text());
    let all = find("1", "/7/").await;
    assert!(all.text().contains("<D:href>/dav/7/a%20%26b</D:href>"), "{}", all.text());
    assert!(all.text().contains("<D:getcontentlength>4</D:getcontentlength>"), "{}", all.text());
    assert_eq!(find("infinity", "/7").await.status, 403);
    assert_eq!(find("1", "/8").await.status, 404);
}

#[tokio::test]
async fn no_path_leads_out_of_the_store() {
    let grid = Grid::new();
    let dav = start(&grid, Behaviour::Plain).await;
    let url = dav.url();
    for path in ["/../x", "/%2e%2e/x", "/..%2fx", "/a/../../x", "/%00", "/./x"] {
        let answer = grid.curl().args(["--path-as-is"]).put(&format!("{url}{path}"), b"x").await;
        assert_eq!(answer.status, 400, "{path}");
    }
    let outside = url.replace("/dav", "/elsewhere");
    assert_eq!(grid.curl().put(&outside, b"x").await.status, 404);
    assert_eq!(grid.curl().put(&format!("{url}x"), b"x").await.status, 404);
    assert_eq!(grid.curl().put(&format!("{url}/{}", "n".repeat(300)), b"x").await.status, 400);
    for name in ["%C3%A5%20%3F%23%25.txt", "a+b"] {
        assert_eq!(grid.curl().put(&format!("{url}/{name}"), b"x").await.status, 201);
    }
    assert_eq!(dav.contents().expect("a list"), ["a+b", "å ?#%.txt"]);
}

#[tokio::test]
async fn the_door_of_dcache_sends_an_upload_to_its_pool_without_taking_the_body() {
    for pool_tls in [false, true] {
        let grid = Grid::new();
        let dav = start(&grid, Behaviour::Dcache { pool_tls }).await;
        let url = format!("{}/in.txt", dav.url());
        let body = body();
        let sent_on = patient(grid.curl()).put(&url, &body).await;
        assert_eq!(sent_on.status, 307);
        assert!(!sent_on.head.contains("100 Continue"), "{}", sent_on.head);
        let pool = place(&sent_on);
        assert!(pool.starts_with(if pool_tls { "https://localhost:" } else { "http://0.0.0.0:" }), "{pool}");
        assert_eq!(dav.contents().expect("a list"), [""; 0]);

        // The pool wants no certificate, and its key is good for one try.
        assert_eq!(grid.anonymous_curl().put_chunked(&pool, &body).await.status, 201);
        assert_eq!(grid.anonymous_curl().put_chunked(&pool, b"other").await.status, 400);
        let forged = pool.replace("uuid=", "uuid=x");
        assert_eq!(grid.anonymous_curl().put(&forged, b"other").await.status, 400);
        assert!(grid.curl().get(&url).await.body == body);

        // The whole of it in one go, by a client that follows.
        let followed = patient(grid.curl()).args(["-L"]).put(&url, b"new").await;
        assert_eq!((followed.status, grid.curl().get(&url).await.text()), (201, "new".into()));

        let journal = dav.front().journal();
        let first = &journal[0];
        assert_eq!((first.at, first.status, first.expect, first.received), ("door", Some(307), true, 0));
        assert_eq!(first.dn.as_deref(), Some(grid.proxy.dn.as_str()));
        let second = &journal[1];
        assert_eq!((second.at, second.status, second.received), ("pool", Some(201), 700_000));
        assert_eq!((second.dn.as_deref(), second.path.as_str()), (None, "/dav/in.txt"));
    }
}

/// The Python client asks with an empty PUT whether it will be redirected, then sends the file in chunks, and names the
/// whole URL as the target of each request.
#[tokio::test]
async fn both_kinds_take_what_the_python_client_sends() {
    for behaviour in [Behaviour::Plain, Behaviour::Dcache { pool_tls: true }, Behaviour::Dcache { pool_tls: false }] {
        let grid = Grid::new();
        let dav = start(&grid, behaviour).await;
        let dir = format!("{}/36", dav.url());
        let file = format!("{dir}/in.txt");
        let at = |url: &str| grid.curl().args(["--request-target", url]);
        assert_eq!(at(&dir).method("MKCOL", &dir).await.status, 201);
        let asked =
            at(&file).args(["-H", "Expect: 100-continue", "-H", "Content-Length: 0"]).method("PUT", &file).await;
        let stored = match behaviour {
            Behaviour::Plain => {
                assert_eq!(asked.status, 201);
                at(&file).args(["-H", "Expect:"]).put_chunked(&file, b"content").await
            }
            _ => {
                assert_eq!(asked.status, 307, "{asked:?}");
                grid.anonymous_curl().args(["-H", "Expect:"]).put_chunked(&place(&asked), b"content").await
            }
        };
        assert_eq!(stored.status, 201);
        assert_eq!(grid.curl().get(&file).await.text(), "content");
        assert_eq!(at(&dir).method("DELETE", &dir).await.status, 204);
    }
}

#[tokio::test]
async fn strangers_get_nothing_and_leave_no_trace() {
    let grid = Grid::new();
    let stranger = Grid::new();
    let dav = start(&grid, Behaviour::Plain).await;
    let url = dav.url();
    let theirs = stranger.curl().args(["-k"]).method("MKCOL", &format!("{url}/1")).await;
    assert_eq!((theirs.code, theirs.status), (56, 0));
    let nobodys = grid.anonymous_curl().method("MKCOL", &format!("{url}/1")).await;
    assert_eq!((nobodys.code, nobodys.status), (56, 0));
    assert!(dav.front().journal().is_empty() && dav.contents().expect("a list").is_empty());

    let leak = grid.curl().args(["-H", "Authorization: Bearer x"]).method("MKCOL", &format!("{url}/1")).await;
    assert_eq!(leak.status, 201);
    let [seen] = &dav.front().journal()[..] else { panic!("{:?}", dav.front().journal()) };
    assert!(seen.authorization && seen.method == "MKCOL" && seen.path == "/dav/1" && seen.status == Some(201));

    let options = Options { server_cert: ServerCert::Expired, ..Options::new(grid.dir.path().join("other")) };
    let old = WebDav::start(&options, &grid.pki).await.expect("a store");
    assert_eq!(grid.curl().get(&old.url()).await.code, 60);
}

#[tokio::test]
async fn faults_hit_what_they_name_and_then_are_used_up() {
    let grid = Grid::new();
    let dav = start(&grid, Behaviour::Plain).await;
    let url = format!("{}/f", dav.url());
    let front = dav.front();
    let body = body();

    front.add_fault(fault("PUT", "door", Kind::Status { status: 503, execute: false }));
    assert_eq!(grid.curl().put(&url, &body).await.status, 503);
    assert!(dav.contents().expect("a list").is_empty());

    front.add_fault(fault("PUT", "door", Kind::Reset { execute: false, after_bytes: Some(100_000) }));
    let cut = grid.curl().put(&url, &body).await;
    assert_ne!(cut.code, 0, "{cut:?}");
    assert!(dav.contents().expect("a list").is_empty());
    let cut = front.journal().pop().expect("a request");
    assert!(cut.status.is_none() && (100_000..700_000).contains(&cut.received), "{cut:?}");

    front.add_fault(fault("PUT", "door", Kind::Reset { execute: true, after_bytes: None }));
    let lost = grid.curl().put(&url, &body).await;
    assert_eq!((lost.code, lost.status), (56, 100), "only the interim answer came: {lost:?}");
    assert_eq!(dav.contents().expect("a list"), ["f"]);

    front.add_fault(fault("GET", "door", Kind::Truncate { bytes: 1000 }));
    let short = grid.curl().get(&url).await;
    assert!(short.code != 0 && short.body == body[..1000], "{} {}", short.code, short.body.len());
    assert_eq!(short.header("content-length"), Some("700000"));

    front.add_fault(fault("PUT", "door", Kind::StorePart { bytes: 10 }));
    assert_eq!(grid.curl().put(&url, &body).await.status, 201);
    assert_eq!(grid.curl().get(&url).await.body, body[..10]);

    front.add_fault(fault("GET", "door", Kind::Stall));
    assert_eq!(grid.curl().args(["--max-time", "1"]).get(&url).await.code, 28);

    front.add_fault(Fault { skip: 1, ..fault("DELETE", "door", Kind::Status { status: 500, execute: true }) });
    assert_eq!(grid.curl().method("DELETE", &format!("{url}x")).await.status, 404);
    assert_eq!(grid.curl().method("DELETE", &url).await.status, 500);
    assert!(dav.contents().expect("a list").is_empty());
    assert_eq!(grid.curl().put(&url, &body).await.status, 201);
    let kinds: Vec<_> = front.journal().into_iter().filter_map(|seen| seen.fault).collect();
    assert_eq!(kinds, ["status", "reset", "reset", "truncate", "store_part", "stall", "status"]);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_leaves_nothing() {
    let grid = Grid::new();
    let dav = start(&grid, Behaviour::Plain).await;
    let url = format!("{}/f", dav.url());
    assert_eq!(grid.curl().put(&url, b"before").await.status, 201);
    let slow = grid.curl().args(["--limit-rate", "50k", "--max-time", "1"]);
    let gone = slow.put(&url, &body()).await;
    assert_eq!(gone.code, 28, "{gone:?}");
    assert_eq!(grid.curl().get(&url).await.text(), "before");
    dav.stop().await;
    let left = std::fs::read_dir(grid.dir.path().join("dav/parts")).expect("a directory").count();
    assert_eq!(left, 0);
}
