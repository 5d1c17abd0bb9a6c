//! The aCT server: delegation, a job's whole life, the four actions, refusals, and requests that go wrong.

use std::time::{Duration, SystemTime};

use actd::auth::{Token, delegate};
use actd::fsutil::RelPath;
use actd::remote::act::{ActClient, Column, NoResults};
use actd::remote::{AuthReason, ErrorClass, FileRange, Ids, RemoteError};
use actd::secret::Secret;
use serde_json::{Value, json};

use crate::harness::{Sandbox, input, submit, wait_for};

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
    let mut todo: Vec<(RelPath, bool)> =
        entries.iter().map(|e| (RelPath::top(&e.name).expect("a safe name"), e.is_dir)).collect();
    while let Some((path, is_dir)) = todo.pop() {
        if is_dir {
            std::fs::create_dir_all(target.join(path.as_str())).expect("mkdir");
            let below = client.results_list(id, path.as_str()).await.expect("list").expect("results");
            todo.extend(below.iter().map(|e| (path.child(&e.name).expect("a safe name"), e.is_dir)));
        } else {
            let content = read(&client, id, path.as_str(), &FileRange::default()).await.expect("file");
            std::fs::write(target.join(path.as_str()), content).expect("write");
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
    let listing = client.list(Column::POLL).await.expect("list");
    let row = listing.rows.iter().find(|row| row.id == half).expect("the empty row is listed");
    assert!(row.arcstate.is_none() && row.jobname.is_none(), "{row:?}");
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
    let (client, hasty) = sandbox.users().await;
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
    let error = hasty.list(&[]).await.expect_err("stall");
    assert_eq!(error.class(), &ErrorClass::Transient { retry_after: None }, "{error}");
    sandbox.fault(once("GET", "/jobs", json!({"kind": "status", "status": 503, "retry_after": 7}))).await;
    assert_eq!(client.list(&[]).await.expect_err("503").retry_after(), Some(Duration::from_secs(7)));
    sandbox.fault(once("GET", "/jobs", json!({"kind": "truncate", "bytes": 5}))).await;
    assert!(client.list(&[]).await.is_err());
    sandbox.fault(once("GET", "/jobs", json!({"kind": "body", "body": "<html>", "content_type": "text/html"}))).await;
    assert_eq!(client.list(&[]).await.expect_err("html").class(), &ErrorClass::Server);
    sandbox.fault(once("GET", "/jobs", json!({"kind": "endless", "content_length": 99_999_999_999u64}))).await;
    assert!(hasty.list(&[]).await.is_err());
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
        let error = read(&hasty, id, "o", &FileRange::default()).await.expect_err("broken");
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
