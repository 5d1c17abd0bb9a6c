//! Cancelling rows that were made by requests whose answers were lost. Which rows these are is [`crate::job::orphan`]'s to
//! say; here the server is asked about them, and those are cancelled that it still shows as they were suspected.

use std::time::SystemTime;

use serde_json::Value;

use super::trouble::{self, Repeat};
use super::{BATCH, Done, Hunt, again, ids_of, rows};
use crate::failpoint;
use crate::job::fault::Fault;
use crate::job::orphan::EmptyRow;
use crate::job::{ServerId, Time};
use crate::remote::RemoteError;
use crate::remote::act::{ActClient, Cancelled, Details};

pub(super) async fn cancel(act: &ActClient, hunt: Hunt) -> Done {
    let (mut gone, mut again) = (Vec::new(), None);
    let fault = look_and_cancel(act, &hunt, &mut gone, &mut again).await.err();
    Done::Orphans { gone, again, fault }
}

async fn look_and_cancel(
    act: &ActClient,
    hunt: &Hunt,
    gone: &mut Vec<(ServerId, u64)>,
    again: &mut Option<Time>,
) -> Result<(), Fault> {
    let all: Vec<ServerId> = hunt.ids.iter().copied().chain(hunt.stranger).collect();
    let (mut empty, mut strangers) = (Vec::new(), Vec::new());
    for ids in all.chunks(BATCH) {
        for row in look(act, ids).await? {
            if rows::is_empty(&row) && Some(row.id) != hunt.stranger {
                empty.push(empty_row(&row));
            } else {
                strangers.extend(created(&row));
            }
        }
    }
    let found = hunt.search.among(&empty, &strangers, Time::now());
    *again = found.again;
    let ours: Vec<ServerId> = found.ours.keys().copied().collect();
    for ids in ours.chunks(BATCH) {
        // Once more, immediately before: what has a description by now is somebody's job.
        let still = look(act, ids).await?.into_iter().filter(rows::is_empty).map(|row| row.id);
        let Some(ids) = ids_of(still) else { continue };
        failpoint!("orphans.cancel.before");
        let cancelled = act.cancel(&ids).await.map_err(|e| failed(&e))?;
        failpoint!("orphans.cancel.after");
        let were_there = cancelled.into_iter().filter(Cancelled::is_gone);
        gone.extend(were_there.filter_map(|row| Some((row.id, *found.ours.get(&row.id)?))));
    }
    Ok(())
}

fn failed(error: &RemoteError) -> Fault {
    trouble::remote(error, Repeat::Harmless)
}

/// These rows as they are now.
async fn look(act: &ActClient, ids: &[ServerId]) -> Result<Vec<Details>, Fault> {
    let Some(ids) = ids_of(ids.iter().copied()) else { return Ok(Vec::new()) };
    let columns = ["jobname", "jobdesc", "created", "clusterlist"];
    again::reading(|| act.details(&ids, &columns, &["arcstate"])).await.map_err(|e| failed(&e))
}

/// When it was made, by the server's clock.
fn created(row: &Details) -> Option<Time> {
    let text = row.columns.get("c_created").and_then(Value::as_str)?;
    let since = httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok().map(Time)
}

fn empty_row(row: &Details) -> EmptyRow {
    let clusters = rows::text(&row.columns, "c_clusterlist").unwrap_or_default();
    EmptyRow { id: row.id, created: created(row), clusters }
}
