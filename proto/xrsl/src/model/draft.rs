//! A job description while it is read: what is known of it, what must wait for the end, and its alternatives.

use super::JobDescription;
use crate::eval::FlatRelation;
use crate::span::Span;

/// What ARC settles only after all relations have been read.
#[derive(Clone, Default)]
pub(super) struct Pending {
    pub(super) executables: Option<FlatRelation>,
    pub(super) ftpthreads: Option<(String, Span)>,
    pub(super) countpernode: Option<(String, Span)>,
    pub(super) join: Option<(String, Span)>,
    pub(super) gridtime: Option<(String, Span)>,
    pub(super) action: Option<Span>,
    pub(super) count_seen: bool,
}

#[derive(Clone, Default)]
pub(super) struct Draft {
    pub(super) job: JobDescription,
    pub(super) pending: Pending,
}

impl Draft {
    /// How many list members a copy has to copy.
    pub(super) fn weight(&self) -> usize {
        let j = &self.job;
        1 + j.inputs.len()
            + j.outputs.len()
            + j.arguments.len()
            + j.environment.len()
            + j.runtime_environments.len()
            + j.notify.len()
            + j.other.len()
            + self.pending.executables.as_ref().map_or(0, |r| r.values.len())
    }
}

/// A job and what its `|` offers besides.
#[derive(Default)]
pub(super) struct Drafts {
    pub(super) main: Draft,
    pub(super) alternatives: Vec<Draft>,
}

impl Drafts {
    /// A copy of the job as it stands, without its alternatives.
    pub(super) fn fork(&self) -> Box<Self> {
        Box::new(Self { main: self.main.clone(), alternatives: Vec::new() })
    }

    /// Takes another branch with its own alternatives in.
    pub(super) fn join(&mut self, branch: Self) {
        self.alternatives.push(branch.main);
        self.alternatives.extend(branch.alternatives);
    }
}
