//! The remote clients against the sandbox, a separate process that shares no type with them: delegation, a job's whole
//! life, staging, session files, and what is made of requests that go wrong.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use actd::auth::{Proxy, Token, Trust, delegate};
use actd::fsutil::{Dir, RelPath};
use actd::remote::act::{ActClient, ActOptions, Column, NoResults};
use actd::remote::arex::{ArexClient, ArexJob};
use actd::remote::webdav::{Deleted, Made, WebdavClient, WebdavOptions, below};
use actd::remote::{AuthReason, ErrorClass, FileRange, Ids, InputFile, RemoteError, Timeouts};
use actd::secret::Secret;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use url::Url;

/// Builds the sandbox (nothing to do if it is fresh), once per run, and gives its path.
async fn sandbox_binary() -> &'static Path {
    static BINARY: tokio::sync::OnceCell<PathBuf> = tokio::sync::OnceCell::const_new();
    BINARY.get_or_init(build_sandbox).await
}

async fn build_sandbox() -> PathBuf {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--package", "act-sandbox", "--bin", "act-sandbox", "--message-format=json"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stderr(Stdio::inherit())
        .output()
        .await
        .expect("cargo");
    assert!(output.status.success(), "the sandbox does not build");
    let messages = String::from_utf8(output.stdout).expect("text");
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let path = artifacts.filter_map(|m| m["executable"].as_str().map(PathBuf::from)).last();
    path.expect("cargo names the binary")
}

struct Sandbox {
    info: Value,
    dir: tempfile::TempDir,
    _child: Child,
}

impl Sandbox {
    async fn start(args: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("remote-").tempdir().expect("dir");
        let mut child = Command::new(sandbox_binary().await)
            .args(["serve", "--json", "--dir"])
            .arg(dir.path().join("sandbox"))
            .args(args)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("sandbox");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await;
        let line = line.expect("the sandbox is ready in time").expect("read").expect("a line");
        Self { info: serde_json::from_str(&line).expect("json"), dir, _child: child }
    }

    fn text(&self, key: &str) -> &str {
        self.info[key].as_str().unwrap_or_else(|| panic!("no {key} in {}", self.info))
    }

    fn proxy(&self) -> Proxy {
        Proxy::load(Path::new(self.text("proxy"))).expect("proxy")
    }

    fn trust(&self) -> Trust {
        Trust::new(Some(self.text("ca_dir").into()))
    }

    fn cluster(&self) -> Vec<String> {
        vec![self.info["clusters"][0].as_str().expect("cluster").to_owned()]
    }

    /// A client with short timeouts, without a token.
    fn client(&self) -> ActClient {
        let s = Duration::from_secs;
        let timeouts = Timeouts { connect: s(5), head: s(2), idle: s(2), total: s(30) };
        let tls = self.trust().connector(None).expect("tls");
        let options = ActOptions { timeouts, ..ActOptions::default() };
        ActClient::new(Url::parse(self.text("server")).expect("url"), None, tls, options).expect("client")
    }

    async fn user(&self) -> ActClient {
        let client = self.client();
        let token = delegate(&client, &self.proxy()).await.expect("delegate");
        client.with_token(Some(token.secret().clone()))
    }

    /// A request to the sandbox's own door, as curl would send it.
    async fn admin(&self, method: &str, path: &str, body: &Value) -> Value {
        let url = Url::parse(self.text("admin")).expect("url");
        let address = (url.host_str().expect("host").to_owned(), url.port().expect("port"));
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("connect");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await.expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        let (head, body) = answer.split_once("\r\n\r\n").expect("head");
        assert!(head.contains(" 20"), "{head}");
        serde_json::from_str(body).unwrap_or(Value::Null)
    }

