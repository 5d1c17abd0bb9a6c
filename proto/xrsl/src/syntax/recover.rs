//! Explains why a text is no description.

use super::Node;
use super::strict::Refusal;
use crate::diagnostic::Diagnostic;
use crate::span::Span;

/// Reports the first mistake.
pub(crate) fn parse(_text: &str, refusal: Refusal) -> (Option<Node>, Vec<Diagnostic>) {
    (None, vec![Diagnostic::reject("E00", Span::at(refusal.at), refusal.what)])
}
