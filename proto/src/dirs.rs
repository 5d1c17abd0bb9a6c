//! `dirs.*`: watched directories.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Reply of `dirs.list`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DirList {
    /// The directories.
    pub items: Vec<Dir>,
}

/// A watched directory.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Dir {
    /// Absolute path.
    pub path: String,
    /// `watching`, `polling` or `paused`.
    pub state: String,
    /// Why it is paused or polled, or what is in the way of a file.
    pub reason: Option<String>,
    /// Files submitted from it since the daemon started.
    pub accepted: u64,
    /// Files that could not be submitted, since the daemon started.
    pub failed: u64,
    /// Files that are still changing, or wait to be submitted.
    pub waiting: u64,
    /// The config file names it: its settings are changed there.
    pub configured: bool,
    /// Where results go.
    pub results: String,
    /// Its clusters: a group of the config, or URLs; null: the group `default`.
    pub clusterlist: Option<String>,
    /// Local inputs are staged through WebDAV; empty: the config's URL.
    pub webdav: Option<String>,
    /// How long a file must have stayed as it is, milliseconds.
    pub settle_ms: u64,
    /// What has been in `accepted` and `failed` for so long, in seconds, is removed; null: never.
    pub sweep_s: Option<u64>,
    /// It is looked at every two seconds instead of waiting for events.
    pub poll: bool,
}

/// Parameters of `dirs.add`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DirAddParams")]
#[serde(deny_unknown_fields, default)]
pub struct AddParams {
    /// Absolute path of a directory that exists. One that is watched already gets these settings.
    pub path: String,
    /// A group of the config, or URLs separated by commas; nothing: the group `default`.
    pub clusterlist: Option<String>,
    /// Stage local inputs through WebDAV: `""` takes the config's URL, anything else is the URL.
    pub webdav: Option<String>,
    /// Absolute directory in which the results' directories are made; nothing: `results` in the directory.
    pub results: Option<String>,
    /// How long a file must have stayed as it is, milliseconds; nothing: 1000.
    pub settle_ms: Option<u64>,
    /// Remove what has been in `accepted` and `failed` for so long, in seconds; nothing: never.
    pub sweep_s: Option<u64>,
    /// Look every two seconds instead of waiting for events.
    pub poll: bool,
}

/// Parameters of calls about one watched directory.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DirParams")]
#[serde(deny_unknown_fields)]
pub struct OneParams {
    /// Its path.
    pub path: String,
}
