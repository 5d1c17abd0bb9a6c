//! WebDAV stores of several kinds, Apache's among them, and the session directory on a CE.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use actd::auth::{Proxy, Trust};
use actd::remote::act::Column;
use actd::remote::arex::{ArexClient, ArexJob};
use actd::remote::webdav::{Deleted, Made, WebdavClient, WebdavOptions, below};
use actd::remote::{AuthReason, ErrorClass, FileRange, Ids, Timeouts};
use url::Url;

use crate::harness::{Sandbox, input, submit, wait_for};

/// What a job's staging does, on any store. `dir` is for our files.
async fn stage(base: &Url, proxy: &Proxy, trust: &Trust, dir: &Path) {
    let identity = trust.connector(Some(proxy)).expect("tls");
    let anonymous = || trust.connector(None).expect("tls");
    let client = WebdavClient::new(identity, anonymous(), WebdavOptions::default()).expect("client");
    let at = |relative: &str| below(base, relative).expect("url");
    assert_eq!(client.mkcol(&at("7")).await.expect("mkcol"), Made::Created);
    assert_eq!(client.mkcol(&at("7")).await.expect("again"), Made::Existed);
    assert!(client.mkcol(&at("8/9")).await.is_err(), "the parent is missing");
    let content = vec![3; 2_000_000];
    let file = input(&dir.join("in"), &content).await;
    client.put(&at("7/a b.txt"), &file, None).await.expect("put");
    client.put(&at("7/a b.txt"), &file, None).await.expect("put again");
    let stat = client.stat(&at("7/a b.txt")).await.expect("stat").expect("there");
    assert_eq!((stat.size, stat.is_dir), (Some(2_000_000), Some(false)));
    client.put(&at("7/empty"), &input(&dir.join("none"), b"").await, None).await.expect("an empty file");
    assert_eq!(client.stat(&at("7")).await.expect("stat").and_then(|s| s.is_dir), Some(true));
    assert!(client.mkcol(&at("7/empty")).await.is_err(), "a file is in the way");
    assert_eq!(client.delete(&at("7")).await.expect("delete"), Deleted::Deleted);
    assert_eq!(client.delete(&at("7")).await.expect("again"), Deleted::WasAbsent);
    assert_eq!(client.stat(&at("7")).await.expect("stat"), None);

    let nobody = WebdavClient::new(anonymous(), anonymous(), WebdavOptions::default()).expect("client");
    let error = nobody.mkcol(&at("9")).await.expect_err("no certificate");
    assert_eq!(error.class(), &ErrorClass::Auth { reason: AuthReason::Missing }, "{error}");
}

