//! `history`: jobs that are finished with, newest first.

use act_proto::jobs::{HistoryParams, Job};
use act_proto::method::JobsHistory;
use serde_json::json;

use crate::cli_jobs::History;
use crate::cmd::stat::missing;
use crate::ctx::Ctx;
use crate::failure::{OK, Outcome, SOME_FAILED};
use crate::pick::pick;
use crate::table;

/// Runs the verb.
///
/// # Errors
/// The daemon's.
pub async fn run(ctx: &Ctx, args: &History) -> Outcome {
    let pick = pick(&args.jobs)?;
    let mut session = ctx.session().await?;
    let mut jobs: Vec<Job> = Vec::new();
    for filter in pick.chunks() {
        let reply = session.call::<JobsHistory>(&HistoryParams { filter, limit: Some(args.limit) }).await?;
        missing(ctx, &reply.missing);
        jobs.extend(reply.items);
    }
    jobs.truncate(args.limit);
    if ctx.out.json {
        ctx.out.value(&json!({ "schema": "act.jobs/1", "as_of": null, "items": jobs }))?;
    } else {
        let rows: Vec<Vec<String>> = jobs.iter().map(row).collect();
        let heads = ["key", "id", "name", "outcome", "arcstate", "ended", "results"];
        ctx.out.text(&table::plain(&heads, &rows))?;
    }
    Ok(if jobs.is_empty() && args.jobs.fail_empty { SOME_FAILED } else { OK })
}

fn row(job: &Job) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.clone().filter(|t| !t.is_empty()).unwrap_or_else(|| "-".into());
    vec![
        job.key.clone(),
        job.id.map_or_else(|| "-".into(), |id| id.to_string()),
        or_dash(&job.name),
        or_dash(&job.outcome),
        or_dash(&job.arcstate),
        job.changed.clone(),
        job.results.clone().or_else(|| job.error.clone()).unwrap_or_else(|| "-".into()),
    ]
}
