//! The server's memory: proxies, client rows, ARC rows, as the tables of a real aCT server would hold them.
//! Plain data and pure changes; no IO, no clock, no tasks. One mutex around [`State`] is the only lock.

pub(crate) mod columns;
pub(crate) mod select;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::desc::Description;

/// Seconds since 1970; the server's resolution.
pub(crate) type Seconds = i64;

/// A delegated proxy, one per (DN, first VOMS attribute).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Proxy {
    /// `/DC=org/.../CN=Test User 1`, without the proxies' own CNs.
    pub(crate) dn: String,
    /// First FQAN of the attribute certificate.
    pub(crate) attribute: String,
    /// PEM: what the daemons would act with. After POST it is a bare key until PUT stores the chain.
    pub(crate) pem: String,
    /// End of the proxy; 0 after DELETE.
    pub(crate) expires: Seconds,
    /// PEM of the private key made for the last POST; a PUT's certificate must match it.
    pub(crate) key: String,
    /// Whether PUT has completed the delegation.
    pub(crate) complete: bool,
}

/// The row of table `arcjobs`, with the columns that ever have a value.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ArcRow {
    pub(crate) id: i64,
    pub(crate) created: Seconds,
    pub(crate) modified: Seconds,
    pub(crate) arcstate: String,
    pub(crate) tarcstate: Seconds,
    pub(crate) tstate: Option<Seconds>,
    pub(crate) cluster: Option<String>,
    pub(crate) attempts_left: i64,
    pub(crate) state: Option<String>,
    pub(crate) job_id: Option<String>,
    pub(crate) id_from_endpoint: Option<String>,
    pub(crate) delegation_id: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) execution_node: Option<String>,
    pub(crate) exit_code: Option<i64>,
    pub(crate) submission_time: Option<Seconds>,
    pub(crate) end_time: Option<Seconds>,
    pub(crate) local_id: Option<String>,
    /// The CE's answer to the first status check has been seen: `StdOut`, `Queue`, `Owner`... are filled.
    pub(crate) checked: bool,
    pub(crate) requested_cpu_time: i64,
    pub(crate) requested_wall_time: i64,
    pub(crate) used_wall_time: i64,
}

/// The row of table `clientjobs` and the job behind it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) id: i64,
    pub(crate) created: Seconds,
    pub(crate) modified: Seconds,
    pub(crate) proxyid: i64,
    pub(crate) clusterlist: String,
    pub(crate) name: Option<String>,
    /// The column `jobdesc`: the server's own print of the description.
    pub(crate) jobdesc: Option<String>,
    /// What the client last sent; becomes `submitted` when the job is handed to ARC.
    #[serde(with = "shared_option")]
    pub(crate) description: Option<Arc<Description>>,
    /// What ARC works with: never changes after the hand-over.
    #[serde(with = "shared_option")]
    pub(crate) submitted: Option<Arc<Description>>,
    pub(crate) arc: Option<ArcRow>,
    /// Where finished outputs lie; absent until they were fetched.
    pub(crate) results: Option<PathBuf>,
    /// Steps of a driver with an older number are void (the state was forced, or the job resubmitted).
    pub(crate) generation: u64,
    /// No driver moves this job: its state was set by hand.
    pub(crate) pinned: bool,
    /// Wakes the job's driver after a kill or a forced state.
    #[serde(skip)]
    pub(crate) wake: Arc<Notify>,
}

impl ArcRow {
    /// The job was accepted by `cluster` of the CE at `ce_url`, under `ce_id`. Columns of an earlier submission are
    /// forgotten.
    pub(crate) fn accepted(&mut self, ce_url: &str, ce_id: &str, cluster: &str, now: Seconds) {
        self.job_id = Some(format!("{ce_url}/arex/rest/1.0/jobs/{ce_id}"));
        self.id_from_endpoint = Some(ce_id.to_owned());
        self.delegation_id = Some(format!("{:012x}", fastrand::u64(..) & 0xffff_ffff_ffff));
        self.cluster = Some(cluster.to_owned());
        self.error = Some(String::new());
        self.execution_node = Some(String::new());
        self.submission_time = Some(now);
        self.attempts_left = 0;
        (self.exit_code, self.end_time, self.local_id) = (None, None, None);
        self.checked = false;
        (self.used_wall_time, self.requested_cpu_time, self.requested_wall_time) = (0, 0, 0);
    }

    /// The first status check has shown the CE's own columns.
    pub(crate) fn check(&mut self, description: &Description) {
        let seconds = |value: Option<u64>| value.and_then(|value| i64::try_from(value).ok()).unwrap_or(0);
        self.checked = true;
        self.requested_cpu_time = seconds(description.cputime);
        self.requested_wall_time = seconds(description.walltime);
    }
}

/// 54 letters and digits, as the CE makes its ids.
pub(crate) fn new_ce_id() -> String {
    (0..54).map(|_| fastrand::alphanumeric()).collect()
}

