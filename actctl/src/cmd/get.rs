//! `get`: delivers the results of done and donefailed jobs into the current directory.

use std::collections::BTreeSet;
use std::path::Path;

use act_proto::jobs::{GetParams, OperationItem};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli_jobs::Get;
use crate::cmd::stat::missing;
use crate::ctx::{Ctx, Session};
use crate::delivery::Delivery;
use crate::failure::{Failure, OK, Outcome, SOME_FAILED};
use crate::ids::Range;
use crate::pick::pick;
use crate::progress::Progress;
use crate::submit::absolute;
use crate::table;

/// Beyond so many ids in `-i`, those that are missing are not looked for one by one.
const MAX_MISSING: u64 = 100_000;

/// Runs the verb.
///
/// # Errors
/// What concerns no single job.
pub async fn run(ctx: &Ctx, args: &Get) -> Outcome {
    let mut pick = pick(&args.jobs)?;
    if args.jobs.states.iter().any(|s| !s.eq_ignore_ascii_case("done") && !s.eq_ignore_ascii_case("donefailed")) {
        return Err(Failure::usage("Error downloading jobs: State parameter not \"done\" or \"donefailed\"")
            .hint("only such jobs have results; `actctl fetch` brings those of failed ones"));
    }
    pick.filter.all = pick.bare;
    let mut session = ctx.session().await?;
    // Heard from here on, not only from the first wait for it: a delivery that has been asked for must be stopped.
    let mut signals = signal(SignalKind::interrupt()).map_err(|e| Failure::local(format!("no signals: {e}")))?;
    let interrupt = signals.recv();
    tokio::pin!(interrupt);
    let (mut items, mut unknown) = (Vec::new(), Vec::new());
    let mut end = Ok(());
    for filter in pick.chunks() {
        let params = GetParams {
            filter,
            dir: absolute(args.dir.as_deref().unwrap_or(Path::new(".")))?,
            use_jobname: args.use_jobname,
            noclean: args.noclean,
            copy: args.copy || args.noclean,
            webdav: args.webdav.webdav.clone(),
            exclude: args.exclude.clone(),
        };
        let mut delivery = match Delivery::begin(&mut session, &params).await {
            Ok(delivery) => delivery,
            Err(failure) => {
                end = Err(failure);
                break;
            }
        };
        let started = &delivery.started;
        if started.foreign > 0 {
            ctx.out.note(&format!("{} of the jobs were submitted by another client", started.foreign));
        }
        // Of ids that `-i` names the report tells, in act's words.
        let is_id = |term: &String| pick.ids.is_some() && term.chars().all(|c| c.is_ascii_digit() || "-,".contains(c));
        let others: Vec<String> = started.missing.iter().filter(|term| !is_id(term)).cloned().collect();
        missing(ctx, &others);
        unknown.extend(others);
        if started.jobs == 0 {
            continue;
        }
        end = tokio::select! {
            end = deliver(ctx, &mut session, &mut delivery, &mut items) => end,
            _ = &mut interrupt => {
                delivery.stop(ctx, &mut session).await;
                Err(Failure::interrupted(""))
            }
        };
        if end.is_err() {
            break;
        }
    }
    match end {
        Ok(()) => report(ctx, args, pick.ids.as_deref(), &items, &unknown),
        // What was delivered is told in any case.
        Err(failure) if ctx.out.json => {
            ctx.out.value(&json!({
                "schema": "act.get/1", "items": items, "unknown": unknown, "error": failure.json()["error"],
            }))?;
            Ok(failure.exit)
        }
        Err(failure) => Err(failure),
    }
}

/// Follows a delivery to its end, printing items as they end.
async fn deliver(
    ctx: &Ctx,
    session: &mut Session<'_>,
    delivery: &mut Delivery,
    items: &mut Vec<OperationItem>,
) -> Result<(), Failure> {
    let mut progress = Progress::new(&ctx.out, delivery.started.jobs, "getting");
    let mut count = 0;
    loop {
        let news = delivery.next(session).await?;
        count += news.items.len() as u64;
        for item in news.items {
            if !ctx.out.json {
                show(ctx, &progress, &item)?;
            }
            items.push(item);
        }
        if news.done {
            return Ok(());
        }
        let moving = news.progress;
        let text = match (moving.bytes, moving.total) {
            (0, 0) => String::new(),
            (bytes, total) if total > bytes => format!("{} of {}", table::bytes(bytes), table::bytes(total)),
            (bytes, _) => table::bytes(bytes),
        };
        progress.waiting(news.waiting.as_deref().unwrap_or_default());
        if news.waiting.is_none() {
            progress.set(count, text);
        }
    }
}

fn show(ctx: &Ctx, progress: &Progress<'_>, item: &OperationItem) -> Result<(), Failure> {
    let name = item.name.as_deref().unwrap_or("None");
    if !item.errors.is_empty() {
        let text = format!("Errors downloading job {name}:\n    {}", item.errors.join("\n    "));
        progress.aside(|| ctx.out.error(&text, None));
        return Ok(());
    }
    progress.line(&match &item.dir {
        Some(dir) => format!("Results for job {name} stored in {dir}"),
        None => format!("No output files for job {name}"),
    })
}

fn report(ctx: &Ctx, args: &Get, ids: Option<&[Range]>, items: &[OperationItem], unknown: &[String]) -> Outcome {
    let absent = ids.map(|ids| absent(ids, items)).unwrap_or_default();
    if ctx.out.json {
        ctx.out.value(&json!({ "schema": "act.get/1", "items": items, "missing": absent, "unknown": unknown }))?;
    } else {
        let mut text = String::new();
        for id in &absent {
            text.push_str(&format!("Job with ID {id:8} does not exist or is not in proper state\n"));
        }
        ctx.out.text(&text)?;
    }
    let failed = items.iter().any(|i| !i.errors.is_empty());
    Ok(if failed || (items.is_empty() && args.jobs.fail_empty) { SOME_FAILED } else { OK })
}

/// The ids asked for by `-i` about which nothing came.
fn absent(ids: &[Range], items: &[OperationItem]) -> Vec<u64> {
    let ranges = crate::ids::merged(ids);
    let count = ranges.iter().fold(0u64, |n, (a, b)| n.saturating_add(b - a).saturating_add(1));
    if count > MAX_MISSING {
        return Vec::new();
    }
    let got: BTreeSet<u64> = items.iter().filter_map(|i| i.id).collect();
    ranges.into_iter().flat_map(|(a, b)| a..=b).filter(|id| !got.contains(id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: u64) -> OperationItem {
        OperationItem { key: format!("j{id}"), id: Some(id), name: None, dir: None, errors: vec![], cleaned: true }
    }

    #[test]
    fn ids_without_results_are_told() {
        assert_eq!(absent(&[(15, 17), (99_999, 99_999)], &[item(15), item(17)]), [16, 99_999]);
        assert!(absent(&[(1, u64::MAX)], &[]).is_empty());
        assert_eq!(format!("Job with ID {:8} does", 16), "Job with ID       16 does");
    }
}
