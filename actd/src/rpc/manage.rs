//! Calls that do something to jobs: `jobs.get kill clean fetch resubmit adopt`, `operations.cancel`. They find out which
//! jobs are meant; the engine does it.

use std::path::Path;
use std::sync::Arc;

use act_proto::MAX_SELECTORS;
use act_proto::error::{ApiError, Kind};
use act_proto::jobs::{Bulk, BulkParams, Filter, GetParams, Operation, OperationStarted};
use act_proto::method::{JobsAdopt, JobsClean, JobsFetch, JobsGet, JobsKill, JobsResubmit, OperationsCancel};
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use std::time::Duration;

use super::Api;
use super::answer::item;
use super::look::{bad_selector, operation_number};
use super::register::register as add;
use super::stat::{no_list, refresh};
use crate::engine::handle::{Get, Verb};
use crate::job::select::{self, Parsed, Term};
use crate::job::{Job, Key, Origin};

pub(super) fn register(module: &mut RpcModule<Api>) -> Result<(), RegisterMethodError> {
    add::<JobsKill, _, _>(module, |api, p| async move { bulk(&api, Verb::Kill, p).await })?;
    add::<JobsClean, _, _>(module, |api, p| async move { bulk(&api, Verb::Clean, p).await })?;
    add::<JobsFetch, _, _>(module, |api, p| async move { bulk(&api, Verb::Fetch, p).await })?;
    add::<JobsResubmit, _, _>(module, |api, p| async move { bulk(&api, Verb::Resubmit, p).await })?;
    add::<JobsAdopt, _, _>(module, |api, p| async move { bulk(&api, Verb::Adopt, p).await })?;
    add::<JobsGet, _, _>(module, |api, p| async move { get(&api, p).await })?;
    add::<OperationsCancel, _, _>(module, |api, p| async move { cancel(&api, &p.operation).await })?;
    Ok(())
}

/// A list that is so old is good enough for calls that change jobs.
const FRESH_MS: u64 = 2_000;

/// What a filter means for a call that changes jobs.
struct Meant {
    /// Jobs whose state allows it.
    fit: Vec<Arc<Job>>,
    /// Jobs that match but whose state does not.
    unfit: Vec<Arc<Job>>,
    missing: Vec<String>,
}

/// Jobs that another client submitted a moment ago are meant, too: the list must not be old. Keys are our own jobs'.
async fn fresh(api: &Api, filter: &Filter, age_ms: u64) -> Result<(), ApiError> {
    let own = |text: &String| matches!(Term::parse(text), Ok(Term::Key(_)));
    if filter.select.is_empty() || !filter.select.iter().all(own) {
        refresh(api, Some(age_ms)).await;
        // "No such job" may only be said by who has seen the list.
        if api.engine.as_of().is_none() {
            no_list(api)?;
            return Err(ApiError::new(Kind::ServerUnreachable, "the server's list of jobs has not been read yet")
                .hint("try again in a moment; `actctl daemon status` tells what the daemon waits for"));
        }
    }
    Ok(())
}

/// What the caller says must make sense before anybody is asked about it.
fn checked(filter: &Filter) -> Result<Parsed, ApiError> {
    let terms: usize = filter.select.iter().map(|t| t.split(',').count()).sum();
    if terms > MAX_SELECTORS {
        return Err(ApiError::new(
            Kind::TooMany,
            format!("{terms} selector terms; at most {MAX_SELECTORS} in one call"),
        )
        .hint("split the call, or use ranges"));
    }
    let parsed = Parsed::new(filter).map_err(bad_selector)?;
    if parsed.is_everything() && !parsed.all() {
        return Err(ApiError::new(Kind::AllNotMeant, "no job is named: this would mean every job")
            .hint("name jobs, or say `all` if every job is meant"));
    }
    Ok(parsed)
}

async fn meant(api: &Api, filter: &Filter, allows: impl Fn(&Job) -> bool) -> Result<Meant, ApiError> {
    let parsed = checked(filter)?;
    fresh(api, filter, FRESH_MS).await?;
    let look = || {
        let board = api.engine.board.read();
        let selection = parsed.select(select::Jobs { by_key: &board.by_key, by_id: &board.by_id });
        let jobs = selection.keys.iter().filter_map(|k| board.by_key.get(k)).filter(|j| select::is_shown(j)).cloned();
        let (fit, unfit): (Vec<_>, Vec<_>) = jobs.partition(|j| allows(j));
        Meant { fit, unfit, missing: selection.missing }
    };
    let meant = look();
    if !meant.fit.is_empty() && meant.missing.is_empty() {
        return Ok(meant);
    }
    // It may have come about since that list.
    fresh(api, filter, 0).await?;
    Ok(look())
}

