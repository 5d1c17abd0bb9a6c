//! How a job changes: one input at a time, each a fact that has happened. Never does anything itself.

use std::path::PathBuf;

use super::fault::{Class, Fault};
use super::next::Action;
use super::{
    AfterClean, Arcstate, Delivery, Job, Leftover, Origin, Outcome, Phase, Retry, Saved, Seen, ServerId, Time,
};

/// For so long a request that got no answer may still be executed by the server, milliseconds. (Seen on a real one: a
/// request given up after one second ran three seconds later; a busy worker can make it minutes.)
pub const IN_FLIGHT_MS: i64 = 15 * 60 * 1000;

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
    /// A complete list, asked for after the last thing we did to it, does not have it.
    Missing,
    /// ARC's words about it.
    Looked(Result<Words, Fault>),
    /// All results are in a directory of ours; none: the job had no files. Or they are not.
    Retrieved(Result<Option<PathBuf>, Fault>),
    /// The server dropped it, or had dropped it before.
    Cleaned(Result<(), Fault>),
    /// The row is not what was to be cleaned: it runs again, or is another run's.
    NotCleaned(Row),
    /// The server's answer to a kill: the state before it, and whether ARC knew the job; none: its state forbids it.
    Killed(Result<Option<Kill>, Fault>),
    /// The server will fetch it (true) or its state forbids it.
    Fetched(Result<bool, Fault>),
    /// The server will run it again (true) or its state forbids it.
    Resubmitted(Result<bool, Fault>),
    /// An abandoned row is gone (or has become somebody's job: then it is left alone).
    RowCancelled(ServerId, Result<(), Fault>),
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
    /// Kill it.
    Kill,
    /// Drop it. With the WebDAV base to clean if none is remembered.
    Clean {
        /// Base URL.
        webdav: Option<String>,
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
        Input::BeginRetrieve { parent } => begin_retrieve(job, parent),
        Input::Begin(action) => begin(job, action, now),
        Input::Created(result) => created(job, result, now),
        Input::Uploaded(result) => uploaded(job, result, now),
        Input::Confirmed(result) => confirmed(job, result, now),
        Input::Listed(row) => listed(job, row, now),
        Input::Missing => missing(job, now),
        Input::Looked(result) => looked(job, result, now),
        Input::Retrieved(result) => retrieved(job, result, now),
        Input::Cleaned(result) => cleaned(job, result, now),
        Input::NotCleaned(row) => not_cleaned(job, row, now),
        Input::Killed(result) => killed(job, result, now),
        Input::Fetched(result) => {
            if let Some(taken) = asked(job, result, now) {
                job.wishes.fetch = false;
                if taken {
                    see_state(job, Arcstate::ToFetch, now);
                }
            }
        }
        Input::Resubmitted(result) => {
            if let Some(taken) = asked(job, result, now) {
                job.wishes.resubmit = false;
                if taken {
                    job.error = None;
                    job.exit_code = None;
                    see_state(job, Arcstate::ToResubmit, now);
                }
            }
        }
        Input::RowCancelled(id, result) => leftover(job, id, &result, now, |l| l.row = false),
        Input::Swept(id, result) => leftover(job, id, &result, now, |l| l.webdav = None),
        Input::Delivered(result) => delivered(job, result, now),
        Input::Discarded(result) => match (&job.phase, result) {
            (Phase::Stored { .. }, Ok(())) => {
                job.phase = Phase::Closed { id: job.id(), outcome: Outcome::Cleaned, dir: None, at: now };
                job.delivery = None;
                done(job);
            }
            (Phase::Stored { .. }, Err(fault)) => retry_later(job, &fault, now),
            _ => {}
        },
        Input::Wish(wish) => wished(job, wish, now),
    }
}

