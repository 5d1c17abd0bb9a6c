//! Faults on demand: what to break, where, how often. This file decides only which fault applies to a request;
//! carrying it out is the REST server's work.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};

/// What goes wrong with a matching request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Kind {
    /// Wait, then carry the request out and answer as usual.
    Delay {
        /// Milliseconds.
        ms: u64,
        /// Carry the request out first, so that the answer is an old one.
        #[serde(default)]
        execute: bool,
    },
    /// Never answer; the connection stays open until the client leaves.
    Stall {
        /// Carry the request out first.
        #[serde(default)]
        execute: bool,
    },
    /// Reset the connection instead of answering.
    Reset {
        /// Carry the request out first, so that only the answer is lost.
        #[serde(default)]
        execute: bool,
        /// Take this many bytes of the body, carry out what came, then reset: a transfer cut in the middle.
        #[serde(default)]
        after_bytes: Option<u64>,
    },
    /// Answer with this status instead.
    Status {
        /// HTTP status.
        status: u16,
        /// Body is the framework's HTML page instead of `{"msg":...}`.
        #[serde(default)]
        html: bool,
        /// Value of `msg` in the JSON body.
        #[serde(default)]
        msg: Option<String>,
        /// `Retry-After` in seconds.
        #[serde(default)]
        retry_after: Option<u64>,
        /// Carry the request out first.
        #[serde(default)]
        execute: bool,
    },
    /// Answer with exactly this.
    Body {
        /// HTTP status.
        #[serde(default = "ok")]
        status: u16,
        /// `Content-Type`.
        #[serde(default = "json")]
        content_type: String,
        /// The body's text.
        body: String,
        /// Carry the request out first.
        #[serde(default)]
        execute: bool,
    },
    /// The right answer, of which only the first bytes are sent.
    Truncate {
        /// Bytes of the body that are sent.
        bytes: u64,
        /// After them keep the connection open and silent, instead of closing it.
        #[serde(default)]
        stall: bool,
    },
    /// The right answer with a wrong `Content-Length`.
    WrongLength {
        /// Added to the right length.
        delta: i64,
    },
    /// The client gets nothing; the request is carried out later.
    Late {
        /// Milliseconds from the end of the connection to the execution.
        ms: u64,
        /// Reset the connection at once, instead of waiting until the client gives up.
        #[serde(default)]
        reset: bool,
    },
    /// The right answer to a listing of results, with more names in it.
    Listing {
        /// Names added to `file`.
        #[serde(default)]
        file: Vec<String>,
        /// Names added to `dir`.
        #[serde(default)]
        dir: Vec<String>,
    },
    /// An answer that says it is compressed.
    Encoded {
        /// `Content-Encoding`.
        coding: String,
        /// The body, in base64, this many times over.
        body: String,
        /// How often the body comes.
        #[serde(default = "once")]
        times: usize,
    },
    /// A body that never ends.
    Endless {
        /// Claimed `Content-Length`; without it the body is chunked.
        #[serde(default)]
        content_length: Option<u64>,
        /// `Content-Type`.
        #[serde(default = "json")]
        content_type: String,
    },
}

fn ok() -> u16 {
    200
}

fn once() -> usize {
    1
}

fn json() -> String {
    "application/json".to_owned()
}

impl Kind {
    /// The word used for it in JSON and in the journal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delay { .. } => "delay",
            Self::Stall { .. } => "stall",
            Self::Reset { .. } => "reset",
            Self::Status { .. } => "status",
            Self::Body { .. } => "body",
            Self::Truncate { .. } => "truncate",
            Self::WrongLength { .. } => "wrong_length",
            Self::Late { .. } => "late",
            Self::Listing { .. } => "listing",
            Self::Encoded { .. } => "encoded",
            Self::Endless { .. } => "endless",
        }
    }
}

