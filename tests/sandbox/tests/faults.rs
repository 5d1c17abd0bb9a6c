//! Faults on demand, the journal, and the manners of the real server's connections.

mod common;

use std::time::Duration;

use act_sandbox::Workers;
use common::{Answer, Ask, Bed, address, exchange, raw, wait};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A request for one row, sent with the user's token.
fn post(bed: &Bed) -> Ask {
    let body = json!([{ "clusterlist": [bed.sandbox.info().clusters[0]] }]);
    Ask::new("POST", "/jobs").json(&body).header("Authorization", &format!("Bearer {}", bed.token))
}

async fn rows(bed: &Bed) -> usize {
    bed.get("/jobs?client=id").await.json().as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_waits_for_an_idle_connection_and_many_do_not() {
    let bed = Bed::ready(|_| ()).await;
    let idle = TcpStream::connect(address(&bed.sandbox.info().server)).await.unwrap();
    let blocked = timeout(Duration::from_millis(300), bed.get("/info")).await;
    assert!(blocked.is_err(), "an idle connection blocks the only worker");
    drop(idle);
    assert_eq!(bed.get("/info").await.status, 200);

    let bed = Bed::ready(|options| options.workers = Workers::Many).await;
    let _idle = TcpStream::connect(address(&bed.sandbox.info().server)).await.unwrap();
    assert_eq!(bed.get("/info").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_closed_unless_kept_alive_on_demand() {
    for keep in [false, true] {
        let bed = Bed::ready(|options| options.keep_alive = keep).await;
        let mut stream = TcpStream::connect(address(&bed.sandbox.info().server)).await.unwrap();
        let ask = Ask::new("GET", "/nosuch").bytes();
        stream.write_all(&ask).await.unwrap();
        let mut bytes = vec![0; 4096];
        let length = stream.read(&mut bytes).await.unwrap();
        let first = Answer::parse(&bytes[..length]).unwrap();
        assert_eq!(first.header("Connection"), (!keep).then_some("close"));
        if keep {
            stream.write_all(&ask).await.unwrap();
            assert!(stream.read(&mut bytes).await.unwrap() > 0, "the same connection answers again");
            let last = bed.sandbox.journal();
            let numbers: Vec<_> = last.iter().rev().take(2).map(|entry| entry.connection).collect();
            assert_eq!(numbers[0], numbers[1]);
        } else {
            stream.read_to_end(&mut bytes).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_leaves_what_was_done() {
    let bed = Bed::ready(|_| ()).await;
    let server = &bed.sandbox.info().server;
    bed.fault(json!({ "method": "POST", "path": "/jobs", "count": 1, "fault": { "kind": "reset" } }));
    assert!(exchange(server, &post(&bed)).await.unwrap_err().contains("reset"));
    assert_eq!(rows(&bed).await, 0, "reset before the execution");
    bed.fault(json!({ "method": "POST", "path": "/jobs", "count": 1, "fault": { "kind": "reset", "execute": true } }));
    assert!(exchange(server, &post(&bed)).await.unwrap_err().contains("reset"));
    assert_eq!(rows(&bed).await, 1, "reset after the execution");
    assert_eq!(exchange(server, &post(&bed)).await.unwrap().status, 200, "used up");
    let journal = bed.admin(Ask::new("GET", "/journal?method=POST&path=/jobs")).await.json();
    let seen: Vec<_> = journal.as_array().unwrap().iter().map(|entry| (&entry["executed"], &entry["status"])).collect();
    let (yes, no) = (json!(true), json!(false));
    assert_eq!(seen, [(&no, &Value::Null), (&yes, &Value::Null), (&yes, &json!(200))]);
    assert_eq!(journal[0]["authorization"], true);
    assert!(!journal.to_string().contains(&bed.token), "no token in the journal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_executed_after_its_client_has_gone() {
    let bed = Bed::ready(|options| options.workers = Workers::Many).await;
    let server = bed.sandbox.info().server.clone();
    bed.fault(json!({ "method": "POST", "path": "/jobs", "count": 1, "fault": { "kind": "late", "ms": 3000 } }));
    let gave_up = timeout(Duration::from_millis(1000), exchange(&server, &post(&bed))).await;
    assert!(gave_up.is_err());
    assert_eq!(rows(&bed).await, 0);
    wait("the late row", || async {
        let count = rows(&bed).await;
        if count == 1 { Ok(()) } else { Err(count.to_string()) }
    })
    .await;
    bed.fault(
        json!({ "method": "POST", "path": "/jobs", "count": 1, "fault": { "kind": "late", "ms": 50, "reset": true } }),
    );
    assert!(exchange(&server, &post(&bed)).await.is_err());
    wait("the second late row", || async {
        let count = rows(&bed).await;
        if count == 2 { Ok(()) } else { Err(count.to_string()) }
    })
    .await;

    // Also without any fault: what has arrived is executed, whether or not the client waits.
    bed.fault(json!({ "method": "POST", "path": "/jobs", "count": 1, "fault": { "kind": "delay", "ms": 2000 } }));
    assert!(timeout(Duration::from_millis(1000), exchange(&server, &post(&bed))).await.is_err());
    wait("the delayed row", || async {
        let count = rows(&bed).await;
        if count == 3 { Ok(()) } else { Err(count.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_replaced_cut_and_spoiled() {
    let bed = Bed::ready(|options| options.workers = Workers::Many).await;
    let server = &bed.sandbox.info().server;
    let ask = Ask::new("GET", "/info").header("Authorization", &format!("Bearer {}", bed.token));
    let right = exchange(server, &ask).await.unwrap();
    let once = |fault: Value| bed.fault(json!({ "path": "/info", "count": 1, "fault": fault }));

    once(json!({ "kind": "status", "status": 503, "retry_after": 7, "msg": "busy" }));
    let got = exchange(server, &ask).await.unwrap();
    assert_eq!((got.status, got.header("Retry-After"), got.json()), (503, Some("7"), json!({ "msg": "busy" })));
    once(json!({ "kind": "status", "status": 502, "html": true }));
    let got = exchange(server, &ask).await.unwrap();
    assert!(got.status == 502 && got.text().starts_with("<!doctype html>"), "{got:?}");
    once(json!({ "kind": "body", "content_type": "text/html", "body": "<html>portal</html>" }));
    let got = exchange(server, &ask).await.unwrap();
    assert_eq!((got.status, got.text().as_str()), (200, "<html>portal</html>"));
    once(json!({ "kind": "truncate", "bytes": 10 }));
    let got = exchange(server, &ask).await.unwrap();
    assert_eq!(got.header("Content-Length"), right.header("Content-Length"));
    assert_eq!(got.body, right.body[..10]);
    once(json!({ "kind": "wrong_length", "delta": 5 }));
    let got = exchange(server, &ask).await.unwrap();
    assert_eq!(got.header("Content-Length").unwrap(), (right.body.len() + 5).to_string());
    assert_eq!(got.body, right.body);
    once(json!({ "kind": "wrong_length", "delta": -5 }));
    let got = exchange(server, &ask).await.unwrap();
    assert_eq!(got.body, right.body[..right.body.len() - 5]);
    for fault in [json!({ "kind": "stall" }), json!({ "kind": "truncate", "bytes": 3, "stall": true })] {
        once(fault);
        assert!(timeout(Duration::from_millis(200), exchange(server, &ask)).await.is_err(), "stalls");
    }
    once(json!({ "kind": "endless" }));
    let mut stream = TcpStream::connect(address(server)).await.unwrap();
    stream.write_all(&ask.bytes()).await.unwrap();
    let mut taken = vec![0; 4 << 20];
    stream.read_exact(&mut taken).await.unwrap();
    drop(stream);
    assert_eq!(exchange(server, &ask).await.unwrap().status, 200, "all faults are used up");
    let faults = bed.admin(Ask::new("GET", "/faults")).await.json();
    assert!(faults.as_array().unwrap().iter().all(|fault| fault["applied"] == 1), "{faults}");
    assert_eq!(bed.admin(Ask::new("DELETE", "/faults")).await.status, 204);
    assert_eq!(bed.admin(Ask::new("GET", "/faults")).await.json(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_can_hold_hostile_names() {
    let bed = Bed::ready(|_| ()).await;
    let id = bed.submit("&(executable=/bin/true)(stdout=out)").await;
    bed.until(id, "done").await;
    bed.fault(json!({
        "path": "/jobs/*/results/", "count": 1,
        "fault": { "kind": "listing", "file": ["../../evil", "/etc/passwd"], "dir": [".."] },
    }));
    let listing = bed.get(&format!("/jobs/{id}/results/")).await.json();
    assert_eq!(listing["file"], json!(["out", "../../evil", "/etc/passwd"]));
    assert_eq!(listing["dir"], json!(["gmlog", ".."]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_upload_is_stored_as_if_it_were_whole() {
    let bed = Bed::ready(|_| ()).await;
    let id = bed.ask(post(&bed)).await.json()[0]["id"].as_i64().unwrap();
    let file = bed.sandbox.info().dir.join(format!("act/data/{id}/x"));
    let head = |more: &str| {
        let token = &bed.token;
        format!("PUT /jobs/{id}/data/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
    };
    let server = &bed.sandbox.info().server;

    let mut stream = TcpStream::connect(address(server)).await.unwrap();
    stream.write_all(format!("{}abc", head("Content-Length: 100\r\n")).as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(Answer::parse(&bytes).unwrap().status, 204, "as observed");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "abc");

    let chunked = format!("{}4\r\nwiki\r\n0\r\n\r\n", head("Transfer-Encoding: chunked\r\n"));
    assert_eq!(raw(server, chunked.as_bytes()).await.unwrap().status, 204);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "wiki");

    let mut stream = TcpStream::connect(address(server)).await.unwrap();
    stream.write_all(head("Expect: 100-continue\r\nContent-Length: 3\r\n").as_bytes()).await.unwrap();
    let mut bytes = vec![0; 1024];
    let length = stream.read(&mut bytes).await.unwrap();
    assert_eq!(&bytes[..length], b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"xyz").await.unwrap();
    let length = stream.read(&mut bytes).await.unwrap();
    assert_eq!(Answer::parse(&bytes[..length]).unwrap().status, 204);

    bed.fault(json!({ "method": "PUT", "count": 1, "fault": { "kind": "reset", "after_bytes": 4 } }));
    let put = Ask::new("PUT", &format!("/jobs/{id}/data/x")).body(b"whole text");
    let put = put.header("Authorization", &format!("Bearer {}", bed.token));
    assert!(exchange(server, &put).await.is_err());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "whol");
    let journal = bed.sandbox.journal();
    assert_eq!(journal.last().unwrap().body_len, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_continue_a_download() {
    let bed = Bed::ready(|_| ()).await;
    let id = bed.submit("&(executable=/bin/sh)(arguments=-c \"printf 0123456789\")(stdout=o)").await;
    bed.until(id, "done").await;
    let target = format!("/jobs/{id}/results/o");
    let whole = bed.get(&target).await;
    let tag = whole.header("ETag").unwrap();
    let with = |headers: &[(&str, &str)]| {
        headers.iter().fold(Ask::new("GET", &target), |ask, (name, value)| ask.header(name, value))
    };
    let part = bed.ask(with(&[("Range", "bytes=4-"), ("If-Range", tag)])).await;
    assert_eq!((part.status, part.text().as_str()), (206, "456789"));
    assert_eq!(part.header("Content-Range"), Some("bytes 4-9/10"));
    let changed = bed.ask(with(&[("Range", "bytes=4-"), ("If-Range", "\"other\"")])).await;
    assert_eq!((changed.status, changed.text().as_str()), (200, "0123456789"));
    let beyond = bed.ask(with(&[("Range", "bytes=10-")])).await;
    assert_eq!((beyond.status, beyond.reason.as_str()), (416, "REQUESTED RANGE NOT SATISFIABLE"));
    assert_eq!(beyond.header("Content-Range"), Some("bytes */10"));
    let modified = whole.header("Last-Modified").unwrap();
    assert_eq!(bed.ask(with(&[("If-Modified-Since", modified)])).await.status, 304);
    bed.fault(json!({ "path": target, "count": 1, "fault": { "kind": "truncate", "bytes": 4 } }));
    let cut = bed.get(&target).await;
    assert_eq!((cut.text().as_str(), cut.header("Content-Length")), ("0123", Some("10")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_delegation_is_accepted_and_noted() {
    let mut bed = Bed::start(|_| ()).await;
    let pem = std::fs::read(&bed.sandbox.info().proxy).unwrap();
    bed.delegate().await;
    assert!(bed.sandbox.violations().is_empty());
    // The client's own proxy instead of a certificate for the request's key.
    let certs = openssl::x509::X509::stack_from_pem(&pem).unwrap();
    let text = |certs: &[openssl::x509::X509]| -> String {
        certs.iter().map(|cert| String::from_utf8(cert.to_pem().unwrap()).unwrap()).collect()
    };
    let body = json!({ "cert": text(&certs[..1]), "chain": text(&certs[1..]) });
    assert_eq!(bed.send(&Ask::new("POST", "/proxies").json(&body)).await.status, 200);
    let body = json!({ "cert": text(&certs[..1]), "chain": text(&certs[..1]) });
    assert_eq!(bed.ask(Ask::new("PUT", "/proxies").json(&body)).await.status, 200, "as the real server");
    let kinds: Vec<_> = bed.sandbox.violations().into_iter().map(|violation| violation.kind).collect();
    assert!(kinds.contains(&"proxy-key") && kinds.contains(&"proxy-chain"), "{kinds:?}");
    let shown = bed.admin(Ask::new("GET", "/violations")).await.json();
    assert_eq!(shown.as_array().unwrap().len(), kinds.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_stops_and_breaks_the_server() {
    let bed = Bed::ready(|_| ()).await;
    for (broken, status) in [(true, 500), (false, 200)] {
        assert_eq!(bed.admin(Ask::new("POST", "/broken").json(&json!(broken))).await.status, 204);
        assert_eq!(bed.get("/info").await.status, status);
    }
    let stats = bed.admin(Ask::new("GET", "/stats")).await.json();
    assert_eq!((&stats["connections_open"], &stats["jobs"]), (&json!(0), &json!(0)), "{stats}");
    let info = bed.admin(Ask::new("GET", "/")).await.json();
    assert_eq!(info["server"], bed.sandbox.info().server);
    assert_eq!(bed.admin(Ask::new("GET", "/webdav/journal")).await.json(), json!([]));
    assert_eq!(bed.admin(Ask::new("GET", "/ce/journal")).await.json(), json!([]));
    assert_eq!(bed.admin(Ask::new("POST", "/shutdown")).await.status, 202);
    timeout(common::LONG, bed.sandbox.stopped()).await.unwrap();
}
