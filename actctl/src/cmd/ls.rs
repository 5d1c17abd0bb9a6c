//! `ls`: the files of jobs, at the computing element or in their results.

use act_proto::jobs::{Filter, OneParams};
use act_proto::method::JobsFiles;
use serde_json::json;

use crate::cli_jobs::Ls;
use crate::cmd::stat::list;
use crate::ctx::Ctx;
use crate::failure::{OK, Outcome, SOME_FAILED};
use crate::pick::Pick;

/// Runs the verb.
///
/// # Errors
/// What concerns no single job.
pub async fn run(ctx: &Ctx, args: &Ls) -> Outcome {
    let mut session = ctx.session().await?;
    let pick = Pick { filter: Filter { select: args.select.clone(), ..Filter::default() }, ..Pick::default() };
    let (jobs, _) = list(ctx, &mut session, &pick, true).await?;
    let mut exit = if jobs.is_empty() { SOME_FAILED } else { OK };
    let mut items = Vec::new();
    let mut text = String::new();
    for job in &jobs {
        let id = job.id.map_or_else(|| job.key.clone(), |id| id.to_string());
        let name = job.name.as_deref().unwrap_or("''");
        let files = match session.call::<JobsFiles>(&OneParams { job: job.key.clone() }).await {
            Ok(files) => files,
            Err(f) if jobs.len() == 1 => return Err(f),
            Err(f) => {
                ctx.out.error(&format!("files of job {id} {name}: {}", f.message), f.hint.as_deref());
                exit = SOME_FAILED;
                continue;
            }
        };
        if jobs.len() > 1 {
            text.push_str(&format!("{}{id} {name} ({}):\n", if text.is_empty() { "" } else { "\n" }, files.place));
        }
        for file in &files.files {
            if args.long {
                let size = file.size.map_or_else(|| "?".to_owned(), |n| n.to_string());
                let sum = file.sha256.as_deref().map(|s| format!("  {s}")).unwrap_or_default();
                text.push_str(&format!("{size:>12}  {}{sum}\n", file.path));
            } else {
                text.push_str(&format!("{}\n", file.path));
            }
        }
        items.push(json!({
            "key": job.key, "id": job.id, "name": job.name, "place": files.place, "results": job.results, "files": files.files,
        }));
    }
    if ctx.out.json {
        ctx.out.value(&json!({ "schema": "act.files/1", "items": items }))?;
    } else {
        ctx.out.text(&text)?;
    }
    Ok(exit)
}
