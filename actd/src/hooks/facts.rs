//! What an event means for hooks: whether a job has ended, how, and what a command is told of it. Pure.

use act_proto::events::Event;
use act_proto::jobs::Phase;

use super::run::Facts;
use crate::job::{Job, Outcome};

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its results are here; or on the server, if they are not to be downloaded.
    Done,
    /// It failed, was lost, or could not be submitted.
    Failed,
    /// Killed or dropped by a person, or what is left of it has been fetched: no news to them, but their batch may be
    /// complete by it.
    Dropped,
}

const FAILED: [&str; 3] = ["failed", "donefailed", "lost"];

/// What happens by itself to a job that has ended on the server.
#[derive(Debug, Clone, Copy)]
pub struct Handling {
    /// Its results stay there until somebody gets them.
    pub manual: bool,
    /// What it left when it failed is fetched and downloaded.
    pub fetch_failed: bool,
}

/// The end that an event tells of.
#[must_use]
pub fn end(event: &Event, job: &Job, handling: Handling) -> Option<End> {
    let after = event.after.as_ref()?;
    let before = event.before.as_ref();
    let was = before.and_then(|b| b.arcstate.as_deref()).unwrap_or_default();
    let is = after.arcstate.as_deref().unwrap_or_default();
    let phase_before = before.map(|b| b.phase);
    let here = |phase: Phase| matches!(phase, Phase::Stored | Phase::Collecting | Phase::Closed);
    if !job.is_ours() || phase_before.is_some_and(here) {
        return None;
    }
    // What is fetched has failed before, and was told.
    let had_failed = FAILED.contains(&was) || was == "tofetch";
    if FAILED.contains(&is) && !had_failed {
        return Some(End::Failed);
    }
    if handling.manual && is == "done" && was != "done" {
        return Some(End::Done);
    }
    match after.phase {
        Phase::Unknown if phase_before != Some(Phase::Unknown) => Some(End::Failed),
        Phase::Stored if is == "done" && !handling.manual => Some(End::Done),
        Phase::Closed => {
            let was_told = had_failed
                || was == "cancelled"
                || (handling.manual && was == "done")
                || phase_before == Some(Phase::Unknown);
            let outcome = match &job.phase {
                crate::job::Phase::Closed { outcome, .. } => Some(outcome),
                _ => None,
            };
            match outcome {
                // Somebody, or its time, has done away with what had ended before.
                _ if was_told => None,
                Some(Outcome::NotSubmitted) => Some(End::Failed),
                Some(Outcome::Collected) if is == "done" => Some(End::Done),
                _ => Some(End::Dropped),
            }
        }
        Phase::Active if is == "cancelled" && was != "cancelled" => Some(End::Dropped),
        Phase::Active if phase_before == Some(Phase::Retrieving) => {
            // Results that cannot be brought stay on the server; nobody tries again.
            let is_refused = is == "done" && job.is_brought() && job.error.is_some();
            let is_fetched = handling.fetch_failed && FAILED.contains(&is);
            match (is_refused, is_fetched) {
                (true, _) => Some(End::Failed),
                (false, true) => Some(End::Dropped),
                (false, false) => None,
            }
        }
        _ => None,
    }
}

/// Whether nothing will happen to the job by itself any more, but for what a person has asked for after its end.
#[must_use]
pub fn rests(job: &Job, handling: Handling) -> bool {
    use crate::job::Phase as P;
    let ended = || match job.arcstate().word() {
        Some("done") => handling.manual,
        Some("failed") => !handling.fetch_failed,
        Some("donefailed") => {
            let is_moved = matches!(job.phase, P::Retrieved { .. } | P::Cleaning { .. });
            !handling.fetch_failed || job.is_brought() || is_moved
        }
        _ => job.arcstate().is_final(),
    };
    match &job.phase {
        P::Stored { .. } | P::Collecting { .. } | P::Closed { .. } | P::Unknown { .. } => true,
        P::Active { .. } | P::Retrieving { .. } | P::Retrieved { .. } | P::Cleaning { .. } => ended(),
        _ => false,
    }
}

