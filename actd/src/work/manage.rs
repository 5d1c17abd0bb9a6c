//! PATCH /jobs: kill, fetch, resubmit, and the cancelling of rows that never became jobs.

use std::collections::HashMap;

use super::trouble::{self, Repeat};
use super::{Done, again, ids_of, rows, whole};
use crate::failpoint;
use crate::job::apply::{Input, Kill};
use crate::job::fault::{Class, Fault};
use crate::job::{Arcstate, Key, ServerId};
use crate::remote::RemoteError;
use crate::remote::act::ActClient;

pub(super) async fn kill(act: &ActClient, jobs: Vec<(Key, ServerId)>) -> Done {
    let Some(ids) = ids_of(jobs.iter().map(|(_, id)| *id)) else { return Done::nothing() };
    failpoint!("kill.before");
    let answer = act.cancel(&ids).await;
    failpoint!("kill.after");
    match answer {
        Ok(cancelled) => {
            let inputs = jobs.into_iter().map(|(key, id)| {
                let kill = cancelled
                    .iter()
                    .find(|c| c.id == id)
                    .map(|c| Kill { arcstate: Arcstate::from_word(c.arcstate.as_deref()), gone: c.is_gone() });
                (key, Input::Killed(Ok(kill)))
            });
            Done::Jobs { inputs: inputs.collect(), fault: None }
        }
        Err(error) => failed(&jobs, &error, Repeat::Harmless, |fault| Input::Killed(Err(fault))),
    }
}

pub(super) async fn fetch(act: &ActClient, jobs: Vec<(Key, ServerId)>) -> Done {
    let Some(ids) = ids_of(jobs.iter().map(|(_, id)| *id)) else { return Done::nothing() };
    failpoint!("fetch.before");
    let answer = act.fetch(&ids).await;
    failpoint!("fetch.after");
    match answer {
        Ok(taken) => each(jobs, |id| Input::Fetched(Ok(taken.contains(&id)))),
        Err(error) => failed(&jobs, &error, Repeat::Harmless, |fault| Input::Fetched(Err(fault))),
    }
}

/// Runs jobs again, each of which must still be of the run that the wish was about: an earlier request without an answer
/// may have been executed, and its run may have failed, too.
pub(super) async fn resubmit(act: &ActClient, jobs: Vec<(Key, ServerId, Box<str>)>) -> Done {
    let Some(ids) = ids_of(jobs.iter().map(|(_, id, _)| *id)) else { return Done::nothing() };
    let now = match rows::read(act, &ids).await {
        Ok(now) => now,
        Err(error) => {
            let fault = trouble::remote(&error, Repeat::Harmless);
            return whole(jobs.iter().map(|(key, ..)| *key), fault, |fault| Input::Resubmitted(Err(fault)));
        }
    };
    let is_due = |(_, id, run): &(Key, ServerId, Box<str>)| now.get(id).is_some_and(|row| rows::is_run(row, run));
    let (due, settled): (Vec<_>, Vec<_>) = jobs.into_iter().partition(is_due);
    let settled = settled.into_iter().map(|(key, ..)| (key, Input::Resubmitted(Ok(false))));
    let due: Vec<(Key, ServerId)> = due.into_iter().map(|(key, id, _)| (key, id)).collect();
    match resubmit_these(act, due).await {
        Done::Jobs { mut inputs, fault } => {
            inputs.extend(settled);
            Done::Jobs { inputs, fault }
        }
        other => other,
    }
}

async fn resubmit_these(act: &ActClient, jobs: Vec<(Key, ServerId)>) -> Done {
    let Some(ids) = ids_of(jobs.iter().map(|(_, id)| *id)) else { return Done::nothing() };
    failpoint!("resubmit.before");
    let answer = act.resubmit(&ids).await;
    failpoint!("resubmit.after");
    match answer {
        Ok(taken) => each(jobs, |id| Input::Resubmitted(Ok(taken.contains(&id)))),
        // If it was executed and the new run has failed by then, a repetition runs the job once more.
        Err(error) => failed(&jobs, &error, Repeat::Counts, |fault| Input::Resubmitted(Err(fault))),
    }
}

/// Cancels rows of ours that were never confirmed. A row that has become a job (a description, a name, a state) is left
/// alone: somebody's job it is.
pub(super) async fn cancel_rows(act: &ActClient, jobs: Vec<(Key, ServerId)>) -> Done {
    let Some(ids) = ids_of(jobs.iter().map(|(_, id)| *id)) else { return Done::nothing() };
    let mut rows = match unused(act, &ids).await {
        Ok(rows) => rows,
        Err(error) => return rows_failed(&jobs, &error),
    };
    if let Some(ids) = ids_of(rows.iter().filter(|(_, unused)| **unused).map(|(id, _)| *id)) {
        failpoint!("cancel_rows.before");
        let answer = act.cancel(&ids).await;
        failpoint!("cancel_rows.after");
        match answer {
            Ok(cancelled) => rows.retain(|id, _| !cancelled.iter().any(|c| c.id == *id && c.is_gone())),
            Err(error) => return rows_failed(&jobs, &error),
        }
        if let Some(ids) = ids_of(rows.iter().filter(|(_, unused)| **unused).map(|(id, _)| *id)) {
            let left = match unused(act, &ids).await {
                Ok(left) => left,
                Err(error) => return rows_failed(&jobs, &error),
            };
            rows.retain(|_, unused| !*unused);
            rows.extend(left);
        }
    }
    each(jobs, |id| {
        let result = match rows.get(&id) {
            None => Ok(true),
            Some(false) => Ok(false),
            Some(true) => {
                let why = format!("the server did not cancel the unused row {id} and does not say why");
                Err(Fault::new(Class::Transient, why))
            }
        };
        Input::RowCancelled(id, result)
    })
}

/// Those of the rows that exist, and whether they have neither description nor name nor state.
async fn unused(act: &ActClient, ids: &crate::remote::Ids) -> Result<HashMap<ServerId, bool>, RemoteError> {
    let details = again::reading(|| act.details(ids, &["jobname", "jobdesc"], &["arcstate"])).await?;
    Ok(details.into_iter().map(|row| (row.id, rows::is_empty(&row))).collect())
}

fn rows_failed(jobs: &[(Key, ServerId)], error: &RemoteError) -> Done {
    let fault = trouble::remote(error, Repeat::Harmless);
    let inputs = jobs.iter().map(|(key, id)| (*key, Input::RowCancelled(*id, Err(fault.clone())))).collect();
    Done::Jobs { inputs, fault: Some(fault).filter(trouble::stops_all) }
}

fn each(jobs: Vec<(Key, ServerId)>, input: impl Fn(ServerId) -> Input) -> Done {
    Done::Jobs { inputs: jobs.into_iter().map(|(key, id)| (key, input(id))).collect(), fault: None }
}

fn failed(jobs: &[(Key, ServerId)], error: &RemoteError, repeat: Repeat, input: impl Fn(Fault) -> Input) -> Done {
    whole(jobs.iter().map(|(key, _)| *key), trouble::remote(error, repeat), input)
}
