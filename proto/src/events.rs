//! `events.*`: what happened, numbered, kept across restarts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Timestamp, jobs};

/// Parameters of `events.list`, and of the subscription `events.subscribe` (which ignores `limit` and `timeout_ms`).
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "EventListParams")]
pub struct ListParams {
    /// Events after this number; nothing: from now on.
    pub since: Option<u64>,
    /// Only these types; none: all.
    pub types: Vec<String>,
    /// Only events about these jobs (keys); none: all.
    pub jobs: Vec<String>,
    /// At most so many; nothing: 1,000; 10,000 at most.
    pub limit: Option<usize>,
    /// If there is none, wait so long, in milliseconds; at most 60,000.
    pub timeout_ms: u64,
}

/// Reply of `events.list`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EventList {
    /// The events, in the order of their numbers.
    pub items: Vec<Event>,
    /// Number of the newest event there is.
    pub last: u64,
    /// Events that were asked for and are no longer kept: read the lists again.
    pub gap: bool,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Its number: increasing, never used twice.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// `job` (a job changed), `credential`, `server`, `dir`, `progress`, `gap`, `end`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The job it is about.
    pub key: Option<String>,
    /// The job before; null: it is new.
    pub before: Option<JobState>,
    /// The job after; null: it is no longer kept.
    pub after: Option<JobState>,
    /// Words for people.
    pub text: String,
    /// Transfer progress, for `progress`. Not kept, has the number of the event before it.
    pub progress: Option<jobs::Progress>,
}

/// What an event says of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobState {
    /// The server's id.
    pub id: Option<u64>,
    /// Its name.
    pub name: Option<String>,
    /// The daemon's state of it.
    pub phase: jobs::Phase,
    /// The server's state of it.
    pub arcstate: Option<String>,
    /// ARC's state of it.
    pub state: Option<String>,
    /// Its batch.
    pub batch: Option<String>,
}
