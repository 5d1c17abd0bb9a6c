//! Watched directories: a description that is put into one is submitted once, whole, and moved on.
//!
//! ```text
//! DIR/NAME.xrsl            put there by a person or a program
//!   settle                 has it stopped changing?
//! DIR/.actd/CLAIM/NAME     claimed by a rename: from here on it is ours
//!   take                   read, checked, its jobs handed to the engine under the claim's name
//! DIR/accepted/NAME        with the receipt NAME.json, kept up to date until the jobs have ended (follow)
//! DIR/failed/NAME          with NAME.error, for a person
//! DIR/results/             where the jobs' results go, unless the settings say otherwise
//! ```
//!
//! This module keeps the list of directories and one worker for each. What is added while the daemon runs is kept in
//! `dirs.json` in the state directory; what the config file names stays with the config file. It asks nothing of the
//! server: a server or a credential that is away holds jobs back, not files.

mod claim;
mod files;
mod follow;
mod list;
mod receipt;
#[cfg(test)]
mod receipt_tests;
mod settle;
mod spool;
mod take;
#[cfg(test)]
mod tests;
mod watch;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use act_proto::dirs::Dir;
use act_proto::error::{ApiError, Kind};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use crate::config::Config;
use crate::engine::handle::EngineHandle;
use crate::intake::Terms;
use crate::job::Options;
use list::List;
use worker::{Desk, Message, Orders, Shown, Worker};

/// How long a file must have stayed as it is, unless the settings say otherwise.
const SETTLE: Duration = Duration::from_secs(1);
/// Hints that wait for a worker.
const HINTS: usize = 4_096;
/// Most directories.
const MAX_DIRS: usize = 100;
/// How long a file system may take to say where a directory really is.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a directory is to be watched.
pub use crate::config::DirSettings as Settings;

impl Settings {
    fn settle(&self) -> Duration {
        self.settle_ms.map_or(SETTLE, Duration::from_millis)
    }

    fn sweep(&self) -> Option<Duration> {
        self.sweep_s.map(Duration::from_secs)
    }

    /// Where the results of its jobs go.
    #[must_use]
    pub fn results(&self) -> PathBuf {
        self.results.clone().unwrap_or_else(|| self.path.join("results"))
    }
}

/// Gives what the jobs of a directory have in common, from its settings and the configuration in force.
pub type MakeTerms = Box<dyn Fn(&Settings) -> Result<Terms, ApiError> + Send + Sync>;

/// What the workers need of the daemon.
struct Context {
    engine: EngineHandle,
    /// A random name of the state directory: whose claims are whose.
    instance: String,
    terms: MakeTerms,
    runtime: Handle,
}

