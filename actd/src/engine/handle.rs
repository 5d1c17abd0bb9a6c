//! What the rest of the daemon may ask of the engine. Every call that changes something is answered when the change is
//! on disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot};

use act_proto::error::{ApiError, Kind};
use act_proto::events::Event;
use act_proto::jobs::{Bulk, Operation};

use super::EngineConfig;
use super::board::Board;
use crate::call::{self, Causes};
use crate::job::{Job, Key, Options, ServerId, Spec, Time};

/// A checked job that is to be submitted.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its name, if the description gives one.
    pub name: Option<String>,
    /// Its batch.
    pub batch: String,
    /// How to treat it.
    pub options: Options,
    /// What to submit.
    pub spec: Spec,
    /// What is in its inputs (`actd-SHA256-SIZE`), one for each, if equal ones are to be one file on WebDAV.
    pub contents: Vec<String>,
    /// A name for it that makes submitting it again a no-op: `CLIENT_REF/INDEX`.
    pub client_ref: Option<String>,
}

/// What can be wished of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Kill.
    Kill,
    /// Drop them and their results.
    Clean,
    /// Fetch what failed jobs left.
    Fetch,
    /// Run them again.
    Resubmit,
    /// Make them ours.
    Adopt,
}

/// A `get`.
#[derive(Debug, Clone)]
pub struct Get {
    /// The jobs.
    pub keys: Vec<Key>,
    /// Absolute directory in which their directories are made.
    pub parent: PathBuf,
    /// Name these after the jobs.
    pub use_jobname: bool,
    /// Leave the server as it is.
    pub noclean: bool,
    /// Copy what is stored here.
    pub copy: bool,
    /// Paths that start so are not downloaded.
    pub exclude: Vec<String>,
    /// WebDAV base of jobs that have none remembered.
    pub webdav: Option<String>,
}

/// A message to the engine.
#[derive(Debug)]
pub(crate) enum Command {
    Submit {
        jobs: Vec<NewJob>,
        causes: Causes,
        reply: oneshot::Sender<Result<Vec<Key>, ApiError>>,
    },
    Do {
        verb: Verb,
        keys: Vec<Key>,
        webdav: Option<String>,
        causes: Causes,
        reply: oneshot::Sender<Result<Bulk, ApiError>>,
    },
    Get {
        get: Get,
        causes: Causes,
        reply: oneshot::Sender<Result<u64, ApiError>>,
    },
    CancelOperation {
        operation: u64,
        reply: oneshot::Sender<Result<(), ApiError>>,
    },
    /// Read the server's list if the last one is older; answers when there is a younger one, or with the gate.
    Refresh {
        max_age: Duration,
        causes: Causes,
        reply: oneshot::Sender<()>,
    },
    /// Note something that happened to the daemon and not to a job.
    Tell {
        kind: &'static str,
        text: String,
    },
    /// Go by another configuration.
    Configure {
        config: Box<EngineConfig>,
        reply: oneshot::Sender<()>,
    },
    /// Tell when all jobs under way are at rest and their state is on disk.
    Stop {
        reply: oneshot::Sender<()>,
    },
}

/// Columns of jobs, read from the server for one call.
#[derive(Debug, Clone)]
pub struct Columns {
    /// The jobs; none: all of the identity in force.
    pub ids: Vec<ServerId>,
    /// Columns of the client table.
    pub client: Vec<String>,
    /// Columns of the ARC table.
    pub arc: Vec<String>,
}

/// The engine, for everybody else. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    pub(crate) commands: mpsc::Sender<Command>,
    /// All jobs as they are now.
    pub board: Board,
    pub(crate) events: super::events::EventLog,
    pub(crate) operations: super::operations::Operations,
    pub(crate) store: crate::store::Reader,
}

fn gone<T>(_: T) -> ApiError {
    ApiError::new(Kind::Stopping, "the daemon is stopping").hint("try again when it runs again; nothing is lost")
}

