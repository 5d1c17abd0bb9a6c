//! The daemon as a whole: what is started in which order, what runs it, and how it ends. No work of its own.

pub mod listen;
pub mod lock;
pub mod shutdown;
mod tidy;
mod watched;

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use act_proto::error::{ApiError, Kind};
use act_proto::start::StartReport;
use sd_notify::NotifyState;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::actor::Actor;
use crate::auth::handle::{AuthHandle, AuthState};
use crate::auth::report::{proxyid_of, trust};
use crate::auth::tls::Trust;
use crate::config::{Config, Flags};
use crate::dirs::{self, DirsHandle};
use crate::engine::handle::EngineHandle;
use crate::engine::{self, EngineConfig};
use crate::hooks;
use crate::job::next::{Next, Policy, next};
use crate::job::{Job, Phase, ProxyId, Time};
use crate::remote::act::ActOptions;
use crate::remote::webdav::WebdavOptions;
use crate::remote::{RemoteError, Timeouts};
use crate::rpc::{self, Api, Clients, Control, Shared};
use crate::store::{Loaded, Store, StoreError};
use crate::work::{Hands, HandsConfig};
use listen::Socket;
use lock::Lock;
use shutdown::{Asked, Signals, notify};
use watched::Watched;

/// How often the lock file says that the daemon lives, and the service manager is told how it does.
const BEAT: Duration = Duration::from_secs(30);
/// How often it is looked whether the config file has changed. It must have stayed as it is for as long.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is looked whether the CA directory has changed.
const ANCHORS: Duration = Duration::from_secs(300);
/// How long clients and their calls have when the daemon ends.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long work under way has to come to rest.
const DRAIN: Duration = Duration::from_secs(20);
/// Files of one job that are downloaded at a time.
const FILES_PER_JOB: usize = 4;
/// For each file that is moved at a time so many jobs are under way: many are small.
const JOBS_AHEAD: usize = 4;

/// How the daemon was started.
#[derive(Debug)]
pub struct Start {
    /// The command line.
    pub flags: Flags,
    /// The configuration that it gives.
    pub config: Config,
    /// Ends by itself after so long without jobs and clients.
    pub idle_exit: Option<Duration>,
    /// Who started it waits here for a [`StartReport`].
    pub ready: Option<Ready>,
    /// The umask of the user, for results; the daemon's own is stricter.
    pub umask: u32,
}

/// The descriptor on which the starter waits.
#[derive(Debug)]
pub struct Ready(pub File);

impl Ready {
    /// Says how the start went, and closes.
    pub fn report(mut self, report: &StartReport) {
        if let Ok(mut line) = serde_json::to_string(report) {
            line.push('\n');
            // Nobody waiting any more is no error.
            let _ = self.0.write_all(line.as_bytes());
        }
    }
}

/// Runs the daemon to its end.
///
/// # Errors
/// It cannot start, or its job cache can no longer be written.
pub async fn run(mut start: Start) -> Result<(), ApiError> {
    let ready = start.ready.take();
    // Before anything that takes time: a signal during the start must not kill halfway.
    let signals = Signals::new().map_err(|e| ApiError::new(Kind::Internal, format!("signals: {e}")))?;
    let daemon = match Daemon::start(start).await {
        Ok(daemon) => daemon,
        Err(e) => {
            if let Some(ready) = ready {
                ready.report(&StartReport::failed(&e));
            }
            return Err(e);
        }
    };
    if let Some(ready) = ready {
        ready.report(&StartReport::ready());
    }
    notify(&[NotifyState::Ready]);
    daemon.run(signals).await
}

struct Daemon {
    flags: Flags,
    lock: Lock,
    engine: EngineHandle,
    auth: AuthHandle,
    dirs: DirsHandle,
    hands: Hands,
    instance_id: String,
    umask: u32,
    trust: Trust,
    config: Shared,
    clients: Clients,
    reloads: mpsc::Receiver<oneshot::Sender<Result<(), ApiError>>>,
    idle_exit: Option<Duration>,
    /// Where the socket is.
    place: watch::Receiver<PathBuf>,
    serving: JoinHandle<Result<(), ApiError>>,
    /// A client or the service manager asks the daemon to end.
    stop: CancellationToken,
    /// Ends what waits on behalf of clients.
    closing: CancellationToken,
    /// Ends the credential's actor and the watchdog.
    last: CancellationToken,
    calls: TaskTracker,
}

