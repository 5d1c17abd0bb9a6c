//! What a list says that we do not know yet. Pure: it only looks.

use std::collections::HashMap;

use super::board::Jobs;
use crate::job::apply::{Input, Row};
use crate::job::{Job, Key, Phase, ServerId};

/// What is new on a list.
#[derive(Debug, Default)]
pub struct Difference {
    /// What it says about our jobs.
    pub news: Vec<(Key, Input)>,
    /// Rows that belong to none of them.
    pub strangers: Vec<ServerId>,
}

/// Holds a complete list against what we know. It proves nothing about a job that is `unproven` and missing from it.
pub fn compare(jobs: &Jobs, rows: &HashMap<ServerId, Row>, unproven: impl Fn(Key) -> bool) -> Difference {
    let mut found = Difference::default();
    for (id, row) in rows {
        match jobs.by_id.get(id).and_then(|key| jobs.by_key.get(key)) {
            Some(job) if is_news(job, row) => found.news.push((job.key, Input::Listed(row.clone()))),
            Some(_) => {}
            None => found.strangers.push(*id),
        }
    }
    let missing = jobs.by_id.iter().filter(|(id, key)| !rows.contains_key(id) && !unproven(**key));
    found.news.extend(missing.map(|(_, key)| (*key, Input::Missing { empty_at: None })));
    found
}

/// Whether the row says anything that the record does not.
fn is_news(job: &Job, row: &Row) -> bool {
    if job.missing > 0 || !matches!(job.phase, Phase::Active { .. }) {
        return true;
    }
    if job.name.is_none() && row.name.is_some() {
        return true;
    }
    job.seen.as_ref().is_none_or(|s| {
        s.arcstate != row.arcstate
            || *s.state != *row.state.as_deref().unwrap_or_default()
            || *s.run != *row.run.as_deref().unwrap_or_default()
    })
}
