//! Calls that only look: `jobs.list changes history log`, `operations.get`, `transfers.list`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use act_proto::error::{ApiError, Kind};
use act_proto::jobs::{
    ChangesParams, HistoryParams, JobList, JobLog, ListParams, LogEntry, Operation, OperationParams, Transfer,
    TransferList,
};
use act_proto::method::{JobsChanges, JobsHistory, JobsList, JobsLog, OperationsGet, TransfersList};
use act_proto::{MAX_PAGE, jobs as api};
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;

use super::Api;
use super::answer::{self, View};
use super::register::register as add;
use super::stat;
use crate::job::select::{self, BadSelector, Parsed};
use crate::job::{Job, Key, Origin, Phase, Time};
use crate::work::TransferKind;

/// Longest that a call waits for something to happen.
const MAX_WAIT: Duration = Duration::from_secs(60);
const DEFAULT_HISTORY: usize = 1_000;

pub(super) fn register(module: &mut RpcModule<Api>) -> Result<(), RegisterMethodError> {
    add::<JobsList, _, _>(module, |api, p| async move { list(&api, &p).await })?;
    add::<JobsChanges, _, _>(module, |api, p| async move { changes(&api, p).await })?;
    add::<JobsHistory, _, _>(module, |api, p| async move { history(&api, &p) })?;
    add::<JobsLog, _, _>(module, |api, p| async move { log(&api, &p.job) })?;
    add::<OperationsGet, _, _>(module, |api, p| async move { operation(&api, p).await })?;
    add::<TransfersList, _, _>(module, |api, _| async move { Ok(transfers(&api)) })?;
    Ok(())
}

pub(super) fn bad_selector(e: BadSelector) -> ApiError {
    ApiError::new(Kind::BadSelector, e.0)
        .hint("ids (28517), ranges (28517-28520, 1-9:2), keys (j12), last:5, @batch, ARC job URLs or names")
}

fn page(limit: Option<usize>, default: usize) -> usize {
    limit.unwrap_or(default).min(MAX_PAGE)
}

fn key(text: &str) -> Result<Key, ApiError> {
    text.parse().map_err(|()| ApiError::new(Kind::BadParams, format!("`{text}` is no job key, such as j12")))
}

/// Jobs on the wire, with what only the store knows of them.
fn wire(api: &Api, jobs: &[Arc<Job>], view: &View) -> Vec<api::Job> {
    let progress: BTreeMap<Key, api::Progress> = {
        let board = api.engine.board.read();
        jobs.iter().filter_map(|j| Some((j.key, board.progress.get(&j.key)?.1))).collect()
    };
    let source = |job: &Job| if job.is_ours() { api.engine.source(job.key) } else { None };
    jobs.iter().map(|j| answer::job(j, view, source(j), progress.get(&j.key).copied())).collect()
}

async fn list(api: &Api, p: &ListParams) -> Result<JobList, ApiError> {
    stat::refresh(api, p.max_age_ms).await;
    let limit = page(p.limit, MAX_PAGE);
    let config = api.config.get();
    let after = p.after.as_deref().map(key).transpose()?;
    let parsed = Parsed::new(&p.filter).map_err(bad_selector)?;
    let (mut jobs, any, view, rev, as_of, mut missing) = {
        let board = api.engine.board.read();
        let selection = parsed.select(select::Jobs { by_key: &board.by_key, by_id: &board.by_id });
        let any = selection.keys.iter().filter_map(|k| board.by_key.get(k)).any(|j| select::is_shown(j));
        let newer = |j: &Arc<Job>| p.since_rev.is_none_or(|rev| rev > board.rev || j.rev > rev);
        let jobs: Vec<Arc<Job>> =
            selection.keys.iter().filter_map(|k| board.by_key.get(k)).filter(|j| newer(j)).cloned().collect();
        (jobs, any, View::of(&board, &config), board.rev, board.as_of, selection.missing)
    };
    if p.closed {
        let keep = |job: &Job| parsed.names(job) && parsed.conditions(job);
        {
            let board = api.engine.board.read();
            jobs.extend(board.by_key.values().filter(|j| is_closed(j) && keep(j)).cloned());
        }
        let past = if parsed.asks_history(&missing) { past(api, &parsed, after, limit) } else { Vec::new() };
        let behind = past.get(limit).map(|job| job.key);
        jobs.extend(past);
        jobs.sort_by_key(|j| j.key);
        // One may have moved to the history between the two looks.
        jobs.dedup_by_key(|j| j.key);
        // The first page has told of them.
        missing.retain(|_| after.is_none());
        named_by_closed(api, &parsed, &jobs, behind, &mut missing);
    } else {
        jobs.retain(|j| select::is_shown(j));
    }
    // That none of those that are known has changed is an answer.
    if as_of.is_none() && jobs.is_empty() && !any && after.is_none() {
        stat::no_list(api)?;
    }
    jobs.retain(|j| after.is_none_or(|key| j.key > key));
    let more = jobs.len() > limit;
    jobs.truncate(limit);
    let next = if more { jobs.last().map(|j| j.key.to_string()) } else { None };
    let items = wire(api, &jobs, &view);
    Ok(reply(items, rev, as_of, next, missing))
}

