//! What the parts of one running sandbox have in common: settings, directories, and the state behind its lock.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::{SystemTime, UNIX_EPOCH},
};

use openssl::ssl::SslAcceptor;
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    ce::{Session, SessionView},
    fault::Faults,
    journal::Journal,
    options::Options,
    pki::Pki,
    state::{Job, Seconds, State},
};

/// Where things lie under the sandbox's directory.
#[derive(Debug, Clone)]
pub(crate) struct Dirs {
    root: PathBuf,
}

impl Dirs {
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let dirs = Self { root: root.canonicalize()? };
        for dir in [dirs.act().join("data"), dirs.act().join("tmp"), dirs.root.join("ce/session")] {
            fs::create_dir_all(dir)?;
        }
        Ok(dirs)
    }

    /// The aCT server's working directory.
    pub(crate) fn act(&self) -> PathBuf {
        self.root.join("act")
    }

    /// Files uploaded for job `id`.
    pub(crate) fn data(&self, id: i64) -> PathBuf {
        self.root.join(format!("act/data/{id}"))
    }

    /// Outputs fetched from the CE.
    pub(crate) fn results(&self, ce_id: &str) -> PathBuf {
        self.root.join("act/tmp").join(ce_id)
    }

    /// The job's directory on the CE.
    pub(crate) fn session(&self, ce_id: &str) -> PathBuf {
        self.root.join("ce/session").join(ce_id)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

/// A computing element's queue that the server knows.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    /// As in GET /info.
    pub(crate) url: String,
    /// Whether jobs can be submitted to it.
    pub(crate) up: bool,
}

/// One running sandbox.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) dirs: Dirs,
    pub(crate) pki: Pki,
    pub(crate) clusters: Vec<Cluster>,
    /// `https://localhost:PORT` of the CE.
    pub(crate) ce_url: String,
    /// TLS of the REST API, if it has any.
    pub(crate) acceptor: Option<SslAcceptor>,
    pub(crate) journal: Journal,
    pub(crate) faults: Faults,
    /// One permit per job that may run.
    pub(crate) slots: Semaphore,
    pub(crate) open_connections: AtomicU64,
    pub(crate) last_connection: AtomicU64,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    state: Arc<Mutex<State>>,
    /// Held while a snapshot is written.
    pub(crate) saving: Mutex<()>,
    /// Something is not in the snapshot yet.
    pub(crate) changed: Notify,
}

impl Shared {
    pub(crate) fn new(
        options: Options,
        dirs: Dirs,
        pki: Pki,
        clusters: Vec<Cluster>,
        ce_url: String,
        acceptor: Option<SslAcceptor>,
        state: Arc<Mutex<State>>,
    ) -> Self {
        Self {
            slots: Semaphore::new(options.slots.max(1)),
            options,
            dirs,
            pki,
            clusters,
            ce_url,
            acceptor,
            journal: Journal::default(),
            faults: Faults::default(),
            open_connections: AtomicU64::new(0),
            last_connection: AtomicU64::new(0),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            state,
            saving: Mutex::new(()),
            changed: Notify::new(),
        }
    }

    /// Looks at the state.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&lock(&self.state))
    }

    /// Changes the state; the snapshot follows soon.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut lock(&self.state));
        self.changed.notify_one();
        result
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The jobs as the CE's file server may see them.
pub(crate) struct Sessions {
    pub(crate) dirs: Dirs,
    pub(crate) state: Arc<Mutex<State>>,
}

impl SessionView for Sessions {
    fn session(&self, id: &str) -> Option<Session> {
        let state = lock(&self.state);
        let has_id = |job: &&Job| job.arc.as_ref().is_some_and(|arc| arc.id_from_endpoint.as_deref() == Some(id));
        let job = state.jobs.values().find(has_id)?;
        let owner = state.proxies.get(&job.proxyid)?.dn.clone();
        Some(Session { dir: self.dirs.session(id), owner })
    }
}

/// The clock of the server.
pub(crate) fn now() -> Seconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Seconds::try_from(since.as_secs()).unwrap_or(Seconds::MAX)
}