/// What a command is told of a job.
#[must_use]
pub fn of_job(job: &Job, event: &Event) -> Facts {
    let text = |t: Option<&str>| t.unwrap_or_default().to_owned();
    vec![
        ("ACTD_EVENT_NUMBER", event.seq.to_string()),
        ("ACTD_JOB_KEY", job.key.to_string()),
        ("ACTD_JOB_ID", job.id().map(|id| id.to_string()).unwrap_or_default()),
        ("ACTD_JOB_NAME", text(job.name.as_deref())),
        ("ACTD_JOB_URL", job.seen.as_ref().map(|s| s.run.to_string()).unwrap_or_default()),
        ("ACTD_BATCH", text(job.batch.as_deref())),
        ("ACTD_ARCSTATE", text(event.after.as_ref().and_then(|a| a.arcstate.as_deref()))),
        ("ACTD_RESULTS", job.results().map(|dir| dir.display().to_string()).unwrap_or_default()),
        ("ACTD_EXIT_CODE", exit_code(job).map(|c| c.to_string()).unwrap_or_default()),
        ("ACTD_ERROR", text(job.error.as_deref())),
    ]
}

/// The job's exit code as far as it is known; one that is done has ended with 0.
fn exit_code(job: &Job) -> Option<i32> {
    job.exit_code.or_else(|| (job.arcstate().word() == Some("done")).then_some(0))
}

#[cfg(test)]
mod tests {
    use act_proto::events::JobState;

    use super::*;
    use crate::job::{Arcstate, Key, Origin, Phase as P, Saved, Seen, Time};

    const AUTO: Handling = Handling { manual: false, fetch_failed: false };
    const MANUAL: Handling = Handling { manual: true, fetch_failed: false };
    const FETCH: Handling = Handling { manual: false, fetch_failed: true };

    fn job(phase: P, arcstate: &str) -> Job {
        let mut job = Job::new(Key(1), Origin::Submitted, 1, phase, Time(1));
        let arcstate = Arcstate::from_word(Some(arcstate));
        job.seen = Some(Seen { arcstate, state: "".into(), run: "https://ce/1".into(), since: Time(1) });
        job
    }

    fn closed(outcome: Outcome) -> P {
        P::Closed { id: Some(1), outcome, dir: None, at: Time(1) }
    }

    const ACTIVE: P = P::Active { id: 1 };

    fn event(before: (Phase, &str), after: (Phase, &str)) -> Event {
        let view = |(phase, arcstate): (Phase, &str)| JobState {
            id: Some(1),
            name: None,
            phase,
            arcstate: Some(arcstate.to_owned()),
            state: None,
            batch: None,
        };
        Event {
            seq: 1,
            at: Time(1).rfc3339(),
            kind: "job".into(),
            key: Some("j1".into()),
            before: Some(view(before)),
            after: Some(view(after)),
            text: String::new(),
            progress: None,
        }
    }

