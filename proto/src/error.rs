//! Errors on the wire: numbers by area, a stable `kind`, a sentence, and what to do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `code` of an error. Areas: 1xx selector and job, 2xx description, 3xx credential, 4xx server, 5xx transfer,
/// 6xx local, 7xx config and daemon. Below zero: JSON-RPC 2.0's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub i32);

macro_rules! kinds {
    ($($variant:ident = $code:literal $word:literal exit $exit:literal : $doc:literal;)*) => {
        /// The stable word of an error, on which programs branch.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Kind { $(#[doc = $doc] #[serde(rename = $word)] $variant,)* }
        impl Kind {
            /// Every kind, for the documentation.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant,)*];
            /// The number that goes with it.
            pub fn code(self) -> Code { Code(match self { $(Kind::$variant => $code,)* }) }
            /// The word on the wire.
            pub fn word(self) -> &'static str { match self { $(Kind::$variant => $word,)* } }
            /// What it means.
            pub fn doc(self) -> &'static str { match self { $(Kind::$variant => $doc,)* } }
            /// Whether the daemon's log may tell more of it than its sentence: no mistake of the caller's.
            pub fn is_logged(self) -> bool { (400..700).contains(&self.code().0) || matches!(self, Kind::TokenRejected | Kind::Internal) }
            /// The exit code of `actctl` for it.
            pub fn exit(self) -> u8 { match self { $(Kind::$variant => $exit,)* } }
        }
    };
}

kinds! {
    BadSelector = 101 "bad_selector" exit 2: "A selector or filter that cannot be read.";
    NoSuchJob = 102 "no_such_job" exit 1: "No job fits.";
    NotOneJob = 103 "not_one_job" exit 2: "A selector that must name one job names several.";
    WrongState = 104 "wrong_state" exit 1: "The job's state does not allow it.";
    TooMany = 105 "too_many" exit 2: "More items than one call may have.";
    AllNotMeant = 106 "all_not_meant" exit 2: "An empty selection for a call that changes jobs, without `all`.";
    NoSuchOperation = 107 "no_such_operation" exit 1: "No operation of that name.";
    BadDescription = 201 "bad_description" exit 4: "A job description that cannot be submitted.";
    UnknownClusters = 202 "unknown_clusters" exit 2: "Neither a group of the config nor a list of URLs.";
    NoProxy = 301 "no_proxy" exit 3: "There is no proxy file.";
    ProxyExpired = 302 "proxy_expired" exit 3: "The proxy has ended.";
    BadProxy = 303 "bad_proxy" exit 3: "The proxy file cannot be used.";
    NoToken = 304 "no_token" exit 3: "There is no token: the proxy has not been delegated.";
    TokenRejected = 305 "token_rejected" exit 3: "The server refuses the token.";
    OtherIdentity = 306 "other_identity" exit 3: "Another identity than the one that the jobs belong to.";
    ServerUnreachable = 401 "server_unreachable" exit 5: "The aCT server cannot be reached.";
    ServerRefused = 402 "server_refused" exit 5: "The aCT server refuses the request.";
    ServerBroken = 403 "server_broken" exit 5: "The aCT server answers with errors or what is not an answer.";
    ServerDialect = 404 "server_dialect" exit 5: "The aCT server speaks another dialect of the API.";
    CeFailed = 501 "ce_failed" exit 5: "The computing element did not give the file.";
    WebdavFailed = 502 "webdav_failed" exit 5: "The WebDAV store did not do it.";
    NotAvailable = 503 "not_available" exit 1: "The job has no such file yet.";
    LocalFile = 601 "local_file" exit 6: "A local file or directory cannot be used.";
    DiskFull = 602 "disk_full" exit 6: "No room on the disk.";
    StoreFailed = 603 "store_failed" exit 6: "The job cache on disk cannot be written.";
    NotWatched = 604 "not_watched" exit 1: "The directory is not watched.";
    BadConfig = 701 "bad_config" exit 2: "The config file cannot be used.";
    Busy = 702 "busy" exit 8: "The daemon has too much to do just now.";
    Stopping = 703 "stopping" exit 8: "The daemon is stopping.";
    WrongProtocol = 704 "wrong_protocol" exit 8: "Client and daemon speak different protocols.";
    NoJson = -32700 "no_json" exit 2: "A message that is no JSON.";
    BadRequest = -32600 "bad_request" exit 2: "A message that is no JSON-RPC 2.0 request, or one that is too large.";
    BadParams = -32602 "bad_params" exit 2: "Parameters that do not fit the method.";
    NoSuchMethod = -32601 "no_such_method" exit 8: "No method of that name.";
    Internal = -32603 "internal" exit 70: "A mistake of the daemon's.";
}

/// The `data` of an error.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ErrorData {
    /// The stable word.
    pub kind: Kind,
    /// What to do.
    pub hint: Option<String>,
    /// The same call may succeed later.
    pub retryable: bool,
    /// The request id under which the daemon's log tells of the call, where that may help; see `daemon.hello`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// With `bad_params`: the field that the method does not know. Of a client that goes by this document, that says that the
    /// daemon is older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_field: Option<String>,
}

/// An error of the API: what a method gives instead of a reply.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What happened, in one sentence.
    pub message: String,
    /// Kind, hint, retryable.
    pub data: ErrorData,
}

impl ApiError {
    /// An error of that kind with that sentence.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let retryable = matches!(
            kind,
            Kind::ServerUnreachable
                | Kind::ServerBroken
                | Kind::Busy
                | Kind::Stopping
                | Kind::CeFailed
                | Kind::NotAvailable
        );
        Self {
            message: message.into(),
            data: ErrorData { kind, hint: None, retryable, request: None, unknown_field: None },
        }
    }

    /// With a hint on what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.data.hint = Some(hint.into());
        self
    }
}
