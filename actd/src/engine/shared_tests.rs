//! Counts of shared files: whoever comes joins what lives, and nothing that is being deleted.

use std::sync::Arc;

use super::shared::Shared;
use crate::job::{Job, Key, Outcome, Phase, Time};

const BASE: &str = "https://dav/x";
const INSTANCE: &str = "0123456789";

fn join(shared: &mut Shared, key: u64, contents: &[&str]) -> Vec<Arc<str>> {
    let contents: Vec<String> = contents.iter().map(|c| format!("actd-{c}-1")).collect();
    shared.join(Key(key), BASE, &contents, INSTANCE)
}

fn job(key: u64, phase: Phase) -> Job {
    Job { key: Key(key), phase, ..crate::job::tests::new_job(true, true) }
}

#[test]
fn the_last_one_deletes_and_the_next_one_begins_anew() {
    let mut shared = Shared::default();
    let first = join(&mut shared, 1, &["a", "b", "a"]);
    assert_eq!(
        first.iter().map(|f| &**f).collect::<Vec<_>>(),
        ["actd-a-1-01234567.1", "actd-b-1-01234567.1", "actd-a-1-01234567.1"]
    );
    let second = join(&mut shared, 2, &["a"]);
    assert_eq!(second[0], first[0]);
    assert_eq!(shared.release(Key(1), BASE), vec![first[1].clone()], "the other one is needed yet");
    assert_eq!(join(&mut shared, 3, &["a"])[0], first[0], "it lives as long as one needs it");
    assert_eq!(shared.release(Key(3), BASE), vec![]);
    assert_eq!(shared.release(Key(2), BASE), vec![first[0].clone()]);
    assert_eq!(shared.release(Key(2), BASE), vec![first[0].clone()], "a sweep that failed deletes the same again");
    let third = join(&mut shared, 4, &["a"]);
    assert_eq!(&*third[0], "actd-a-1-01234567.4", "nobody joins what is being deleted");
    assert_eq!(shared.release(Key(2), BASE), vec![first[0].clone()], "which touches the new one in no way");
    shared.forget(Key(2));
    assert_eq!(shared.files(Key(2)), None);
    assert_eq!(shared.release(Key(4), BASE), third);
}

#[test]
fn after_a_restart_nobody_joins_what_may_be_being_deleted() {
    let over = Phase::Closed { id: Some(1), outcome: Outcome::Collected, dir: None, at: Time(0) };
    let mut shared = Shared::default();
    shared.restore(&job(1, over.clone()), vec!["actd-a-1-01234567.1".into()]);
    assert_eq!(&*join(&mut shared, 2, &["a"])[0], "actd-a-1-01234567.2");
    assert_eq!(shared.release(Key(1), BASE).len(), 1);

    let mut shared = Shared::default();
    shared.restore(&job(1, over), vec!["actd-a-1-01234567.1".into()]);
    shared.restore(&job(2, Phase::Active { id: 2 }), vec!["actd-a-1-01234567.1".into()]);
    assert_eq!(&*join(&mut shared, 3, &["a"])[0], "actd-a-1-01234567.1", "a job on the server holds it");
    assert_eq!(shared.release(Key(1), BASE), vec![]);
}