    #[test]
    fn each_end_is_told_once() {
        use crate::job::Outcome::{Cleaned, Collected, Expired, Gone, Killed, NotSubmitted};
        use Phase as W;
        let told = |before, after: (Phase, &'static str), phase: P, handling| {
            end(&event(before, after), &job(phase, after.1), handling)
        };
        // What ended before, and is dropped now: by a person, by its time, or by being got.
        for (word, handling) in
            [("failed", AUTO), ("donefailed", AUTO), ("lost", AUTO), ("cancelled", AUTO), ("done", MANUAL)]
        {
            for outcome in [Cleaned, Expired, Collected, Gone] {
                let is = told((W::Cleaning, word), (W::Closed, word), closed(outcome), handling);
                assert_eq!(is, None, "{word} {outcome:?}");
            }
        }
        // Done without results here is not done.
        for outcome in [Gone, Cleaned] {
            let is = told((W::Active, "done"), (W::Closed, "done"), closed(outcome), AUTO);
            assert_eq!(is, Some(End::Dropped), "{outcome:?}");
        }
        assert_eq!(told((W::Cleaning, "done"), (W::Closed, "done"), closed(Collected), AUTO), Some(End::Done));
        let stored = || P::Stored { id: 1, dir: None, at: Time(1) };
        assert_eq!(told((W::Cleaning, "done"), (W::Stored, "done"), stored(), AUTO), Some(End::Done));
        assert_eq!(told((W::Collecting, "done"), (W::Closed, "done"), closed(Collected), AUTO), None);
        assert_eq!(told((W::Active, "finished"), (W::Active, "done"), ACTIVE, MANUAL), Some(End::Done));
        assert_eq!(told((W::Active, "finished"), (W::Active, "done"), ACTIVE, AUTO), None);
        assert_eq!(told((W::Active, "running"), (W::Closed, "running"), closed(Killed), AUTO), Some(End::Dropped));
        assert_eq!(told((W::Queued, ""), (W::Closed, ""), closed(NotSubmitted), AUTO), Some(End::Failed));
        assert_eq!(told((W::Unknown, ""), (W::Closed, ""), closed(NotSubmitted), AUTO), None);
        // Failed is told when it has failed, not again when its remains have been fetched.
        assert_eq!(told((W::Active, "running"), (W::Active, "failed"), ACTIVE, FETCH), Some(End::Failed));
        assert_eq!(told((W::Active, "failed"), (W::Active, "tofetch"), ACTIVE, FETCH), None);
        assert_eq!(told((W::Active, "tofetch"), (W::Active, "donefailed"), ACTIVE, FETCH), None);
        let fetched = ((W::Retrieving, "donefailed"), (W::Active, "donefailed"));
        assert_eq!(told(fetched.0, fetched.1, ACTIVE, FETCH), Some(End::Dropped));
        assert_eq!(told(fetched.0, fetched.1, ACTIVE, AUTO), None);
    }

    #[test]
    fn results_that_cannot_be_brought_are_a_failure() {
        let event = event((Phase::Retrieving, "done"), (Phase::Active, "done"));
        let mut job = job(ACTIVE, "done");
        assert_eq!(end(&event, &job, AUTO), None);
        let run = job.seen.as_ref().map(|seen| seen.run.clone()).expect("it was seen");
        job.saved = Some(Box::new(crate::job::Saved { run, dir: "".into() }));
        job.error = Some("two files of one name".into());
        assert_eq!(end(&event, &job, MANUAL), Some(End::Failed));
        assert!(rests(&job, MANUAL));
    }

    #[test]
    fn exit_codes() {
        let mut failed = job(ACTIVE, "failed");
        assert_eq!(exit_code(&failed), None);
        failed.exit_code = Some(4);
        assert_eq!(exit_code(&failed), Some(4));
        assert_eq!(exit_code(&job(ACTIVE, "done")), Some(0));
    }

    #[test]
    fn a_batch_rests_when_nothing_goes_on_by_itself() {
        let cleaning = || P::Cleaning { id: 1, run: "".into(), dir: None, then: crate::job::AfterClean::Cleaned };
        let collecting = || P::Collecting { id: 1, from: "/r".into() };
        for (phase, word, handling, expected) in [
            (ACTIVE, "running", AUTO, false),
            (ACTIVE, "done", AUTO, false),
            (ACTIVE, "done", MANUAL, true),
            (ACTIVE, "failed", AUTO, true),
            (ACTIVE, "failed", FETCH, false),
            (ACTIVE, "tofetch", FETCH, false),
            (ACTIVE, "donefailed", AUTO, true),
            (ACTIVE, "donefailed", FETCH, false),
            (ACTIVE, "lost", FETCH, true),
            // A person has asked for it; the batch does not wait for that.
            (cleaning(), "failed", AUTO, true),
            (cleaning(), "done", AUTO, false),
            (collecting(), "done", AUTO, true),
        ] {
            assert_eq!(rests(&job(phase.clone(), word), handling), expected, "{phase:?} {word} {handling:?}");
        }
        let mut fetched = job(ACTIVE, "donefailed");
        fetched.saved = Some(Box::new(Saved { run: "https://ce/1".into(), dir: "/r".into() }));
        assert!(rests(&fetched, FETCH));
    }
}
