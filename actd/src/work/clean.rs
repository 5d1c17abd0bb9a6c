//! Dropping jobs on the server: DELETE /jobs, only for rows that immediately before were what they were taken for.

use std::collections::HashMap;

use tokio::sync::OnceCell;

use super::trouble::{self, Repeat};
use super::{Done, ids_of, rows, whole};
use crate::failpoint;
use crate::job::apply::{Input, Row};
use crate::job::fault::{Class, Fault};
use crate::job::{Key, ServerId};
use crate::remote::act::{ActClient, Info};

/// `known` are the server's columns, once they have been asked for.
pub(super) async fn clean(act: &ActClient, known: &OnceCell<Info>, jobs: Vec<(Key, ServerId, Box<str>)>) -> Done {
    let Some(all) = ids_of(jobs.iter().map(|(_, id, _)| *id)) else { return Done::nothing() };
    // Not worth a failure: without them only the columns that are needed are read.
    let known = known.get_or_try_init(|| act.info()).await.ok();
    let read = match rows::read_whole(act, &all, known).await {
        // The server may have other columns by now than when it was asked for them.
        Err(error) if known.is_some() && trouble::remote(&error, Repeat::Harmless).class == Class::Rejected => {
            rows::read_whole(act, &all, None).await
        }
        read => read,
    };
    let mut now = match read {
        Ok(now) => now,
        Err(error) => return failed(jobs.iter().map(|(key, ..)| *key), &error),
    };
    let mut inputs = Vec::with_capacity(jobs.len());
    let mut due: Vec<(Key, ServerId, Box<str>)> = Vec::new();
    for (key, id, run) in jobs {
        match now.remove(&id) {
            None => inputs.push((key, Input::Cleaned(Ok(())))),
            Some((row, columns)) if may_go(&row, &run) => {
                inputs.push((key, Input::Columns(columns)));
                due.push((key, id, run));
            }
            Some((row, _)) => inputs.push((key, Input::NotCleaned(row))),
        }
    }
    let Some(ids) = ids_of(due.iter().map(|(_, id, _)| *id)) else { return Done::Jobs { inputs, fault: None } };
    failpoint!("clean.before");
    let answer = act.clean(&ids).await;
    failpoint!("clean.after");
    let mut fault = None;
    let cleaned = match answer {
        Ok(cleaned) => cleaned,
        Err(error) => {
            if let Done::Jobs { inputs: failed, fault } = failed(due.iter().map(|(key, ..)| *key), &error) {
                inputs.extend(failed);
                return Done::Jobs { inputs, fault };
            }
            return Done::Jobs { inputs, fault: None };
        }
    };
    let (gone, left): (Vec<_>, Vec<_>) = due.into_iter().partition(|(_, id, _)| cleaned.contains(id));
    inputs.extend(gone.into_iter().map(|(key, ..)| (key, Input::Cleaned(Ok(())))));
    // Not in the answer: gone before the request came, or in another state by then.
    if let Some(ids) = ids_of(left.iter().map(|(_, id, _)| *id)) {
        let looked = rows::read(act, &ids).await;
        let (now, unknown) = match looked {
            Ok(now) => (now, None),
            Err(error) => (HashMap::new(), Some(trouble::remote(&error, Repeat::Harmless))),
        };
        inputs.extend(left.into_iter().map(|(key, id, run)| (key, not_answered(now.get(&id), &run, unknown.as_ref()))));
        fault = unknown.filter(trouble::stops_all);
    }
    Done::Jobs { inputs, fault }
}

fn may_go(row: &Row, run: &str) -> bool {
    row.arcstate.can_clean() && rows::is_run(row, run)
}

fn not_answered(row: Option<&Row>, run: &str, unknown: Option<&Fault>) -> Input {
    match (unknown, row) {
        (Some(fault), _) => Input::Cleaned(Err(fault.clone())),
        (None, None) => Input::Cleaned(Ok(())),
        (None, Some(row)) if may_go(row, run) => {
            let why = format!("the server did not drop job {} and does not say why", row.id);
            Input::Cleaned(Err(Fault::new(Class::Transient, why)))
        }
        (None, Some(row)) => Input::NotCleaned(row.clone()),
    }
}

fn failed(keys: impl Iterator<Item = Key>, error: &crate::remote::RemoteError) -> Done {
    whole(keys, trouble::remote(error, Repeat::Harmless), |fault| Input::Cleaned(Err(fault)))
}
