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
    /// Killed or dropped by a person: no news to them, but their batch may be complete by it.
    Dropped,
}

const FAILED: [&str; 3] = ["failed", "donefailed", "lost"];

/// The end that an event tells of. `manual`: the job's results stay on the server until somebody gets them.
#[must_use]
pub fn end(event: &Event, job: &Job, manual: bool) -> Option<End> {
    let after = event.after.as_ref()?;
    let before = event.before.as_ref();
    let was = before.and_then(|b| b.arcstate.as_deref()).unwrap_or_default();
    let is = after.arcstate.as_deref().unwrap_or_default();
    let phase_before = before.map(|b| b.phase);
    let here = |phase: Phase| matches!(phase, Phase::Stored | Phase::Collecting | Phase::Closed);
    if !job.is_ours() || phase_before.is_some_and(here) {
        return None;
    }
    if FAILED.contains(&is) && !FAILED.contains(&was) {
        return Some(End::Failed);
    }
    if manual && is == "done" && was != "done" {
        return Some(End::Done);
    }
    match after.phase {
        Phase::Unknown if phase_before != Some(Phase::Unknown) => Some(End::Failed),
        Phase::Stored | Phase::Closed if is == "done" && !manual => Some(End::Done),
        Phase::Closed => match &job.phase {
            crate::job::Phase::Closed { outcome: Outcome::NotSubmitted, .. } => Some(End::Failed),
            _ => Some(End::Dropped),
        },
        Phase::Active if is == "cancelled" && was != "cancelled" => Some(End::Dropped),
        _ => None,
    }
}

/// Whether nothing will happen to the job by itself any more.
#[must_use]
pub fn rests(job: &Job, manual: bool) -> bool {
    use crate::job::Phase as P;
    match &job.phase {
        P::Stored { .. } | P::Closed { .. } | P::Unknown { .. } => true,
        P::Active { .. } => job.arcstate().is_final() && (manual || job.arcstate().word() != Some("done")),
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
        ("ACTD_EXIT_CODE", job.exit_code.map(|c| c.to_string()).unwrap_or_default()),
        ("ACTD_ERROR", text(job.error.as_deref())),
    ]
}
