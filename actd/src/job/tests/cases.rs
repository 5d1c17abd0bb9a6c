//! Single histories of jobs, each of which once went wrong or must never.

use super::*;

#[test]
fn the_main_job_takes_the_known_steps() {
    let mut job = new_job(true, true);
    let steps = good_day(&mut job, answer);
    use Action::{Clean, Confirm, Create, Deliver, Retrieve, Sweep, Upload};
    assert_eq!(steps, [Create, Upload, Confirm, Retrieve, Clean, Sweep]);
    assert!(matches!(&job.phase, Phase::Stored { dir: Some(dir), .. } if dir == std::path::Path::new("/r/h")));
    apply(&mut job, Input::Wish(Wish::Get { delivery: delivery_to("/d", false), webdav: None }), Time(3_000_000));
    assert_eq!(good_day(&mut job, answer), [Deliver]);
    assert!(job.is_history());
    assert_eq!(job.results(), Some(std::path::Path::new("/d/h")));
}

/// Somebody asks for results while the daemon downloads them into its store, at each step of that.
#[test]
fn a_delivery_asked_for_at_any_moment_is_made() {
    for asked_at in [Action::Retrieve, Action::Clean, Action::Deliver] {
        for noclean in [false, true] {
            let mut job = new_job(false, false);
            let mut asked = false;
            good_day(&mut job, |action| {
                let mut inputs = answer(action);
                if action == asked_at && !asked {
                    asked = true;
                    inputs.insert(0, Input::Wish(Wish::Get { delivery: delivery_to("/d", noclean), webdav: None }));
                }
                inputs
            });
            if !asked {
                apply(&mut job, Input::Wish(Wish::Get { delivery: delivery_to("/d", noclean), webdav: None }), Time(1));
                assert_eq!(good_day(&mut job, answer), [Action::Deliver]);
            }
            assert!(job.delivery.is_none(), "{asked_at:?} {noclean}: {job:?}");
            if noclean {
                assert!(matches!(job.phase, Phase::Stored { .. }), "{asked_at:?}: {job:?}");
            } else {
                assert!(job.is_history(), "{asked_at:?}: {job:?}");
                assert_eq!(job.results(), Some(std::path::Path::new("/d/h")), "{asked_at:?}: {job:?}");
            }
        }
    }
}

/// The store may lie below the directory that they are asked for in.
#[test]
fn a_delivery_to_above_the_store_is_made() {
    for noclean in [false, true] {
        let mut job = new_job(false, false);
        let mut asked = false;
        let steps = good_day(&mut job, |action| {
            let mut inputs = answer(action);
            if action == Action::Retrieve && !asked {
                asked = true;
                inputs.insert(0, Input::Wish(Wish::Get { delivery: delivery_to("/", noclean), webdav: None }));
            }
            inputs
        });
        assert_eq!(steps.last(), Some(&Action::Deliver), "{noclean}: {steps:?}");
        assert!(job.delivery.is_none(), "{noclean}: {job:?}");
    }
}

/// A directory that cannot take results keeps nobody from having them in another one.
#[test]
fn results_go_elsewhere_when_a_directory_cannot_take_them() {
    let now = Time(5_000_000);
    let get = |parent| Input::Wish(Wish::Get { delivery: delivery_to(parent, false), webdav: None });
    let begin = |parent: &str| Input::BeginRetrieve { parent: parent.into() };
    for class in [Class::Local, Class::DiskFull] {
        // Asked for while the store cannot be written, or after a first directory could not be.
        for first in [None, Some("/bad")] {
            let mut job = active(done_row(), now);
            if let Some(first) = first {
                apply(&mut job, get(first), now);
            }
            apply(&mut job, begin("/bad"), now);
            apply(&mut job, Input::Retrieved(Err(Fault::new(class, "no"))), now);
            assert!(matches!(next(&job, now, &POLICY), Next::Wait(_)), "no busy loop: {job:?}");
            apply(&mut job, get("/d"), now);
            for (minutes, input) in (1..).zip([Input::Retrieved(Err(Fault::new(class, "no"))), begin("/d")]) {
                let now = now.plus(minutes * 60_000);
                assert_eq!(next(&job, now, &POLICY), Next::Do(Action::Retrieve), "{job:?}");
                apply(&mut job, input, now);
            }
            assert!(
                matches!(&job.phase, Phase::Retrieving { parent, .. } if parent.ends_with("d")),
                "{class:?}: {job:?}"
            );
        }
    }
}

