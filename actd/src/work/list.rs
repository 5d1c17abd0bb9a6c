//! The poll: every job of the identity in the few columns that tell whether anything changed.

use std::time::SystemTime;

use super::trouble::{self, Repeat};
use super::{Done, Listing};
use crate::failpoint;
use crate::job::apply::Row;
use crate::job::fault::{Class, Fault};
use crate::job::orphan::Skew;
use crate::job::{Arcstate, Time};
use crate::remote::act::{ActClient, Column};

pub(super) async fn list(act: &ActClient) -> Done {
    failpoint!("list.before");
    Done::Listed(read(act).await)
}

async fn read(act: &ActClient) -> Result<Listing, Fault> {
    let listing = act.list(Column::POLL).await.map_err(|e| trouble::remote(&e, Repeat::Harmless))?;
    if listing.unreadable > 0 {
        // A row that cannot be read would look like one that is gone.
        let why = format!("{} rows of the server's list cannot be read", listing.unreadable);
        return Err(Fault::new(Class::Transient, why));
    }
    let sent = time_of(listing.sent_at);
    let skew = listing.server_date.map(|date| Skew::of(time_of(date), sent, Time::now()));
    let rows = listing.rows.into_iter().map(|row| {
        let arcstate = Arcstate::from_word(row.arcstate.as_deref());
        (row.id, Row { id: row.id, name: row.jobname, arcstate, state: row.state, run: row.job_id })
    });
    Ok(Listing { rows: rows.collect(), sent, skew })
}

fn time_of(at: SystemTime) -> Time {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
