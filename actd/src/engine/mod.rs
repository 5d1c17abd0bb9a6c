//! The engine: the one task that owns all jobs. It takes commands, results of work and the server's list, changes jobs by
//! [`crate::job::apply`], makes the changes durable, tells of them, and begins what [`crate::job::next`] says is due.
//!
//! A turn of its loop: take all messages there are, apply them, plan what is due within the limits, **commit once**, then
//! answer, publish, and start the planned work. So nothing is told and nothing is begun that is not on disk.

pub mod board;
pub mod convert;
pub mod diff;
pub mod dir_name;
pub mod events;
pub mod handle;
pub mod operations;

mod answer;
mod broken;
mod change;
mod clock;
mod listing;
mod orphans;
mod plan;
mod poll;
mod shared;
#[cfg(test)]
mod shared_tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use act_proto::error::{ApiError, Kind};
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::call::{self, Causes};
use crate::failpoint;
use crate::job::next::{Action, Policy};
use crate::job::orphan::LostPost;
use crate::job::recover::recover;
use crate::job::{Job, Key, Phase, ProxyId, ServerId, Spec, Time};
use crate::store::prune::Retention;
use crate::store::{Batch, Loaded, Reader, Store, StoreError};
use crate::work::{Done, ProgressSink, TransferKind, Work};

use answer::Waiter;
use board::Board;
use broken::About;
use dir_name::DirName;
use events::EventLog;
use handle::{Command, EngineHandle};
use operations::Operations;
use poll::Poll;
use shared::Shared;

/// What to do when the job cache cannot be written.
const STORE_HINT: &str =
    "make room on the disk of the state directory and run the command again: what was accepted is kept";

/// So long the end of a transfer may wait for those of others, to become durable together.
const GATHER: Duration = Duration::from_millis(10);

const DAY_MS: i64 = 86_400_000;

/// What so many jobs were submitted with is kept in memory from one turn to the next.
const SPECS: usize = 1_000;

/// Events are kept so long,
const EVENTS_KEPT_DAYS: i64 = 14;

/// and no more than so many.
const MOST_EVENTS: u64 = 1_000_000;

/// How a piece of work for jobs of this identity is done: [`crate::work::Hands`], without the engine knowing more of it.
pub type Run = Arc<dyn Fn(Work, ProxyId, ProgressSink, CancellationToken) -> BoxFuture<'static, Done> + Send + Sync>;

/// What the engine must know of the credential.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credential {
    /// Whose jobs the token shows; none: there is no token.
    pub proxyid: Option<ProxyId>,
    /// Why it cannot be used.
    pub problem: Option<String>,
    /// Another number: another token or proxy.
    pub generation: u64,
}

/// An answer that waits for the end of the turn: it is told whether the turn is durable.
type Reply = Box<dyn FnOnce(Result<(), ApiError>) + Send>;

fn store_failed(error: &StoreError) -> ApiError {
    ApiError::new(Kind::StoreFailed, error.to_string()).hint(STORE_HINT)
}

/// How the engine works.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// What the user wants of all jobs.
    pub policy: Policy,
    /// Where results of jobs without a place of their own go.
    pub results: PathBuf,
    /// What their directories are named after.
    pub results_name: DirName,
    /// The shortest and the longest time between two lists.
    pub poll: (Duration, Duration),
    /// Jobs whose inputs are uploaded at a time.
    pub uploads: usize,
    /// Jobs whose results are downloaded at a time.
    pub downloads: usize,
    /// How long closed jobs are remembered, milliseconds.
    pub history_ms: i64,
    /// How long rows of lost requests are left alone while another client is at work, milliseconds.
    pub orphans_ms: i64,
}

/// A piece of work that is under way for a job.
struct Flight {
    action: Action,
    cancel: CancellationToken,
}

/// Where a job is in the plan.
enum Slot {
    Ready(Action),
    Due(Time),
}

struct Finished {
    actions: Vec<(Key, Action)>,
    done: Done,
    generation: u64,
}