impl Daemon {
    async fn start(start: Start) -> Result<Self, ApiError> {
        let Start { flags, config, idle_exit, umask, .. } = start;
        for warning in config.warnings() {
            tracing::warn!("{}: {warning}", config.instance.config.display());
        }
        tokio::task::block_in_place(|| lock::prepare_state(&config.state))?;
        let lock = Lock::take(&config.state)?;
        // Two things that take long, side by side.
        let opening = {
            let config = config.clone();
            tokio::task::spawn_blocking(move || open(&config))
        };
        let hands = hands_config(&config, "", umask);
        let client = tokio::task::block_in_place(|| hands.client());
        let (store, loaded) = opening
            .await
            .map_err(|e| ApiError::new(Kind::Internal, format!("the job cache was not opened: {e}")))??;
        let client = client.map_err(|e| unusable(&e))?;
        let instance_id = store.instance_id().to_owned();
        tracing::info!(
            instance = config.instance.name,
            server = %config.server,
            state = %config.state.display(),
            jobs = loaded.jobs.len(),
            "actd {} starts", env!("CARGO_PKG_VERSION")
        );

        let trust = hands.trust.clone();
        let hands = Hands::new(HandsConfig { instance: instance_id.clone(), ..hands }, client);
        let owner = owner(&loaded);
        let (rejected, rejections) = mpsc::channel(16);
        let actor = tokio::task::block_in_place(|| {
            let worker = hands.clone();
            Actor::new(config.clone(), owner, &hands.act(), Box::new(move |state| equip(&worker, state)))
        });
        let engine = {
            let worker = hands.clone();
            let run: engine::Run =
                Arc::new(move |work, owner, sink, cancel| Box::pin(worker.run(work, owner, sink, cancel)));
            engine::start(engine_config(&config), store, loaded, run, actor.credential(), rejected)
                .map_err(|e| store_error(&e))?
        };
        let last = CancellationToken::new();
        let shared = Shared::new(config.clone());
        let notices = hooks::start(engine.clone(), shared.clone(), umask, last.clone());
        let auth = actor.start(engine.clone(), rejections, notices, last.clone());

        let paths = config.instance.paths();
        let socket = Socket::open(&paths.socket, &act_proto::instance::sessionless_runtime_dir())?;
        let place = socket.path();
        let path = place.borrow().clone();
        if let Err(e) = lock.beat(&path) {
            return Err(ApiError::new(Kind::LocalFile, format!("the lock file cannot be written: {e}")));
        }
        tracing::info!("listening at {}", path.display());
        let (stop, closing) = (CancellationToken::new(), CancellationToken::new());
        let (reload, reloads) = mpsc::channel(4);
        let (clients, calls) = (Clients::default(), TaskTracker::new());
        let config = shared;
        tokio::spawn(tidy::run(engine.clone(), config.clone(), instance_id.clone(), last.clone()));
        let dirs = {
            let in_force = config.clone();
            let terms = Box::new(move |settings: &dirs::Settings| dirs::terms(settings, &in_force.get()));
            let config = config.get();
            dirs::start(engine.clone(), &instance_id, &config.state, config.dirs.clone(), terms).await?
        };
        let api = Arc::new(Api {
            engine: engine.clone(),
            dirs: dirs.clone(),
            hands: hands.clone(),
            auth: auth.clone(),
            config: config.clone(),
            control: Control { stop: stop.clone(), reload },
            instance_id: instance_id.clone(),
            started: Time::now(),
            tasks: calls.clone(),
            closing: closing.clone(),
            clients: clients.clone(),
            columns: rpc::stat::Cache::default(),
            needs: rpc::credential::NeedsCache::default(),
            closed: rpc::look::ClosedRevs::default(),
            made_up: rpc::submit::MadeUp::default(),
            calls: std::sync::atomic::AtomicU64::new(0),
        });
        let serving = tokio::spawn(rpc::serve(socket, api, closing.clone()));
        let pinged = engine.clone();
        tokio::spawn(shutdown::watchdog(
            move || {
                let engine = pinged.clone();
                async move { engine.is_alive().await }
            },
            last.clone(),
        ));
        Ok(Self {
            flags,
            lock,
            engine,
            auth,
            dirs,
            hands,
            instance_id,
            umask,
            trust,
            config,
            clients,
            reloads,
            idle_exit,
            place,
            serving,
            stop,
            closing,
            last,
            calls,
        })
    }

