//! Single histories of jobs on their way to the server or out of it again: each went wrong once, or must never.

use super::cases::{active, failed_row};
use super::*;

/// A job with inputs whose description was sent, and nobody knows whether it came.
fn undecided(sent: Time) -> Job {
    let mut job = new_job(true, true);
    for input in [
        Input::BeginCreate { floor: 0 },
        Input::Created(Ok(5)),
        Input::Begin(Action::Upload),
        Input::Uploaded(Ok(())),
        Input::Begin(Action::Confirm),
        Input::Confirmed(Err(Fault::new(Class::Ambiguous, "no answer"))),
    ] {
        apply(&mut job, input, sent);
    }
    job
}

#[test]
fn a_kill_waits_for_a_description_that_may_still_be_taken() {
    let mut job = new_job(false, false);
    let now = Time(5_000_000);
    apply(&mut job, Input::BeginCreate { floor: 0 }, now);
    apply(&mut job, Input::Created(Ok(5)), now);
    apply(&mut job, Input::Begin(Action::Confirm), now);
    apply(&mut job, Input::Confirmed(Err(Fault::new(Class::Ambiguous, "no answer"))), now);
    apply(&mut job, kill(), now);
    // The same description may go again at once; the kill may not.
    assert_eq!(next(&job, now, &POLICY), Next::Do(Action::Confirm));
    apply(&mut job, Input::Confirmed(Ok(None)), now);
    assert_eq!(next(&job, now, &POLICY), Next::Do(Action::Kill), "an answered request is not in flight any more");
}

/// Another client took the row for a leftover while the answer to our description was lost.
#[test]
fn a_row_that_vanishes_under_its_description_is_replaced_if_the_job_cannot_have_run() {
    let lost = || Input::Confirmed(Err(Fault::new(Class::Ambiguous, "no answer")));
    let no_row = || Input::Confirmed(Err(Fault::new(Class::NoRow, "Job ID 5 does not exist")));
    let sent = Time(5_000_000);
    for (empty_at, after, is_replaced) in
        [(None, 8_000, true), (None, 40_000, false), (Some(30_000), 40_000, true), (Some(10_000), 40_000, false)]
    {
        let mut job = new_job(false, false);
        for input in [Input::BeginCreate { floor: 0 }, Input::Created(Ok(5)), Input::Begin(Action::Confirm), lost()] {
            apply(&mut job, input, sent);
        }
        apply(&mut job, no_row(), sent.plus(1_000));
        assert!(matches!(job.phase, Phase::Confirming { .. }), "one answer is no list: {job:?}");
        let missing = Input::Missing { empty_at: empty_at.map(|ms| sent.plus(ms)) };
        apply(&mut job, missing.clone(), sent.plus(after - 1_000));
        apply(&mut job, missing, sent.plus(after));
        match job.phase {
            Phase::Queued if is_replaced => assert_eq!((job.recreated, job.in_flight_until), (1, Time::default())),
            Phase::Unknown { .. } if !is_replaced => {}
            _ => panic!("{empty_at:?} {after}: {job:?}"),
        }
    }
    // The first answer of all says it: nothing was ever taken.
    let mut job = new_job(false, false);
    for input in [Input::BeginCreate { floor: 0 }, Input::Created(Ok(5)), Input::Begin(Action::Confirm), no_row()] {
        apply(&mut job, input, sent);
    }
    assert_eq!(job.phase, Phase::Queued);
}

