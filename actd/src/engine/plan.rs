//! What is begun in a turn: jobs that are ready, grouped into batches, within the limits and past the gates.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::call::Causes;
use crate::job::apply::Input;
use crate::job::fault::{Class, Fault};
use crate::job::next::Action;
use crate::job::{Job, Key, Phase, Spec, Time};
use crate::work::{BATCH, Retrieve, Work};

use super::board::Gates;
use super::dir_name::DirName;
use super::shared::is_over;
use super::{Engine, Flight};

/// A description, or a row to be dropped, waits at most so long for others to go with it, milliseconds.
pub(super) const CONFIRM_WAIT_MS: i64 = 1_000;

/// A full disk is spoken of for so long after it might have been tried again, milliseconds.
const FORGET_DISK_MS: i64 = 60_000;

/// Downloads that were found to be for full disks.
pub(super) struct HeldBack {
    /// All that are ready up to this job,
    to: Key,
    /// until one of the disks is tried again.
    until: Time,
}

/// A piece of work to begin once the turn is durable.
pub(super) struct Planned {
    pub(super) actions: Vec<(Key, Action)>,
    pub(super) work: Work,
    pub(super) cancel: CancellationToken,
    /// The calls that it is done for.
    pub(super) causes: Causes,
}

/// In this order: what ends something goes before what begins something.
const ORDER: [Action; 13] = [
    Action::Kill,
    Action::Clean,
    Action::Confirm,
    Action::Upload,
    Action::Create,
    Action::Resubmit,
    Action::Fetch,
    Action::CancelRow,
    Action::Look,
    Action::Deliver,
    Action::Discard,
    Action::Retrieve,
    Action::Sweep,
];

impl Engine {
    /// Until when nothing is sent to the server, if its gate is closed.
    pub(super) fn gate_until(&self) -> Option<Time> {
        let jobs = self.board.read();
        if jobs.gates.credential.is_some() {
            // A new credential opens it; the list is not tried meanwhile.
            return Some(Time::now().plus(60_000));
        }
        jobs.gates.server.as_ref().map(|(_, until)| *until)
    }

    /// Chooses what is begun now. The jobs' phases say so already; the caller commits them before it begins.
    pub(super) fn plan(&mut self, now: Time) -> Vec<Planned> {
        while let Some((at, key)) = self.due.first().copied() {
            if at > now {
                break;
            }
            self.schedule(key);
            if self.due.contains(&(at, key)) {
                // The clock stepped between two looks at it.
                break;
            }
        }
        if self.stopping.is_some() {
            return Vec::new();
        }
        for key in self.take(Action::Expire, usize::MAX) {
            self.apply(key, Input::Begin(Action::Expire), now);
        }
        let (credential, server) = {
            let jobs = self.board.read();
            (jobs.gates.credential.is_none(), jobs.gates.server.is_none())
        };
        if !(credential && server) {
            self.poll.give_up();
            self.fail_waiters();
        }
        self.forget_disks(now);
        let mut planned = Vec::new();
        if credential && !self.poll.in_flight && self.poll.next_at(now, self.gate_until()) <= now {
            let causes = self.poll.begun(now);
            planned.push(Planned { actions: Vec::new(), work: Work::List, cancel: CancellationToken::new(), causes });
        }
        if credential && server {
            planned.extend(self.plan_hunt(now));
        }
        for action in ORDER {
            if (action.needs_credential() && !credential) || (action.needs_server() && !server) {
                continue;
            }
            while let Some(work) = self.plan_one(action, now) {
                planned.push(work);
            }
        }
        planned
    }

    /// How many pieces of this kind may be under way at a time.
    fn limit(&self, action: Action) -> usize {
        match action {
            Action::Upload => self.config.uploads,
            Action::Retrieve => self.config.downloads,
            Action::Deliver | Action::Discard | Action::Sweep => 4,
            _ => 1,
        }
    }

    /// Whether work of this kind can do without a turn for a moment: none of it waits, or much of it is under way. Not
    /// when the last of all transfers has ended: the next step is due then.
    pub(super) fn keeps_busy(&self, action: Action) -> bool {
        let busy = |action| self.busy.get(&action).copied().unwrap_or(0);
        let ready = self.ready.get(&action).is_some_and(|set| !set.is_empty());
        busy(Action::Upload) + busy(Action::Retrieve) > 0 && (!ready || busy(action) > self.limit(action) / 2)
    }