    async fn run(mut self, mut signals: Signals) -> Result<(), ApiError> {
        let mut beats = tokio::time::interval(BEAT);
        let mut anchors = tokio::time::interval_at(tokio::time::Instant::now() + ANCHORS, ANCHORS);
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut file = {
            let config = self.config.get();
            Watched::new(&config.instance.config, config.stamp)
        };
        let mut idle_since = tokio::time::Instant::now();
        let mut clients = self.clients.watch();
        let mut is_serving = true;
        let ended = loop {
            tokio::select! {
                () = self.stop.cancelled() => break Ended::Asked,
                asked = signals.next() => match asked {
                    Asked::Stop => break Ended::Asked,
                    Asked::Reload => {
                        file.seen();
                        if let Err(e) = self.reload().await {
                            tracing::error!("the configuration is not changed: {e}");
                        }
                    }
                },
                _ = anchors.tick() => self.look_at_anchors().await,
                _ = looks.tick() => if file.has_changed() {
                    tracing::info!("the config file has changed");
                    if let Err(e) = self.reload().await {
                        tracing::error!("the configuration is not changed: {e}");
                        self.engine.try_tell("server", format!("the configuration is not changed: {e}"));
                    }
                },
                Some(reply) = self.reloads.recv() => {
                    file.seen();
                    let result = self.reload().await;
                    // A caller that hung up needs no answer.
                    let _ = reply.send(result);
                }
                ended = &mut self.serving => {
                    is_serving = false;
                    let e = match ended {
                        Ok(Ok(())) => ApiError::new(Kind::Internal, "the control API ended"),
                        Ok(Err(e)) => e,
                        Err(e) => ApiError::new(Kind::Internal, format!("the control API failed: {e}")),
                    };
                    break Ended::Failed(e);
                }
                () = self.engine.ended() => {
                    break Ended::Failed(ApiError::new(Kind::StoreFailed, "the engine ended: see the log"));
                }
                Ok(()) = self.place.changed() => self.beat(),
                _ = clients.changed() => idle_since = tokio::time::Instant::now(),
                _ = beats.tick() => {
                    self.beat();
                    tokio::task::spawn_blocking(crate::memory::give_back);
                    if *clients.borrow() > 0 || self.has_work() {
                        idle_since = tokio::time::Instant::now();
                    }
                }
                () = idle(idle_since, self.idle_exit) => {
                    if *clients.borrow() == 0 && !self.has_work() {
                        tracing::info!("nothing to do and nobody there: ending");
                        break Ended::Idle;
                    }
                    idle_since = tokio::time::Instant::now();
                }
            }
        };
        notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
        tracing::info!("stopping");
        // Before any client is let go: they go by it.
        if matches!(ended, Ended::Asked)
            && let Err(e) = self.lock.stopped(&self.place.borrow())
        {
            tracing::warn!(
                "the lock file cannot be written: {e}; commands that wait for jobs may start another daemon"
            );
        }
        // Another configuration is of no use any more.
        let asked_again = async { while signals.next().await != Asked::Stop {} };
        tokio::select! {
            () = self.drain(is_serving) => tracing::info!("stopped"),
            () = asked_again => tracing::warn!("a second signal: stopping at once"),
        }
        self.last.cancel();
        if let Ended::Failed(e) = ended { Err(e) } else { Ok(()) }
    }

