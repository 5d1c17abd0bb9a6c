//! The client against a scripted server: what is sent, and what is made of every kind of answer.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::auth::Trust;
use crate::auth::testpki::{Pki, Recipe};
use crate::remote::testserver::{Reply, Seen, TestServer, json, raw};
use crate::remote::{FileRange, Ids, InputFile, Progress, Validator};

const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJwcm94eWlkIjoxfQ.c2ln";

fn options() -> ActOptions {
    let ms = Duration::from_millis;
    let timeouts = Timeouts { connect: ms(2_000), head: ms(1_000), idle: ms(1_000), total: ms(8_000) };
    ActOptions { timeouts, ..ActOptions::default() }
}

fn client_to(url: &Url) -> ActClient {
    client_with(url, &Trust::default())
}

fn client_with(url: &Url, trust: &Trust) -> ActClient {
    let tls = trust.rest().expect("tls");
    ActClient::new(url.clone(), Some(Secret::new(TOKEN.into())), tls, options()).expect("client")
}

async fn server(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> (TestServer, ActClient) {
    let server = TestServer::start(script).await;
    let client = client_to(&server.url);
    (server, client)
}

/// A server that gives one answer to everything.
async fn always(status: &'static str, body: &'static str) -> (TestServer, ActClient) {
    server(move |_| json(status, body)).await
}

fn input(content: &[u8]) -> InputFile {
    let mut file = tempfile::tempfile().expect("temp file");
    file.write_all(content).expect("write");
    InputFile::new(tokio::fs::File::from_std(file), content.len() as u64)
}

/// Both HTTP clients speak alike.
#[tokio::test]
async fn requests_are_what_the_server_expects() {
    let pki = Pki::new();
    speaks(&Trust::new(Some(pki.ca_dir()))).await;
    pki.revoke(&[], 3600);
    speaks(&Trust::new(Some(pki.ca_dir()))).await;
}

async fn speaks(trust: &Trust) {
    let (server, _) = server(|seen| match (seen.method.as_str(), seen.target.as_str()) {
        ("GET", "/info") => {
            json("200 OK", r#"{"arc":["id"],"client":["id","jobname"],"clusters":["https://ce:443/q"]}"#)
        }
        ("POST", "/jobs") => json("200 OK", r#"[{"id":9},{"msg":"Unknown cluster x"}]"#),
        ("PUT", "/jobs") => {
            json("200 OK", r#"[{"id":9,"name":"hello"},{"desc":"&(x=y)","id":10,"msg":"bad","name":"b"}]"#)
        }
        ("PUT", _) => Reply::Raw(raw("204 NO CONTENT", "Connection: close\r\n", "")),
        ("PATCH", t) if t.ends_with("cancel") => json(
            "200 OK",
            r#"[{"a_arcstate":"submitted","a_id":21,"c_id":32},{"a_arcstate":null,"a_id":null,"c_id":33},{"c_id":99}]"#,
        ),
        ("PATCH" | "DELETE", _) => json("200 OK", r#"[32,"33",77]"#),
        _ => json("404 NOT FOUND", "{}"),
    })
    .await;
    let client = client_with(&server.url, trust);
    assert_eq!(client.info().await.expect("info").clusters, ["https://ce:443/q"]);
    let created = client.create(&[vec!["https://ce/q".into()], vec!["x".into()]]).await.expect("create");
    assert_eq!(created, [Ok(9), Err("Unknown cluster x".to_owned())]);
    let sent = Arc::new(AtomicU64::new(0));
    let progress: Progress = {
        let sent = sent.clone();
        Arc::new(move |n| sent.store(n, Ordering::Relaxed))
    };
    client.upload(9, "d/a b.txt", input(b"hello"), Some(progress)).await.expect("upload");
    assert_eq!(sent.load(Ordering::Relaxed), 5);
    let confirmed = client.confirm(&[(9, "&(a=b)".into()), (10, "&(x=y)".into())]).await.expect("confirm");
    assert_eq!(confirmed[0], Ok(Confirmed { name: "hello".into() }));
    assert_eq!(confirmed[1], Err(Rejection { msg: "bad".into() }));
    let ids = Ids::new([32, 33]).expect("ids");
    let cancelled = client.cancel(&ids).await.expect("cancel");
    assert_eq!(cancelled.iter().map(|c| (c.id, c.is_gone())).collect::<Vec<_>>(), [(32, false), (33, true)]);
    assert_eq!(client.clean(&ids).await.expect("clean"), [32, 33]);
    assert_eq!(client.fetch(&ids).await.expect("fetch"), [32, 33]);
    assert_eq!(client.resubmit(&Ids::one(32)).await.expect("resubmit"), [32]);

    let seen = server.seen();
    let targets: Vec<_> = seen.iter().map(|s| format!("{} {}", s.method, s.target)).collect();
    assert_eq!(
        targets,
        [
            "GET /info",
            "POST /jobs",
            "PUT /jobs/9/data/d/a%20b.txt",
            "PUT /jobs",
            "PATCH /jobs?id=32%2C33&action=cancel",
            "DELETE /jobs?id=32%2C33",
            "PATCH /jobs?id=32%2C33&action=fetch",
            "PATCH /jobs?id=32&action=resubmit",
        ]
    );
    for request in &seen {
        assert_eq!(request.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
        assert_eq!(request.header("user-agent"), Some(concat!("actd/", env!("CARGO_PKG_VERSION"))));
    }
    assert_eq!(seen[1].header("content-type"), Some("application/json"));
    assert_eq!(seen[1].text(), r#"[{"clusterlist":["https://ce/q"]},{"clusterlist":["x"]}]"#);
    assert_eq!((seen[2].header("content-length"), seen[2].text().as_str()), (Some("5"), "hello"));
    let clock = client.clock().expect("clock");
    assert_eq!(httpdate::fmt_http_date(clock.date), "Sun, 22 Nov 2026 07:49:37 GMT");
}

#[tokio::test]
async fn answers_that_do_not_match_the_batch_are_ambiguous() {
    for body in [
        r#"[{"id":1}]"#,
        "[{},{}]",
        "{}",
        "[1,2]",
        "<html>",
        r#"[{"id":1},{"id":2}"#,
        r#"[{"id":1},{"id":2},{"id":3}]"#,
    ] {
        let (_server, client) = always("200 OK", body).await;
        let error = client.create(&[vec![], vec![]]).await.expect_err(body);
        assert_eq!(error.class(), &ErrorClass::Ambiguous, "{body}: {error}");
        assert!(error.may_have_run() && !error.in_flight(), "answered, so no longer executing");
    }
    let (_server, client) = always("200 OK", r#"[{"id":1},{"id":3}]"#).await;
    let error = client.confirm(&[(1, "d".into()), (2, "d".into())]).await.expect_err("another job");
    assert_eq!(error.class(), &ErrorClass::Ambiguous);
}

#[tokio::test]
async fn errors_are_told_apart() {
    let class = async |status: &'static str, body: &'static str| {
        let (_server, client) = always(status, body).await;
        client.info().await.expect_err(status).class().clone()
    };
    let expired = ErrorClass::Auth { reason: AuthReason::Expired };
    assert_eq!(class("401 UNAUTHORIZED", r#"{"msg":"Auth token is expired"}"#).await, expired);
    assert_eq!(class("500 INTERNAL SERVER ERROR", r#"{"msg":"Server error"}"#).await, ErrorClass::Server);
    assert_eq!(class("500 INTERNAL SERVER ERROR", "<title>500</title>").await, ErrorClass::Server);
    assert_eq!(class("503 Busy", "").await, ErrorClass::Transient { retry_after: None });
    assert_eq!(class("200 OK", "<html>hello").await, ErrorClass::Server);
    assert_eq!(class("404 NOT FOUND", "<title>404</title>").await, ErrorClass::Server);
    let msg = "Invalid column \"x\"".to_owned();
    assert_eq!(
        class("400 BAD REQUEST", r#"{"msg":"Invalid column \"x\""}"#).await,
        ErrorClass::Rejected { status: 400, msg }
    );

    let (_server, client) = always("404 NOT FOUND", "<title>404 Not Found</title>").await;
    assert_eq!(client.upload(1, "a", input(b"x"), None).await.expect_err("old").class(), &ErrorClass::Dialect);
    assert_eq!(client.results_list(1, "").await.expect_err("old").class(), &ErrorClass::Dialect);
    let (_server, client) = always("400 BAD REQUEST", r#"{"msg":"Client Job ID None does not exist"}"#).await;
    assert!(client.upload(1, "a", input(b"x"), None).await.expect_err("gone").is_no_such_job());

    let (server, client) =
        server(|_| Reply::Raw(raw("308 PERMANENT REDIRECT", "Location: http://evil.example/x\r\n", ""))).await;
    let error = client.info().await.expect_err("redirect");
    assert!(error.to_string().contains("evil.example") && error.hint().is_some(), "{error}");
    assert_eq!(server.seen().len(), 1);
    let busy = |_: &Seen| Reply::Raw(raw("429 Slow Down", "Retry-After: 17\r\n", ""));
    let (_server, client) = self::server(busy).await;
    assert_eq!(client.info().await.expect_err("busy").retry_after(), Some(Duration::from_secs(17)));
}

#[tokio::test]
async fn a_lost_answer_is_ambiguous_only_if_it_may_have_run() {
    let ids = Ids::one(1);
    let (_server, client) = server(|_| Reply::Drop).await;
    assert!(client.cancel(&ids).await.expect_err("dropped").in_flight());
    let error = client.list(Column::POLL).await.expect_err("dropped");
    assert_eq!(error.class(), &ErrorClass::Transient { retry_after: None });

    let (_server, client) = server(|_| Reply::Silence).await;
    let error = client.clean(&ids).await.expect_err("silent");
    assert!(error.in_flight() && error.to_string().contains("outcome unknown"), "{error}");

    let cut = |_: &Seen| Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{\"id\"".to_vec());
    let (_server, client) = server(cut).await;
    assert!(client.create(&[vec![]]).await.expect_err("cut").may_have_run());
    assert_eq!(client.list(&[]).await.expect_err("cut").class(), &ErrorClass::Transient { retry_after: None });

    // A port where nobody listens: nothing was sent.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    let url = Url::parse(&format!("http://{}", listener.local_addr().expect("address"))).expect("url");
    drop(listener);
    let error = client_to(&url).cancel(&ids).await.expect_err("refused");
    assert_eq!(error.class(), &ErrorClass::Transient { retry_after: None }, "{error}");
    assert!(!error.may_have_run());
}

#[tokio::test]
async fn the_token_stays_home() {
    let (server, client) = always("200 OK", "{}").await;
    let without = client.with_token(None);
    assert_eq!(without.info().await.expect_err("none").class(), &ErrorClass::Auth { reason: AuthReason::Missing });
    for damaged in ["garbage", "a.b", "a.b.c.d", "a..c", "a.b c.d", "a.b\r\n.c", ""] {
        let broken = client.with_token(Some(Secret::new(damaged.into())));
        let error = broken.info().await.expect_err(damaged);
        assert_eq!(error.class(), &ErrorClass::Auth { reason: AuthReason::Invalid }, "{damaged}");
    }
    assert!(server.seen().is_empty());
    assert!(!format!("{client:?}").contains(TOKEN));

    let new = |url: &str, allow_http| {
        let tls = Trust::default().rest().expect("tls");
        ActClient::new(Url::parse(url).expect("url"), None, tls, ActOptions { allow_http, ..options() }).map(drop)
    };
    assert!(new("http://act.example.org", false).is_err());
    assert!(new("http://act.example.org", true).is_ok());
    assert!(new("https://act.example.org/prefix", false).is_ok());
    assert!(new("http://[::1]:5", false).is_ok());
    assert!(new("ftp://act.example.org", true).is_err());
    assert!(new("https://user:pw@act.example.org", true).is_err());
}

#[tokio::test]
async fn a_long_listing_is_read_fast_and_bounded() {
    let mut body = String::from("[");
    for id in 1..=10_000 {
        if id > 1 {
            body.push(',');
        }
        body.push_str(&format!(
            r#"{{"a_JobID":"https://localhost:8443/arex/rest/1.0/jobs/JnTMDmiMHpAoOSAtDmABFKDmABFKDmABFKDmBzIKDmMBFKDm{id:06}","a_State":"Finished","a_arcstate":"done","c_id":{id},"c_jobname":"job {id}"}}"#
        ));
    }
    body.push_str("]\n");
    let answer = raw("200 OK", "Connection: close\r\n", &body);
    let (server, client) = server(move |_| Reply::Raw(answer.clone())).await;
    let before = SystemTime::now();
    let started = Instant::now();
    let listing = client.list(Column::POLL).await.expect("list");
    let took = started.elapsed();
    assert_eq!((listing.rows.len(), listing.unreadable), (10_000, 0));
    assert_eq!(listing.rows[41].arcstate.as_deref(), Some("done"));
    assert!(listing.sent_at >= before && listing.server_date.is_some());
    // Unoptimised, on a busy machine; optimised it takes a few milliseconds.
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(server.seen()[0].target, "/jobs?client=id%2Cjobname&arc=JobID%2CState%2Carcstate");

    let huge = |_: &Seen| Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n[".to_vec());
    let (_server, client) = self::server(huge).await;
    assert!(client.list(&[]).await.expect_err("huge").to_string().contains("more than"));
    let stalled = |_: &Seen| Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[".to_vec());
    let (_server, client) = self::server(stalled).await;
    assert!(client.list(&[]).await.expect_err("stalled").to_string().contains("stalled"));
}

#[tokio::test]
async fn details_always_name_ids_and_columns() {
    let (server, client) =
        always("200 OK", r#"[{"c_id":"5","a_Error":null,"x":[1]},{"c_id":6},{"a_Error":1},7]"#).await;
    let details = client.details(&Ids::one(5), &["id"], &["Error"]).await.expect("details");
    assert_eq!(details.len(), 1);
    assert_eq!((details[0].id, details[0].columns.get("a_Error")), (5, Some(&serde_json::Value::Null)));
    client.details(&Ids::one(5), &[], &[]).await.expect("details");
    assert!(client.details(&Ids::one(5), &["a,b"], &[]).await.is_err());
    assert!(client.details(&Ids::one(5), &[&"x".repeat(5_000)], &[]).await.is_err(), "longer than a request line");
    let targets: Vec<_> = server.seen().into_iter().map(|s| s.target).collect();
    assert_eq!(targets, ["/jobs?client=id&arc=Error&id=5", "/jobs?client=id&id=5"]);
    let too_many = vec![vec![]; 101];
    assert_eq!(client.create(&too_many).await.expect_err("many").class(), &ErrorClass::Local);
}

#[tokio::test]
async fn an_input_that_changes_is_not_taken_for_sent() {
    let (server, client) = server(|seen| match seen.method.as_str() {
        "PUT" => Reply::Raw(raw("204 NO CONTENT", "", "")),
        _ => Reply::Drop,
    })
    .await;
    let mut file = tempfile::tempfile().expect("temp file");
    file.write_all(&[7; 1000]).expect("write");
    for claimed in [2000, 500] {
        let file = tokio::fs::File::from_std(file.try_clone().expect("clone"));
        let error = client.upload(1, "a", InputFile::new(file, claimed), None).await.expect_err("changed");
        assert_eq!(error.class(), &ErrorClass::Local, "{error}");
    }
    for bad in ["../a", "/a", "a//b", ""] {
        assert_eq!(client.upload(1, bad, input(b""), None).await.expect_err(bad).class(), &ErrorClass::Local);
    }
    assert!(server.seen().iter().all(|s| s.method.ends_with("(cut)")), "{:?}", server.seen());
    client.upload(1, "empty", input(b""), None).await.expect("an empty file");
    assert_eq!(server.seen().last().and_then(|s| s.header("content-length").map(str::to_owned)).as_deref(), Some("0"));
}

#[tokio::test]
async fn a_long_upload_is_not_a_silent_server() {
    // The whole takes longer than the head timeout, but never is it silent that long.
    let (_server, client) = server(|_| Reply::Raw(raw("204 NO CONTENT", "", ""))).await;
    let content = vec![1; 40 << 20];
    client.upload(1, "big", input(&content), None).await.expect("upload");
}

#[tokio::test]
async fn results_and_their_absence() {
    const BODY: &str = "0123456789";
    const TAG: &str = "\"v1\"";
    let (server, client) = server(|seen| {
        let part = |status: &str, range: &str, body: &str| {
            Reply::Raw(raw(status, &format!("ETag: {TAG}\r\nConnection: close\r\n{range}"), body))
        };
        match seen.target.as_str() {
            "/jobs/1/results/" => json("200 OK", r#"{"dir":["sub"],"file":["a b","x\udcff"]}"#),
            "/jobs/2/results/" => json("404 NOT FOUND", r#"{"msg":"No results in current job state"}"#),
            "/jobs/3/results/" => json("404 NOT FOUND", r#"{"msg":"Job has no results"}"#),
            "/jobs/1/results/sub/" => json("404 NOT FOUND", r#"{"msg":"Output directory does not exist"}"#),
            "/jobs/1/results/a%20b" => match (seen.header("range"), seen.header("if-range")) {
                (None, _) => part("200 OK", "", BODY),
                (Some("bytes=4-"), Some(TAG) | None) => {
                    part("206 PARTIAL CONTENT", "Content-Range: bytes 4-9/10\r\n", &BODY[4..])
                }
                (Some("bytes=2-4"), None) => {
                    part("206 PARTIAL CONTENT", "Content-Range: bytes 2-4/10\r\n", &BODY[2..5])
                }
                (Some("bytes=9-30"), None) => {
                    part("206 PARTIAL CONTENT", "Content-Range: bytes 9-9/10\r\n", &BODY[9..])
                }
                (Some("bytes=3-"), None) => part("206 PARTIAL CONTENT", "Content-Range: bytes 4-9/10\r\n", &BODY[4..]),
                (Some("bytes=50-"), _) => part("416 RANGE NOT SATISFIABLE", "Content-Range: bytes */10\r\n", ""),
                (Some(_), Some(_)) => part("200 OK", "", BODY),
                _ => Reply::Drop,
            },
            "/jobs/1/results/short" => Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123".to_vec()),
            "/jobs/1/results/endless" => Reply::Raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0123".to_vec()),
            _ => Reply::Drop,
        }
    })
    .await;
    let entries = client.results_list(1, "").await.expect("list").expect("results");
    assert_eq!(entries.len(), 3);
    assert!(entries[0].is_dir && entries[1].name == "a b");
    assert_eq!(client.results_list(2, "").await.expect("list"), Err(NoResults::NotInState));
    assert_eq!(client.results_list(3, "").await.expect("list"), Err(NoResults::Gone));
    assert_eq!(client.results_list(1, "sub").await.expect("list"), Err(NoResults::NoSuchPath));

    let read = async |range: FileRange| -> Result<(u64, u64, String), RemoteError> {
        let mut file = client.results_file(1, "a b", &range).await?.expect("results");
        assert_eq!(file.validator(), Some(&Validator::ETag(TAG.into())));
        let mut text = String::new();
        let (offset, total) = (file.offset(), file.total());
        while let Some(chunk) = file.chunk().await? {
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
        Ok((offset, total, text))
    };
    let from =
        |offset, len, tag: Option<&str>| FileRange { offset, len, validator: tag.and_then(Validator::from_text) };
    assert_eq!(read(FileRange::default()).await.expect("whole"), (0, 10, BODY.into()));
    assert_eq!(read(from(4, None, Some(TAG))).await.expect("rest"), (4, 10, "456789".into()));
    assert_eq!(read(from(2, Some(3), None)).await.expect("part"), (2, 10, "234".into()));
    assert_eq!(read(from(9, Some(22), None)).await.expect("last"), (9, 10, "9".into()));
    assert_eq!(read(from(4, None, Some("\"old\""))).await.expect("changed"), (0, 10, BODY.into()));
    assert_eq!(read(from(50, None, None)).await.expect("beyond"), (0, 10, BODY.into()));
    assert_eq!(read(from(3, None, None)).await.expect_err("another part").class(), &ErrorClass::Server);

    let mut short = client.results_file(1, "short", &FileRange::default()).await.expect("head").expect("results");
    let end = loop {
        match short.chunk().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert_eq!(end.expect_err("short").class(), &ErrorClass::Transient { retry_after: None });
    assert!(client.results_file(1, "endless", &FileRange::default()).await.is_err(), "no length");
    let before = server.seen().len();
    assert!(client.results_file(1, "../2", &FileRange::default()).await.is_err());
    assert!(client.results_list(1, "a/../..").await.is_err());
    assert_eq!(server.seen().len(), before, "nothing was sent");
    assert_eq!(client.limiter().usage().1, 1, "only the file that is still held has a place");
}

#[tokio::test]
async fn connections_are_kept_only_for_a_server_that_keeps_them() {
    let count = async |keep: bool| {
        let connections = Arc::new(AtomicUsize::new(0));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
        let url = Url::parse(&format!("http://{}", listener.local_addr().expect("address"))).expect("url");
        let counter = connections.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |_| async move {
                        let mut response =
                            http::Response::new(http_body_util::Full::new(bytes::Bytes::from_static(b"[]")));
                        if !keep {
                            response.headers_mut().insert("connection", HeaderValue::from_static("close"));
                        }
                        Ok::<_, std::convert::Infallible>(response)
                    });
                    let io = hyper_util::rt::TokioIo::new(stream);
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                });
            }
        });
        let client = client_to(&url);
        for _ in 0..6 {
            client.list(&[]).await.expect("list");
        }
        task.abort();
        connections.load(Ordering::SeqCst)
    };
    assert_eq!(count(false).await, 6);
    // The first shows it, the second opens the one that is kept.
    assert_eq!(count(true).await, 2);
}

#[tokio::test]
async fn a_proxy_is_delegated_in_two_requests() {
    let pki = Pki::new();
    let proxy = pki.proxy(Recipe::default());
    let key = crate::auth::testpki::key();
    let mut request = openssl::x509::X509Req::builder().expect("builder");
    request.set_pubkey(&key).expect("key");
    request.sign(&key, openssl::hash::MessageDigest::sha256()).expect("sign");
    let csr = String::from_utf8(request.build().to_pem().expect("pem")).expect("text");
    let offer = serde_json::json!({"csr": csr, "token": TOKEN}).to_string();
    let (server, client) = server(move |seen| match seen.method.as_str() {
        "POST" => json("200 OK", &offer),
        "PUT" => json("200 OK", &serde_json::json!({"token": TOKEN}).to_string()),
        _ => Reply::Drop,
    })
    .await;
    let token = crate::auth::delegate(&client.with_token(None), &proxy).await.expect("delegate");
    assert_eq!(token.proxyid(), 1);
    let seen = server.seen();
    assert_eq!(seen.iter().map(|s| s.method.as_str()).collect::<Vec<_>>(), ["POST", "PUT"]);
    assert_eq!(seen[0].header("authorization"), None);
    assert!(seen.iter().all(|s| !s.text().contains("PRIVATE")), "no key is sent");
    let put: serde_json::Value = serde_json::from_slice(&seen[1].body).expect("json");
    let chain = put["chain"].as_str().expect("chain");
    assert!(chain.starts_with(&proxy.cert_pem().expect("pem")) && chain.matches("BEGIN").count() == 2);

    // A request that cannot be signed leaves it open, and says so; a dead proxy is never offered.
    let (server, client) =
        self::server(|_| json("200 OK", &serde_json::json!({"csr": "x", "token": TOKEN}).to_string())).await;
    let error = crate::auth::delegate(&client, &proxy).await.expect_err("bad request");
    assert!(error.left_open(), "{error}");
    assert_eq!(server.seen().len(), 1);
    let dead = pki.proxy(Recipe { ends_in: -10, ..Recipe::default() });
    let error = crate::auth::delegate(&client, &dead).await.expect_err("expired");
    assert!(!error.left_open(), "{error}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn tls_is_verified() {
    let pki = Pki::new();
    let server = TestServer::tls(pki.acceptor(false), |_, _| Some(json("200 OK", "{}"))).await;
    let info = async |url: &Url, trust: Trust| client_with(url, &trust).info().await;
    info(&server.url, Trust::new(Some(pki.ca_dir()))).await.expect("the CA directory is used");
    let error = info(&server.url, Trust::default()).await.expect_err("unknown CA");
    assert_eq!(error.class(), &ErrorClass::Server);
    assert!(error.to_string().contains("not trusted"), "{error}");
    let mut wrong = server.url.clone();
    wrong.set_host(Some("127.0.0.1")).expect("host");
    let error = info(&wrong, Trust::new(Some(pki.ca_dir()))).await.expect_err("wrong host");
    assert!(error.to_string().contains("not trusted"), "{error}");
    assert_eq!(server.seen().len(), 1, "nothing was sent to a server that is not trusted");
}

#[tokio::test]
async fn what_a_revocation_list_names_is_refused() {
    let pki = Pki::new();
    let host = pki.host(crate::auth::testpki::key(), openssl::hash::MessageDigest::sha256());
    let server = TestServer::tls(pki.lenient(false, &host), |_, _| Some(json("200 OK", "{}"))).await;
    let info = async || client_with(&server.url, &Trust::new(Some(pki.ca_dir()))).info().await;
    // An old list is no reason to refuse what it does not name.
    for (revoked, until) in [(&[][..], 3600), (&[&pki.user.0][..], 3600), (&[][..], -60)] {
        pki.revoke(revoked, until);
        info().await.expect("it is not named");
    }
    let before = server.seen().len();
    for until in [3600, -60] {
        pki.revoke(&[&host.0], until);
        let error = info().await.expect_err("revoked");
        assert_eq!(error.class(), &ErrorClass::Server);
        assert!(error.to_string().contains("its CA has revoked it"), "{error}");
    }
    assert_eq!(server.seen().len(), before, "nothing was sent");
}
