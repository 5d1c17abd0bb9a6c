//! From a text to its jobs or its mistakes: the entry of the crate. Ties lexer, parser, evaluator and model together;
//! holds no rule of the language itself.

use crate::diagnostic::Diagnostic;
use crate::eval::{Evaluation, FlatNode, Undefined, evaluate};
use crate::model::{JobDescription, build};
use crate::span::Span;
use crate::syntax::{Node, recover, strict};
use std::borrow::Cow;

/// The largest description that is read, in bytes.
pub const MAX_TEXT: usize = 64 << 20;

/// A description that has been read, good or bad.
#[derive(Debug, Clone)]
pub struct Parsed {
    text: String,
    tree: Option<Node>,
    flat: Vec<FlatNode>,
    jobs: Vec<JobDescription>,
    diagnostics: Vec<Diagnostic>,
    undefined: Vec<Undefined>,
    accepted: bool,
}

/// Reads a description.
#[must_use]
pub fn parse(text: &str) -> Parsed {
    Parsed::new(text.to_owned())
}

/// Reads a description from a file's bytes, which are UTF-8 or else taken for Latin-1.
#[must_use]
pub fn parse_bytes(bytes: &[u8]) -> Parsed {
    Parsed::new(decode(bytes).into_owned())
}

/// The text of a file: UTF-8, or Latin-1 if it is not (every byte is a character there).
#[must_use]
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|b| char::from(*b)).collect()),
    }
}

impl Parsed {
    fn new(text: String) -> Self {
        let mut parsed = Self {
            text,
            tree: None,
            flat: Vec::new(),
            jobs: Vec::new(),
            diagnostics: Vec::new(),
            undefined: Vec::new(),
            accepted: false,
        };
        if parsed.text.len() > MAX_TEXT {
            let message = format!("the description is larger than {} MiB", MAX_TEXT >> 20);
            parsed.diagnostics.push(Diagnostic::reject("E00", Span::at(0), message));
            return parsed;
        }
        let bytes = parsed.text.as_bytes();
        let (tree, mut errors) = match strict::parse(bytes) {
            Ok(tree) => (Some(tree), Vec::new()),
            Err(refusal) => recover::parse(&parsed.text, refusal),
        };
        if let Some(root) = &tree {
            let Evaluation { jobs, errors: more, undefined } = evaluate(bytes, root);
            errors.extend(more);
            for flat in &jobs {
                let (job, more) = build::build(bytes, flat);
                parsed.jobs.push(job);
                errors.extend(more);
            }
            parsed.flat = jobs;
            parsed.undefined = undefined;
        }
        errors.iter_mut().for_each(|d| d.keep_sound_fix(&parsed.text));
        errors.sort_by_key(|d| (d.span.start, d.span.end));
        parsed.accepted = errors.is_empty();
        parsed.tree = tree;
        parsed.diagnostics = errors;
        parsed
    }

    /// The text, as given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The syntax tree; a guess where the text has mistakes, nothing where there is nothing to go by.
    #[must_use]
    pub fn tree(&self) -> Option<&Node> {
        self.tree.as_ref()
    }

    /// Whether ARC accepts the description.
    #[must_use]
    pub fn accepted(&self) -> bool {
        self.accepted
    }

    /// Why ARC refuses the description, in the order of the text; empty if it does not. Lints are separate.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// The jobs: one, or the members of `+` in order. Empty if ARC refuses the description.
    #[must_use]
    pub fn jobs(&self) -> &[JobDescription] {
        if self.accepted { &self.jobs } else { &[] }
    }

    /// The jobs as far as they can be understood, also of a description that ARC refuses; for lints and editors.
    #[must_use]
    pub fn tentative_jobs(&self) -> &[JobDescription] {
        &self.jobs
    }

    /// The evaluated tree of each of [`Parsed::tentative_jobs`].
    #[must_use]
    pub fn evaluated(&self) -> &[FlatNode] {
        &self.flat
    }

    /// Uses of variables that nothing defines.
    #[must_use]
    pub fn undefined_variables(&self) -> &[Undefined] {
        &self.undefined
    }
}
