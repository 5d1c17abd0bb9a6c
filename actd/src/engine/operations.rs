//! Operations: calls that go on after they are answered, and what has come of them so far.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use act_proto::error::{ApiError, Kind};
use act_proto::jobs::{Operation, OperationItem, Progress};
use tokio::sync::watch;

use super::board::Board;
use crate::job::Key;

/// Ended operations are remembered until so many younger ones have ended.
const REMEMBERED: usize = 100;

/// All operations.
#[derive(Debug, Clone)]
pub struct Operations {
    all: Arc<Mutex<BTreeMap<u64, State>>>,
    news: watch::Sender<()>,
    board: Board,
}

#[derive(Debug, Default)]
struct State {
    total: u64,
    pending: BTreeSet<Key>,
    items: Vec<OperationItem>,
}

impl Operations {
    pub(crate) fn new(board: Board) -> Self {
        Self { all: Arc::default(), news: watch::Sender::new(()), board }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, State>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one; its number is above all before it, also those of an earlier run of the daemon (`least`).
    pub(crate) fn begin(&self, least: u64, keys: &[Key]) -> u64 {
        let mut all = self.lock();
        let number = all.last_key_value().map_or(0, |(n, _)| *n).max(least) + 1;
        all.insert(
            number,
            State { total: keys.len() as u64, pending: keys.iter().copied().collect(), items: Vec::new() },
        );
        let ended: Vec<u64> = all.iter().filter(|(_, s)| s.pending.is_empty()).map(|(n, _)| *n).collect();
        for number in ended.iter().take(ended.len().saturating_sub(REMEMBERED)) {
            all.remove(number);
        }
        number
    }

    /// Takes up one that a daemon before this one began.
    pub(crate) fn resume(&self, number: u64, key: Key) {
        let mut all = self.lock();
        let state = all.entry(number).or_default();
        if state.pending.insert(key) {
            state.total += 1;
        }
    }

    /// One of its jobs is done with.
    pub(crate) fn item(&self, number: u64, key: Key, item: OperationItem) {
        if let Some(state) = self.lock().get_mut(&number)
            && state.pending.remove(&key)
        {
            state.items.push(item);
        }
        self.news.send_replace(());
    }

    /// The jobs that it still waits for.
    pub(crate) fn pending(&self, number: u64) -> Option<Vec<Key>> {
        self.lock().get(&number).map(|s| s.pending.iter().copied().collect())
    }

    /// See `EngineHandle::operation`.
    pub(crate) async fn get(&self, number: u64, seen: usize, timeout: Duration) -> Result<Operation, ApiError> {
        let mut news = self.news.subscribe();
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            let operation = self.look(number, seen)?;
            if operation.done || !operation.items.is_empty() {
                return Ok(operation);
            }
            tokio::select! {
                changed = news.changed() => if changed.is_err() { return Ok(operation) },
                () = tokio::time::sleep_until(deadline) => return Ok(operation),
            }
        }
    }

    fn look(&self, number: u64, seen: usize) -> Result<Operation, ApiError> {
        let all = self.lock();
        let state = all.get(&number).ok_or_else(|| {
            ApiError::new(Kind::NoSuchOperation, format!("there is no operation o{number}"))
                .hint("operations that ended long ago are forgotten; `actctl stat` shows the jobs")
        })?;
        let jobs = self.board.read();
        let progress =
            state.pending.iter().filter_map(|k| jobs.progress.get(k)).fold(Progress::default(), |sum, (_, p)| {
                Progress { bytes: sum.bytes + p.bytes, total: sum.total + p.total, files: sum.files + p.files }
            });
        Ok(Operation {
            operation: format!("o{number}"),
            done: state.pending.is_empty(),
            total: state.total,
            items: state.items.iter().skip(seen).cloned().collect(),
            progress,
        })
    }
}