/// A worker and what leads to it.
struct Running {
    desk: Desk,
    hints: SyncSender<Message>,
    shown: Shown,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Table {
    /// From the config file.
    configured: BTreeMap<PathBuf, Settings>,
    /// Added while the daemon ran, and which of all are paused: what is on disk.
    list: List,
    running: BTreeMap<PathBuf, Running>,
    stopped: bool,
}

/// What the jobs of a directory have in common: its settings, and for the rest the configuration in force.
///
/// # Errors
/// Its clusters or its WebDAV store are none that the configuration knows.
pub fn terms(settings: &Settings, config: &Config) -> Result<Terms, ApiError> {
    // The name of the directory is the batch: `actctl stat @NAME` shows its jobs.
    let name = settings.path.file_name().unwrap_or_default().to_string_lossy();
    let fits = |c: &char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    let mut batch = String::new();
    for c in name.chars().filter(fits) {
        if batch.len() + c.len_utf8() <= 64 {
            batch.push(c);
        }
    }
    Ok(Terms {
        clusters: config.clusterlist(settings.clusterlist.as_deref())?,
        webdav: settings.webdav.as_deref().map(|url| config.webdav_base(url)).transpose()?,
        dedupe: Some(Arc::default()),
        results: settings.results(),
        options: Options { collected: true, ..Options::default() },
        batch: if batch.is_empty() { "dir".into() } else { batch },
        client_ref: None,
        force: false,
        lifetime: None,
    })
}

/// The watched directories, for everybody else. Cheap to clone.
#[derive(Clone)]
pub struct DirsHandle {
    context: Arc<Context>,
    file: PathBuf,
    table: Arc<Mutex<Table>>,
    count: Arc<AtomicUsize>,
}

/// Begins to watch the directories of the config file and those that were added before. Call it within a runtime.
///
/// # Errors
/// The list in the state directory cannot be read. A directory that cannot be watched is no error; it says why.
pub async fn start(
    engine: EngineHandle,
    instance: &str,
    state: &Path,
    configured: Vec<Settings>,
    terms: MakeTerms,
) -> Result<DirsHandle, ApiError> {
    let file = state.join("dirs.json");
    let list = tokio::task::block_in_place(|| List::read(&file)).map_err(|e| {
        ApiError::new(
            Kind::StoreFailed,
            format!("the list of watched directories {} cannot be read: {e}", file.display()),
        )
        .hint("correct it, or move it away and add the directories again")
    })?;
    let context = Context { engine, instance: instance.to_owned(), terms, runtime: Handle::current() };
    let handle = DirsHandle {
        context: Arc::new(context),
        file,
        table: Arc::new(Mutex::new(Table { list, ..Table::default() })),
        count: Arc::default(),
    };
    handle.configure(configured).await;
    Ok(handle)
}

impl DirsHandle {
    /// Another configuration is in force: other directories, or other clusters for the same.
    pub async fn configure(&self, configured: Vec<Settings>) {
        let paths = real(configured.iter().map(|settings| settings.path.clone())).await;
        let mut table = self.table.lock().await;
        table.configured = paths.into_iter().zip(configured).collect();
        self.apply(&mut table).await;
    }

    /// Whether there is any directory: whoever puts a file there expects the daemon to be there, too.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// All directories and how they stand.
    pub async fn list(&self) -> Vec<Dir> {
        let table = self.table.lock().await;
        table.running.iter().map(|(path, running)| table.dir(path, running)).collect()
    }

    /// Watches a directory; one that is watched gets these settings.
    ///
    /// # Errors
    /// It is no directory, it is part of another watched one's own, the config file names it, its settings do not fit the
    /// config, or the list cannot be written.
    pub async fn add(&self, mut settings: Settings) -> Result<Dir, ApiError> {
        let shown = settings.path.display().to_string();
        let local = |why: String| ApiError::new(Kind::LocalFile, why);
        if !settings.path.is_absolute() || settings.results.as_ref().is_some_and(|dir| !dir.is_absolute()) {
            return Err(ApiError::new(Kind::BadParams, "paths of a watched directory must be absolute"));
        }
        let asked = settings.path.clone();
        let look = move || asked.canonicalize().map(|path| (path.is_dir(), path));
        let found = in_time(PATIENCE, look).await.ok_or_else(|| local(format!("{shown} does not answer")))?;
        let (is_dir, path) = found.map_err(|e| local(format!("{shown}: {e}")).hint("make the directory first"))?;
        settings.path = path;
        if !is_dir {
            return Err(local(format!("{shown} is no directory")));
        }
        (self.context.terms)(&settings)?;
        let path = settings.path.clone();
        let mut table = self.table.lock().await;
        if table.configured.contains_key(&path) {
            return Err(ApiError::new(Kind::BadConfig, format!("{} is named in the config file", path.display()))
                .hint("change its settings there, then `actctl daemon reload`"));
        }
        for other in table.running.keys() {
            if owns(other, &path) {
                return Err(local(format!("{shown} belongs to the watched directory {}", other.display())));
            }
            if owns(&path, other) {
                return Err(local(format!("{} is watched, and would belong to {shown}", other.display())));
            }
        }
        if table.running.len() >= MAX_DIRS && !table.running.contains_key(&path) {
            return Err(ApiError::new(Kind::TooMany, format!("{MAX_DIRS} directories are watched already")));
        }
        let mut list = table.list.clone();
        list.dirs.insert(path.clone(), settings);
        self.keep(&mut table, list)?;
        self.apply(&mut table).await;
        table.one(&path)
    }

