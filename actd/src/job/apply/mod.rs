//! How a job changes: one input at a time, each a fact that has happened. Never does anything itself.

mod results;
mod server;
mod submit;
mod wish;

use std::path::{Path, PathBuf};

use super::fault::{Class, Fault};
use super::next::Action;
use super::{
    AfterClean, Arcstate, Delivery, Job, Leftover, Origin, Outcome, Phase, Retry, Saved, Seen, ServerId, Time,
};

/// For so long a request that got no answer may still be executed by the server, milliseconds. (Seen on a real one: a
/// request given up after one second ran three seconds later; a busy worker can make it minutes.)
pub const IN_FLIGHT_MS: i64 = 15 * 60 * 1000;

/// No job is described, taken to a cluster, run, fetched and dropped from the server in less than this, milliseconds. (The
/// fastest that was seen needed 25 seconds to be done, with all intervals of the server at their least.)
const SHORTEST_LIFE_MS: i64 = 20_000;

/// How often a new row is made for a job whose row vanished before it could run.
const MAX_RECREATED: u8 = 5;

/// A row of the server's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its id.
    pub id: ServerId,
    /// The job's name; null until its description was sent.
    pub name: Option<String>,
    /// The server's state.
    pub arcstate: Arcstate,
    /// ARC's state.
    pub state: Option<String>,
    /// ARC's URL of the job.
    pub run: Option<String>,
}

/// What ARC says about a job that ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// Its error text.
    pub error: Option<String>,
    /// Its exit code.
    pub exit_code: Option<i64>,
}

/// Something that has happened to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A row is about to be asked for; `floor` is the highest id on the server as far as known.
    BeginCreate {
        /// See [`Phase::Creating`].
        floor: ServerId,
    },
    /// Results are about to be downloaded into a directory made in `parent`.
    BeginRetrieve {
        /// See [`Phase::Retrieving`].
        parent: PathBuf,
    },
    /// Any other step is about to be taken. Committed before it is.
    Begin(Action),
    /// A row was made, or not.
    Created(Result<ServerId, Fault>),
    /// All inputs were uploaded, or not.
    Uploaded(Result<(), Fault>),
    /// The description was taken, or not; the name that the server read in it.
    Confirmed(Result<Option<String>, Fault>),
    /// The server's list has it.
    Listed(Row),
    /// The server's list has it without the description that was sent, and was asked for when nothing that was sent could be
    /// executed any more.
    ListedUntaken(Row),
    /// A complete list, asked for after the last thing we did to it, does not have it.
    Missing {
        /// When the last list was asked for that had it, without the description that had been sent; none: unknown.
        empty_at: Option<Time>,
    },
    /// ARC's words about it.
    Looked(Result<Words, Fault>),
    /// All results are in a directory of ours; none: the job had no files. Or they are not.
    Retrieved(Result<Option<PathBuf>, Fault>),
    /// The server dropped it, or had dropped it before.
    Cleaned(Result<(), Fault>),
    /// The last look at all its columns, before the row is dropped. They change nothing of the record; the store keeps
    /// them for those who ask.
    Columns(serde_json::Map<String, serde_json::Value>),
    /// The row is not what was to be cleaned: it runs again, or is another run's.
    NotCleaned(Row),
    /// The server's answer to a kill: the state before it, and whether ARC knew the job; none: its state forbids it.
    Killed(Result<Option<Kill>, Fault>),
    /// The server will fetch it (true) or its state forbids it.
    Fetched(Result<bool, Fault>),
    /// The server will run it again (true) or its state forbids it.
    Resubmitted(Result<bool, Fault>),
    /// An abandoned row is gone (true), or has become somebody's job and is left alone.
    RowCancelled(ServerId, Result<bool, Fault>),
    /// A WebDAV directory is gone.
    Swept(ServerId, Result<(), Fault>),
    /// Stored results are delivered there.
    Delivered(Result<PathBuf, Fault>),
    /// Stored results are in the trash.
    Discarded(Result<(), Fault>),
    /// Somebody wants this.
    Wish(Wish),
}

/// What the server said of a kill that it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// The state before.
    pub arcstate: Arcstate,
    /// ARC did not know the job yet: the row is gone.
    pub gone: bool,
}

/// What somebody wants of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Kill it. With the WebDAV base to clean if none is remembered.
    Kill {
        /// Base URL.
        webdav: Option<String>,
        /// No work for it is under way.
        is_idle: bool,
    },
    /// Drop it. With the WebDAV base to clean if none is remembered.
    Clean {
        /// Base URL.
        webdav: Option<String>,
        /// Its results lie where they are downloaded to by themselves: nobody has got them.
        is_stored: bool,
    },
    /// Have its remains fetched.
    Fetch,
    /// Run it again.
    Resubmit,
    /// Deliver its results.
    Get {
        /// Where and how.
        delivery: Delivery,
        /// WebDAV base to clean if none is remembered.
        webdav: Option<String>,
    },
    /// No longer deliver them.
    DropGet,
    /// It is ours from now on.
    Adopt,
}

