//! Pages that are too large for sled's log (from 128 KiB on: a large record, or a dozen of 10 KB that are neighbours) are files
//! of their own, in `blobs/`. sled 0.34 writes them before the log refers to them, and never syncs them. A log that refers to
//! one that a power cut has emptied is taken to end there, so they are made durable here, before the log is.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::fsutil::atomic::with_path;
use crate::fsutil::fsync_dir;

/// The blob files of a cache, and those of them that are known to be durable.
#[derive(Debug)]
pub(super) struct Blobs {
    dir: PathBuf,
    durable: HashSet<OsString>,
}

impl Blobs {
    /// Of sled's directory at `path`, none of them known to be durable.
    pub(super) fn of(path: &Path) -> Self {
        Self { dir: path.join("blobs"), durable: HashSet::new() }
    }

    /// All that are there now. To be asked before the log is flushed, which is when the last of them has been written to
    /// its end.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(super) fn there(&self) -> io::Result<HashSet<OsString>> {
        let names = fs::read_dir(&self.dir).and_then(|all| all.map(|entry| Ok(entry?.file_name())).collect());
        names.map_err(|e| with_path(&e, &self.dir))
    }

    /// Makes these durable, but for those that are already: each is written once and then only removed.
    ///
    /// # Errors
    /// One cannot be synced.
    pub(super) fn sync(&mut self, there: HashSet<OsString>) -> io::Result<()> {
        let mut any = false;
        for name in there.difference(&self.durable) {
            let path = self.dir.join(name);
            match File::open(&path).and_then(|file| file.sync_all()) {
                Ok(()) => any = true,
                // sled has no use for it any more.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(with_path(&e, &path)),
            }
        }
        if any {
            fsync_dir(&self.dir)?;
        }
        self.durable = there;
        Ok(())
    }

    /// Makes all that are there durable.
    ///
    /// # Errors
    /// One cannot be synced.
    pub(super) fn sync_all(&mut self) -> io::Result<()> {
        self.sync(self.there()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Key, Spec};
    use crate::store::tests::spec;
    use crate::store::{Batch, Store, compact};

    /// Linux 6.5; the same on all machines that it runs on but one.
    const CACHESTAT: libc::c_long = 451;

    /// Pages of the file that are in memory and not on the disk; none: this system does not tell.
    #[allow(unsafe_code, reason = "no crate has this call yet")]
    fn unwritten(path: &Path) -> Option<u64> {
        use std::os::fd::AsRawFd as _;
        let file = File::open(path).unwrap();
        // Offset and length (all); cached, dirty, under way, evicted, recently evicted.
        let (range, mut pages) = ([0_u64; 2], [0_u64; 5]);
        // SAFETY: the handle is open, and both arrays are as large as the call's structures and outlive it.
        let done = unsafe { libc::syscall(CACHESTAT, file.as_raw_fd(), range.as_ptr(), pages.as_mut_ptr(), 0) };
        (done == 0).then(|| pages[1] + pages[2])
    }

    /// How many blobs the cache has; none of them has anything that a power cut would take.
    fn whole_on_disk(cache: &Path) -> usize {
        let blobs: Vec<_> = fs::read_dir(cache.join("blobs")).unwrap().map(|blob| blob.unwrap().path()).collect();
        for path in &blobs {
            assert!(matches!(unwritten(path), None | Some(0)), "{}", path.display());
        }
        blobs.len()
    }

    fn specs(keys: std::ops::RangeInclusive<u64>, bytes: usize) -> Batch {
        let mut batch = Batch::default();
        for key in keys {
            let spec = Spec { text: "x".repeat(bytes), ..spec() };
            batch.spec(Key(key), &spec).unwrap();
        }
        batch
    }

    #[test]
    fn a_commit_of_large_records_is_on_the_disk_when_it_returns() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("jobs.sled");
        let store = Store::open(dir.path()).unwrap();
        let durable = |store: &Store| store.last.lock().unwrap().blobs.durable.clone();
        let all = || Blobs::of(&cache).there().unwrap();
        store.commit(specs(1..=1, 200_000)).unwrap();
        let first = durable(&store);
        assert!(whole_on_disk(&cache) > 0 && first == all(), "{first:?}");
        // Many at once; and records that are large only together.
        store.commit(specs(2..=40, 200_000)).unwrap();
        assert!(whole_on_disk(&cache) > 2 && durable(&store) == all());
        store.commit(specs(100..=200, 9_000)).unwrap();
        let _ = whole_on_disk(&cache);
        let known = durable(&store);
        assert_eq!(known, all());
        assert!(known.difference(&first).count() > 0, "a newer one is known, too: {known:?}");
        drop(store);
        // Written by a daemon that was killed before it could sync them.
        for name in all() {
            let blob = cache.join("blobs").join(name);
            fs::write(&blob, fs::read(&blob).unwrap()).unwrap();
        }
        let store = Store::open(dir.path()).unwrap();
        let _ = whole_on_disk(&cache);
        for key in (1..=40).chain(100..=200) {
            assert!(store.reader().spec(Key(key)).is_some(), "{key}");
        }
    }

    /// The old cache is removed once the new one is there.
    #[test]
    fn a_rewritten_cache_is_on_the_disk_with_its_large_records() {
        let dir = tempfile::tempdir().unwrap();
        let records = (0..20_u8).map(|n| Ok((vec![n].into(), vec![n; 200_000].into())));
        let cache = dir.path().join("new");
        compact::fill(records, &cache, 4 << 20).unwrap();
        assert!(whole_on_disk(&cache) > 2);
    }
}