/// A repetition of a description is refused: that says nothing of the first one, whose answer was lost.
#[test]
fn a_refused_repetition_is_no_refusal_of_what_may_run() {
    let sent = Time(5_000_000);
    let refusal = |class| Input::Confirmed(Err(Fault::new(class, "Server error")));
    let empty = Row { name: None, arcstate: Arcstate::None, state: None, run: None, ..done_row() };
    for class in [Class::Rejected, Class::Local] {
        let mut job = undecided(sent);
        // However often, and also when none of it can be executed any more: the last list may be older than that.
        for minutes in [1, 10, 20] {
            apply(&mut job, Input::Listed(empty.clone()), sent.plus(minutes * 60_000));
            apply(&mut job, refusal(class), sent.plus(minutes * 60_000));
            assert!(matches!(job.phase, Phase::Confirming { .. }) && job.leftovers.is_empty(), "{minutes}: {job:?}");
        }
        let mut runs = job.clone();
        apply(&mut runs, Input::Listed(Row { arcstate: Arcstate::Running, ..done_row() }), sent.plus(1_200_000));
        assert!(matches!(runs.phase, Phase::Active { .. }) && runs.leftovers.is_empty(), "{runs:?}");
        // Nothing was taken, and nothing can be.
        apply(&mut job, Input::ListedUntaken(empty.clone()), sent.plus(1_200_000));
        apply(&mut job, refusal(class), sent.plus(1_300_000));
        assert!(matches!(job.phase, Phase::Closed { outcome: Outcome::NotSubmitted, .. }), "{job:?}");
        // If it should be a job all the same, its inputs stay as well.
        let mut alone = job.clone();
        apply(&mut alone, Input::RowCancelled(5, Ok(false)), sent.plus(1_300_000));
        assert!(alone.is_history(), "{alone:?}");
        apply(&mut job, Input::RowCancelled(5, Ok(true)), sent.plus(1_300_000));
        assert!(job.leftovers.iter().any(|l| !l.row && l.webdav.is_some()), "{job:?}");
    }
}

/// A row that vanished before it could run is not asked for again for a job that is to be killed.
#[test]
fn a_killed_job_gets_no_other_row() {
    let now = Time(5_000_000);
    let mut job = new_job(false, true);
    for input in [Input::BeginCreate { floor: 0 }, Input::Created(Ok(5)), Input::Begin(Action::Confirm), kill()] {
        apply(&mut job, input, now);
    }
    apply(&mut job, Input::Confirmed(Err(Fault::new(Class::NoRow, "gone"))), now);
    assert!(matches!(job.phase, Phase::Closed { outcome: Outcome::Killed, .. }), "{job:?}");
    assert!(job.leftovers.iter().any(|l| l.webdav.is_some()), "{job:?}");
}

/// A kill that got no answer may still be executed, whatever reads say meanwhile.
#[test]
fn a_lost_kill_does_not_meet_a_new_run() {
    let now = Time(5_000_000);
    let running = Row { arcstate: Arcstate::Running, ..done_row() };
    let mut job = active(running, now);
    apply(&mut job, kill(), now);
    assert_eq!(next(&job, now, &POLICY), Next::Do(Action::Kill));
    apply(&mut job, Input::Killed(Err(Fault::new(Class::Ambiguous, "no answer"))), now);
    let late = now.plus(15 * 60_000);
    let Next::Wait(at) = next(&job, now, &POLICY) else { panic!("{job:?}") };
    assert!(at < late, "the same may be sent again");
    apply(&mut job, Input::Listed(failed_row(Arcstate::Failed)), now);
    apply(&mut job, Input::Looked(Ok(Words::default())), now);
    apply(&mut job, Input::Wish(Wish::Resubmit), now);
    assert_eq!(next(&job, now, &POLICY), Next::Wait(late));
    assert_eq!(next(&job, late, &POLICY), Next::Do(Action::Resubmit));
    // The server shows that it was executed: no more to fear.
    let mut job = active(failed_row(Arcstate::Failed), now);
    apply(&mut job, Input::Wish(Wish::Resubmit), now);
    apply(&mut job, Input::Resubmitted(Err(Fault::new(Class::Ambiguous, "no answer"))), now);
    apply(&mut job, Input::Listed(failed_row(Arcstate::ToResubmit)), now);
    assert_eq!(job.in_flight_until, Time::default());
}

#[test]
fn inputs_of_a_killed_job_are_not_uploaded() {
    let now = Time(5_000_000);
    let uploading = || {
        let mut job = new_job(true, true);
        for input in [Input::BeginCreate { floor: 0 }, Input::Created(Ok(5)), Input::Begin(Action::Upload)] {
            apply(&mut job, input, now);
        }
        job
    };
    let killed = |job: &Job| {
        let row = job.leftovers.iter().any(|l| l.row && l.id == 5);
        row && matches!(job.phase, Phase::Closed { outcome: Outcome::Killed, .. })
    };
    // Between two attempts.
    let mut job = uploading();
    apply(&mut job, Input::Uploaded(Err(Fault::new(Class::Transient, "no"))), now);
    apply(&mut job, Input::Wish(Wish::Kill { webdav: None, is_idle: true }), now);
    assert!(killed(&job), "{job:?}");
    // While one was under way when the daemon ended.
    let mut job = uploading();
    apply(&mut job, kill(), now);
    assert!(!killed(&job), "{job:?}");
    recover(&mut job, now);
    assert!(killed(&job), "{job:?}");
}