fn begin_retrieve(job: &mut Job, parent: PathBuf) {
    let (Phase::Active { id }, Some(seen)) = (&job.phase, &job.seen) else { return };
    if seen.arcstate.has_results() {
        job.phase = Phase::Retrieving { id: *id, run: seen.run.clone(), parent };
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
            let then =
                if job.delivery.is_some() || job.options.collected { AfterClean::Collected } else { AfterClean::Store };
            Phase::Cleaning { id, run: run.clone(), dir: dir.clone(), then }
        }
        (Action::Clean, Phase::Active { .. }, Some(id)) => {
            let Some(seen) = &job.seen else { return };
            Phase::Cleaning {
                id,
                run: seen.run.clone(),
                dir: job.saved.take().map(|s| s.dir),
                then: AfterClean::Expired,
            }
        }
        (Action::Deliver, Phase::Stored { dir: Some(dir), .. }, Some(id)) => {
            Phase::Collecting { id, from: dir.clone() }
        }
        (Action::Expire, Phase::Stored { .. }, _) => return close(job, Outcome::Expired, now),
        _ => return,
    };
    job.phase = phase;
}

fn created(job: &mut Job, result: Result<ServerId, Fault>, now: Time) {
    if !matches!(job.phase, Phase::Creating { .. }) {
        return;
    }
    match result {
        Ok(id) => {
            done(job);
            job.phase = Phase::Created { id };
            if job.wishes.kill {
                abandon(job, Outcome::Killed, now);
            }
        }
        Err(fault) if fault.class == Class::Rejected => {
            job.error = Some(fault.why.into());
            close(job, Outcome::NotSubmitted, now);
        }
        Err(fault) => {
            // Whatever became of the request: a row without a description never runs, so asking again is safe.
            job.phase = Phase::Queued;
            if job.wishes.kill {
                return close(job, Outcome::Killed, now);
            }
            retry_later(job, &fault, now);
        }
    }
}

fn uploaded(job: &mut Job, result: Result<(), Fault>, now: Time) {
    let Phase::Uploading { id, done: false } = job.phase else { return };
    match result {
        Ok(()) => {
            done(job);
            job.phase = Phase::Uploading { id, done: true };
        }
        Err(fault) => match fault.class {
            Class::NoRow => recreate(job, &fault, now),
            Class::Rejected | Class::Local => {
                job.error = Some(fault.why.into());
                abandon(job, Outcome::NotSubmitted, now);
            }
            _ => retry_later(job, &fault, now),
        },
    }
    if job.wishes.kill && !matches!(job.phase, Phase::Closed { .. }) {
        abandon(job, Outcome::Killed, now);
    }
}

fn confirmed(job: &mut Job, result: Result<Option<String>, Fault>, now: Time) {
    let Phase::Confirming { id, .. } = job.phase else { return };
    match result {
        Ok(name) => {
            done(job);
            if let Some(name) = name {
                job.name = Some(name.into());
            }
            job.phase = Phase::Active { id };
        }
        Err(fault) => match fault.class {
            // An earlier request without an answer may have been executed, and the job may have run and gone.
            Class::NoRow if job.in_flight_until > now => {
                job.error = Some(fault.why.into());
                job.phase = Phase::Unknown { id };
            }
            Class::NoRow => recreate(job, &fault, now),
            Class::Rejected | Class::Local => {
                job.error = Some(fault.why.into());
                abandon(job, Outcome::NotSubmitted, now);
            }
            _ => retry_later(job, &fault, now),
        },
    }
}

/// The server's list shows it so.
fn listed(job: &mut Job, row: Row, now: Time) {
    job.missing = 0;
    if job.name.is_none() || job.origin == Origin::Foreign {
        job.name = row.name.as_deref().map(Into::into).or_else(|| job.name.take());
    }
    let confirmed = row.name.is_some() || row.arcstate != Arcstate::None;
    let changed = see(job, row, now);
    match &job.phase {
        Phase::Confirming { id, .. } | Phase::Unknown { id } if confirmed => {
            let id = *id;
            done(job);
            job.phase = Phase::Active { id };
        }
        Phase::Retrieving { id, run, .. } => {
            let id = *id;
            let same = job.seen.as_ref().is_some_and(|s| s.run == *run && s.arcstate.has_results());
            if !same {
                job.phase = Phase::Active { id };
                done(job);
            }
        }
        Phase::Retrieved { id, run, dir } => {
            let (id, run, dir) = (*id, run.clone(), dir.clone());
            another_run(job, id, &run, dir);
        }
        Phase::Active { .. } if changed => done(job),
        _ => {}
    }
    let ended = job.seen.as_ref().is_some_and(|s| s.arcstate.is_final());
    if ended {
        job.wishes.kill = false;
    }
}

