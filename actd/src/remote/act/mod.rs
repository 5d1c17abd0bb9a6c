//! The aCT server's REST API, as observed on a real aCT server (act-client 1.0.0's API).
//! One method is one request. It must not retry, keep job state, or follow a redirect; a token goes only to its own origin.
//!
//! The real server often has a single worker, which an idle connection blocks for everybody: a connection is opened only
//! with a request to send on it, kept only if an answer has shown that the server keeps connections alive, and the
//! number of requests under way adapts to the server's latency ([`Limiter`]).
//!
//! Every method fails with a [`RemoteError`], whose class says what to do. A mutation whose answer was lost is `Ambiguous`.

mod jobs;
mod proxies;
mod results;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use url::Url;

use super::backend::RestTls;
use super::error::{AuthReason, ErrorClass, RemoteError};
use super::http::{Answer, Call, MAX_ERROR, Reuse, SendData, Timeouts, Transport};
use super::limit::{Lane, Limiter, Place};
use super::path;
use crate::secret::Secret;

pub use jobs::{Cancelled, Column, Confirmed, Details, Info, ListRow, Listing, Rejection};
pub use proxies::DelegationOffer;
pub use results::{Entry, NoResults};

/// Longest request line that is sent, in bytes; a real server refuses 4,095 and more.
const MAX_REQUEST_LINE: usize = 4_000;
/// Largest JSON answer that is read (a listing of 10,000 jobs has 2 MB).
const MAX_JSON: usize = 64 << 20;

/// How the client behaves; the defaults suit a real server.
#[derive(Debug, Clone, Copy)]
pub struct ActOptions {
    /// Allow plain http to a host other than this machine: the token then travels in clear text.
    pub allow_http: bool,
    /// Most requests under way at a time; the client starts with 4 and learns.
    pub max_requests: usize,
    /// Limits on silence.
    pub timeouts: Timeouts,
}

impl Default for ActOptions {
    fn default() -> Self {
        Self { allow_http: false, max_requests: 16, timeouts: Timeouts::default() }
    }
}

/// The server's clock, from the `Date` of its last answer (1 s resolution).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerClock {
    /// What the server's clock said.
    pub date: SystemTime,
    /// Our clock when the answer came.
    pub seen: SystemTime,
}

#[derive(Debug)]
struct Shared {
    base: Url,
    transport: Transport,
    limiter: Limiter,
    clock: Mutex<Option<ServerClock>>,
    /// An answer has shown that the server keeps connections alive.
    keeps_alive: AtomicBool,
    requests: AtomicU64,
}

/// Client of one aCT server with one token. Cheap to clone; clones share limit, connections and clock.
#[derive(Debug, Clone)]
pub struct ActClient {
    shared: Arc<Shared>,
    token: Option<Arc<Secret>>,
}

/// What a single call needs besides method and path.
struct Plan {
    lane: Lane,
    data: SendData,
    json: bool,
    /// Whether the answer's latency says something about the server's load.
    sample: bool,
}

impl Plan {
    fn read() -> Self {
        Self { lane: Lane::Call, data: SendData::Empty, json: false, sample: true }
    }

    fn json(body: Vec<u8>) -> Self {
        Self { lane: Lane::Call, data: SendData::Bytes(Bytes::from(body)), json: true, sample: false }
    }
}