    fn plan_one(&mut self, action: Action, now: Time) -> Option<Planned> {
        if self.busy.get(&action).copied().unwrap_or(0) >= self.limit(action) {
            return None;
        }
        let ready = self.ready.get(&action).map_or(0, BTreeSet::len);
        if action == Action::Confirm && !self.confirm_now(ready, now) {
            return None;
        }
        if action == Action::Clean && !self.clean_now(ready, now) {
            return None;
        }
        let batched =
            !matches!(action, Action::Upload | Action::Retrieve | Action::Sweep | Action::Deliver | Action::Discard);
        let (keys, work) = loop {
            let keys = match action {
                Action::Retrieve => self.take_download(now).into_iter().collect(),
                _ => self.take(action, if batched { BATCH } else { 1 }),
            };
            let keys = self.with_spec(action, keys, now);
            if keys.is_empty() {
                return None;
            }
            self.set_out(action, &keys, now);
            if let Some(work) = self.work(action, &keys, now) {
                break (keys, work);
            }
            // What its record asks for cannot be done for it: that must not stand in the way of others.
            for key in &keys {
                tracing::warn!(%key, ?action, "its record asks for what cannot be done");
                self.unschedule(*key);
            }
        };
        let cancel = CancellationToken::new();
        for key in &keys {
            // Whatever its record says is next: it is under way now.
            self.flights.insert(*key, Flight { action, cancel: cancel.clone() });
            self.schedule(*key);
        }
        *self.busy.entry(action).or_default() += 1;
        let causes = self.causes_of(&keys);
        let actions = keys.into_iter().map(|key| (key, action)).collect();
        Some(Planned { actions, work, cancel, causes })
    }

    /// A batch of descriptions goes out when it is full, when nothing else is on its way to join it, or after a second.
    fn confirm_now(&mut self, ready: usize, now: Time) -> bool {
        if ready == 0 {
            self.confirm_since = None;
            return false;
        }
        let since = *self.confirm_since.get_or_insert(now);
        let coming = [Action::Upload, Action::Create].iter().any(|a| {
            self.busy.get(a).copied().unwrap_or(0) > 0 || self.ready.get(a).is_some_and(|set| !set.is_empty())
        });
        let go = ready >= BATCH || !coming || now.since(since) >= CONFIRM_WAIT_MS;
        if go {
            self.confirm_since = None;
        }
        go
    }

    /// Rows are dropped many at a time, too: while downloads are under way that will soon have more to drop, at most a
    /// second is waited for them.
    fn clean_now(&mut self, ready: usize, now: Time) -> bool {
        if ready == 0 {
            self.clean_since = None;
            return false;
        }
        let since = *self.clean_since.get_or_insert(now);
        let coming = self.busy.get(&Action::Retrieve).copied().unwrap_or(0) > 0;
        let go = ready >= BATCH || !coming || now.since(since) >= CONFIRM_WAIT_MS;
        if go {
            self.clean_since = None;
        }
        go
    }

    fn take(&mut self, action: Action, most: usize) -> Vec<Key> {
        self.ready.get(&action).map(|set| set.iter().take(most).copied().collect()).unwrap_or_default()
    }

    /// The first job that is to be downloaded to a place where there is room, as far as we know. Those before it are passed
    /// over once, not in each turn: there may be very many of them.
    fn take_download(&mut self, now: Time) -> Option<Key> {
        let ready = self.ready.get(&Action::Retrieve)?;
        let gates = {
            let jobs = self.board.read();
            if jobs.gates.disks.is_empty() {
                return ready.first().copied();
            }
            jobs.gates.clone()
        };
        let next_try = gates.disks.values().map(|(_, at)| *at).filter(|at| *at > now).min();
        let Some(next_try) = next_try else { return ready.first().copied() };
        let from = self
            .held_back
            .as_ref()
            .filter(|held| held.until > now)
            .map_or(Bound::Unbounded, |held| Bound::Excluded(held.to));
        let (mut places, mut to, mut found) = (HashMap::new(), None, None);
        for key in ready.range((from, Bound::Unbounded)) {
            let Some(job) = self.job(*key) else { continue };
            let is_full = |place: &PathBuf| gates.disks.get(place).is_some_and(|(_, at)| *at > now);
            let held = match gates.place(&job) {
                Some(place) => is_full(place),
                None => {
                    let place = self.place(*key);
                    let held = is_full(&place);
                    if held {
                        places.insert(*key, place);
                    }
                    held
                }
            };
            if !held {
                found = Some(*key);
                break;
            }
            to = Some(*key);
        }
        drop(gates);
        if !places.is_empty() {
            Arc::make_mut(&mut self.board.write().gates.places).extend(places);
        }
        if let Some(to) = to {
            self.held_back = Some(HeldBack { to, until: next_try });
        }
        found
    }