/// What a `get` before left out is not lost by the next one, at whichever step of the first it comes.
#[test]
fn a_second_get_has_all_that_the_first_left_out() {
    let now = Time(5_000_000);
    let get = |parent: &str, noclean, exclude: &[&str]| {
        let exclude = exclude.iter().map(ToString::to_string).collect();
        Input::Wish(Wish::Get { delivery: Delivery { exclude, ..delivery_to(parent, noclean) }, webdav: None })
    };
    let retrieving = |first: &Input| {
        let mut job = active(done_row(), now);
        apply(&mut job, first.clone(), now);
        begin(&mut job, Action::Retrieve, now);
        job
    };
    let came = |parent: &str| Input::Retrieved(Ok(Some(PathBuf::from(parent).join("h"))));
    for parent in ["/d", "/other"] {
        for noclean in [false, true] {
            for files in [came("/d"), Input::Retrieved(Ok(None))] {
                for late in [false, true] {
                    let first = get("/d", false, &["gmlog/"]);
                    let mut job = retrieving(&first);
                    let second = get(parent, noclean, &[]);
                    let (one, other) = if late { (second, files.clone()) } else { (files.clone(), second) };
                    apply(&mut job, one, now);
                    apply(&mut job, other, now);
                    let told = format!("{parent} {noclean} {late}: {job:?}");
                    // Without what was left out, the server's copy is not dropped.
                    assert_eq!(next(&job, now, &POLICY), Next::Do(Action::Retrieve), "{told}");
                    assert!(job.phase == Phase::Active { id: 5 } && job.saved.is_none(), "{told}");
                }
            }
        }
    }
    // The row is to stay, and it does.
    for late in [false, true] {
        let mut job = retrieving(&get("/d", false, &[]));
        let mut inputs = [came("/d"), get("/other", true, &[])];
        if late {
            inputs.reverse();
        }
        for input in inputs {
            apply(&mut job, input, now);
        }
        assert_eq!(next(&job, now, &POLICY), Next::Do(Action::Retrieve), "{late}: {job:?}");
        begin(&mut job, Action::Retrieve, now);
        apply(&mut job, came("/other"), now);
        assert_eq!((next(&job, now, &POLICY), &job.delivery), (Next::Nothing, &None), "{late}: {job:?}");
    }
    // The same again changes nothing, and what is here in full is delivered from here though less is asked for.
    let mut job = retrieving(&get("/d", false, &["gmlog/"]));
    apply(&mut job, get("/d", false, &["gmlog/"]), now);
    assert!(matches!(job.phase, Phase::Retrieving { .. }), "{job:?}");
    let mut stored = active(done_row(), now);
    begin(&mut stored, Action::Retrieve, now);
    apply(&mut stored, get("/d", false, &["gmlog/"]), now);
    assert_eq!(good_day(&mut stored, answer), [Action::Retrieve, Action::Clean, Action::Deliver]);
}

#[test]
fn every_failure_once_still_ends_the_same() {
    for failing in [Action::Create, Action::Upload, Action::Confirm, Action::Retrieve, Action::Clean, Action::Sweep] {
        for class in [Class::Transient, Class::Ambiguous, Class::Auth, Class::DiskFull] {
            let mut job = new_job(true, true);
            let mut failed = false;
            good_day(&mut job, |action| {
                if action == failing && !failed {
                    failed = true;
                    let fault = Fault::new(class, "why");
                    return vec![match action {
                        Action::Create => Input::Created(Err(fault)),
                        Action::Upload => Input::Uploaded(Err(fault)),
                        Action::Confirm => Input::Confirmed(Err(fault)),
                        Action::Retrieve => Input::Retrieved(Err(fault)),
                        Action::Clean => Input::Cleaned(Err(fault)),
                        _ => Input::Swept(5, Err(fault)),
                    }];
                }
                answer(action)
            });
            assert!(failed);
            assert!(matches!(job.phase, Phase::Stored { .. }), "{failing:?} {class:?}: {job:?}");
            assert!(job.leftovers.is_empty(), "{failing:?} {class:?}");
        }
    }
}

#[test]
fn results_of_an_older_run_do_not_clean_a_newer_one() {
    let mut job = new_job(false, false);
    let now = Time(5_000_000);
    for input in [
        Input::BeginCreate { floor: 0 },
        Input::Created(Ok(5)),
        Input::Begin(Action::Confirm),
        Input::Confirmed(Ok(None)),
        Input::Listed(done_row()),
        Input::BeginRetrieve { parent: "/r".into() },
        Input::Retrieved(Ok(Some("/r/h".into()))),
        Input::Listed(Row { arcstate: Arcstate::Running, run: Some("https://ce/jobs/other".into()), ..done_row() }),
    ] {
        apply(&mut job, input, now);
    }
    assert!(matches!(job.phase, Phase::Active { .. }));
    assert_eq!(next(&job, now, &POLICY), Next::Nothing);
    assert_eq!(job.results(), Some(std::path::Path::new("/r/h")), "what was saved is not forgotten");
}

