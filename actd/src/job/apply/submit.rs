//! A submission: what becomes of a row, of uploads, of the description.

use super::*;

pub(super) fn created(job: &mut Job, result: Result<ServerId, Fault>, now: Time) {
    if !matches!(job.phase, Phase::Creating { .. }) {
        return;
    }
    match result {
        Ok(id) => {
            answered(job);
            job.phase = Phase::Created { id };
            if job.wishes.kill {
                abandon(job, Outcome::Killed, now);
            }
        }
        Err(fault) if fault.class == Class::Rejected => {
            refused(job, fault);
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

pub(super) fn uploaded(job: &mut Job, result: Result<(), Fault>, now: Time) {
    let Phase::Uploading { id, done: false } = job.phase else { return };
    match result {
        Ok(()) => {
            answered(job);
            job.phase = Phase::Uploading { id, done: true };
        }
        Err(fault) => match fault.class {
            Class::NoRow => recreate(job, &fault, now),
            Class::Rejected | Class::Local => {
                refused(job, fault);
                abandon(job, Outcome::NotSubmitted, now);
            }
            _ => retry_later(job, &fault, now),
        },
    }
    if job.wishes.kill && !matches!(job.phase, Phase::Closed { .. }) {
        abandon(job, Outcome::Killed, now);
    }
}

pub(super) fn confirmed(job: &mut Job, result: Result<Option<String>, Fault>, now: Time) {
    let Phase::Confirming { id, .. } = job.phase else { return };
    match result {
        Ok(name) => {
            answered(job);
            if let Some(name) = name {
                job.name = Some(name.into());
            }
            job.phase = Phase::Active { id };
        }
        Err(fault) => match fault.class {
            // An earlier request without an answer may have been executed: the job may run, or have run and gone. Lists tell.
            Class::NoRow | Class::Rejected | Class::Local if job.in_flight_until > Time::default() => {
                retry_later(job, &fault, now);
            }
            Class::NoRow => recreate(job, &fault, now),
            Class::Rejected | Class::Local => {
                refused(job, fault);
                abandon(job, Outcome::NotSubmitted, now);
            }
            _ => retry_later(job, &fault, now),
        },
    }
}

/// Its row vanished before it could run: a new one, a bounded number of times.
pub(super) fn recreate(job: &mut Job, fault: &Fault, now: Time) {
    if job.wishes.kill {
        // It is not to run at all.
        return gone(job, Outcome::Killed, now);
    }
    if job.recreated >= MAX_RECREATED {
        refused(job, Fault { why: format!("{} ({MAX_RECREATED} times)", fault.why), ..fault.clone() });
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

/// Notes why it is not submitted.
fn refused(job: &mut Job, fault: Fault) {
    job.cause = Some(fault.cause());
    job.error = Some(fault.why.into());
}
