//! What every verb has: the streams, the chosen instance, and a session with its daemon that outlives the daemon's
//! restarts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use act_proto::daemon::RequestsParams;
use act_proto::instance::Selection;
use act_proto::method::DaemonRequests;
use act_proto::{ApiError, Client, Instance, Kind, Method};
use serde::de::DeserializeOwned;

use crate::cli::Global;
use crate::connect::{self, Start};
use crate::failure::Failure;
use crate::out::Out;
use crate::pick::duration;

/// With `-v`: how often it is asked what was sent to servers.
const SHOW: Duration = Duration::from_millis(300);
/// How long a lost connection is sought again.
const RECONNECT_FOR: Duration = Duration::from_secs(60);
/// How long one that was stopped may take to come to rest, and the next one to read its jobs.
const RESTART: Duration = Duration::from_secs(180);
/// How long to wait for somebody to start a daemon again that was stopped on purpose.
const STOPPED_FOR: Duration = Duration::from_secs(30);
/// The environment variable that says otherwise.
const STOPPED_FOR_ENV: &str = "ACTCTL_DAEMON_WAIT";
/// From when on the user is told of that wait: a restart is quicker.
const SAY_SO: Duration = Duration::from_secs(2);
/// How often it is looked whether a daemon is there again.
const LOOK: Duration = Duration::from_millis(200);

/// The flags of all verbs, understood.
#[derive(Debug, Clone)]
pub struct Ctx {
    /// The streams.
    pub out: Out,
    /// The flags that choose an instance.
    pub selection: Selection,
    /// The id of the newest connection's requests.
    request: Arc<Mutex<Option<String>>>,
}

impl Ctx {
    /// From the flags.
    #[must_use]
    pub fn new(global: &Global) -> Self {
        Self {
            out: Out::new(global),
            request: Arc::default(),
            selection: Selection { conf: global.conf.clone(), server: global.server.clone(), port: global.port },
        }
    }

    /// There is a new connection: the daemon's log names its requests so.
    pub fn connected(&self, hello: &act_proto::daemon::Hello) {
        if !hello.request.is_empty() {
            *self.request.lock().unwrap_or_else(PoisonError::into_inner) = Some(hello.request.clone());
        }
    }

    /// Says under which id the daemon's log tells of this command, if it had one done.
    pub fn tell_request(&self) {
        if let Some(id) = self.request.lock().unwrap_or_else(PoisonError::into_inner).as_deref() {
            self.out.request(id);
        }
    }

    /// The instance that the flags mean. A usual config file with a mistake in it still means the usual instance: its
    /// daemon may run with what it has read before, and one that is started says best what is wrong.
    ///
    /// # Errors
    /// A config file that cannot be read.
    pub fn instance(&self) -> Result<Instance, Failure> {
        let resolved = Instance::resolve(&self.selection);
        resolved.or_else(|e| Instance::usual(&self.selection).ok_or(e)).map_err(Failure::from)
    }

    /// Says that the daemon goes by an older configuration, if the file of now cannot be used.
    fn check_config(&self) {
        if let Err(e) = Instance::resolve(&self.selection) {
            self.out.warn(&format!("{e}; the daemon goes by what it has read before"));
        }
    }

    /// A session with the instance's daemon, which is started if it does not run.
    ///
    /// # Errors
    /// No daemon, and none can be started.
    pub async fn session(&self) -> Result<Session<'_>, Failure> {
        let instance = self.instance()?;
        let client = connect::connect(self, &instance, Start::Transient).await?;
        self.check_config();
        Ok(Session::new(self, instance, client))
    }

    /// A session with a daemon that runs already; `None`: none does.
    ///
    /// # Errors
    /// One runs, but does not answer.
    pub async fn running(&self) -> Result<Option<Session<'_>>, Failure> {
        let instance = self.instance()?;
        let client = connect::existing(self, &instance).await?;
        Ok(client.map(|client| Session::new(self, instance, client)))
    }
}

/// How long to wait for a daemon that was stopped on purpose.
fn patience() -> Result<Duration, Failure> {
    match std::env::var(STOPPED_FOR_ENV) {
        Ok(text) if !text.is_empty() => {
            duration(&text).map_err(|f| Failure::usage(format!("{STOPPED_FOR_ENV}: {}", f.message)))
        }
        _ => Ok(STOPPED_FOR),
    }
}

/// A connection that is made again when the daemon has been restarted.
pub struct Session<'a> {
    ctx: &'a Ctx,
    /// The instance that it is about.
    pub instance: Instance,
    client: Client,
    /// How many there have been.
    connection: u64,
    /// The last request to a server that was shown, with `-v`.
    shown: AtomicU64,
    /// The daemon was waited for in vain: from then on it is only looked whether it is back.
    gave_up: bool,
}

impl<'a> Session<'a> {
    fn new(ctx: &'a Ctx, instance: Instance, client: Client) -> Self {
        Self { ctx, instance, client, connection: 1, shown: AtomicU64::new(0), gave_up: false }
    }

    /// The daemon's process.
    pub fn pid(&self) -> u32 {
        self.client.hello().pid
    }

    /// The number of the connection, from 1. Another one may be to a daemon that was started anew: its revisions and
    /// what it counts in operations begin anew.
    pub fn connection(&self) -> u64 {
        self.connection
    }

