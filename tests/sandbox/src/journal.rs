//! What was asked of the REST server, request by request, so that a test can assert what was sent and what was
//! never sent. Keeps no token: of an Authorization header only that there was one.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, Method, Uri, header::AUTHORIZATION};
use serde::Serialize;

/// Older entries are dropped beyond this many.
const CAPACITY: usize = 200_000;

/// One request.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Number of the request, from 1.
    pub seq: u64,
    /// Milliseconds since 1970 when its head had arrived.
    pub time: u64,
    /// Number of the connection it came on.
    pub connection: u64,
    /// Method as sent.
    pub method: String,
    /// Path as sent, still percent-encoded.
    pub path: String,
    /// Query as sent, without `?`.
    pub query: String,
    /// All headers in order, less the value of Authorization.
    pub headers: Vec<(String, String)>,
    /// Whether there was an Authorization header.
    pub authorization: bool,
    /// The `proxyid` of the token, once it was accepted.
    pub proxyid: Option<i64>,
    /// Bytes of the body that arrived.
    pub body_len: u64,
    /// A JSON body's text, up to 16 KiB.
    pub body: Option<String>,
    /// Whether the request was carried out.
    pub executed: bool,
    /// Status of the answer; absent while there is none, or when it was withheld.
    pub status: Option<u16>,
    /// Milliseconds from the head to the answer.
    pub millis: Option<u64>,
    /// Kind of the fault that was applied.
    pub fault: Option<&'static str>,
}

/// Something a well-behaved client must not do, though the real server accepts it.
#[derive(Debug, Clone, Serialize)]
pub struct Violation {
    /// The request in the journal.
    pub seq: u64,
    /// Stable short word, such as `proxy-key`.
    pub kind: &'static str,
    /// What was wrong.
    pub detail: String,
}

/// The list of requests.
#[derive(Debug, Default)]
pub(crate) struct Journal(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    entries: VecDeque<Entry>,
    violations: Vec<Violation>,
}

impl Journal {
    /// A new request; returns its number.
    pub(crate) fn begin(&self, connection: u64, method: &Method, uri: &Uri, headers: &HeaderMap) -> u64 {
        let shown = headers.iter().filter(|(name, _)| **name != AUTHORIZATION);
        let shown =
            shown.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut entry = Entry {
            seq: 0,
            time: u64::try_from(time).unwrap_or(u64::MAX),
            connection,
            method: method.to_string(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            headers: shown.collect(),
            authorization: headers.contains_key(AUTHORIZATION),
            proxyid: None,
            body_len: 0,
            body: None,
            executed: false,
            status: None,
            millis: None,
            fault: None,
        };
        let mut inner = self.lock();
        inner.last += 1;
        entry.seq = inner.last;
        if inner.entries.len() == CAPACITY {
            inner.entries.pop_front();
        }
        inner.entries.push_back(entry);
        inner.last
    }

    /// Changes the entry `seq`, if it is still kept.
    pub(crate) fn note(&self, seq: u64, change: impl FnOnce(&mut Entry)) {
        let mut inner = self.lock();
        let Some(first) = inner.entries.front().map(|entry| entry.seq) else { return };
        let index = seq.checked_sub(first).and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| inner.entries.get_mut(index)) {
            change(entry);
        }
    }

    /// The answer to `seq` is about to be sent.
    pub(crate) fn answered(&self, seq: u64, status: u16, since: Instant) {
        self.note(seq, |entry| {
            entry.status = Some(status);
            entry.millis = Some(u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX));
        });
    }

    /// Records a breach of good manners.
    pub(crate) fn violation(&self, seq: u64, kind: &'static str, detail: String) {
        tracing::warn!(seq, kind, detail, "violation");
        self.lock().violations.push(Violation { seq, kind, detail });
    }

    /// Entries after `since` that `wanted` accepts.
    pub(crate) fn entries(&self, since: u64, wanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        self.lock().entries.iter().filter(|entry| entry.seq > since && wanted(entry)).cloned().collect()
    }

    /// All violations so far.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        self.lock().violations.clone()
    }

    /// Forgets entries and violations; numbers go on.
    pub(crate) fn clear(&self) {
        let mut inner = self.lock();
        inner.entries.clear();
        inner.violations.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