#[test]
fn what_a_failed_job_left_is_brought_after_its_words_and_not_tried_for_ever() {
    let policy = Policy { fetch_failed: true, ..POLICY };
    let mut job = new_job(false, false);
    let now = Time(5_000_000);
    let row = |arcstate| Row { arcstate, ..done_row() };
    let words = Words { error: Some("why".into()), exit_code: None };
    for (input, expected) in [
        (Input::BeginCreate { floor: 0 }, Next::Nothing),
        (Input::Created(Ok(5)), Next::Do(Action::Confirm)),
        (Input::Begin(Action::Confirm), Next::Do(Action::Confirm)),
        (Input::Confirmed(Ok(None)), Next::Nothing),
        (Input::Listed(row(Arcstate::Failed)), Next::Do(Action::Look)),
        (Input::Looked(Ok(words)), Next::Do(Action::Fetch)),
        (Input::Fetched(Ok(true)), Next::Nothing),
        (Input::Listed(row(Arcstate::DoneFailed)), Next::Do(Action::Retrieve)),
        (Input::BeginRetrieve { parent: "/r".into() }, Next::Do(Action::Retrieve)),
        (
            Input::Retrieved(Err(Fault::new(Class::Rejected, "two names of one file"))),
            Next::Wait(now.plus(policy.keep_failed_ms)),
        ),
    ] {
        apply(&mut job, input.clone(), now);
        assert_eq!(next(&job, now, &policy), expected, "after {input:?}");
    }
}

pub(super) fn failed_row(arcstate: Arcstate) -> Row {
    Row { arcstate, state: Some("Failed".into()), ..done_row() }
}

/// A job on the server, as a list shows it.
pub(super) fn active(row: Row, now: Time) -> Job {
    let mut job = new_job(false, false);
    for input in [
        Input::BeginCreate { floor: 0 },
        Input::Created(Ok(5)),
        Input::Begin(Action::Confirm),
        Input::Confirmed(Ok(None)),
        Input::Listed(row),
    ] {
        apply(&mut job, input, now);
    }
    job
}

#[test]
fn logs_of_a_failed_job_are_brought_once_for_each_run() {
    let policy = Policy { fetch_failed: true, ..POLICY };
    let now = Time(5_000_000);
    let refused = || Err(Fault::new(Class::Rejected, "a name that cannot be brought"));
    for answer in [Ok(None), Ok(Some(PathBuf::from("/r/h"))), refused()] {
        let mut job = active(failed_row(Arcstate::DoneFailed), now);
        for _ in 0..2 {
            apply(&mut job, Input::Looked(Ok(Words::default())), now);
            assert_eq!(next(&job, now, &policy), Next::Do(Action::Retrieve), "{answer:?}");
            begin(&mut job, Action::Retrieve, now);
            apply(&mut job, Input::Retrieved(answer.clone()), now);
            assert_ne!(next(&job, now, &policy), Next::Do(Action::Retrieve), "{answer:?}: {job:?}");
            // A run later there are others.
            let row = failed_row(Arcstate::DoneFailed);
            apply(&mut job, Input::Listed(Row { run: Some("https://ce/jobs/second".into()), ..row }), now);
        }
    }
    // The server does not fetch them just now: not asked again at once.
    let mut job = active(failed_row(Arcstate::Failed), now);
    apply(&mut job, Input::Looked(Ok(Words::default())), now);
    assert_eq!(next(&job, now, &policy), Next::Do(Action::Fetch));
    apply(&mut job, Input::Fetched(Ok(false)), now);
    assert_eq!(next(&job, now, &policy), Next::Wait(now.plus(30_000)));
}

/// Results of one run that cannot be brought say nothing about those of the next.
#[test]
fn a_new_run_is_brought_though_the_last_could_not_be() {
    let now = Time(5_000_000);
    let mut job = active(done_row(), now);
    begin(&mut job, Action::Retrieve, now);
    apply(&mut job, Input::Retrieved(Err(Fault::new(Class::Rejected, "no"))), now);
    assert_eq!(next(&job, now, &POLICY), Next::Nothing);
    apply(&mut job, Input::Listed(Row { run: Some("https://ce/jobs/second".into()), ..done_row() }), now);
    assert_eq!(next(&job, now, &POLICY), Next::Do(Action::Retrieve));
}