    /// Watches a directory no longer. Files in it that are not submitted stay, or come back, where they were put.
    ///
    /// # Errors
    /// It is not watched, the config file names it, or the list cannot be written.
    pub async fn rm(&self, path: &Path) -> Result<Dir, ApiError> {
        let real = real([path.to_owned()]).await;
        let mut table = self.table.lock().await;
        let path = table.find(path, &real)?;
        let dir = table.one(&path)?;
        if table.configured.contains_key(&path) {
            return Err(ApiError::new(Kind::BadConfig, format!("{} is named in the config file", path.display()))
                .hint("remove it there, then `actctl daemon reload`; or pause it"));
        }
        let mut list = table.list.clone();
        list.dirs.remove(&path);
        list.paused.remove(&path);
        self.keep(&mut table, list)?;
        self.apply(&mut table).await;
        Ok(dir)
    }

    /// Takes no files out of a directory until it is resumed, also after a restart; or takes them again.
    ///
    /// # Errors
    /// It is not watched, or the list cannot be written.
    pub async fn pause(&self, path: &Path, paused: bool) -> Result<Dir, ApiError> {
        let real = real([path.to_owned()]).await;
        let mut table = self.table.lock().await;
        let path = table.find(path, &real)?;
        let mut list = table.list.clone();
        if paused {
            list.paused.insert(path.clone())
        } else {
            list.paused.remove(&path)
        };
        self.keep(&mut table, list)?;
        self.apply(&mut table).await;
        table.one(&path)
    }

    /// Ends all workers; gives up on those that hang after `deadline`. Files that are claimed are handed over at the next
    /// start.
    pub async fn stop(&self, deadline: Duration) {
        let running = {
            let mut table = self.table.lock().await;
            table.stopped = true;
            std::mem::take(&mut table.running)
        };
        for worker in running.values() {
            worker.order(|orders| orders.stop = Some(false));
        }
        let ended = async {
            for (path, worker) in running {
                ended(&path, worker).await;
            }
        };
        if tokio::time::timeout(deadline, ended).await.is_err() {
            tracing::warn!("a watched directory does not answer: its worker is left behind");
        }
    }

    fn keep(&self, table: &mut Table, list: List) -> Result<(), ApiError> {
        tokio::task::block_in_place(|| list.write(&self.file)).map_err(|e| {
            ApiError::new(Kind::StoreFailed, format!("the list of watched directories cannot be written: {e}"))
        })?;
        table.list = list;
        Ok(())
    }

    /// Starts, changes and ends workers so that there is one for each directory.
    async fn apply(&self, table: &mut Table) {
        if table.stopped {
            return;
        }
        let mut wanted: BTreeMap<PathBuf, Settings> =
            table.list.dirs.iter().chain(&table.configured).map(|(path, s)| (path.clone(), s.clone())).collect();
        // One from the list within one of the config file, or the other way round: each file would be submitted twice.
        let all: Vec<PathBuf> = wanted.keys().cloned().collect();
        for inner in all.iter().filter(|path| all.iter().any(|outer| owns(outer, path))) {
            wanted.remove(inner);
            let what = format!("{} belongs to another watched directory: it is not watched", inner.display());
            tracing::error!("{what}");
            self.context.engine.try_tell("dir", what);
        }
        let unwanted: BTreeSet<PathBuf> =
            table.running.keys().filter(|path| !wanted.contains_key(*path)).cloned().collect();
        for path in unwanted {
            if let Some(worker) = table.running.remove(&path) {
                worker.order(|orders| orders.stop = Some(true));
                // Its lock must be free if it is added again.
                if tokio::time::timeout(Duration::from_secs(30), ended(&path, worker)).await.is_err() {
                    tracing::warn!(dir = %path.display(), "the directory does not answer: its worker is left behind");
                }
            }
        }
        self.count.store(wanted.len(), Ordering::Relaxed);
        for (path, mut settings) in wanted {
            settings.path.clone_from(&path);
            let paused = table.list.paused.contains(&path);
            match table.running.get(&path) {
                Some(worker) => worker.order(|orders| {
                    orders.settings = settings;
                    orders.revision += 1;
                    orders.paused = paused;
                }),
                None => match self.begin(settings, paused) {
                    Ok(worker) => drop(table.running.insert(path, worker)),
                    Err(e) => tracing::error!(dir = %path.display(), "its worker cannot be started: {e}"),
                },
            }
        }
    }