    /// Lets everything come to rest: clients first, so that nothing new arrives, the engine last.
    async fn drain(&mut self, is_serving: bool) {
        self.closing.cancel();
        self.calls.close();
        if is_serving {
            let _ = tokio::time::timeout(FAREWELL, &mut self.serving).await;
        }
        let _ = tokio::time::timeout(FAREWELL, self.calls.wait()).await;
        self.dirs.stop(FAREWELL).await;
        self.engine.stop(DRAIN).await;
    }

    fn beat(&self) {
        if let Err(e) = self.lock.beat(&self.place.borrow()) {
            tracing::warn!("the lock file cannot be written: {e}");
        }
        let jobs = self.engine.board.read();
        let (mut active, mut waiting, mut stored) = (0, 0, 0);
        for job in jobs.by_key.values().filter(|j| j.is_ours()) {
            match job.phase {
                Phase::Active { .. } => active += 1,
                Phase::Stored { .. } => stored += 1,
                _ => waiting += 1,
            }
        }
        let trouble = jobs.gates.credential.clone().or(jobs.gates.server.as_ref().map(|(why, _)| why.clone()));
        drop(jobs);
        let trouble = trouble.map(|why| format!("; {why}")).unwrap_or_default();
        let text = format!("{active} jobs on the server, {waiting} being moved, {stored} stored{trouble}");
        notify(&[NotifyState::Status(&text)]);
    }

    /// Takes up CAs and revocation lists that have come since: `fetch-crl` brings new ones several times a day.
    async fn look_at_anchors(&mut self) {
        let config = self.config.get();
        let of_now = {
            let config = config.clone();
            tokio::task::spawn_blocking(move || trust(&config)).await
        };
        let Ok(of_now) = of_now else { return };
        if of_now == self.trust {
            return;
        }
        let settings = hands_config(&config, &self.instance_id, self.umask);
        match tokio::task::block_in_place(|| self.hands.configure(settings)) {
            Ok(()) => {
                tracing::info!("the CA directory was read again");
                self.trust = of_now;
                self.auth.configure((*config).clone(), &self.hands.act()).await;
            }
            Err(e) => tracing::error!("the CA directory cannot be used as it is now: {e}"),
        }
    }

    fn has_work(&self) -> bool {
        if self.dirs.is_watching() {
            return true;
        }
        let policy = self.config.get().policy();
        let jobs = self.engine.board.read();
        jobs.by_key.values().any(|j| keeps_awake(j, jobs.proxyid, &policy))
    }

    /// Reads the configuration again: all of it, or nothing.
    async fn reload(&self) -> Result<(), ApiError> {
        let flags = self.flags.clone();
        let new = tokio::task::block_in_place(|| Config::load(&flags))?;
        let fixed = self.config.get().fixed_differences(&new);
        if !fixed.is_empty() {
            let what = format!("{} cannot change while the daemon runs; nothing was changed", fixed.join(", "));
            return Err(ApiError::new(Kind::BadConfig, what).hint("restart it: `actctl daemon restart`"));
        }
        for warning in new.warnings() {
            tracing::warn!("{}: {warning}", new.instance.config.display());
        }
        // What can fail comes first, and changes nothing when it does.
        let settings = hands_config(&new, &self.instance_id, self.umask);
        tokio::task::block_in_place(|| self.hands.configure(settings)).map_err(|e| unusable(&e))?;
        if let Err(e) = crate::log::change(new.log.as_deref()) {
            tracing::warn!("`actd.log` stays as it was: {e}");
        }
        self.config.set(new.clone());
        self.engine.configure(engine_config(&new)).await?;
        self.dirs.configure(new.dirs.clone()).await;
        self.auth.configure(new, &self.hands.act()).await;
        tracing::info!("the configuration was read again");
        Ok(())
    }
}

/// Why the daemon ends.
enum Ended {
    /// By a call or a signal.
    Asked,
    /// By itself: it was without jobs and clients.
    Idle,
    /// It cannot go on.
    Failed(ApiError),
}

/// Ends when nobody has been there for long enough; never, if that does not matter.
async fn idle(since: tokio::time::Instant, limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep_until(since + limit).await,
        None => std::future::pending().await,
    }
}

