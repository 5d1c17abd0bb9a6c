//! What is forgotten after its time: closed jobs with all that belongs to them, and old events. Nothing live.

use crate::job::{Job, Phase, Time};

use super::record::EventRecord;
use super::{Batch, Store, StoreError, key1, number, read};

/// How many removals are made durable at a time.
const CHUNK: usize = 10_000;

/// How long things are kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Closed jobs that were closed before this are forgotten.
    pub closed_before: Time,
    /// Events from before this are forgotten,
    pub events_before: Time,
    /// and the oldest of more than so many.
    pub most_events: u64,
}

impl Store {
    /// Forgets what has had its time. Returns how many closed jobs and events that were.
    ///
    /// # Errors
    /// The cache cannot be read or written.
    pub fn prune(&self, keep: &Retention) -> Result<(u64, u64), StoreError> {
        let jobs = self.prune_jobs(keep)?;
        let events = self.prune_events(keep)?;
        Ok((jobs, events))
    }

    fn prune_jobs(&self, keep: &Retention) -> Result<u64, StoreError> {
        let mut batch = Batch::default();
        let mut forgotten = std::collections::HashSet::new();
        for item in self.tree.scan_prefix(b"c") {
            let (key, value) = item.map_err(|e| self.sled_error(&e))?;
            let job: Job = read(&key, &value)?;
            if !matches!(job.phase, Phase::Closed { at, .. } if at < keep.closed_before) {
                continue;
            }
            forgotten.insert(job.key.0);
            batch.forget_closed(job.key.0);
            batch.remove(&key1(b's', job.key.0));
            batch.remove(&key1(b'd', job.key.0));
            for entry in self.tree.scan_prefix(key1(b'l', job.key.0)).keys() {
                batch.remove(&entry.map_err(|e| self.sled_error(&e))?);
            }
            if batch.changes >= CHUNK {
                self.commit(std::mem::take(&mut batch))?;
            }
        }
        if !forgotten.is_empty() {
            for item in self.tree.scan_prefix(b"r") {
                let (key, value) = item.map_err(|e| self.sled_error(&e))?;
                if forgotten.contains(&number(&value)) {
                    batch.remove(&key);
                }
            }
        }
        self.commit(batch)?;
        Ok(forgotten.len() as u64)
    }

    fn prune_events(&self, keep: &Retention) -> Result<u64, StoreError> {
        let newest = self.tree.scan_prefix(b"e").next_back().transpose().map_err(|e| self.sled_error(&e))?;
        let newest = newest.map_or(0, |(key, _)| number(&key));
        let least = newest.saturating_sub(keep.most_events);
        let mut batch = Batch::default();
        let mut forgotten = 0;
        for item in self.tree.scan_prefix(b"e") {
            let (key, value) = item.map_err(|e| self.sled_error(&e))?;
            let event: EventRecord = read(&key, &value)?;
            // Numbers and times grow together. The newest stays, however old: the next start counts on from it.
            if number(&key) >= newest || (number(&key) > least && event.at >= keep.events_before) {
                break;
            }
            batch.remove(&key);
            if let Some(job) = event.key {
                batch.remove(&super::key2(b'l', job.0, number(&key)));
            }
            forgotten += 1;
            if batch.changes >= CHUNK {
                self.commit(std::mem::take(&mut batch))?;
            }
        }
        self.commit(batch)?;
        Ok(forgotten)
    }
}
