//! One HTTP/1.1 request to one host, over TCP or TLS: timeouts, bounded bodies, and the knowledge whether anything was sent.
//! It must not follow redirects, repeat a change that may have gone out, decompress, use a proxy from the environment, or know any API.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use openssl::ssl::SslConnectorBuilder;
use tokio::sync::watch;
use tokio::time::Instant;

use super::backend::{Backend, NoAnswer, RecvBody, RestTls, SendBody};
use super::body::{Activity, FileBody};
use super::error::{Answer as ErrorAnswer, ErrorClass, RemoteError, classify, clean};
use super::failure::{Failure, chain, lost};
use crate::call;

/// How long to wait for what. All are limits on silence except `connect`.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// TCP connection to one address.
    pub connect: Duration,
    /// From the last byte sent to the head of the answer; a changing request gets twice as long.
    pub head: Duration,
    /// Between two pieces of an answer's body.
    pub idle: Duration,
    /// For a whole answer that is read into memory.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self { connect: s(15), head: s(60), idle: s(60), total: s(600) }
    }
}

/// What `User-Agent` says.
pub(crate) const USER_AGENT: &str = concat!("actd/", env!("CARGO_PKG_VERSION"));
/// Largest error body that is looked at.
pub(crate) const MAX_ERROR: usize = 1 << 20;

/// Which connection a request may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// A new one, closed afterwards.
    No,
    /// An idle one if there is, kept afterwards if the server agrees.
    Yes,
}

pub(crate) enum SendData {
    Empty,
    Bytes(Bytes),
    File(FileBody),
}

/// A request as the API modules describe it.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Absolute and already encoded.
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) data: SendData,
    /// Whether it changes something on the server: decides what a lost answer means.
    pub(crate) mutating: bool,
    pub(crate) reuse: Reuse,
    /// `Expect: 100-continue`, and how long to wait for the `100` before sending the body anyway.
    pub(crate) expect: Option<Duration>,
}

impl Call {
    pub(crate) fn new(method: Method, url: String) -> Self {
        let mutating = !matches!(method, Method::GET | Method::HEAD | Method::OPTIONS) && method.as_str() != "PROPFIND";
        Self { method, url, headers: HeaderMap::new(), data: SendData::Empty, mutating, reuse: Reuse::No, expect: None }
    }

    /// For errors and logs: the method, the path without query, and the origin.
    fn describe(&self) -> String {
        let path_at = self.url.find("://").and_then(|i| self.url[i + 3..].find('/').map(|j| i + 3 + j));
        let (origin, path) = self.url.split_at(path_at.unwrap_or(self.url.len()));
        let path = path.split('?').next().unwrap_or_default();
        format!("{} {} on {origin}", self.method, clean(path))
    }
}

/// A client for the hosts of one kind with one TLS identity. Clones share their idle connections.
#[derive(Clone)]
pub(crate) struct Transport {
    backend: Backend,
    timeouts: Timeouts,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("timeouts", &self.timeouts).finish_non_exhaustive()
    }
}

impl Transport {
    /// For hosts that may want to see the proxy, and for `Expect: 100-continue`.
    pub(crate) fn new(tls: SslConnectorBuilder, timeouts: Timeouts) -> Result<Self, openssl::error::ErrorStack> {
        Ok(Self { backend: Backend::hyper(tls, &timeouts)?, timeouts })
    }

    /// For REST calls that need no certificate of ours.
    pub(crate) fn rest(tls: RestTls, timeouts: Timeouts) -> Result<Self, RemoteError> {
        Ok(Self { backend: Backend::rest(tls, &timeouts)?, timeouts })
    }

    /// Sends the request and waits for the head of its answer, whatever its status.
    pub(crate) async fn send(&self, call: Call) -> Result<Answer, RemoteError> {
        // A pooled connection may have been closed by the server in this very moment: then a read is asked again on a new
        // one. So is anything that never went out: a server that closes a new connection at once tells why on the next.
        let is_read = call.reuse == Reuse::Yes && !call.mutating;
        let again =
            matches!(call.data, SendData::Empty).then(|| (call.method.clone(), call.url.clone(), call.headers.clone()));
        match (self.send_once(call).await, again) {
            (Err(failure), Some((method, url, headers)))
                if failure.canceled || (is_read && failure.reused && failure.closed) =>
            {
                self.send_once(Call { headers, ..Call::new(method, url) }).await.map_err(|f| f.error)
            }
            (result, _) => result.map_err(|f| f.error),
        }
    }

    async fn send_once(&self, call: Call) -> Result<Answer, Failure> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let what = call.describe();
        let Call { method, url, headers, data, mutating, reuse, expect } = call;
        let told =
            Told { method: method.to_string(), url: url.clone(), what: what.clone(), number, began: Instant::now() };
        let local = |detail: String| Failure::local(RemoteError::new(ErrorClass::Local, &what, detail));