    /// A job is to be downloaded: it is not passed over unseen.
    pub(super) fn look_again(&mut self, action: Action, key: Key) {
        if action == Action::Retrieve && self.held_back.as_ref().is_some_and(|held| key <= held.to) {
            self.held_back = None;
        }
    }

    /// A disk that nobody has tried for long although they might have is of no interest to anybody any more.
    fn forget_disks(&mut self, now: Time) {
        let is_old = |(_, at): &(String, Time)| now.since(*at) > FORGET_DISK_MS;
        let nothing = |gates: &Gates| gates.disks.is_empty() && gates.places.is_empty();
        if nothing(&self.board.read().gates) {
            return;
        }
        let mut jobs = self.board.write();
        jobs.gates.disks.retain(|_, disk| !is_old(disk));
        if jobs.gates.disks.is_empty() {
            jobs.gates.places = Arc::default();
        }
    }

    /// Leaves out jobs whose spec is not there, though it must be: they cannot be submitted.
    fn with_spec(&mut self, action: Action, keys: Vec<Key>, now: Time) -> Vec<Key> {
        if !matches!(action, Action::Create | Action::Upload | Action::Confirm) {
            return keys;
        }
        let (mut good, mut bad) = (Vec::with_capacity(keys.len()), Vec::new());
        for key in keys {
            match self.spec(key) {
                Some(spec) => {
                    self.specs.insert(key, spec);
                    good.push(key);
                }
                None => bad.push(key),
            }
        }
        for key in bad {
            let fault = Fault::new(Class::Local, "its description is missing from the job cache");
            self.set_out(action, &[key], now);
            let input = match action {
                Action::Create => Input::Created(Err(Fault { class: Class::Rejected, ..fault })),
                Action::Upload => Input::Uploaded(Err(fault)),
                _ => Input::Confirmed(Err(fault)),
            };
            self.apply(key, input, now);
        }
        good
    }

    /// Where the results of a job are downloaded to by themselves.
    pub(super) fn place(&self, key: Key) -> PathBuf {
        self.spec(key).map_or_else(|| self.config.results.clone(), |s| s.results.clone())
    }

    /// Whether the job's results lie there: nobody has got them.
    pub(super) fn is_stored(&self, job: &Job) -> bool {
        job.results().and_then(Path::parent).is_some_and(|at| at == self.place(job.key))
    }

    /// Sets the phases of jobs to say that the step is under way.
    fn set_out(&mut self, action: Action, keys: &[Key], now: Time) {
        let (floor, proxyid) = {
            let jobs = self.board.read();
            (jobs.by_id.last_key_value().map_or(0, |(id, _)| *id), jobs.proxyid)
        };
        for key in keys {
            let Some(job) = self.job(*key) else { continue };
            match action {
                Action::Create => {
                    self.replace(Job { proxyid, ..Job::clone(&job) });
                    self.apply(*key, Input::BeginCreate { floor }, now);
                }
                Action::Retrieve if matches!(job.phase, Phase::Active { .. }) => {
                    // What came by itself is found there again, and delivered from there; unless that has failed.
                    let is_found = self.is_stored(&job) && job.is_brought() && job.retry.attempts == 0;
                    let here = is_found && !job.options.collected;
                    let parent = match &job.delivery {
                        Some(delivery) if !here || delivery.noclean || !delivery.exclude.is_empty() => {
                            delivery.parent.clone()
                        }
                        _ => self.place(*key),
                    };
                    self.apply(*key, Input::BeginRetrieve { parent }, now);
                }
                _ => self.apply(*key, Input::Begin(action), now),
            }
        }
    }

