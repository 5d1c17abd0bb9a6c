//! What can go wrong with a request to another machine, sorted by what the caller has to do about it.
//! It must not decide about retries: it only names the class, `retry.rs` and the engine act on it.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

/// Why the server did not accept our credential. From the messages observed on a real aCT server (act-client 1.0.0's API).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthReason {
    /// No credential was sent (no token file yet).
    Missing,
    /// The token's or the proxy's end has passed.
    Expired,
    /// The server cannot verify the token, or the TLS peer refused the certificate.
    Invalid,
    /// The token is fine, but the proxy it stands for is no longer stored on the server (or has expired there).
    ProxyGone,
}

/// What the caller has to do about a [`RemoteError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorClass {
    /// Try again later, not before `retry_after` if the server named a time. Nothing was executed.
    Transient { retry_after: Option<Duration> },
    /// Park until the credential has changed.
    Auth { reason: AuthReason },
    /// The server understood and said no; the same request will be refused again. `msg` is the server's own text, cleaned.
    Rejected { status: u16, msg: String },
    /// A request that changes something was sent and its answer is unknown: it may have been executed, or may be yet
    /// (observed: a request abandoned after 1 s was executed 3 s later).
    Ambiguous,
    /// The server is broken or answers nonsense. Retry slowly and tell the user; an administrator may be needed.
    Server,
    /// The server speaks an older dialect of the API, without `/jobs/ID/data/` and `/jobs/ID/results/`.
    Dialect,
    /// The fault is ours: a file could not be read or has changed, a request could not be formed. Nothing useful was sent.
    Local,
}

/// A failed request: class, what was tried, and what happened. Carries no secret: neither headers nor bodies.
#[derive(Debug, Clone)]
pub struct RemoteError {
    class: ErrorClass,
    /// `PUT /jobs/12/data/a.txt on https://act.example.org`
    request: String,
    /// What happened, in words for the user.
    detail: String,
    /// HTTP status, when there was an answer.
    status: Option<u16>,
    /// Whether the request was one that changes something.
    mutating: bool,
    /// Whether an HTTP answer (at least its head) has arrived: the server is no longer executing the request.
    answered: bool,
    /// Whether the answer was the application's own JSON.
    application: bool,
    /// What the user can do about it, where that is more than the class tells.
    advice: Option<&'static str>,
}

impl RemoteError {
    pub(crate) fn new(class: ErrorClass, request: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            class,
            request: request.into(),
            detail: clean(&detail.into()),
            status: None,
            mutating: false,
            answered: false,
            application: false,
            advice: None,
        }
    }

    /// The class, which decides what to do.
    pub fn class(&self) -> &ErrorClass {
        &self.class
    }

    /// HTTP status of the answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// What happened, without the request.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// True if the server may still be executing the request: nothing opposite may be sent to the same ids meanwhile.
    pub fn in_flight(&self) -> bool {
        // A gateway's 502 or 504 is no word from the server itself.
        matches!(self.class, ErrorClass::Ambiguous) && (!self.answered || matches!(self.status, Some(502 | 504)))
    }

    /// True if the request may have had an effect although it failed: its answer was lost, or a changing request was
    /// answered by a server error, which can come before or after the effect.
    pub fn may_have_run(&self) -> bool {
        matches!(self.class, ErrorClass::Ambiguous) || (self.mutating && self.status.is_some_and(|s| s >= 500))
    }

    /// True for the server's answer to an upload for a job that is not (or no longer) there, or is another user's.
    pub fn is_no_such_job(&self) -> bool {
        matches!(&self.class, ErrorClass::Rejected { msg, .. } if msg.contains("does not exist") && msg.contains("Job ID"))
    }

    /// The pause that the server asked for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.class {
            ErrorClass::Transient { retry_after } => retry_after,
            _ => None,
        }
    }

    /// What the user can do about it; `None` if waiting is all.
    pub fn hint(&self) -> Option<&'static str> {
        if self.advice.is_some() {
            return self.advice;
        }
        match &self.class {
            ErrorClass::Transient { .. } | ErrorClass::Ambiguous => None,
            ErrorClass::Auth { reason } => Some(match reason {
                AuthReason::Missing => "delegate a proxy first: `actctl proxy`",
                AuthReason::Expired => "make a new proxy (`arcproxy`) and run `actctl proxy`",
                AuthReason::Invalid => "run `actctl proxy` again; check that the proxy and the server belong together",
                AuthReason::ProxyGone => "the server no longer has your proxy: run `actctl proxy`",
            }),
            ErrorClass::Rejected { status: 300..=399, .. } => {
                Some("redirects are not followed: put the server's final address (http or https, port) into `server:`")
            }
            ErrorClass::Rejected { .. } => None,
            ErrorClass::Server => Some("the server is out of order: if this lasts, tell its administrator"),
            ErrorClass::Dialect => {
                Some("this aCT server is older than the API of act-client 1.0.0; use the client that came with it")
            }
            ErrorClass::Local => None,
        }
    }

    /// The same error with a hint of its own.
    pub(crate) fn advise(mut self, advice: Option<&'static str>) -> Self {
        self.advice = advice;
        self
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status.as_u16());
        self.answered = true;
        self
    }

    pub(crate) fn mutating(mut self, mutating: bool) -> Self {
        self.mutating = mutating;
        self
    }

    /// Whether the answer was JSON, so from the application and not from its framework or a proxy in front.
    pub(crate) fn by_application(mut self, json: bool) -> Self {
        self.application = json;
        self
    }

    pub(crate) fn is_from_application(&self) -> bool {
        self.application
    }

    /// The same error with a better explanation.
    pub(crate) fn explained(mut self, detail: &str) -> Self {
        self.detail = clean(detail);
        self
    }

    pub(crate) fn with_class(mut self, class: ErrorClass) -> Self {
        self.class = class;
        self
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, request, detail, .. } = self;
        match class {
            ErrorClass::Transient { retry_after: Some(after) } => {
                write!(f, "{request}: {detail} (server asks to wait {} s)", after.as_secs())
            }
            ErrorClass::Transient { retry_after: None } | ErrorClass::Local => write!(f, "{request}: {detail}"),
            ErrorClass::Auth { .. } => write!(f, "{request}: credential not accepted: {detail}"),
            ErrorClass::Rejected { status, .. } => write!(f, "{request}: refused with status {status}: {detail}"),
            ErrorClass::Ambiguous => write!(f, "{request}: outcome unknown: {detail}"),
            // It is not the server that has to be mended.
            ErrorClass::Server if self.advice.is_some() => write!(f, "{request}: {detail}"),
            ErrorClass::Server => write!(f, "{request}: server out of order: {detail}"),
            ErrorClass::Dialect => write!(f, "{request}: older aCT server: {detail}"),
        }
    }
}

