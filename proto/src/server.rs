//! `server.*`: the aCT server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parameters of `server.info`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InfoParams {}

/// Reply of `server.info`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Info {
    /// The server's URL as configured.
    pub url: String,
    /// Its clusters, as it names them.
    pub clusters: Vec<String>,
    /// Columns of its ARC table.
    pub arc: Vec<String>,
    /// Columns of its client table.
    pub client: Vec<String>,
    /// Groups of clusters in the config.
    pub groups: std::collections::BTreeMap<String, Vec<String>>,
}