    /// Calls a method. If the connection is lost, a method that changes nothing is called again.
    ///
    /// # Errors
    /// The daemon's error; it was stopped and stays away.
    pub async fn call<M: Method>(&mut self, params: &M::Params) -> Result<M::Reply, Failure> {
        self.call_into::<M, M::Reply>(params).await
    }

    /// The same, the reply read into a type of the caller's, which may leave out what it does not need.
    ///
    /// # Errors
    /// The daemon's error; it was stopped and stays away.
    pub async fn call_into<M: Method, R: DeserializeOwned>(&mut self, params: &M::Params) -> Result<R, Failure> {
        if !M::CHANGES {
            return self.again::<M, R>(params).await;
        }
        if !self.client.is_connected() {
            // Nothing has been sent yet.
            self.reconnect(Instant::now()).await?;
        }
        Ok(self.once::<M, R>(params).await?)
    }

    /// Calls a method that may be called again if its answer is lost.
    ///
    /// # Errors
    /// The daemon's error; it was stopped and stays away.
    pub async fn repeat<M: Method>(&mut self, params: &M::Params) -> Result<M::Reply, Failure> {
        self.again::<M, M::Reply>(params).await
    }

    async fn again<M: Method, R: DeserializeOwned>(&mut self, params: &M::Params) -> Result<R, Failure> {
        let mut lost = None;
        loop {
            match self.once::<M, R>(params).await {
                Err(e) if e.data.kind == Kind::Stopping => {
                    self.ctx.out.debug(&format!("{}: connecting again", e.message));
                    let since = *lost.get_or_insert_with(Instant::now);
                    if since.elapsed() >= RECONNECT_FOR {
                        return Err(e.into());
                    }
                    self.reconnect(since).await?;
                }
                result => return Ok(result?),
            }
        }
    }

    /// Connects to the daemon that is there after this one, which is lost since then. One that died is started again. One
    /// that was stopped on purpose is not: whoever did that may start it again, or have it started, as a restart does.
    async fn reconnect(&mut self, lost: Instant) -> Result<(), Failure> {
        let state = self.instance.paths().state;
        let patience = if self.gave_up { Duration::ZERO } else { patience()? };
        let (mut away, mut pause, mut said) = (Instant::now(), Duration::from_millis(100), false);
        loop {
            tokio::time::sleep(pause).await;
            if connect::is_stopped(&state) {
                pause = LOOK;
                if connect::is_held(&state) && !self.gave_up && lost.elapsed() < RESTART {
                    // It comes to rest, or the next one is starting.
                    away = Instant::now();
                } else if away.elapsed() >= patience {
                    self.gave_up = true;
                    return Err(connect::stopped());
                } else if away.elapsed() >= SAY_SO && !said {
                    said = true;
                    let seconds = patience.as_secs();
                    self.ctx
                        .out
                        .note(&format!("The daemon was stopped; waiting {seconds} s for it to be started again."));
                }
                continue;
            }
            match connect::connect(self.ctx, &self.instance, Start::Transient).await {
                Ok(client) => {
                    self.client = client;
                    self.connection += 1;
                    self.shown.store(0, Ordering::Relaxed);
                    self.gave_up = false;
                    return Ok(());
                }
                // A job cache that cannot be written does not mend itself.
                Err(f) if f.kind == Kind::StoreFailed.word() || lost.elapsed() >= RECONNECT_FOR => return Err(f),
                Err(f) => self.ctx.out.debug(&f.message),
            }
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    async fn once<M: Method, R: DeserializeOwned>(&self, params: &M::Params) -> Result<R, ApiError> {
        let began = Instant::now();
        let mut result = if self.ctx.out.verbose > 0 {
            self.watched(self.client.call_into::<M, R>(params)).await
        } else {
            self.client.call_into::<M, R>(params).await
        };
        // These parameters are made from types: a daemon that does not know one is older than this program.
        if let Err(e) = &mut result
            && e.data.unknown_field.is_some()
        {
            e.data.kind = Kind::WrongProtocol;
            e.data.hint = Some("the daemon is of an older version: run `actctl daemon restart`".into());
        }
        if self.ctx.out.verbose > 0 {
            let took = began.elapsed();
            let end = result.as_ref().err().map_or_else(|| "ok".to_owned(), |e| format!("{}: {e}", e.data.kind.word()));
            self.ctx.out.debug(&format!("{} {took:.1?} {end}", M::NAME));
        }
        result
    }

    /// Waits for a call, and shows meanwhile what it has the daemon send to servers.
    async fn watched<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = std::pin::pin!(call);
        let mut ticks = tokio::time::interval(SHOW);
        let result = loop {
            tokio::select! {
                result = &mut call => break result,
                _ = ticks.tick() => self.show_requests().await,
            }
        };
        self.show_requests().await;
        result
    }

    /// Shows the requests to servers that are new. An older daemon does not tell of them.
    async fn show_requests(&self) {
        let params = RequestsParams { after: self.shown.load(Ordering::Relaxed) };
        let Ok(news) = self.client.call::<DaemonRequests>(&params).await else { return };
        for sent in news.items {
            let end = match (&sent.status, &sent.error) {
                (Some(status), _) => status.to_string(),
                (None, error) => error.clone().unwrap_or_default(),
            };
            self.ctx.out.debug(&format!("{} {} -> {end} ({} ms)", sent.method, sent.url, sent.millis));
            self.shown.fetch_max(sent.number, Ordering::Relaxed);
        }
    }

    /// The connection itself, for calls by name.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}
