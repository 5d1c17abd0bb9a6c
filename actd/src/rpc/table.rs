//! The table of `jobs.stat` as it goes over the wire. Its cells are read out of the jobs while it is written: ten thousand
//! rows are the most frequent long answer there is, and would be copied twice otherwise.

use std::collections::HashMap;
use std::sync::Arc;

use act_proto::jobs::StatParams;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::stat::Rows;
use crate::job::{Job, Key, Time};

/// Columns of the client's table that the poll brings.
pub(super) const CLIENT: &[&str] = &["id", "jobname"];
/// Columns of the ARC table that the poll brings.
pub(super) const ARC: &[&str] = &["JobID", "State", "arcstate", "IDFromEndpoint"];

/// Where a cell comes from.
pub(super) enum Column {
    Id,
    Name,
    Run,
    State,
    Arcstate,
    Hash,
    /// What the server calls it in its answers: `c_created`, `a_ExitCode`.
    Fetched(String),
}

/// The columns that were asked for, in their order.
pub(super) fn columns(p: &StatParams) -> Vec<Column> {
    let client = p.client.iter().map(|name| match name.as_str() {
        "id" => Column::Id,
        "jobname" => Column::Name,
        other => Column::Fetched(format!("c_{other}")),
    });
    let arc = p.arc.iter().map(|name| match name.as_str() {
        "JobID" => Column::Run,
        "State" => Column::State,
        "arcstate" => Column::Arcstate,
        "IDFromEndpoint" => Column::Hash,
        other => Column::Fetched(format!("a_{other}")),
    });
    client.chain(arc).collect()
}

/// Rows for these jobs.
pub(super) struct Table<'a> {
    pub(super) jobs: &'a [Arc<Job>],
    pub(super) columns: Vec<Column>,
    /// The server's columns of jobs whose rows are gone.
    pub(super) kept: HashMap<Key, Map<String, Value>>,
    /// The server's columns that were read for this answer.
    pub(super) extra: Option<&'a Rows>,
}

impl Table<'_> {
    /// The reply, as it is written: what [`act_proto::jobs::StatReply`] is when it is read.
    pub(super) fn reply(
        &self,
        as_of: Option<Time>,
        missing: Vec<String>,
        warnings: Vec<String>,
        next: Option<String>,
    ) -> impl Serialize {
        let as_of = as_of.map(Time::rfc3339);
        Reply { as_of, keys: Keys(self.jobs), rows: self, missing, warnings, next }
    }
}

#[derive(Serialize)]
struct Reply<'a> {
    as_of: Option<String>,
    keys: Keys<'a>,
    rows: &'a Table<'a>,
    missing: Vec<String>,
    warnings: Vec<String>,
    next: Option<String>,
}

struct Keys<'a>(&'a [Arc<Job>]);

impl Serialize for Keys<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Text(Key);
        impl Serialize for Text {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }
        serializer.collect_seq(self.0.iter().map(|job| Text(job.key)))
    }
}

impl Serialize for Table<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.jobs.iter().map(|job| Cells {
            job,
            columns: &self.columns,
            fetched: self.kept.get(&job.key).or_else(|| self.extra?.get(&job.id()?)),
        }))
    }
}

struct Cells<'a> {
    job: &'a Job,
    columns: &'a [Column],
    fetched: Option<&'a Map<String, Value>>,
}

impl Serialize for Cells<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.columns.iter().map(|column| self.cell(column)))
    }
}

/// A cell, as the server has it.
#[derive(Serialize)]
#[serde(untagged)]
enum Cell<'a> {
    Number(Option<u64>),
    Text(Option<&'a str>),
    Fetched(Option<&'a Value>),
}

impl<'a> Cells<'a> {
    fn cell(&self, column: &Column) -> Cell<'a> {
        let seen = self.job.seen.as_ref();
        let filled = |text: Option<&'a str>| Cell::Text(text.filter(|t| !t.is_empty()));
        match column {
            Column::Id => Cell::Number(self.job.id()),
            Column::Name => Cell::Text(self.job.name.as_deref()),
            Column::Run => filled(seen.map(|s| &*s.run)),
            Column::State => filled(seen.map(|s| &*s.state)),
            Column::Arcstate => filled(self.job.arcstate().word()),
            Column::Hash => filled(seen.and_then(|s| s.hash())),
            Column::Fetched(name) => Cell::Fetched(self.fetched.and_then(|row| row.get(name))),
        }
    }
}

#[cfg(test)]
mod tests {
    use act_proto::jobs::StatReply;

    use super::*;
    use crate::job::{Arcstate, Origin, Phase, Seen};

    #[test]
    fn what_is_written_reads_as_the_reply_that_is_promised() {
        let seen = Seen {
            arcstate: Arcstate::Running,
            state: "Running".into(),
            run: "https://ce/rest/1.0/jobs/Ab".into(),
            since: Time(0),
        };
        let new = |key, phase| Job::new(Key(key), Origin::Submitted, 1, phase, Time(5));
        let row = Job { name: Some("one".into()), seen: Some(seen), ..new(1, Phase::Active { id: 11 }) };
        let gone = new(2, Phase::Stored { id: 12, dir: None, at: Time(3) });
        let jobs = [Arc::new(row), Arc::new(gone), Arc::new(new(3, Phase::Queued))];
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let asked = StatParams {
            client: words(&["id", "jobname", "created"]),
            arc: words(&["JobID", "State", "arcstate", "IDFromEndpoint", "ExitCode"]),
            ..StatParams::default()
        };
        let map = |value: Value| value.as_object().cloned().unwrap_or_default();
        let extra = Rows::from([(11, map(serde_json::json!({"c_created": "today", "a_ExitCode": 7})))]);
        let kept = HashMap::from([(Key(2), map(serde_json::json!({"a_ExitCode": 0})))]);
        let table = Table { jobs: &jobs, columns: columns(&asked), kept, extra: Some(&extra) };
        let reply = table.reply(Some(Time(0)), words(&["x"]), words(&["y"]), Some("j3".into()));
        let read: StatReply = serde_json::from_str(&serde_json::to_string(&reply).unwrap()).unwrap();
        assert_eq!(
            (read.as_of.as_deref(), &*read.keys),
            (Some("1970-01-01T00:00:00.000Z"), &*words(&["j1", "j2", "j3"]))
        );
        assert_eq!((read.missing, read.warnings, read.next.as_deref()), (words(&["x"]), words(&["y"]), Some("j3")));
        let rows = serde_json::json!([
            [11, "one", "today", "https://ce/rest/1.0/jobs/Ab", "Running", "running", "Ab", 7],
            [12, null, null, null, null, null, null, 0],
            [null, null, null, null, null, null, null, null],
        ]);
        assert_eq!(serde_json::json!(read.rows), rows);
    }
}