impl ActClient {
    /// A client for the server at `base` (scheme, host, port, and a path prefix if the server has one).
    ///
    /// Without a token only [`ActClient::offer_proxy`] can succeed. `tls` decides whom to trust (see `auth::tls::Trust::rest`); it is
    /// not used for http. Fails (`Local`) for a URL that is not http(s), and for plain http to another machine unless
    /// `options.allow_http`. Opens no connection.
    pub fn new(base: Url, token: Option<Secret>, tls: RestTls, options: ActOptions) -> Result<Self, RemoteError> {
        let what = format!("aCT server {}", base.origin().ascii_serialization());
        let local = |detail: String| RemoteError::new(ErrorClass::Local, &what, detail);
        match base.scheme() {
            "https" => {}
            "http" if options.allow_http || path::is_loopback(&base) => {}
            "http" => {
                return Err(local(
                    "plain http would send the token in clear text over the network; use https, or allow it in the config"
                        .into(),
                ));
            }
            other => return Err(local(format!("the URL must start with https:// or http://, not {other}:"))),
        }
        if base.host().is_none() || !base.username().is_empty() || base.password().is_some() {
            return Err(local("the URL needs a host name, and must not hold a user name or password".into()));
        }
        let transport = Transport::rest(tls, options.timeouts)?;
        let shared = Shared {
            base,
            transport,
            limiter: Limiter::new(options.max_requests),
            clock: Mutex::new(None),
            keeps_alive: AtomicBool::new(false),
            requests: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared), token: token.map(Arc::new) })
    }

    /// The same client with another token, for the same server: for a renewed credential.
    pub fn with_token(&self, token: Option<Secret>) -> Self {
        Self { shared: self.shared.clone(), token: token.map(Arc::new) }
    }

    /// The same client with the token of another one for the same server.
    pub fn with_token_of(&self, other: &Self) -> Self {
        Self { shared: self.shared.clone(), token: other.token.clone() }
    }

    /// The same server and token with other options and another judgement of whom to trust. The server's clock and
    /// the count of requests go on.
    ///
    /// # Errors
    /// As for [`ActClient::new`].
    pub fn rebuilt(&self, tls: RestTls, options: ActOptions) -> Result<Self, RemoteError> {
        let new = Self::new(self.shared.base.clone(), None, tls, options)?;
        *new.shared.clock.lock().unwrap_or_else(PoisonError::into_inner) = self.clock();
        new.shared.keeps_alive.store(self.shared.keeps_alive.load(Ordering::Relaxed), Ordering::Relaxed);
        new.shared.requests.store(self.requests(), Ordering::Relaxed);
        Ok(Self { shared: new.shared, token: self.token.clone() })
    }

    /// Whether a token is set.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> String {
        self.shared.base.origin().ascii_serialization()
    }

    /// The server's clock as of its last answer; `None` before the first.
    pub fn clock(&self) -> Option<ServerClock> {
        *self.shared.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many requests were sent, with any token.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// The shared limit on requests under way.
    #[cfg(test)]
    fn limiter(&self) -> &Limiter {
        &self.shared.limiter
    }

    /// Sends one request with the client's token and gives its answer if the status is a success.
    async fn request(&self, method: Method, path: &str, plan: Plan) -> Result<(Answer, Place), RemoteError> {
        self.request_with(method, path, plan, HeaderMap::new()).await
    }

    async fn request_with(
        &self,
        method: Method,
        path: &str,
        plan: Plan,
        mut headers: HeaderMap,
    ) -> Result<(Answer, Place), RemoteError> {
        let token = self.token.as_deref();
        let what = || format!("{method} /{} on {}", path.split('?').next().unwrap_or_default(), self.origin());
        let auth = |reason, text: &str| RemoteError::new(ErrorClass::Auth { reason }, what(), text);
        let Some(token) = token else {
            return Err(auth(AuthReason::Missing, "there is no token yet"));
        };
        // A real server answers a damaged token with its general "Server error": tell it apart before it is sent.
        let Some(value) = bearer(token) else {
            return Err(auth(AuthReason::Invalid, "the stored token is damaged"));
        };
        headers.insert(header::AUTHORIZATION, value);
        self.send(method, path, plan, headers).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        plan: Plan,
        headers: HeaderMap,
    ) -> Result<(Answer, Place), RemoteError> {
        let url = path::join(&self.shared.base, path);
        let mut call = Call::new(method, url);
        let target = call.url.len().saturating_sub(self.shared.base.origin().ascii_serialization().len());
        if target + call.method.as_str().len() + " HTTP/1.1".len() + 1 > MAX_REQUEST_LINE {
            return Err(RemoteError::new(
                ErrorClass::Local,
                format!("{} on {}", call.method, self.origin()),
                format!(
                    "the request line would be longer than {MAX_REQUEST_LINE} bytes; ask for fewer columns or shorter names"
                ),
            ));
        }
        call.headers = headers;
        if plan.json {
            call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        call.data = plan.data;
        // Answers to changes are too precious for a connection that may be closing just now; uploads are repeatable.
        let repeatable = !call.mutating || plan.lane == Lane::Transfer;
        if repeatable && self.shared.keeps_alive.load(Ordering::Relaxed) {
            call.reuse = Reuse::Yes;
        }

        let place = self.shared.limiter.acquire(plan.lane).await;
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        match self.shared.transport.send(call).await {
            Ok(answer) => {
                self.learn(&answer, plan.sample);
                if answer.status().is_success() { Ok((answer, place)) } else { Err(answer.refusal().await) }
            }
            Err(error) => {
                // A server that our own transfers keep busy is not to be blamed for being slow.
                if !matches!(error.class(), ErrorClass::Local) && !self.shared.limiter.transferring() {
                    self.shared.limiter.failed();
                }
                Err(error)
            }
        }
    }

    fn learn(&self, answer: &Answer, sample: bool) {
        if let Some(date) = answer.date() {
            let clock = ServerClock { date, seen: SystemTime::now() };
            *self.shared.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock);
        }
        self.shared.keeps_alive.store(answer.keeps_alive(), Ordering::Relaxed);
        if matches!(answer.status().as_u16(), 429 | 502..=504) {
            self.shared.limiter.failed();
        } else if sample {
            self.shared.limiter.answered(answer.age());
        }
    }

    /// A request whose answer is JSON read into memory.
    async fn json(&self, method: Method, path: &str, plan: Plan) -> Result<(Answer, Bytes), RemoteError> {
        let (mut answer, place) = self.request(method, path, plan).await?;
        let body = answer.bytes(MAX_JSON).await?;
        drop(place);
        Ok((answer, body))
    }

    fn encode<T: serde::Serialize>(&self, value: &T) -> Result<Vec<u8>, RemoteError> {
        serde_json::to_vec(value)
            .map_err(|e| RemoteError::new(ErrorClass::Local, format!("request to {}", self.origin()), e.to_string()))
    }
}

/// The Authorization value, if the token has the form of a JWT: three base64url parts. Marked sensitive.
fn bearer(token: &Secret) -> Option<HeaderValue> {
    let text = token.expose()?;
    let mut parts = text.split('.');
    let well_formed = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'=')
    };
    let three = (0..3).all(|_| parts.next().is_some_and(well_formed)) && parts.next().is_none();
    if !three {
        return None;
    }
    let mut value = HeaderValue::try_from(zeroize::Zeroizing::new(format!("Bearer {text}")).as_str()).ok()?;
    value.set_sensitive(true);
    Some(value)
}
