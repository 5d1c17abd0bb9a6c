//! The core's jobs in the API's words, and what a job waits for. Pure: no call, no clock but the one it is given.

use std::collections::BTreeMap;
use std::path::Path;

use act_proto::daemon::WaitingGroup;
use act_proto::error::Kind;
use act_proto::jobs::{self as api, BulkItem, Progress, Waiting};

use crate::config::Config;
use crate::engine::board::{Gates, Jobs};
use crate::engine::convert::wire_phase;
use crate::job::next::Policy;
use crate::job::waiting::waiting;
use crate::job::{Cause, Job, Phase, ProxyId, Time};

/// What jobs are seen against: the conditions that hold for all.
#[derive(Debug, Clone)]
pub struct View {
    pub(super) gates: Gates,
    pub(super) proxyid: ProxyId,
    pub(super) now: Time,
    policy: Policy,
}

impl View {
    pub(super) fn of(jobs: &Jobs, config: &Config) -> Self {
        Self::new(jobs, config.policy())
    }

    /// The conditions that hold now.
    #[must_use]
    pub fn new(jobs: &Jobs, policy: Policy) -> Self {
        Self { gates: jobs.gates.clone(), proxyid: jobs.proxyid, now: Time::now(), policy }
    }

    pub(super) fn waiting(&self, job: &Job) -> Option<Waiting> {
        let w = waiting(job, self.now, &self.policy, &self.gates.held(job, self.proxyid))?;
        Some(Waiting {
            reason: w.reason.to_owned(),
            message: w.message,
            hint: w.hint,
            until: w.until.map(Time::rfc3339),
        })
    }
}

/// A job on the wire.
#[must_use]
pub fn job(job: &Job, view: &View, description: Option<String>, progress: Option<Progress>) -> api::Job {
    let text = |t: &Option<Box<str>>| t.as_deref().filter(|t| !t.is_empty()).map(str::to_owned);
    let seen = job.seen.as_ref();
    let filled = |t: &str| Some(t.to_owned()).filter(|t| !t.is_empty());
    api::Job {
        key: job.key.to_string(),
        id: job.id(),
        name: text(&job.name),
        arcstate: job.arcstate().word().map(str::to_owned),
        state: seen.and_then(|s| filled(&s.state)),
        job_id: seen.and_then(|s| filled(&s.run)),
        phase: wire_phase(&job.phase),
        outcome: match &job.phase {
            Phase::Closed { outcome, .. } => Some(outcome.word().to_owned()),
            _ => None,
        },
        waiting: view.waiting(job),
        origin: job.origin,
        batch: text(&job.batch),
        description,
        webdav: text(&job.webdav),
        results: job.results().map(path),
        error: text(&job.error),
        error_kind: job.cause.map(kind),
        exit_code: job.exit_code.map(i64::from),
        progress,
        submitted: job.submitted.rfc3339(),
        changed: job.changed.rfc3339(),
        rev: job.rev,
    }
}

/// A failed submission's kind of error.
pub(super) fn kind(cause: Cause) -> Kind {
    match cause {
        Cause::Clusters => Kind::UnknownClusters,
        Cause::Description => Kind::BadDescription,
        Cause::Local => Kind::LocalFile,
        Cause::Server => Kind::ServerRefused,
    }
}

fn path(p: &Path) -> String {
    p.display().to_string()
}

/// A job in a reply about many.
pub(super) fn item(job: &Job) -> BulkItem {
    BulkItem {
        key: job.key.to_string(),
        id: job.id(),
        name: job.name.as_deref().map(str::to_owned),
        arcstate: job.arcstate().word().map(str::to_owned),
    }
}

/// All jobs that wait, grouped by what for. Stuck ones apart.
pub(super) fn groups(jobs: &Jobs, view: &View) -> (Vec<WaitingGroup>, Vec<WaitingGroup>) {
    let mut all: BTreeMap<(String, String), (u64, Option<String>)> = BTreeMap::new();
    for job in jobs.by_key.values() {
        if let Some(w) = view.waiting(job) {
            let entry = all.entry((w.reason, w.message)).or_insert((0, w.hint));
            entry.0 += 1;
        }
    }
    let group = |((reason, message), (jobs, hint))| WaitingGroup { reason, message, hint, jobs };
    all.into_iter().map(group).partition(|g: &WaitingGroup| g.reason != "stuck")
}
