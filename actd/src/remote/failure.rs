//! Why an exchange got no answer, and whether it may be repeated: errors of both HTTP clients and of TLS, sorted.

use std::error::Error as StdError;

use super::body::SourceError;
use super::error::{AuthReason, ErrorClass, RemoteError};

pub(super) fn lost(may_have_run: bool) -> ErrorClass {
    if may_have_run { ErrorClass::Ambiguous } else { ErrorClass::Transient { retry_after: None } }
}

/// A failed attempt and whether it may be repeated at once.
pub(super) struct Failure {
    pub(super) error: RemoteError,
    /// There was a connection to send on.
    pub(super) reused: bool,
    pub(super) closed: bool,
    /// The connection ended before the request was written to it, and does not say why.
    pub(super) canceled: bool,
}

impl Failure {
    pub(super) fn local(error: RemoteError) -> Self {
        Self { error, reused: false, closed: false, canceled: false }
    }

    /// Sorts an error of either client. `sent` tells whether there was a connection to send on.
    pub(super) fn of(error: &(dyn StdError + 'static), what: &str, mutating: bool, sent: bool) -> Self {
        let text = chain(error);
        let broken = find::<hyper::Error>(error);
        let canceled = broken.is_some_and(hyper::Error::is_canceled);
        let closed = canceled || broken.is_some_and(|e| e.is_incomplete_message() || e.is_closed() || is_reset(e));
        let sent = sent && !canceled;
        let mut advice = None;
        let (class, detail) = if let Some(source) = find::<SourceError>(error) {
            (ErrorClass::Local, source.to_string())
        } else if let Some(reason) = refused_certificate(&text) {
            (ErrorClass::Auth { reason }, format!("the peer did not accept our certificate ({text})"))
        } else if let Some((why, remedy)) = distrusted(&text) {
            advice = Some(remedy);
            (ErrorClass::Server, format!("its certificate is not trusted, nothing was sent: {why} ({text})"))
        } else {
            (lost(mutating && sent), text)
        };
        let canceled = canceled && matches!(class, ErrorClass::Transient { .. });
        let error = RemoteError::new(class, what, detail).mutating(mutating).advise(advice);
        Self { error, reused: sent, closed, canceled }
    }
}

fn is_reset(error: &hyper::Error) -> bool {
    find::<std::io::Error>(error)
        .is_some_and(|e| matches!(e.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe))
}

/// The TLS alerts with which a peer turns down a client certificate (RFC 8446 section 6.2, OpenSSL's words). With TLS
/// 1.3 they arrive after the handshake, in place of the answer; the request was not executed.
fn refused_certificate(text: &str) -> Option<AuthReason> {
    let alert = text.split("alert ").nth(1)?;
    if alert.starts_with("certificate required") {
        Some(AuthReason::Missing)
    } else if alert.starts_with("certificate expired") {
        Some(AuthReason::Expired)
    } else if [
        "bad certificate",
        "decrypt error",
        "unknown ca",
        "certificate unknown",
        "certificate revoked",
        "access denied",
        "unsupported certificate",
    ]
    .iter()
    .any(|a| alert.starts_with(a))
    {
        Some(AuthReason::Invalid)
    } else {
        None
    }
}

/// Why a server's certificate was not taken, and what can be done about it. OpenSSL's words (X509_verify_cert_error_string).
fn distrusted(text: &str) -> Option<(&'static str, &'static str)> {
    let text = text.to_lowercase();
    let is = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if is(&["hostname mismatch", "ip address mismatch"]) {
        Some((
            "it is for another host",
            "use the host name that is in the certificate; if the address is right, somebody else may be answering there",
        ))
    } else if !is(&["certificate verify failed"]) {
        None
    } else if is(&["certificate revoked"]) {
        Some(("its CA has revoked it", "whoever answers there must not be trusted: tell the server's administrator"))
    } else if is(&["crl has expired", "crl is not yet valid"]) {
        Some((
            "the revocation list of its CA is out of date, so it may have been revoked",
            "have `fetch-crl` run, or remove that CA's `*.r0` file from the CA directory; `actctl doctor` names it",
        ))
    } else if is(&["too weak", "application verification failure"]) {
        Some((
            "it, or one above it, has a short key or a signature with SHA-1",
            "ask the server's administrator for one of today's strength; verification cannot be switched off",
        ))
    } else if is(&["certificate has expired", "not yet valid"]) {
        Some((
            "it has expired, or is not valid yet",
            "look at this machine's clock; if that is right, the server's administrator has to renew the certificate",
        ))
    } else if is(&["self-signed certificate", "self signed certificate"]) && !is(&["in certificate chain"]) {
        Some((
            "it is signed by nobody but itself",
            "ask the server's administrator for one of a known CA; verification cannot be switched off",
        ))
    } else {
        Some((
            "no CA that is known here vouches for it",
            "install the grid CAs, or name their directory: `ca_dir:` under `actd:`, or X509_CERT_DIR where actd starts",
        ))
    }
}

fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// An error with its causes, outermost first, without the clients' own generic frames when there is a cause.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let generic = ["client error (", "error sending request", "error decoding response"];
        let frame = error.source().is_some() && generic.iter().any(|g| text.starts_with(g));
        if !frame && parts.last().is_none_or(|last| !last.contains(&text)) {
            parts.push(text);
        }
        next = error.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn what_a_closed_connection_never_took_was_not_sent() {
        let (ours, _theirs) = tokio::io::duplex(1_024);
        let io = hyper_util::rt::TokioIo::new(ours);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Full<Bytes>>(io).await.expect("no IO");
        drop(connection);
        let request = http::Request::post("/jobs").body(Full::default()).expect("a request");
        let error = sender.send_request(request).await.expect_err("nobody takes it");
        let failure = Failure::of(&error, "POST /jobs", true, true);
        assert_eq!(failure.error.class(), &ErrorClass::Transient { retry_after: None }, "{}", failure.error);
        assert!(failure.canceled, "it may be asked again");
    }
}