impl Finished {
    /// The upload or the download of a job.
    fn is_transfer(&self) -> bool {
        self.actions.first().is_some_and(|(_, action)| matches!(action, Action::Upload | Action::Retrieve))
    }
}

struct Engine {
    config: EngineConfig,
    store: Arc<Store>,
    reader: Reader,
    board: Board,
    events: EventLog,
    operations: Operations,
    run: Run,
    credential: watch::Receiver<Credential>,
    /// The generation of the one that the board goes by.
    taken: u64,
    rejected: mpsc::Sender<u64>,
    finished: mpsc::Sender<Finished>,
    tasks: TaskTracker,

    next_key: u64,
    next_event: u64,
    next_lost: u64,
    shared: Shared,
    /// POSTs whose answers were lost, and what is done about their rows.
    lost: BTreeMap<u64, LostPost>,
    hunt: orphans::Hunting,
    /// When another client of the user was last seen to be at work.
    company: Option<Time>,
    /// When the last list was asked for that showed the row of a job without the description that had been sent.
    empty_at: HashMap<Key, Time>,
    /// Changed in this turn, not durable yet: the job before and after.
    changed: BTreeMap<Key, (Option<Arc<Job>>, Arc<Job>)>,
    forgotten: Vec<Key>,
    /// Client references of this turn, not durable yet.
    new_refs: HashMap<String, Key>,
    /// What jobs on their way to the server were submitted with: those of this turn, and not to read them for each step the
    /// first ones of earlier turns.
    specs: BTreeMap<Key, Arc<Spec>>,
    batch: Batch,
    told: Vec<(u64, crate::store::record::EventRecord)>,

    flights: HashMap<Key, Flight>,
    /// The directories in which downloads of jobs have begun.
    begun: HashMap<Key, PathBuf>,
    /// Those of them with which nobody goes on.
    given_up: Vec<(Key, PathBuf)>,
    slots: HashMap<Key, Slot>,
    /// The calls that jobs are worked on for, until they come to rest.
    causes: HashMap<Key, (Causes, bool)>,
    ready: BTreeMap<Action, BTreeSet<Key>>,
    due: BTreeSet<(Time, Key)>,
    busy: HashMap<Action, usize>,
    /// When the last thing that we did to a job was answered: older lists prove nothing about it.
    touched: HashMap<Key, Time>,
    confirm_since: Option<Time>,
    clean_since: Option<Time>,
    /// See [`Engine::take_download`].
    held_back: Option<plan::HeldBack>,
    server_failures: u16,

    /// Ids whose jobs were closed here, and when: a list that was asked for before that may still show them.
    left: HashMap<ServerId, Time>,

    waiters: Vec<Waiter>,
    /// Answers to give once this turn is durable, or cannot be.
    replies: Vec<Reply>,
    poll: Poll,
    /// The cache could not be written within this turn.
    trouble: Option<StoreError>,
    /// When old history and events were last removed.
    pruned: Time,
    /// The last moment that was looked at.
    latest: Time,
    stopping: Option<oneshot::Sender<()>>,
}

