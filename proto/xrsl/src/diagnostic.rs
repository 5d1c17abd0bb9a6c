//! What is wrong with a description, where, and how to mend it.
//! Must not find problems itself: the parser, the model and the lints do.

use crate::span::Span;

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Worth knowing; nothing is wrong.
    Hint,
    /// Probably not what was meant; the job can be sent.
    Warning,
    /// The job should not be sent.
    Error,
}

impl Level {
    /// `error`, `warning` or `hint`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hint => "hint",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One replacement in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The bytes that go; empty for an insertion.
    pub span: Span,
    /// What comes in their place.
    pub text: String,
}

impl Edit {
    /// Replaces `span` by `text`.
    #[must_use]
    pub fn replace(span: Span, text: impl Into<String>) -> Self {
        Self { span, text: text.into() }
    }

    /// Inserts `text` before byte `at`.
    #[must_use]
    pub fn insert(at: usize, text: impl Into<String>) -> Self {
        Self { span: Span::at(at), text: text.into() }
    }
}

/// A correction that can be applied without asking: its edits belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What it does, as an instruction: "quote the value".
    pub title: String,
    /// The edits, in any order; they never overlap within one fix.
    pub edits: Vec<Edit>,
}

impl Fix {
    /// A fix of one edit.
    #[must_use]
    pub fn one(title: impl Into<String>, edit: Edit) -> Self {
        Self { title: title.into(), edits: vec![edit] }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable code, such as `E01`; [`crate::lint::CODES`] lists them all.
    pub code: &'static str,
    /// How serious it is.
    pub level: Level,
    /// One sentence without a full stop.
    pub message: String,
    /// Where, in bytes.
    pub span: Span,
    /// What to do about it.
    pub help: Option<String>,
    /// A correction that a program may apply.
    pub fix: Option<Fix>,
    /// ARC itself refuses the description because of this: no `--force` helps.
    pub rejected: bool,
}

impl Diagnostic {
    /// An error because of which ARC refuses the description.
    #[must_use]
    pub fn reject(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { rejected: true, ..Self::new(code, Level::Error, span, message) }
    }

    /// An error about something that ARC lets pass.
    #[must_use]
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(code, Level::Error, span, message)
    }

    /// A warning.
    #[must_use]
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(code, Level::Warning, span, message)
    }

    /// A hint.
    #[must_use]
    pub fn hint(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(code, Level::Hint, span, message)
    }

    fn new(code: &'static str, level: Level, span: Span, message: impl Into<String>) -> Self {
        Self { code, level, message: message.into(), span, help: None, fix: None, rejected: false }
    }

    /// Drops a fix that cannot be applied, because a `^` delimiter cuts a character of the text in two.
    pub(crate) fn keep_sound_fix(&mut self, text: &str) {
        if !self.fix.as_ref().is_some_and(|f| fits(text, &f.edits)) {
            self.fix = None;
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a correction.
    #[must_use]
    pub fn fix(mut self, fix: Fix) -> Self {
        self.fix = Some(fix);
        self
    }
}

/// Whether all edits start and end between characters of the text.
pub(crate) fn fits(text: &str, edits: &[Edit]) -> bool {
    let between = |at: u32| text.is_char_boundary(at as usize);
    edits.iter().all(|e| between(e.span.start) && between(e.span.end))
}

/// Applies edits to a text; every other byte stays. Edits that overlap an earlier one (by position, then by order
/// given) or that do not fall on character boundaries are left out; the second value tells how many were applied.
#[must_use]
pub fn apply_edits(text: &str, edits: &[Edit]) -> (String, usize) {
    let mut order: Vec<&Edit> = edits.iter().collect();
    order.sort_by_key(|e| (e.span.start, e.span.end));
    let mut out = String::with_capacity(text.len() + order.iter().map(|e| e.text.len()).sum::<usize>());
    let (mut at, mut applied) = (0, 0);
    for edit in order {
        let range = edit.span.range();
        if range.start < at {
            continue;
        }
        let (Some(before), true) = (text.get(at..range.start), text.is_char_boundary(range.end)) else {
            continue;
        };
        if range.end > text.len() {
            continue;
        }
        out.push_str(before);
        out.push_str(&edit.text);
        at = range.end;
        applied += 1;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    (out, applied)
}

/// Applies the fixes of the given findings, first come first served: a fix that overlaps one already taken is left for
/// the next round. Returns the new text and how many fixes went in.
#[must_use]
pub fn apply_fixes(text: &str, diagnostics: &[Diagnostic]) -> (String, usize) {
    let mut taken: Vec<&Edit> = Vec::new();
    let mut count = 0;
    for fix in diagnostics.iter().filter_map(|d| d.fix.as_ref()) {
        let clash = |e: &Edit| {
            taken.iter().any(|t| {
                let touching_insert = t.span.is_empty() && e.span.is_empty() && t.span == e.span;
                touching_insert || (e.span.start < t.span.end && t.span.start < e.span.end)
            })
        };
        if !fix.edits.iter().any(clash) {
            taken.extend(&fix.edits);
            count += 1;
        }
    }
    let edits: Vec<Edit> = taken.into_iter().cloned().collect();
    (apply_edits(text, &edits).0, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_leave_everything_else_alone() {
        let edits = [Edit::insert(0, "<"), Edit::replace(Span::new(2, 3), "XY"), Edit::replace(Span::new(2, 4), "no")];
        assert_eq!(apply_edits("abcdé", &edits), ("<abXYdé".to_owned(), 2));
        assert_eq!(apply_edits("é", &[Edit::insert(1, "x"), Edit::insert(9, "y")]), ("é".to_owned(), 0));
    }

    #[test]
    fn overlapping_fixes_wait_for_the_next_round() {
        let fix = |a, b, t: &str| {
            Diagnostic::error("E00", Span::new(a, b), "").fix(Fix::one("", Edit::replace(Span::new(a, b), t)))
        };
        assert_eq!(apply_fixes("abcd", &[fix(0, 2, "1"), fix(1, 3, "2"), fix(3, 4, "3")]), ("1c3".to_owned(), 2));
    }
}
