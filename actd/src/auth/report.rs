//! The credential in words: its status, and its errors as the API has them. Nothing is decided here.

use std::time::SystemTime;

use act_proto::error::{ApiError, Kind};
use act_proto::proxy::Status;

use super::actor::Actor;
use super::{DelegateError, Proxy, ProxyError, Token, Trust};
use crate::config::Config;
use crate::job::{ProxyId, Time};
use crate::remote::{ErrorClass, RemoteError};

impl Actor {
    pub(super) fn status(&self, problem: Option<&ApiError>, proxy_problem: Option<&ProxyError>) -> Status {
        let state = match problem.map(|p| p.data.kind) {
            None => "ok",
            Some(Kind::ProxyExpired) => "expired",
            Some(Kind::TokenRejected) => "rejected",
            Some(Kind::OtherIdentity) => "other_identity",
            Some(Kind::NoProxy | Kind::BadProxy) => "missing",
            Some(_) => "not_delegated",
        };
        let (message, hint) = match (problem, proxy_problem) {
            (Some(p), _) => (p.message.clone(), p.data.hint.clone()),
            // Enough to submit and to download; not to read from a computing element or to stage through WebDAV.
            (None, Some(e)) => (format!("the token can be used, but {e}"), Some(e.hint().to_owned())),
            (None, None) => ("the credential can be used".to_owned(), None),
        };
        let proxy = self.proxy.as_ref().ok();
        let token = self.token.as_ref().ok().and_then(Option::as_ref);
        let voms = proxy.and_then(|p| p.voms());
        Status {
            state: state.to_owned(),
            message,
            hint,
            proxy_path: self.proxy_path().display().to_string(),
            dn: proxy.map(|p| p.dn().to_owned()),
            voms: voms.map(|v| v.fqans.clone()).unwrap_or_default(),
            proxy_expires: proxy.map(|p| rfc3339(p.expires())),
            voms_expires: voms.map(|v| rfc3339(v.expires)),
            token_path: self.config.token.display().to_string(),
            token_expires: token.and_then(Token::expires).map(rfc3339),
            proxyid: token.map(proxyid_of),
            jobs: 0,
            needed_until: None,
            outlived_by: 0,
        }
    }
}

pub(super) const SWITCH: &str =
    "jobs of another identity cannot be seen with this one; if you mean it, run `actctl proxy --switch-identity`";

pub(super) fn other_identity(owner: ProxyId, new: ProxyId) -> ApiError {
    ApiError::new(
        Kind::OtherIdentity,
        format!("the token is of another identity (proxy {new} on the server) than the jobs here (proxy {owner})"),
    )
    .hint(SWITCH)
}

pub(super) fn empty_status() -> Status {
    Status {
        state: "missing".into(),
        message: String::new(),
        hint: None,
        proxy_path: String::new(),
        dn: None,
        voms: Vec::new(),
        proxy_expires: None,
        voms_expires: None,
        token_path: String::new(),
        token_expires: None,
        proxyid: None,
        jobs: 0,
        needed_until: None,
        outlived_by: 0,
    }
}

/// Whom to trust over TLS.
#[must_use]
pub fn trust(config: &Config) -> Trust {
    match &config.ca_dir {
        Some(dir) => Trust::new(Some(dir.clone())),
        None => Trust::discover(|name| std::env::var_os(name)),
    }
}

/// Whose jobs the token shows.
pub(crate) fn proxyid_of(token: &Token) -> ProxyId {
    ProxyId::try_from(token.proxyid()).unwrap_or(ProxyId::MAX)
}

pub(super) fn fqan(proxy: &Proxy) -> Option<&str> {
    proxy.voms().and_then(|v| v.fqans.first()).map(String::as_str)
}

pub(super) fn rfc3339(t: SystemTime) -> String {
    let ms = t.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    Time(i64::try_from(ms).unwrap_or(i64::MAX)).rfc3339()
}

pub(super) fn proxy_error(e: &ProxyError) -> ApiError {
    let kind = match e {
        ProxyError::Missing(_) => Kind::NoProxy,
        ProxyError::Expired(_) => Kind::ProxyExpired,
        _ => Kind::BadProxy,
    };
    ApiError::new(kind, e.to_string()).hint(e.hint())
}

pub(super) fn delegate_error(e: &DelegateError) -> ApiError {
    match (e, e.remote()) {
        (DelegateError::Proxy(e), _) => proxy_error(e),
        (_, Some(remote)) => remote_error(remote),
        _ => ApiError::new(Kind::ServerBroken, e.to_string()).hint("run `actctl proxy` again"),
    }
}

/// A failed request in the API's words.
#[must_use]
pub fn remote_error(e: &RemoteError) -> ApiError {
    let kind = match e.class() {
        ErrorClass::Transient { .. } | ErrorClass::Ambiguous => Kind::ServerUnreachable,
        ErrorClass::Auth { .. } => Kind::TokenRejected,
        ErrorClass::Rejected { .. } => Kind::ServerRefused,
        ErrorClass::Server => Kind::ServerBroken,
        ErrorClass::Dialect => Kind::ServerDialect,
        ErrorClass::Local => Kind::BadConfig,
    };
    let error = ApiError::new(kind, e.to_string());
    match e.hint() {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
