//! `xrsl.*`: job descriptions as such.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::jobs::Diagnostic;

/// Parameters of `xrsl.check`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "XrslCheckParams")]
pub struct CheckParams {
    /// xRSL (or ADL) text.
    pub text: String,
    /// Absolute directory that relative input paths are relative to; nothing: whether local inputs exist is not looked at.
    pub base_dir: Option<String>,
}

/// Reply of `xrsl.check`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "XrslChecked")]
pub struct Checked {
    /// Whether ARC accepts it.
    pub accepted: bool,
    /// How many jobs it describes.
    pub jobs: usize,
    /// What was found in it, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}