fn keys(jobs: &[Arc<Job>]) -> Vec<Key> {
    jobs.iter().map(|j| j.key).collect()
}

fn foreign(jobs: &[Arc<Job>]) -> u64 {
    jobs.iter().filter(|j| j.origin == Origin::Foreign).count() as u64
}

/// The base that jobs without a remembered one are cleaned at.
fn webdav(api: &Api, given: Option<&str>) -> Result<Option<String>, ApiError> {
    let config = api.config.get();
    match given {
        Some(text) => config.webdav_base(text).map(Some),
        None => Ok(config.webdav.clone()),
    }
}

async fn bulk(api: &Api, verb: Verb, p: BulkParams) -> Result<Bulk, ApiError> {
    let allows = match verb {
        Verb::Kill => select::can_kill,
        Verb::Clean => select::can_clean,
        Verb::Fetch => select::can_fetch,
        Verb::Resubmit => select::can_resubmit,
        Verb::Adopt => |job: &Job| job.origin == Origin::Foreign,
    };
    let webdav = webdav(api, p.webdav.as_deref())?;
    let meant = meant(api, &p.filter, allows).await?;
    let skipped = meant.unfit.iter().map(|j| item(j));
    if p.dry_run {
        return Ok(Bulk {
            ok: meant.fit.iter().map(|j| item(j)).collect(),
            failed: Vec::new(),
            skipped: skipped.collect(),
            missing: meant.missing,
            foreign: foreign(&meant.fit),
        });
    }
    let mut bulk =
        if meant.fit.is_empty() { Bulk::default() } else { api.engine.act(verb, keys(&meant.fit), webdav).await? };
    bulk.skipped.extend(skipped);
    bulk.missing = meant.missing;
    bulk.ok.sort_by_key(|j| j.id);
    Ok(bulk)
}

async fn get(api: &Api, p: GetParams) -> Result<OperationStarted, ApiError> {
    let parent = Path::new(&p.dir);
    if !parent.is_absolute() {
        return Err(ApiError::new(Kind::BadParams, format!("`dir` must be an absolute path, not `{}`", p.dir)));
    }
    if !parent.is_dir() {
        return Err(ApiError::new(Kind::LocalFile, format!("there is no directory {}", p.dir)));
    }
    let webdav = webdav(api, p.webdav.as_deref())?;
    let meant = meant(api, &p.filter, select::can_get).await?;
    let mut missing = meant.missing;
    // Named and not in a state with results: told, as for jobs that do not exist.
    for text in p.filter.select.iter().flat_map(|t| t.split(',')).map(str::trim) {
        let explicit = matches!(Term::parse(text), Ok(Term::Id(_) | Term::Key(_) | Term::Word(_)));
        let one = Filter { select: vec![text.to_owned()], ..Filter::default() };
        if explicit
            && !missing.iter().any(|m| m == text)
            && Parsed::new(&one)
                .is_ok_and(|term| meant.unfit.iter().any(|j| term.names(j)) && !meant.fit.iter().any(|j| term.names(j)))
        {
            missing.push(text.to_owned());
        }
    }
    let get = Get {
        keys: keys(&meant.fit),
        parent: parent.to_owned(),
        use_jobname: p.use_jobname,
        noclean: p.noclean,
        copy: p.copy || p.noclean,
        exclude: p.exclude,
        webdav,
    };
    let number = api.engine.get(get).await?;
    Ok(OperationStarted {
        operation: format!("o{number}"),
        jobs: meant.fit.len() as u64,
        keys: meant.fit.iter().map(|j| j.key.to_string()).collect(),
        missing,
        foreign: foreign(&meant.fit),
    })
}

async fn cancel(api: &Api, name: &str) -> Result<Operation, ApiError> {
    let number = operation_number(name)?;
    api.engine.cancel_operation(number).await?;
    api.engine.operation(number, 0, Duration::ZERO).await
}
