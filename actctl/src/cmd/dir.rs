//! `dir`: watched directories. A description that is put into one is submitted by the daemon.

use std::time::Duration;

use act_proto::dirs::{AddParams, Dir, OneParams};
use act_proto::method::{DirsAdd, DirsList, DirsPause, DirsResume, DirsRm};
use serde_json::json;

use crate::cli::{Dir as Args, DirAdd, DirOne};
use crate::ctx::Ctx;
use crate::failure::{Failure, OK, Outcome};
use crate::pick::duration;
use crate::submit::absolute;
use crate::table;

/// How often a new directory is looked at until it is open, and how long between.
const LOOKS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// Runs the verb.
///
/// # Errors
/// The daemon's.
pub async fn run(ctx: &Ctx, args: &Args) -> Outcome {
    match args {
        Args::Add(args) => add(ctx, args).await,
        Args::List => list(ctx).await,
        Args::Rm(dir) => {
            let dir = ctx.session().await?.call::<DirsRm>(&one(dir)?).await?;
            said(ctx, &dir, "is no longer watched")
        }
        Args::Pause(dir) => {
            let dir = ctx.session().await?.call::<DirsPause>(&one(dir)?).await?;
            said(ctx, &dir, "is paused")
        }
        Args::Resume(dir) => {
            let dir = ctx.session().await?.call::<DirsResume>(&one(dir)?).await?;
            said(ctx, &dir, "is watched")
        }
    }
}

async fn add(ctx: &Ctx, args: &DirAdd) -> Outcome {
    let settle = args.settle.as_deref().map(duration).transpose()?;
    let sweep = args.sweep.as_deref().map(duration).transpose()?;
    let params = AddParams {
        path: absolute(&args.dir)?,
        clusterlist: args.clusterlist.clone(),
        webdav: args.webdav.webdav.clone(),
        results: args.results.as_deref().map(absolute).transpose()?,
        settle_ms: settle.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        sweep_s: sweep.map(|time| time.as_secs()),
        poll: args.poll,
    };
    let mut session = ctx.session().await?;
    // The same call again has the same outcome.
    let mut dir = session.repeat::<DirsAdd>(&params).await?;
    // A moment later it is open, or cannot be opened.
    for _ in 0..LOOKS {
        if dir.state != "paused" {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        let list = session.call::<DirsList>(&Default::default()).await?;
        dir = list.items.into_iter().find(|d| d.path == dir.path).unwrap_or(dir);
    }
    said(ctx, &dir, "is watched")?;
    if dir.state == "paused" {
        ctx.out.warn(&format!("it is paused: {}", dir.reason.as_deref().unwrap_or("see `actctl dir list`")));
    }
    Ok(OK)
}

async fn list(ctx: &Ctx) -> Outcome {
    let list = ctx.session().await?.call::<DirsList>(&Default::default()).await?;
    if ctx.out.json {
        ctx.out.value(&json!({ "schema": "act.dirs/1", "items": list.items }))?;
        return Ok(OK);
    }
    if list.items.is_empty() {
        ctx.out.note("no directory is watched; `actctl dir add DIR` begins with one");
        return Ok(OK);
    }
    let rows: Vec<Vec<String>> = list.items.iter().map(row).collect();
    let heads = ["directory", "state", "accepted", "failed", "waiting", "clusters", "reason"];
    ctx.out.text(&table::plain(&heads, &rows))?;
    Ok(OK)
}

fn row(dir: &Dir) -> Vec<String> {
    vec![
        dir.path.clone(),
        dir.state.clone(),
        dir.accepted.to_string(),
        dir.failed.to_string(),
        dir.waiting.to_string(),
        dir.clusterlist.clone().unwrap_or_else(|| "default".into()),
        dir.reason.clone().unwrap_or_else(|| "-".into()),
    ]
}

fn one(args: &DirOne) -> Result<OneParams, Failure> {
    Ok(OneParams { path: absolute(&args.dir)? })
}

fn said(ctx: &Ctx, dir: &Dir, what: &str) -> Outcome {
    if ctx.out.json {
        ctx.out.value(&json!({ "schema": "act.dirs/1", "items": [dir] }))?;
    } else {
        ctx.out.line(&format!("{} {what}", dir.path))?;
    }
    Ok(OK)
}
