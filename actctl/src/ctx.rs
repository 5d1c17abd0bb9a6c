//! What every verb has: the streams, the chosen instance, and a session with its daemon that outlives the daemon's
//! restarts.

use std::time::{Duration, Instant};

use act_proto::instance::Selection;
use act_proto::{ApiError, Client, Instance, Kind, Method};

use crate::cli::Global;
use crate::connect::{self, Start};
use crate::failure::Failure;
use crate::out::Out;

/// How long a lost connection is sought again.
const RECONNECT_FOR: Duration = Duration::from_secs(60);

/// The flags of all verbs, understood.
#[derive(Debug, Clone)]
pub struct Ctx {
    /// The streams.
    pub out: Out,
    /// The flags that choose an instance.
    pub selection: Selection,
}

impl Ctx {
    /// From the flags.
    #[must_use]
    pub fn new(global: &Global) -> Self {
        Self {
            out: Out::new(global),
            selection: Selection { conf: global.conf.clone(), server: global.server.clone(), port: global.port },
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
        Ok(Session { ctx: self, instance, client })
    }

    /// A session with a daemon that runs already; `None`: none does.
    ///
    /// # Errors
    /// One runs, but does not answer.
    pub async fn running(&self) -> Result<Option<Session<'_>>, Failure> {
        let instance = self.instance()?;
        let client = connect::existing(self, &instance).await?;
        Ok(client.map(|client| Session { ctx: self, instance, client }))
    }
}

/// A connection that is made again when the daemon has been restarted.
pub struct Session<'a> {
    ctx: &'a Ctx,
    /// The instance that it is about.
    pub instance: Instance,
    client: Client,
}

impl Session<'_> {
    /// The daemon's process.
    pub fn pid(&self) -> u32 {
        self.client.hello().pid
    }

    /// Calls a method. If the connection is lost, a method that changes nothing is called again.
    ///
    /// # Errors
    /// The daemon's error.
    pub async fn call<M: Method>(&mut self, params: &M::Params) -> Result<M::Reply, Failure> {
        if M::CHANGES {
            return Ok(self.once::<M>(params).await?);
        }
        self.repeat::<M>(params).await
    }

    /// Calls a method that may be called again if its answer is lost.
    ///
    /// # Errors
    /// The daemon's error.
    pub async fn repeat<M: Method>(&mut self, params: &M::Params) -> Result<M::Reply, Failure> {
        let since = Instant::now();
        let mut pause = Duration::from_millis(100);
        loop {
            match self.once::<M>(params).await {
                Err(e) if e.data.kind == Kind::Stopping && since.elapsed() < RECONNECT_FOR => {
                    self.ctx.out.debug(&format!("{}: connecting again", e.message));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                    match connect::connect(self.ctx, &self.instance, Start::Transient).await {
                        Ok(client) => self.client = client,
                        Err(f) if since.elapsed() >= RECONNECT_FOR => return Err(f),
                        Err(f) => self.ctx.out.debug(&f.message),
                    }
                }
                result => return Ok(result?),
            }
        }
    }

    async fn once<M: Method>(&self, params: &M::Params) -> Result<M::Reply, ApiError> {
        let began = Instant::now();
        let mut result = self.client.call::<M>(params).await;
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

    /// The connection itself, for calls by name.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}