impl EngineHandle {
    async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(make(reply)).await.map_err(gone)?;
        answer.await.map_err(gone)
    }

    /// Takes jobs. When it answers they are on disk. Keys are in the order of the jobs.
    ///
    /// # Errors
    /// The job cache cannot be written, or the daemon is stopping.
    pub async fn submit(&self, jobs: Vec<NewJob>) -> Result<Vec<Key>, ApiError> {
        self.ask(|reply| Command::Submit { jobs, causes: call::causes(), reply }).await?
    }

    /// Does something to jobs, named by their keys. Answers when the server has, or when it is clear that it will not
    /// for now; what was wished for stays wished for.
    ///
    /// # Errors
    /// The job cache cannot be written, or the daemon is stopping. Failures of single jobs are in the reply.
    pub async fn act(&self, verb: Verb, keys: Vec<Key>, webdav: Option<String>) -> Result<Bulk, ApiError> {
        self.ask(|reply| Command::Do { verb, keys, webdav, causes: call::causes(), reply }).await?
    }

    /// Starts a delivery; answers with the operation's number.
    ///
    /// # Errors
    /// The job cache cannot be written, or the daemon is stopping.
    pub async fn get(&self, get: Get) -> Result<u64, ApiError> {
        self.ask(|reply| Command::Get { get, causes: call::causes(), reply }).await?
    }

    /// An operation's items after the first `seen`. Waits up to `timeout` for a new one.
    ///
    /// # Errors
    /// There is no such operation.
    pub async fn operation(&self, number: u64, seen: usize, timeout: Duration) -> Result<Operation, ApiError> {
        self.operations.get(number, seen, timeout).await
    }

    /// Ends an operation. Jobs whose results are not complete yet are left as they are on the server.
    ///
    /// # Errors
    /// There is no such operation.
    pub async fn cancel_operation(&self, operation: u64) -> Result<(), ApiError> {
        self.ask(|reply| Command::CancelOperation { operation, reply }).await?
    }

    /// Returns when the engine has ended, by whatever cause.
    pub async fn ended(&self) {
        self.commands.closed().await;
    }

    /// Whether the engine still takes messages and answers them: for a watchdog.
    pub async fn is_alive(&self) -> bool {
        // No operation has this number, so the question changes nothing and the answer is known.
        let asked = tokio::time::timeout(Duration::from_secs(10), self.cancel_operation(0)).await;
        matches!(asked, Ok(Err(e)) if e.data.kind == Kind::NoSuchOperation)
    }

    /// Makes sure that the server's list is no older than this, if the server can be asked at all and was not asked too
    /// recently.
    pub async fn refresh(&self, max_age: Duration) {
        let _ = self.ask(|reply| Command::Refresh { max_age, causes: call::causes(), reply }).await;
    }

    /// Goes by another configuration from now on; returns when it is in force.
    ///
    /// # Errors
    /// The daemon is stopping.
    pub async fn configure(&self, config: EngineConfig) -> Result<(), ApiError> {
        self.ask(|reply| Command::Configure { config: Box::new(config), reply }).await
    }

    /// Notes an event that is about no job: of the credential, of a directory. Its writing is not waited for.
    pub async fn tell(&self, kind: &'static str, text: String) {
        let _ = self.commands.send(Command::Tell { kind, text }).await;
    }

    /// The same for callers that must not wait; without room for it, it is not noted.
    pub fn try_tell(&self, kind: &'static str, text: String) {
        let _ = self.commands.try_send(Command::Tell { kind, text });
    }

    /// Jobs that are finished with, newest first, at most `limit` for which `keep` holds.
    #[must_use]
    pub fn history(&self, limit: usize, keep: &mut dyn FnMut(&Job) -> bool) -> Vec<Job> {
        self.store.history(limit, keep)
    }

    /// Jobs that are finished with, after a key, oldest first, at most `limit` for which `keep` holds.
    #[must_use]
    pub fn history_after(&self, after: Key, limit: usize, keep: &mut dyn FnMut(&Job) -> bool) -> Vec<Job> {
        self.store.history_after(after, limit, keep)
    }

    /// A job that is finished with.
    #[must_use]
    pub fn closed(&self, key: Key) -> Option<Job> {
        self.store.closed(key)
    }

    /// A job by its key, history included.
    #[must_use]
    pub fn job(&self, key: Key) -> Option<Arc<Job>> {
        let live = self.board.read().by_key.get(&key).cloned();
        live.or_else(|| self.store.closed(key).map(Arc::new))
    }

    /// What a job was submitted with; nothing for jobs that others submitted.
    #[must_use]
    pub fn spec(&self, key: Key) -> Option<Spec> {
        self.store.spec(key)
    }

    /// The file that a job came from, as the user named it.
    #[must_use]
    pub fn source(&self, key: Key) -> Option<String> {
        self.store.source(key)
    }

    /// The job that was submitted under this name of the caller's.
    #[must_use]
    pub fn by_client_ref(&self, client_ref: &str) -> Option<Key> {
        self.store.by_client_ref(client_ref)
    }

    /// The server's columns of a job whose row is gone, as they were last.
    #[must_use]
    pub fn columns(&self, key: Key) -> Option<serde_json::Map<String, serde_json::Value>> {
        self.store.columns(key)
    }

    /// Events after `since`, and whether some of them are no longer kept.
    #[must_use]
    pub fn events(&self, since: u64, limit: usize) -> (Vec<Event>, bool) {
        self.events.after(since, limit)
    }

    /// The events of one job, oldest first.
    #[must_use]
    pub fn log(&self, key: Key) -> Vec<Event> {
        self.events.of_job(key)
    }

    /// Number of the newest event.
    #[must_use]
    pub fn last_event(&self) -> u64 {
        self.events.last()
    }

    /// New events as they come. A receiver that lags must read on with [`Self::events`].
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    /// Stops the engine: no new work is begun, what is under way gets until `deadline`, everything known is on disk.
    pub async fn stop(&self, deadline: Duration) {
        let _ = tokio::time::timeout(deadline, self.ask(|reply| Command::Stop { reply })).await;
    }

    /// When a job was last seen on the server's list, for messages.
    #[must_use]
    pub fn as_of(&self) -> Option<Time> {
        self.board.read().as_of
    }
}
