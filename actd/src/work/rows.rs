//! Rows of the server's list for a few ids, read immediately before something is done about them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};

use super::again;
use crate::call;
use crate::job::apply::Row;
use crate::job::{Arcstate, ServerId};
use crate::remote::act::{ActClient, Details, Info};
use crate::remote::{Ids, MAX_IDS, RemoteError};

use tokio::sync::{oneshot, watch};

/// So long those who are about to ask are waited for.
const GATHER: Duration = Duration::from_millis(20);

type Answer = Result<Option<Row>, RemoteError>;

/// Reads rows for many askers at once: while a request is out, those who come wait for the next one, which is for all
/// of them; and while some are announced, a request waits a moment for them.
#[derive(Debug, Clone, Default)]
pub(super) struct RowReader {
    queue: Arc<Mutex<Queue>>,
    /// Those who are about to ask.
    coming: watch::Sender<usize>,
}

/// Somebody is about to ask.
#[derive(Debug)]
pub(super) struct Coming(watch::Sender<usize>);

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.send_modify(|coming| *coming = coming.saturating_sub(1));
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<(ServerId, oneshot::Sender<Answer>)>,
    reading: bool,
}

impl RowReader {
    /// Announces somebody who will ask, or drop this.
    pub(super) fn announce(&self) -> Coming {
        self.coming.send_modify(|coming| *coming += 1);
        Coming(self.coming.clone())
    }

    /// The row as it is after this call was made; none: it is not on the server.
    pub(super) async fn row(&self, act: &ActClient, id: ServerId) -> Answer {
        let (sender, answer) = oneshot::channel();
        let first = {
            let mut queue = self.lock();
            queue.waiting.push((id, sender));
            !std::mem::replace(&mut queue.reading, true)
        };
        if first {
            // A task of its own: the asker may leave, the others must not wait for it.
            tokio::spawn(call::on_behalf(call::causes(), self.clone().read_all(act.clone())));
        }
        match answer.await {
            Ok(answer) => answer,
            // The reader has panicked: ask alone.
            Err(_) => read(act, &Ids::one(id)).await.map(|mut rows| rows.remove(&id)),
        }
    }

    async fn read_all(self, act: ActClient) {
        let mut coming = self.coming.subscribe();
        loop {
            // Neither outcome matters: the time is up, or nobody else is coming.
            let _ = tokio::time::timeout(GATHER, coming.wait_for(|coming| *coming == 0)).await;
            let batch: Vec<_> = {
                let mut queue = self.lock();
                let count = queue.waiting.len().min(MAX_IDS);
                queue.reading = count > 0;
                queue.waiting.drain(..count).collect()
            };
            let Some(ids) = Ids::new(batch.iter().map(|(id, _)| *id)) else { return };
            let rows = read(&act, &ids).await;
            for (id, asker) in batch {
                let answer = rows.as_ref().map(|rows| rows.get(&id).cloned()).map_err(RemoteError::clone);
                // An asker that has left needs no answer.
                let _ = asker.send(answer);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// These rows as they are now; one that is missing is not on the server.
pub(super) async fn read(act: &ActClient, ids: &Ids) -> Result<HashMap<ServerId, Row>, RemoteError> {
    let rows = again::reading(|| act.details(ids, &["jobname"], &["JobID", "State", "arcstate"])).await?;
    Ok(rows.into_iter().map(|row| (row.id, from_columns(row.id, &row.columns))).collect())
}

/// These rows with every column that the server has, null ones left out: the last look at what is about to be dropped.
/// `known` are the server's columns; without them only those that are needed are asked for.
pub(super) async fn read_whole(
    act: &ActClient,
    ids: &Ids,
    known: Option<&Info>,
) -> Result<HashMap<ServerId, (Row, Map<String, Value>)>, RemoteError> {
    let names = |list: &'_ [String], needed: &[&'static str]| -> Vec<String> {
        // The description is here already, and large.
        let others = list.iter().filter(|c| !needed.contains(&c.as_str()) && *c != "jobdesc").cloned();
        needed.iter().map(ToString::to_string).chain(others).collect()
    };
    let (client, arc) = known.map_or((&[][..], &[][..]), |i| (&i.client, &i.arc));
    let (client, arc) = (names(client, &["jobname"]), names(arc, &["JobID", "State", "arcstate"]));
    let client: Vec<&str> = client.iter().map(String::as_str).collect();
    let arc: Vec<&str> = arc.iter().map(String::as_str).collect();
    let rows = again::reading(|| act.details(ids, &client, &arc)).await?;
    let whole = |row: Details| {
        let brief = from_columns(row.id, &row.columns);
        let columns = row.columns.into_iter().filter(|(_, value)| !value.is_null()).collect();
        (row.id, (brief, columns))
    };
    Ok(rows.into_iter().map(whole).collect())
}

fn from_columns(id: ServerId, columns: &Map<String, Value>) -> Row {
    let arcstate = text(columns, "a_arcstate");
    Row {
        id,
        name: text(columns, "c_jobname"),
        arcstate: Arcstate::from_word(arcstate.as_deref()),
        state: text(columns, "a_State"),
        run: text(columns, "a_JobID"),
    }
}

/// Whether the row has neither description nor name nor state. All of them must have been asked for.
pub(super) fn is_empty(row: &Details) -> bool {
    let is_null = |name| row.columns.get(name).is_none_or(Value::is_null);
    is_null("c_jobname") && is_null("c_jobdesc") && text(&row.columns, "a_arcstate").is_none()
}

/// A column as text; null, missing and what is neither text nor number is nothing.
pub(super) fn text(columns: &Map<String, Value>, name: &str) -> Option<String> {
    match columns.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Whether the row is of that run; an empty run stands for any.
pub(super) fn is_run(row: &Row, run: &str) -> bool {
    run.is_empty() || row.run.as_deref() == Some(run)
}
