//! Results: downloading, cleaning up after them, delivering.

use super::*;

pub(super) fn begin_retrieve(job: &mut Job, parent: PathBuf) {
    let (Phase::Active { id }, Some(seen)) = (&job.phase, &job.seen) else { return };
    if seen.arcstate.has_results() {
        job.phase = Phase::Retrieving { id: *id, run: seen.run.clone(), parent };
    }
}

pub(super) fn retrieved(job: &mut Job, result: Result<Option<PathBuf>, Fault>, now: Time) {
    let Phase::Retrieving { id, run, parent } = &job.phase else { return came_late(job, result) };
    let (id, run) = (*id, run.clone());
    let is_wanted_here = job.delivery.as_ref().map(|d| d.parent == *parent);
    match result {
        Ok(dir) => {
            done(job);
            no_more_trouble(job);
            let delivered = is_delivery(job, dir.as_deref());
            let leave = job.delivery.as_ref().is_some_and(|d| d.noclean);
            // Only what a person collects, or what is done, is cleaned.
            let failed = *job.arcstate() != Arcstate::Done && (leave || job.delivery.is_none());
            if (delivered && leave) || failed {
                job.saved = Some(Box::new(Saved { run, dir: dir.unwrap_or_default() }));
                job.phase = Phase::Active { id };
                // One that was asked for while logs came by themselves is still to be brought to its place.
                job.delivery = job.delivery.take().filter(|_| !delivered);
            } else {
                job.phase = Phase::Retrieved { id, run, dir };
            }
        }
        Err(fault) if fault.class == Class::NoRow => {
            // It is what there is to say of it, should lists tell that it is gone.
            job.error.get_or_insert_with(|| fault.why.as_str().into());
            job.phase = Phase::Active { id };
            retry_later(job, &fault, now);
        }
        Err(fault) if fault.class == Class::Rejected => {
            // Trying again would not help. Whoever asked is told; the results stay on the server.
            done(job);
            job.delivery = None;
            job.error = Some(fault.why.as_str().into());
            job.phase = Phase::Active { id };
            if !job.is_brought() {
                job.saved = Some(Box::new(Saved { run, dir: PathBuf::new() }));
            }
        }
        Err(fault) if fault.class == Class::Local && is_wanted_here == Some(true) => {
            // Whoever asked is told, and may ask for them in another directory.
            retry_later(job, &fault, now);
            job.delivery = None;
            job.phase = Phase::Active { id };
        }
        Err(fault) if matches!(fault.class, Class::Local | Class::DiskFull) && is_wanted_here == Some(false) => {
            // They cannot be had in this directory, and somebody waits for them in another: there it begins anew.
            retry_later(job, &fault, now);
            job.phase = Phase::Active { id };
        }
        Err(fault) => retry_later(job, &fault, now),
    }
}

/// Nobody waits for the results any more, but they have their name already. Of a job that is dropped, what nobody asked for at that
/// place goes into the trash.
fn came_late(job: &mut Job, result: Result<Option<PathBuf>, Fault>) {
    let Ok(Some(came)) = result else { return };
    let Phase::Cleaning { dir: dir @ None, then: then @ AfterClean::Cleaned, .. } = &mut job.phase else { return };
    let is_asked_for = job.delivery.as_ref().is_some_and(|d| came.parent() == Some(&d.parent));
    if !is_asked_for && !job.options.collected {
        *then = AfterClean::Store;
        job.wishes.clean = true;
    }
    *dir = Some(came);
}

/// What stood in the way of results is over. What ARC said of a job that failed still holds.
fn no_more_trouble(job: &mut Job) {
    if *job.arcstate() == Arcstate::Done {
        job.error = None;
    }
}

/// Whether results that lie in `dir` are where those who wait for them asked for: a download into the store may have
/// been under way when they did.
pub(super) fn is_delivery(job: &Job, dir: Option<&Path>) -> bool {
    job.delivery.as_ref().is_some_and(|d| dir.is_none_or(|dir| dir.parent() == Some(&d.parent)))
}

pub(super) fn cleaned(job: &mut Job, result: Result<(), Fault>, now: Time) {
    let Phase::Cleaning { id, dir, then, .. } = &job.phase else { return };
    let (id, dir, then) = (*id, dir.clone(), *then);
    match result {
        Ok(()) => {
            answered(job);
            sweep(job, id, now);
            // A delivery that was asked for meanwhile begins where the results are now.
            let awaited = job.delivery.take();
            let outcome = match then {
                AfterClean::Store if dir.is_none() && job.wishes.clean => Outcome::Cleaned,
                AfterClean::Store if dir.is_none() && awaited.is_some() => Outcome::Collected,
                AfterClean::Store => {
                    job.phase = Phase::Stored { id, dir, at: now };
                    job.delivery = awaited;
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

pub(super) fn not_cleaned(job: &mut Job, row: Row, now: Time) {
    let Phase::Cleaning { id, run, dir, then } = job.phase.clone() else { return };
    super::server::see(job, row, now);
    done(job);
    let delivered = then == AfterClean::Collected;
    // It was meant for these results, not for those of another run.
    job.wishes.clean = false;
    job.saved = dir.map(|dir| Box::new(Saved { run, dir }));
    job.phase = Phase::Active { id };
    if delivered {
        job.delivery = None;
    }
}

pub(super) fn delivered(job: &mut Job, result: Result<PathBuf, Fault>, now: Time) {
    let Phase::Collecting { id, from } = &job.phase else { return };
    let (id, from) = (*id, from.clone());
    match result {
        Ok(to) => {
            done(job);
            no_more_trouble(job);
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
