//! The core's jobs in the API's words, and what a job waits for. Pure: no call, no clock but the one it is given.

use std::collections::BTreeMap;
use std::path::Path;

use act_proto::daemon::WaitingGroup;
use act_proto::jobs::{self as api, BulkItem, Progress, Waiting};

use crate::engine::board::{Gates, Jobs};
use crate::engine::convert::wire_phase;
use crate::job::{Arcstate, Job, Phase, ProxyId, Time};

/// What jobs are seen against: the conditions that hold for all.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub gates: Gates,
    pub proxyid: ProxyId,
    pub now: Time,
}

impl View {
    pub(super) fn of(jobs: &Jobs) -> Self {
        Self { gates: jobs.gates.clone(), proxyid: jobs.proxyid, now: Time::now() }
    }
}

/// A job on the wire.
pub(super) fn job(job: &Job, view: &View, description: Option<String>, progress: Option<Progress>) -> api::Job {
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
        waiting: waiting(job, view),
        origin: job.origin,
        batch: text(&job.batch),
        description,
        webdav: text(&job.webdav),
        results: job.results().map(path),
        error: text(&job.error),
        exit_code: job.exit_code.map(i64::from),
        progress,
        submitted: job.submitted.rfc3339(),
        changed: job.changed.rfc3339(),
        rev: job.rev,
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

/// What a job waits for, if it cannot go on; the first that holds.
pub(super) fn waiting(job: &Job, view: &View) -> Option<Waiting> {
    let say = |reason: &str, message: &str, hint: Option<&str>, until: Option<Time>| {
        Some(Waiting {
            reason: reason.to_owned(),
            message: message.to_owned(),
            hint: hint.map(str::to_owned),
            until: until.map(Time::rfc3339),
        })
    };
    if let Phase::Unknown { .. } = job.phase {
        let message = "its row vanished while it was being submitted: it may have run, so it is not sent again by itself";
        return say("unknown", message, Some("look at its results elsewhere; `actctl clean` drops it"), None);
    }
    if job.is_ours() && job.proxyid != 0 && view.proxyid != 0 && job.proxyid != view.proxyid && job.on_server() {
        let message = "it belongs to another identity than the one in force";
        return say("other_identity", message, Some("delegate a proxy of that identity: `actctl proxy`"), None);
    }
    let work = work(job);
    if matches!(work, Work::Server)
        && let Some(why) = &view.gates.credential
    {
        return say("credential", why, Some("`actctl proxy --status` shows more"), None);
    }
    if matches!(work, Work::Server)
        && let Some((why, at)) = &view.gates.server
    {
        return say("server", why, None, Some(*at));
    }
    let downloads = matches!(job.phase, Phase::Retrieving { .. })
        || (matches!(job.phase, Phase::Active { .. }) && job.arcstate().has_results() && !matches!(work, Work::None));
    if downloads && let Some(why) = &view.gates.disk {
        return say("disk", why, Some("make room, or set `actd.results` or `actd.min_free_disk`; it goes on by itself"), None);
    }
    if job.retry.at > view.now
        && let Some(why) = &job.retry.why
    {
        return say("retry", why, None, Some(job.retry.at));
    }
    let (message, hint) = stuck(job, view.now)?;
    say("stuck", message, Some(hint), None)
}

enum Work {
    /// Nothing is to be done.
    None,
    /// Something here.
    Local,
    /// Something at the server.
    Server,
}

fn work(job: &Job) -> Work {
    match &job.phase {
        Phase::Stored { .. } if job.delivery.is_none() && !job.wishes.clean => Work::None,
        Phase::Stored { .. } | Phase::Collecting { .. } => Work::Local,
        Phase::Closed { .. } if job.leftovers.is_empty() => Work::None,
        Phase::Unknown { .. } => Work::None,
        Phase::Active { .. } => {
            let wanted = !job.wishes.is_empty() || job.delivery.is_some();
            let comes = job.is_ours() && !job.options.no_download && *job.arcstate() == Arcstate::Done;
            if wanted || comes { Work::Server } else { Work::None }
        }
        _ => Work::Server,
    }
}

const MINUTE: i64 = 60_000;

/// Whether the server will not get any further with it, and what to do. Observed on a real aCT server (act-client 1.0.0's
/// API): none of these states ends by itself within hours.
pub(super) fn stuck(job: &Job, now: Time) -> Option<(&'static str, &'static str)> {
    let (Phase::Active { .. }, Some(seen)) = (&job.phase, &job.seen) else { return None };
    let age = now.since(seen.since);
    match seen.arcstate {
        Arcstate::None if job.name.is_some() && age > 15 * MINUTE => Some((
            "the server has not looked at it for more than 15 minutes",
            "the server's submission process may be down: tell its administrator; `actctl kill` removes the job",
        )),
        Arcstate::Cancelling if seen.run.is_empty() && age > 5 * MINUTE => Some((
            "its submission failed at the computing element, and the server cannot cancel what never started",
            "nothing can be done from here: the server drops it after two days; look for odd names among its inputs, then submit it anew",
        )),
        Arcstate::Finished if age > 30 * MINUTE => Some((
            "the server cannot fetch its results from the computing element",
            "names of outputs with spaces, `?`, `%` or letters outside ASCII do that: the server gives up after a day; rename them, then submit it anew",
        )),
        _ => None,
    }
}

/// All jobs that wait, grouped by what for. Stuck ones apart.
pub(super) fn groups(jobs: &Jobs, view: &View) -> (Vec<WaitingGroup>, Vec<WaitingGroup>) {
    let mut all: BTreeMap<(String, String), (u64, Option<String>)> = BTreeMap::new();
    for job in jobs.by_key.values() {
        if let Some(w) = waiting(job, view) {
            let entry = all.entry((w.reason, w.message)).or_insert((0, w.hint));
            entry.0 += 1;
        }
    }
    let group = |((reason, message), (jobs, hint))| WaitingGroup { reason, message, hint, jobs };
    all.into_iter().map(group).partition(|g: &WaitingGroup| g.reason != "stuck")
}
