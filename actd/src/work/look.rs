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
            let error: Option<String> = error.map(|t| t.chars().take(MAX_TEXT).collect());
            let exit_code = rows::text(&row.columns, "a_ExitCode").and_then(|t| t.parse().ok());
            let exit_code = exit_code.or_else(|| error.as_deref().and_then(told_exit_code));
            (row.id, Words { error, exit_code })
        })
        .collect();
    let inputs = jobs.into_iter().map(|(key, id)| {
        let found = words.remove(&id).ok_or_else(|| Fault::new(Class::NoRow, format!("job {id} is not on the server")));
        (key, Input::Looked(found))
    });
    Done::Jobs { inputs: inputs.collect(), fault: None }
}

/// The exit code in ARC's words. Seen on a real server: of a job that has failed the column is empty, and only these say it.
fn told_exit_code(error: &str) -> Option<i64> {
    let (_, rest) = error.split_once("wrong exit code - ")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_failed_job_tell_its_exit_code() {
        assert_eq!(told_exit_code("LRMS error: (3) Job finished with wrong exit code - 3 != 0"), Some(3));
        assert_eq!(told_exit_code("Job finished with wrong exit code - -11 != 0"), Some(-11));
        for other in ["LRMS error: (271) job killed: wall", "wrong exit code - ", "wrong exit code - many"] {
            assert_eq!(told_exit_code(other), None, "{other}");
        }
    }
}
