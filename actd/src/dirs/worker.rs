//! The worker of one watched directory: a thread that waits for hints, looks, takes what has settled, and hands it over.
//!
//! It works by levels, not by edges: what an event says only makes it look sooner. A thread, because everything it does is
//! file work that may hang (NFS), and then hangs alone.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::claim::{self, Claim, Lock, OWN};
use super::follow::Follow;
use super::settle::{Settle, Sign, Verdict, is_description};
use super::spool::{self, ACCEPTED, FAILED};
use super::take::Held;
use super::watch::{Lost, Watch};
use super::{Context, Settings, files, receipt};

/// How often it is looked whether the directory is still the same and what has become of jobs.
const TICK: Duration = Duration::from_secs(2);
/// How often everything is looked at although there are events.
const RESCAN: Duration = Duration::from_secs(60);
/// Shortest time between two scans for lost events.
const RESCAN_PAUSE: Duration = Duration::from_millis(200);
/// How often accepted and failed descriptions are swept.
const SWEEP: Duration = Duration::from_secs(3_600);
/// Most files that are waited for at a time; more are found when these are done.
const MAX_WAITING: usize = 50_000;
/// Most hints that are heard before something is done.
const MAX_HINTS: usize = 10_000;
/// Most files that are claimed in one go.
const MAX_CLAIMS: usize = 200;

/// A hint to the worker. It may get lost.
#[derive(Debug)]
pub(super) enum Message {
    /// An event told of a description.
    Sign(OsString, Sign),
    /// The watch's probe was heard.
    Probe(OsString),
    /// Look what there is to do.
    Wake,
}

/// How a directory stands, for those who ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// `watching`, `polling` or `paused`.
    pub(super) state: &'static str,
    /// Why it is paused or polled, or a file cannot be taken.
    pub(super) reason: Option<String>,
    /// Files submitted since the start.
    pub(super) accepted: u64,
    /// Files that could not be submitted since the start.
    pub(super) failed: u64,
    /// Files that are still changing, or wait to be handed over.
    pub(super) waiting: u64,
}

/// The status of a directory, shared with those who ask.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown(Arc<Mutex<Status>>);