async fn staging(behaviour: &str) {
    let sandbox = Sandbox::start(&["--webdav", behaviour]).await;
    let base = Url::parse(sandbox.text("webdav")).expect("url");
    stage(&base, &sandbox.proxy(), &sandbox.trust(), &sandbox.path("")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn staging_on_a_plain_store() {
    staging("plain").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn staging_on_a_store_like_apache() {
    staging("apache").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn staging_on_a_store_like_dcache() {
    staging("dcache").await;
}

/// A server that we did not write, run by a script of `tests/peers` with the sandbox's PKI; stopped on drop.
struct Peer {
    url: Url,
    script: PathBuf,
    dir: tempfile::TempDir,
}

impl Peer {
    async fn start(script: &str, sandbox: &Sandbox) -> Self {
        // Peers serve as users of their own: the ways to their directory and the PKI must be open.
        let dir = tempfile::Builder::new().prefix("remote-peer-").tempdir().expect("dir");
        for open in [dir.path(), &sandbox.path(""), &sandbox.path("sandbox"), &sandbox.path("sandbox/pki")] {
            std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        }
        let script = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/peers")).join(script);
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("bind");
        let port = free.local_addr().expect("address").port().to_string();
        drop(free);
        let mut start = tokio::process::Command::new(&script);
        start.arg("start").arg(dir.path().join("peer")).arg(sandbox.path("sandbox/pki")).arg(port);
        let output = start.output().await.expect("the peer's script");
        assert!(output.status.success(), "{output:?}");
        let url = Url::parse(String::from_utf8(output.stdout).expect("text").trim()).expect("url");
        Self { url, script, dir }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let stopped = std::process::Command::new(&self.script).arg("stop").arg(self.dir.path().join("peer")).status();
        stopped.expect("the peer's script");
    }
}

/// A real Apache with mod_dav. Not every machine has one: without it the test does nothing, unless the environment
/// says by ACTD_TEST_PEERS=1, as continuous integration does, that it must be there.
#[tokio::test(flavor = "multi_thread")]
async fn staging_on_apache() {
    if std::env::var_os("ACTD_TEST_PEERS").is_none() && !Path::new("/usr/sbin/apache2").exists() {
        eprintln!("apache2 is not installed: nothing was tested");
        return;
    }
    let sandbox = Sandbox::start(&[]).await;
    let peer = Peer::start("apache-dav.sh", &sandbox).await;
    stage(&peer.url, &sandbox.proxy(), &sandbox.trust(), &sandbox.path("")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn session_files_of_a_running_job() {
    let sandbox = Sandbox::start(&[]).await;
    let client = sandbox.user().await;
    let script = b"#!/bin/sh\necho first\nexec sleep 600\n";
    let xrsl = r#"&(executable="run.sh")(inputfiles=("run.sh" ""))(stdout="out.txt")"#;
    let id = submit(&client, &sandbox, xrsl, &[("run.sh", script)]).await;
    wait_for(&client, id, &["running"]).await;
    let listing = client.list(Column::POLL).await.expect("list");
    let row = listing.rows.iter().find(|row| row.id == id).expect("row");
    let job = ArexJob::from_job_id(row.job_id.as_deref().expect("JobID")).expect("a CE's URL");
    let cluster = Url::parse(&sandbox.cluster()[0]).expect("url");
    assert_eq!(ArexJob::new(&cluster, job.id()).as_ref(), Some(&job));

    let identity = sandbox.trust().connector(Some(&sandbox.proxy())).expect("tls");
    let ce = ArexClient::new(identity, Timeouts::default()).expect("client");
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut interval = tokio::time::interval(Duration::from_millis(50));
    let text = loop {
        interval.tick().await;
        let mut text = Vec::new();
        if let Some(mut file) = ce.file(&job, "out.txt", &FileRange::default()).await.expect("file") {
            while let Some(chunk) = file.chunk().await.expect("chunk") {
                text.extend_from_slice(&chunk);
            }
        }
        if !text.is_empty() || Instant::now() > deadline {
            break text;
        }
    };
    assert_eq!(text, b"first\n");
    let from = FileRange { offset: 2, ..FileRange::default() };
    let mut tail = ce.file(&job, "out.txt", &from).await.expect("file").expect("there");
    assert_eq!(tail.chunk().await.expect("chunk").as_deref(), Some(&b"rst\n"[..]));
    let beyond = FileRange { offset: 6, ..FileRange::default() };
    assert!(ce.file(&job, "out.txt", &beyond).await.expect("file").is_none(), "nothing new yet");
    assert!(ce.file(&job, "absent", &FileRange::default()).await.expect("file").is_none());
    let names = ce.list(&job, "").await.expect("list").expect("session");
    assert!(names.iter().any(|e| e.name == "out.txt" && !e.is_dir), "{names:?}");
    client.cancel(&Ids::one(id)).await.expect("cancel");
}

/// A real A-REX, which takes half a minute to start: only where the environment asks for peers (ACTD_TEST_PEERS=1).
#[tokio::test(flavor = "multi_thread")]
async fn session_files_on_arex() {
    if std::env::var_os("ACTD_TEST_PEERS").is_none() {
        eprintln!("ACTD_TEST_PEERS is not set: nothing was tested");
        return;
    }
    let sandbox = Sandbox::start(&[]).await;
    let peer = Peer::start("arex.sh", &sandbox).await;
    let xrsl = r#"&(executable="/bin/sh")(stdout="out.txt")(queue="fork")
(arguments="-c" "echo first; mkdir -p one/two none; touch one/two/zero one/ø#%41; sleep 600")"#;
    let jobs = format!("{}/rest/1.0/jobs?action=new", peer.url);
    let mut curl = tokio::process::Command::new("curl");
    curl.args(["-q", "-sS", "--noproxy", "*", "-H", "Content-Type: application/rsl", "-H", "Accept: application/json"]);
    curl.args(["--cacert", sandbox.text("ca_file"), "--cert", sandbox.text("proxy"), "--key", sandbox.text("proxy")]);
    let output = curl.args(["--data-binary", xrsl, &jobs]).output().await.expect("curl");
    let answer: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    let id = answer["job"]["id"].as_str().unwrap_or_else(|| panic!("{answer}"));
    let job = ArexJob::new(&peer.url, id).expect("job");

    let identity = sandbox.trust().connector(Some(&sandbox.proxy())).expect("tls");
    let ce = ArexClient::new(identity, Timeouts::default()).expect("client");
    let list = async |dir: &str| -> Option<Vec<(String, bool)>> {
        let entries = ce.list(&job, dir).await.expect("list")?;
        let mut names: Vec<_> = entries.into_iter().map(|e| (e.name, e.is_dir)).collect();
        names.sort();
        Some(names)
    };
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut interval = tokio::time::interval(Duration::from_millis(500));
    let one = loop {
        interval.tick().await;
        let one = list("one").await.unwrap_or_default();
        if one.len() == 2 || Instant::now() > deadline {
            break one;
        }
    };
    assert_eq!(one, [("two".to_owned(), true), ("ø#%41".to_owned(), false)]);
    assert_eq!(list("one/two").await, Some(vec![("zero".to_owned(), false)]));
    assert_eq!(list("none").await, Some(vec![]), "an empty directory");
    assert_eq!(list("absent").await, None);
    let read = async |name: &str, offset: u64| -> Option<Vec<u8>> {
        let range = FileRange { offset, ..FileRange::default() };
        let mut file = ce.file(&job, name, &range).await.expect("file")?;
        let mut content = Vec::new();
        while let Some(chunk) = file.chunk().await.expect("chunk") {
            content.extend_from_slice(&chunk);
        }
        Some(content)
    };
    assert_eq!(read("out.txt", 0).await.as_deref(), Some(&b"first\n"[..]));
    assert_eq!(read("out.txt", 2).await.as_deref(), Some(&b"rst\n"[..]));
    assert_eq!(read("out.txt", 6).await, None, "nothing new yet");
    assert_eq!(read("one/two/zero", 0).await.as_deref(), Some(&b""[..]), "an empty file");
    assert_eq!(read("one/ø#%41", 0).await.as_deref(), Some(&b""[..]));
    assert_eq!(read("absent", 0).await, None);
}
