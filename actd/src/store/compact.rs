//! Opening sled's directory: what a crash left behind is put right first, and a file that is mostly dead is written anew
//! (sled's file never shrinks by itself).
//!
//! A rewrite goes to `jobs.sled.new`; only when that is complete and synced does it take the place of `jobs.sled`, by two
//! renames. Whatever of these a crash leaves, one complete cache is there, and the next start finds it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::blobs::Blobs;

/// Below this size a file is never rewritten, bytes.
const SMALL: u64 = 8 << 20;

/// A file is rewritten when it is so many times as large as what lives in it.
const FACTOR: u64 = 3;

const COMPLETE: &str = "complete";

/// So long a closed cache may still be held.
const LINGERING: Duration = Duration::from_secs(10);

fn config(path: &Path, cache: u64) -> sled::Config {
    sled::Config::new().path(path).cache_capacity(cache).mode(sled::Mode::HighThroughput).flush_every_ms(None)
}

/// Opens a cache. The lock of the state directory is ours, so whoever still holds the file is a handle of this process that
/// is about to end: sled's threads outlive it by a moment.
pub(super) fn open(path: &Path, cache: u64) -> sled::Result<sled::Db> {
    let patience = Instant::now() + LINGERING;
    loop {
        match config(path, cache).open() {
            Err(sled::Error::Io(e)) if e.to_string().contains("acquire lock") && Instant::now() < patience => {
                std::thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Finishes or undoes a rewrite that was interrupted, removes what sled cannot open.
pub(super) fn put_right(path: &Path) -> io::Result<()> {
    let (new, old) = (beside(path, ".new"), beside(path, ".old"));
    if !path.exists() {
        if new.join(COMPLETE).exists() {
            fs::rename(&new, path)?;
            let _ = fs::remove_file(path.join(COMPLETE));
        } else if old.exists() {
            fs::rename(&old, path)?;
        }
    }
    for leftover in [new, old] {
        if leftover.exists() && path.exists() {
            fs::remove_dir_all(&leftover)?;
        }
    }
    fs::create_dir_all(path)?;
    remove_unfinished_snapshots(path)
}

/// sled leaves a `snap.*.generating` behind when it is killed while it writes a snapshot, and then refuses to open. The
/// log has everything, so the unfinished file may go.
fn remove_unfinished_snapshots(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Removes all snapshots: sled makes them again from its log.
pub(super) fn remove_snapshots(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Makes a cache of these records and puts it in place of the one that is there, which is kept: the name it has then.
pub(super) fn replace(path: &Path, records: Vec<(sled::IVec, sled::IVec)>, cache: u64) -> Result<PathBuf, String> {
    let new = beside(path, ".new");
    fill(records.into_iter().map(Ok), &new, cache)?;
    let swap = || -> io::Result<PathBuf> {
        let mut n = 1;
        let aside = loop {
            let aside = beside(path, &format!(".broken-{n}"));
            if !aside.exists() {
                break aside;
            }
            n += 1;
        };
        File::create(new.join(COMPLETE))?.sync_all()?;
        File::open(&new)?.sync_all()?;
        fs::rename(path, &aside)?;
        fs::rename(&new, path)?;
        if let Some(parent) = path.parent() {
            File::open(parent)?.sync_all()?;
        }
        fs::remove_file(path.join(COMPLETE))?;
        Ok(aside)
    };
    swap().map_err(|e| e.to_string())
}

/// Rewrites the cache if most of its file is dead. Returns whether it did: then the caller opens it again. Where there is
/// no room for a second file, the one that is there is used on.
pub(super) fn compact(db: &sled::Db, path: &Path, cache: u64) -> Result<bool, String> {
    let size = db.size_on_disk().map_err(|e| e.to_string())?;
    if size < SMALL {
        return Ok(false);
    }
    let mut live = 0_u64;
    for item in db.iter() {
        let (key, value) = item.map_err(|e| e.to_string())?;
        live += (key.len() + value.len()) as u64;
    }
    if size < live.saturating_mul(FACTOR) {
        return Ok(false);
    }
    tracing::info!(size, live, "rewriting the job cache: most of its file is dead");
    let new = beside(path, ".new");
    if let Err(why) = fill(db.iter().map(|item| item.map_err(|e| e.to_string())), &new, cache) {
        tracing::warn!(why, "the job cache cannot be rewritten; it stays as it is");
        // What cannot be removed now is removed by the next start.
        let _ = fs::remove_dir_all(&new);
        return Ok(false);
    }
    let swap = || -> io::Result<()> {
        File::create(new.join(COMPLETE))?.sync_all()?;
        File::open(&new)?.sync_all()?;
        let old = beside(path, ".old");
        fs::rename(path, &old)?;
        fs::rename(&new, path)?;
        if let Some(parent) = path.parent() {
            File::open(parent)?.sync_all()?;
        }
        fs::remove_file(path.join(COMPLETE))?;
        fs::remove_dir_all(old)
    };
    swap().map_err(|e| e.to_string())?;
    Ok(true)
}

/// Makes a cache of these records, complete and durable.
pub(super) fn fill(
    from: impl Iterator<Item = Result<(sled::IVec, sled::IVec), String>>,
    to: &Path,
    cache: u64,
) -> Result<(), String> {
    let text = |e: sled::Error| e.to_string();
    let db = open(to, cache).map_err(text)?;
    let mut batch = sled::Batch::default();
    for (n, item) in from.enumerate() {
        let (key, value) = item?;
        batch.insert(key, value);
        if n % 1_000 == 999 {
            db.apply_batch(std::mem::take(&mut batch)).map_err(text)?;
        }
    }
    db.apply_batch(batch).map_err(text)?;
    db.flush().map_err(text)?;
    drop(db);
    let durable = Blobs::of(to).sync_all().and_then(|()| File::open(to.join("db"))?.sync_all());
    durable.map_err(|e| e.to_string())
}
