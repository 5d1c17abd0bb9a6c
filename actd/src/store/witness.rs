//! A witness of what was committed, beside sled's file. sled takes a damaged log for one that ends there: it opens without a
//! word, and with less, or with nothing. So the number of the last commit is kept in a file of its own, too, and a cache
//! that knows fewer is refused.
//!
//! The file is written after a commit has become durable, and not synced: it may lag behind the cache, never the other way
//! round.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

const NAME: &str = "jobs.last";

/// What the witness says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Number of the last commit.
    pub(super) commit: u64,
    /// The next key to give, as far as any commit said.
    pub(super) next_key: u64,
}

#[derive(Debug)]
pub(super) struct Witness {
    file: File,
    next_key: AtomicU64,
}

impl Witness {
    /// Opens it, or makes one that has seen nothing; what it says.
    pub(super) fn open(state: &Path) -> io::Result<(Self, Said)> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(state.join(NAME))?;
        let mut bytes = [0; 24];
        let whole = file.read_exact_at(&mut bytes, 0).is_ok();
        let number = |at: usize| bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes);
        let (commit, next_key, check) = (number(0), number(8), number(16));
        // One that is torn or damaged itself says nothing.
        let said = if whole && check == commit ^ next_key ^ SALT { Said { commit, next_key } } else { Said::default() };
        Ok((Self { file, next_key: AtomicU64::new(said.next_key) }, said))
    }

    /// This commit is durable.
    pub(super) fn note(&self, commit: u64, next_key: u64) -> io::Result<()> {
        let next_key = self.next_key.fetch_max(next_key, Ordering::Relaxed).max(next_key);
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&commit.to_be_bytes());
        bytes[8..16].copy_from_slice(&next_key.to_be_bytes());
        bytes[16..].copy_from_slice(&(commit ^ next_key ^ SALT).to_be_bytes());
        self.file.write_all_at(&bytes, 0)
    }
}

/// So that a file of zeros is none of ours.
const SALT: u64 = 0x6163_7464_6a6f_6273;