        let uri: Uri = url.parse().map_err(|e| local(format!("cannot be said as a URL: {e}")))?;
        let mut activity = Activity::default();
        let mut gate = None;
        // Said explicitly: hyper leaves it out for an empty body, which some servers answer with 411.
        let length = match &data {
            SendData::Empty => matches!(method, Method::POST | Method::PUT | Method::PATCH).then_some(0),
            SendData::Bytes(bytes) => Some(bytes.len() as u64),
            SendData::File(file) => Some(file.size()),
        };
        let body: SendBody = match data {
            SendData::Empty => Full::default().map_err(|never| match never {}).boxed_unsync(),
            SendData::Bytes(bytes) => Full::new(bytes).map_err(|never| match never {}).boxed_unsync(),
            SendData::File(mut file) => {
                activity = file.activity();
                gate = expect.map(|patience| Gate::before(&mut file, patience));
                file.boxed_unsync()
            }
        };
        let mut request = http::Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(length) = length {
            request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        if let Some(Gate(state)) = &gate {
            request.headers_mut().insert(header::EXPECT, HeaderValue::from_static("100-continue"));
            let state = state.clone();
            hyper::ext::on_informational(&mut request, move |informational| {
                if informational.status() == StatusCode::CONTINUE {
                    state.send_replace(GateState::Open);
                }
            });
        }
        let started = Instant::now();
        let patience = if mutating { self.timeouts.head * 2 } else { self.timeouts.head };

        let answer = self.backend.request(request, reuse);
        tokio::pin!(answer);
        let outcome = loop {
            let deadline = activity.last() + patience;
            tokio::select! {
                outcome = &mut answer => break Some(outcome),
                () = tokio::time::sleep_until(deadline) => {
                    if activity.last() + patience <= Instant::now() {
                        break None;
                    }
                }
            }
        };
        match outcome {
            Some(Ok(response)) => {
                let (head, body) = response.into_parts();
                told.answered(head.status);
                let keeps_alive = !wants_close(&head.headers) && head.version >= http::Version::HTTP_11;
                Ok(Answer { what, mutating, head, body, timeouts: self.timeouts, started, keeps_alive, _gate: gate })
            }
            Some(Err(NoAnswer { error, unsent })) => {
                told.failed(&chain(&*error));
                Err(Failure::of(&*error, &what, mutating, !unsent))
            }
            None => {
                // A connection has a shorter time limit of its own: by now the request is on its way.
                let detail = format!("no answer for {} s", patience.as_secs());
                told.failed(&detail);
                Err(Failure::local(RemoteError::new(lost(mutating), what, detail).mutating(mutating)))
            }
        }
    }
}

/// What is told of a request: to the log, and to the client whose call it was made for.
struct Told {
    method: String,
    url: String,
    what: String,
    number: u64,
    began: Instant,
}

impl Told {
    fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn answered(&self, status: StatusCode) {
        let (millis, status, what) = (self.millis(), status.as_u16(), &self.what);
        let asked_for = call::note(&self.method, &self.url, Ok(status), millis);
        // What a client's call failed by is in the log without being asked for.
        if asked_for && (status >= 500 || matches!(status, 401 | 403)) {
            tracing::info!(http = self.number, what, status, millis, "answered");
        } else {
            tracing::debug!(http = self.number, what, status, millis, "answered");
        }
    }

