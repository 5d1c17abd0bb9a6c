//! What stands before the WebDAV store and the CE: the journal of their requests, and the faults asked for by a test.
//!
//! It breaks what goes through it and writes down what went through. What a request means is for the servers behind it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::StatusCode;
use http::header::{AUTHORIZATION, EXPECT};
use serde::{Deserialize, Serialize};

use crate::tls::{HangUp, Peer};

/// The journal forgets its oldest requests beyond this many.
const JOURNAL_CAPACITY: usize = 100_000;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Number of the request, from 1.
    pub seq: u64,
    /// Milliseconds since 1970 when its head had arrived.
    pub time: u64,
    /// Which server of several got it, such as `door` or `pool`.
    pub at: &'static str,
    pub method: String,
    /// As sent: percent-encoded, without the query, which may hold a secret.
    pub path: String,
    /// The person whose certificate was shown.
    pub dn: Option<String>,
    /// Whether an Authorization header was sent. Clients that stage data here have no business sending one.
    pub authorization: bool,
    /// Whether the client wanted to be told before it sends the body (`Expect: 100-continue`).
    pub expect: bool,
    /// Bytes of the body that were taken.
    pub received: u64,
    /// `None` while there is no answer, or when it was withheld.
    pub status: Option<u16>,
    /// The fault that was applied.
    pub fault: Option<&'static str>,
}

/// A fault and the requests it applies to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Only this method; any if absent.
    #[serde(default)]
    pub method: Option<String>,
    /// Only paths, as sent, that contain this text; any if absent.
    #[serde(default)]
    pub path: Option<String>,
    /// Only this server, such as `pool`; any if absent.
    #[serde(default)]
    pub at: Option<String>,
    /// Let this many matching requests pass first.
    #[serde(default)]
    pub skip: u64,
    /// Apply to this many requests; without it, for ever.
    #[serde(default)]
    pub count: Option<u64>,
    /// What goes wrong.
    pub fault: Kind,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Kind {
    /// Wait, then go on as usual.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// Never answer, and do nothing.
    Stall,
    /// Answer with this status.
    Status {
        status: u16,
        /// Carry the request out first.
        #[serde(default)]
        execute: bool,
    },
    /// Reset the connection instead of answering.
    Reset {
        /// Carry the request out first, so that only the answer is lost.
        #[serde(default)]
        execute: bool,
        /// Take this many bytes of the body first: a transfer cut in the middle. Not together with `execute`.
        #[serde(default)]
        after_bytes: Option<u64>,
    },
    /// Store only the first bytes of an upload, and answer as if all had been stored.
    StorePart { bytes: u64 },
    /// Send the right head and only the first bytes of the body, then end the connection.
    Truncate { bytes: u64 },
}

/// Time for what was sent to leave before the connection breaks.
const FLUSH: std::time::Duration = std::time::Duration::from_millis(100);

/// In a request's extensions: store only this many bytes of the body.
#[derive(Clone, Copy)]
pub(crate) struct StorePart(pub(crate) u64);

/// The journal and the faults of a server, or of several that belong together. Clones share them.
#[derive(Clone, Default)]
pub struct Front(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    last: u64,
    seen: VecDeque<Seen>,
    faults: Vec<Fault>,
}

impl Front {
    /// The requests so far, in the order in which their heads arrived.
    pub fn journal(&self) -> Vec<Seen> {
        self.lock().seen.iter().cloned().collect()
    }

    /// Forgets the requests so far.
    pub fn clear_journal(&self) {
        self.lock().seen.clear();
    }