/// What the history has for a page of `limit` jobs, oldest first; one more tells that there is another page. No more is read
/// from the disk than that.
fn past(api: &Api, parsed: &Parsed, after: Option<Key>, limit: usize) -> Vec<Arc<Job>> {
    let after = after.unwrap_or(Key(0));
    let mut keep = |job: &Job| parsed.names(job) && parsed.conditions(job);
    let jobs = tokio::task::block_in_place(|| match parsed.keys() {
        Some(keys) => {
            let closed = keys.into_iter().filter(|key| *key > after).filter_map(|key| api.engine.closed(key));
            closed.filter(|job| keep(job)).take(limit + 1).collect()
        }
        None => api.engine.history_after(after, limit + 1, &mut keep),
    });
    jobs.into_iter().map(Arc::new).collect()
}

/// Leaves of the terms that name no live job those that name none at all: neither one of the page, nor one of the history
/// after the key that is `behind` the page. That part is looked through once, and only if such a term is left.
fn named_by_closed(api: &Api, parsed: &Parsed, page: &[Arc<Job>], behind: Option<Key>, missing: &mut Vec<String>) {
    let mut terms: Vec<(String, Parsed)> = Vec::new();
    for text in missing.drain(..) {
        let one = api::Filter { select: vec![text.clone()], ..api::Filter::default() };
        terms.extend(Parsed::new(&one).ok().map(|term| (text, term)));
    }
    page.iter().for_each(|job| terms.retain(|(_, term)| !term.names(job)));
    if let Some(behind) = behind.filter(|_| !terms.is_empty()) {
        let mut is_over = |job: &Job| {
            terms.retain(|(_, term)| !(term.names(job) && parsed.conditions(job)));
            terms.is_empty()
        };
        tokio::task::block_in_place(|| api.engine.history_after(behind, 1, &mut is_over));
    }
    missing.extend(terms.into_iter().map(|(text, _)| text));
}

fn is_closed(job: &Job) -> bool {
    matches!(job.phase, Phase::Closed { .. })
}

fn reply(items: Vec<api::Job>, rev: u64, as_of: Option<Time>, next: Option<String>, missing: Vec<String>) -> JobList {
    JobList { schema: "act.jobs/1".to_owned(), as_of: as_of.map(Time::rfc3339), rev, items, next, missing }
}

/// In which revision jobs were first seen to be closed: closed jobs leave the board, and with it their revision.
#[derive(Debug, Default)]
pub struct ClosedRevs(Mutex<BTreeMap<Key, u64>>);

/// So many are remembered.
const CLOSED: usize = 100_000;

impl ClosedRevs {
    fn of(&self, key: Key, now: u64) -> u64 {
        let mut revs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rev = *revs.entry(key).or_insert(now);
        if revs.len() > CLOSED {
            revs.pop_first();
        }
        rev
    }
}

async fn changes(api: &Api, p: ChangesParams) -> Result<JobList, ApiError> {
    if p.keys.len() > MAX_PAGE {
        return Err(ApiError::new(Kind::TooMany, format!("at most {MAX_PAGE} keys at a time")));
    }
    let keys: Vec<Key> = p.keys.iter().map(|k| key(k)).collect::<Result<_, _>>()?;
    let after = p.after.as_deref().map(key).transpose()?;
    let deadline = tokio::time::Instant::now() + Duration::from_millis(p.timeout_ms).min(MAX_WAIT);
    loop {
        let (list, rev) = changed(api, &keys, after, &p);
        if !list.items.is_empty() || tokio::time::Instant::now() >= deadline {
            return Ok(list);
        }
        tokio::select! {
            () = api.engine.board.changed_after(rev) => {}
            () = tokio::time::sleep_until(deadline) => {}
            () = api.closing.cancelled() => return Err(ApiError::new(Kind::Stopping, "the daemon is stopping")),
        }
    }
}