    fn failed(&self, error: &str) {
        let (millis, what) = (self.millis(), &self.what);
        if call::note(&self.method, &self.url, Err(error), millis) {
            tracing::info!(http = self.number, what, millis, error, "failed");
        } else {
            tracing::debug!(http = self.number, what, millis, error, "failed");
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GateState {
    Shut,
    Open,
    Over,
}

/// Holds a body back until a `100 Continue` has come or patience ends; for good once it is dropped shut.
#[derive(Debug)]
struct Gate(watch::Sender<GateState>);

impl Gate {
    fn before(file: &mut FileBody, patience: Duration) -> Self {
        let (state, mut seen) = watch::channel(GateState::Shut);
        file.hold_until(async move {
            match tokio::time::timeout(patience, seen.wait_for(|state| *state != GateState::Shut)).await {
                Ok(Ok(state)) => *state == GateState::Open,
                // Every sender is gone: the request is over.
                Ok(Err(_)) => false,
                Err(_) => true,
            }
        });
        Self(state)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.send_if_modified(|state| {
            let shut = *state == GateState::Shut;
            if shut {
                *state = GateState::Over;
            }
            shut
        });
    }
}

fn wants_close(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONNECTION).iter().filter_map(|v| v.to_str().ok());
    values.any(|v| v.split(',').any(|token| token.trim().eq_ignore_ascii_case("close")))
}

/// The head of an answer, its body still to be read.
#[derive(Debug)]
pub(crate) struct Answer {
    what: String,
    mutating: bool,
    head: http::response::Parts,
    body: RecvBody,
    timeouts: Timeouts,
    started: Instant,
    keeps_alive: bool,
    /// Dropped with the answer: a body that was still held back is then never sent.
    _gate: Option<Gate>,
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.head.status
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.head.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// Time since the request was started.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether the server would take another request on this connection.
    pub(crate) fn keeps_alive(&self) -> bool {
        self.keeps_alive
    }

    /// `Date`: the server's clock when it answered.
    pub(crate) fn date(&self) -> Option<SystemTime> {
        httpdate::parse_http_date(self.header(header::DATE)?).ok()
    }

    /// Whether the body is compressed or otherwise not what it stands for, although `identity` was asked for.
    pub(crate) fn is_encoded(&self) -> bool {
        let plain = |value: &HeaderValue| value.to_str().is_ok_and(|v| v.trim().eq_ignore_ascii_case("identity"));
        !self.head.headers.get_all(header::CONTENT_ENCODING).iter().all(plain)
    }

    /// `Retry-After` in seconds or as a date, relative to the server's own `Date`.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let text = self.header(header::RETRY_AFTER)?.trim();
        if let Ok(seconds) = text.parse::<u64>() {
            return Some(Duration::from_secs(seconds));
        }
        let at = httpdate::parse_http_date(text).ok()?;
        Some(at.duration_since(self.date().unwrap_or_else(SystemTime::now)).unwrap_or_default())
    }

    /// `Content-Length`, if it is there and a number.
    pub(crate) fn length(&self) -> Option<u64> {
        self.header(header::CONTENT_LENGTH)?.trim().parse().ok()
    }

    /// An error about this answer; for a changing request the server has finished with it.
    pub(crate) fn error(&self, class: ErrorClass, detail: impl Into<String>) -> RemoteError {
        RemoteError::new(class, &self.what, detail).mutating(self.mutating).with_status(self.head.status)
    }

    /// The answer cannot be understood: for a change that means that its effect is unknown.
    pub(crate) fn nonsense(&self, detail: impl Into<String>) -> RemoteError {
        self.error(if self.mutating { ErrorClass::Ambiguous } else { ErrorClass::Server }, detail)
    }

    /// The next piece of the body; `None` at its proper end. A body that ends before its announced length is an error.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, RemoteError> {
        loop {
            let frame = match tokio::time::timeout(self.timeouts.idle, self.body.frame()).await {
                Ok(frame) => frame,
                Err(_) => return Err(self.cut(&format!("the answer stalled for {} s", self.timeouts.idle.as_secs()))),
            };
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    // Trailers are of no use to us.
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => {
                    return Err(self.cut(&format!("the answer broke off: {}", chain(&*error))));
                }
            }
        }
    }

    /// The whole body, at most `max` bytes, within the total time.
    pub(crate) async fn bytes(&mut self, max: usize) -> Result<Bytes, RemoteError> {
        let total = self.timeouts.total;
        match tokio::time::timeout(total, self.read_all(max)).await {
            Ok(result) => result,
            Err(_) => Err(self.cut("the answer took too long")),
        }
    }

    async fn read_all(&mut self, max: usize) -> Result<Bytes, RemoteError> {
        // Nothing is ever unpacked here: what is small on the way may be without measure behind it.
        if self.is_encoded() {
            return Err(self.nonsense("a compressed answer, which was not asked for"));
        }
        let announced = self.length().unwrap_or(0);
        if announced > max as u64 {
            return Err(self.nonsense(format!("an answer of more than {max} bytes")));
        }
        let mut all = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > max {
                return Err(self.nonsense(format!("an answer of more than {max} bytes")));
            }
            if all.is_empty() && chunk.len() as u64 == announced {
                return Ok(chunk);
            }
            // Not more than was really received plus one announced body, whatever the header claims.
            all.reserve(chunk.len().max((announced as usize).saturating_sub(all.len()).min(1 << 20)));
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    /// The error behind an answer that is not a success: its class, and what its body says.
    pub(crate) async fn refusal(mut self) -> RemoteError {
        let status = self.status();
        if status.is_redirection() {
            // A key may be in the query.
            let to = self.header(header::LOCATION).unwrap_or("nowhere").split(['?', '#']).next().unwrap_or_default();
            let msg = clean(&format!("it redirects to {to}, and redirects are not followed"));
            return self.error(ErrorClass::Rejected { status: status.as_u16(), msg: msg.clone() }, msg);
        }
        let retry_after = self.retry_after();
        // The status is known; a body that cannot be read only costs the text.
        let body = self.bytes(MAX_ERROR).await.unwrap_or_default();
        let (text, json) = super::wire::error_text(&body);
        let detail = if text.trim().is_empty() { status.to_string() } else { text.clone() };
        let class = classify(&ErrorAnswer { status, text: &text, retry_after, mutating: self.mutating });
        self.error(class, detail).by_application(json)
    }

    fn cut(&self, detail: &str) -> RemoteError {
        self.error(lost(self.mutating), detail)
    }
}
