//! The job cache on disk: the only place that knows sled.
//!
//! **Durability.** sled 0.34 loses on SIGKILL what was not flushed, and its flush alone (`sync_file_range`) does not
//! survive a power cut. So a commit is: one batch, one flush, an `fsync` of each new file beside sled's log (see `blobs`; there
//! is rarely one), one `fdatasync` of the log. [`Store::commit`] returns after all of it; nobody outside is told of a change, and no side effect that relies on it is begun, before that. The
//! engine commits many changes at once, so the price (a fraction of a millisecond to a few) is paid per turn, not per job.
//!
//! **Layout.** One tree; the first byte of a key says what it is, numbers are big-endian so that they sort:
//!
//! | key | value |
//! |---|---|
//! | `j` key | a live job |
//! | `c` key | a closed job |
//! | `s` key | what it was submitted with |
//! | `w` key | the files on WebDAV that it shares |
//! | `d` key | the server's columns of it, last seen: JSON |
//! | `e` number | an event |
//! | `l` key number | nothing: that event is about that job |
//! | `r` client reference | the job's key |
//! | `o` number | a lost POST |
//! | `m` word | one of the daemon's own facts |
//!
//! One tree, because sled applies a batch atomically only within a tree.
//!
//! Beside sled's directory lies a small file with the number of the last commit: see `witness`.
//!
//! **A bad state directory stops the daemon** with a sentence; it is never replaced by an empty one.

mod blobs;
mod compact;
mod export;
pub mod prune;
mod reader;
pub mod record;
pub mod recover;
mod witness;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::failpoint;
use crate::fsutil::is_disk_full;
use crate::job::orphan::LostPost;
use crate::job::{Job, Key, Spec, Time};
use blobs::Blobs;
pub use reader::Reader;
use record::{EventRecord, decode, encode};
use witness::Witness;

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory or a file in it.
    #[error("the state directory {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// sled's own trouble.
    #[error("the job cache {path} cannot be used: {why}")]
    Sled {
        /// Its directory.
        path: PathBuf,
        /// What sled said.
        why: String,
    },
    /// There is no room to write.
    #[error("the disk of the state directory is full: the job cache {path} cannot be written")]
    Full {
        /// Its directory.
        path: PathBuf,
    },
    /// What was committed is not there any more.
    #[error("the job cache {path} is damaged: its last {missing} changes are missing")]
    Incomplete {
        /// Its directory.
        path: PathBuf,
        /// How many.
        missing: u64,
    },
    /// A record.
    #[error("the job cache holds a record that cannot be read ({what}): {source}")]
    Record {
        /// Which.
        what: String,
        /// Why.
        source: record::RecordError,
    },
}

/// sled's page cache, bytes as they are on disk; in memory a page takes about twice as much. Live jobs are in memory anyway.
const CACHE: u64 = 4 << 20;

/// Everything there is at start.
#[derive(Debug, Default)]
pub struct Loaded {
    /// All jobs that are not history.
    pub jobs: Vec<Job>,
    /// The number of the last event.
    pub last_event: u64,
    /// The next key to give.
    pub next_key: u64,
    /// Files on WebDAV that jobs share, one for each input.
    pub shared: Vec<(Key, Vec<String>)>,
    /// Lost POSTs, by number.
    pub lost_posts: Vec<(u64, LostPost)>,
    /// The identity that was in force.
    pub proxyid: Option<i64>,
    /// When another client of the user was last seen to be at work.
    pub company: Option<Time>,
}

/// The keys of all closed jobs. A scan of sled that meets a writer may step over records, so what the history
/// consists of is known here; the records are read one by one.
type ClosedKeys = Arc<RwLock<BTreeSet<u64>>>;

/// A commit has failed. From then on sled shows what is not on disk, and would go on to write after it.
type Failed = Arc<AtomicBool>;