#[test]
fn a_kill_remembers_where_inputs_of_somebody_elses_job_are() {
    let now = Time(5_000_000);
    let mut job = Job::new(Key(7), Origin::Foreign, 1, Phase::Active { id: 5 }, now);
    apply(&mut job, Input::Listed(Row { arcstate: Arcstate::None, run: None, ..done_row() }), now);
    apply(&mut job, Input::Wish(Wish::Kill { webdav: Some("https://dav/x".into()), is_idle: true }), now);
    apply(&mut job, Input::Killed(Ok(Some(Kill { arcstate: Arcstate::None, gone: true }))), now);
    let left: Vec<_> = job.leftovers.iter().map(|l| (l.id, l.webdav.as_deref())).collect();
    assert_eq!(left, [(5, Some("https://dav/x"))]);
}

/// The clock was set back while a description was under way: how long it has been is not known.
#[test]
fn a_clock_that_steps_back_never_makes_a_job_run_twice() {
    let now = Time(5_000_000);
    let mut job = new_job(false, false);
    for input in [Input::BeginCreate { floor: 0 }, Input::Created(Ok(5)), Input::Begin(Action::Confirm)] {
        apply(&mut job, input, now);
    }
    for _ in 0..2 {
        apply(&mut job, Input::Missing { empty_at: None }, now.plus(-3_600_000));
    }
    assert!(matches!(job.phase, Phase::Unknown { .. }), "{job:?}");
}

/// What failed for a row changes nothing for the directory of the same id, and the other way round.
#[test]
fn a_leftover_row_and_its_directory_are_put_off_apart() {
    let now = Time(5_000_000);
    let mut job = new_job(true, true);
    for input in [
        Input::BeginCreate { floor: 0 },
        Input::Created(Ok(5)),
        Input::Begin(Action::Upload),
        Input::Uploaded(Err(Fault::new(Class::Ambiguous, "no answer"))),
        Input::Wish(Wish::Kill { webdav: None, is_idle: true }),
    ] {
        apply(&mut job, input, now);
    }
    let sweep = |job: &Job| job.leftovers.iter().find(|l| !l.row).map(|l| (l.not_before, l.attempts));
    let before = sweep(&job);
    assert!(before.is_some(), "{job:?}");
    apply(&mut job, Input::RowCancelled(5, Err(Fault::new(Class::Transient, "no"))), now);
    assert_eq!(sweep(&job), before);
}

/// A job that nobody knows the end of keeps its inputs, until somebody says that it is over.
#[test]
fn a_clean_of_a_job_that_may_have_run_takes_its_inputs_along() {
    let now = Time(5_000_000);
    let mut job = undecided(now);
    for _ in 0..2 {
        apply(&mut job, Input::Missing { empty_at: None }, now.plus(60_000));
    }
    assert!(matches!(job.phase, Phase::Unknown { .. }) && job.leftovers.is_empty(), "{job:?}");
    apply(&mut job, Input::Wish(Wish::Clean { webdav: None, is_stored: false }), now.plus(60_000));
    assert_eq!((good_day(&mut job, answer), job.is_history()), (vec![Action::Sweep], true), "{job:?}");
}

/// However far it is set back, nothing waits for longer than a quarter of an hour because of it.
#[test]
fn a_clock_that_is_set_back_puts_nothing_off() {
    let (later, now) = (Time(90_000_000), Time(5_000_000));
    let mut job = active(Row { arcstate: Arcstate::Running, ..done_row() }, later);
    apply(&mut job, kill(), later);
    apply(&mut job, Input::Killed(Err(Fault::new(Class::Ambiguous, "no answer"))), later);
    job.webdav = Some("https://dav/x".into());
    sweep_later(&mut job, later);
    clock_set_back(&mut job, now);
    assert_eq!(next(&job, now, &POLICY), Next::Do(Action::Kill));
    let late = now.plus(15 * 60_000);
    assert_eq!((job.in_flight_until, job.leftovers[0].not_before), (late, late));
}
