//! `wait`: until jobs have ended, one way or the other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use act_proto::jobs::{Job, Phase};
use serde_json::json;

use crate::cli_jobs::Wait;
use crate::cmd::stat::list;
use crate::ctx::{Ctx, Session};
use crate::failure::{Failure, OK, Outcome, SOME_FAILED};
use crate::pick::{duration, pick};
use crate::progress::Progress;
use crate::watch::Watch;

/// How long one call waits.
const CHANGES_MS: u64 = 10_000;

/// Runs the verb.
///
/// # Errors
/// The time given has passed (exit code 7); the daemon's.
pub async fn run(ctx: &Ctx, args: &Wait) -> Outcome {
    let pick = pick(&args.jobs)?;
    let timeout = args.timeout.as_deref().map(duration).transpose()?;
    let mut session = ctx.session().await?;
    // Jobs named by the user count though they may be finished with; those that fit a filter are those that are not.
    let named = !pick.filter.select.is_empty();
    let (jobs, _) = list(ctx, &mut session, &pick, named).await?;
    if jobs.is_empty() {
        if ctx.out.json {
            ctx.out.value(&json!({ "schema": "act.wait/1", "items": [] }))?;
        }
        return Ok(if args.jobs.fail_empty { SOME_FAILED } else { OK });
    }
    let mut jobs: BTreeMap<String, Job> = jobs.into_iter().map(|j| (j.key.clone(), j)).collect();
    let all = until(ctx, &mut session, &mut jobs, args.any, timeout).await;
    let ended = jobs.values().filter(|j| end(j).is_some()).count();
    let failed = jobs.values().filter(|j| end(j) == Some(false)).count();
    let items: Vec<&Job> = jobs.values().collect();
    all?;
    if ctx.out.json {
        ctx.out.value(&json!({ "schema": "act.wait/1", "items": items }))?;
    } else {
        ctx.out.note(&format!("{ended} of {} jobs have ended, {failed} of them without success", jobs.len()));
    }
    Ok(if failed > 0 { SOME_FAILED } else { OK })
}

/// How a job has ended: well or not; `None`: it has not.
#[must_use]
pub fn end(job: &Job) -> Option<bool> {
    match (job.arcstate.as_deref(), job.phase) {
        (_, Phase::Unknown) => Some(false),
        // After a resubmission or a kill that has not arrived yet, the state is an old one; it changes soon.
        (Some("done"), _) => Some(true),
        (Some("failed" | "donefailed" | "cancelled" | "lost"), _) => Some(false),
        (_, Phase::Stored) => Some(true),
        (_, Phase::Closed) => Some(matches!(job.outcome.as_deref(), Some("collected" | "expired"))),
        _ => None,
    }
}

/// Waits until all, or any, of the jobs have ended; keeps `jobs` up to date, and drops from it those that are no more.
///
/// # Errors
/// The time given has passed; the daemon's.
pub async fn until(
    ctx: &Ctx,
    session: &mut Session<'_>,
    jobs: &mut BTreeMap<String, Job>,
    any: bool,
    timeout: Option<Duration>,
) -> Result<(), Failure> {
    let began = Instant::now();
    let mut progress = Progress::new(&ctx.out, jobs.len() as u64, "waiting");
    let mut watch = Watch::since(jobs.values().map(|j| j.rev).min().unwrap_or(0));
    loop {
        let open: Vec<&Job> = jobs.values().filter(|j| end(j).is_none()).collect();
        let done = jobs.len() - open.len();
        if open.is_empty() || (any && done > 0) {
            return Ok(());
        }
        progress.set(done as u64, states(&open));
        if let Some(waiting) =
            open.iter().find_map(|j| j.waiting.as_ref()).filter(|_| open.iter().all(|j| j.waiting.is_some()))
        {
            progress.waiting(&waiting.message);
        }
        let left = timeout.map(|t| t.saturating_sub(began.elapsed()));
        if left == Some(Duration::ZERO) {
            return Err(Failure::timeout(format!("{} of {} jobs have not ended", open.len(), jobs.len())));
        }
        let wait = left.map_or(CHANGES_MS, |l| u64::try_from(l.as_millis()).unwrap_or(CHANGES_MS).min(CHANGES_MS));
        let keys: Vec<String> = open.iter().map(|j| j.key.clone()).collect();
        let news = watch.next(session, &keys, wait.max(1)).await?;
        for job in news.jobs {
            if let Some(known) = jobs.get_mut(&job.key) {
                *known = job;
            }
        }
        for key in news.gone {
            if let Some(job) = jobs.remove(&key) {
                let id = job.id.map_or(key, |id| id.to_string());
                ctx.out.warn(&format!("job {id} is no more: another client has removed it from the server"));
            }
        }
        if done + 20 < jobs.len() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// `3 running, 2 submitted`.
fn states(jobs: &[&Job]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for job in jobs {
        *counts.entry(job.arcstate.as_deref().unwrap_or("not yet submitted")).or_default() += 1;
    }
    counts.iter().map(|(state, n)| format!("{n} {state}")).collect::<Vec<_>>().join(", ")
}
