//! `daemon.*`: who answers, what it is doing, its configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// For methods without parameters: `{}` or nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

/// Parameters of `daemon.hello`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HelloParams {
    /// The caller's name and version, for the log: `actctl/0.1.0`.
    pub client: String,
    /// The protocol that the caller speaks, [`crate::PROTOCOL`].
    pub protocol: u32,
}

/// Reply of `daemon.hello`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Hello {
    /// The daemon's version.
    pub version: String,
    /// The protocol that it speaks.
    pub protocol: u32,
    /// Names of what it can do beyond protocol 1.
    pub capabilities: Vec<String>,
    /// The instance's name: `default`, or one derived from the server.
    pub instance: String,
    /// A random name of this state directory: another one means other job keys and event numbers.
    pub instance_id: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// URL of the aCT server.
    pub server: String,
    /// The id of this connection's requests: the daemon's log names it with all that is done for this client. Empty:
    /// an older daemon, which has none.
    #[serde(default)]
    pub request: String,
}

/// Parameters of `daemon.requests`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "DaemonRequestsParams")]
pub struct RequestsParams {
    /// Those after this number.
    pub after: u64,
}

/// Reply of `daemon.requests`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DaemonRequests")]
pub struct Requests {
    /// The id under which the log tells of them.
    pub request: String,
    /// In the order in which they were answered.
    pub items: Vec<Request>,
    /// Some after that number are forgotten: the last 500 are kept.
    pub gap: bool,
}

/// A request of the daemon's to a server, without anything secret.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ServerRequest")]
pub struct Request {
    /// Its number, from 1.
    pub number: u64,
    /// `GET`, `POST`...
    pub method: String,
    /// The URL, without what could be secret in it.
    pub url: String,
    /// The answer's status; null: there was no answer.
    pub status: Option<u16>,
    /// Why there was no answer.
    pub error: Option<String>,
    /// Milliseconds until the answer began.
    pub millis: u64,
}

/// Reply of `daemon.status`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DaemonStatus")]
pub struct Status {
    /// The instance's name.
    pub instance: String,
    /// Version of the daemon.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// When it started.
    pub started: Timestamp,
    /// The state directory.
    pub state: String,
    /// The config file.
    pub config: String,
    /// URL of the aCT server.
    pub server: String,
    /// When the server's job list was last read completely; null: not yet.
    pub as_of: Option<Timestamp>,
    /// What the last exchange with the server ended with, if it was an error.
    pub server_error: Option<String>,
    /// Number of jobs by phase.
    pub phases: std::collections::BTreeMap<String, u64>,
    /// Work that cannot go on now: what waits for what.
    pub waiting: Vec<WaitingGroup>,
    /// Jobs that are stuck on the server, with cause and remedy.
    pub stuck: Vec<WaitingGroup>,
    /// Rows on the server without a description that look like leftovers of ours: never removed unless proven.
    pub orphans: u64,
    /// Requests to the aCT server since the start.
    pub requests: u64,
    /// Number of the newest event.
    pub last_event: u64,
}

/// Jobs that wait for the same thing.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct WaitingGroup {
    /// Stable word: `credential`, `server`, `disk`, `retry`, `stuck`, `other_identity`, ...
    pub reason: String,
    /// The sentence for people.
    pub message: String,
    /// What to do, if anything can be done.
    pub hint: Option<String>,
    /// How many jobs.
    pub jobs: u64,
}

/// Reply of `daemon.stop`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Stopping {
    /// Process id of the daemon that is stopping.
    pub pid: u32,
}

/// Reply of `daemon.config` and `daemon.reload`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ConfigReply {
    /// The config file, whether or not it exists.
    pub file: String,
    /// Every setting.
    pub settings: Vec<Setting>,
    /// Unknown keys and the like.
    pub warnings: Vec<String>,
}

/// A setting with its origin. Secrets are never among them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// Dotted key: `server`, `actd.results`.
    pub key: String,
    /// The value in force.
    pub value: serde_json::Value,
    /// `flag`, `environment`, `file` or `default`.
    pub origin: String,
}

/// Reply of `daemon.doctor`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Checkup {
    /// What was looked at, in the order in which one thing needs the other.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Stable word: `server`, `token`, `clock`, `proxy`, `webdav`, ...
    pub name: String,
    /// How it is.
    pub state: CheckState,
    /// The sentence for people. No secret is in it.
    pub message: String,
    /// What to do, if anything is to be done.
    pub hint: Option<String>,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// Well.
    Ok,
    /// It works, and may not for long, or not for everything.
    Warn,
    /// It does not work.
    Fail,
    /// It was not looked at: nothing needs it, or what it needs is missing.
    Skip,
}

impl Check {
    /// A finding without a hint.
    pub fn new(name: &str, state: CheckState, message: impl Into<String>) -> Self {
        Self { name: name.to_owned(), state, message: message.into(), hint: None }
    }

    /// With what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
