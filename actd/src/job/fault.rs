//! What went wrong, as far as the core must know it to decide what to do next.

use serde::{Deserialize, Serialize};

/// A failure of a piece of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What to make of it.
    pub class: Class,
    /// What happened, in one line, for people.
    pub why: String,
    /// Try again no sooner than so many milliseconds from now, if the other side said so.
    pub retry_after_ms: Option<i64>,
    /// What the other side refused, if it said so.
    pub refused: Option<Cause>,
}

/// What a submission has failed for. Kept on disk: what comes new comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Cause {
    /// The clusters that it is for.
    Clusters,
    /// Its description.
    Description,
    /// Something on this machine: an input that is gone or has changed.
    Local,
    /// The server, or the WebDAV store, by what it says of anything else.
    Server,
}

/// Classes of failures by what they allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Surely not executed, or harmless to repeat: later again.
    Transient,
    /// The request may have been executed, or may be yet (no answer came): nothing opposite for a quarter of an hour.
    Ambiguous,
    /// Token or proxy missing, expired, refused: later, with another one.
    Auth,
    /// The other side understood and said no: final for this step.
    Rejected,
    /// The row is not on the server (any more).
    NoRow,
    /// No room, or over the quota, on this machine's disk.
    DiskFull,
    /// A local file or directory is not usable, or not the one it was.
    Local,
}

impl Fault {
    /// A failure of that class with that sentence.
    #[must_use]
    pub fn new(class: Class, why: impl Into<String>) -> Self {
        Self { class, why: why.into(), retry_after_ms: None, refused: None }
    }

    /// What a submission has failed for, if this is its end.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.refused.unwrap_or(match self.class {
            Class::Local | Class::DiskFull => Cause::Local,
            Class::Transient | Class::Ambiguous | Class::Auth | Class::Rejected | Class::NoRow => Cause::Server,
        })
    }
}
