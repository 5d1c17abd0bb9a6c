//! How a job stands, in one word for people: the server's, ARC's and the daemon's states of it taken together. No IO.

use act_proto::jobs::{Job, Phase};
use serde::Serialize;

/// How a job stands, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// On its way to the server.
    Submitting,
    /// On the server, waiting to run.
    Queued,
    /// Running.
    Running,
    /// Ended well; its results may still be on their way.
    Done,
    /// Ended badly, or was never taken.
    Failed,
    /// Killed.
    Killed,
    /// Lost by the server, or removed by others.
    Lost,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Submitting, Self::Queued, Self::Running, Self::Done, Self::Failed, Self::Killed, Self::Lost];

    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Submitting => "submitting",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Killed => "killed",
            Self::Lost => "lost",
        }
    }

    /// Of a job.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        match job.arcstate.as_deref() {
            Some("done") => return Self::Done,
            Some("failed" | "donefailed" | "tofetch" | "fetching") => return Self::Failed,
            Some("cancelled" | "cancelling" | "tocancel") => return Self::Killed,
            Some("lost") => return Self::Lost,
            _ => {}
        }
        match (job.phase, job.outcome.as_deref()) {
            (Phase::Retrieving | Phase::Retrieved | Phase::Cleaning | Phase::Stored | Phase::Collecting, _) => {
                Self::Done
            }
            (Phase::Closed, Some("killed")) => Self::Killed,
            (Phase::Closed, Some("not_submitted")) => Self::Failed,
            (Phase::Closed, Some("collected" | "expired" | "cleaned")) => Self::Done,
            (Phase::Closed | Phase::Unknown, _) => Self::Lost,
            (Phase::Undoing, _) => Self::Killed,
            (Phase::Active, _) => {
                let state = job.state.as_deref().unwrap_or_default();
                if state.eq_ignore_ascii_case("running") || state.starts_with("INLRMS:R") {
                    Self::Running
                } else {
                    Self::Queued
                }
            }
            _ => Self::Submitting,
        }
    }

    /// It changes no more by itself.
    #[must_use]
    pub fn is_ended(self) -> bool {
        !matches!(self, Self::Submitting | Self::Queued | Self::Running)
    }
}
