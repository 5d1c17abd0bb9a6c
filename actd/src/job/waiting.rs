//! Why a job does not go on, in words: held back by a gate, put off after a failure, or stuck on the server.

use super::next::{Next, Policy, next};
use super::{Arcstate, Job, Phase, Time};

/// A server that has not looked at a job for so long has forgotten it, milliseconds.
const UNSEEN_MS: i64 = 15 * 60_000;

/// A job that is finished at its cluster is on the server within minutes; names that the server cannot move keep it there
/// for a day.
const FINISHED_MS: i64 = 30 * 60_000;

/// Why a job waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Stable word: `credential`, `server`, `disk`, `retry`, `stuck`, `other_identity`, `decision`, `in_flight`.
    pub reason: &'static str,
    /// The sentence.
    pub message: String,
    /// What to do, if anything can be done.
    pub hint: Option<String>,
    /// When it goes on by itself, if that is known.
    pub until: Option<Time>,
}

/// What holds back a job, though nothing is wrong with it.
#[derive(Debug, Clone, Default)]
pub struct Held<'a> {
    /// No usable credential.
    pub credential: Option<&'a str>,
    /// The server is away, until then.
    pub server: Option<(&'a str, Time)>,
    /// The disk that its results go to is full.
    pub disk: Option<&'a str>,
    /// The identity in force.
    pub proxyid: i64,
}

/// Why the job does not go on at `now`; nothing: it does, or there is nothing to do.
#[must_use]
pub fn waiting(job: &Job, now: Time, policy: &Policy, held: &Held<'_>) -> Option<Waiting> {
    if let Phase::Unknown { id } = job.phase {
        return Some(Waiting {
            reason: "decision",
            message: format!("row {id} vanished from the server while it was being confirmed: the job may have run"),
            hint: Some(format!(
                "look for its outputs; `actctl clean {}` drops it, submitting the file again makes a new job",
                job.key
            )),
            until: None,
        });
    }
    let other = job.proxyid != 0
        && job.proxyid != held.proxyid
        && !matches!(job.phase, Phase::Stored { .. } | Phase::Closed { .. });
    if other {
        return Some(Waiting {
            reason: "other_identity",
            message: "it belongs to another identity (name or VOMS attribute) than the proxy in use".into(),
            hint: Some("run `actctl proxy` with a proxy of that identity".into()),
            until: None,
        });
    }
    let due = match next(job, now, policy) {
        Next::Do(action) => Some(action),
        Next::Wait(at) => {
            // What is due later by plan (kept results) does not wait for anything.
            let put_off = job.retry.at >= at && job.retry.attempts > 0;
            let in_flight = job.in_flight_until >= at && !job.wishes.is_empty();
            if put_off {
                return Some(retry(job, at));
            }
            if in_flight {
                return Some(Waiting {
                    reason: "in_flight",
                    message: "an earlier request got no answer and may still be executed".into(),
                    hint: None,
                    until: Some(at),
                });
            }
            None
        }
        Next::Nothing => None,
    };
    if let Some(action) = due {
        if let Some(why) = held.credential.filter(|_| action.needs_credential()) {
            return Some(Waiting {
                reason: "credential",
                message: why.to_owned(),
                hint: Some("make a proxy (arcproxy), then run `actctl proxy`".into()),
                until: None,
            });
        }
        if let Some((why, until)) = held.server.filter(|_| action.needs_server()) {
            return Some(Waiting { reason: "server", message: why.to_owned(), hint: None, until: Some(until) });
        }
        if let Some(why) = held.disk.filter(|_| action == super::next::Action::Retrieve) {
            return Some(Waiting {
                reason: "disk",
                message: why.to_owned(),
                hint: Some("make room: it goes on by itself".into()),
                until: None,
            });
        }
    }
    stuck(job, now)
}

fn retry(job: &Job, at: Time) -> Waiting {
    Waiting {
        reason: "retry",
        message: job.retry.why.as_deref().unwrap_or("it failed").to_owned(),
        hint: None,
        until: Some(at),
    }
}

/// States on the server that do not end by themselves, as seen on a real one.
fn stuck(job: &Job, now: Time) -> Option<Waiting> {
    let (Phase::Active { .. }, Some(seen)) = (&job.phase, &job.seen) else { return None };
    let for_ms = now.since(seen.since);
    let minutes = for_ms / 60_000;
    let key = job.key;
    let (message, hint) = match seen.arcstate {
        Arcstate::None if for_ms > UNSEEN_MS && job.name.is_some() => (
            format!("the server has not looked at it for {minutes} minutes"),
            format!("the server's daemons may be down: ask its administrators; `actctl kill {key}` removes the job at once"),
        ),
        Arcstate::None if for_ms > UNSEEN_MS => (
            "it is on the server without a description: an unfinished submission".into(),
            format!("if no other client is submitting it, `actctl kill {key}` removes it"),
        ),
        Arcstate::Cancelling if seen.run.is_empty() && for_ms > 60_000 => (
            "its submission to the cluster failed, and the server cannot finish cancelling it".into(),
            "usually an input name with a blank, or an executable or stdin that is not in inputfiles; the server frees it after two days".to_owned(),
        ),
        Arcstate::Finished if for_ms > FINISHED_MS => (
            format!("it finished at the cluster {minutes} minutes ago, and the server cannot fetch its results"),
            format!("usually an output name with a blank, `?`, `%` or a letter outside ASCII; read the files at the cluster with `actctl cat --file NAME {key}`"),
        ),
        _ => return None,
    };
    Some(Waiting { reason: "stuck", message, hint: Some(hint), until: None })
}