/// Starts the engine on what the store holds.
///
/// # Errors
/// The recovery of unfinished jobs cannot be made durable.
pub fn start(
    config: EngineConfig,
    store: Store,
    loaded: Loaded,
    run: Run,
    credential: watch::Receiver<Credential>,
    rejected: mpsc::Sender<u64>,
) -> Result<EngineHandle, StoreError> {
    let (commands, command_rx) = mpsc::channel(256);
    let (finished, finished_rx) = mpsc::channel(256);
    let board = Board::default();
    let reader = store.reader();
    let events = EventLog::new(loaded.last_event, reader.clone());
    let operations = Operations::new(board.clone());
    let mut engine = Engine {
        poll: Poll::new(config.poll),
        config,
        reader: reader.clone(),
        store: Arc::new(store),
        board: board.clone(),
        events: events.clone(),
        operations: operations.clone(),
        run,
        taken: 0,
        credential,
        rejected,
        finished,
        tasks: TaskTracker::new(),
        next_key: loaded.next_key,
        next_event: loaded.last_event + 1,
        shared: Shared::default(),
        lost: loaded.lost_posts.iter().cloned().collect(),
        hunt: orphans::Hunting::default(),
        company: loaded.company,
        empty_at: HashMap::new(),
        next_lost: loaded.lost_posts.iter().map(|(n, _)| n + 1).max().unwrap_or(1),
        changed: BTreeMap::new(),
        forgotten: Vec::new(),
        new_refs: HashMap::new(),
        specs: BTreeMap::new(),
        batch: Batch::default(),
        told: Vec::new(),
        flights: HashMap::new(),
        begun: HashMap::new(),
        given_up: Vec::new(),
        slots: HashMap::new(),
        causes: HashMap::new(),
        ready: BTreeMap::new(),
        due: BTreeSet::new(),
        busy: HashMap::new(),
        touched: HashMap::new(),
        confirm_since: None,
        clean_since: None,
        held_back: None,
        server_failures: 0,
        left: HashMap::new(),
        waiters: Vec::new(),
        replies: Vec::new(),
        trouble: None,
        pruned: Time::default(),
        latest: Time::default(),
        stopping: None,
    };
    engine.adopt_state(loaded)?;
    tokio::spawn(engine.main_loop(command_rx, finished_rx));
    Ok(EngineHandle { commands, board, events, operations, store: reader })
}

impl Engine {
    /// Takes over what is on disk, settles what was in flight.
    fn adopt_state(&mut self, loaded: Loaded) -> Result<(), StoreError> {
        let now = Time::now();
        self.taken = self.credential.borrow().generation;
        let proxyid = self.credential.borrow().proxyid.or(loaded.proxyid).unwrap_or(0);
        let mut keys = Vec::with_capacity(loaded.jobs.len());
        {
            let mut jobs = self.board.write();
            jobs.proxyid = proxyid;
            jobs.last_event = loaded.last_event;
            jobs.gates.credential = self.credential.borrow().problem.clone();
            // Above all that an earlier daemon has counted to: whoever knows a revision of that one is told of every job.
            jobs.rev = u64::try_from(now.0).unwrap_or(0).max(1);
            for mut job in loaded.jobs {
                keys.push(job.key);
                job.rev = jobs.rev;
                jobs.by_key.insert(job.key, Arc::new(job));
            }
        }
        for (key, files) in loaded.shared {
            match self.job(key) {
                Some(job) => self.shared.restore(&job, files),
                None => tracing::warn!(%key, ?files, "a job that is not known any more has files on WebDAV"),
            }
        }
        let lost: Vec<Key> = self.creating(keys.iter().copied());
        self.note_lost_posts(&lost, now)?;
        for key in &keys {
            let Some(job) = self.job(*key) else { continue };
            if let Some(delivery) = &job.delivery {
                self.operations.resume(delivery.operation, *key);
            }
            if let Phase::Retrieving { parent, .. } = &job.phase {
                self.begun.insert(*key, parent.clone());
            }
            let mut settled = Job::clone(&job);
            recover(&mut settled, now);
            self.keep_sweeping(&mut settled, now);
            if settled != *job {
                self.replace(settled);
            }
        }
        self.commit()?;
        self.index();
        Ok(())
    }

    /// Builds the plan and the index by server id from the jobs of the identity in force.
    fn index(&mut self) {
        let keys: Vec<Key> = {
            let mut jobs = self.board.write();
            let proxyid = jobs.proxyid;
            let by_id = jobs
                .by_key
                .values()
                .filter(|j| j.on_server() && (j.proxyid == proxyid || j.proxyid == 0))
                .filter_map(|j| Some((j.id()?, j.key)))
                .collect();
            jobs.by_id = by_id;
            jobs.by_key.keys().copied().collect()
        };
        for key in keys {
            self.schedule(key);
        }
    }

