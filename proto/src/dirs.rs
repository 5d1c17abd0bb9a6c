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
    /// Why it is paused or polled.
    pub reason: Option<String>,
    /// Files submitted from it since the daemon started.
    pub accepted: u64,
    /// Files that could not be submitted.
    pub failed: u64,
}