/// Changes the job by the input. What does not fit the job's phase (an answer that comes too late) changes nothing.
pub fn apply(job: &mut Job, input: Input, now: Time) {
    let late = matches!(input, Input::Looked(_) | Input::Killed(_) | Input::Fetched(_) | Input::Resubmitted(_))
        && !matches!(job.phase, Phase::Active { .. });
    if late {
        return;
    }
    match input {
        Input::BeginCreate { floor } => {
            if job.phase == Phase::Queued {
                job.phase = Phase::Creating { floor, at: now };
            }
        }
        Input::BeginRetrieve { parent } => results::begin_retrieve(job, parent),
        Input::Begin(action) => begin(job, action, now),
        Input::Created(result) => submit::created(job, result, now),
        Input::Uploaded(result) => submit::uploaded(job, result, now),
        Input::Confirmed(result) => submit::confirmed(job, result, now),
        Input::Listed(row) => server::listed(job, row, now),
        Input::ListedUntaken(row) => {
            server::listed(job, row, now);
            if matches!(job.phase, Phase::Confirming { .. }) {
                job.in_flight_until = Time::default();
            }
        }
        Input::Missing { empty_at } => server::missing(job, empty_at, now),
        Input::Looked(result) => server::looked(job, result, now),
        Input::Retrieved(result) => results::retrieved(job, result, now),
        Input::Cleaned(result) => results::cleaned(job, result, now),
        Input::Columns(_) => {}
        Input::NotCleaned(row) => results::not_cleaned(job, row, now),
        Input::Killed(result) => server::killed(job, result, now),
        Input::Fetched(result) => {
            if let Some(taken) = server::asked(job, result, now) {
                job.wishes.fetch = false;
                if taken {
                    server::see_state(job, Arcstate::ToFetch, now);
                }
            }
        }
        Input::Resubmitted(result) => {
            if let Some(taken) = server::asked(job, result, now) {
                job.wishes.resubmit = false;
                if taken {
                    job.error = None;
                    job.exit_code = None;
                    server::see_state(job, Arcstate::ToResubmit, now);
                }
            }
        }
        // What is on WebDAV for it is what it runs with.
        Input::RowCancelled(id, Ok(false)) => job.leftovers.retain(|l| l.id != id),
        Input::RowCancelled(id, result) => leftover(job, (id, true), &result.map(|_| ()), now, |l| l.row = false),
        Input::Swept(id, result) => leftover(job, (id, false), &result, now, |l| l.webdav = None),
        Input::Delivered(result) => results::delivered(job, result, now),
        Input::Discarded(result) => match (&job.phase, result) {
            (Phase::Stored { .. }, Ok(())) => {
                job.phase = Phase::Closed { id: job.id(), outcome: Outcome::Cleaned, dir: None, at: now };
                job.delivery = None;
                done(job);
            }
            (Phase::Stored { .. }, Err(fault)) => retry_later(job, &fault, now),
            _ => {}
        },
        Input::Wish(wish) => wish::wished(job, wish, now),
    }
}

fn begin(job: &mut Job, action: Action, now: Time) {
    let id = job.id();
    let phase = match (action, &job.phase, id) {
        (Action::Upload, Phase::Created { .. }, Some(id)) => Phase::Uploading { id, done: false },
        (Action::Confirm, Phase::Created { .. } | Phase::Uploading { .. }, Some(id)) => {
            Phase::Confirming { id, at: now }
        }
        (Action::Clean, Phase::Retrieved { run, dir, .. }, Some(id)) => {
            let collected = job.options.collected || results::is_delivery(job, dir.as_deref());
            let then = if collected { AfterClean::Collected } else { AfterClean::Store };
            Phase::Cleaning { id, run: run.clone(), dir: dir.clone(), then }
        }
        (Action::Clean, Phase::Active { .. }, Some(id)) => {
            let Some(run) = job.seen.as_ref().map(|s| s.run.clone()) else { return };
            Phase::Cleaning { id, run, dir: take_brought(job), then: AfterClean::Expired }
        }
        (Action::Deliver, Phase::Stored { dir: Some(dir), .. }, Some(id)) => {
            Phase::Collecting { id, from: dir.clone() }
        }
        (Action::Expire, Phase::Stored { .. }, _) => return close(job, Outcome::Expired, now),
        _ => return,
    };
    job.phase = phase;
}

