//! The room on a disk that downloads share. What a download under way has still to write is promised to it, so that it
//! does not begin what cannot end; and when none can go on, all but the oldest give up what they have, so that one can.
//! Without that, a small disk fills with beginnings of which none is ever completed.
//!
//! The books are also kept from async tasks, so their lock is never held while a file system is asked: one that hangs
//! would stop all the rest.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::retrieve::{remove_stage, room};
use crate::job::Key;
use crate::job::fault::Fault;

/// All disks, by the system's number of each.
#[derive(Debug, Default)]
pub(super) struct Space {
    disks: Mutex<HashMap<u64, Disk>>,
    /// Something that was given up has been removed.
    cleared: Condvar,
}

#[derive(Debug, Default)]
struct Disk {
    /// Bytes that downloads under way have still to write.
    promised: u64,
    running: BTreeSet<Key>,
    /// Those that the disk was too full for, and where their beginnings lie.
    stuck: BTreeMap<Key, PathBuf>,
    /// Those whose beginnings are being removed.
    clearing: BTreeSet<Key>,
}

/// The download of one job, while it is under way.
#[derive(Debug)]
pub(super) struct Turn {
    space: Arc<Space>,
    disk: u64,
    key: Key,
    root: PathBuf,
}

/// Bytes that a download may rely on.
#[derive(Debug)]
pub(super) struct Promise {
    space: Arc<Space>,
    disk: u64,
    left: AtomicU64,
}

impl Space {
    fn disks(&self) -> MutexGuard<'_, HashMap<u64, Disk>> {
        // Every change leaves the books whole.
        self.disks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a job's download into `root`, which may have to be made; if its last beginning is just being removed, when that
    /// is done. Blocks.
    pub(super) fn begin(self: &Arc<Self>, root: &Path, key: Key) -> Turn {
        let disk = root.ancestors().find_map(|dir| fs::metadata(dir).ok()).map_or(0, |found| found.dev());
        let is_cleared = |disks: &mut HashMap<u64, Disk>| disks.values().all(|d| !d.clearing.contains(&key));
        let waited = self.cleared.wait_while(self.disks(), |disks| !is_cleared(disks));
        let mut disks = waited.unwrap_or_else(PoisonError::into_inner);
        let state = disks.entry(disk).or_default();
        state.stuck.remove(&key);
        state.running.insert(key);
        drop(disks);
        Turn { space: self.clone(), disk, key, root: root.to_owned() }
    }
}

impl Turn {
    /// Promises `more` bytes, if `keep` stay free beside them and beside what others were promised. Blocks.
    ///
    /// # Errors
    /// The disk is too full, or cannot be asked.
    pub(super) fn promise(&self, more: u64, keep: u64) -> Result<Promise, Fault> {
        self.promise_if(more, |promised| room(&self.root, more, keep.saturating_add(promised)))
    }

    /// `has_room` is told what others were promised. Meanwhile these bytes count as promised, for others.
    fn promise_if(&self, more: u64, has_room: impl FnOnce(u64) -> Result<(), Fault>) -> Result<Promise, Fault> {
        let promised = {
            let mut disks = self.space.disks();
            let state = disks.entry(self.disk).or_default();
            let before = state.promised;
            state.promised = before.saturating_add(more);
            before
        };
        let promise = Promise { space: self.space.clone(), disk: self.disk, left: AtomicU64::new(more) };
        has_room(promised)?;
        Ok(promise)
    }

    /// The disk is too full to go on. The last to find that out makes room for the first of all. Blocks.
    pub(super) fn stuck(&self) {
        self.stuck_with(remove_stage);
    }

