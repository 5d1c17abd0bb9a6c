//! Mending a cache that cannot be opened or read: every record that can be read goes into a new one; the old one is put
//! aside and never deleted. Only when a person asks for it.

use std::path::{Path, PathBuf};

use crate::job::orphan::LostPost;
use crate::job::{Job, Spec};

use super::record::{EventRecord, RecordError, decode};
use super::witness::Witness;
use super::{CACHE, LAST, StoreError, compact, number};

/// What came of it.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Records that are there now.
    pub kept: u64,
    /// What could not be read, a few words each.
    pub lost: Vec<String>,
    /// Where the old cache is; none: it was whole, and nothing was changed.
    pub aside: Option<PathBuf>,
    /// Keys of jobs whose records are lost.
    keys: Vec<u64>,
}

/// Mends the cache in this state directory. The caller holds its lock.
///
/// # Errors
/// The directory cannot be written; or it was written by a newer version, which is no damage.
pub fn recover(state: &Path) -> Result<Recovered, StoreError> {
    let path = state.join("jobs.sled");
    let io = |source| StoreError::Io { path: path.clone(), source };
    let (_, said) = Witness::open(state).map_err(io)?;
    compact::put_right(&path).map_err(io)?;
    let mut done = Recovered::default();
    let mut records = Vec::new();
    match open(&path) {
        Ok(db) => read_all(&db, &mut records, &mut done)?,
        Err(first) => {
            // Snapshots only save time: sled reads its log without them.
            compact::remove_snapshots(&path).map_err(io)?;
            match open(&path) {
                Ok(db) => read_all(&db, &mut records, &mut done)?,
                Err(_) => done.lost.push(format!("all of {}: {first}", path.display())),
            }
        }
    }
    let fact = |records: &[Pair], name: &[u8]| {
        records.iter().find(|(key, _)| **key == *name).map_or(0, |(_, value)| number(value))
    };
    let last = fact(&records, LAST);
    if last < said.commit {
        done.lost.push(format!("the last {} changes", said.commit - last));
    }
    done.kept = records.len() as u64;
    if done.lost.is_empty() {
        return Ok(done);
    }
    // Keys are never used again, though their records be lost.
    let jobs = records.iter().filter(|(key, _)| matches!(key.first(), Some(b'j' | b'c' | b's')));
    let highest = jobs.map(|(key, _)| number(key)).chain(done.keys.iter().copied()).max().unwrap_or(0);
    let next = fact(&records, b"mnext_key").max(highest + 1).max(said.next_key);
    records.retain(|(key, _)| **key != *LAST && **key != *b"mnext_key");
    records.push((LAST.into(), last.max(said.commit).to_be_bytes().as_slice().into()));
    records.push((b"mnext_key".into(), next.to_be_bytes().as_slice().into()));
    done.aside = Some(compact::replace(&path, records, CACHE).map_err(|why| StoreError::Sled { path, why })?);
    Ok(done)
}

/// Opens it; what it holds may make sled itself stumble, which is then only an error.
fn open(path: &Path) -> Result<sled::Db, String> {
    let opened = std::panic::catch_unwind(|| compact::open(path, CACHE));
    opened.map_err(|_| "sled stumbles over its file".to_owned())?.map_err(|e| e.to_string())
}

type Pair = (sled::IVec, sled::IVec);

fn read_all(db: &sled::Db, records: &mut Vec<Pair>, done: &mut Recovered) -> Result<(), StoreError> {
    // Kind by kind: an unreadable page ends one kind only.
    for kind in 0..=u8::MAX {
        let mut items = db.scan_prefix([kind]);
        loop {
            let item = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| items.next()));
            match item {
                Ok(None) => break,
                Ok(Some(Ok((key, value)))) => match check(kind, &value) {
                    Ok(()) => records.push((key, value)),
                    Err(source @ RecordError::Newer(_)) => {
                        return Err(StoreError::Record { what: name(kind, &key), source });
                    }
                    Err(why) => {
                        done.keys.extend(matches!(kind, b'j' | b'c' | b's').then(|| number(&key)));
                        done.lost.push(format!("{}: {why}", name(kind, &key)));
                    }
                },
                Ok(Some(Err(e))) => {
                    done.lost.push(format!("the rest of the {}: {e}", word(kind)));
                    break;
                }
                Err(_) => {
                    done.lost.push(format!("the rest of the {}: sled stumbles over its file", word(kind)));
                    break;
                }
            }
        }
    }
    Ok(())
}

fn check(kind: u8, value: &[u8]) -> Result<(), RecordError> {
    match kind {
        b'j' | b'c' => decode::<Job>(value).map(drop),
        b's' => decode::<Spec>(value).map(drop),
        b'w' => decode::<Vec<String>>(value).map(drop),
        b'e' => decode::<EventRecord>(value).map(drop),
        b'o' => decode::<LostPost>(value).map(drop),
        _ => Ok(()),
    }
}

fn word(kind: u8) -> &'static str {
    match kind {
        b'j' => "jobs",
        b'c' => "closed jobs",
        b's' => "descriptions",
        b'w' => "shared files",
        b'd' => "columns",
        b'e' | b'l' => "events",
        b'r' => "client references",
        b'o' => "lost requests",
        _ => "facts of the daemon",
    }
}

fn name(kind: u8, key: &[u8]) -> String {
    format!("{} {}", word(kind), number(key))
}
