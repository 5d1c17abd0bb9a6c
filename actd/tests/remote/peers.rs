//! Servers that we did not write: Apache's mod_dav and ARC's A-REX. They must be installed, so these tests are behind the
//! feature `peers`, which `.ci/run` sets.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use actd::remote::arex::{ArexClient, ArexJob};
use actd::remote::{FileRange, Timeouts};
use url::Url;

use crate::harness::Sandbox;
use crate::staging::stage;

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

/// A real Apache with mod_dav.
#[tokio::test(flavor = "multi_thread")]
async fn staging_on_apache() {
    let sandbox = Sandbox::start(&[]).await;
    let peer = Peer::start("apache-dav.sh", &sandbox).await;
    stage(&peer.url, &sandbox.proxy(), &sandbox.trust(), &sandbox.path("")).await;
}

/// A real A-REX, which takes half a minute to start.
#[tokio::test(flavor = "multi_thread")]
async fn session_files_on_arex() {
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