/// A fault with the requests it applies to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Given by the server; ignored when sent.
    #[serde(default)]
    pub id: u64,
    /// Only this method; any if absent.
    #[serde(default)]
    pub method: Option<String>,
    /// Path as sent, without the query; `*` stands for any text. Any if absent.
    #[serde(default)]
    pub path: Option<String>,
    /// Text that the query must contain, as sent.
    #[serde(default)]
    pub query: Option<String>,
    /// Let this many matching requests pass first.
    #[serde(default)]
    pub skip: u64,
    /// Apply to this many requests; without it, for ever.
    #[serde(default)]
    pub count: Option<u64>,
    /// Apply to each so-many-th matching request only, beginning with the first.
    #[serde(default)]
    pub every: Option<u64>,
    /// What goes wrong.
    pub fault: Kind,
    /// How often it was applied.
    #[serde(default)]
    pub applied: u64,
    /// How many matching requests came since the skipped ones.
    #[serde(default)]
    pub seen: u64,
}

impl Fault {
    fn matches(&self, method: &str, path: &str, query: &str) -> bool {
        self.count != Some(0)
            && self.method.as_ref().is_none_or(|wanted| wanted == method)
            && self.path.as_ref().is_none_or(|pattern| glob(pattern, path))
            && self.query.as_ref().is_none_or(|wanted| query.contains(wanted.as_str()))
    }
}

/// `*` stands for any text, also with slashes; everything else is itself.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    true
}

/// The faults in force, in the order given.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    list: Mutex<Vec<Fault>>,
    last: AtomicU64,
}

impl Faults {
    /// Adds a fault and returns its id.
    pub(crate) fn add(&self, mut fault: Fault) -> u64 {
        fault.id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        fault.applied = 0;
        let id = fault.id;
        self.lock().push(fault);
        id
    }

    /// Removes one fault, or all.
    pub(crate) fn remove(&self, id: Option<u64>) {
        self.lock().retain(|fault| id.is_some_and(|id| fault.id != id));
    }

    /// All faults, the used-up ones too.
    pub(crate) fn list(&self) -> Vec<Fault> {
        self.lock().clone()
    }

    /// The first fault that applies to this request; counts it.
    pub(crate) fn take(&self, method: &str, path: &str, query: &str) -> Option<Kind> {
        for fault in self.lock().iter_mut().filter(|fault| fault.matches(method, path, query)) {
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            fault.seen += 1;
            if fault.every.is_some_and(|every| every > 1 && fault.seen % every != 1) {
                continue;
            }
            if let Some(count) = &mut fault.count {
                *count -= 1;
            }
            fault.applied += 1;
            return Some(fault.fault.clone());
        }
        None
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_paths() {
        for (pattern, path, want) in [
            ("/jobs", "/jobs", true),
            ("/jobs", "/jobs/1", false),
            ("/jobs/*/results/*", "/jobs/12/results/a/b", true),
            ("/jobs/*/results/", "/jobs/12/results/a", false),
            ("*", "/x", true),
            ("/jobs/*/data/*.txt", "/jobs/1/data/x.txt", true),
            ("/jobs/*/data/*.txt", "/jobs/1/data/x.bin", false),
        ] {
            assert_eq!(glob(pattern, path), want, "{pattern} {path}");
        }
    }

    #[test]
    fn faults_are_counted_and_used_up() {
        let faults = Faults::default();
        let fault: Fault = serde_json::from_str(
            r#"{"method":"POST","path":"/jobs","skip":1,"count":2,"fault":{"kind":"reset","execute":true}}"#,
        )
        .unwrap();
        faults.add(fault);
        let take = || faults.take("POST", "/jobs", "").map(|kind| kind.name());
        assert_eq!([take(), take(), take(), take()], [None, Some("reset"), Some("reset"), None]);
        assert_eq!(faults.take("GET", "/jobs", "").map(|kind| kind.name()), None);
        assert_eq!(faults.list()[0].applied, 2);
    }

    #[test]
    fn every_third_request() {
        let faults = Faults::default();
        faults.add(serde_json::from_str(r#"{"every":3,"fault":{"kind":"reset"}}"#).unwrap());
        let hit: Vec<bool> = (0..7).map(|_| faults.take("GET", "/", "").is_some()).collect();
        assert_eq!(hit, [true, false, false, true, false, false, true]);
    }
}