impl Job {
    /// `arcstate`, if the job was handed to ARC.
    pub(crate) fn arcstate(&self) -> Option<&str> {
        self.arc.as_ref().map(|arc| arc.arcstate.as_str())
    }

    /// Enters `arcstate` at time `now`.
    pub(crate) fn enter(&mut self, arcstate: &str, now: Seconds) {
        if let Some(arc) = &mut self.arc {
            arcstate.clone_into(&mut arc.arcstate);
            arc.tarcstate = now;
            arc.modified = now;
        }
    }

    /// The CE reports `state` at time `now`.
    pub(crate) fn report(&mut self, state: &str, now: Seconds) {
        if let Some(arc) = &mut self.arc {
            arc.state = Some(state.to_owned());
            arc.tstate = Some(now);
            arc.modified = now;
        }
    }
}

/// Everything the server knows.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) last_client_id: i64,
    pub(crate) last_arc_id: i64,
    pub(crate) last_proxy_id: i64,
    /// In a snapshot each has a line of its own.
    #[serde(skip)]
    pub(crate) jobs: BTreeMap<i64, Job>,
    pub(crate) proxies: BTreeMap<i64, Proxy>,
    /// HMAC key of the tokens.
    pub(crate) token_key: String,
    /// How often the executable was really started for each row, the cleaned ones too.
    pub(crate) runs_by_job: BTreeMap<i64, u32>,
    /// The same by job name and command line.
    pub(crate) runs_by_description: BTreeMap<String, u32>,
    /// The snapshot is the last of a run that ended in order.
    pub(crate) closed: bool,
    /// The database connection broke: every request answers 500 until an administrator steps in.
    #[serde(skip)]
    pub(crate) broken: bool,
}

/// A shared value in a snapshot is written out in full.
mod shared_option {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(value: &Option<Arc<T>>, to: S) -> Result<S::Ok, S::Error> {
        value.as_deref().serialize(to)
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Arc<T>>, D::Error> {
        Option::<T>::deserialize(from).map(|value| value.map(Arc::new))
    }
}

/// States in which `PATCH action=cancel` works; no ARC row counts as one too.
const CANCELLABLE: [&str; 5] = ["", "tosubmit", "submitting", "submitted", "running"];
/// States that `DELETE /jobs` accepts.
const CLEANABLE: [&str; 5] = ["done", "donefailed", "cancelled", "failed", "lost"];

/// One element of the answer to a cancel: the state before it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cancelled {
    pub(crate) c_id: i64,
    pub(crate) a_id: Option<i64>,
    pub(crate) arcstate: Option<String>,
}

impl State {
    /// The id of an identity, made at its first delegation and kept for ever.
    pub(crate) fn identity(&mut self, dn: &str, attribute: &str) -> i64 {
        let known = self.proxies.iter().find(|(_, proxy)| proxy.dn == dn && proxy.attribute == attribute);
        if let Some((id, _)) = known {
            return *id;
        }
        self.last_proxy_id += 1;
        let proxy = Proxy {
            dn: dn.to_owned(),
            attribute: attribute.to_owned(),
            pem: String::new(),
            expires: 0,
            key: String::new(),
            complete: false,
        };
        self.proxies.insert(self.last_proxy_id, proxy);
        self.last_proxy_id
    }

    /// A half-submitted row, as POST /jobs makes it. Returns its id.
    pub(crate) fn create(&mut self, proxyid: i64, clusterlist: String, now: Seconds) -> i64 {
        self.last_client_id += 1;
        let job = Job {
            id: self.last_client_id,
            created: now,
            modified: now,
            proxyid,
            clusterlist,
            name: None,
            jobdesc: None,
            description: None,
            submitted: None,
            arc: None,
            results: None,
            generation: 0,
            pinned: false,
            wake: Arc::default(),
        };
        self.jobs.insert(job.id, job);
        self.last_client_id
    }

    /// The caller's own job.
    pub(crate) fn own(&self, proxyid: i64, id: i64) -> Option<&Job> {
        self.jobs.get(&id).filter(|job| job.proxyid == proxyid)
    }

    /// Hands a confirmed job to ARC: it gets its row in `arcjobs`, and its description is frozen.
    pub(crate) fn hand_over(&mut self, id: i64, now: Seconds) {
        self.last_arc_id += 1;
        let arc_id = self.last_arc_id;
        if let Some(job) = self.jobs.get_mut(&id) {
            job.submitted.clone_from(&job.description);
            job.modified = now;
            job.arc = Some(ArcRow { id: arc_id, created: now, attempts_left: 1, ..ArcRow::default() });
            job.enter("tosubmit", now);
        }
    }