    fn stuck_with(&self, remove: impl Fn(&Path) -> io::Result<()>) {
        let given_up = {
            let mut disks = self.space.disks();
            let state = disks.entry(self.disk).or_default();
            state.running.remove(&self.key);
            state.stuck.insert(self.key, self.root.clone());
            if !state.running.is_empty() {
                return;
            }
            let first = state.stuck.pop_first();
            let given_up = std::mem::take(&mut state.stuck);
            state.stuck.extend(first);
            state.clearing.extend(given_up.keys());
            given_up
        };
        for (key, root) in given_up {
            tracing::debug!(%key, "its beginning makes room for another download");
            if let Err(error) = remove(&root) {
                tracing::warn!(%error, "cannot remove a download that was begun");
            }
            if let Some(state) = self.space.disks().get_mut(&self.disk) {
                state.clearing.remove(&key);
            }
            self.space.cleared.notify_all();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(state) = self.space.disks().get_mut(&self.disk) {
            state.running.remove(&self.key);
        }
    }
}

impl Promise {
    /// So many bytes of it are on their way to the disk.
    pub(super) fn took(&self, len: u64) {
        let left = self.left.load(Ordering::Relaxed);
        let len = len.min(left);
        self.left.store(left - len, Ordering::Relaxed);
        self.give_back(len);
    }

    fn give_back(&self, len: u64) {
        if let Some(state) = self.space.disks().get_mut(&self.disk) {
            state.promised = state.promised.saturating_sub(len);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let left = *self.left.get_mut();
        self.give_back(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_to_be_stuck_makes_room_for_the_first() {
        let dir = tempfile::tempdir().expect("a directory");
        let space = Arc::new(Space::default());
        let roots: Vec<PathBuf> = (0..3).map(|n| dir.path().join(n.to_string())).collect();
        let turns: Vec<Turn> = (1..).zip(&roots).map(|(key, root)| space.begin(root, Key(key))).collect();
        for root in &roots {
            fs::create_dir(root).expect("made");
        }
        turns[1].stuck();
        turns[2].stuck();
        assert!(roots.iter().all(|root| root.exists()), "one is still under way");
        turns[0].stuck();
        assert_eq!(roots.iter().map(|root| root.exists()).collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn the_books_are_open_while_a_file_system_is_asked() {
        let dir = tempfile::tempdir().expect("a directory");
        let space = Arc::new(Space::default());
        let turns: Vec<Turn> = (1..=2).map(|key| space.begin(dir.path(), Key(key))).collect();
        let is_free = || space.disks.try_lock().is_ok();
        let asked = turns[0].promise_if(5, |promised| {
            assert!(is_free() && promised == 0);
            // Somebody else who asks meanwhile does not get the same bytes.
            let other = turns[1].promise_if(1, |promised| {
                assert_eq!(promised, 5);
                Err(Fault::new(crate::job::fault::Class::DiskFull, "full"))
            });
            other.map(drop)
        });
        assert!(asked.is_err());
        assert_eq!(space.disks().values().map(|disk| disk.promised).sum::<u64>(), 0);
        turns[0].stuck_with(|_| panic!("another one is under way"));
        turns[1].stuck_with(|_| {
            assert!(is_free());
            Ok(())
        });
    }

    #[test]
    fn a_download_does_not_begin_where_its_last_beginning_is_being_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let space = Arc::new(Space::default());
        let turns: Vec<Turn> = (1..=2).map(|key| space.begin(dir.path(), Key(key))).collect();
        turns[1].stuck();
        let (begun, order) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            turns[0].stuck_with(|_| {
                let (space, dir, begun) = (space.clone(), dir.path(), begun.clone());
                scope.spawn(move || {
                    drop(space.begin(dir, Key(2)));
                    begun.send("begun").expect("somebody listens");
                });
                begun_nothing(&order);
                Ok(())
            });
            assert_eq!(order.recv(), Ok("begun"));
        });
    }

    /// Nothing has begun within a moment: longer than a thread needs that does not wait.
    fn begun_nothing(order: &std::sync::mpsc::Receiver<&str>) {
        assert!(order.recv_timeout(std::time::Duration::from_millis(100)).is_err());
    }

    #[test]
    fn what_was_promised_is_not_promised_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let space = Arc::new(Space::default());
        let turn = space.begin(dir.path(), Key(1));
        let free = crate::fsutil::space(dir.path()).expect("space").free;
        let most = free / 4 * 3;
        let promise = turn.promise(most, 0).expect("there is room");
        assert!(turn.promise(most, 0).is_err());
        promise.took(most);
        let again = turn.promise(most, 0).expect("there is room again");
        drop(again);
        drop(promise);
        assert_eq!(space.disks().values().map(|disk| disk.promised).sum::<u64>(), 0);
    }
}
