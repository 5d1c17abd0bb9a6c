//! Events of a directory, as hints to its worker; and the answer to whether its file system gives any.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::settle::{Sign, is_description};
use super::worker::Message;
use crate::fsutil::{FsKind, fs_kind};

/// How long the event of the probe may take.
const PROBE_WAIT: Duration = Duration::from_secs(2);
const PROBE: &str = ".actd-probe-";

/// A directory that is being watched.
pub(super) struct Watch {
    _watcher: RecommendedWatcher,
    probe: Option<(OsString, Instant)>,
}

/// Hints that found no room: everything is to be looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Lost(Arc<AtomicBool>);

impl Lost {
    /// Whether there were any since this was last asked.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Watch {
    /// Watches a directory. The inner error says in words why events cannot be had and the directory is to be polled.
    pub(super) fn begin(
        dir: &Path,
        hints: &SyncSender<Message>,
        lost: &Lost,
        now: Instant,
    ) -> io::Result<Result<Self, String>> {
        match fs_kind(dir)? {
            FsKind::Local => {}
            // These give events, but only of changes made on this machine.
            FsKind::Nfs => return Ok(Err("it is on NFS, which does not tell of changes made elsewhere".into())),
            FsKind::Afs => return Ok(Err("it is on AFS, which does not tell of changes made elsewhere".into())),
            FsKind::Network(kind) => {
                return Ok(Err(format!("it is on {kind}, which does not tell of changes made elsewhere")));
            }
        }
        let watcher = {
            let (hints, lost, watched) = (hints.clone(), lost.clone(), dir.to_owned());
            let hint = move |event: notify::Result<Event>| tell(event, &watched, &hints, &lost);
            notify::recommended_watcher(hint).and_then(|mut watcher| {
                watcher.watch(dir, RecursiveMode::NonRecursive)?;
                Ok(watcher)
            })
        };
        let watcher = match watcher {
            Ok(watcher) => watcher,
            Err(e) => return refused(e),
        };
        let name = OsString::from(format!("{PROBE}{}-{:08x}", std::process::id(), fastrand::u32(..)));
        let probe = dir.join(&name);
        std::fs::OpenOptions::new().write(true).create_new(true).open(&probe)?;
        std::fs::remove_file(&probe)?;
        Ok(Ok(Self { _watcher: watcher, probe: Some((name, now + PROBE_WAIT)) }))
    }

    /// The probe's event has come: there are events.
    pub(super) fn heard(&mut self, name: &OsString) {
        if self.probe.as_ref().is_some_and(|(probe, _)| probe == name) {
            self.probe = None;
        }
    }

    /// When it is to be asked whether the probe was heard.
    pub(super) fn next(&self) -> Option<Instant> {
        self.probe.as_ref().map(|(_, deadline)| *deadline)
    }

    /// The probe was not heard: the file system gives no events.
    pub(super) fn is_deaf(&self, now: Instant) -> bool {
        self.probe.as_ref().is_some_and(|(_, deadline)| *deadline <= now)
    }
}

fn refused(e: notify::Error) -> io::Result<Result<Watch, String>> {
    const INSTANCES: &str = "the limit of inotify instances is reached (sysctl fs.inotify.max_user_instances)";
    const WATCHES: &str = "the limit of inotify watches is reached (sysctl fs.inotify.max_user_watches)";
    match e.kind {
        notify::ErrorKind::MaxFilesWatch => Ok(Err(WATCHES.into())),
        notify::ErrorKind::Io(e) if e.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
            Ok(Err(INSTANCES.into()))
        }
        notify::ErrorKind::Io(e) => Err(e),
        notify::ErrorKind::PathNotFound => Err(io::ErrorKind::NotFound.into()),
        _ => Ok(Err(format!("its events cannot be had: {e}"))),
    }
}

fn tell(event: notify::Result<Event>, dir: &Path, hints: &SyncSender<Message>, lost: &Lost) {
    let Ok(event) = event else { return lost.set() };
    if event.need_rescan() {
        lost.set();
        // If there is no room for this, others will wake the worker.
        let _ = hints.try_send(Message::Wake);
        return;
    }
    let Some(sign) = sign(&event.kind) else {
        if matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))) && is_self(&event, dir) {
            lost.set();
            let _ = hints.try_send(Message::Wake);
        }
        return;
    };
    for name in event.paths.iter().filter_map(|path| path.file_name()) {
        let message = if is_description(name) {
            Message::Sign(name.to_owned(), sign)
        } else if name.as_encoded_bytes().starts_with(PROBE.as_bytes()) {
            Message::Probe(name.to_owned())
        } else {
            continue;
        };
        if hints.try_send(message).is_err() {
            lost.set();
        }
    }
}

/// What an event says of the file; `None`: nothing of interest.
fn sign(kind: &EventKind) -> Option<Sign> {
    match kind {
        EventKind::Create(CreateKind::File | CreateKind::Any | CreateKind::Other) => Some(Sign::Appeared),
        EventKind::Modify(ModifyKind::Data(_)) => Some(Sign::Written),
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Some(Sign::Complete),
        _ => None,
    }
}

fn is_self(event: &Event, dir: &Path) -> bool {
    event.paths.iter().any(|path| path == dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, sync_channel};

    fn next(hints: &Receiver<Message>) -> Message {
        hints.recv_timeout(Duration::from_secs(10)).expect("an event")
    }

    #[test]
    fn the_probe_is_heard_and_files_are_told_of() {
        let dir = tempfile::tempdir().expect("dir");
        let (hints, told) = sync_channel(64);
        let lost = Lost::default();
        let start = Instant::now();
        let mut watch = Watch::begin(dir.path(), &hints, &lost, start).expect("watch").expect("events");
        assert!(!watch.is_deaf(start) && watch.is_deaf(start + PROBE_WAIT));
        let Message::Probe(name) = next(&told) else { panic!("no probe") };
        watch.heard(&name);
        assert!(!watch.is_deaf(start + PROBE_WAIT) && watch.next().is_none());
        std::fs::write(dir.path().join("a.txt"), "x").expect("write");
        std::fs::write(dir.path().join("a.xrsl"), "x").expect("write");
        let mut signs = Vec::new();
        while signs.last() != Some(&Sign::Complete) {
            if let Message::Sign(name, sign) = next(&told) {
                assert_eq!(name, "a.xrsl");
                signs.push(sign);
            }
        }
        assert!(signs.contains(&Sign::Appeared) && signs.contains(&Sign::Written), "{signs:?}");
        assert!(!lost.take());
    }

    #[test]
    fn hints_without_room_and_a_directory_that_vanishes_make_a_rescan() {
        let dir = tempfile::tempdir().expect("dir");
        let watched = dir.path().join("in");
        std::fs::create_dir(&watched).expect("mkdir");
        let (hints, told) = sync_channel(1);
        let lost = Lost::default();
        let _watch = Watch::begin(&watched, &hints, &lost, Instant::now()).expect("watch").expect("events");
        let wait_lost = || {
            let deadline = Instant::now() + Duration::from_secs(10);
            while !lost.take() {
                assert!(Instant::now() < deadline, "nothing was lost");
                std::thread::yield_now();
            }
        };
        std::fs::write(watched.join("a.xrsl"), "x").expect("write");
        wait_lost();
        while told.try_recv().is_ok() {}
        std::fs::remove_dir_all(&watched).expect("remove");
        wait_lost();
    }
}