fn changed(api: &Api, keys: &[Key], after: Option<Key>, p: &ChangesParams) -> (JobList, u64) {
    let config = api.config.get();
    let (mut jobs, view, rev, as_of, gone, since) = {
        let board = api.engine.board.read();
        // A revision from before a restart, and the clock was set back: everything may have changed.
        let since = if p.since_rev > board.rev { 0 } else { p.since_rev };
        let view = View::of(&board, &config);
        let moves = |j: &Job| j.is_submission() && view.waiting(j).is_none();
        // What jobs wait for is not part of them: it changes for all that are still to be sent when the gates do.
        let gates = board.gates_rev > since;
        let newer =
            |j: &&Arc<Job>| (gates && j.is_submission()) || ((j.rev > since || since == 0) && !(p.settled && moves(j)));
        let (jobs, gone): (Vec<Arc<Job>>, Vec<Key>) = if keys.is_empty() {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let some = board.by_key.range((from, Bound::Unbounded)).map(|(_, job)| job).filter(newer);
            (some.take(MAX_PAGE + 1).cloned().collect(), Vec::new())
        } else {
            let jobs = keys.iter().filter_map(|k| board.by_key.get(k)).filter(newer).cloned().collect();
            (jobs, keys.iter().filter(|k| !board.by_key.contains_key(k)).copied().collect())
        };
        (jobs, view, board.rev, board.as_of, gone, since)
    };
    let mut missing = Vec::new();
    for key in gone {
        let Some(job) = api.engine.job(key) else {
            missing.push(key.to_string());
            continue;
        };
        let seen = api.closed.of(key, rev);
        if seen > since || since == 0 {
            let mut job = Job::clone(&job);
            job.rev = seen;
            jobs.push(Arc::new(job));
        }
    }
    jobs.sort_by_key(|j| j.key);
    let more = jobs.len() > MAX_PAGE;
    jobs.truncate(MAX_PAGE);
    let next = if more { jobs.last().map(|j| j.key.to_string()) } else { None };
    (reply(wire(api, &jobs, &view), rev, as_of, next, missing), rev)
}

/// Jobs that are finished with, newest first: the history, and those behind which something is still to be cleaned up.
fn closed(api: &Api, limit: usize, keep: &mut dyn FnMut(&Job) -> bool) -> Vec<Arc<Job>> {
    let mut jobs: Vec<Arc<Job>> = {
        let board = api.engine.board.read();
        board.by_key.values().filter(|j| is_closed(j) && keep(j)).cloned().collect()
    };
    // It may be long, and each of its records is read from the disk.
    let past = tokio::task::block_in_place(|| api.engine.history(limit, keep));
    jobs.extend(past.into_iter().map(Arc::new));
    jobs.sort_by_key(|j| std::cmp::Reverse(j.key));
    jobs.dedup_by_key(|j| j.key);
    jobs.truncate(limit);
    jobs
}

fn history(api: &Api, p: &HistoryParams) -> Result<JobList, ApiError> {
    let parsed = Parsed::new(&p.filter).map_err(bad_selector)?;
    let limit = page(p.limit, DEFAULT_HISTORY);
    let config = api.config.get();
    // `last` counts here what is finished with.
    let ours = &mut |job: &Job| job.origin == Origin::Submitted;
    let newest: BTreeSet<Key> = match parsed.last() {
        0 => BTreeSet::new(),
        count => closed(api, count.min(MAX_PAGE), ours).iter().map(|j| j.key).collect(),
    };
    let mut keep = |job: &Job| (newest.contains(&job.key) || parsed.names(job)) && parsed.conditions(job);
    let jobs = closed(api, limit, &mut keep);
    // With other conditions, or as many as were asked for, there may be more of that name.
    let is_all = jobs.len() < limit && !parsed.is_conditional();
    let missing = p.filter.select.iter().filter(|_| is_all).flat_map(|text| unnamed(text, &jobs, &newest)).collect();
    let (view, rev, as_of) = {
        let board = api.engine.board.read();
        (View::of(&board, &config), board.rev, board.as_of)
    };
    let items = wire(api, &jobs, &view);
    Ok(reply(items, rev, as_of, None, missing))
}

