//! Repairs what only act's own dialect accepts.

use crate::diagnostic::Diagnostic;

/// The repaired text, or None if nothing is known to help.
#[must_use]
pub fn repair_act_dialect(_text: &str) -> Option<(String, Vec<Diagnostic>)> {
    None
}