/// The job cache, for its one writer.
#[derive(Debug)]
pub struct Store {
    tree: sled::Tree,
    closed: ClosedKeys,
    failed: Failed,
    // Keeps the database open: sled closes it with its last handle.
    db: sled::Db,
    file: File,
    witness: Witness,
    last: Mutex<Last>,
    path: PathBuf,
    instance_id: String,
}

/// The last commit.
#[derive(Debug)]
struct Last {
    number: u64,
    /// Large pages that were durable with it.
    blobs: Blobs,
}

/// Changes that become durable together.
#[derive(Debug, Default)]
pub struct Batch {
    batch: sled::Batch,
    changes: usize,
    next_key: u64,
    closed: Vec<u64>,
    forgotten: Vec<u64>,
}

/// Where the number of the last commit is.
const LAST: &[u8] = b"mlast";

fn key1(kind: u8, number: u64) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

fn key2(kind: u8, a: u64, b: u64) -> [u8; 17] {
    let mut key = [kind; 17];
    key[1..9].copy_from_slice(&a.to_be_bytes());
    key[9..].copy_from_slice(&b.to_be_bytes());
    key
}

fn number(key: &[u8]) -> u64 {
    key.get(key.len().saturating_sub(8)..).and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes)
}

impl Store {
    /// Opens the cache in `dir`, or makes one where there is none. The caller holds the lock of the state directory.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("jobs.sled");
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io { path, source }
        };
        compact::put_right(&path).map_err(io(&path))?;
        let broken = |why: String| StoreError::Sled { path: path.clone(), why };
        let open = || compact::open(&path, CACHE).map_err(|e| of_sled(&path, &e));
        let mut db = open()?;
        if compact::compact(&db, &path, CACHE).map_err(broken)? {
            drop(db);
            db = open()?;
        }
        let file_path = path.join("db");
        let file = File::open(&file_path).map_err(io(&file_path))?;
        let tree: sled::Tree = sled::Tree::clone(&db);
        let (witness, said) = Witness::open(dir).map_err(io(dir))?;
        let last = tree.get(LAST).map_err(|e| broken(e.to_string()))?.map_or(0, |v| number(&v));
        if last < said.commit {
            return Err(StoreError::Incomplete { path, missing: said.commit - last });
        }
        let mut blobs = Blobs::of(&path);
        // What a daemon left that was killed before its sync is told of from now on.
        blobs.sync_all().and_then(|()| file.sync_data()).map_err(io(&path))?;
        let last = Mutex::new(Last { number: last, blobs });
        let closed = tree.scan_prefix(b"c").keys().map(|key| key.map(|key| number(&key))).collect::<Result<_, _>>();
        let closed = Arc::new(RwLock::new(closed.map_err(|e| broken(e.to_string()))?));
        let (failed, path) = (Failed::default(), path.clone());
        let mut store = Self { tree, closed, failed, db, file, witness, last, path, instance_id: String::new() };
        store.instance_id = match store.tree.get(b"minstance").map_err(|e| store.sled_error(&e))? {
            Some(id) => String::from_utf8_lossy(&id).into_owned(),
            None => {
                let id = uuid::Uuid::new_v4().to_string();
                let mut batch = Batch::default();
                batch.batch.insert(b"minstance", id.as_bytes());
                batch.changes += 1;
                store.commit(batch)?;
                id
            }
        };
        Ok(store)
    }

    fn sled_error(&self, e: &sled::Error) -> StoreError {
        of_sled(&self.path, e)
    }

    /// A random name of this state directory, made when it was.
    #[must_use]
    pub fn instance_id(&self) -> &str {
        &self.instance_id
    }

    /// Whether it has never held a job.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn is_new(&self) -> Result<bool, StoreError> {
        Ok(self.load()?.next_key == 1)
    }

    /// For readers.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader { tree: self.tree.clone(), closed: self.closed.clone(), failed: self.failed.clone() }
    }

    /// Reads what the engine needs in memory.
    ///
    /// # Errors
    /// A record that cannot be read: nothing is skipped silently.
    pub fn load(&self) -> Result<Loaded, StoreError> {
        let sled_error = |e: sled::Error| self.sled_error(&e);
        let mut loaded = Loaded::default();
        for item in self.tree.scan_prefix(b"j") {
            let (key, value) = item.map_err(sled_error)?;
            let job: Job = read(&key, &value)?;
            loaded.next_key = loaded.next_key.max(job.key.0 + 1);
            loaded.jobs.push(job);
        }
        for item in self.tree.scan_prefix(b"o") {
            let (key, value) = item.map_err(sled_error)?;
            loaded.lost_posts.push((number(&key), read(&key, &value)?));
        }
        for item in self.tree.scan_prefix(b"w") {
            let (key, value) = item.map_err(sled_error)?;
            loaded.shared.push((Key(number(&key)), read(&key, &value)?));
        }
        let last = |kind: u8| -> Result<u64, StoreError> {
            let last = self.tree.scan_prefix([kind]).next_back().transpose().map_err(sled_error)?;
            Ok(last.map_or(0, |(key, _)| number(&key)))
        };
        loaded.last_event = last(b'e')?;
        let stored_next = self.tree.get(b"mnext_key").map_err(sled_error)?.map_or(1, |v| number(&v));
        loaded.next_key = loaded.next_key.max(last(b'c')? + 1).max(stored_next).max(1);
        let fact = |key: &[u8]| -> Result<Option<i64>, StoreError> {
            let value = self.tree.get(key).map_err(sled_error)?;
            Ok(value.and_then(|v| v.as_ref().try_into().ok()).map(i64::from_be_bytes))
        };
        loaded.proxyid = fact(b"mproxyid")?;
        loaded.company = fact(b"mcompany")?.map(Time);
        Ok(loaded)
    }

    /// Makes a batch durable: applied, flushed, synced.
    ///
    /// # Errors
    /// The disk is full or broken. The daemon must not go on as if it had been written; nothing more is written, until the
    /// cache is opened anew.
    pub fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        if batch.changes == 0 {
            return Ok(());
        }
        if self.failed.load(Ordering::SeqCst) {
            let why = "an earlier change could not be written to it".into();
            return Err(StoreError::Sled { path: self.path.clone(), why });
        }
        self.write(batch).inspect_err(|_| self.failed.store(true, Ordering::SeqCst))
    }

    fn write(&self, mut batch: Batch) -> Result<(), StoreError> {
        // In one order for everybody: the last number on disk is that of the last commit.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let number = last.number + 1;
        let io = |source| StoreError::Io { path: self.path.clone(), source };
        batch.batch.insert(LAST, &number.to_be_bytes());
        failpoint!("commit.before");
        self.tree.apply_batch(batch.batch).map_err(|e| self.sled_error(&e))?;
        failpoint!("commit.applied");
        let blobs = last.blobs.there().map_err(io)?;
        self.db.flush().map_err(|e| self.sled_error(&e))?;
        last.blobs.sync(blobs).map_err(io)?;
        self.file.sync_data().map_err(io)?;
        last.number = number;
        failpoint!("commit.after");
        self.witness.note(number, batch.next_key).map_err(io)?;
        drop(last);
        if !batch.closed.is_empty() || !batch.forgotten.is_empty() {
            let mut closed = self.closed.write().unwrap_or_else(PoisonError::into_inner);
            closed.extend(batch.closed);
            for key in batch.forgotten {
                closed.remove(&key);
            }
        }
        Ok(())
    }
}

