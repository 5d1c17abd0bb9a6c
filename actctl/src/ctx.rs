//! What every verb has: the streams, the chosen instance, and a session with its daemon that outlives the daemon's
//! restarts.

use std::time::{Duration, Instant};

use act_proto::instance::Selection;
use act_proto::jobs::{ChangesParams, Job, ListParams};
use act_proto::method::{JobsChanges, JobsList};
use act_proto::{ApiError, Client, Instance, Kind, MAX_PAGE, Method};

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

    /// The instance that the flags mean.
    ///
    /// # Errors
    /// A config file that cannot be read.
    pub fn instance(&self) -> Result<Instance, Failure> {
        Ok(Instance::resolve(&self.selection)?)
    }

    /// A session with the instance's daemon, which is started if it does not run.
    ///
    /// # Errors
    /// No daemon, and none can be started.
    pub async fn session(&self) -> Result<Session<'_>, Failure> {
        let instance = self.instance()?;
        let client = connect::connect(self, &instance, Start::Transient).await?;
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

/// Jobs that have changed.
#[derive(Debug)]
pub struct Changes {
    /// The revision to wait from next.
    pub rev: u64,
    /// The jobs as they are.
    pub jobs: Vec<Job>,
}

/// A connection that is made again when the daemon has been restarted.
pub struct Session<'a> {
    ctx: &'a Ctx,
    /// The instance that it is about.
    pub instance: Instance,
    client: Client,
}

impl Session<'_> {
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
        let result = self.client.call::<M>(params).await;
        if self.ctx.out.verbose > 0 {
            let took = began.elapsed();
            let end = result.as_ref().err().map_or_else(|| "ok".to_owned(), |e| format!("{}: {e}", e.data.kind.word()));
            self.ctx.out.debug(&format!("{} {took:.1?} {end}", M::NAME));
        }
        result
    }

    /// Waits until one of the jobs (none named: any job) changes after a revision, or for a time. After a restart of
    /// the daemon, whose revisions begin anew, it gives the jobs as they are.
    ///
    /// # Errors
    /// The daemon's error.
    pub async fn changes(&mut self, keys: &[String], since_rev: u64, timeout_ms: u64) -> Result<Changes, Failure> {
        // Beyond a page it is less to look at all changes than to name the jobs.
        let keys = if keys.len() > MAX_PAGE { Vec::new() } else { keys.to_vec() };
        let reply = self.call::<JobsChanges>(&ChangesParams { keys, since_rev, timeout_ms }).await?;
        if reply.rev < since_rev {
            return Ok(Changes { rev: 0, jobs: reply.items });
        }
        let mut changes = Changes { rev: reply.rev, jobs: reply.items };
        let mut after = reply.next;
        while after.is_some() {
            let params = ListParams { since_rev: Some(since_rev), after, closed: true, ..ListParams::default() };
            let page = self.call::<JobsList>(&params).await?;
            changes.jobs.extend(page.items);
            after = page.next;
        }
        Ok(changes)
    }

    /// The connection itself, for calls by name.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}
