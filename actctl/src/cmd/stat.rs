//! `stat`: the table of jobs, act's or our own.

use std::time::{Duration, Instant};

use act_proto::events::ListParams as EventParams;
use act_proto::jobs::{ChangesParams, Filter, Job, ListParams, StatParams};
use act_proto::method::{EventsList, JobsChanges, JobsList, JobsStat, ProxyStatus, ServerInfo};
use act_proto::server::InfoParams;
use act_proto::{Kind, MAX_PAGE};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::cli_jobs::{Output, Stat};
use crate::cmd::proxy;
use crate::ctx::{Ctx, Session};
use crate::failure::{Failure, INTERRUPTED, OK, Outcome, SOME_FAILED};
use crate::grid::Grid;
use crate::pick::{Pick, pick};
use crate::table;

/// A list of the server's that is so old is good enough to look at.
const GOOD_MS: u64 = 5_000;
/// Unless what was asked for is not in it: another client may have submitted it a moment ago.
const FRESH_MS: u64 = 2_000;
/// `--watch`: how long one call waits for a change.
const WATCH_MS: u64 = 2_000;
/// How often the server's list is read while somebody watches.
const LOOK: Duration = Duration::from_secs(30);
/// How long `--watch` waits for more to change.
const TOGETHER: Duration = Duration::from_millis(300);
/// The columns of `-o wide`.
const WIDE: &[&str] = &["key", "id", "name", "arcstate", "state", "phase", "origin", "batch", "waiting", "results"];

/// Runs the verb.
///
/// # Errors
/// Unknown columns, no server and nothing known from before, and the like.
pub async fn run(ctx: &Ctx, args: &Stat) -> Outcome {
    let pick = pick(&args.jobs)?;
    if ctx.out.json && args.format.is_some() {
        return Err(Failure::usage("--format and --json say two things").hint("`--columns` chooses what --json holds"));
    }
    let mut session = ctx.session().await?;
    if args.get_cols {
        return columns(ctx, &mut session).await;
    }
    if args.watch {
        return watch(ctx, &mut session, args, &pick).await;
    }
    let outcome = print(ctx, &mut session, args, &pick).await?;
    if !ctx.out.json && !ctx.out.quiet && matches!(args.output, Output::Table | Output::Wide) {
        // Below the table, and not in it: scripts read stdout.
        let status = session.call::<ProxyStatus>(&Default::default()).await?;
        ctx.out.note(&proxy::footer(&status));
    }
    Ok(outcome)
}

/// Prints again whenever a job changes, until Ctrl-C.
async fn watch(ctx: &Ctx, session: &mut Session<'_>, args: &Stat, pick: &Pick) -> Outcome {
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    let shown = async {
        loop {
            let seen = fresh(session).await?;
            ctx.out.clear_screen()?;
            print(ctx, session, args, pick).await?;
            changed(session, seen).await?;
            // What changes together is shown together.
            tokio::time::sleep(TOGETHER).await;
        }
    };
    tokio::select! {
        ended = shown => ended,
        _ = &mut interrupt => Ok(INTERRUPTED),
    }
}

/// What somebody who watches has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    connection: u64,
    /// It means nothing to a daemon that was started anew after the clock was set back.
    rev: u64,
    event: u64,
}

/// Has the server's list read if it is old, and gives where the daemon is now.
async fn fresh(session: &mut Session<'_>) -> Result<Seen, Failure> {
    let params = ListParams { limit: Some(1), max_age_ms: Some(GOOD_MS), ..ListParams::default() };
    let rev = session.call::<JobsList>(&params).await?.rev;
    let event = session.call::<EventsList>(&EventParams::default()).await?.last;
    Ok(Seen { connection: session.connection(), rev, event })
}

/// Waits until a job has changed.
async fn changed(session: &mut Session<'_>, mut seen: Seen) -> Result<(), Failure> {
    let mut looked = Instant::now();
    loop {
        let news = ChangesParams { since_rev: seen.rev, timeout_ms: WATCH_MS, ..ChangesParams::default() };
        let reply = session.call::<JobsChanges>(&news).await?;
        if session.connection() != seen.connection || !reply.items.is_empty() {
            return Ok(());
        }
        // Of jobs that are closed only events tell; other things that happen are no news here.
        if reply.rev != seen.rev {
            let types = vec!["job".to_owned()];
            let since = EventParams { since: Some(seen.event), types, limit: Some(1), ..EventParams::default() };
            if !session.call::<EventsList>(&since).await?.items.is_empty() {
                return Ok(());
            }
            seen.rev = reply.rev;
        }
        if looked.elapsed() > LOOK {
            looked = Instant::now();
            let params = ListParams { limit: Some(1), max_age_ms: Some(GOOD_MS), ..ListParams::default() };
            session.call::<JobsList>(&params).await?;
        }
    }
}

