//! The directory of one test: removed when the test passes, kept and shown when it fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use tempfile::TempDir;

/// How much of a log is shown.
const TAIL: usize = 4_000;

/// A directory below `/tmp` (paths of sockets must be short).
pub struct Scratch {
    dir: Option<TempDir>,
}

impl Scratch {
    /// A new one.
    ///
    /// # Panics
    /// `/tmp` cannot be written.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("act-tests-").tempdir_in("/tmp").expect("a directory in /tmp");
        Self { dir: Some(dir) }
    }

    /// Its path.
    ///
    /// # Panics
    /// Never: the directory is there until the drop.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.as_ref().expect("held until the drop").path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Some(dir) = self.dir.take() else { return };
        if !thread::panicking() {
            return;
        }
        let path = dir.keep();
        eprintln!("\nkept for a look: {}", path.display());
        for log in logs(&path) {
            let text = fs::read(&log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text[text.len().saturating_sub(TAIL)..]).into_owned();
            if !text.trim().is_empty() {
                eprintln!("--- end of {}\n{}", log.display(), text.trim_end());
            }
        }
    }
}

/// Files that end in `.log`, at any depth.
fn logs(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else { return found };
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(logs(&path)),
            Ok(kind) if kind.is_file() && path.extension().is_some_and(|end| end == "log") => found.push(path),
            _ => {}
        }
    }
    found.sort();
    found
}
