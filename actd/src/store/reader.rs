//! Reading the job cache while its one writer goes on: history, descriptions, events. A record that cannot be read is left
//! out and logged.

use std::ops::Bound;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::record::{self, EventRecord};
use super::{ClosedKeys, Failed, key1, number, read};
use crate::job::{Job, Key, Spec};

/// Keys of closed jobs that are looked up at a time.
pub(super) const KEYS: usize = 1_000;

/// The job cache, for readers: history, specs, events. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(super) tree: sled::Tree,
    pub(super) closed: ClosedKeys,
    pub(super) failed: Failed,
}

impl Reader {
    /// Closed jobs, newest first, at most `limit` for which `keep` holds. Records that cannot be read are left out and
    /// logged.
    #[must_use]
    pub fn history(&self, limit: usize, keep: &mut dyn FnMut(&Job) -> bool) -> Vec<Job> {
        let keys: Vec<u64> = {
            let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
            closed.iter().rev().copied().collect()
        };
        keys.into_iter().filter_map(|key| self.closed(Key(key))).filter(|job| keep(job)).take(limit).collect()
    }

    /// Closed jobs after a key, oldest first, at most `limit` for which `keep` holds: no more of them are read than that takes.
    #[must_use]
    pub fn history_after(&self, after: Key, limit: usize, keep: &mut dyn FnMut(&Job) -> bool) -> Vec<Job> {
        let mut jobs = Vec::new();
        let mut last = after.0;
        while jobs.len() < limit {
            let above = (Bound::Excluded(last), Bound::Unbounded);
            let keys: Vec<u64> = {
                let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
                closed.range(above).take(limit.min(KEYS)).copied().collect()
            };
            let Some(newest) = keys.last() else { break };
            last = *newest;
            let read = keys.into_iter().filter_map(|key| self.closed(Key(key))).filter(|job| keep(job));
            jobs.extend(read.take(limit - jobs.len()));
        }
        jobs
    }

    /// A closed job.
    #[must_use]
    pub fn closed(&self, key: Key) -> Option<Job> {
        self.one(&key1(b'c', key.0))
    }

    /// What a job was submitted with.
    #[must_use]
    pub fn spec(&self, key: Key) -> Option<Spec> {
        self.one(&key1(b's', key.0))
    }

    /// The file that a job came from, as the user named it: of its spec no more is read than that.
    #[must_use]
    pub fn source(&self, key: Key) -> Option<String> {
        let value = self.tree.get(key1(b's', key.0)).ok()??;
        record::source(&value)
    }

    /// The server's columns of a job whose row is gone, as they were last.
    #[must_use]
    pub fn columns(&self, key: Key) -> Option<serde_json::Map<String, serde_json::Value>> {
        serde_json::from_slice(&self.tree.get(key1(b'd', key.0)).ok()??).ok()
    }

    /// The job that was submitted under this reference. None is known any more once a commit has failed: who asks relies on
    /// the answer, and sled shows the job whether it came to the disk or not.
    #[must_use]
    pub fn by_client_ref(&self, client_ref: &str) -> Option<Key> {
        if self.failed.load(Ordering::SeqCst) {
            return None;
        }
        let value = self.tree.get([b"r", client_ref.as_bytes()].concat()).ok()??;
        Some(Key(number(&value)))
    }

    /// Events after `since`, oldest first, and whether some after it are no longer there.
    #[must_use]
    pub fn events(&self, since: u64, limit: usize) -> (Vec<(u64, EventRecord)>, bool) {
        let first = since.saturating_add(1);
        let read = |seq: u64| {
            let key = key1(b'e', seq);
            Some((sled::IVec::from(&key), self.tree.get(key).ok()??))
        };
        let mut next = first;
        if read(next).is_none() {
            // Only at their beginning have the numbers a hole: the old ones are forgotten.
            let kept = self.tree.range(key1(b'e', next).as_slice()..b"f".as_slice()).keys().find_map(Result::ok);
            next = kept.map_or(next, |key| number(&key));
        }
        // One by one: a scan that meets a writer may step over some.
        let mut events = Vec::new();
        while events.len() < limit
            && let Some(record) = read(next)
        {
            events.extend(readable(record).map(|event| (next, event)));
            next += 1;
        }
        let gap = events.first().is_some_and(|(seq, _)| *seq > first);
        (events, gap)
    }

    /// The events about a job, oldest first.
    #[must_use]
    pub fn events_of(&self, key: Key) -> Vec<(u64, EventRecord)> {
        let mut prefix = key1(b'l', key.0);
        prefix[0] = b'l';
        self.tree
            .scan_prefix(prefix)
            .filter_map(|item| {
                let seq = number(&item.ok()?.0);
                Some((seq, self.one(&key1(b'e', seq))?))
            })
            .collect()
    }

    fn one<T: serde::de::DeserializeOwned>(&self, key: &[u8]) -> Option<T> {
        let value = self.tree.get(key).ok()??;
        readable((key.into(), value))
    }
}

fn readable<T: serde::de::DeserializeOwned>((key, value): (sled::IVec, sled::IVec)) -> Option<T> {
    match read(&key, &value) {
        Ok(value) => Some(value),
        Err(e) => {
            tracing::warn!(error = %e, "left out");
            None
        }
    }
}