#[test]
fn what_was_brought_of_a_cleaned_job_is_still_known() {
    let now = Time(5_000_000);
    let mut job = active(failed_row(Arcstate::DoneFailed), now);
    begin(&mut job, Action::Retrieve, now);
    apply(&mut job, Input::Retrieved(Ok(Some("/r/h".into()))), now);
    apply(&mut job, Input::Wish(Wish::Clean { webdav: None, is_stored: false }), now);
    apply(&mut job, Input::Cleaned(Ok(())), now);
    assert!(matches!(job.phase, Phase::Closed { outcome: Outcome::Cleaned, .. }), "{job:?}");
    assert_eq!(job.results(), Some(std::path::Path::new("/r/h")));
}

/// Logs that came by themselves and that nobody has got go the way of stored results; unless the job is run again meanwhile.
#[test]
fn what_nobody_has_got_goes_into_the_trash() {
    let now = Time(5_000_000);
    let brought = |collected| {
        let mut job = active(failed_row(Arcstate::DoneFailed), now);
        job.options.collected = collected;
        begin(&mut job, Action::Retrieve, now);
        apply(&mut job, Input::Retrieved(Ok(Some("/r/h".into()))), now);
        apply(&mut job, Input::Wish(Wish::Clean { webdav: None, is_stored: true }), now);
        job
    };
    let mut job = brought(false);
    // While they are being brought somewhere else, too.
    let mut elsewhere = active(failed_row(Arcstate::DoneFailed), now);
    let run = elsewhere.seen.as_ref().map(|seen| seen.run.clone()).expect("it was seen");
    elsewhere.saved = Some(Box::new(crate::job::Saved { run, dir: "/r/h".into() }));
    begin(&mut elsewhere, Action::Retrieve, now);
    apply(&mut elsewhere, Input::Wish(Wish::Clean { webdav: None, is_stored: true }), now);
    assert_eq!(elsewhere.phase, job.phase);
    for (action, answer) in [(Action::Clean, Input::Cleaned(Ok(()))), (Action::Discard, Input::Discarded(Ok(())))] {
        assert_eq!(next(&job, now, &POLICY), Next::Do(action));
        assert_eq!(job.results(), Some(std::path::Path::new("/r/h")));
        begin(&mut job, action, now);
        apply(&mut job, answer, now);
    }
    assert!(matches!(job.phase, Phase::Closed { outcome: Outcome::Cleaned, dir: None, .. }), "{job:?}");

    let mut job = brought(false);
    let second = Row { run: Some("https://ce/jobs/second".into()), ..done_row() };
    apply(&mut job, Input::NotCleaned(second), now);
    assert!(matches!(job.phase, Phase::Active { .. }) && job.wishes.is_empty(), "{job:?}");
    // Those of a watched directory count as collected.
    let mut job = brought(true);
    apply(&mut job, Input::Cleaned(Ok(())), now);
    assert!(matches!(&job.phase, Phase::Closed { outcome: Outcome::Cleaned, dir: Some(_), .. }), "{job:?}");
}

/// What has its name by the time its download is to stop is not left where nobody looks for it.
#[test]
fn results_that_come_while_their_job_is_dropped_are_in_the_trash_or_where_they_were_asked_for() {
    let now = Time(5_000_000);
    for (get, collected, is_trash) in [(None, false, true), (None, true, false), (Some("/r"), false, false)] {
        let mut job = active(done_row(), now);
        job.options.collected = collected;
        if let Some(parent) = get {
            apply(&mut job, Input::Wish(Wish::Get { delivery: delivery_to(parent, false), webdav: None }), now);
        }
        begin(&mut job, Action::Retrieve, now);
        apply(&mut job, Input::Wish(Wish::Clean { webdav: None, is_stored: false }), now);
        apply(&mut job, Input::Retrieved(Ok(Some("/r/h".into()))), now);
        assert_eq!(
            good_day(&mut job, answer),
            if is_trash { vec![Action::Clean, Action::Discard] } else { vec![Action::Clean] }
        );
        let left = (!is_trash).then_some(std::path::Path::new("/r/h"));
        assert_eq!((job.is_history(), job.results()), (true, left), "{get:?} {collected}: {job:?}");
        assert!(matches!(job.phase, Phase::Closed { outcome: Outcome::Cleaned, .. }), "{job:?}");
    }
}