    async fn fault(&self, fault: Value) {
        self.admin("POST", "/faults", &fault).await;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

async fn input(path: &Path, content: &[u8]) -> InputFile {
    tokio::fs::write(path, content).await.expect("write");
    InputFile::new(tokio::fs::File::open(path).await.expect("open"), content.len() as u64)
}

/// Waits until the job is in one of these states; the last one seen is in the panic.
async fn wait_for(client: &ActClient, id: u64, states: &[&str]) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut interval = tokio::time::interval(Duration::from_millis(50));
    loop {
        interval.tick().await;
        let listing = client.list(Column::POLL).await.expect("list");
        let row = listing.rows.into_iter().find(|row| row.id == id);
        let state = row.as_ref().and_then(|row| row.arcstate.clone()).unwrap_or_default();
        if states.contains(&state.as_str()) {
            return state;
        }
        assert!(Instant::now() < deadline, "job {id} is {row:?}, not {states:?}");
    }
}

async fn submit(client: &ActClient, sandbox: &Sandbox, xrsl: &str, inputs: &[(&str, &[u8])]) -> u64 {
    let id = *client.create(&[sandbox.cluster()]).await.expect("create")[0].as_ref().expect("id");
    for (name, content) in inputs {
        let path = sandbox.path(&format!("input-{}", name.replace('/', "_")));
        client.upload(id, name, input(&path, content).await, None).await.expect("upload");
    }
    let confirmed = client.confirm(&[(id, xrsl.to_owned())]).await.expect("confirm");
    confirmed[0].as_ref().expect("accepted");
    id
}

async fn read(client: &ActClient, id: u64, name: &str, range: &FileRange) -> Result<Vec<u8>, RemoteError> {
    let mut file = client.results_file(id, name, range).await?.expect("results");
    let mut content = Vec::new();
    while let Some(chunk) = file.chunk().await? {
        content.extend_from_slice(&chunk);
    }
    Ok(content)
}

const JOB: &str = r#"&(executable="run.sh")(arguments="one" "two")(inputfiles=("run.sh" "")("d/in.txt" ""))
(stdout="out.txt")(outputfiles=("sub/deep.txt" "")("empty" ""))(jobname="whole life")(gmlog="log")"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_whole_life() {
    let sandbox = Sandbox::start(&[]).await;
    let client = sandbox.client();
    let proxy = sandbox.proxy();
    let voms = proxy.voms().expect("a VOMS attribute");
    assert!(!voms.fqans.is_empty() && voms.expires > SystemTime::now(), "{voms:?}");
    assert!(proxy.dn().starts_with('/') && proxy.useful_until() > SystemTime::now());
    assert_eq!(client.info().await.expect_err("no token").class(), &ErrorClass::Auth { reason: AuthReason::Missing });

    let token = delegate(&client, &proxy).await.expect("delegate");
    let end = token.expires().expect("an end");
    assert!(end <= proxy.expires() && end > SystemTime::now());
    let path = sandbox.path("token");
    token.write(&path).expect("write");
    let token = Token::read(&path).expect("read").expect("token");
    let again = delegate(&client, &proxy).await.expect("delegate again");
    assert_eq!(again.proxyid(), token.proxyid(), "the same identity");
    let client = client.with_token(Some(token.secret().clone()));
    let info = client.info().await.expect("info");
    assert!(info.clusters.contains(&sandbox.cluster()[0]) && info.arc.iter().any(|c| c == "JobID"));

    let script: &[u8] = b"#!/bin/sh\necho \"$1-$2\"; cat in.txt 2>/dev/null || cat d/in.txt\nmkdir -p sub; echo deep > sub/deep.txt; : > empty\n";
    let id = submit(&client, &sandbox, JOB, &[("run.sh", script), ("d/in.txt", b"input\n")]).await;
    assert_eq!(client.results_list(id, "").await.expect("list"), Err(NoResults::NotInState));
    wait_for(&client, id, &["done"]).await;

    let entries = client.results_list(id, "").await.expect("list").expect("results");
    let target = sandbox.path("results");
    std::fs::create_dir(&target).expect("mkdir");
    let dir = Dir::open(&target).expect("open");
    let mut todo: Vec<(RelPath, bool)> =
        entries.iter().map(|e| (RelPath::top(&e.name).expect("a safe name"), e.is_dir)).collect();
    while let Some((path, is_dir)) = todo.pop() {
        if is_dir {
            dir.make_dir(&path).expect("mkdir");
            let below = client.results_list(id, path.as_str()).await.expect("list").expect("results");
            todo.extend(below.iter().map(|e| (path.child(&e.name).expect("a safe name"), e.is_dir)));
        } else {
            let content = read(&client, id, path.as_str(), &FileRange::default()).await.expect("file");
            let part = dir.part(&path, false).expect("part");
            std::io::Write::write_all(&mut part.file(), &content).expect("write");
            part.publish(0o644, false).expect("publish");
        }
    }
    assert_eq!(std::fs::read_to_string(target.join("out.txt")).expect("read"), "one-two\ninput\n");
    assert_eq!(std::fs::read_to_string(target.join("sub/deep.txt")).expect("read"), "deep\n");
    assert_eq!(std::fs::metadata(target.join("empty")).expect("stat").len(), 0);

