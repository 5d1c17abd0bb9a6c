//! How a verb ends when it cannot do its work: an exit code, a sentence, a hint. The only place that knows the exit codes.

use std::io;

use act_proto::{ApiError, Kind};
use serde_json::{Value, json};

/// Everything was done.
pub const OK: u8 = 0;
/// Some items failed.
pub const SOME_FAILED: u8 = 1;
/// The command line makes no sense.
pub const USAGE: u8 = 2;
/// Proxy or token.
pub const CREDENTIAL: u8 = 3;
/// A job description.
pub const DESCRIPTION: u8 = 4;
/// The aCT server, a computing element or WebDAV.
pub const SERVER: u8 = 5;
/// Disk, permissions.
pub const LOCAL: u8 = 6;
/// The time given has passed.
pub const TIMEOUT: u8 = 7;
/// No daemon, or one of another version.
pub const DAEMON: u8 = 8;
/// A mistake of ours.
pub const BUG: u8 = 70;
/// Failures of `run` itself, as opposed to the job's.
pub const RUN_FAILED: u8 = 125;
/// Ctrl-C.
pub const INTERRUPTED: u8 = 130;
/// The reader of stdout has gone.
pub const BROKEN_PIPE: u8 = 141;

/// Why a verb ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: u8,
    /// The stable word of it.
    pub kind: &'static str,
    /// What happened; empty: nothing needs to be said.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The same command may succeed later.
    pub retryable: bool,
    /// Under which id the daemon's log tells more.
    pub request: Option<String>,
}

/// What verbs return: an exit code or a failure.
pub type Outcome = Result<u8, Failure>;

impl Failure {
    fn new(exit: u8, kind: &'static str, message: impl Into<String>) -> Self {
        Self { exit, kind, message: message.into(), hint: None, retryable: false, request: None }
    }

    /// The command line makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, "usage", message)
    }

    /// Something on this machine.
    pub fn local(message: impl Into<String>) -> Self {
        Self::new(LOCAL, Kind::LocalFile.word(), message)
    }

    /// The daemon cannot be reached or started.
    pub fn daemon(message: impl Into<String>) -> Self {
        Self::new(DAEMON, "no_daemon", message)
    }

    /// The time given has passed.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(TIMEOUT, "timeout", message)
    }

    /// Ctrl-C. The sentence may be empty.
    pub fn interrupted(message: impl Into<String>) -> Self {
        Self::new(INTERRUPTED, "interrupted", message)
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Of writing to stdout.
    #[must_use]
    pub fn stdout(e: &io::Error) -> Self {
        if e.kind() == io::ErrorKind::BrokenPipe {
            Self::new(BROKEN_PIPE, "broken_pipe", "")
        } else {
            Self::local(format!("cannot write to stdout: {e}"))
        }
    }

    /// As `--json` shows it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "schema": "act.error/1",
            "error": {
                "kind": self.kind, "message": self.message, "hint": self.hint,
                "retryable": self.retryable, "exit": self.exit, "request": self.request,
            },
        })
    }
}

impl From<ApiError> for Failure {
    fn from(e: ApiError) -> Self {
        let kind = e.data.kind;
        Self {
            exit: kind.exit(),
            kind: kind.word(),
            message: e.message,
            hint: e.data.hint.or_else(|| default_hint(kind).map(ToOwned::to_owned)),
            retryable: e.data.retryable,
            request: e.data.request,
        }
    }
}

/// What to do about errors for which the daemon has given no hint.
fn default_hint(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::NoProxy | Kind::ProxyExpired => "make a proxy with `arcproxy`, then run `actctl proxy`",
        Kind::NoToken | Kind::TokenRejected => "run `actctl proxy`",
        Kind::ServerUnreachable => {
            "check the network and `server:` in the config; `actctl daemon status` shows when it was last seen"
        }
        Kind::WrongProtocol | Kind::NoSuchMethod => {
            "daemon and command line differ in version: run `actctl daemon restart`"
        }
        Kind::Internal => "this is a bug in the daemon; `actctl daemon logs` tells more",
        Kind::BadConfig => "correct the config file; `actctl config path` names it",
        Kind::NotOneJob => "give its id or its key, as `actctl stat -o wide` shows them",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_errors_keep_their_exit_code_and_get_a_hint() {
        let f = Failure::from(ApiError::new(Kind::NoToken, "no token"));
        assert_eq!((f.exit, f.kind), (CREDENTIAL, "no_token"));
        assert_eq!(f.hint.as_deref(), Some("run `actctl proxy`"));
        let f = Failure::from(ApiError::new(Kind::NoToken, "no token").hint("do this"));
        assert_eq!(f.hint.as_deref(), Some("do this"));
        assert_eq!(f.json()["error"]["exit"], 3);
    }

    #[test]
    fn a_closed_pipe_is_quiet() {
        let f = Failure::stdout(&io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((f.exit, f.message.as_str()), (BROKEN_PIPE, ""));
    }
}