/// The parts of a selector that name none of these jobs.
fn unnamed(text: &str, jobs: &[Arc<Job>], newest: &BTreeSet<Key>) -> Vec<String> {
    let names = |text: &str| {
        let one = api::Filter { select: vec![text.to_owned()], ..api::Filter::default() };
        Parsed::new(&one).is_ok_and(|term| match term.last() {
            0 => jobs.iter().any(|j| term.names(j)),
            _ => !newest.is_empty(),
        })
    };
    let parts = if text.contains("://") { vec![text] } else { text.split(',').map(str::trim).collect() };
    let is_name = jobs.iter().any(|j| j.name.as_deref() == Some(text));
    parts.into_iter().filter(|part| !is_name && !names(part)).map(str::to_owned).collect()
}

/// The one job that a selector names; closed ones by their key or id too.
pub(super) fn one(api: &Api, selector: &str) -> Result<Arc<Job>, ApiError> {
    let filter = api::Filter { select: vec![selector.to_owned()], ..api::Filter::default() };
    let parsed = Parsed::new(&filter).map_err(bad_selector)?;
    let live: Vec<Arc<Job>> = {
        let board = api.engine.board.read();
        let keys = parsed.select(select::Jobs { by_key: &board.by_key, by_id: &board.by_id }).keys;
        keys.iter().filter_map(|k| board.by_key.get(k)).cloned().collect()
    };
    let found = if live.is_empty() {
        // The last one of all, if none of those that are not finished with is meant.
        let last = selector.trim() == "last";
        let mut keep = |job: &Job| last || parsed.names(job);
        match parsed.keys() {
            Some(keys) => keys.into_iter().filter_map(|key| api.engine.job(key)).collect(),
            None => closed(api, if last { 1 } else { 2 }, &mut keep),
        }
    } else {
        live
    };
    match found.as_slice() {
        [job] => Ok(job.clone()),
        [] => Err(ApiError::new(Kind::NoSuchJob, format!("no job is named by `{selector}`"))
            .hint("`actctl stat` and `actctl history` list the jobs")),
        many => Err(ApiError::new(Kind::NotOneJob, format!("`{selector}` names {} jobs, not one", many.len()))
            .hint("name it by its id or its key (j12)")),
    }
}

fn log(api: &Api, selector: &str) -> Result<JobLog, ApiError> {
    let job = one(api, selector)?;
    let view = View::of(&api.engine.board.read(), &api.config.get());
    let entries = api.engine.log(job.key).into_iter().map(|e| {
        let phase = |s: &Option<act_proto::events::JobState>| s.as_ref().map(|s| s.phase);
        let arcstate = |s: &Option<act_proto::events::JobState>| s.as_ref().and_then(|s| s.arcstate.clone());
        let what = if phase(&e.before) != phase(&e.after) {
            "phase"
        } else if arcstate(&e.before) != arcstate(&e.after) {
            "arcstate"
        } else {
            "note"
        };
        LogEntry { at: e.at, seq: e.seq, what: what.to_owned(), text: e.text }
    });
    let entries = entries.collect();
    let job = wire(api, &[job], &view).pop().ok_or_else(|| ApiError::new(Kind::Internal, "no job to show"))?;
    Ok(JobLog { job, entries })
}

/// The number in an operation's name.
pub(super) fn operation_number(name: &str) -> Result<u64, ApiError> {
    name.strip_prefix('o')
        .and_then(|n| n.parse().ok())
        .ok_or_else(|| ApiError::new(Kind::NoSuchOperation, format!("`{name}` is no operation, such as o12")))
}

async fn operation(api: &Api, p: OperationParams) -> Result<Operation, ApiError> {
    let number = operation_number(&p.operation)?;
    let timeout = Duration::from_millis(p.timeout_ms).min(MAX_WAIT);
    tokio::select! {
        operation = api.engine.operation(number, p.seen, timeout) => operation,
        () = api.closing.cancelled() => Err(ApiError::new(Kind::Stopping, "the daemon is stopping")),
    }
}

fn transfers(api: &Api) -> TransferList {
    let board = api.engine.board.read();
    let mut items: Vec<(Key, Transfer)> = board
        .progress
        .iter()
        .map(|(key, (kind, progress))| {
            let kind = match kind {
                TransferKind::Upload => "upload",
                TransferKind::Download => "download",
                TransferKind::Deliver => "deliver",
            };
            (*key, Transfer { key: key.to_string(), kind: kind.to_owned(), progress: *progress })
        })
        .collect();
    items.sort_by_key(|(key, _)| *key);
    TransferList { items: items.into_iter().map(|(_, t)| t).collect() }
}
