//! `proxy.*` and `server.info`. No secret is in any reply.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use act_proto::error::ApiError;
use act_proto::method::{ProxyStatus, ProxySubmit, ServerInfo};
use act_proto::proxy::Status;
use act_proto::server::Info;
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;

use super::Api;
use super::register::register as add;
use crate::auth::report::remote_error;
use crate::job::{Job, Phase, Time};

/// How long an answer to who needs the credential is good while no job changes.
const NEEDS_FOR: Duration = Duration::from_secs(10);
/// Jobs whose descriptions are read for it.
const NEEDS_READ: usize = 100;

pub(super) fn register(module: &mut RpcModule<Api>) -> Result<(), RegisterMethodError> {
    add::<ProxySubmit, _, _>(module, |api, p| async move { api.auth.submit(p).await })?;
    add::<ProxyStatus, _, _>(module, |api, _| async move { Ok(status(&api)) })?;
    add::<ServerInfo, _, _>(module, |api, _| async move { info(&api).await })?;
    Ok(())
}

/// Who needs the credential, and for how long.
#[derive(Debug, Clone, Copy, Default)]
pub struct Needs {
    jobs: u64,
    until: Option<Time>,
    outlived_by: u64,
}

/// What was last found out: many clients may ask.
#[derive(Debug, Default)]
pub struct NeedsCache(Mutex<Option<(Instant, u64, Needs)>>);

fn status(api: &Api) -> Status {
    let mut cache = api.needs.0.lock().unwrap_or_else(PoisonError::into_inner);
    let rev = api.engine.board.read().rev;
    let needs = match *cache {
        Some((at, then, needs)) if then == rev && at.elapsed() < NEEDS_FOR => needs,
        _ => {
            let needs = needs(api);
            *cache = Some((Instant::now(), rev, needs));
            needs
        }
    };
    drop(cache);
    Status {
        jobs: needs.jobs,
        needed_until: needs.until.map(Time::rfc3339),
        outlived_by: needs.outlived_by,
        ..api.auth.status()
    }
}

fn needs(api: &Api) -> Needs {
    let open: Vec<Arc<Job>> = {
        let board = api.engine.board.read();
        let needs = |j: &&Arc<Job>| {
            j.is_ours()
                && match j.phase {
                    Phase::Stored { .. } | Phase::Closed { .. } | Phase::Collecting { .. } => false,
                    Phase::Active { .. } => !j.arcstate().is_final() || j.arcstate().word() == Some("done"),
                    _ => true,
                }
        };
        board.by_key.values().filter(needs).cloned().collect()
    };
    let ends = api.auth.ends().and_then(|end| end.duration_since(SystemTime::UNIX_EPOCH).ok());
    let ends = ends.map(|end| Time(i64::try_from(end.as_millis()).unwrap_or(i64::MAX)));
    let mut needs = Needs { jobs: open.len() as u64, ..Needs::default() };
    // Newest first: these run longest.
    for job in open.iter().rev().take(NEEDS_READ) {
        let Some(walltime) = api.engine.spec(job.key).and_then(|spec| walltime(&spec.text)) else { continue };
        // A running job has begun when it was last seen to change; one that waits may begin at any moment from now on.
        let running = job.arcstate().word() == Some("running");
        let until = if running { job.changed } else { Time::now() }.plus(walltime.saturating_mul(1000));
        needs.until = needs.until.max(Some(until));
        needs.outlived_by += u64::from(ends.is_some_and(|end| until > end));
    }
    needs
}

/// What a description asks for, in seconds.
fn walltime(text: &str) -> Option<i64> {
    let job = xrsl::submissions(text).ok()?.into_iter().next()?.job;
    job.walltime.map(i64::from)
}

async fn info(api: &Api) -> Result<Info, ApiError> {
    // Without a token the server would only say that it is missing; our own words say what to do.
    if let Some(problem) = api.auth.problem().await {
        return Err(problem);
    }
    let config = api.config.get();
    let info = api.hands.act().info().await.map_err(|e| remote_error(&e))?;
    Ok(Info {
        url: api.config.get().instance.server.clone().unwrap_or_else(|| config.server.to_string()),
        clusters: info.clusters,
        arc: info.arc,
        client: info.client,
        groups: config.clusters.clone(),
    })
}
