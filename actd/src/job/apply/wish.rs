//! What somebody wants of a job.

use super::*;

pub(super) fn wished(job: &mut Job, wish: Wish, now: Time) {
    match wish {
        Wish::Kill { webdav, is_idle } => {
            remember_webdav(job, webdav);
            match job.phase {
                Phase::Queued => close(job, Outcome::Killed, now),
                // These never ran.
                Phase::Created { .. } | Phase::Uploading { done: true, .. } => abandon(job, Outcome::Killed, now),
                Phase::Uploading { done: false, .. } if is_idle => abandon(job, Outcome::Killed, now),
                Phase::Creating { .. } | Phase::Uploading { .. } | Phase::Confirming { .. } | Phase::Active { .. } => {
                    job.wishes.kill = true;
                    job.retry = Retry::default();
                }
                _ => {}
            }
        }
        Wish::Clean { webdav, is_stored } => {
            remember_webdav(job, webdav);
            match job.phase.clone() {
                Phase::Active { id } if job.arcstate().can_clean() => {
                    let run = job.seen.as_ref().map(|s| s.run.clone()).unwrap_or_default();
                    drop_it(job, id, run, is_stored);
                }
                Phase::Retrieving { id, run, .. } => drop_it(job, id, run, is_stored),
                Phase::Stored { dir: None, .. } => close(job, Outcome::Cleaned, now),
                // Its inputs were kept for as long as it might be running.
                Phase::Unknown { .. } => gone(job, Outcome::Cleaned, now),
                Phase::Stored { .. } | Phase::Retrieved { .. } => job.wishes.clean = true,
                Phase::Cleaning { then: AfterClean::Store, .. } => job.wishes.clean = true,
                _ => {}
            }
        }
        Wish::Fetch => {
            job.wishes.fetch = true;
            job.retry = Retry::default();
        }
        Wish::Resubmit => {
            job.wishes.resubmit = true;
            job.retry = Retry::default();
        }
        Wish::Get { delivery, webdav } => {
            remember_webdav(job, webdav);
            match &job.phase {
                // Without files there is nothing to deliver.
                Phase::Stored { dir: None, .. } => close(job, Outcome::Collected, now),
                // A download into the store that is under way ends there; what is stored is delivered. What has been
                // delivered already cannot be again.
                Phase::Active { .. }
                | Phase::Retrieving { .. }
                | Phase::Retrieved { .. }
                | Phase::Cleaning { then: AfterClean::Store, .. }
                | Phase::Stored { .. } => {
                    if let Some(id) = job.id().filter(|_| begins_anew(job, &delivery)) {
                        job.phase = Phase::Active { id };
                    }
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

/// Whether what was or is being downloaded for the `get` before will not do for this one: something else is left out of it, and
/// the server's copy must not be dropped for it; or that is not to be dropped at all. More than is wanted does once it is here.
fn begins_anew(job: &Job, new: &Delivery) -> bool {
    let Some(old) = &job.delivery else { return false };
    let differs = old.exclude != new.exclude;
    match &job.phase {
        Phase::Retrieving { parent, .. } if old.parent == *parent => differs || (new.noclean && new.parent != *parent),
        Phase::Retrieved { dir, .. } if results::is_delivery(job, dir.as_deref()) => {
            (differs && !old.exclude.is_empty()) || new.noclean
        }
        _ => false,
    }
}

/// Has the row of this run dropped. What was brought of it before goes into the trash once the server is clean, if nobody has
/// got it; what was delivered stays where it is, and is found there afterwards, too.
fn drop_it(job: &mut Job, id: ServerId, run: Box<str>, is_stored: bool) {
    let dir = take_brought(job);
    let to_trash = is_stored && dir.is_some() && !job.options.collected;
    job.wishes.clean = to_trash;
    let then = if to_trash { AfterClean::Store } else { AfterClean::Cleaned };
    job.phase = Phase::Cleaning { id, run, dir, then };
    job.retry = Retry::default();
}

/// Where another client may have left inputs of a job; of our own submissions it is known.
fn remember_webdav(job: &mut Job, webdav: Option<String>) {
    if job.webdav.is_none() && job.origin != Origin::Submitted {
        job.webdav = webdav.map(Into::into);
    }
}