/// The results that we have are of `run`; if the row is of another one by now, it is a job that goes on.
fn another_run(job: &mut Job, id: ServerId, run: &str, dir: Option<PathBuf>) {
    let same = job.seen.as_ref().is_some_and(|s| *s.run == *run && s.arcstate.can_clean());
    if !same {
        job.saved = dir.map(|dir| Box::new(Saved { run: run.into(), dir }));
        job.phase = Phase::Active { id };
        done(job);
    }
}

fn see(job: &mut Job, row: Row, now: Time) -> bool {
    let state: Box<str> = row.state.unwrap_or_default().into();
    let run: Box<str> = row.run.unwrap_or_default().into();
    if let Some(seen) = &job.seen {
        if seen.arcstate == row.arcstate && seen.state == state && seen.run == run {
            return false;
        }
        if seen.run != run {
            job.error = None;
            job.exit_code = None;
        }
    }
    job.seen = Some(Seen { arcstate: row.arcstate, state, run, since: now });
    true
}

/// The server said that it takes this state now; the next list shows it.
fn see_state(job: &mut Job, arcstate: Arcstate, now: Time) {
    match &mut job.seen {
        Some(seen) => {
            seen.arcstate = arcstate;
            seen.since = now;
        }
        None => job.seen = Some(Seen { arcstate, state: "".into(), run: "".into(), since: now }),
    }
}

fn missing(job: &mut Job, now: Time) {
    if !job.on_server() {
        return;
    }
    job.missing = job.missing.saturating_add(1);
    if job.missing < 2 {
        return;
    }
    match job.phase.clone() {
        Phase::Created { .. } | Phase::Uploading { .. } => {
            let fault = Fault::new(Class::NoRow, "its row vanished from the server before it was complete");
            recreate(job, &fault, now);
        }
        Phase::Confirming { id, .. } => {
            job.error = Some("its row vanished from the server while it was being confirmed: it may have run".into());
            job.phase = Phase::Unknown { id };
        }
        Phase::Retrieved { .. } | Phase::Cleaning { .. } => {
            if matches!(job.phase, Phase::Retrieved { .. }) {
                begin(job, Action::Clean, now);
            }
            cleaned(job, Ok(()), now);
        }
        Phase::Retrieving { .. } => {
            job.error = Some("it was removed from the server before its results were complete here".into());
            gone(job, Outcome::Gone, now);
        }
        Phase::Active { .. } => {
            let outcome = if job.wishes.kill { Outcome::Killed } else { Outcome::Gone };
            gone(job, outcome, now);
        }
        _ => {}
    }
}

fn looked(job: &mut Job, result: Result<Words, Fault>, now: Time) {
    match result {
        Ok(words) => {
            done(job);
            // An empty text says: asked, and there is none.
            job.error = Some(words.error.unwrap_or_default().into());
            job.exit_code = words.exit_code.and_then(|c| i32::try_from(c).ok());
        }
        Err(fault) if matches!(fault.class, Class::Rejected | Class::NoRow) => job.error = Some("".into()),
        Err(fault) => retry_later(job, &fault, now),
    }
}

fn retrieved(job: &mut Job, result: Result<Option<PathBuf>, Fault>, now: Time) {
    let Phase::Retrieving { id, run, .. } = &job.phase else { return };
    let (id, run) = (*id, run.clone());
    match result {
        Ok(dir) => {
            done(job);
            let keep = job.delivery.as_ref().is_some_and(|d| d.noclean);
            // Only what a person collects, or what is done, is cleaned.
            let failed = *job.arcstate() != Arcstate::Done && job.delivery.is_none();
            if keep || failed {
                job.saved = dir.map(|dir| Box::new(Saved { run, dir }));
                job.phase = Phase::Active { id };
                job.delivery = None;
            } else {
                job.phase = Phase::Retrieved { id, run, dir };
            }
        }
        Err(fault) if fault.class == Class::NoRow => {
            job.phase = Phase::Active { id };
            retry_later(job, &fault, now);
        }
        Err(fault) if fault.class == Class::Rejected && job.delivery.is_some() => {
            // The person who asked is told; the results stay on the server.
            job.delivery = None;
            job.error = Some(fault.why.as_str().into());
            job.phase = Phase::Active { id };
            job.options.no_download = true;
        }
        Err(fault) => retry_later(job, &fault, now),
    }
}

