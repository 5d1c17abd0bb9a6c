//! Cancelling rows that were made by requests whose answers were lost. Which rows these are is [`crate::job::orphan`]'s to
//! say; here the server is asked about them, and those are cancelled that it still shows as they were suspected.

use std::time::SystemTime;

use serde_json::Value;

use super::trouble::{self, Repeat};
use super::{Done, Hunt, ids_of, rows};
use crate::failpoint;
use crate::job::fault::Fault;
use crate::job::orphan::{EmptyRow, ours};
use crate::job::{ServerId, Time};
use crate::remote::act::{ActClient, Cancelled, Details};

pub(super) async fn cancel(act: &ActClient, hunt: Hunt) -> Done {
    match look_and_cancel(act, &hunt).await {
        Ok((gone, left)) => Done::Orphans { gone, left, fault: None },
        Err(fault) => Done::Orphans { gone: Vec::new(), left: Vec::new(), fault: Some(fault) },
    }
}

async fn look_and_cancel(act: &ActClient, hunt: &Hunt) -> Result<(Vec<ServerId>, Vec<ServerId>), Fault> {
    let failed = |error| trouble::remote(&error, Repeat::Harmless);
    let Some(ids) = ids_of(hunt.ids.iter().copied()) else { return Ok((Vec::new(), Vec::new())) };
    let details =
        act.details(&ids, &["jobname", "jobdesc", "created", "clusterlist"], &["arcstate"]).await.map_err(failed)?;
    let empty: Vec<EmptyRow> = details.iter().filter(|row| rows::is_empty(row)).map(empty_row).collect();
    let found = ours(&hunt.posts, &empty, Time::now(), hunt.skew_ms, hunt.age_ms);
    let left = hunt.ids.iter().copied().filter(|id| !found.contains(id)).collect();
    let Some(ids) = ids_of(found.into_iter()) else { return Ok((Vec::new(), left)) };
    failpoint!("orphans.cancel.before");
    let cancelled = act.cancel(&ids).await.map_err(failed)?;
    failpoint!("orphans.cancel.after");
    Ok((cancelled.into_iter().filter(Cancelled::is_gone).map(|row| row.id).collect(), left))
}

fn empty_row(row: &Details) -> EmptyRow {
    let created = row.columns.get("c_created").and_then(Value::as_str).and_then(|t| httpdate::parse_http_date(t).ok());
    let millis = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    EmptyRow {
        id: row.id,
        created: created.map(|at| Time(i64::try_from(millis(at)).unwrap_or(i64::MAX))),
        clusters: rows::text(&row.columns, "c_clusterlist").unwrap_or_default(),
    }
}
