//! `log`: the timeline of one job.

use act_proto::jobs::OneParams;
use act_proto::method::JobsLog;
use serde_json::json;

use crate::cli_jobs::Log;
use crate::ctx::Ctx;
use crate::failure::{OK, Outcome};

/// Runs the verb.
///
/// # Errors
/// No such job, or several; the daemon's.
pub async fn run(ctx: &Ctx, args: &Log) -> Outcome {
    let mut session = ctx.session().await?;
    let log = session.call::<JobsLog>(&OneParams { job: args.job.clone() }).await?;
    if ctx.out.json {
        ctx.out.value(&json!({ "schema": "act.log/1", "job": log.job, "entries": log.entries }))?;
        return Ok(OK);
    }
    let mut text = String::new();
    for entry in &log.entries {
        text.push_str(&format!("{}  {:<10} {}\n", entry.at, entry.what, entry.text));
    }
    ctx.out.text(&text)?;
    Ok(OK)
}
