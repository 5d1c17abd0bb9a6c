//! `run`: one job from description to results, as if it ran here. Exits with the job's own code; 125 for failures of ours.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::{Duration, Instant};

use act_proto::jobs::{Filter, GetParams, Job};

use crate::cli_jobs::Run;
use crate::cmd::{stat::list, tail, wait};
use crate::ctx::{Ctx, Session};
use crate::delivery::Delivery;
use crate::failure::{Failure, INTERRUPTED, OK, Outcome, RUN_FAILED, TIMEOUT};
use crate::follow::{Fate, Submission};
use crate::pick::{Pick, duration};
use crate::submit::{End, Input, absolute, follow, hand_over};
use crate::watch::Watch;

/// How long to wait for the reason of a failure.
const REASON: Duration = Duration::from_secs(20);
/// What the job wrote last may be on its way for so long.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// Runs the verb.
///
/// # Errors
/// Exit code 125, but for Ctrl-C, a closed pipe and `--timeout`.
pub async fn run(ctx: &Ctx, args: &Run) -> Outcome {
    inner(ctx, args).await.map_err(|mut f| {
        if ![INTERRUPTED, TIMEOUT, crate::failure::BROKEN_PIPE].contains(&f.exit) {
            f.exit = RUN_FAILED;
        }
        f
    })
}

async fn inner(ctx: &Ctx, args: &Run) -> Outcome {
    let timeout = args.timeout.as_deref().map(duration).transpose()?;
    if args.sub.dry_run || args.sub.detach {
        return Err(Failure::usage("`run` waits for a job").hint("use `sub` with --dry-run or --detach"));
    }
    // Its stdout is the job's: what `sub` would print is progress here.
    let mut quiet = ctx.clone();
    quiet.out.json = true;
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    let input = Input::read(&args.sub)?;
    let jobs = input.jobs();
    if jobs > 1 {
        return Err(not_one(jobs));
    }
    let mut session = ctx.session().await?;
    let (mut submission, handed) = hand_over(ctx, &mut session, input, &mut interrupt).await?;
    if handed == End::Interrupted
        || follow(&quiet, &mut session, &mut submission, &mut interrupt).await? == End::Interrupted
    {
        return Ok(INTERRUPTED);
    }
    let (key, id) = only(&submission)?;
    ctx.out.note(&format!("job {id} is on the server"));
    let pick = Pick { filter: Filter { select: vec![key.clone()], ..Filter::default() }, ..Pick::default() };
    let (jobs, _) = list(ctx, &mut session, &pick, true).await?;
    let mut jobs: BTreeMap<String, Job> = jobs.into_iter().map(|j| (j.key.clone(), j)).collect();
    let Some(job) = jobs.get(&key).cloned() else { return Err(Failure::daemon("the daemon no longer knows the job")) };
    let mut output = ctx.session().await?;
    let both = async {
        wait::until(ctx, &mut session, &mut jobs, false, timeout).await?;
        Ok::<(), Failure>(())
    };
    {
        let streaming = tail::follow(ctx, &mut output, &job, "stdout", 0);
        tokio::pin!(both);
        tokio::pin!(streaming);
        let late = tokio::time::sleep(LAST_WORDS);
        tokio::pin!(late);
        let (mut streamed, mut ended) = (false, false);
        while !(streamed && ended) {
            tokio::select! {
                end = &mut both, if !ended => {
                    end?;
                    ended = true;
                    // What it wrote last may still be on its way.
                    late.as_mut().reset(tokio::time::Instant::now() + LAST_WORDS);
                }
                () = &mut late, if ended => break,
                end = &mut streaming, if !streamed => {
                    streamed = true;
                    match end {
                        Err(f) if f.message.is_empty() => return Err(f),
                        Err(f) => ctx.out.warn(&f.message),
                        Ok(_) => {}
                    }
                }
                _ = &mut interrupt => {
                    ctx.out.note(&if ended {
                        format!("job {id} has ended: `actctl get -i {id}` gets its results")
                    } else {
                        format!("job {id} goes on: `actctl kill -i {id}` ends it")
                    });
                    return Ok(INTERRUPTED);
                }
            }
        }
    }
    let Some(job) = jobs.get(&key) else { return Err(Failure::daemon("the daemon no longer knows the job")) };
    let job = tokio::select! {
        job = reasoned(&mut session, job.clone()) => job?,
        _ = &mut interrupt => return Ok(INTERRUPTED),
    };
    let code = code(&job);
    if code != OK {
        let why = job.error.as_deref().or(job.arcstate.as_deref()).unwrap_or("failed");
        ctx.out.error(&format!("job {id}: {why}"), None);
    }
    if !args.no_get && wait::end(&job) == Some(true) && !deliver(ctx, &mut session, &key, args, &mut interrupt).await? {
        ctx.out.note(&format!("job {id} has ended: `actctl get -i {id}` gets its results"));
        return Ok(INTERRUPTED);
    }
    Ok(code)
}