/// Whether something is still to happen to the job that needs the daemon.
fn keeps_awake(job: &Job, proxyid: ProxyId, policy: &Policy) -> bool {
    if job.proxyid != 0 && job.proxyid != proxyid && job.on_server() {
        return false;
    }
    let rests = matches!(job.phase, Phase::Active { .. }) && (job.arcstate().is_final() || !job.is_ours());
    match next(job, Time::now(), policy) {
        Next::Do(_) => true,
        Next::Wait(_) => !rests && !matches!(job.phase, Phase::Stored { .. }),
        Next::Nothing => matches!(job.phase, Phase::Active { .. }) && !rests,
    }
}

/// A store that cannot be used, in the API's words: what is wrong, and what mends it.
pub(crate) fn store_error(e: &StoreError) -> ApiError {
    let hint = match e {
        StoreError::Record { source: crate::store::record::RecordError::Newer(_), .. } => {
            "use the newer actd, or another state directory (`actd.state`); nothing was changed"
        }
        StoreError::Full { .. } => "make room on it, then start again; what was accepted is kept",
        StoreError::Sled { .. } | StoreError::Incomplete { .. } | StoreError::Record { .. } => {
            "nothing was changed; `actd --recover` keeps every record that can be read and puts the old cache aside"
        }
        StoreError::Io { .. } => "nothing was changed; see to the disk of the state directory, then start again",
    };
    ApiError::new(Kind::StoreFailed, e.to_string()).hint(hint)
}

fn open(config: &Config) -> Result<(Store, Loaded), ApiError> {
    let store = Store::open(&config.state).map_err(|e| store_error(&e))?;
    let loaded = store.load().map_err(|e| store_error(&e))?;
    Ok((store, loaded))
}

/// Whose jobs there are, if any of them needs its identity.
fn owner(loaded: &Loaded) -> Option<ProxyId> {
    let proxyid = loaded.proxyid?;
    let bound = |j: &Job| {
        j.is_ours()
            && j.proxyid == proxyid
            && !matches!(j.phase, Phase::Closed { .. } | Phase::Stored { .. } | Phase::Queued)
    };
    loaded.jobs.iter().any(bound).then_some(proxyid)
}

fn hands_config(config: &Config, instance_id: &str, umask: u32) -> HandsConfig {
    let webdav = WebdavOptions { allow_http: config.allow_http, ..WebdavOptions::default() };
    HandsConfig {
        url: config.server.clone(),
        server: config.server.as_str().trim_end_matches('/').to_owned(),
        instance: instance_id.to_owned(),
        state_dir: config.state.clone(),
        trust: trust(config),
        act: ActOptions { allow_http: config.allow_http, max_requests: config.requests, ..ActOptions::default() },
        webdav,
        ce: Timeouts::default(),
        uploads: config.transfers,
        downloads: config.transfers,
        files_per_job: FILES_PER_JOB,
        rate: config.rate_limit,
        min_free: config.min_free_disk,
        umask,
    }
}

fn unusable(e: &RemoteError) -> ApiError {
    ApiError::new(Kind::BadConfig, e.to_string()).hint("for a test server: `allow_http: true` under `actd:`")
}

fn equip(hands: &Hands, state: &AuthState) {
    let token = state.token.as_ref().map(|t| (t.secret().clone(), proxyid_of(t)));
    hands.equip(token, state.proxy.as_ref());
}

fn engine_config(config: &Config) -> EngineConfig {
    EngineConfig {
        policy: config.policy(),
        results: config.results.clone(),
        results_name: config.results_name.clone(),
        poll: (config.poll_min, config.poll_max),
        // More jobs than files that are moved at a time: while the ends of some are made durable, others have work to do.
        uploads: config.transfers * JOBS_AHEAD,
        downloads: config.transfers * JOBS_AHEAD,
        history_ms: i64::try_from(config.history.as_millis()).unwrap_or(i64::MAX),
        orphans_ms: i64::try_from(config.orphans.as_millis()).unwrap_or(i64::MAX),
    }
}
