//! `sub`: submits job descriptions.

use serde_json::json;

use crate::cli_jobs::Sub;
use crate::ctx::Ctx;
use crate::failure::{Failure, INTERRUPTED, Outcome};
use crate::follow::{Fate, Submission};
use crate::submit::{End, Input, follow, hand_over};

/// Runs the verb.
///
/// # Errors
/// What concerns no single job.
pub async fn run(ctx: &Ctx, args: &Sub) -> Outcome {
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    let input = Input::read(args)?;
    let mut session = ctx.session().await?;
    let (mut submission, end) = hand_over(ctx, &mut session, input, &mut interrupt).await?;
    if end == End::Interrupted {
        report(ctx, &submission)?;
        return Ok(INTERRUPTED);
    }
    if args.dry_run {
        return plan(ctx, &submission);
    }
    if args.detach {
        return detached(ctx, &submission);
    }
    let end = follow(ctx, &mut session, &mut submission, &mut interrupt).await?;
    report(ctx, &submission)?;
    hints(ctx, &submission);
    Ok(if end == End::Interrupted { INTERRUPTED } else { submission.exit() })
}

fn report(ctx: &Ctx, submission: &Submission) -> Result<(), Failure> {
    if !ctx.out.json {
        return Ok(());
    }
    let items: Vec<_> = submission.items.iter().map(crate::follow::Item::json).collect();
    ctx.out.value(&json!({ "schema": "act.sub/1", "batch": submission.batch, "items": items }))
}

/// Each hint once.
fn hints(ctx: &Ctx, submission: &Submission) {
    let mut said: Vec<&str> = Vec::new();
    for item in &submission.items {
        if let Fate::Failed { message, hint: Some(hint), .. } = &item.fate
            && !said.contains(&hint.as_str())
        {
            said.push(hint);
            if !ctx.out.json {
                ctx.out.error(message, Some(hint));
            }
        }
    }
}

/// `--detach`: the jobs are safe with the daemon.
fn detached(ctx: &Ctx, submission: &Submission) -> Outcome {
    if ctx.out.json {
        report(ctx, submission)?;
        return Ok(submission.exit());
    }
    let mut text = String::new();
    for item in &submission.items {
        let name = item.name.as_deref().unwrap_or_default();
        match (item.line(), &item.key) {
            (Some(line), _) => text.push_str(&line),
            (None, Some(key)) => text.push_str(&format!("Accepted job {name} as {key}")),
            (None, None) => continue,
        }
        text.push('\n');
    }
    ctx.out.text(&text)?;
    if !submission.pending().is_empty() {
        ctx.out.note(&format!("batch {b}: `actctl stat @{b}`, `actctl wait @{b}`", b = submission.batch));
    }
    Ok(submission.exit())
}

/// `--dry-run`: what would be sent.
fn plan(ctx: &Ctx, submission: &Submission) -> Outcome {
    if ctx.out.json {
        let items: Vec<_> = submission
            .items
            .iter()
            .map(|i| {
                let mut value = i.json();
                value["state"] = json!(if i.plan.is_some() { "planned" } else { "failed" });
                value["plan"] = json!(i.plan);
                value
            })
            .collect();
        ctx.out.value(&json!({ "schema": "act.plan/1", "items": items }))?;
        return Ok(submission.exit());
    }
    let mut text = String::new();
    for item in &submission.items {
        let Some(plan) = &item.plan else {
            text.push_str(&item.line().unwrap_or_default());
            text.push('\n');
            continue;
        };
        text.push_str(&format!("Job {} of {}\n", item.name.as_deref().unwrap_or("''"), item.path));
        text.push_str(&format!("  to one of: {}\n", plan.clusters.join(" ")));
        for upload in &plan.uploads {
            let size = crate::table::bytes(upload.size);
            text.push_str(&format!("  upload {} ({size}) from {} to {}\n", upload.name, upload.path, upload.to));
        }
        text.push_str("  description:\n");
        for line in plan.description.lines() {
            text.push_str(&format!("    {line}\n"));
        }
    }
    ctx.out.text(&text)?;
    Ok(submission.exit())
}
