//! WebDAV stores of several kinds, and the session directory on a CE.

use std::path::Path;
use std::time::{Duration, Instant};

use actd::auth::{Proxy, Trust};
use actd::remote::act::Column;
use actd::remote::arex::{ArexClient, ArexJob};
use actd::remote::webdav::{Deleted, Made, WebdavClient, WebdavOptions, below};
use actd::remote::{AuthReason, ErrorClass, FileRange, Ids, Timeouts};
use url::Url;

use crate::harness::{Sandbox, input, submit, wait_for};

/// What a job's staging does, on any store. `dir` is for our files.
pub(crate) async fn stage(base: &Url, proxy: &Proxy, trust: &Trust, dir: &Path) {
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