async fn print(ctx: &Ctx, session: &mut Session<'_>, args: &Stat, pick: &Pick) -> Outcome {
    let output = if ctx.out.json { Output::Json } else { args.output };
    let own = args.columns.is_some() || args.format.is_some() || matches!(output, Output::Wide | Output::Ids);
    let server = args.arc.is_some() || args.client.is_some();
    let found = if own || (output == Output::Json && !server) {
        own_list(ctx, session, args, pick, output).await?
    } else {
        server_table(ctx, session, args, pick, output).await?
    };
    Ok(if found == 0 && args.jobs.fail_empty { SOME_FAILED } else { OK })
}

/// `--get-cols`, as act means it.
async fn columns(ctx: &Ctx, session: &mut Session<'_>) -> Outcome {
    let info = session.call::<ServerInfo>(&InfoParams::default()).await?;
    if ctx.out.json {
        ctx.out.value(&json!({ "schema": "act.columns/1", "arc": info.arc, "client": info.client }))?;
    } else {
        let (arc, client) = (info.arc.join(","), info.client.join(","));
        ctx.out.text(&format!("arc columns:\n{arc}\n\nclient columns:\n{client}\n"))?;
    }
    Ok(OK)
}

/// Column names as act reads them: nothing is no column.
fn names(list: Option<&str>, default: &str) -> Vec<String> {
    let list = list.unwrap_or(default);
    if list.is_empty() { Vec::new() } else { list.split(',').map(ToOwned::to_owned).collect() }
}

async fn server_table(
    ctx: &Ctx,
    session: &mut Session<'_>,
    args: &Stat,
    pick: &Pick,
    output: Output,
) -> Result<usize, Failure> {
    let client = names(args.client.as_deref(), "id,jobname");
    let arc = names(args.arc.as_deref(), "JobID,State,arcstate");
    if client.is_empty() && arc.is_empty() {
        // The server answers nothing to no columns, and act prints nothing.
        return Ok(0);
    }
    if client.iter().chain(&arc).any(String::is_empty) {
        return Err(no_column(""));
    }
    if !matches!(output, Output::Json | Output::Csv) {
        let (grid, _) = read::<Grid>(ctx, session, pick, &client, &arc).await?;
        ctx.out.text(&table::act(&client, &arc, &grid))?;
        return Ok(grid.len());
    }
    let (rows, as_of) = read::<Vec<Vec<Value>>>(ctx, session, pick, &client, &arc).await?;
    if output == Output::Csv {
        let heads: Vec<String> = client.iter().chain(&arc).cloned().collect();
        ctx.out.text(&table::csv(&heads, &rows))?;
    } else {
        let items: Vec<Value> = rows.iter().map(|row| nested(&client, &arc, row)).collect();
        ctx.out.value(&json!({ "schema": "act.stat/1", "as_of": as_of, "items": items }))?;
    }
    Ok(rows.len())
}

/// What is used of a reply of `jobs.stat`, the rows as they are to be shown.
#[derive(Deserialize)]
struct Page<R> {
    as_of: Option<String>,
    rows: R,
    missing: Vec<String>,
    warnings: Vec<String>,
    next: Option<String>,
}

/// Rows that come in pages.
trait Rows: DeserializeOwned + Default {
    fn is_empty(&self) -> bool;
    fn append(&mut self, page: Self);
}

impl Rows for Grid {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
    fn append(&mut self, page: Self) {
        self.append(page);
    }
}

impl Rows for Vec<Vec<Value>> {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
    fn append(&mut self, page: Self) {
        self.extend(page);
    }
}

