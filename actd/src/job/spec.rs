//! The cold part of a job: what is needed to submit it, fixed at intake and read only when asked for.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a job was submitted with. Never changes after intake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The description to send: the user's own text but for the edits that it needed (one job of several, a listed
    /// executable). WebDAV sources are put in when the id is known.
    pub text: String,
    /// The clusters, as the user or the config names them.
    pub clusters: Vec<String>,
    /// The local inputs.
    pub inputs: Vec<InputFile>,
    /// Base URL of the WebDAV store it is staged through, without a slash at its end.
    pub webdav: Option<String>,
    /// The directory in which the results' directory is made.
    pub results: PathBuf,
    /// The file it came from, as the user named it.
    pub source: Option<String>,
    /// The directory that relative paths are relative to.
    pub base_dir: PathBuf,
    /// Files below the WebDAV base that it shares with other jobs, one for each input; empty: its inputs go into a
    /// directory of their own. Kept apart on disk, since it is the engine that knows.
    #[serde(skip)]
    pub staged: Vec<std::sync::Arc<str>>,
}

/// A local input as it was at intake. If it is another file when it is uploaded, the submission fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Its name in the job's session directory.
    pub name: String,
    /// The file, absolute.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its time of change, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Its device and inode.
    pub dev_ino: (u64, u64),
}

impl InputFile {
    /// Records the file as it is now.
    ///
    /// # Errors
    /// It is missing, unreadable or no regular file.
    pub fn stat(name: String, path: PathBuf) -> std::io::Result<Self> {
        let meta = std::fs::metadata(&path)?;
        if !meta.is_file() {
            return Err(std::io::Error::other("is not a file"));
        }
        let (size, mtime_ns, dev_ino) = Self::stamp(&meta);
        Ok(Self { name, path, size, mtime_ns, dev_ino })
    }

    /// Whether the file that `meta` describes is still the one recorded. The number of its device says nothing: network file
    /// systems get another one each time that they are mounted.
    #[must_use]
    pub fn is_same(&self, meta: &std::fs::Metadata) -> bool {
        let (size, mtime_ns, (_, inode)) = Self::stamp(meta);
        (self.size, self.mtime_ns, self.dev_ino.1) == (size, mtime_ns, inode)
    }

    fn stamp(meta: &std::fs::Metadata) -> (u64, i64, (u64, u64)) {
        use std::os::unix::fs::MetadataExt;
        let mtime = meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec());
        (meta.len(), mtime, (meta.dev(), meta.ino()))
    }
}
