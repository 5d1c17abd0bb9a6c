//! Kill, fetch, resubmit, clean, and the cancelling of unused rows.

use actd::job::Key;
use actd::job::apply::{Input, Words};
use actd::work::Work;
use serde_json::{Value, json};

use crate::bed::Bed;

#[tokio::test(flavor = "multi_thread")]
async fn only_the_run_that_was_meant_is_cleaned() {
    let bed = Bed::start(&[]).await;
    let ids = bed.done_jobs(3, &json!({"out.txt": "x"}));
    let run = bed.run_of(ids[0]).await;
    bed.admin("POST", &format!("/jobs/{}/state", ids[1]), &json!({"arcstate": "running"}));
    let running = bed.run_of(ids[1]).await;
    let clean = Work::Clean(vec![
        (Key(1), ids[0], run),
        (Key(2), ids[1], running),
        (Key(3), ids[2], "https://ce/arex/rest/1.0/jobs/other".into()),
        (Key(4), 999_999, "".into()),
    ]);
    let (inputs, fault) = bed.jobs(clean).await;
    assert_eq!(fault, None);
    assert_eq!(inputs[&Key(1)], Input::Cleaned(Ok(())));
    assert!(matches!(&inputs[&Key(2)], Input::NotCleaned(row) if row.id == ids[1]), "{inputs:?}");
    assert!(matches!(&inputs[&Key(3)], Input::NotCleaned(row) if row.id == ids[2]), "{inputs:?}");
    assert_eq!(inputs[&Key(4)], Input::Cleaned(Ok(())));
    let deletes = bed.sent("DELETE", "/jobs");
    assert_eq!(deletes.len(), 1);
    assert_eq!(deletes[0]["query"], format!("id={}", ids[0]));

    // Nothing to clean: nothing is sent, for without ids it would mean all.
    let clean = Work::Clean(vec![(Key(2), ids[1], "".into()), (Key(4), 999_999, "".into())]);
    bed.jobs(clean).await;
    assert_eq!(bed.jobs(Work::Clean(Vec::new())).await.0.len(), 0);
    assert_eq!(bed.sent("DELETE", "/jobs").len(), 1);
    let whatever = Work::Clean(vec![(Key(3), ids[2], "".into())]);
    assert_eq!(bed.one(whatever).await, (Input::Cleaned(Ok(())), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_lost_a_column_is_cleaned_all_the_same() {
    let bed = Bed::start(&[]).await;
    for id in bed.done_jobs(2, &json!({"out.txt": "x"})) {
        let run = bed.run_of(id).await;
        assert_eq!(bed.one(Work::Clean(vec![(Key(id), id, run)])).await, (Input::Cleaned(Ok(())), None));
        // As after an upgrade of the server: from now on it does not know a column that it had named.
        let refused = json!({"kind": "status", "status": 400, "msg": "Unknown column: created"});
        bed.fault(&json!({"method": "GET", "path": "/jobs", "query": "created", "fault": refused}));
    }
    assert!(bed.admin("GET", "/faults", &Value::Null).to_string().contains("created"));
    let refused = bed.sent("GET", "/jobs").iter().filter(|entry| entry["status"] == 400).count();
    assert_eq!(refused, 1, "the fault is of no use");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_clean_is_success_the_next_time() {
    let bed = Bed::start(&[]).await;
    let [id] = bed.done_jobs(1, &json!({"out.txt": "x"}))[..] else { panic!("ids") };
    let run = bed.run_of(id).await;
    bed.fault(&json!({"method": "DELETE", "path": "/jobs", "count": 1, "fault": {"kind": "reset", "execute": true}}));
    let clean = || Work::Clean(vec![(Key(1), id, run.clone())]);
    let (input, fault) = bed.one(clean()).await;
    assert!(matches!(input, Input::Cleaned(Err(_))) && fault.is_some());
    assert_eq!(bed.one(clean()).await, (Input::Cleaned(Ok(())), None));
    assert_eq!(bed.sent("DELETE", "/jobs").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_unused_rows_are_cancelled() {
    let bed = Bed::start(&["--delays", "handover=60000"]).await;
    let spec = bed.spec("&(executable=\"/bin/true\")(jobname=\"used\")", &[]);
    let ids = bed.create(&[(Key(1), spec.clone()), (Key(2), spec.clone())]).await;
    let confirm = Work::Confirm(vec![(Key(2), ids[1], spec)]);
    assert!(matches!(bed.one(confirm).await.0, Input::Confirmed(Ok(_))));
    let cancel = || Work::CancelRows(vec![(Key(1), ids[0]), (Key(2), ids[1]), (Key(3), 999_999)]);
    for _ in 0..2 {
        let (inputs, fault) = bed.jobs(cancel()).await;
        assert_eq!(fault, None);
        for (key, id, gone) in [(Key(1), ids[0], true), (Key(2), ids[1], false), (Key(3), 999_999, true)] {
            assert_eq!(inputs[&key], Input::RowCancelled(id, Ok(gone)));
        }
    }
    let rows = bed.rows().await;
    assert!(!rows.contains_key(&ids[0]) && rows.contains_key(&ids[1]), "{rows:?}");
    let patches = bed.sent("PATCH", "/jobs");
    assert_eq!(patches.len(), 1, "what is left is not ours to cancel: {patches:?}");
    assert!(patches[0]["query"].as_str().is_some_and(|q| q.contains(&format!("id={}&", ids[0]))), "{patches:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_fetch_and_resubmit_say_what_the_server_took() {
    let bed = Bed::start(&[]).await;
    let sleep = bed.spec("&(executable=\"/bin/sleep\")(arguments=\"60\")(jobname=\"sleep\")", &[]);
    let fail =
        bed.spec("&(executable=\"/bin/sh\")(arguments=\"-c\" \"exit 3\")(stdout=\"out\")(jobname=\"fail\")", &[]);
    let ids = bed.create(&[(Key(1), sleep.clone()), (Key(2), fail.clone())]).await;
    bed.jobs(Work::Confirm(vec![(Key(1), ids[0], sleep), (Key(2), ids[1], fail)])).await;
    bed.until(ids[0], "running").await;
    bed.until(ids[1], "failed").await;

    let (inputs, _) = bed.jobs(Work::Kill(vec![(Key(1), ids[0]), (Key(2), ids[1])])).await;
    assert!(matches!(&inputs[&Key(1)], Input::Killed(Ok(Some(kill))) if !kill.gone), "{inputs:?}");
    assert_eq!(inputs[&Key(2)], Input::Killed(Ok(None)), "its state forbids it");
    bed.until(ids[0], "cancelled").await;

    let (inputs, _) = bed.jobs(Work::Look(vec![(Key(1), ids[0]), (Key(2), ids[1]), (Key(3), 999_999)])).await;
    let Input::Looked(Ok(Words { error: Some(error), exit_code: Some(3) })) = &inputs[&Key(2)] else {
        panic!("{inputs:?}")
    };
    assert!(error.contains("wrong exit code - 3"), "{error}");
    assert!(matches!(inputs[&Key(3)], Input::Looked(Err(_))));

    let (inputs, _) = bed.jobs(Work::Fetch(vec![(Key(1), ids[0]), (Key(2), ids[1])])).await;
    assert_eq!((&inputs[&Key(1)], &inputs[&Key(2)]), (&Input::Fetched(Ok(false)), &Input::Fetched(Ok(true))));
    let before = bed.until(ids[1], "donefailed").await.run;
    let of = before.clone().unwrap_or_default();
    let resubmit = || Work::Resubmit(vec![(Key(1), ids[0], "".into()), (Key(2), ids[1], of.clone().into())]);
    let (inputs, _) = bed.jobs(resubmit()).await;
    assert_eq!((&inputs[&Key(1)], &inputs[&Key(2)]), (&Input::Resubmitted(Ok(false)), &Input::Resubmitted(Ok(true))));
    let again = bed.until(ids[1], "failed").await.run;
    assert_ne!(before, again, "another run");
    // The same wish again, as after an answer that was lost: that run is not the one any more.
    let (inputs, _) = bed.jobs(resubmit()).await;
    assert_eq!(inputs[&Key(2)], Input::Resubmitted(Ok(false)));
    assert_eq!(bed.until(ids[1], "failed").await.run, again);
    assert!(bed.admin("GET", "/violations", &Value::Null).as_array().is_some_and(Vec::is_empty));
}
