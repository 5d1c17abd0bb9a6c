//! ARC's words about jobs that ended badly: columns that the poll leaves out.

use std::collections::HashMap;

use super::trouble::{self, Repeat};
use super::{Done, ids_of, rows, whole};
use crate::job::apply::{Input, Words};
use crate::job::fault::{Class, Fault};
use crate::job::{Key, ServerId};
use crate::remote::act::ActClient;

/// Longest error text that is kept, characters.
const MAX_TEXT: usize = 2_000;

pub(super) async fn look(act: &ActClient, jobs: Vec<(Key, ServerId)>) -> Done {
    let Some(ids) = ids_of(jobs.iter().map(|(_, id)| *id)) else { return Done::nothing() };
    let details = match act.details(&ids, &[], &["Error", "ExitCode"]).await {
        Ok(details) => details,
        Err(error) => {
            let fault = trouble::remote(&error, Repeat::Harmless);
            return whole(jobs.iter().map(|(key, _)| *key), fault, |fault| Input::Looked(Err(fault)));
        }
    };
    let mut words: HashMap<ServerId, Words> = details
        .into_iter()
        .map(|row| {
            let error = rows::text(&row.columns, "a_Error").filter(|t| !t.trim().is_empty());
            let error = error.map(|t| t.chars().take(MAX_TEXT).collect());
            let exit_code = rows::text(&row.columns, "a_ExitCode").and_then(|t| t.parse().ok());
            (row.id, Words { error, exit_code })
        })
        .collect();
    let inputs = jobs.into_iter().map(|(key, id)| {
        let found = words.remove(&id).ok_or_else(|| Fault::new(Class::NoRow, format!("job {id} is not on the server")));
        (key, Input::Looked(found))
    });
    Done::Jobs { inputs: inputs.collect(), fault: None }
}
