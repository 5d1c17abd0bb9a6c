//! One fsync of a directory for all who have changed it at about the same time.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use super::fsync_dir;

/// Directories that are being made durable.
#[derive(Debug, Default)]
pub struct Together {
    dirs: Mutex<HashMap<PathBuf, Waiting>>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    is_running: bool,
    /// Who came after the one under way began.
    next: Option<Arc<Round>>,
}

/// How it ended for everybody who took part: the kind of the error and what it says.
type Round = OnceLock<Result<(), (io::ErrorKind, String)>>;

impl Together {
    /// Makes what has been done in `dir` before this call durable. Blocks.
    ///
    /// # Errors
    /// That of the fsync, for all that it was made for.
    pub fn fsync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut dirs = self.dirs.lock().unwrap_or_else(PoisonError::into_inner);
        let round = dirs.entry(dir.to_owned()).or_default().next.get_or_insert_default().clone();
        loop {
            if let Some(ended) = round.get() {
                return ended.clone().map_err(|(kind, why)| io::Error::new(kind, why));
            }
            match dirs.get_mut(dir) {
                Some(waiting) if !waiting.is_running => {
                    waiting.is_running = true;
                    waiting.next = None;
                    break;
                }
                _ => dirs = self.ended.wait(dirs).unwrap_or_else(PoisonError::into_inner),
            }
        }
        drop(dirs);
        let result = fsync_dir(dir);
        let told = result.as_ref().copied().map_err(|e| (e.kind(), e.to_string()));
        let mut dirs = self.dirs.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody else sets it: the round was ours.
        let _ = round.set(told);
        if let Some(waiting) = dirs.get_mut(dir) {
            waiting.is_running = false;
            if waiting.next.is_none() {
                dirs.remove(dir);
            }
        }
        drop(dirs);
        self.ended.notify_all();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_gets_an_answer() {
        let dir = tempfile::tempdir().expect("a directory");
        let together = Together::default();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (together, dir) = (&together, dir.path());
                scope.spawn(move || {
                    for n in 0..50 {
                        let made = dir.join(format!("{thread}-{n}"));
                        std::fs::create_dir(&made).expect("made");
                        together.fsync_dir(dir).expect("durable");
                        let none = together.fsync_dir(&made.join("none")).expect_err("there is no such directory");
                        assert_eq!(none.kind(), io::ErrorKind::NotFound);
                    }
                });
            }
        });
        assert!(together.dirs.lock().expect("whole").is_empty(), "nothing is left behind");
    }
}
