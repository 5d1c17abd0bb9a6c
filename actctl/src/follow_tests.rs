//! What a submission shows, from what the daemon may say of its jobs.

use act_proto::jobs::{Origin, Waiting};

use super::*;

fn job(key: &str, phase: Phase) -> Job {
    Job {
        key: key.into(),
        id: None,
        name: Some("hello".into()),
        arcstate: None,
        state: None,
        job_id: None,
        phase,
        outcome: None,
        waiting: None,
        origin: Origin::Submitted,
        batch: None,
        description: None,
        webdav: None,
        results: None,
        error: None,
        error_kind: None,
        exit_code: None,
        progress: None,
        submitted: String::new(),
        changed: String::new(),
        rev: 1,
    }
}

fn submission(keys: &[&str]) -> Submission {
    let mut s = Submission::default();
    for key in keys {
        let item = SubmitItem { key: Some((*key).into()), ..SubmitItem::default() };
        s.push(Item::from_reply(&format!("{key}.xrsl"), item));
    }
    s
}

#[test]
fn a_job_is_inserted_when_it_is_active() {
    let mut s = submission(&["j1"]);
    let mut j = job("j1", Phase::Uploading);
    j.id = Some(7);
    s.update(&[j.clone()]);
    assert_eq!(s.items[0].line(), None);
    assert_eq!(s.pending(), ["j1"]);
    j.phase = Phase::Active;
    s.update(&[j]);
    assert_eq!(s.items[0].line().unwrap(), "Inserted job hello with ID 7");
    assert_eq!((s.exit(), s.decided()), (0, 1));
}

#[test]
fn a_job_that_was_quick_is_inserted_too() {
    let mut s = submission(&["j1"]);
    let mut j = job("j1", Phase::Closed);
    (j.id, j.outcome, j.arcstate) = (Some(7), Some("collected".into()), Some("done".into()));
    s.update(&[j]);
    assert_eq!(s.items[0].fate, Fate::Inserted(7));
}

#[test]
fn failures_are_told_as_act_tells_them() {
    let mut s = submission(&["j1", "j2"]);
    let mut j = job("j1", Phase::Closed);
    (j.outcome, j.error) = (Some("not_submitted".into()), Some("Unknown cluster https://nosuch/q".into()));
    j.error_kind = Some(Kind::UnknownClusters);
    s.update(&[j.clone()]);
    assert_eq!(s.items[0].line().unwrap(), "Job description j1.xrsl not submitted: Unknown cluster https://nosuch/q");
    j.key = "j2".into();
    (j.id, j.error, j.error_kind) = (Some(8), Some("Input file /x missing".into()), None);
    s.update(&[j]);
    assert_eq!(s.items[1].line().unwrap(), "Job hello not submitted: Input file /x missing");
    assert_eq!(s.exit(), SOME_FAILED, "two sorts of reasons");
}

#[test]
fn one_sort_of_reason_for_all_is_the_exit_code() {
    let mut s = Submission::default();
    for path in ["a.xrsl", "b.xrsl"] {
        let item = SubmitItem { error: Some("line 1: no".into()), ..SubmitItem::default() };
        s.push(Item::from_reply(path, item));
    }
    assert_eq!(s.exit(), DESCRIPTION);
    s.push(Item::from_reply("c", SubmitItem { key: Some("j9".into()), ..SubmitItem::default() }));
    let mut j = job("j9", Phase::Active);
    j.id = Some(1);
    s.update(&[j]);
    assert_eq!(s.exit(), SOME_FAILED);
    assert_eq!(s.items[0].line().unwrap(), "Job description a.xrsl not submitted: line 1: no");
}

#[test]
fn waiting_counts_when_all_wait() {
    let mut s = submission(&["j1", "j2"]);
    let mut j = job("j1", Phase::Queued);
    j.waiting = Some(Waiting { reason: "server".into(), message: "away".into(), hint: None, until: None });
    s.update(&[j.clone()]);
    assert_eq!(s.all_wait_for(), None);
    j.key = "j2".into();
    s.update(&[j]);
    assert_eq!(s.all_wait_for().unwrap().0, "server");
    s.fail_pending("gave up", None, SERVER);
    assert_eq!((s.exit(), s.decided()), (SERVER, 2));
}

#[test]
fn a_killed_job_counts_as_inserted_only_if_the_server_had_it() {
    let mut s = submission(&["j1", "j2"]);
    let mut j = job("j1", Phase::Closed);
    (j.id, j.outcome) = (Some(3), Some("killed".into()));
    s.update(&[j.clone()]);
    assert!(matches!(s.items[0].fate, Fate::Failed { .. }));
    (j.key, j.arcstate) = ("j2".into(), Some("cancelled".into()));
    s.update(&[j]);
    assert_eq!(s.items[1].fate, Fate::Inserted(3));
}

#[test]
fn the_exit_code_is_that_of_the_errors_kind_whatever_its_words() {
    for (kind, exit) in [
        (Some(Kind::UnknownClusters), 2),
        (Some(Kind::BadDescription), 4),
        (Some(Kind::LocalFile), 6),
        (Some(Kind::ServerRefused), 5),
        (None, 5),
    ] {
        let mut s = submission(&["j1"]);
        let mut j = job("j1", Phase::Closed);
        (j.outcome, j.error_kind) = (Some("not_submitted".into()), kind);
        j.error = Some("the token of Unknown cluster /proxy is not a file".into());
        s.update(&[j]);
        assert_eq!(s.exit(), exit, "{kind:?}");
    }
}
