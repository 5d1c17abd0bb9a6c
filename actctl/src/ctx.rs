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

/// With `-v`: how often it is asked what was sent to servers.
const SHOW: Duration = Duration::from_millis(300);
/// How long a lost connection is sought again.
const RECONNECT_FOR: Duration = Duration::from_secs(60);

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
        Ok(Session { ctx: self, instance, client, connection: 1, shown: AtomicU64::new(0) })
    }

    /// A session with a daemon that runs already; `None`: none does.
    ///
    /// # Errors
    /// One runs, but does not answer.
    pub async fn running(&self) -> Result<Option<Session<'_>>, Failure> {
        let instance = self.instance()?;
        let client = connect::existing(self, &instance).await?;
        Ok(client.map(|client| Session { ctx: self, instance, client, connection: 1, shown: AtomicU64::new(0) }))
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
}

impl Session<'_> {
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
    /// The daemon's error.
    pub async fn call<M: Method>(&mut self, params: &M::Params) -> Result<M::Reply, Failure> {
        self.call_into::<M, M::Reply>(params).await
    }

    /// The same, the reply read into a type of the caller's, which may leave out what it does not need.
    ///
    /// # Errors
    /// The daemon's error.
    pub async fn call_into<M: Method, R: DeserializeOwned>(&mut self, params: &M::Params) -> Result<R, Failure> {
        if M::CHANGES {
            return Ok(self.once::<M, R>(params).await?);
        }
        self.again::<M, R>(params).await
    }

    /// Calls a method that may be called again if its answer is lost.
    ///
    /// # Errors
    /// The daemon's error.
    pub async fn repeat<M: Method>(&mut self, params: &M::Params) -> Result<M::Reply, Failure> {
        self.again::<M, M::Reply>(params).await
    }

    async fn again<M: Method, R: DeserializeOwned>(&mut self, params: &M::Params) -> Result<R, Failure> {
        let since = Instant::now();
        let mut pause = Duration::from_millis(100);
        loop {
            match self.once::<M, R>(params).await {
                Err(e) if e.data.kind == Kind::Stopping && since.elapsed() < RECONNECT_FOR => {
                    self.ctx.out.debug(&format!("{}: connecting again", e.message));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                    match connect::connect(self.ctx, &self.instance, Start::Transient).await {
                        Ok(client) => {
                            self.client = client;
                            self.connection += 1;
                            self.shown.store(0, Ordering::Relaxed);
                        }
                        // A job cache that cannot be written does not mend itself.
                        Err(f) if f.kind == Kind::StoreFailed.word() || since.elapsed() >= RECONNECT_FOR => {
                            return Err(f);
                        }
                        Err(f) => self.ctx.out.debug(&f.message),
                    }
                }
                result => return Ok(result?),
            }
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
            && e.data.kind == Kind::BadParams
            && e.message.contains("unknown field")
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