impl Shown {
    pub(super) fn lock(&self) -> MutexGuard<'_, Status> {
        // Every write leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the worker is to do; it looks each time it wakes.
#[derive(Debug, Clone)]
pub(super) struct Orders {
    /// The directory's settings.
    pub(super) settings: Settings,
    /// Another number: other settings, or another configuration. What was put off is tried again.
    pub(super) revision: u64,
    /// Take no files, and put back what is not handed over.
    pub(super) paused: bool,
    /// End. `true`: for good, and put back what is not handed over.
    pub(super) stop: Option<bool>,
}

/// [`Orders`], shared with the one who gives them.
#[derive(Debug, Clone)]
pub(super) struct Desk(Arc<Mutex<Orders>>);

impl Desk {
    pub(super) fn new(orders: Orders) -> Self {
        Self(Arc::new(Mutex::new(orders)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Orders> {
        // Every write leaves them whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The directories within a watched one.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub(super) dir: PathBuf,
    pub(super) own: PathBuf,
    pub(super) accepted: PathBuf,
    pub(super) failed: PathBuf,
}

/// A directory that is open: it is there, can be written, and is ours.
struct Open {
    dev_ino: (u64, u64),
    watch: Result<Watch, String>,
    lock: Lock,
}

/// See the module.
pub(super) struct Worker {
    pub(super) context: Arc<Context>,
    pub(super) settings: Settings,
    pub(super) places: Places,
    pub(super) shown: Shown,
    desk: Desk,
    revision: u64,
    inbox: Receiver<Message>,
    hints: SyncSender<Message>,
    lost: Lost,
    asleep: bool,
    open: Option<Open>,
    settle: Settle,
    pub(super) held: BTreeMap<Claim, Held>,
    pub(super) follow: Follow,
    /// Why nothing is handed over although the directory is in order, and until when.
    pub(super) put_off: Option<(String, Instant)>,
    /// A file that cannot be taken.
    stuck: Option<String>,
    tick_at: Instant,
    scan_at: Instant,
    sweep_at: Instant,
}

impl Worker {
    /// `hints` leads to `inbox`.
    pub(super) fn new(
        context: Arc<Context>,
        desk: Desk,
        shown: Shown,
        (hints, inbox): (SyncSender<Message>, Receiver<Message>),
    ) -> Self {
        let now = Instant::now();
        let orders = desk.lock().clone();
        let dir = orders.settings.path.clone();
        let places = Places { own: dir.join(OWN), accepted: dir.join(ACCEPTED), failed: dir.join(FAILED), dir };
        Self {
            context,
            settle: Settle::new(orders.settings.settle()),
            settings: orders.settings,
            revision: orders.revision,
            asleep: orders.paused,
            places,
            shown,
            desk,
            inbox,
            hints,
            lost: Lost::default(),
            open: None,
            held: BTreeMap::new(),
            follow: Follow::default(),
            put_off: None,
            stuck: None,
            tick_at: now,
            scan_at: now,
            sweep_at: now,
        }
    }

    /// Works until it is stopped.
    pub(super) fn run(mut self) {
        while self.obey() {
            self.turn();
            let wait = self.wake_at().saturating_duration_since(Instant::now());
            match self.inbox.recv_timeout(wait) {
                Ok(message) => self.hint(message),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            }
            for _ in 0..MAX_HINTS {
                let Ok(message) = self.inbox.try_recv() else { break };
                self.hint(message);
            }
        }
    }

    /// Does what is ordered. `false`: to end.
    fn obey(&mut self) -> bool {
        let orders = self.desk.lock().clone();
        let now = Instant::now();
        if let Some(for_good) = orders.stop {
            if for_good {
                self.give_back(now);
            }
            return false;
        }
        if orders.revision != self.revision {
            if self.settings.poll != orders.settings.poll {
                self.open = None;
            }
            self.settings = orders.settings;
            self.revision = orders.revision;
            self.settle.set_quiet(self.quiet());
            self.put_off = None;
            self.tick_at = now;
        }
        if orders.paused != self.asleep {
            if orders.paused {
                self.give_back(now);
            }
            self.asleep = orders.paused;
            self.tick_at = now;
            self.scan_at = now;
        }
        true
    }

    fn hint(&mut self, message: Message) {
        match message {
            Message::Sign(name, sign) if self.open.is_some() => self.settle.sign(&name, sign, Instant::now()),
            Message::Probe(name) => {
                if let Some(Open { watch: Ok(watch), .. }) = &mut self.open {
                    watch.heard(&name);
                }
            }
            Message::Sign(..) | Message::Wake => {}
        }
    }

    /// When there is something to do again.
    fn wake_at(&self) -> Instant {
        let mut at = self.tick_at;
        if self.open.is_some() && !self.asleep {
            at = at.min(self.scan_at);
            if let Some(due) = self.settle.next() {
                at = at.min(due);
            }
            if let Some(due) = self.next_take() {
                at = at.min(due);
            }
            if let Some(Open { watch: Ok(watch), .. }) = &self.open
                && let Some(due) = watch.next()
            {
                at = at.min(due);
            }
        }
        at
    }

    fn turn(&mut self) {
        let now = Instant::now();
        if self.lost.take() {
            self.settle.events_lost();
            self.scan_at = self.scan_at.min(now + RESCAN_PAUSE);
            self.tick_at = now;
        }
        if self.tick_at <= now {
            self.tick_at = now + TICK;
            self.check_identity();
            if self.open.is_none() {
                self.try_open(now);
                if self.asleep && self.open.is_some() {
                    // What was taken before it was paused.
                    self.give_back(now);
                }
            }
            let updated = if self.open.is_some() { self.keep_receipts() } else { Ok(()) };
            self.seen_to(updated, "its receipts");
        }
        if !self.asleep && self.settle.next().is_some_and(|due| due <= now) {
            self.check_lock(now);
        }
        if self.open.is_some() && !self.asleep {
            self.check_probe(now);
            let scanned = if self.scan_at <= now { self.scan(now) } else { Ok(()) };
            self.seen_to(scanned, "it");
            // What is not known to be durable must not be handed over.
            let handed_over = self.look(now).and_then(|()| self.take());
            self.seen_to(handed_over, "its files");
            if self.sweep_at <= now {
                self.sweep_at = now + SWEEP;
                let swept = self.sweep();
                self.seen_to(swept, "what is to be swept");
            }
        }
        self.show();
    }

    /// An error of the directory's file system pauses the directory; opening it again, at the next tick, says whether
    /// that lasts.
    fn seen_to(&mut self, result: io::Result<()>, what: &str) {
        if let Err(e) = result {
            self.pause(format!("{what} cannot be dealt with: {e}"));
        }
    }

    /// Notes an event of this directory.
    pub(super) fn tell(&self, what: &str) {
        self.context.engine.try_tell("dir", format!("{}: {what}", self.places.dir.display()));
    }

    fn pause(&mut self, reason: String) {
        let mut shown = self.shown.lock();
        if shown.reason.as_ref() != Some(&reason) {
            self.tell(&format!("paused: {reason}"));
            tracing::warn!(dir = %self.places.dir.display(), "the watched directory is paused: {reason}");
        }
        shown.state = "paused";
        shown.reason = Some(reason);
        self.open = None;
    }

    fn show(&mut self) {
        let mut shown = self.shown.lock();
        shown.waiting = (self.settle.len() + self.held.len()) as u64;
        let stuck = self.stuck.as_ref().or(self.follow.trouble());
        let (state, reason) = match (&self.open, &self.put_off) {
            // `pause` has said why.
            (None, _) => return,
            _ if self.asleep => ("paused", Some("paused by the user".to_owned())),
            (Some(_), Some((why, _))) => ("paused", Some(why.clone())),
            (Some(Open { watch: Ok(_), .. }), None) => ("watching", stuck.cloned()),
            (Some(Open { watch: Err(why), .. }), None) => {
                let stuck = stuck.map(|stuck| format!("; {stuck}")).unwrap_or_default();
                ("polling", Some(format!("{why}{stuck}")))
            }
        };
        if shown.state != state {
            let reason = reason.as_deref().unwrap_or("it is in order");
            self.tell(&format!("{state}: {reason}"));
            tracing::info!(dir = %self.places.dir.display(), "watched directory: {state}: {reason}");
        }
        (shown.state, shown.reason) = (state, reason);
    }

    /// The directory may have been removed, renamed or replaced.
    fn check_identity(&mut self) {
        let Some(open) = &self.open else { return };
        let there = fs::metadata(&self.places.dir).map(|meta| (meta.dev(), meta.ino())).ok();
        if there != Some(open.dev_ino) {
            self.pause("it is no longer where it was".into());
        }
    }

    /// Somebody may have tidied `.actd` away. It is made again, for what is to be claimed now and not before: whoever
    /// removes the whole directory is not to find something new in it.
    fn check_lock(&mut self, now: Instant) {
        if self.open.as_ref().is_some_and(|open| !open.lock.is_in_place(&self.places.own)) {
            tracing::info!(dir = %self.places.dir.display(), "the watched directory's lock is gone: it is opened again");
            self.open = None;
            self.try_open(now);
        }
    }

    fn try_open(&mut self, now: Instant) {
        match self.open(now) {
            Ok(Ok(open)) => {
                self.open = Some(open);
                self.settle.set_quiet(self.quiet());
                self.scan_at = now;
                let recovered = self.recover(now);
                self.seen_to(recovered, "what was left unfinished");
            }
            Ok(Err(why)) => self.pause(why),
            Err(e) => self.pause(match e.kind() {
                io::ErrorKind::NotFound => "it does not exist".into(),
                io::ErrorKind::PermissionDenied => format!("it cannot be written: {e}"),
                _ => format!("it cannot be used: {e}"),
            }),
        }
    }

    /// Makes sure that files can be taken from it, by us alone. The inner error says in words why not.
    fn open(&self, now: Instant) -> io::Result<Result<Open, String>> {
        let Places { dir, own, accepted, failed } = &self.places;
        let meta = fs::metadata(dir)?;
        if !meta.is_dir() {
            return Ok(Err("it is no directory".into()));
        }
        rustix::fs::access(dir, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?;
        for sub in [own, accepted, failed] {
            match fs::create_dir(sub) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                other => other?,
            }
            if !fs::symlink_metadata(sub)?.is_dir() {
                return Ok(Err(format!("{} is in the way: it is no directory", sub.display())));
            }
            rustix::fs::access(sub, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?;
        }
        let lock = match claim::lock(own, &self.context.instance)? {
            Ok(lock) => lock,
            Err(holder) => return Ok(Err(format!("another actd watches it ({holder})"))),
        };
        let watch = if self.settings.poll {
            Err("polling is asked for".to_owned())
        } else {
            Watch::begin(dir, &self.hints, &self.lost, now)?
        };
        Ok(Ok(Open { dev_ino: (meta.dev(), meta.ino()), watch, lock }))
    }

    fn check_probe(&mut self, now: Instant) {
        if let Some(Open { watch, .. }) = &mut self.open
            && watch.as_ref().is_ok_and(|watch| watch.is_deaf(now))
        {
            *watch = Err("its file system gives no events".into());
            self.settle.set_quiet(self.quiet());
            self.scan_at = now;
        }
    }

    fn is_polled(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.watch.is_err())
    }

    /// A polled file must be the same at two polls at least.
    pub(super) fn quiet(&self) -> Duration {
        if self.is_polled() { self.settings.settle().max(2 * TICK) } else { self.settings.settle() }
    }

    /// Notes every description in the directory.
    fn scan(&mut self, now: Instant) -> io::Result<()> {
        for entry in fs::read_dir(&self.places.dir)? {
            if self.settle.len() >= MAX_WAITING {
                break;
            }
            let name = entry?.file_name();
            if is_description(&name) {
                self.settle.found(&name, now);
            }
        }
        // Scanning takes no more than a tenth of the time, however large the directory is.
        let pause = if self.is_polled() { TICK } else { RESCAN };
        self.scan_at = Instant::now() + pause.max(now.elapsed() * 10);
        self.stuck = None;
        // The limit of inotify may no longer be reached.
        if let Some(Open { watch: watch @ Err(_), .. }) = &mut self.open
            && !self.settings.poll
            && watch.as_ref().err().is_some_and(|why| why.contains("inotify"))
        {
            *watch = Watch::begin(&self.places.dir, &self.hints, &self.lost, now)?;
        }
        Ok(())
    }

    /// Looks at the files that are due, and claims those that have settled.
    fn look(&mut self, now: Instant) -> io::Result<()> {
        let mut claimed = 0;
        for name in self.settle.due(now) {
            let path = self.places.dir.join(&name);
            let Some(meta) = files::lstat(&path)? else {
                self.settle.forget(&name);
                continue;
            };
            if !meta.is_file() && !meta.is_symlink() {
                self.settle.forget(&name);
                continue;
            }
            if self.settle.look(&name, files::stamp(&meta), now) == Verdict::Wait {
                continue;
            }
            if claimed == MAX_CLAIMS {
                break;
            }
            if meta.is_file() && files::open(&path).is_ok_and(|file| files::is_open_for_writing(&file)) {
                self.settle.again(&name, now);
                continue;
            }
            if self.claim(&name, now)? {
                claimed += 1;
            }
        }
        if claimed > 0 {
            self.sync_claims()?;
            crate::failpoint!("dirs.claim.durable");
        }
        Ok(())
    }

    /// Neither a crash nor a power cut may bring a file back whose jobs are on disk.
    fn sync_claims(&self) -> io::Result<()> {
        crate::fsutil::fsync_dir(&self.places.own)?;
        crate::fsutil::fsync_dir(&self.places.dir)
    }

    fn claim(&mut self, name: &OsStr, now: Instant) -> io::Result<bool> {
        let claim = Claim::new(&self.places.own, &self.context.instance)?;
        crate::failpoint!("dirs.claim.made");
        match files::rename_new(&self.places.dir.join(name), &claim.path(name)) {
            Ok(()) => {}
            Err(e) => {
                claim.close()?;
                match e.kind() {
                    io::ErrorKind::NotFound => self.settle.forget(name),
                    // Of this file alone: another user's in a directory with the sticky bit.
                    io::ErrorKind::PermissionDenied if is_writable(&self.places.dir) => {
                        self.stuck = Some(format!("{} cannot be moved: {e}", name.display()));
                        self.settle.again(name, now + RESCAN);
                    }
                    _ => return Err(e),
                }
                return Ok(false);
            }
        }
        crate::failpoint!("dirs.claim.renamed");
        let stamp = self.settle.stamp(name);
        self.settle.forget(name);
        self.held.insert(claim, Held::new(name.to_owned(), stamp, now));
        Ok(true)
    }

    /// What an earlier run, or an earlier opening, has left: claims to hand over, receipts to keep.
    fn recover(&mut self, now: Instant) -> io::Result<()> {
        self.follow.clear();
        self.held.clear();
        let claims = Claim::all(&self.places.own)?;
        if !claims.is_empty() {
            self.sync_claims()?;
        }
        for claim in claims {
            let place = self.places.own.join(&claim.id);
            // One of which nothing can be learnt must not keep the others, and all that come, from being submitted.
            if let Err(e) = self.recover_one(claim, now) {
                tracing::warn!("{} is left as it is until its directory is opened again: {e}", place.display());
            }
        }
        Ok(())
    }

    fn recover_one(&mut self, claim: Claim, now: Instant) -> io::Result<()> {
        if let Some(name) = claim.file()? {
            self.held.insert(claim, Held::new(name, None, now));
            return Ok(());
        }
        match claim.ledger()? {
            Some(ledger) if ledger.accepted.is_some() => self.follow_again(claim, &ledger),
            _ => claim.close(),
        }
    }

    /// Puts back the claims of which no job has been made, so that whoever looks finds them.
    fn give_back(&mut self, now: Instant) {
        if self.open.is_none() {
            // An error may have closed it, with files of its in our hands.
            self.try_open(now);
        }
        if self.open.is_none() {
            if !self.held.is_empty() {
                self.tell(&format!("{} files stay in {}", self.held.len(), self.places.own.display()));
            }
            return;
        }
        let claims: Vec<Claim> = self.held.keys().cloned().collect();
        for claim in claims {
            // Another daemon may have made jobs of its claims.
            if !claim.is_of(&self.context.instance) || !self.submitted(&claim).is_empty() {
                continue;
            }
            let Some(held) = self.held.remove(&claim) else { continue };
            if let Err(e) = spool::release(&claim, &held.name, &self.places.dir) {
                tracing::warn!(dir = %self.places.dir.display(), claim = claim.id, "a file cannot be put back: {e}");
            }
        }
        // What was handed over is moved on now: it will not be looked at for a long time.
        self.put_off = None;
        let moved = self.take();
        self.seen_to(moved, "its files");
    }

    fn sweep(&self) -> io::Result<()> {
        let Some(age) = self.settings.sweep() else { return Ok(()) };
        let followed = |name: &str| self.follow.is_followed(name);
        let mut swept = spool::sweep(&self.places.accepted, receipt::RECEIPT, age, &followed)?;
        swept += spool::sweep(&self.places.failed, receipt::NOTE, age, &|_| false)?;
        if swept > 0 {
            tracing::info!(dir = %self.places.dir.display(), swept, "removed old descriptions");
        }
        Ok(())
    }
}

fn is_writable(dir: &Path) -> bool {
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_ok()
}