fn cleaned(job: &mut Job, result: Result<(), Fault>, now: Time) {
    let Phase::Cleaning { id, dir, then, .. } = &job.phase else { return };
    let (id, dir, then) = (*id, dir.clone(), *then);
    match result {
        Ok(()) => {
            done(job);
            sweep(job, id, now);
            job.delivery = None;
            let outcome = match then {
                AfterClean::Store => {
                    job.phase = Phase::Stored { id, dir, at: now };
                    return;
                }
                AfterClean::Collected => Outcome::Collected,
                AfterClean::Cleaned => Outcome::Cleaned,
                AfterClean::Expired => Outcome::Expired,
            };
            job.phase = Phase::Closed { id: Some(id), outcome, dir, at: now };
        }
        Err(fault) => retry_later(job, &fault, now),
    }
}

fn not_cleaned(job: &mut Job, row: Row, now: Time) {
    let Phase::Cleaning { id, run, dir, then } = job.phase.clone() else { return };
    see(job, row, now);
    done(job);
    let delivered = then == AfterClean::Collected;
    job.saved = dir.map(|dir| Box::new(Saved { run, dir }));
    job.phase = Phase::Active { id };
    if delivered {
        job.delivery = None;
    }
}

fn killed(job: &mut Job, result: Result<Option<Kill>, Fault>, now: Time) {
    match result {
        Ok(Some(kill)) if kill.gone => {
            done(job);
            gone(job, Outcome::Killed, now);
        }
        Ok(Some(_)) => {
            done(job);
            see_state(job, Arcstate::ToCancel, now);
        }
        Ok(None) => {
            // Its state forbids it just now (or it is gone): the next list tells. Not again before that.
            job.retry = Retry { attempts: 0, at: now.plus(30_000), why: None };
        }
        Err(fault) => retry_later(job, &fault, now),
    }
}

/// The common part of requests that the server answers with yes or no.
fn asked(job: &mut Job, result: Result<bool, Fault>, now: Time) -> Option<bool> {
    match result {
        Ok(taken) => {
            done(job);
            Some(taken)
        }
        Err(fault) => {
            retry_later(job, &fault, now);
            None
        }
    }
}

