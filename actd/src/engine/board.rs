//! The reading side of the engine: all jobs as they are now, for as many readers as like, without asking the engine.
//!
//! Only the engine writes. A reader holds the lock for as long as it takes to copy references; it must not wait for
//! anything meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch;

use act_proto::jobs::Progress;

use crate::job::waiting::Held;
use crate::job::{Job, Key, Phase, ProxyId, ServerId, Time};
use crate::work::TransferKind;

/// All jobs that are not history.
#[derive(Debug, Default)]
pub struct Jobs {
    /// By our key.
    pub by_key: BTreeMap<Key, Arc<Job>>,
    /// By the server's id, for jobs of the identity in force.
    pub by_id: BTreeMap<ServerId, Key>,
    /// The revision of the last change.
    pub rev: u64,
    /// The newest event that tells of what is here. It may be told a moment later.
    pub last_event: u64,
    /// When the server's list was last read completely.
    pub as_of: Option<Time>,
    /// The identity in force.
    pub proxyid: ProxyId,
    /// Why nothing is sent to the server just now.
    pub gates: Gates,
    /// The revision in which that was last seen to have changed: what jobs wait for has changed with it.
    pub gates_rev: u64,
    /// What stood in the gates then.
    pub gates_seen: Seen,
    /// Rows on the server that look like leftovers of lost requests of ours.
    pub orphans: Vec<ServerId>,
    /// Transfers under way. Not part of the revision.
    pub progress: HashMap<Key, (TransferKind, Progress)>,
}

/// The sentences of the gates, and of how many jobs it is known that their place is behind one.
pub type Seen = (Option<String>, Option<String>, Vec<(PathBuf, String)>, usize);

/// Conditions that hold back work of all jobs, or of all that download to one place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gates {
    /// No usable credential: the sentence.
    pub credential: Option<String>,
    /// The server is away or broken: the sentence, and when it is tried again.
    pub server: Option<(String, Time)>,
    /// No room for results in these directories: the sentence, and when a download into it is tried again.
    pub disks: BTreeMap<PathBuf, (String, Time)>,
    /// Where the results of jobs go by themselves whose records do not tell; as far as there is no room, and it was asked.
    pub places: Arc<HashMap<Key, PathBuf>>,
}

impl Gates {
    /// Where the job's results are to go, as far as that is known.
    pub(super) fn place<'a>(&'a self, job: &'a Job) -> Option<&'a PathBuf> {
        match (&job.delivery, &job.phase) {
            (Some(delivery), _) => Some(&delivery.parent),
            (None, Phase::Retrieving { parent, .. }) => Some(parent),
            _ => self.places.get(&job.key),
        }
    }

    /// What holds this job back, for [`crate::job::waiting::waiting`].
    #[must_use]
    pub fn held(&self, job: &Job, proxyid: ProxyId) -> Held<'_> {
        let full = || Some(self.disks.get(self.place(job)?)?.0.as_str());
        Held {
            credential: self.credential.as_deref(),
            server: self.server.as_ref().map(|(why, until)| (why.as_str(), *until)),
            disk: if self.disks.is_empty() { None } else { full() },
            proxyid,
        }
    }
}

impl Jobs {
    /// Notes it if the gates have changed since the last revision.
    pub(super) fn look_at_gates(&mut self) {
        let Gates { credential, server, disks, places } = &self.gates;
        // When something is tried again is no news.
        let full = disks.iter().map(|(place, (why, _))| (place.clone(), why.clone())).collect();
        let now = (credential.clone(), server.as_ref().map(|(why, _)| why.clone()), full, places.len());
        if now != self.gates_seen {
            self.gates_seen = now;
            self.gates_rev = self.rev;
        }
    }
}

/// Shared access to [`Jobs`].
#[derive(Debug, Clone)]
pub struct Board {
    jobs: Arc<RwLock<Jobs>>,
    rev: watch::Sender<u64>,
}

impl Default for Board {
    fn default() -> Self {
        Self { jobs: Arc::default(), rev: watch::Sender::new(0) }
    }
}

impl Board {
    /// A look at the jobs. Do not keep it across anything slow.
    pub fn read(&self) -> RwLockReadGuard<'_, Jobs> {
        // The engine's writes leave the data whole at each step, so a poisoned lock still holds good data.
        self.jobs.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the engine only.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Jobs> {
        self.jobs.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells waiting readers that the revision is now this.
    pub(crate) fn announce(&self, rev: u64) {
        self.rev.send_replace(rev);
    }

    /// Waits until the revision is above `since`.
    pub async fn changed_after(&self, since: u64) {
        let mut rx = self.rev.subscribe();
        // The sender lives as long as `self`.
        let _ = rx.wait_for(|rev| *rev > since).await;
    }
}