/// The rows of all jobs that are picked, over all pages, and of when they are.
async fn read<R: Rows>(
    ctx: &Ctx,
    session: &mut Session<'_>,
    pick: &Pick,
    client: &[String],
    arc: &[String],
) -> Result<(R, Option<String>), Failure> {
    let (mut rows, mut as_of) = (R::default(), None);
    let mut limit = MAX_PAGE;
    for filter in pick.chunks() {
        let mut after = None;
        loop {
            let mut params = StatParams {
                filter: filter.clone(),
                client: client.to_vec(),
                arc: arc.to_vec(),
                after,
                limit: Some(limit),
                max_age_ms: Some(GOOD_MS),
            };
            let mut reply = match session.call_into::<JobsStat, Page<R>>(&params).await {
                Err(f) if halved(&f, &mut limit) => {
                    after = params.after;
                    continue;
                }
                reply => reply?,
            };
            if params.after.is_none() && (reply.rows.is_empty() || !reply.missing.is_empty()) {
                params.max_age_ms = Some(FRESH_MS);
                reply = session.call_into::<JobsStat, Page<R>>(&params).await?;
            }
            for warning in &reply.warnings {
                ctx.out.warn(warning);
            }
            missing(ctx, &reply.missing);
            rows.append(reply.rows);
            as_of = reply.as_of;
            after = reply.next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok((rows, as_of))
}

fn no_column(name: &str) -> Failure {
    Failure::usage(format!("Invalid column \"{name}\"")).hint("`stat --get-cols` lists the columns that there are")
}

/// A row as an object: the two tables have columns of the same name.
fn nested(client: &[String], arc: &[String], row: &[Value]) -> Value {
    let object = |names: &[String], from: usize| -> Map<String, Value> {
        names.iter().enumerate().map(|(i, n)| (n.clone(), row.get(from + i).cloned().unwrap_or_default())).collect()
    };
    json!({ "client": object(client, 0), "arc": object(arc, client.len()) })
}

async fn own_list(
    ctx: &Ctx,
    session: &mut Session<'_>,
    args: &Stat,
    pick: &Pick,
    output: Output,
) -> Result<usize, Failure> {
    let (jobs, as_of) = list(ctx, session, pick, false).await?;
    let values: Vec<Value> = jobs.iter().map(|j| serde_json::to_value(j).unwrap_or_default()).collect();
    let heads = match &args.columns {
        Some(columns) => names(Some(columns), ""),
        None => WIDE.iter().map(|c| (*c).to_owned()).collect(),
    };
    if let Some(known) = values.first().and_then(Value::as_object)
        && let Some(bad) = heads.iter().find(|h| !known.contains_key(*h))
    {
        let all: Vec<&str> = known.keys().map(String::as_str).collect();
        return Err(Failure::usage(format!("there is no column `{bad}`")).hint(format!("there are {}", all.join(", "))));
    }
    if let Some(template) = &args.format {
        let mut text = String::new();
        for value in &values {
            text.push_str(&filled(template, value)?);
            text.push('\n');
        }
        ctx.out.text(&text)?;
        return Ok(jobs.len());
    }
    let cells = |value: &Value| -> Vec<Value> { heads.iter().map(|h| flat(&value[h.as_str()])).collect() };
    match output {
        Output::Json if args.columns.is_none() => {
            ctx.out.value(&json!({ "schema": "act.jobs/1", "as_of": as_of, "items": jobs }))?;
        }
        Output::Json => {
            let items: Vec<Map<String, Value>> =
                values.iter().map(|v| heads.iter().map(|h| (h.clone(), v[h.as_str()].clone())).collect()).collect();
            ctx.out.value(&json!({ "schema": "act.jobs/1", "as_of": as_of, "items": items }))?;
        }
        Output::Ids => {
            let ids: String =
                jobs.iter().map(|j| j.id.map_or_else(|| j.key.clone(), |id| id.to_string()) + "\n").collect();
            ctx.out.text(&ids)?;
        }
        Output::Csv => ctx.out.text(&table::csv(&heads, &values.iter().map(cells).collect::<Vec<_>>()))?,
        Output::Table | Output::Wide => {
            let rows: Vec<Vec<String>> =
                values.iter().map(|v| cells(v).iter().map(|c| dash(table::text(c))).collect()).collect();
            let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
            ctx.out.text(&table::plain(&heads, &rows))?;
        }
    }
    Ok(jobs.len())
}

fn dash(text: String) -> String {
    if text.is_empty() { "-".into() } else { text }
}

/// A nested value in one cell: what a job waits for is its sentence.
fn flat(value: &Value) -> Value {
    match value {
        Value::Object(o) => o.get("message").cloned().unwrap_or_else(|| Value::String(value.to_string())),
        other => other.clone(),
    }
}

/// Puts a job's values into a template; `{{` is a brace.
fn filled(template: &str, job: &Value) -> Result<String, Failure> {
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
            out.push_str(&rest[..1]);
            rest = after;
            continue;
        }
        let end = rest.find('}').filter(|_| rest.starts_with('{'));
        let Some(end) = end else {
            return Err(
                Failure::usage(format!("`{template}`: a brace without its other half")).hint("write {{ for a brace")
            );
        };
        let name = &rest[1..end];
        let value = job.get(name).ok_or_else(|| {
            Failure::usage(format!("`{template}`: there is no `{name}`"))
                .hint("`actctl stat --json` shows what there is")
        })?;
        out.push_str(&table::text(&flat(value)));
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// All jobs that are picked, over all pages.
///
/// # Errors
/// The daemon's.
pub async fn list(
    ctx: &Ctx,
    session: &mut Session<'_>,
    pick: &Pick,
    closed: bool,
) -> Result<(Vec<Job>, Option<String>), Failure> {
    let (mut jobs, mut as_of) = (Vec::new(), None);
    for filter in pick.chunks() {
        as_of = pages(ctx, session, filter, closed, &mut jobs).await?;
    }
    Ok((jobs, as_of))
}

async fn pages(
    ctx: &Ctx,
    session: &mut Session<'_>,
    filter: Filter,
    closed: bool,
    jobs: &mut Vec<Job>,
) -> Result<Option<String>, Failure> {
    let mut params = ListParams { filter, closed, max_age_ms: Some(GOOD_MS), ..ListParams::default() };
    let mut limit = MAX_PAGE;
    loop {
        let mut reply = match session.call::<JobsList>(&params).await {
            Err(f) if halved(&f, &mut limit) => {
                params.limit = Some(limit);
                continue;
            }
            reply => reply?,
        };
        if params.after.is_none() {
            if reply.items.is_empty() || !reply.missing.is_empty() {
                params.max_age_ms = Some(FRESH_MS);
                reply = session.call::<JobsList>(&params).await?;
            }
            missing(ctx, &reply.missing);
        }
        jobs.extend(reply.items);
        params.after = reply.next;
        if params.after.is_none() {
            return Ok(reply.as_of);
        }
    }
}

/// Whether a page was too large for one message: then the next try asks for half of it.
pub(crate) fn halved(failure: &Failure, limit: &mut usize) -> bool {
    let again = failure.kind == Kind::TooMany.word() && *limit > 1;
    if again {
        *limit /= 2;
    }
    again
}

/// Warns about selector terms that name no job.
pub fn missing(ctx: &Ctx, terms: &[String]) {
    const SHOWN: usize = 10;
    if terms.is_empty() {
        return;
    }
    let shown = terms.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = terms.len().saturating_sub(SHOWN);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    ctx.out.warn(&format!("no such job: {shown}{more}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_split_as_act_splits_them() {
        assert_eq!(names(None, "id,jobname"), ["id", "jobname"]);
        assert!(names(Some(""), "id").is_empty());
        assert_eq!(names(Some("id,"), "x"), ["id", ""]);
    }

    #[test]
    fn templates() {
        let job = json!({ "id": 5, "name": "a", "results": null, "waiting": { "message": "x" } });
        assert_eq!(filled("{id}: {name} {results}|{waiting} {{}}", &job).unwrap(), "5: a |x {}");
        assert_eq!(filled("{nosuch}", &job).unwrap_err().exit, 2);
        assert_eq!(filled("a { b", &job).unwrap_err().exit, 2);
        assert_eq!(filled("a } b", &job).unwrap_err().exit, 2);
    }

    #[test]
    fn rows_are_objects_by_table() {
        let value = nested(&["id".into()], &["id".into(), "State".into()], &[json!(1), json!(2), json!("Running")]);
        assert_eq!(value, json!({ "client": { "id": 1 }, "arc": { "id": 2, "State": "Running" } }));
    }
}