    fn begin(&self, settings: Settings, paused: bool) -> io::Result<Running> {
        let shown = Shown::default();
        shown.lock().state = "paused";
        shown.lock().reason = Some("it is being opened".into());
        let desk = Desk::new(Orders { settings, revision: 0, paused, stop: None });
        let (hints, inbox) = sync_channel(HINTS);
        let worker = Worker::new(self.context.clone(), desk.clone(), shown.clone(), (hints.clone(), inbox));
        let thread = std::thread::Builder::new().name("watched-dir".into()).spawn(move || worker.run())?;
        Ok(Running { desk, hints, shown, thread })
    }
}

impl Running {
    fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.desk.lock());
        // A worker with a full queue is awake.
        let _ = self.hints.try_send(Message::Wake);
    }
}

async fn ended(path: &Path, worker: Running) {
    let joined = tokio::task::spawn_blocking(move || worker.thread.join()).await;
    if !matches!(joined, Ok(Ok(()))) {
        tracing::error!(dir = %path.display(), "its worker ended by a mistake of the daemon's");
    }
}

impl Table {
    /// The name under which a directory is listed: this one, or one of those that it really is.
    fn find(&self, path: &Path, real: &[PathBuf]) -> Result<PathBuf, ApiError> {
        let mut names = std::iter::once(path).chain(real.iter().map(PathBuf::as_path));
        names.find(|path| self.running.contains_key(*path)).map(Path::to_owned).ok_or_else(|| {
            ApiError::new(Kind::NotWatched, format!("{} is not watched", path.display())).hint("see `actctl dir list`")
        })
    }

    fn one(&self, path: &Path) -> Result<Dir, ApiError> {
        let gone = || ApiError::new(Kind::Stopping, "the daemon is stopping");
        self.running.get(path).map(|running| self.dir(path, running)).ok_or_else(gone)
    }

    fn dir(&self, path: &Path, running: &Running) -> Dir {
        let settings = running.desk.lock().settings.clone();
        let status = running.shown.lock().clone();
        let paused = self.list.paused.contains(path);
        Dir {
            path: path.display().to_string(),
            state: if paused { "paused" } else { status.state }.to_owned(),
            reason: if paused { Some("paused by the user".to_owned()) } else { status.reason },
            accepted: status.accepted,
            failed: status.failed,
            waiting: status.waiting,
            configured: self.configured.contains_key(path),
            results: settings.results().display().to_string(),
            clusterlist: settings.clusterlist,
            webdav: settings.webdav,
            settle_ms: settings.settle_ms.unwrap_or_else(|| u64::try_from(SETTLE.as_millis()).unwrap_or(u64::MAX)),
            sweep_s: settings.sweep_s,
            poll: settings.poll,
        }
    }
}

/// Whether `path` is a part of the watched directory `dir` that is our own: nothing is submitted from there.
pub(crate) fn owns(dir: &Path, path: &Path) -> bool {
    [claim::OWN, spool::ACCEPTED, spool::FAILED].into_iter().any(|part| path.starts_with(dir.join(part)))
}

/// The paths without links; as they are if they do not exist, or if their file systems do not answer in time.
async fn real(paths: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    let ask = |path: PathBuf| {
        let asked = path.clone();
        (path, tokio::spawn(in_time(PATIENCE, move || asked.canonicalize())))
    };
    // All at once: it takes no longer than one.
    let asked: Vec<_> = paths.into_iter().map(ask).collect();
    let mut real = Vec::with_capacity(asked.len());
    for (path, found) in asked {
        match found.await {
            Ok(Some(Ok(found))) => real.push(found),
            _ => real.push(path),
        }
    }
    real
}

/// What a file system says, unless it takes too long: the thread that asks is left behind then.
async fn in_time<T: Send + 'static>(limit: Duration, ask: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::time::timeout(limit, tokio::task::spawn_blocking(ask)).await.ok()?.ok()
}
