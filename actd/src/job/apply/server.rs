//! What the server says of a job: its list, its answers, its silence.

use super::*;

/// The server's list shows it so.
pub(super) fn listed(job: &mut Job, row: Row, now: Time) {
    job.missing = 0;
    if job.name.is_none() || job.origin == Origin::Foreign {
        job.name = row.name.as_deref().map(Into::into).or_else(|| job.name.take());
    }
    let confirmed = row.name.is_some() || row.arcstate != Arcstate::None;
    let before = job.seen.as_ref().map(|s| s.run.clone());
    let changed = see(job, row, now);
    match &job.phase {
        Phase::Confirming { id, .. } if confirmed => {
            let id = *id;
            answered(job);
            job.phase = Phase::Active { id };
        }
        Phase::Retrieving { id, run, .. } => {
            let id = *id;
            let same = job.seen.as_ref().is_some_and(|s| s.run == *run && s.arcstate.has_results());
            if !same {
                job.phase = Phase::Active { id };
                done(job);
            }
        }
        Phase::Retrieved { id, run, dir } => {
            let (id, run, dir) = (*id, run.clone(), dir.clone());
            another_run(job, id, &run, dir);
        }
        Phase::Active { .. } if changed => {
            done(job);
            if is_proof(job, before.as_deref()) {
                answered(job);
            }
        }
        _ => {}
    }
    let ended = job.seen.as_ref().is_some_and(|s| s.arcstate.is_final());
    if ended {
        job.wishes.kill = false;
    }
}

/// Whether what the server now says can only come of a mutation: one without an answer need not be waited for any more.
/// Any other change may have come before it, which is under way still.
fn is_proof(job: &Job, run_before: Option<&str>) -> bool {
    use Arcstate::{Cancelled, Cancelling, DoneFailed, ToCancel, ToFetch, ToRerun, ToResubmit};
    let Some(seen) = &job.seen else { return false };
    matches!(seen.arcstate, ToCancel | Cancelling | Cancelled | ToFetch | DoneFailed | ToResubmit | ToRerun)
        || run_before.is_some_and(|run| !run.is_empty() && !seen.run.is_empty() && *run != *seen.run)
}

/// The results that we have are of `run`; if the row is of another one by now, it is a job that goes on.
pub(super) fn another_run(job: &mut Job, id: ServerId, run: &str, dir: Option<PathBuf>) {
    let same = job.seen.as_ref().is_some_and(|s| *s.run == *run && s.arcstate.can_clean());
    if !same {
        job.saved = dir.map(|dir| Box::new(Saved { run: run.into(), dir }));
        job.wishes.clean = false;
        job.phase = Phase::Active { id };
        done(job);
    }
}

pub(super) fn see(job: &mut Job, row: Row, now: Time) -> bool {
    let state: Box<str> = row.state.unwrap_or_default().into();
    let run: Box<str> = row.run.unwrap_or_default().into();
    if let Some(seen) = &job.seen {
        if seen.arcstate == row.arcstate && seen.state == state && seen.run == run {
            return false;
        }
        if seen.run != run {
            job.error = None;
            job.exit_code = None;
            if !seen.run.is_empty() && !run.is_empty() {
                // It runs again already, by our request without an answer or by somebody else's.
                job.wishes.resubmit = false;
            }
        }
    }
    job.seen = Some(Seen { arcstate: row.arcstate, state, run, since: now });
    true
}

/// The server said that it takes this state now; the next list shows it.
pub(super) fn see_state(job: &mut Job, arcstate: Arcstate, now: Time) {
    match &mut job.seen {
        Some(seen) => {
            seen.arcstate = arcstate;
            seen.since = now;
        }
        None => job.seen = Some(Seen { arcstate, state: "".into(), run: "".into(), since: now }),
    }
}

pub(super) fn missing(job: &mut Job, empty_at: Option<Time>, now: Time) {
    if !job.on_server() {
        return;
    }
    job.missing = job.missing.saturating_add(1);
    if job.missing < 2 {
        return;
    }
    match job.phase.clone() {
        Phase::Created { .. } | Phase::Uploading { .. } => {
            let fault = Fault::new(Class::NoRow, "its row vanished from the server before it was complete");
            super::submit::recreate(job, &fault, now);
        }
        // It had no description yet, and cannot have run since.
        Phase::Confirming { at, .. }
            if (0..SHORTEST_LIFE_MS).contains(&now.since(at.max(empty_at.unwrap_or_default()))) =>
        {
            let fault = Fault::new(Class::NoRow, "its row vanished from the server before it had a description");
            super::submit::recreate(job, &fault, now);
        }
        Phase::Confirming { id, .. } => {
            job.error = Some("its row vanished from the server while it was being confirmed: it may have run".into());
            job.phase = Phase::Unknown { id };
        }
        Phase::Retrieved { .. } | Phase::Cleaning { .. } => {
            if matches!(job.phase, Phase::Retrieved { .. }) {
                begin(job, Action::Clean, now);
            }
            super::results::cleaned(job, Ok(()), now);
        }
        Phase::Retrieving { .. } => {
            job.error = Some("it was removed from the server before its results were complete here".into());
            gone(job, Outcome::Gone, now);
        }
        Phase::Active { .. } => {
            let outcome = if job.wishes.kill { Outcome::Killed } else { Outcome::Gone };
            gone(job, outcome, now);
        }
        _ => {}
    }
}

pub(super) fn looked(job: &mut Job, result: Result<Words, Fault>, now: Time) {
    match result {
        Ok(words) => {
            done(job);
            // An empty text says: asked, and there is none.
            job.error = Some(words.error.unwrap_or_default().into());
            job.exit_code = words.exit_code.and_then(|c| i32::try_from(c).ok());
        }
        Err(fault) if matches!(fault.class, Class::Rejected | Class::NoRow) => job.error = Some("".into()),
        Err(fault) => retry_later(job, &fault, now),
    }
}

pub(super) fn killed(job: &mut Job, result: Result<Option<Kill>, Fault>, now: Time) {
    match result {
        Ok(Some(kill)) if kill.gone => {
            answered(job);
            gone(job, Outcome::Killed, now);
        }
        Ok(Some(_)) => {
            answered(job);
            see_state(job, Arcstate::ToCancel, now);
        }
        Ok(None) => not_now(job, now),
        Err(fault) => retry_later(job, &fault, now),
    }
}

/// Its state forbids it just now (or it is gone): the next list tells. Not again before that.
fn not_now(job: &mut Job, now: Time) {
    job.retry = Retry { attempts: 0, at: now.plus(30_000), why: None };
}

/// The common part of requests that the server answers with yes or no.
pub(super) fn asked(job: &mut Job, result: Result<bool, Fault>, now: Time) -> Option<bool> {
    match result {
        Ok(taken) => {
            answered(job);
            if !taken {
                not_now(job, now);
            }
            Some(taken)
        }
        Err(fault) => {
            retry_later(job, &fault, now);
            None
        }
    }
}