    async fn main_loop(mut self, mut commands: mpsc::Receiver<Command>, mut finished: mpsc::Receiver<Finished>) {
        let mut credential = self.credential.clone();
        loop {
            let wake = self.wake_at();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => break,
                },
                Some(done) = finished.recv() => {
                    let gather = done.is_transfer();
                    self.work_finished(done);
                    if gather {
                        self.gather(&mut commands, &mut finished).await;
                    }
                }
                changed = credential.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let now_in_force = credential.borrow_and_update().clone();
                    self.credential_changed(now_in_force);
                }
                () = tokio::time::sleep(wake) => {}
            }
            // What else is there belongs to the same commit.
            while let Ok(done) = finished.try_recv() {
                self.work_finished(done);
            }
            while let Ok(command) = commands.try_recv() {
                self.command(command);
            }
            if let Err(e) = tokio::task::block_in_place(|| self.turn()) {
                // Going on would mean telling and doing what a crash would undo.
                tracing::error!(error = %e, "the job cache cannot be written: the engine stops");
                self.fail(&e);
                break;
            }
            if self.stopping.is_some() && self.flights.is_empty() && !self.poll.in_flight {
                break;
            }
        }
        self.tasks.close();
        if let Some(reply) = self.stopping.take() {
            let _ = reply.send(());
        }
    }

    /// Lets the ends of transfers gather for one commit, while enough others are under way that nothing stands still.
    async fn gather(&mut self, commands: &mut mpsc::Receiver<Command>, finished: &mut mpsc::Receiver<Finished>) {
        let until = tokio::time::Instant::now() + GATHER;
        while self.keeps_busy(Action::Upload) && self.keeps_busy(Action::Retrieve) && self.stopping.is_none() {
            tokio::select! {
                Some(done) = finished.recv() => {
                    let more = done.is_transfer();
                    self.work_finished(done);
                    if !more {
                        return;
                    }
                }
                Some(command) = commands.recv() => return self.command(command),
                () = tokio::time::sleep_until(until) => return,
            }
        }
    }

    /// One turn after the messages: plan, commit, tell, begin.
    fn turn(&mut self) -> Result<(), StoreError> {
        if let Some(e) = self.trouble.take() {
            return Err(e);
        }
        let now = self.now();
        self.expire_waiters(now);
        let works = self.plan(now);
        self.commit()?;
        for reply in self.replies.drain(..) {
            reply(Ok(()));
        }
        for reply in self.poll.answered() {
            // Whoever does not wait any more needs no answer.
            let _ = reply.send(());
        }
        failpoint!("turn.answered");
        for work in works {
            self.begin(work);
        }
        self.remove_beginnings();
        self.prune(now);
        Ok(())
    }

    /// Once a day, and at start: forgets what has had its time. It touches nothing that the engine writes.
    fn prune(&mut self, now: Time) {
        if now.since(self.pruned) < DAY_MS {
            return;
        }
        self.pruned = now;
        let store = self.store.clone();
        let keep = Retention {
            closed_before: now.plus(-self.config.history_ms),
            events_before: now.plus(-EVENTS_KEPT_DAYS * DAY_MS),
            most_events: MOST_EVENTS,
        };
        self.tasks.spawn_blocking(move || match store.prune(&keep) {
            Ok((jobs, events)) => tracing::debug!(jobs, events, "forgot what had its time"),
            Err(e) => tracing::warn!(error = %e, "old history cannot be removed"),
        });
    }

    /// How long the loop may sleep.
    fn wake_at(&self) -> Duration {
        let now = Time::now();
        let mut at = self.poll.next_at(now, self.gate_until());
        if let Some((due, _)) = self.due.first() {
            at = at.min(*due);
        }
        for since in [self.confirm_since, self.clean_since].into_iter().flatten() {
            at = at.min(since.plus(plan::CONFIRM_WAIT_MS));
        }
        if let Some(deadline) = self.waiters.iter().map(|w| w.deadline).min() {
            at = at.min(deadline);
        }
        if let Some(tried) = self.board.read().gates.disks.values().map(|(_, at)| *at).filter(|at| *at > now).min() {
            at = at.min(tried);
        }
        Duration::from_millis(u64::try_from(at.since(now).clamp(1, 60_000)).unwrap_or(1_000))
    }

    fn credential_changed(&mut self, credential: Credential) {
        self.taken = credential.generation;
        let other = {
            let mut jobs = self.board.write();
            jobs.gates.credential.clone_from(&credential.problem);
            match credential.proxyid {
                Some(proxyid) if proxyid != jobs.proxyid => {
                    jobs.proxyid = proxyid;
                    self.batch.proxyid(proxyid);
                    true
                }
                _ => false,
            }
        };
        if other {
            self.index();
        }
        self.try_again();
        let text = credential.problem.unwrap_or_else(|| "the credential can be used".into());
        self.tell("credential", None, text);
        self.poll.now();
    }

    /// What was put off after a failure is due now: the reason may be gone.
    fn try_again(&mut self) {
        let put_off: Vec<Arc<Job>> = {
            let jobs = self.board.read();
            jobs.by_key.values().filter(|j| j.retry.attempts > 0).cloned().collect()
        };
        for job in put_off {
            let mut job = Job::clone(&job);
            job.retry.at = Time::default();
            let key = job.key;
            self.replace(job);
            self.schedule(key);
        }
    }

    fn fail(&mut self, error: &StoreError) {
        for flight in self.flights.values() {
            flight.cancel.cancel();
        }
        for waiter in self.waiters.drain(..) {
            waiter.fail(store_failed(error));
        }
        for reply in self.replies.drain(..) {
            reply(Err(store_failed(error)));
        }
    }

    /// What is next for a job depends on what the user wants of all jobs: each is looked at anew.
    fn configure(&mut self, config: EngineConfig) {
        self.poll.set_times(config.poll);
        self.config = config;
        // Some places are another by now.
        self.held_back = None;
        self.board.write().gates.places = Arc::default();
        self.pruned = Time::default();
        self.index();
    }

    /// From now on these jobs are worked on for these calls, if anything is to be done for them.
    fn caused(&mut self, causes: &Causes, keys: &[Key]) {
        for key in keys.iter().filter(|_| !causes.is_empty()) {
            if self.slots.contains_key(key) || self.flights.contains_key(key) {
                self.causes.insert(*key, (causes.clone(), false));
            }
        }
    }

    fn causes_of(&self, keys: &[Key]) -> Causes {
        call::union(keys.iter().filter_map(|key| self.causes.get(key)).flat_map(|(causes, _)| causes.iter()))
    }

    /// A piece of work for a job has ended: the calls are done with unless more follows at once, or it is tried again.
    fn perhaps_at_rest(&mut self, key: Key) {
        let goes_on = match self.slots.get(&key) {
            Some(Slot::Ready(_)) => true,
            Some(Slot::Due(_)) => self.job(key).is_some_and(|job| job.retry.attempts > 0),
            None => false,
        };
        if !goes_on && self.causes.remove(&key).is_some() && self.causes.is_empty() {
            self.causes = HashMap::new();
        }
    }

    /// Starts a piece of work.
    fn begin(&mut self, planned: plan::Planned) {
        let board = self.board.clone();
        let progress = ProgressSink::new(move |key, at: Option<(TransferKind, act_proto::jobs::Progress)>| {
            let mut jobs = board.write();
            match at {
                Some(at) => jobs.progress.insert(key, at),
                None => jobs.progress.remove(&key),
            };
        });
        let run = self.run.clone();
        let finished = self.finished.clone();
        let generation = self.credential.borrow().generation;
        let owner = self.board.read().proxyid;
        let about = About::of(&planned.work, &planned.actions);
        self.tasks.spawn(async move {
            // Made within what is watched: it may break before its first wait.
            let work = async { run(planned.work, owner, progress, planned.cancel).await };
            let done = about.watch(call::on_behalf(planned.causes, work)).await;
            // A closed channel: the engine has stopped; the next start asks again.
            let _ = finished.send(Finished { actions: planned.actions, done, generation }).await;
        });
    }
}