fn leftover(job: &mut Job, id: ServerId, result: &Result<(), Fault>, now: Time, clear: impl Fn(&mut Leftover)) {
    for leftover in job.leftovers.iter_mut().filter(|l| l.id == id) {
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

fn delivered(job: &mut Job, result: Result<PathBuf, Fault>, now: Time) {
    let Phase::Collecting { id, from } = &job.phase else { return };
    let (id, from) = (*id, from.clone());
    match result {
        Ok(to) => {
            done(job);
            let keep = job.delivery.as_ref().is_some_and(|d| d.copy || d.noclean);
            job.delivery = None;
            job.phase = if keep {
                Phase::Stored { id, dir: Some(from), at: now }
            } else {
                Phase::Closed { id: Some(id), outcome: Outcome::Collected, dir: Some(to), at: now }
            };
        }
        Err(fault) if matches!(fault.class, Class::Rejected | Class::Local) => {
            job.error = Some(fault.why.into());
            job.delivery = None;
            job.phase = Phase::Stored { id, dir: Some(from), at: now };
        }
        Err(fault) => retry_later(job, &fault, now),
    }
}

fn wished(job: &mut Job, wish: Wish, now: Time) {
    match wish {
        Wish::Kill => match job.phase {
            Phase::Queued => close(job, Outcome::Killed, now),
            // Nothing is in flight for these, and they never ran.
            Phase::Created { .. } | Phase::Uploading { done: true, .. } => abandon(job, Outcome::Killed, now),
            Phase::Creating { .. } | Phase::Uploading { .. } | Phase::Confirming { .. } | Phase::Active { .. } => {
                job.wishes.kill = true;
                job.retry = Retry::default();
            }
            _ => {}
        },
        Wish::Clean { webdav } => {
            remember_webdav(job, webdav);
            match &job.phase {
                Phase::Active { id } if job.arcstate().can_clean() => {
                    let run = job.seen.as_ref().map(|s| s.run.clone()).unwrap_or_default();
                    job.phase = Phase::Cleaning { id: *id, run, dir: None, then: AfterClean::Cleaned };
                    job.retry = Retry::default();
                }
                Phase::Retrieving { id, run, .. } => {
                    job.phase = Phase::Cleaning { id: *id, run: run.clone(), dir: None, then: AfterClean::Cleaned };
                    job.retry = Retry::default();
                }
                Phase::Stored { dir: None, .. } | Phase::Unknown { .. } => close(job, Outcome::Cleaned, now),
                Phase::Stored { .. } | Phase::Retrieved { .. } => job.wishes.clean = true,
                Phase::Cleaning { then: AfterClean::Store, .. } => job.wishes.clean = true,
                _ => {}
            }
        }
        Wish::Fetch => job.wishes.fetch = true,
        Wish::Resubmit => job.wishes.resubmit = true,
        Wish::Get { delivery, webdav } => {
            remember_webdav(job, webdav);
            match &job.phase {
                // Without files there is nothing to deliver.
                Phase::Stored { dir: None, .. } => close(job, Outcome::Collected, now),
                // A download into the store that is under way ends there; what is stored is delivered.
                Phase::Active { .. }
                | Phase::Retrieving { .. }
                | Phase::Retrieved { .. }
                | Phase::Cleaning { .. }
                | Phase::Stored { .. } => {
                    job.delivery = Some(Box::new(delivery));
                    job.retry = Retry::default();
                }
                _ => {}
            }
        }
        Wish::DropGet => {
            job.delivery = None;
            if let Phase::Retrieving { id, .. } = job.phase {
                job.phase = Phase::Active { id };
            }
        }
        Wish::Adopt => {
            if job.origin == Origin::Foreign {
                job.origin = Origin::Adopted;
            }
        }
    }
}

fn remember_webdav(job: &mut Job, webdav: Option<String>) {
    if job.webdav.is_none() {
        job.webdav = webdav.map(Into::into);
    }
}

/// A step went well: the next one starts with a clean slate.
fn done(job: &mut Job) {
    job.retry = Retry::default();
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

fn sweep(job: &mut Job, id: ServerId, now: Time) {
    if let Some(base) = job.webdav.clone() {
        job.leftovers.push(Leftover { id, row: false, webdav: Some(base), not_before: now, attempts: 0 });
    }
}

/// Gives up a submission whose row exists and never ran: the row is cancelled once nothing of ours can still be executed
/// for it, then its WebDAV directory is deleted.
fn abandon(job: &mut Job, outcome: Outcome, now: Time) {
    leave_row(job, now);
    close(job, outcome, now);
}

fn leave_row(job: &mut Job, now: Time) {
    if let Some(id) = job.id() {
        let not_before = job.in_flight_until.max(now);
        job.leftovers.push(Leftover { id, row: true, webdav: job.webdav.clone(), not_before, attempts: 0 });
    }
}

/// Its row vanished before it could run: a new one, a bounded number of times.
fn recreate(job: &mut Job, fault: &Fault, now: Time) {
    if job.recreated >= MAX_RECREATED {
        job.error = Some(format!("{} ({MAX_RECREATED} times)", fault.why).into());
        return gone(job, Outcome::NotSubmitted, now);
    }
    if let Some(id) = job.id() {
        sweep(job, id, now);
    }
    job.recreated += 1;
    job.missing = 0;
    job.seen = None;
    job.phase = Phase::Queued;
    retry_later(job, fault, now);
    job.in_flight_until = Time::default();
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
    let asked = fault.retry_after_ms.unwrap_or(0).clamp(0, 3_600_000);
    jittered.max(asked)
}
