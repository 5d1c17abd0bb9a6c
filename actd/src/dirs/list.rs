//! The list of directories that were added while the daemon ran, on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Settings, files};

const VERSION: u32 = 1;
const MAX: u64 = 4 << 20;

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct List {
    /// By path.
    pub(super) dirs: BTreeMap<PathBuf, Settings>,
    /// Which are paused; those of the config file, too.
    pub(super) paused: BTreeSet<PathBuf>,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    dirs: Vec<Settings>,
    paused: BTreeSet<PathBuf>,
}

impl List {
    /// Reads it. No file: nothing was added.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let file = match files::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(e),
        };
        let file: File = serde_json::from_slice(&files::read(&file, MAX)?)?;
        if file.version != VERSION {
            return Err(io::Error::other(format!("it is of version {}, this actd knows {VERSION}", file.version)));
        }
        let dirs = file.dirs.into_iter().map(|settings| (settings.path.clone(), settings)).collect();
        Ok(Self { dirs, paused: file.paused })
    }

    /// Writes it; durable when it returns.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let file = File { version: VERSION, dirs: self.dirs.values().cloned().collect(), paused: self.paused.clone() };
        crate::fsutil::write_atomic(path, &serde_json::to_vec_pretty(&file)?, 0o600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("dirs.json");
        assert_eq!(List::read(&path).expect("none"), List::default());
        let settings = Settings { path: "/in".into(), sweep_s: Some(5), ..Settings::default() };
        let list = List { dirs: BTreeMap::from([("/in".into(), settings)]), paused: BTreeSet::from(["/other".into()]) };
        list.write(&path).expect("write");
        assert_eq!(List::read(&path).expect("read"), list);
        std::fs::write(&path, "{\"version\":2,\"dirs\":[],\"paused\":[]}").expect("write");
        assert!(List::read(&path).expect_err("newer").to_string().contains("version 2"));
        std::fs::write(&path, "").expect("write");
        assert!(List::read(&path).is_err());
    }
}