    // Resumed with the validator of the first part; a validator of another version brings the whole file.
    let first = client.results_file(id, "out.txt", &FileRange { len: Some(4), ..FileRange::default() }).await;
    let first = first.expect("file").expect("results");
    assert_eq!((first.offset(), first.left(), first.total()), (0, 4, 14));
    let validator = first.validator().cloned();
    drop(first);
    let rest = FileRange { offset: 4, len: None, validator };
    assert_eq!(read(&client, id, "out.txt", &rest).await.expect("rest"), b"two\ninput\n");
    let old = FileRange { offset: 4, len: None, validator: actd::remote::Validator::from_text("\"old\"") };
    assert_eq!(read(&client, id, "out.txt", &old).await.expect("whole").len(), 14);
    assert_eq!(client.results_list(id, "nowhere").await.expect("list"), Err(NoResults::NoSuchPath));

    let details = client.details(&Ids::one(id), &["jobname"], &["ExitCode", "IDFromEndpoint"]).await.expect("details");
    assert_eq!(
        (details[0].columns["c_jobname"].as_str(), details[0].columns["a_ExitCode"].as_i64()),
        (Some("whole life"), Some(0))
    );
    assert_eq!(client.clean(&Ids::one(id)).await.expect("clean"), [id]);
    assert_eq!(client.clean(&Ids::one(id)).await.expect("again"), [0u64; 0]);
    assert!(client.list(&[]).await.expect("list").rows.is_empty());
    assert_eq!(client.results_list(id, "").await.expect("list"), Err(NoResults::NotInState));
    let error = client.upload(id, "x", input(&sandbox.path("x"), b"x").await, None).await.expect_err("gone");
    assert!(error.is_no_such_job(), "{error}");

