//! The server's states of a job, its words for them, and what it allows in each.

use serde::{Deserialize, Serialize};

/// The server's state of a job (`arcstate`), as observed on a real server. What we do not know is kept as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Arcstate {
    /// No state: the server has not looked at it yet, or it has no description.
    None,
    /// Chosen for submission to a cluster.
    ToSubmit,
    /// Being submitted.
    Submitting,
    /// At the cluster.
    Submitted,
    /// Running there.
    Running,
    /// Finishing there.
    Finishing,
    /// Finished there; results are on their way to the server.
    Finished,
    /// Results are on the server.
    Done,
    /// Failed; nothing has been fetched.
    Failed,
    /// Failed, and its results are on the server.
    DoneFailed,
    /// To be fetched after failing.
    ToFetch,
    /// To be killed.
    ToCancel,
    /// Being killed.
    Cancelling,
    /// Killed.
    Cancelled,
    /// To be submitted again.
    ToResubmit,
    /// To be restarted.
    ToRerun,
    /// The cluster no longer knows it.
    Lost,
    /// Any other word.
    Other(Box<str>),
}

impl Arcstate {
    /// Reads the server's word; `None` is its null.
    #[must_use]
    pub fn from_word(word: Option<&str>) -> Self {
        match word {
            None | Some("") => Self::None,
            Some("tosubmit") => Self::ToSubmit,
            Some("submitting") => Self::Submitting,
            Some("submitted") => Self::Submitted,
            Some("running") => Self::Running,
            Some("finishing") => Self::Finishing,
            Some("finished") => Self::Finished,
            Some("done") => Self::Done,
            Some("failed") => Self::Failed,
            Some("donefailed") => Self::DoneFailed,
            Some("tofetch") => Self::ToFetch,
            Some("tocancel") => Self::ToCancel,
            Some("cancelling") => Self::Cancelling,
            Some("cancelled") => Self::Cancelled,
            Some("toresubmit") => Self::ToResubmit,
            Some("torerun") => Self::ToRerun,
            Some("lost") => Self::Lost,
            Some(other) => Self::Other(other.into()),
        }
    }

    /// The server's word; null is nothing.
    #[must_use]
    pub fn word(&self) -> Option<&str> {
        Some(match self {
            Self::None => return None,
            Self::ToSubmit => "tosubmit",
            Self::Submitting => "submitting",
            Self::Submitted => "submitted",
            Self::Running => "running",
            Self::Finishing => "finishing",
            Self::Finished => "finished",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::DoneFailed => "donefailed",
            Self::ToFetch => "tofetch",
            Self::ToCancel => "tocancel",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::ToResubmit => "toresubmit",
            Self::ToRerun => "torerun",
            Self::Lost => "lost",
            Self::Other(word) => word,
        })
    }

    /// The states in which the server takes `action=cancel`.
    #[must_use]
    pub fn can_kill(&self) -> bool {
        matches!(self, Self::None | Self::ToSubmit | Self::Submitting | Self::Submitted | Self::Running)
    }

    /// The states in which the server takes DELETE.
    #[must_use]
    pub fn can_clean(&self) -> bool {
        matches!(self, Self::Done | Self::DoneFailed | Self::Cancelled | Self::Failed | Self::Lost)
    }

    /// The states in which there are results to download.
    #[must_use]
    pub fn has_results(&self) -> bool {
        matches!(self, Self::Done | Self::DoneFailed)
    }

    /// The states that do not change by themselves any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.can_clean()
    }
}
