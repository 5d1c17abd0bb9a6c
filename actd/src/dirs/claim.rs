//! Claims: a description that is taken is renamed into a directory of its own, `DIR/.actd/CLAIM/NAME`. That rename is
//! the one moment in which a file becomes ours; everything after it can be done again after a crash.
//!
//! `CLAIM` is `INSTANCE-UUID`. It is also the client reference under which the engine takes the jobs, so a claim that was
//! handed over and not moved on is recognised. `claim.json` beside the file is the ledger: what was read (device, inode,
//! SHA-256), what was decided, and, until its jobs have ended, which receipt is to be kept up to date.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::files;

/// Our own directory in a watched one.
pub(super) const OWN: &str = ".actd";
const LEDGER: &str = "claim.json";
const LOCK: &str = "lock";
/// A ledger is no larger than this, bytes.
const MAX_LEDGER: u64 = 4 << 20;

/// A claimed file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    /// `INSTANCE-UUID`; later claims sort after earlier ones.
    pub(super) id: String,
    /// `DIR/.actd/CLAIM`.
    dir: PathBuf,
}

/// What is on disk about a claim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ledger {
    /// The file's name in the watched directory.
    pub(super) name: String,
    /// Device and inode of the file that was read.
    pub(super) dev_ino: (u64, u64),
    /// SHA-256 of what was read, in hexadecimal.
    pub(super) sha256: String,
    /// Size of what was read, in bytes.
    pub(super) size: u64,
    /// Other names of the same file that were taken before.
    pub(super) same_file_as: Vec<String>,
    /// It cannot be submitted: what the person is told.
    pub(super) error: Option<String>,
    /// It was submitted: its name in `accepted/`.
    pub(super) accepted: Option<String>,
}

/// The lock that keeps a second daemon out of a directory; given up when it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Whether it is still the one that another daemon would meet: somebody may have removed `.actd`, alone or with all.
    pub(super) fn is_in_place(&self, own: &Path) -> bool {
        let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
        // As long as the file is open, its inode is given to no other.
        self.file
            .metadata()
            .is_ok_and(|held| fs::symlink_metadata(own.join(LOCK)).is_ok_and(|there| id(there) == id(held)))
    }
}

/// Locks a watched directory for this instance. `Ok(Err(holder))`: another one has it. File systems without locks are
/// taken as they are.
pub(super) fn lock(own: &Path, instance: &str) -> io::Result<Result<Lock, String>> {
    let path = own.join(LOCK);
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOLCK) => {}
        Err(Errno::WOULDBLOCK) => {
            let text = files::read(&file, 1_000)?;
            return Ok(Err(String::from_utf8_lossy(&text).trim().to_owned()));
        }
        Err(e) => return Err(e.into()),
    }
    file.set_len(0)?;
    writeln!(file, "process {}, state directory {instance}", std::process::id())?;
    Ok(Ok(Lock { file }))
}

impl Claim {
    /// Prepares the place for a new claim.
    pub(super) fn new(own: &Path, instance: &str) -> io::Result<Self> {
        let id = format!("{}-{}", short(instance), uuid::Uuid::now_v7().simple());
        let dir = own.join(&id);
        fs::DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(Self { id, dir })
    }

    /// Every claim in a directory, oldest first.
    pub(super) fn all(own: &Path) -> io::Result<Vec<Self>> {
        let mut claims = Vec::new();
        for entry in fs::read_dir(own)? {
            let entry = entry?;
            let Ok(id) = entry.file_name().into_string() else { continue };
            if id.contains('-') && entry.file_type()?.is_dir() {
                claims.push(Self { id, dir: entry.path() });
            }
        }
        claims.sort();
        Ok(claims)
    }

    /// Whether this instance made it.
    pub(super) fn is_of(&self, instance: &str) -> bool {
        self.id.split('-').next() == Some(&short(instance))
    }

    /// Where the file is, or is to be.
    pub(super) fn path(&self, name: &OsStr) -> PathBuf {
        self.dir.join(name)
    }

    /// The file in it, if it is still there.
    pub(super) fn file(&self) -> io::Result<Option<OsString>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            // Somebody has tidied up.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        for entry in entries {
            let name = entry?.file_name();
            if super::settle::is_description(&name) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// The ledger; `None`: there is none yet, or none that can be read.
    pub(super) fn ledger(&self) -> io::Result<Option<Ledger>> {
        let file = match files::open(&self.dir.join(LEDGER)) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        // It only saves work and words: what is damaged is made again.
        Ok(serde_json::from_slice(&files::read(&file, MAX_LEDGER)?).ok())
    }

    /// Writes the ledger.
    pub(super) fn write(&self, ledger: &Ledger) -> io::Result<()> {
        files::replace(&self.dir, OsStr::new(LEDGER), &serde_json::to_vec(ledger).map_err(io::Error::other)?)
    }

    /// Has the ledger's content written to the disk; the next fsync there makes it durable with its name.
    pub(super) fn write_out(&self) {
        if let Ok(file) = files::open(&self.dir.join(LEDGER)) {
            files::write_out(&file);
        }
    }

    /// Ends the claim. Never removes a description.
    pub(super) fn close(&self) -> io::Result<()> {
        if self.file()?.is_some() {
            return Ok(());
        }
        match fs::remove_dir_all(&self.dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

fn short(instance: &str) -> String {
    instance.chars().filter(char::is_ascii_alphanumeric).take(8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_found_again_with_its_file_and_its_ledger() {
        let own = tempfile::tempdir().expect("dir");
        let claim = Claim::new(own.path(), "3f2a91c0-77aa").expect("claim");
        fs::write(claim.path(OsStr::new("a.xrsl")), "x").expect("write");
        let ledger = Ledger { name: "a.xrsl".into(), dev_ino: (1, 2), ..Ledger::default() };
        claim.write(&ledger).expect("ledger");
        let later = Claim::new(own.path(), "3f2a91c0-77aa").expect("claim");
        assert_eq!(Claim::all(own.path()).expect("all"), [claim.clone(), later]);
        assert_eq!(claim.file().expect("file").as_deref(), Some(OsStr::new("a.xrsl")));
        assert_eq!(claim.ledger().expect("ledger"), Some(ledger));
        assert!(claim.is_of("3f2a91c0-77aa") && !claim.is_of("4f2a91c0-77aa"));
        claim.close().expect("close");
        assert!(claim.path(OsStr::new("a.xrsl")).exists(), "a description is never removed");
        fs::remove_file(claim.path(OsStr::new("a.xrsl"))).expect("remove");
        claim.close().expect("close");
        assert_eq!(Claim::all(own.path()).expect("all").len(), 1);
    }

    #[test]
    fn two_daemons_do_not_watch_one_directory() {
        let own = tempfile::tempdir().expect("dir");
        let first = lock(own.path(), "one").expect("lock").expect("free");
        let holder = lock(own.path(), "two").expect("lock").expect_err("taken");
        assert!(holder.contains("state directory one"), "{holder}");
        drop(first);
        assert!(lock(own.path(), "two").expect("lock").is_ok());
    }
}