    /// The work for these jobs; none: they turned out to need none.
    fn work(&mut self, action: Action, keys: &[Key], now: Time) -> Option<Work> {
        let jobs: Vec<Arc<Job>> = keys.iter().filter_map(|key| self.job(*key)).collect();
        let ids = || jobs.iter().filter_map(|j| Some((j.key, j.id()?))).collect::<Vec<_>>();
        if jobs.is_empty() {
            return None;
        }
        Some(match action {
            Action::Create => Work::Create(self.specs(&jobs).into_iter().map(|(job, spec)| (job.key, spec)).collect()),
            Action::Upload => {
                let (job, spec) = self.specs(&jobs).pop()?;
                Work::Upload { key: job.key, id: job.id()?, spec }
            }
            Action::Confirm => {
                let items = self.specs(&jobs);
                Work::Confirm(items.into_iter().filter_map(|(job, spec)| Some((job.key, job.id()?, spec))).collect())
            }
            Action::Look => Work::Look(ids()),
            Action::Kill => Work::Kill(ids()),
            Action::Fetch => Work::Fetch(ids()),
            Action::Resubmit => {
                let run = |j: &Job| j.seen.as_ref().map(|s| s.run.clone()).unwrap_or_default();
                Work::Resubmit(jobs.iter().filter_map(|j| Some((j.key, j.id()?, run(j)))).collect())
            }
            Action::Clean => Work::Clean(
                jobs.iter()
                    .filter_map(|j| match &j.phase {
                        Phase::Cleaning { id, run, .. } => Some((j.key, *id, run.clone())),
                        _ => None,
                    })
                    .collect(),
            ),
            Action::Retrieve => Work::Retrieve(retrieve(jobs.first()?, &self.config.results_name)?),
            Action::CancelRow => Work::CancelRows(
                jobs.iter()
                    .filter_map(|j| Some((j.key, j.leftovers.iter().find(|l| l.row && l.not_before <= now)?.id)))
                    .collect(),
            ),
            Action::Sweep => {
                let job = jobs.first()?;
                let left = job.leftovers.iter().find(|l| !l.row && l.not_before <= now)?;
                // What it shares goes with the last of its leftovers, when it needs it no more.
                let last = is_over(job) && job.leftovers.iter().filter(|l| l.webdav.is_some()).count() == 1;
                let shares = self.shared.files(job.key).is_some();
                let base = left.webdav.as_deref()?.to_owned();
                let files = shares.then(|| if last { self.shared.release(job.key, &base) } else { Vec::new() });
                Work::Sweep { key: job.key, id: left.id, base, files }
            }
            Action::Deliver => deliver(jobs.first()?)?,
            Action::Discard => {
                let job = jobs.first()?;
                Work::Discard { key: job.key, dir: job.results()?.to_owned() }
            }
            Action::Expire => return None,
        })
    }

    fn specs(&self, jobs: &[Arc<Job>]) -> Vec<(Arc<Job>, Arc<Spec>)> {
        let spec = |job: &Job| {
            let spec = self.spec(job.key)?;
            let Some(files) = self.shared.files(job.key) else { return Some(spec) };
            Some(Arc::new(Spec { staged: files.to_vec(), ..Spec::clone(&spec) }))
        };
        jobs.iter().filter_map(|job| Some((job.clone(), spec(job)?))).collect()
    }
}

/// What is downloaded by itself is named as the configuration says, what a person gets as act names it.
fn retrieve(job: &Job, by_itself: &DirName) -> Option<Retrieve> {
    let Phase::Retrieving { id, run, parent } = &job.phase else { return None };
    let delivery = job.delivery.as_ref().filter(|d| d.parent == *parent);
    let name = match delivery {
        Some(delivery) => DirName::of_act(delivery.use_jobname).of(job),
        None if job.options.use_jobname => DirName::of_act(true).of(job),
        None => by_itself.of(job),
    };
    Some(Retrieve {
        key: job.key,
        id: *id,
        run: run.clone(),
        job_name: job.name.clone(),
        parent: parent.clone(),
        name,
        exclude: delivery.map(|d| d.exclude.clone()).unwrap_or_default(),
    })
}

fn deliver(job: &Job) -> Option<Work> {
    let Phase::Collecting { from, .. } = &job.phase else { return None };
    let delivery = job.delivery.as_ref()?;
    Some(Work::Deliver {
        key: job.key,
        from: from.clone(),
        parent: delivery.parent.clone(),
        name: DirName::of_act(delivery.use_jobname).of(job),
        copy: delivery.copy || delivery.noclean,
    })
}