    /// Adds a fault. Of several that match, the one added first applies.
    pub fn add_fault(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// Puts this in front of a router; `at` is the server's name in the journal.
    pub(crate) fn before(&self, at: &'static str, router: Router) -> Router {
        router.layer(from_fn_with_state((self.clone(), at), pass))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, mut seen: Seen) -> (u64, Option<Kind>) {
        let mut inner = self.lock();
        inner.last += 1;
        seen.seq = inner.last;
        let fault = take(&mut inner.faults, &seen);
        seen.fault = fault.map(Kind::name);
        if inner.seen.len() == JOURNAL_CAPACITY {
            inner.seen.pop_front();
        }
        inner.seen.push_back(seen);
        (inner.last, fault)
    }

    fn end(&self, seq: u64, received: &AtomicU64, status: Option<u16>) {
        let mut inner = self.lock();
        if let Some(seen) = inner.seen.iter_mut().rev().find(|seen| seen.seq == seq) {
            seen.received = received.load(Ordering::Relaxed);
            seen.status = status;
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Delay { .. } => "delay",
            Kind::Stall => "stall",
            Kind::Status { .. } => "status",
            Kind::Reset { .. } => "reset",
            Kind::StorePart { .. } => "store_part",
            Kind::Truncate { .. } => "truncate",
        }
    }
}

/// The first fault that applies to this request; counts it.
fn take(faults: &mut [Fault], seen: &Seen) -> Option<Kind> {
    for fault in faults {
        let matches = fault.count != Some(0)
            && fault.method.as_ref().is_none_or(|method| *method == seen.method)
            && fault.path.as_ref().is_none_or(|text| seen.path.contains(text.as_str()))
            && fault.at.as_ref().is_none_or(|at| at == seen.at);
        if !matches {
            continue;
        }
        if fault.skip > 0 {
            fault.skip -= 1;
            continue;
        }
        if let Some(count) = &mut fault.count {
            *count -= 1;
        }
        return Some(fault.fault);
    }
    None
}

async fn pass(State((front, at)): State<(Front, &'static str)>, request: Request, next: Next) -> Response {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seq, fault) = front.begin(Seen {
        seq: 0,
        time: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        at,
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        dn: request.extensions().get::<Peer>().and_then(|peer| peer.dn.clone()),
        authorization: request.headers().contains_key(AUTHORIZATION),
        expect: request.headers().contains_key(EXPECT),
        received: 0,
        status: None,
        fault: None,
    });
    let received = Arc::new(AtomicU64::new(0));
    let mut request = counted(request, received.clone());
    let response = match fault {
        None => next.run(request).await,
        Some(Kind::Delay { ms }) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            next.run(request).await
        }
        Some(Kind::Stall) => std::future::pending().await,
        Some(Kind::Status { status, execute }) => {
            if execute {
                next.run(request).await;
            }
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response()
        }
        Some(Kind::Reset { execute, after_bytes }) => {
            if execute {
                next.run(request).await;
            } else if let Some(bytes) = after_bytes {
                read(request, bytes, &received).await;
            }
            let mut response = Response::new(Body::empty());
            response.extensions_mut().insert(HangUp);
            front.end(seq, &received, None);
            return response;
        }
        Some(Kind::StorePart { bytes }) => {
            request.extensions_mut().insert(StorePart(bytes));
            next.run(request).await
        }
        Some(Kind::Truncate { bytes }) => truncated(next.run(request).await, bytes),
    };
    front.end(seq, &received, Some(response.status().as_u16()));
    response
}

/// The same request, whose body counts the bytes taken from it.
fn counted(request: Request, received: Arc<AtomicU64>) -> Request {
    request.map(|body| {
        Body::from_stream(body.into_data_stream().inspect(move |chunk| {
            let bytes = chunk.as_ref().map_or(0, Bytes::len);
            received.fetch_add(bytes as u64, Ordering::Relaxed);
        }))
    })
}

/// Takes about this many bytes of the body.
async fn read(request: Request, bytes: u64, received: &AtomicU64) {
    let mut body = request.into_body().into_data_stream();
    while received.load(Ordering::Relaxed) < bytes && matches!(body.next().await, Some(Ok(_))) {}
}

/// The same answer, with its length as announced, and a body that breaks off.
fn truncated(response: Response, bytes: u64) -> Response {
    let (mut head, body) = response.into_parts();
    if let (false, Some(length)) = (head.headers.contains_key(http::header::CONTENT_LENGTH), exact_length(&body)) {
        head.headers.insert(http::header::CONTENT_LENGTH, length.into());
    }
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    let start = body.into_data_stream().map(move |chunk| {
        let mut chunk = chunk.map_err(std::io::Error::other)?;
        chunk.truncate(left);
        left -= chunk.len();
        Ok(chunk)
    });
    let start = start.take_while(|chunk| std::future::ready(chunk.as_ref().map_or(true, |chunk| !chunk.is_empty())));
    let cut = stream::once(async {
        // An error at once would also throw away what was not written yet, the head even.
        tokio::time::sleep(FLUSH).await;
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    });
    Response::from_parts(head, Body::from_stream(start.chain(cut)))
}

fn exact_length(body: &Body) -> Option<u64> {
    hyper::body::Body::size_hint(body).exact()
}
