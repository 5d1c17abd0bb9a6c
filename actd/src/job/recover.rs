//! What was in flight when the daemon ended is settled here, once, when it starts again. Everything else goes on by itself.

use super::apply::{IN_FLIGHT_MS, Wish, apply};
use super::fault::{Class, Fault};
use super::{Job, Phase, Time};
use crate::job::apply::Input;

/// Settles a job as it was found on disk. A request whose phase was committed may have been sent, may have been executed,
/// or may be executed yet.
pub fn recover(job: &mut Job, now: Time) {
    let unanswered = || Fault::new(Class::Ambiguous, "the daemon ended before the server answered");
    match job.phase {
        // A row may exist that nobody will use: it never runs. Ask for another.
        Phase::Creating { .. } => {
            apply(job, Input::Created(Err(unanswered())), now);
            job.in_flight_until = Time::default();
        }
        // The same upload or description to the same row again does no harm; its opposite must wait.
        Phase::Uploading { done: false, .. } | Phase::Confirming { .. } => {
            job.in_flight_until = now.plus(IN_FLIGHT_MS);
        }
        _ => {}
    }
    if job.wishes.kill && matches!(job.phase, Phase::Uploading { .. }) {
        // No need to upload what is to be thrown away.
        apply(job, Input::Wish(Wish::Kill { webdav: None, is_idle: true }), now);
    }
    // Pauses were meant for a daemon that ran on.
    job.retry.at = Time::default();
    // It may have been set back while none ran.
    clock_set_back(job, now);
}

/// The clock was set back to `now`: what was put off to a moment of the other clock is not put off for longer than it can
/// have been meant.
pub fn clock_set_back(job: &mut Job, now: Time) {
    job.retry.at = job.retry.at.min(now);
    let latest = now.plus(IN_FLIGHT_MS);
    job.in_flight_until = job.in_flight_until.min(latest);
    for leftover in &mut job.leftovers {
        leftover.not_before = leftover.not_before.min(latest);
    }
}