    let violations = sandbox.admin("GET", "/violations", &Value::Null).await;
    assert!(violations.as_array().is_some_and(Vec::is_empty), "{violations}");
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_and_refusals() {
    let sandbox = Sandbox::start(&[]).await;
    let client = sandbox.user().await;
    let answer = client.create(&[sandbox.cluster(), vec!["https://nosuch/q".into()], vec![]]).await.expect("create");
    assert_eq!(answer[1], Err("Unknown cluster https://nosuch/q".into()));
    assert_eq!(answer[2], Err("No clusters given".into()));
    let half = *answer[0].as_ref().expect("id");
    let rejected = client.confirm(&[(half, "&(executable=".into()), (half + 1000, JOB.into())]).await.expect("confirm");
    assert!(rejected.iter().all(Result::is_err), "{rejected:?}");
    let listing = client.list(&[Column::Created, Column::ArcState]).await.expect("list");
    let row = listing.rows.iter().find(|row| row.id == half).expect("the empty row is listed");
    assert!(row.arcstate.is_none() && row.created.is_some(), "{row:?}");
    let cancelled = client.cancel(&Ids::one(half)).await.expect("cancel");
    assert!(cancelled[0].is_gone());
    assert!(client.cancel(&Ids::one(half)).await.expect("again").is_empty());

    let sleeper = submit(&client, &sandbox, r#"&(executable="/bin/sleep")(arguments="600")(jobname=s)"#, &[]).await;
    wait_for(&client, sleeper, &["running"]).await;
    let cancelled = client.cancel(&Ids::one(sleeper)).await.expect("cancel");
    assert!(!cancelled[0].is_gone() && cancelled[0].arcstate.as_deref() == Some("running"));
    wait_for(&client, sleeper, &["cancelled"]).await;

    let failing = submit(&client, &sandbox, r#"&(executable="/bin/false")(jobname=f)"#, &[]).await;
    wait_for(&client, failing, &["failed"]).await;
    assert_eq!(client.fetch(&Ids::one(failing)).await.expect("fetch"), [failing]);
    wait_for(&client, failing, &["donefailed"]).await;
    assert_eq!(client.resubmit(&Ids::one(failing)).await.expect("resubmit"), [failing]);
    wait_for(&client, failing, &["failed"]).await;
    let both = Ids::new([failing, sleeper]).expect("ids");
    let mut cleaned = client.clean(&both).await.expect("clean");
    cleaned.sort_unstable();
    assert_eq!(cleaned, {
        let mut ids = both.as_slice().to_vec();
        ids.sort_unstable();
        ids
    });

    assert!(matches!(
        client.details(&Ids::one(1), &["nosuch"], &[]).await.expect_err("column").class(),
        ErrorClass::Rejected { status: 400, .. }
    ));
    // A signature that is not the server's.
    let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJwcm94eWlkIjoxLCJleHAiOjQwMDAwMDAwMDB9.c2lnbmF0dXJl";
    let forged = client.with_token(Some(Secret::new(token.into())));
    assert_eq!(forged.info().await.expect_err("forged").class(), &ErrorClass::Auth { reason: AuthReason::Invalid });
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_go_wrong() {
    let sandbox = Sandbox::start(&[]).await;
    let client = sandbox.user().await;
    let id = submit(&client, &sandbox, r#"&(executable="/bin/echo")(arguments="0123456789")(stdout="o")"#, &[]).await;
    wait_for(&client, id, &["done"]).await;
    let ids = Ids::one(id);
    let once =
        |method: &str, path: &str, fault: Value| json!({"method": method, "path": path, "count": 1, "fault": fault});

    // The answer to a POST is lost: the row is there, and the error says that it may be.
    sandbox.fault(once("POST", "/jobs", json!({"kind": "reset", "execute": true}))).await;
    let error = client.create(&[sandbox.cluster()]).await.expect_err("reset");
    assert!(error.in_flight() && error.may_have_run(), "{error}");
    assert_eq!(client.list(&[]).await.expect("list").rows.len(), 2);

    // Executed after we have given up.
    sandbox.fault(once("DELETE", "/jobs", json!({"kind": "late", "ms": 50, "reset": true}))).await;
    assert!(client.clean(&Ids::one(999_999)).await.expect_err("late").in_flight());

    sandbox.fault(once("GET", "/jobs", json!({"kind": "stall"}))).await;
    let error = client.list(&[]).await.expect_err("stall");
    assert_eq!(error.class(), &ErrorClass::Transient { retry_after: None }, "{error}");
    sandbox.fault(once("GET", "/jobs", json!({"kind": "status", "status": 503, "retry_after": 7}))).await;
    assert_eq!(client.list(&[]).await.expect_err("503").retry_after(), Some(Duration::from_secs(7)));
    sandbox.fault(once("GET", "/jobs", json!({"kind": "truncate", "bytes": 5}))).await;
    assert!(client.list(&[]).await.is_err());
    sandbox.fault(once("GET", "/jobs", json!({"kind": "body", "body": "<html>", "content_type": "text/html"}))).await;
    assert_eq!(client.list(&[]).await.expect_err("html").class(), &ErrorClass::Server);
    sandbox.fault(once("GET", "/jobs", json!({"kind": "endless", "content_length": 99_999_999_999u64}))).await;
    assert!(client.list(&[]).await.is_err());
    sandbox
        .fault(once("PATCH", "/jobs", json!({"kind": "status", "status": 500, "html": true, "execute": true})))
        .await;
    let error = client.cancel(&ids).await.expect_err("500");
    assert!(error.class() == &ErrorClass::Server && error.may_have_run() && !error.in_flight());

    // Files: cut, with a wrong length, stalled.
    let file = format!("/jobs/{id}/results/o");
    for fault in [
        json!({"kind": "truncate", "bytes": 5}),
        json!({"kind": "wrong_length", "delta": 7}),
        json!({"kind": "truncate", "bytes": 5, "stall": true}),
    ] {
        sandbox.fault(once("GET", &file, fault.clone())).await;
        let error = read(&client, id, "o", &FileRange::default()).await.expect_err("broken");
        assert_eq!(error.class(), &ErrorClass::Transient { retry_after: None }, "{fault}: {error}");
    }
    let names = ["../../evil", "/etc/passwd", "a\u{0}b", "", ".."];
    sandbox.fault(once("GET", &format!("/jobs/{id}/results/"), json!({"kind": "listing", "file": names}))).await;
    let entries = client.results_list(id, "").await.expect("list").expect("results");
    let unsafe_names = entries.iter().filter(|e| RelPath::top(&e.name).is_err()).count();
    assert_eq!(unsafe_names, names.len(), "{entries:?}");
    assert_eq!(read(&client, id, "o", &FileRange::default()).await.expect("file"), b"0123456789\n");

    // An upload that is cut in the middle is not taken for done.
    let row = *client.create(&[sandbox.cluster()]).await.expect("create")[0].as_ref().expect("id");
    let cut = json!({"kind": "reset", "after_bytes": 1000});
    sandbox.fault(once("PUT", &format!("/jobs/{row}/data/big"), cut)).await;
    let big = vec![7; 5_000_000];
    let error = client.upload(row, "big", input(&sandbox.path("big"), &big).await, None).await.expect_err("cut");
    assert!(error.in_flight(), "{error}");
    client.upload(row, "big", input(&sandbox.path("big"), &big).await, None).await.expect("again");
    sandbox.admin("POST", "/broken", &json!(true)).await;
    assert_eq!(client.info().await.expect_err("broken").class(), &ErrorClass::Server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_listing_is_cheap() {
    let sandbox = Sandbox::start(&[]).await;
    let client = sandbox.user().await;
    submit(&client, &sandbox, r#"&(executable="/bin/true")"#, &[]).await;
    sandbox.admin("POST", "/synthetic", &json!({"count": 10_000})).await;
    let listing = client.list(Column::POLL).await.expect("list");
    assert_eq!(listing.unreadable, 0);
    assert!(listing.rows.len() >= 10_000, "{}", listing.rows.len());
}

async fn staging(behaviour: &str) {
    let sandbox = Sandbox::start(&["--webdav", behaviour]).await;
    let base = Url::parse(sandbox.text("webdav")).expect("url");
    let identity = sandbox.trust().connector(Some(&sandbox.proxy())).expect("tls");
    let anonymous = sandbox.trust().connector(None).expect("tls");
    let client = WebdavClient::new(identity, anonymous, WebdavOptions::default()).expect("client");
    let at = |relative: &str| below(&base, relative).expect("url");
    assert_eq!(client.mkcol(&at("7")).await.expect("mkcol"), Made::Created);
    assert_eq!(client.mkcol(&at("7")).await.expect("again"), Made::Existed);
    assert!(client.mkcol(&at("8/9")).await.is_err(), "the parent is missing");
    let content = vec![3; 2_000_000];
    let file = input(&sandbox.path("in"), &content).await;
    client.put(&at("7/a b.txt"), &file, None).await.expect("put");
    client.put(&at("7/a b.txt"), &file, None).await.expect("put again");
    assert_eq!(client.stat(&at("7/a b.txt")).await.expect("stat").and_then(|s| s.size), Some(2_000_000));
    client.put(&at("7/empty"), &input(&sandbox.path("none"), b"").await, None).await.expect("an empty file");
    assert_eq!(client.stat(&at("7")).await.expect("stat").and_then(|s| s.is_dir), Some(true));
    assert_eq!(client.delete(&at("7")).await.expect("delete"), Deleted::Deleted);
    assert_eq!(client.delete(&at("7")).await.expect("again"), Deleted::WasAbsent);
    let anonymous = || sandbox.trust().connector(None).expect("tls");
    let nobody = WebdavClient::new(anonymous(), anonymous(), WebdavOptions::default()).expect("client");
    let error = nobody.mkcol(&at("9")).await.expect_err("no certificate");
    assert_eq!(error.class(), &ErrorClass::Auth { reason: AuthReason::Missing }, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn staging_on_a_plain_store() {
    staging("plain").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn staging_on_apache() {
    staging("apache").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn staging_on_dcache() {
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
