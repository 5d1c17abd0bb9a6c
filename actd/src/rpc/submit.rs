//! `jobs.submit`: from descriptions to jobs that are on disk.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use act_proto::error::{ApiError, Kind};
use act_proto::jobs::{Description, SubmitItem, SubmitParams, SubmitReply};
use act_proto::method::JobsSubmit;
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;

use super::register::register as add;
use super::{Api, answer};
use crate::engine::handle::NewJob;
use crate::intake::{self, Checked, Outcome, Terms};
use crate::job::{Key, Options, Phase};

/// Most descriptions in one call.
const MAX_DESCRIPTIONS: usize = 10_000;
/// `wait` waits no longer than this; the jobs go on nevertheless.
const PATIENCE: Duration = Duration::from_secs(240);

pub(super) fn register(module: &mut RpcModule<Api>) -> Result<(), RegisterMethodError> {
    add::<JobsSubmit, _, _>(module, |api, p| async move { submit(api, p).await })?;
    Ok(())
}

async fn submit(api: Arc<Api>, mut p: SubmitParams) -> Result<SubmitReply, ApiError> {
    if p.descriptions.is_empty() {
        return Err(ApiError::new(Kind::BadParams, "there is no description to submit"));
    }
    if p.descriptions.len() > MAX_DESCRIPTIONS {
        return Err(ApiError::new(Kind::TooMany, format!("at most {MAX_DESCRIPTIONS} descriptions in one call")));
    }
    if p.client_ref.as_deref().is_some_and(|r| r.is_empty() || r.len() > 200) {
        return Err(ApiError::new(Kind::BadParams, "`client_ref` must have between 1 and 200 bytes"));
    }
    // A daemon that has just started may be delegating: no reason to tell the caller of a credential that is not there.
    let _ = api.auth.problem().await;
    let left = if p.min_lifetime_s.is_some() || p.fits_lifetime { left(&api).await } else { None };
    if let (Some(wanted), Some(left)) = (p.min_lifetime_s, left)
        && left < wanted
    {
        let what = format!("the credential ends in {} minutes; {} were asked for", left / 60, wanted / 60);
        return Err(
            ApiError::new(Kind::ProxyExpired, what).hint("make a new proxy (`arcproxy`): it is delegated by itself")
        );
    }
    let terms = Terms { lifetime: left.filter(|_| p.fits_lifetime), ..terms(&api, &p)? };
    let rev = api.engine.board.read().rev;
    let mut batch = terms.batch.clone();
    let descriptions = std::mem::take(&mut p.descriptions);
    let checked = check(&api, descriptions, terms).await?;
    let server = api.config.get().server.clone();
    let job = |key: Key| api.engine.job(key);
    if checked.iter().any(|(_, c)| matches!(c.outcome, Outcome::Known(_))) {
        // A call of the same moment may have made them, and be writing them: this is answered when they are on disk.
        api.engine.submit(Vec::new()).await?;
    }
    // What an earlier call of this name left out joins what it submitted.
    let earlier = checked.iter().find_map(|(_, c)| if let Outcome::Known(key) = c.outcome { job(key) } else { None });
    if let Some(name) = earlier.and_then(|j| j.batch.clone()) {
        batch = name.into();
    }
    // Who asks for jobs again that are known has perhaps not heard of anything that has become of them.
    let is_known = |(_, checked): &(usize, Checked)| matches!(checked.outcome, Outcome::Known(_));
    let rev = if checked.iter().any(is_known) { 0 } else { rev };
    let mut items = Vec::with_capacity(checked.len());
    let mut new: Vec<NewJob> = Vec::new();
    let mut places = Vec::new();
    for (description, Checked { name, diagnostics, outcome }) in checked {
        let mut item = SubmitItem { description, name, diagnostics, ..SubmitItem::default() };
        match outcome {
            Outcome::New(job) if p.dry_run => item.plan = Some(intake::plan(&job, &server)),
            Outcome::New(job) => {
                places.push(items.len());
                new.push(NewJob { batch: batch.clone(), ..*job });
            }
            Outcome::Known(key) => {
                item.key = Some(key.to_string());
                item.name = job(key).and_then(|j| j.name.as_deref().map(str::to_owned)).or(item.name);
            }
            Outcome::Refused(why) => item.error = Some(why),
        }
        items.push(item);
    }
    if !new.is_empty() {
        let keys = api.engine.submit(new).await?;
        // Another call of this name may have come first.
        if let Some(name) = keys.first().and_then(|key| job(*key)?.batch.clone()) {
            batch = name.into();
        }
        for (place, key) in places.into_iter().zip(keys) {
            if let Some(item) = items.get_mut(place) {
                item.key = Some(key.to_string());
            }
        }
    }
    if p.wait && !p.dry_run {
        wait(&api, &mut items).await;
    }
    Ok(SubmitReply { batch, rev, items })
}