/// The reason of a failure, and with it the exit code, comes a moment after the failure: waits for it.
async fn reasoned(session: &mut Session<'_>, mut job: Job) -> Result<Job, Failure> {
    let mut watch = Watch::since(job.rev);
    let since = Instant::now();
    while wait::end(&job) == Some(false) && job.error.is_none() && job.exit_code.is_none() && since.elapsed() < REASON {
        for news in watch.next(session, std::slice::from_ref(&job.key), 1_000).await?.jobs {
            job = news;
        }
    }
    Ok(job)
}

fn not_one(jobs: usize) -> Failure {
    Failure::usage(format!("`run` takes one job, and there are {jobs}")).hint("use `sub` and `wait`")
}

/// The one job that a `run` is about.
fn only(submission: &Submission) -> Result<(String, u64), Failure> {
    let [item] = submission.items.as_slice() else { return Err(not_one(submission.items.len())) };
    match (&item.fate, &item.key) {
        (Fate::Inserted(id), Some(key)) => Ok((key.clone(), *id)),
        (Fate::Failed { message, hint, exit }, _) => {
            let mut failure = Failure::usage(format!("{} not submitted: {message}", item.path));
            failure.exit = *exit;
            failure.hint.clone_from(hint);
            Err(failure)
        }
        _ => Err(Failure::daemon("the daemon has not said what became of the job")),
    }
}

/// The exit code of a job that has ended: its own where it is known.
fn code(job: &Job) -> u8 {
    if wait::end(job) == Some(true) {
        return job.exit_code.map_or(OK, |c| u8::try_from(c & 0xff).unwrap_or(1));
    }
    match job.exit_code.map(|c| c & 0xff) {
        Some(code @ 1..) => u8::try_from(code).unwrap_or(1),
        _ => 1,
    }
}

/// Puts the results into the current directory. `false`: Ctrl-C.
async fn deliver<I: Future>(
    ctx: &Ctx,
    session: &mut Session<'_>,
    key: &str,
    args: &Run,
    interrupt: &mut Pin<&mut I>,
) -> Result<bool, Failure> {
    let params = GetParams {
        filter: Filter { select: vec![key.to_owned()], ..Filter::default() },
        dir: absolute(std::path::Path::new("."))?,
        use_jobname: args.sub.use_jobname,
        ..GetParams::default()
    };
    let mut delivery = Delivery::begin(session, &params).await?;
    loop {
        let news = tokio::select! {
            news = delivery.next(session) => news?,
            _ = interrupt.as_mut() => {
                delivery.stop(ctx, session).await;
                return Ok(false);
            }
        };
        for item in &news.items {
            if let Some(dir) = &item.dir {
                ctx.out.note(&format!("results are in {dir}"));
            }
            if !item.errors.is_empty() {
                return Err(Failure::local(format!("results could not be delivered: {}", item.errors.join("; "))));
            }
        }
        if news.done {
            return Ok(true);
        }
    }
}