    /// Kills the given jobs. Rows that ARC does not have yet vanish; the others are marked `tocancel`. The second
    /// list names the jobs whose uploaded data goes too.
    pub(crate) fn cancel(&mut self, ids: &[i64], state: Option<&str>, now: Seconds) -> (Vec<Cancelled>, Vec<i64>) {
        let (mut cancelled, mut data_gone) = (Vec::new(), Vec::new());
        for id in ids {
            let Some(job) = self.jobs.get_mut(id) else { continue };
            let before = job.arcstate().map(str::to_owned);
            let killable = before.as_deref().is_none_or(|arcstate| CANCELLABLE.contains(&arcstate));
            let wanted = state.is_none_or(|state| {
                let known = CANCELLABLE[1..].iter().any(|name| name.eq_ignore_ascii_case(state));
                known && before.as_deref().is_some_and(|arcstate| arcstate.eq_ignore_ascii_case(state))
            });
            if !killable || !wanted {
                continue;
            }
            cancelled.push(Cancelled { c_id: *id, a_id: job.arc.as_ref().map(|arc| arc.id), arcstate: before.clone() });
            if matches!(before.as_deref(), None | Some("" | "tosubmit" | "submitting")) {
                data_gone.push(*id);
            }
            job.wake.notify_one();
            if matches!(before.as_deref(), None | Some("" | "tosubmit")) {
                self.jobs.remove(id);
            } else {
                job.enter("tocancel", now);
            }
        }
        (cancelled, data_gone)
    }

    /// Moves failed jobs to `tofetch`. Returns the ids that moved.
    pub(crate) fn fetch(&mut self, ids: &[i64], now: Seconds) -> Vec<i64> {
        self.advance(ids, &["failed"], "tofetch", now)
    }

    /// Moves failed and fetched failed jobs to `toresubmit`. Returns the ids that moved.
    pub(crate) fn resubmit(&mut self, ids: &[i64], now: Seconds) -> Vec<i64> {
        self.advance(ids, &["failed", "donefailed"], "toresubmit", now)
    }

    fn advance(&mut self, ids: &[i64], from: &[&str], to: &str, now: Seconds) -> Vec<i64> {
        let mut moved = Vec::new();
        for id in ids {
            let Some(job) = self.jobs.get_mut(id) else { continue };
            if job.arcstate().is_some_and(|arcstate| from.contains(&arcstate)) {
                job.enter(to, now);
                job.generation += 1;
                job.pinned = false;
                moved.push(*id);
            }
        }
        moved
    }

    /// Removes finished rows. The removed jobs are returned, their directories are the caller's to remove.
    pub(crate) fn clean(&mut self, ids: &[i64], state: Option<&str>) -> Vec<Job> {
        let mut cleaned = Vec::new();
        for id in ids {
            let Some(arcstate) = self.jobs.get(id).and_then(Job::arcstate) else { continue };
            let wanted = state.is_none_or(|state| state.eq_ignore_ascii_case(arcstate));
            if wanted && CLEANABLE.contains(&arcstate) {
                cleaned.extend(self.jobs.remove(id));
            }
        }
        cleaned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job_in(state: &mut State, arcstate: &str) -> i64 {
        let id = state.create(1, "https://h:1/q".into(), 0);
        if !arcstate.is_empty() {
            state.hand_over(id, 0);
            state.jobs.get_mut(&id).unwrap().enter(arcstate, 0);
        }
        id
    }

    #[test]
    fn cancel_follows_the_state() {
        let mut state = State::default();
        for (arcstate, cancelled, remains) in [
            ("", true, false),
            ("tosubmit", true, false),
            ("submitting", true, true),
            ("submitted", true, true),
            ("running", true, true),
            ("finished", false, true),
            ("toresubmit", false, true),
            ("done", false, true),
            ("cancelled", false, true),
        ] {
            let id = job_in(&mut state, arcstate);
            let (answer, _) = state.cancel(&[id], None, 1);
            assert_eq!(answer.len(), usize::from(cancelled), "{arcstate}");
            assert_eq!(state.jobs.contains_key(&id), remains, "{arcstate}");
            assert_eq!(state.cancel(&[id], None, 1).0.len(), 0, "{arcstate} twice");
        }
    }

    #[test]
    fn a_state_filter_never_matches_a_row_without_state() {
        let mut state = State::default();
        let id = job_in(&mut state, "");
        assert!(state.cancel(&[id], Some("tosubmit"), 1).0.is_empty());
        let running = job_in(&mut state, "running");
        assert!(state.cancel(&[running], Some("done"), 1).0.is_empty());
        assert_eq!(state.cancel(&[running], Some("RUNNING"), 1).0.len(), 1);
    }

    #[test]
    fn clean_and_resubmit_take_only_what_ended() {
        let mut state = State::default();
        let running = job_in(&mut state, "running");
        let failed = job_in(&mut state, "failed");
        let done = job_in(&mut state, "done");
        assert!(state.fetch(&[running, done], 1).is_empty());
        assert_eq!(state.resubmit(&[running, failed, done], 1), [failed]);
        let cleaned: Vec<_> = state.clean(&[running, failed, done], None).iter().map(|job| job.id).collect();
        assert_eq!(cleaned, [done]);
    }

    #[test]
    fn an_identity_keeps_its_id() {
        let mut state = State::default();
        let first = state.identity("/CN=a", "/vo");
        assert_ne!(first, state.identity("/CN=a", "/vo/sub"));
        assert_eq!(first, state.identity("/CN=a", "/vo"));
    }
}