/// How long the credential lives, in seconds: none, if there is none; nothing, if it does not say.
async fn left(api: &Api) -> Option<u64> {
    if api.auth.problem().await.is_some() {
        return Some(0);
    }
    let now = std::time::SystemTime::now();
    api.auth.ends().map(|end| end.duration_since(now).unwrap_or_default().as_secs())
}

fn terms(api: &Api, p: &SubmitParams) -> Result<Terms, ApiError> {
    let config = api.config.get();
    let batch = match &p.batch {
        Some(name) => {
            let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
            if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
                return Err(ApiError::new(Kind::BadParams, format!("`{name}` cannot name a batch"))
                    .hint("use letters, digits and . _ - + only, at most 64"));
            }
            name.clone()
        }
        None => made_up_batch(api),
    };
    let results = match &p.results {
        Some(dir) => {
            let dir = PathBuf::from(dir);
            if !dir.is_absolute() {
                return Err(ApiError::new(Kind::BadParams, "`results` must be an absolute path"));
            }
            dir
        }
        None => config.results.clone(),
    };
    Ok(Terms {
        clusters: config.clusterlist(p.clusterlist.as_deref())?,
        webdav: p.webdav.as_deref().map(|url| config.webdav_base(url)).transpose()?,
        dedupe: (!p.no_dedupe).then(Arc::default),
        results,
        options: Options { no_download: p.no_download, use_jobname: p.use_jobname, ..Options::default() },
        batch,
        client_ref: p.client_ref.clone(),
        force: p.force,
        lifetime: None,
    })
}

/// The name that was made up last: its moment, and its number among those of that moment.
#[derive(Debug, Default)]
pub struct MadeUp(Mutex<(String, u32)>);

/// The moment, and a number if another batch has that name, or is about to.
fn made_up_batch(api: &Api) -> String {
    let mut last = api.made_up.0.lock().unwrap_or_else(PoisonError::into_inner);
    let now = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    let board = api.engine.board.read();
    let taken = |name: &str| board.by_key.values().any(|j| j.batch.as_deref() == Some(name));
    if last.0 != now {
        *last = (now.clone(), 0);
    }
    loop {
        last.1 += 1;
        let name = if last.1 == 1 { now.clone() } else { format!("{now}-{}", last.1) };
        if !taken(&name) {
            return name;
        }
    }
}

/// Reads and judges the descriptions, off the async threads: each stats its inputs.
async fn check(api: &Arc<Api>, all: Vec<Description>, terms: Terms) -> Result<Vec<(usize, Checked)>, ApiError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let share = all.len().div_ceil(threads).max(1);
    let terms = Arc::new(terms);
    let mut tasks = Vec::new();
    let mut all = all.into_iter().enumerate();
    loop {
        let part: Vec<(usize, Description)> = all.by_ref().take(share).collect();
        if part.is_empty() {
            break;
        }
        let (terms, engine) = (terms.clone(), api.engine.clone());
        tasks.push(tokio::task::spawn_blocking(move || {
            let known = |r: &str| engine.by_client_ref(r);
            let one = |(n, d): &(usize, Description)| {
                let n = *n;
                intake::check(d, n, &terms, &known).into_iter().map(move |checked| (n, checked)).collect::<Vec<_>>()
            };
            part.iter().flat_map(one).collect::<Vec<_>>()
        }));
    }
    let mut checked = Vec::new();
    for task in tasks {
        let part =
            task.await.map_err(|e| ApiError::new(Kind::Internal, format!("a description broke its reader: {e}")))?;
        checked.extend(part);
    }
    Ok(checked)
}

/// Waits until each job is on the server or has failed.
async fn wait(api: &Api, items: &mut [SubmitItem]) {
    let mut open: HashMap<Key, usize> =
        items.iter().enumerate().filter_map(|(i, item)| Some((item.key.as_ref()?.parse().ok()?, i))).collect();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let rev = api.engine.board.read().rev;
        open.retain(|key, place| {
            let Some(job) = api.engine.job(*key) else { return false };
            let waits = job.is_submission();
            if !waits && let Some(item) = items.get_mut(*place) {
                item.name = job.name.as_deref().map(str::to_owned).or_else(|| item.name.take());
                if job.id().is_none() || matches!(job.phase, Phase::Closed { .. }) {
                    let why = job.error.as_deref().filter(|e| !e.is_empty()).unwrap_or("it was killed");
                    item.error = Some(why.to_owned());
                    item.error_kind = Some(job.cause.map_or(Kind::ServerRefused, answer::kind));
                }
            }
            waits
        });
        if open.is_empty() {
            return;
        }
        tokio::select! {
            () = api.engine.board.changed_after(rev) => {}
            () = tokio::time::sleep_until(deadline) => return,
            () = api.closing.cancelled() => return,
        }
    }
}