impl std::error::Error for RemoteError {}

/// Longest piece of a server's text that goes into an error message, in characters.
const MAX_TEXT: usize = 300;

/// A server's text made fit for one line of a log or terminal: no control characters, bounded length.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_TEXT * 2));
    for (count, c) in text.trim().chars().enumerate() {
        if count == MAX_TEXT {
            out.push('…');
            break;
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

/// An error answer of the aCT server as far as it is needed to classify it.
pub(crate) struct Answer<'a> {
    pub(crate) status: StatusCode,
    /// `msg` of a JSON body, the title of an HTML body, or the start of a plain one.
    pub(crate) text: &'a str,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) mutating: bool,
}

/// Class of an answer whose status is not a success.
///
/// Observed on a real aCT server (act-client 1.0.0's API): 401 with a JSON message for a credential; 400 for what the
/// application refuses; 500 for everything when its database connection is lost *and* for a damaged token, which the
/// caller must tell apart by checking the token's form before it is sent. 502 and 504 come from a proxy in front that
/// has lost a server which may still be working on the request; 503 from one that has found none.
pub(crate) fn classify(answer: &Answer<'_>) -> ErrorClass {
    let rejected = || ErrorClass::Rejected { status: answer.status.as_u16(), msg: clean(answer.text) };
    match answer.status.as_u16() {
        401 => ErrorClass::Auth { reason: auth_reason(answer.text) },
        408 | 425 | 429 | 503 => ErrorClass::Transient { retry_after: answer.retry_after },
        502 | 504 if answer.mutating => ErrorClass::Ambiguous,
        502 | 504 => ErrorClass::Transient { retry_after: answer.retry_after },
        500..=599 => ErrorClass::Server,
        _ => rejected(),
    }
}

/// Reason behind a 401, from the four messages a real server sends; anything else counts as an invalid credential.
fn auth_reason(text: &str) -> AuthReason {
    let text = text.to_ascii_lowercase();
    if text.contains("does not exist in database") {
        AuthReason::ProxyGone
    } else if text.contains("missing") {
        AuthReason::Missing
    } else if text.contains("expired") {
        AuthReason::Expired
    } else {
        AuthReason::Invalid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(status: u16, text: &str, mutating: bool) -> ErrorClass {
        let status = StatusCode::from_u16(status).expect("status");
        classify(&Answer { status, text, retry_after: Some(Duration::from_secs(7)), mutating })
    }

    #[test]
    fn credentials_are_told_apart() {
        for (text, reason) in [
            ("Auth token is missing", AuthReason::Missing),
            ("Auth token is expired", AuthReason::Expired),
            ("Invalid token signature", AuthReason::Invalid),
            ("Proxy from token does not exist in database or is expired", AuthReason::ProxyGone),
            ("something new", AuthReason::Invalid),
        ] {
            assert_eq!(class(401, text, false), ErrorClass::Auth { reason }, "{text}");
        }
    }

    #[test]
    fn a_lost_backend_is_ambiguous_only_for_changes() {
        let wait = ErrorClass::Transient { retry_after: Some(Duration::from_secs(7)) };
        assert_eq!(class(502, "", false), wait);
        assert_eq!(class(504, "", true), ErrorClass::Ambiguous);
        assert_eq!(class(503, "", true), wait);
        assert_eq!(class(500, "Server error", true), ErrorClass::Server);
        assert_eq!(class(507, "", true), ErrorClass::Server);
    }

    #[test]
    fn the_servers_text_is_kept_but_tamed() {
        let ErrorClass::Rejected { status, msg } = class(400, "Client Job ID None\n\x1b[31mdoes not exist", true)
        else {
            panic!("not rejected");
        };
        assert_eq!((status, msg.as_str()), (400, "Client Job ID None  [31mdoes not exist"));
        assert_eq!(clean(&"x".repeat(10_000)).chars().count(), MAX_TEXT + 1);
    }

    #[test]
    fn effects_of_failed_requests() {
        let timeout = RemoteError::new(ErrorClass::Ambiguous, "POST /jobs", "no answer").mutating(true);
        assert!(timeout.in_flight() && timeout.may_have_run());
        let broken = RemoteError::new(ErrorClass::Server, "POST /jobs", "Server error")
            .mutating(true)
            .with_status(StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!broken.in_flight() && broken.may_have_run());
        let refused = RemoteError::new(ErrorClass::Transient { retry_after: None }, "GET /jobs", "connection refused");
        assert!(!refused.in_flight() && !refused.may_have_run());
    }
}