/// Its download finds out that the job is gone, and two lists say so: it is known why there are no results.
#[test]
fn a_job_that_is_gone_says_what_became_of_its_results() {
    let now = Time(5_000_000);
    let mut job = active(done_row(), now);
    begin(&mut job, Action::Retrieve, now);
    let mut inputs = vec![Input::Retrieved(Err(Fault::new(Class::NoRow, "gone; what came is in /r/h")))];
    inputs.extend([Input::Missing { empty_at: None }, Input::Missing { empty_at: None }]);
    for input in inputs {
        apply(&mut job, input, now);
    }
    assert!(matches!(job.phase, Phase::Closed { outcome: Outcome::Gone, .. }), "{job:?}");
    assert_eq!(job.error.as_deref(), Some("gone; what came is in /r/h"));
}

/// `get --noclean` that meets logs on their way: the server keeps the job, and the user gets them all the same.
#[test]
fn a_failed_job_is_left_on_the_server_as_asked() {
    let now = Time(5_000_000);
    let policy = Policy { fetch_failed: true, ..POLICY };
    let mut job = active(failed_row(Arcstate::DoneFailed), now);
    job.error = Some("words".into());
    assert_eq!(next(&job, now, &policy), Next::Do(Action::Retrieve));
    begin(&mut job, Action::Retrieve, now);
    apply(&mut job, Input::Wish(Wish::Get { delivery: delivery_to("/d", true), webdav: None }), now);
    for place in ["/r/h", "/d/h"] {
        assert!(matches!(job.phase, Phase::Retrieving { .. }), "{job:?}");
        apply(&mut job, Input::Retrieved(Ok(Some(place.into()))), now);
        assert_eq!((job.phase == Phase::Active { id: 5 }, job.results()), (true, Some(std::path::Path::new(place))));
        if place == "/r/h" {
            assert_eq!(next(&job, now, &policy), Next::Do(Action::Retrieve));
            begin(&mut job, Action::Retrieve, now);
        }
    }
    assert_eq!((&job.delivery, matches!(next(&job, now, &policy), Next::Wait(_))), (&None, true));
}

/// A list that lacks a job counts no more once the server has answered about it.
#[test]
fn gone_takes_two_lists_after_the_last_answer() {
    let now = Time(5_000_000);
    let mut job = active(Row { arcstate: Arcstate::Running, ..done_row() }, now);
    let taken = Kill { arcstate: Arcstate::Running, gone: false };
    for input in [kill(), Input::Missing { empty_at: None }, Input::Killed(Ok(Some(taken)))] {
        apply(&mut job, input, now);
    }
    apply(&mut job, Input::Missing { empty_at: None }, now);
    assert!(matches!(job.phase, Phase::Active { .. }), "{job:?}");
    apply(&mut job, Input::Missing { empty_at: None }, now);
    assert!(matches!(job.phase, Phase::Closed { outcome: Outcome::Killed, .. }), "{job:?}");
}

/// `clean` was said of the results that there were.
#[test]
fn a_clean_that_meets_a_new_run_is_over() {
    let now = Time(5_000_000);
    let mut job = active(done_row(), now);
    begin(&mut job, Action::Retrieve, now);
    apply(&mut job, Input::Retrieved(Ok(Some("/r/h".into()))), now);
    apply(&mut job, Input::Wish(Wish::Clean { webdav: None, is_stored: true }), now);
    apply(&mut job, Input::Listed(Row { run: Some("https://ce/jobs/second".into()), ..done_row() }), now);
    assert!(matches!(job.phase, Phase::Active { .. }) && job.wishes.is_empty(), "{job:?}");
}

#[test]
fn a_job_without_files_that_is_cleaned_on_its_way_home_is_closed() {
    let now = Time(5_000_000);
    for wished_at in [Action::Retrieve, Action::Clean] {
        let mut job = active(done_row(), now);
        begin(&mut job, Action::Retrieve, now);
        apply(&mut job, Input::Retrieved(Ok(None)), now);
        if wished_at == Action::Clean {
            begin(&mut job, Action::Clean, now);
        }
        apply(&mut job, Input::Wish(Wish::Clean { webdav: None, is_stored: false }), now);
        begin(&mut job, Action::Clean, now);
        apply(&mut job, Input::Cleaned(Ok(())), now);
        assert!(matches!(job.phase, Phase::Closed { outcome: Outcome::Cleaned, .. }), "{wished_at:?}: {job:?}");
    }
}
