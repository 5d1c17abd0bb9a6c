//! Rows of the server's list for a few ids, read immediately before something is done about them.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::job::apply::Row;
use crate::job::{Arcstate, ServerId};
use crate::remote::act::ActClient;
use crate::remote::{Ids, RemoteError};

/// These rows as they are now; one that is missing is not on the server.
pub(super) async fn read(act: &ActClient, ids: &Ids) -> Result<HashMap<ServerId, Row>, RemoteError> {
    let rows = act.details(ids, &["jobname"], &["JobID", "State", "arcstate"]).await?;
    Ok(rows.into_iter().map(|row| (row.id, from_columns(row.id, &row.columns))).collect())
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
