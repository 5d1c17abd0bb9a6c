//! Which shared files are on their WebDAV stores, as far as seen a moment ago, and whose turn it is to upload one: of many
//! jobs that need a file one uploads it, the others wait and find it there. Forgotten with the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OwnedMutexGuard;

/// So long a look at the store is believed: somebody else may delete files there.
const FRESH: Duration = Duration::from_secs(30);

/// When the table is so long, entries that say nothing any more are dropped.
const LONG: usize = 1_024;

/// Whose turn it is with a file, and when it was last seen complete.
type Turn = Arc<tokio::sync::Mutex<Option<Instant>>>;

#[derive(Debug, Default)]
pub(super) struct Staged(Mutex<HashMap<String, Turn>>);

/// One's turn with a file.
pub(super) struct Place(OwnedMutexGuard<Option<Instant>>);

impl Staged {
    /// Waits for one's turn with the file at this URL.
    pub(super) async fn turn(&self, url: &str) -> Place {
        let turn = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= LONG {
                // Nobody waits for it, and what it says is old.
                all.retain(|_, turn| Arc::strong_count(turn) > 1 || turn.try_lock().is_ok_and(|at| is_fresh(*at)));
            }
            all.entry(url.to_owned()).or_default().clone()
        };
        Place(turn.lock_owned().await)
    }
}

fn is_fresh(at: Option<Instant>) -> bool {
    at.is_some_and(|at| at.elapsed() < FRESH)
}

impl Place {
    /// It was seen there, complete, a moment ago.
    pub(super) fn is_there(&self) -> bool {
        is_fresh(*self.0)
    }

    /// It is there, complete.
    pub(super) fn seen(&mut self) {
        *self.0 = Some(Instant::now());
    }
}
