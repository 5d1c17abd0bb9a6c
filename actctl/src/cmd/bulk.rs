//! What `kill`, `clean`, `fetch`, `resub` and `adopt` have in common: consent, one call for each thousand terms, and the
//! count that act prints.

use std::io::IsTerminal;

use act_proto::Method;
use act_proto::error::Kind;
use act_proto::jobs::{Bulk as Reply, BulkItem, BulkParams, Filter};
use serde_json::json;

use crate::cli_jobs::Bulk;
use crate::cmd::stat::missing;
use crate::ctx::{Ctx, Session};
use crate::failure::{Failure, OK, Outcome, SOME_FAILED};
use crate::gate::closed;
use crate::pick::{Pick, pick};
use crate::table;

/// How a verb of this kind talks.
pub struct Words {
    /// The verb.
    pub verb: &'static str,
    /// Before the number of jobs on stdout: `Will kill`.
    pub count: &'static str,
    /// The question, before the number: `Kill`.
    pub ask: &'static str,
}

/// What a bare verb, without any selection, means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bare {
    /// Every job that its state allows, as to act.
    All,
    /// The same, but a person at a terminal is asked.
    Ask,
    /// A person is asked; a script must say `-a`.
    Consent,
}

/// Runs such a verb.
///
/// # Errors
/// No selection where one is needed; the daemon's.
pub async fn run<M>(ctx: &Ctx, args: &Bulk, words: &Words, bare: Bare) -> Outcome
where
    M: Method<Params = BulkParams, Reply = Reply>,
{
    let mut pick = pick(&args.jobs)?;
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let unsaid = pick.bare && !args.jobs.all && !args.dry_run;
    // Not even with `--yes`: a script whose list of jobs is empty (`kill -y $IDS`) means none of them.
    if unsaid && bare == Bare::Consent && !terminal {
        return Err(Failure::usage(format!("`{}` without a selection means every job", words.verb))
            .hint(format!("name the jobs, or say `{} --all`", words.verb)));
    }
    if pick.bare {
        pick.filter.all = true;
    }
    let mut session = ctx.session().await?;
    if unsaid && bare != Bare::All && terminal && !args.yes {
        let preview = call::<M>(&mut session, args, &pick, true).await?;
        if preview.ok.is_empty() {
            // Nothing to consent to: said in act's words, and nothing is done.
            return report(ctx, args, words, &preview);
        }
        if !asked(ctx, &preview, words).await? {
            ctx.out.note("Nothing done.");
            return Ok(OK);
        }
        // The consent is to what was shown, not to what has come about since.
        pick.filter = Filter { select: preview.ok.into_iter().map(|job| job.key).collect(), ..Filter::default() };
    }
    let done = call::<M>(&mut session, args, &pick, args.dry_run).await?;
    let exit = report(ctx, args, words, &done)?;
    if exit == SOME_FAILED && done.ok.is_empty() && !done.failed.is_empty() {
        // Nothing went through: if that is because nothing does, the exit code says why.
        let keys: Vec<String> = done.failed.iter().map(|f| f.job.key.clone()).collect();
        let why = closed(&mut session, &keys).await?;
        if let (Some(hint), false) = (why.as_ref().and_then(|f| f.hint.as_deref()), ctx.out.json) {
            ctx.out.note(&format!("hint: {hint}"));
        }
        return Ok(why.map_or(exit, |f| f.exit));
    }
    Ok(exit)
}

async fn call<M>(session: &mut Session<'_>, args: &Bulk, pick: &Pick, dry_run: bool) -> Result<Reply, Failure>
where
    M: Method<Params = BulkParams, Reply = Reply>,
{
    let mut all = Reply::default();
    for filter in pick.chunks() {
        let params = BulkParams { filter, webdav: args.webdav.webdav.clone(), dry_run };
        let reply = session.call::<M>(&params).await.map_err(unanswered)?;
        all.ok.extend(reply.ok);
        all.failed.extend(reply.failed);
        all.skipped.extend(reply.skipped);
        all.missing.extend(reply.missing);
        all.foreign += reply.foreign;
    }
    Ok(all)
}

/// The daemon ended in the middle: nobody knows how far it came, but it does. Not called again by itself: a job that was
/// resubmitted may have failed again meanwhile.
fn unanswered(failure: Failure) -> Failure {
    if failure.kind != Kind::Stopping.word() {
        return failure;
    }
    failure.hint(
        "what it had taken down is done when it runs again: look with `actctl stat`, then run the command again for the rest",
    )
}

/// Shows what would be done and asks.
async fn asked(ctx: &Ctx, preview: &Reply, words: &Words) -> Result<bool, Failure> {
    const SHOWN: usize = 20;
    ctx.out.note(table(&preview.ok[..preview.ok.len().min(SHOWN)]).trim_end());
    if preview.ok.len() > SHOWN {
        ctx.out.note(&format!("... and {} more", preview.ok.len() - SHOWN));
    }
    ctx.out.ask(&format!("{} {} jobs? [y/N]", words.ask, preview.ok.len()));
    // On another thread: Ctrl-C must be able to end the question.
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let line = answer.await.map_err(|e| Failure::local(e.to_string()))?;
    let line = line.map_err(|e| Failure::local(format!("cannot read the answer: {e}")))?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn table(jobs: &[BulkItem]) -> String {
    let cell = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let rows: Vec<Vec<String>> = jobs
        .iter()
        .map(|j| {
            let id = j.id.map_or_else(|| j.key.clone(), |id| id.to_string());
            vec![id, cell(j.name.clone()), cell(j.arcstate.clone())]
        })
        .collect();
    table::plain(&["id", "name", "arcstate"], &rows)
}

fn report(ctx: &Ctx, args: &Bulk, words: &Words, done: &Reply) -> Outcome {
    if ctx.out.json {
        let mut value = json!({ "schema": "act.bulk/1", "verb": words.verb, "dry_run": args.dry_run });
        if let (Some(value), Ok(serde_json::Value::Object(reply))) = (value.as_object_mut(), serde_json::to_value(done))
        {
            value.extend(reply);
        }
        ctx.out.value(&value)?;
    } else {
        if args.dry_run {
            ctx.out.note(table(&done.ok).trim_end());
        }
        let count = if args.dry_run { format!("Would {}", words.verb) } else { words.count.to_owned() };
        ctx.out.line(&format!("{count} {} jobs", done.ok.len()))?;
        for failure in &done.failed {
            let job = &failure.job;
            let id = job.id.map_or_else(|| job.key.clone(), |id| id.to_string());
            let name = job.name.as_deref().unwrap_or("''");
            ctx.out.error(&format!("{} of job {id} {name}: {}", words.verb, failure.error), None);
        }
    }
    missing(ctx, &done.missing);
    if !done.skipped.is_empty() && args.jobs.id.is_some() | !args.jobs.select.is_empty() {
        ctx.out.warn(&format!("{} jobs are not in a state that allows it", done.skipped.len()));
    }
    if done.foreign > 0 {
        ctx.out.note(&format!("{} of them were submitted by another client", done.foreign));
    }
    let nothing = done.ok.is_empty() && args.jobs.fail_empty;
    Ok(if nothing || !done.failed.is_empty() { SOME_FAILED } else { OK })
}
