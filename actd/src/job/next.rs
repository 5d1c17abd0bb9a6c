//! What is to be done with a job now: read from its record alone.

use super::{Arcstate, Job, Phase, Time};

/// A step that somebody must take for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Ask for a row.
    Create,
    /// Upload the inputs.
    Upload,
    /// Send the description.
    Confirm,
    /// Read ARC's words about how it ended.
    Look,
    /// Download the results.
    Retrieve,
    /// Drop it on the server.
    Clean,
    /// Kill it.
    Kill,
    /// Have its remains fetched.
    Fetch,
    /// Run it again.
    Resubmit,
    /// Deliver stored results.
    Deliver,
    /// Put stored results that nobody wants into the trash.
    Discard,
    /// Close it: its results were kept for their time. Nothing is sent.
    Expire,
    /// Cancel a row of its that was abandoned.
    CancelRow,
    /// Delete a WebDAV directory of its.
    Sweep,
}

impl Action {
    /// Whether it talks to the aCT server, with the token.
    #[must_use]
    pub fn needs_server(self) -> bool {
        !matches!(self, Self::Deliver | Self::Discard | Self::Expire | Self::Sweep)
    }

    /// Whether it needs the proxy or the token at all.
    #[must_use]
    pub fn needs_credential(self) -> bool {
        self.needs_server() || self == Self::Sweep
    }
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// This, now.
    Do(Action),
    /// Ask again then.
    Wait(Time),
    /// Nothing, until something happens to it.
    Nothing,
}

impl Next {
    fn or_at(self, at: Time, now: Time) -> Self {
        if at > now { Self::Wait(at) } else { self }
    }

    fn sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::Do(a), _) | (_, Self::Do(a)) => Self::Do(a),
            (Self::Wait(a), Self::Wait(b)) => Self::Wait(a.min(b)),
            (Self::Wait(a), Self::Nothing) | (Self::Nothing, Self::Wait(a)) => Self::Wait(a),
            (Self::Nothing, Self::Nothing) => Self::Nothing,
        }
    }
}

/// What the user's configuration says about all jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Bring results of finished jobs by itself.
    pub download: bool,
    /// Bring the logs of failed jobs, too.
    pub fetch_failed: bool,
    /// How long stored results wait for collection, milliseconds.
    pub keep_ms: i64,
    /// How long failed and killed jobs stay on the server, milliseconds.
    pub keep_failed_ms: i64,
}

/// What is to be done with the job at `now`.
#[must_use]
pub fn next(job: &Job, now: Time, policy: &Policy) -> Next {
    main_step(job, now, policy).sooner(leftover_step(job, now))
}

fn main_step(job: &Job, now: Time, policy: &Policy) -> Next {
    let step = match &job.phase {
        Phase::Queued => Next::Do(Action::Create),
        Phase::Created { .. } if !job.options.has_inputs => Next::Do(Action::Confirm),
        Phase::Created { .. } | Phase::Uploading { done: false, .. } => Next::Do(Action::Upload),
        Phase::Uploading { done: true, .. } | Phase::Confirming { .. } => Next::Do(Action::Confirm),
        Phase::Active { .. } => active(job, now, policy),
        Phase::Retrieving { .. } => Next::Do(Action::Retrieve),
        // The same DELETE again does no harm: it names the run, and lists the row again before.
        Phase::Retrieved { .. } | Phase::Cleaning { .. } => Next::Do(Action::Clean),
        Phase::Stored { at, .. } => {
            if job.wishes.clean {
                Next::Do(Action::Discard)
            } else if job.delivery.is_some() {
                Next::Do(Action::Deliver)
            } else {
                Next::Do(Action::Expire).or_at(at.plus(policy.keep_ms), now)
            }
        }
        Phase::Collecting { .. } => Next::Do(Action::Deliver),
        Phase::Creating { .. } | Phase::Unknown { .. } | Phase::Closed { .. } => Next::Nothing,
    };
    match step {
        Next::Do(_) => step.or_at(job.retry.at, now),
        _ => step,
    }
}

fn active(job: &Job, now: Time, policy: &Policy) -> Next {
    let Some(seen) = &job.seen else {
        // Not on any list yet: only a kill can be due, and only when nothing of ours may still be executed.
        return if job.wishes.kill { Next::Do(Action::Kill).or_at(job.in_flight_until, now) } else { Next::Nothing };
    };
    let state = &seen.arcstate;
    if job.wishes.kill && state.can_kill() {
        // A kill that got no answer may go out again; it must not overtake an order to run the job again.
        let at = if job.wishes.resubmit { job.in_flight_until } else { now };
        return Next::Do(Action::Kill).or_at(at, now);
    }
    if job.wishes.resubmit && matches!(state, Arcstate::Failed | Arcstate::DoneFailed) {
        return Next::Do(Action::Resubmit).or_at(job.in_flight_until, now);
    }
    if job.wishes.fetch && *state == Arcstate::Failed {
        return Next::Do(Action::Fetch).or_at(job.in_flight_until, now);
    }
    if job.delivery.is_some() && state.has_results() {
        return Next::Do(Action::Retrieve);
    }
    // First: whoever is told of the failure waits for these words, and to fetch what it left may take long.
    if job.error.is_none() && matches!(state, Arcstate::Failed | Arcstate::DoneFailed | Arcstate::Lost) {
        return Next::Do(Action::Look);
    }
    let is_saved = job.is_brought();
    if job.is_ours() && !job.options.no_download {
        if policy.download && !is_saved && *state == Arcstate::Done {
            return Next::Do(Action::Retrieve);
        }
        if policy.fetch_failed && *state == Arcstate::Failed {
            return Next::Do(Action::Fetch);
        }
        if policy.fetch_failed && !is_saved && *state == Arcstate::DoneFailed {
            return Next::Do(Action::Retrieve);
        }
    }
    if job.is_ours() && state.is_final() && *state != Arcstate::Done {
        return Next::Do(Action::Clean).or_at(seen.since.plus(policy.keep_failed_ms), now);
    }
    Next::Nothing
}

fn leftover_step(job: &Job, now: Time) -> Next {
    job.leftovers.iter().fold(Next::Nothing, |next, leftover| {
        let action = if leftover.row { Action::CancelRow } else { Action::Sweep };
        next.sooner(Next::Do(action).or_at(leftover.not_before, now))
    })
}
