//! A piece of work that was not done: it panicked, which is a bug of ours and must not hold its jobs, and the place that it
//! had, for ever; or it was planned for another identity.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use crate::job::apply::Input;
use crate::job::fault::{Class, Fault};
use crate::job::next::Action;
use crate::job::{Key, ServerId};
use crate::work::{Done, Work};

/// What is needed to say that a piece of work was not done, when it is gone.
pub(super) struct About {
    actions: Vec<(Key, Action)>,
    /// The leftovers that it was about.
    left: Vec<ServerId>,
    is_list: bool,
}

impl About {
    pub(super) fn of(work: &Work, actions: &[(Key, Action)]) -> Self {
        let left = match work {
            Work::CancelRows(rows) => rows.iter().map(|(_, id)| *id).collect(),
            Work::Sweep { id, .. } => vec![*id],
            _ => Vec::new(),
        };
        Self { actions: actions.to_vec(), left, is_list: matches!(work, Work::List) }
    }

    /// What came of the work. Where it broke, its requests may have been sent.
    pub(super) async fn watch(self, work: impl Future<Output = Done>) -> Done {
        match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Done::Outdated) => self.outdated(),
            Ok(done) => done,
            Err(_) => {
                let first = self.actions.first().map(|(_, action)| *action);
                tracing::error!(?first, jobs = self.actions.len(), "a piece of work broke: this is a bug in actd");
                self.broken()
            }
        }
    }

    /// It is asked for again when its identity is back.
    fn outdated(self) -> Done {
        let why = "another identity came into force before it was sent";
        // Which says nothing about the server.
        let class = if self.actions.is_empty() { Class::Local } else { Class::Transient };
        self.failed(Fault::new(class, why))
    }

    fn broken(self) -> Done {
        let why = "a step broke off within actd: this is a bug; `actctl daemon logs` tells more";
        self.failed(Fault::new(Class::Ambiguous, why))
    }

    fn failed(self, fault: Fault) -> Done {
        if self.actions.is_empty() {
            return if self.is_list {
                Done::Listed(Err(fault))
            } else {
                Done::Orphans { gone: Vec::new(), again: None, fault: Some(fault) }
            };
        }
        let inputs = self.actions.iter().enumerate().map(|(n, (key, action))| {
            let left = self.left.get(n).copied().unwrap_or_default();
            (*key, failed(*action, left, fault.clone()))
        });
        Done::Jobs { inputs: inputs.collect(), fault: None }
    }
}

fn failed(action: Action, left: ServerId, fault: Fault) -> Input {
    match action {
        Action::Create => Input::Created(Err(fault)),
        Action::Upload => Input::Uploaded(Err(fault)),
        Action::Confirm => Input::Confirmed(Err(fault)),
        Action::Look => Input::Looked(Err(fault)),
        Action::Retrieve => Input::Retrieved(Err(fault)),
        Action::Clean => Input::Cleaned(Err(fault)),
        Action::Kill => Input::Killed(Err(fault)),
        Action::Fetch => Input::Fetched(Err(fault)),
        Action::Resubmit => Input::Resubmitted(Err(fault)),
        Action::Deliver => Input::Delivered(Err(fault)),
        Action::Discard | Action::Expire => Input::Discarded(Err(fault)),
        Action::CancelRow => Input::RowCancelled(left, Err(fault)),
        Action::Sweep => Input::Swept(left, Err(fault)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The work breaks when it is polled, as it would within a request.
    async fn watched(work: Work, actions: &[(Key, Action)]) -> Done {
        About::of(&work, actions).watch(async { panic!("a bug") }).await
    }

    #[tokio::test]
    async fn each_job_is_told_of_and_so_are_lists_and_searches() {
        assert!(matches!(watched(Work::List, &[]).await, Done::Listed(Err(_))));
        let jobs = [(Key(1), Action::CancelRow), (Key(2), Action::CancelRow)];
        let Done::Jobs { inputs, fault: None } = watched(Work::CancelRows(vec![(Key(1), 5), (Key(2), 6)]), &jobs).await
        else {
            panic!("jobs")
        };
        let ids: Vec<_> =
            inputs.iter().map(|(key, input)| (key.0, matches!(input, Input::RowCancelled(5 | 6, Err(_))))).collect();
        assert_eq!(ids, [(1, true), (2, true)]);
        let kill = [(Key(1), Action::Kill)];
        let done = About::of(&Work::Kill(vec![(Key(1), 5)]), &kill).watch(async { Done::Outdated }).await;
        let Done::Jobs { inputs, .. } = done else { panic!("jobs") };
        assert!(matches!(&inputs[..], [(Key(1), Input::Killed(Err(fault)))] if fault.class == Class::Transient));
        let kill = watched(Work::Kill(vec![(Key(1), 5)]), &[(Key(1), Action::Kill)]).await;
        let Done::Jobs { inputs, .. } = kill else { panic!("jobs") };
        assert!(matches!(&inputs[..], [(Key(1), Input::Killed(Err(fault)))] if fault.class == Class::Ambiguous));
    }
}