/// What became of the leftovers of this id that are a row, or that are not any more.
fn leftover(
    job: &mut Job,
    (id, row): (ServerId, bool),
    result: &Result<(), Fault>,
    now: Time,
    clear: impl Fn(&mut Leftover),
) {
    for leftover in job.leftovers.iter_mut().filter(|l| l.id == id && l.row == row) {
        match result {
            Ok(()) => {
                clear(leftover);
                leftover.attempts = 0;
            }
            Err(fault) => {
                leftover.attempts = leftover.attempts.saturating_add(1);
                leftover.not_before = now.plus(pause(leftover.attempts, fault, job.key.0));
            }
        }
    }
    job.leftovers.retain(|l| l.row || l.webdav.is_some());
}

/// Where what was brought of the run that the server shows is, for the phases that have a place for it.
fn take_brought(job: &mut Job) -> Option<PathBuf> {
    let saved = if job.is_brought() { job.saved.take() } else { None };
    saved.and_then(|s| s.dir().map(ToOwned::to_owned))
}

/// A step went well: the next one starts with a clean slate.
fn done(job: &mut Job) {
    job.retry = Retry::default();
}

/// The same, and what was sent to the server has had its answer: nothing of ours may still be executed there, and lists that
/// are older than that say nothing of what is there.
fn answered(job: &mut Job) {
    done(job);
    job.missing = 0;
    job.in_flight_until = Time::default();
}

fn close(job: &mut Job, outcome: Outcome, now: Time) {
    let dir = job.results().map(ToOwned::to_owned);
    job.phase = Phase::Closed { id: job.id(), outcome, dir, at: now };
    job.delivery = None;
    job.retry = Retry::default();
}

/// The row is not on the server any more, so its WebDAV directory may go.
fn gone(job: &mut Job, outcome: Outcome, now: Time) {
    if let Some(id) = job.id() {
        sweep(job, id, now);
    }
    close(job, outcome, now);
}

/// What the job has on WebDAV is to be deleted, though it may have no row any more.
pub fn sweep_later(job: &mut Job, now: Time) {
    sweep(job, job.id().unwrap_or_default(), now);
}

fn sweep(job: &mut Job, id: ServerId, now: Time) {
    if let Some(base) = job.webdav.clone() {
        job.leftovers.push(Leftover { id, row: false, webdav: Some(base), not_before: now, attempts: 0 });
    }
}

/// Gives up a submission whose row exists and never ran: the row is cancelled, then its WebDAV directory is deleted, once
/// nothing of ours can still be executed that would bring it back.
fn abandon(job: &mut Job, outcome: Outcome, now: Time) {
    leave_row(job, now);
    close(job, outcome, now);
}

fn leave_row(job: &mut Job, now: Time) {
    let Some(id) = job.id() else { return };
    let settled = job.in_flight_until.max(now);
    let leftover = Leftover { id, row: true, webdav: job.webdav.clone(), not_before: settled, attempts: 0 };
    // Without a description it never runs, and an upload for a row that is gone is refused by the server: only a store
    // may still execute one.
    if matches!(job.phase, Phase::Created { .. } | Phase::Uploading { .. }) && settled > now {
        job.leftovers.push(Leftover { webdav: None, not_before: now, ..leftover.clone() });
        if leftover.webdav.is_some() {
            job.leftovers.push(Leftover { row: false, ..leftover });
        }
    } else {
        job.leftovers.push(leftover);
    }
}

fn retry_later(job: &mut Job, fault: &Fault, now: Time) {
    let attempts = job.retry.attempts.saturating_add(1);
    job.retry =
        Retry { attempts, at: now.plus(pause(attempts, fault, job.key.0)), why: Some(fault.why.as_str().into()) };
    if fault.class == Class::Ambiguous {
        job.in_flight_until = now.plus(IN_FLIGHT_MS);
    }
}

/// How long to wait after so many failures in a row: doubling from half a second to five minutes, spread by `seed` so that
/// many jobs do not come back at once; what the other side asks for, up to an hour. A full disk is waited out by its gate,
/// not by each job.
#[must_use]
pub fn pause(attempts: u16, fault: &Fault, seed: u64) -> i64 {
    if fault.class == Class::DiskFull {
        return 1_000;
    }
    let full = 1_000_i64.saturating_mul(1 << attempts.saturating_sub(1).min(9)).min(300_000);
    let spread =
        (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(attempts).wrapping_mul(0xBF58_476D_1CE4_E5B9)) >> 33;
    let jittered = full / 2 + i64::try_from(spread % 1_000).unwrap_or(0) * (full / 2) / 1_000;
    jittered.max(asked_for(fault))
}

/// How long the other side asks to be left alone, milliseconds: an hour at most is believed.
#[must_use]
pub fn asked_for(fault: &Fault) -> i64 {
    fault.retry_after_ms.unwrap_or(0).clamp(0, 3_600_000)
}