fn of_sled(path: &Path, e: &sled::Error) -> StoreError {
    let path = path.to_owned();
    match e {
        sled::Error::Io(e) if is_disk_full(e) => StoreError::Full { path },
        sled::Error::Corruption { .. } => StoreError::Sled { path, why: "its file is damaged".into() },
        e => StoreError::Sled { path, why: e.to_string() },
    }
}

fn read<T: serde::de::DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, StoreError> {
    decode(value).map_err(|source| {
        let kind = key.first().copied().map_or('?', char::from);
        StoreError::Record { what: format!("{kind} {}", number(key)), source }
    })
}

impl Batch {
    fn put<T: serde::Serialize>(&mut self, key: &[u8], value: &T) -> Result<(), StoreError> {
        let bytes = encode(value).map_err(|source| StoreError::Record { what: "new".into(), source })?;
        self.batch.insert(key, bytes);
        self.changes += 1;
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) {
        self.batch.remove(key);
        self.changes += 1;
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes == 0
    }

    /// Writes a job; one that is history moves there.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn job(&mut self, job: &Job) -> Result<(), StoreError> {
        if job.is_history() {
            self.remove(&key1(b'j', job.key.0));
            self.closed.push(job.key.0);
            self.put(&key1(b'c', job.key.0), job)
        } else {
            self.put(&key1(b'j', job.key.0), job)
        }
    }

    /// Forgets a closed job.
    fn forget_closed(&mut self, key: u64) {
        self.remove(&key1(b'c', key));
        self.forgotten.push(key);
    }

    /// Forgets a live job without a trace in the history.
    pub fn forget(&mut self, key: Key) {
        self.remove(&key1(b'j', key.0));
    }

    /// Writes what a job is submitted with.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn spec(&mut self, key: Key, spec: &Spec) -> Result<(), StoreError> {
        self.put(&key1(b's', key.0), spec)
    }

    /// Writes which files on WebDAV a job shares; none: it needs none any more.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn shared<S: AsRef<str>>(&mut self, key: Key, files: &[S]) -> Result<(), StoreError> {
        if files.is_empty() {
            self.remove(&key1(b'w', key.0));
            return Ok(());
        }
        let files: Vec<&str> = files.iter().map(AsRef::as_ref).collect();
        self.put(&key1(b'w', key.0), &files)
    }

    /// Writes the server's columns of a job.
    pub fn columns(&mut self, key: Key, columns: &serde_json::Map<String, serde_json::Value>) {
        // A map of JSON values is always JSON.
        if let Ok(bytes) = serde_json::to_vec(columns) {
            self.batch.insert(&key1(b'd', key.0), bytes);
            self.changes += 1;
        }
    }

    /// Writes that this client reference is that job.
    pub fn client_ref(&mut self, client_ref: &str, key: Key) {
        self.batch.insert([b"r", client_ref.as_bytes()].concat(), &key.0.to_be_bytes());
        self.changes += 1;
    }

    /// Writes the next key to give.
    pub fn next_key(&mut self, next: u64) {
        self.batch.insert(b"mnext_key", &next.to_be_bytes());
        self.next_key = next;
        self.changes += 1;
    }

    /// Writes the identity in force.
    pub fn proxyid(&mut self, proxyid: i64) {
        self.batch.insert(b"mproxyid", &proxyid.to_be_bytes());
        self.changes += 1;
    }

    /// Writes when another client of the user was last seen to be at work.
    pub fn company(&mut self, at: Time) {
        self.batch.insert(b"mcompany", &at.0.to_be_bytes());
        self.changes += 1;
    }

    /// Writes an event.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn event(&mut self, seq: u64, event: &EventRecord) -> Result<(), StoreError> {
        if let Some(key) = event.key {
            self.batch.insert(&key2(b'l', key.0, seq), &[]);
        }
        self.put(&key1(b'e', seq), event)
    }

    /// Writes a lost POST.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn lost_post(&mut self, number: u64, lost: &LostPost) -> Result<(), StoreError> {
        self.put(&key1(b'o', number), lost)
    }

    /// Writes the name of this state directory: one that moves keeps it.
    fn instance(&mut self, id: &str) {
        self.batch.insert(b"minstance", id.as_bytes());
        self.changes += 1;
    }

    /// Forgets a lost POST: nothing of it is left on the server.
    pub fn settled_post(&mut self, number: u64) {
        self.remove(&key1(b'o', number));
    }
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
