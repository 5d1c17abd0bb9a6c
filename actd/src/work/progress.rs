//! How far transfers are, told often enough for people and seldom enough for machines. It decides nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use act_proto::jobs::Progress;

use crate::job::Key;

/// Shortest time between two reports of one transfer.
const EVERY: Duration = Duration::from_millis(250);

/// What a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferKind {
    /// Inputs to the server or to WebDAV.
    Upload,
    /// Results from the server.
    Download,
    /// Results to where the user wants them.
    Deliver,
}

type Report = dyn Fn(Key, Option<(TransferKind, Progress)>) + Send + Sync;

/// Where transfers tell how far they are; nothing for a job means that its transfer has ended.
#[derive(Clone)]
pub struct ProgressSink(Arc<Report>);

impl std::fmt::Debug for ProgressSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProgressSink")
    }
}

impl ProgressSink {
    /// `report` is called a few times a second and must not block.
    pub fn new(report: impl Fn(Key, Option<(TransferKind, Progress)>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }

    /// For work whose progress nobody watches.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|_, _| ())
    }

    pub(super) fn meter(&self, key: Key, kind: TransferKind) -> Arc<Meter> {
        let state = State { progress: Progress::default(), reported: None };
        Arc::new(Meter { sink: self.clone(), key, kind, state: Mutex::new(state) })
    }
}

#[derive(Debug)]
struct State {
    progress: Progress,
    reported: Option<Instant>,
}

/// Counts one transfer. When it is dropped, the transfer has ended.
#[derive(Debug)]
pub(super) struct Meter {
    sink: ProgressSink,
    key: Key,
    kind: TransferKind,
    state: Mutex<State>,
}

impl Meter {
    /// Changes the counts, and reports them if the last report is old enough.
    pub(super) fn update(&self, change: impl FnOnce(&mut Progress)) {
        let report = {
            // Plain counters: valid after any panic.
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut state.progress);
            let now = Instant::now();
            let due = state.reported.is_none_or(|at| now.duration_since(at) >= EVERY);
            if due {
                state.reported = Some(now);
            }
            due.then_some(state.progress)
        };
        if let Some(progress) = report {
            (self.sink.0)(self.key, Some((self.kind, progress)));
        }
    }

    /// The counts so far.
    #[cfg(test)]
    pub(super) fn now(&self) -> Progress {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).progress
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        (self.sink.0)(self.key, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_coalesced_and_end() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = {
            let seen = seen.clone();
            ProgressSink::new(move |key, what| seen.lock().expect("lock").push((key, what.map(|w| w.1.bytes))))
        };
        let meter = sink.meter(Key(3), TransferKind::Download);
        let start = Instant::now();
        for _ in 0..1_000 {
            meter.update(|p| p.bytes += 1);
        }
        let most = 3 + start.elapsed().as_millis() / EVERY.as_millis();
        assert_eq!(meter.now().bytes, 1_000);
        drop(meter);
        let seen = seen.lock().expect("lock");
        assert_eq!((seen.first(), seen.last()), (Some(&(Key(3), Some(1))), Some(&(Key(3), None))));
        assert!(seen.len() as u128 <= most, "{seen:?}");
    }
}
