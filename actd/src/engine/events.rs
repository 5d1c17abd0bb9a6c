//! What happened, numbered: written with the change it tells of, then told to whoever listens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use act_proto::events::{Event, JobState};
use tokio::sync::broadcast;

use crate::engine::convert::wire_phase;
use crate::job::{Job, Key};
use crate::store::Reader;
use crate::store::record::{Brief, EventRecord};

/// How many events a slow listener may be behind before it has to read them from the store.
const BUFFER: usize = 4_096;

/// The events of this state directory.
#[derive(Debug, Clone)]
pub struct EventLog {
    last: Arc<AtomicU64>,
    live: broadcast::Sender<Arc<Event>>,
    reader: Reader,
}

impl EventLog {
    pub(crate) fn new(last: u64, reader: Reader) -> Self {
        Self { last: Arc::new(AtomicU64::new(last)), live: broadcast::Sender::new(BUFFER), reader }
    }

    /// Tells of an event that is on disk.
    pub(crate) fn publish(&self, seq: u64, record: EventRecord) {
        self.last.store(seq, Ordering::Release);
        // Nobody listening is no error.
        let _ = self.live.send(Arc::new(wire(seq, record)));
    }

    /// Number of the newest event.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// Events after `since`, and whether some of them are no longer kept.
    #[must_use]
    pub fn after(&self, since: u64, limit: usize) -> (Vec<Event>, bool) {
        let (records, gap) = self.reader.events(since, limit);
        let last = self.last();
        // What is written but not told yet is left for the next call.
        (records.into_iter().filter(|(seq, _)| *seq <= last).map(|(seq, r)| wire(seq, r)).collect(), gap)
    }

    /// The events of one job, oldest first.
    #[must_use]
    pub fn of_job(&self, key: Key) -> Vec<Event> {
        self.reader.events_of(key).into_iter().map(|(seq, r)| wire(seq, r)).collect()
    }

    /// New events as they come.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.live.subscribe()
    }
}

/// What an event says of a job.
pub(crate) fn brief(job: &Job) -> Brief {
    Brief {
        id: job.id(),
        name: job.name.as_deref().map(str::to_owned),
        phase: wire_phase(&job.phase),
        arcstate: job.arcstate().word().map(str::to_owned),
        state: job.seen.as_ref().map(|s| s.state.to_string()).filter(|s| !s.is_empty()),
        batch: job.batch.as_deref().map(str::to_owned),
    }
}

fn wire(seq: u64, record: EventRecord) -> Event {
    let state = |b: Brief| JobState {
        id: b.id,
        name: b.name,
        phase: b.phase,
        arcstate: b.arcstate,
        state: b.state,
        batch: b.batch,
    };
    Event {
        seq,
        at: record.at.rfc3339(),
        kind: record.kind,
        key: record.key.map(|k| k.to_string()),
        before: record.before.map(state),
        after: record.after.map(state),
        text: record.text,
        progress: None,
    }
}
