//! Rows, uploads and descriptions.

use std::sync::Arc;

use actd::job::apply::Input;
use actd::job::fault::Class;
use actd::job::{Key, Spec};
use actd::work::{Done, ProgressSink, Work};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::bed::{Bed, OWNER, tree};

const CAT: &str = r#"&(executable="/bin/sh")(arguments="-c" "cat in.txt sub/more.txt; mkdir -p out/empty; echo x > out/x")
(inputfiles=("in.txt" "")("sub/more.txt" ""))(outputfiles=("out/" ""))(stdout="stdout.txt")(jobname="cat")"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_all_the_way() {
    let bed = Bed::start(&["--workers", "1"]).await;
    let spec = bed.spec(CAT, &[("in.txt", b"one\n"), ("sub/more.txt", b"two\n")]);
    let bad = Arc::new(Spec { clusters: vec!["https://unknown.example.org/q".into()], ..(*spec).clone() });
    let work = Work::Create(vec![(Key(1), spec.clone()), (Key(2), bad), (Key(3), spec.clone())]);
    let (inputs, fault) = bed.jobs(work).await;
    assert_eq!(fault, None);
    let Input::Created(Ok(id)) = inputs[&Key(1)] else { panic!("{inputs:?}") };
    let Input::Created(Err(refused)) = &inputs[&Key(2)] else { panic!("{inputs:?}") };
    assert_eq!((refused.class, refused.why.contains("Unknown cluster")), (Class::Rejected, true), "{refused:?}");
    let Input::Created(Ok(second)) = inputs[&Key(3)] else { panic!("{inputs:?}") };

    for (key, id) in [(Key(1), id), (Key(3), second)] {
        let upload = Work::Upload { key, id, spec: spec.clone() };
        assert_eq!(bed.one(upload).await, (Input::Uploaded(Ok(())), None));
    }
    let confirm =
        Work::Confirm(vec![(Key(1), id, spec.clone()), (Key(9), 999_999, spec.clone()), (Key(3), second, spec)]);
    let (inputs, fault) = bed.jobs(confirm).await;
    assert_eq!(fault, None);
    assert_eq!(inputs[&Key(1)], Input::Confirmed(Ok(Some("cat".into()))));
    assert!(matches!(&inputs[&Key(9)], Input::Confirmed(Err(f)) if f.class == Class::NoRow), "{inputs:?}");
    assert_eq!(inputs[&Key(3)], Input::Confirmed(Ok(Some("cat".into()))));

    bed.until(id, "done").await;
    let dir = bed.retrieved(bed.retrieve(Key(1), id).await).await;
    assert_eq!(dir, bed.results().join(format!("job{id}")));
    let mut tree = tree(&dir);
    let manifest: Value = serde_json::from_slice(&tree.remove(".actd-manifest.json").expect("manifest")).expect("json");
    assert_eq!(tree["stdout.txt"], b"one\ntwo\n");
    assert_eq!(tree.keys().map(String::as_str).collect::<Vec<_>>(), ["out/", "out/empty/", "out/x", "stdout.txt"]);
    assert_eq!((&manifest["key"], &manifest["id"], &manifest["complete"]), (&json!("j1"), &json!(id), &json!(true)));
    assert_eq!(manifest["files"].as_array().map(Vec::len), Some(2));
    assert!(bed.sent("GET", &format!("/jobs/{id}/results/gmlog")).is_empty(), "what is excluded is not asked for");

    let run = bed.run_of(id).await;
    let clean = || Work::Clean(vec![(Key(1), id, run.clone())]);
    assert_eq!(bed.one(clean()).await, (Input::Cleaned(Ok(())), None));
    assert_eq!(bed.row(id).await, None);
    assert_eq!(bed.one(clean()).await, (Input::Cleaned(Ok(())), None), "gone is what was wanted");
    assert!(bed.admin("GET", "/violations", &Value::Null).as_array().is_some_and(Vec::is_empty));
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_go_through_webdav_and_leave_nothing_there() {
    for store in ["plain", "apache", "dcache"] {
        let bed = Bed::start(&["--webdav", store]).await;
        let spec = bed.spec(CAT, &[("in.txt", b"one\n"), ("sub/more.txt", b"two\n")]);
        let spec = Arc::new(Spec { webdav: Some(bed.info("webdav")), ..(*spec).clone() });
        let [id] = bed.create(&[(Key(1), spec.clone())]).await[..] else { panic!("ids") };
        for _ in 0..2 {
            let upload = Work::Upload { key: Key(1), id, spec: spec.clone() };
            assert_eq!(bed.one(upload).await, (Input::Uploaded(Ok(())), None), "{store}");
        }
        assert_eq!(bed.sent("PUT", &format!("/jobs/{id}/data")).len(), 0);
        let confirm = Work::Confirm(vec![(Key(1), id, spec.clone())]);
        assert_eq!(bed.one(confirm).await, (Input::Confirmed(Ok(Some("cat".into()))), None), "{store}");
        bed.until(id, "done").await;
        let dir = bed.retrieved(bed.retrieve(Key(1), id).await).await;
        assert_eq!(tree(&dir)["stdout.txt"], b"one\ntwo\n", "{store}");
        for _ in 0..2 {
            let sweep = Work::Sweep { key: Key(1), id, base: bed.info("webdav"), files: None };
            assert_eq!(bed.one(sweep).await, (Input::Swept(id, Ok(())), None), "{store}");
        }
        let left = bed.admin("GET", "/webdav/contents", &Value::Null).to_string();
        assert!(!left.contains("in.txt") && !left.contains("more.txt"), "{store}: {left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_share_a_file_on_every_kind_of_store() {
    for store in ["plain", "apache", "dcache"] {
        let bed = Bed::start(&["--webdav", store]).await;
        let base = bed.info("webdav");
        let spec = bed.spec(CAT, &[("in.txt", b"one\n"), ("sub/more.txt", b"two\n")]);
        let staged = vec!["actd-a-4-i.1".into(), "actd-b-4-i.1".into()];
        let spec = Arc::new(Spec { webdav: Some(base.clone()), staged: staged.clone(), ..(*spec).clone() });
        let ids = bed.create(&[(Key(1), spec.clone()), (Key(2), spec.clone())]).await;
        for (key, id) in [(Key(1), ids[0]), (Key(2), ids[1])] {
            let upload = Work::Upload { key, id, spec: spec.clone() };
            assert_eq!(bed.one(upload).await, (Input::Uploaded(Ok(())), None), "{store}");
        }
        let puts = |bed: &Bed| bed.admin("GET", "/webdav/journal", &Value::Null).to_string().matches("\"PUT\"").count();
        let sent = puts(&bed);
        assert_eq!(
            sent,
            if store == "dcache" { 4 } else { 2 },
            "{store}: the first job's, at the door and at the pool"
        );
        // After a restart nobody remembers; a file that jobs may be reading is not written again.
        let restarted = crate::bed::hands(bed.addresses(), bed.config.clone()).await;
        let upload = Work::Upload { key: Key(1), id: ids[0], spec: spec.clone() };
        match restarted.run(upload, OWNER, ProgressSink::none(), CancellationToken::new()).await {
            Done::Jobs { inputs, .. } => assert_eq!(inputs, [(Key(1), Input::Uploaded(Ok(())))], "{store}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(puts(&bed), sent, "{store}");
        let confirm = Work::Confirm(vec![(Key(1), ids[0], spec.clone()), (Key(2), ids[1], spec.clone())]);
        bed.jobs(confirm).await;
        for id in &ids {
            bed.until(*id, "done").await;
        }
        let dir = bed.retrieved(bed.retrieve(Key(2), ids[1]).await).await;
        assert_eq!(tree(&dir)["stdout.txt"], b"one\ntwo\n", "{store}");
        let sweep = |files| Work::Sweep { key: Key(1), id: ids[0], base: base.clone(), files: Some(files) };
        for files in [vec![], staged.clone(), staged] {
            assert_eq!(bed.one(sweep(files)).await, (Input::Swept(ids[0], Ok(())), None), "{store}");
        }
        let left = bed.admin("GET", "/webdav/contents", &Value::Null).to_string();
        assert!(!left.contains("actd-"), "{store}: {left}");
        assert_eq!(puts(&bed), sent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_changed_is_not_sent() {
    let bed = Bed::start(&[]).await;
    let spec = bed.spec(CAT, &[("in.txt", b"one\n"), ("sub/more.txt", b"two\n")]);
    let [id] = bed.create(&[(Key(1), spec.clone())]).await[..] else { panic!("ids") };
    std::fs::write(&spec.inputs[1].path, "other").expect("write");
    let (input, fault) = bed.one(Work::Upload { key: Key(1), id, spec: spec.clone() }).await;
    let Input::Uploaded(Err(why)) = input else { panic!("{input:?}") };
    assert_eq!((why.class, fault), (Class::Local, None));
    assert!(why.why.contains("input changed since submission") && why.why.contains("more.txt"), "{}", why.why);
    assert_eq!(bed.sent("PUT", &format!("/jobs/{id}/data/sub")).len(), 0);

    let gone = Work::Upload { key: Key(2), id: 999_999, spec: bed.spec(CAT, &[("in.txt", b"x")]) };
    let (input, fault) = bed.one(gone).await;
    assert!(matches!(&input, Input::Uploaded(Err(f)) if f.class == Class::NoRow), "{input:?}");
    assert_eq!(fault, None, "a row that is gone says nothing about the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_uploaded_is_not_uploaded_again_after_a_break() {
    let bed = Bed::start(&[]).await;
    let spec = bed.spec(CAT, &[("in.txt", &[b'x'; 100_000]), ("sub/more.txt", b"two\n")]);
    let [id] = bed.create(&[(Key(1), spec.clone())]).await[..] else { panic!("ids") };
    bed.fault(
        &json!({"method": "PUT", "path": "/jobs/*/data/sub*", "count": 1, "fault": {"kind": "reset", "after_bytes": 2}}),
    );
    let upload = || Work::Upload { key: Key(1), id, spec: spec.clone() };
    let (input, fault) = bed.one(upload()).await;
    assert!(matches!(&input, Input::Uploaded(Err(f)) if f.class == Class::Ambiguous), "{input:?}");
    assert_eq!(fault.map(|f| f.class), Some(Class::Ambiguous));
    assert_eq!(bed.one(upload()).await, (Input::Uploaded(Ok(())), None));
    assert_eq!(bed.sent("PUT", &format!("/jobs/{id}/data/in.txt")).len(), 1);
    assert_eq!(bed.sent("PUT", &format!("/jobs/{id}/data/sub")).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_by_what_they_allow() {
    let mut bed = Bed::start(&[]).await;
    let spec = bed.spec("&(executable=\"/bin/true\")", &[]);
    let jobs: Vec<_> = (1..4).map(|n| (Key(n), spec.clone())).collect();
    let lost = |method: &str| json!({"method": method, "path": "/jobs", "count": 1, "fault": {"kind": "reset", "execute": true}});
    for (fault, class) in [
        (lost("POST"), Class::Ambiguous),
        (
            json!({"method": "POST", "path": "/jobs", "count": 1, "fault": {"kind": "status", "status": 500}}),
            Class::Ambiguous,
        ),
        (
            json!({"method": "POST", "path": "/jobs", "count": 1, "fault": {"kind": "status", "status": 503, "retry_after": 7}}),
            Class::Transient,
        ),
        (
            json!({"method": "POST", "path": "/jobs", "count": 1, "fault": {"kind": "status", "status": 401, "msg": "Auth token is expired"}}),
            Class::Auth,
        ),
        (
            json!({"method": "POST", "path": "/jobs", "count": 1, "fault": {"kind": "status", "status": 404, "html": true}}),
            Class::Transient,
        ),
        (
            json!({"method": "POST", "path": "/jobs", "count": 1, "fault": {"kind": "body", "body": "[{\"id\": 5}]"}}),
            Class::Ambiguous,
        ),
    ] {
        bed.fault(&fault);
        let (inputs, whole) = bed.jobs(Work::Create(jobs.clone())).await;
        assert_eq!(inputs.len(), 3);
        for input in inputs.values() {
            let Input::Created(Err(why)) = input else { panic!("{fault}: {input:?}") };
            assert_eq!(why.class, class, "{fault}: {why:?}");
            if fault.to_string().contains("retry_after") {
                assert_eq!(why.retry_after_ms, Some(7_000));
            }
        }
        assert_eq!(whole.map(|w| w.class), Some(class), "{fault}");
    }
    let [id] = bed.create(&jobs[..1]).await[..] else { panic!("ids") };
    let confirm = || Work::Confirm(vec![(Key(1), id, spec.clone())]);
    bed.fault(
        &json!({"method": "PUT", "path": "/jobs", "count": 1, "fault": {"kind": "body", "body": "[]", "execute": true}}),
    );
    let (input, _) = bed.one(confirm()).await;
    assert!(matches!(&input, Input::Confirmed(Err(f)) if f.class == Class::Ambiguous), "{input:?}");
    assert!(matches!(bed.one(confirm()).await.0, Input::Confirmed(Ok(_))), "the same description again does no harm");
    bed.until(id, "done").await;

    bed.end_server();
    let (input, fault) = bed.one(Work::Look(vec![(Key(1), id)])).await;
    assert!(matches!(&input, Input::Looked(Err(f)) if f.class == Class::Transient), "{input:?}");
    assert!(fault.is_some_and(|f| f.class == Class::Transient && f.why.contains("refused")));
}
