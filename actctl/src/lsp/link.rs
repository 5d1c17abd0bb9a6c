//! The conversation with the daemon, if one runs: its jobs, followed by its events, and what completion wants to know.
//! It starts no daemon: an open editor is no reason for one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use act_proto::daemon::NoParams;
use act_proto::events::ListParams as EventParams;
use act_proto::jobs::{ChangesParams, HistoryParams, Job, ListParams};
use act_proto::method::{DaemonConfig, JobsChanges, JobsHistory, JobsList, ProxyStatus, ServerInfo};
use act_proto::server::InfoParams;
use act_proto::{ApiError, Client, MAX_PAGE, proxy};
use crossbeam_channel::Sender;
use tokio::sync::Notify;

use crate::connect;
use crate::ctx::Ctx;

/// How often a daemon is looked for.
const AGAIN: Duration = Duration::from_secs(2);
/// Events that come so soon after each other are one piece of news.
const GATHER: Duration = Duration::from_millis(150);
/// How often the configuration and the proxy are looked at.
const REFRESH: Duration = Duration::from_secs(30);
/// How often it is looked whether the reason of a failure is known by now: no event tells of it.
const WHY: Duration = Duration::from_secs(2);
/// So often.
const TRIES: usize = 15;
/// Jobs of one page of the list.
const PAGE: usize = 2_000;
/// How long the server may take to tell of its clusters.
const INFO: Duration = Duration::from_secs(20);
/// Descriptions of known jobs that are read for their runtime environments.
const DESCRIPTIONS: usize = 200;
/// The largest of them.
const MAX_DESCRIPTION: u64 = 1 << 20;

/// What there is to tell the editor's side.
#[derive(Debug)]
pub enum News {
    /// A daemon is there; a list of all its jobs follows.
    Connected,
    /// It is gone.
    Lost,
    /// All jobs; what was known before is no more.
    All(Vec<Job>),
    /// Jobs as they are now.
    Jobs(Vec<Job>),
    /// Keys of jobs that are no more.
    Gone(Vec<String>),
    /// Groups of clusters.
    Groups(BTreeMap<String, Vec<String>>),
    /// The server's clusters.
    Clusters(Vec<String>),
    /// Runtime environments in known descriptions.
    Environments(BTreeSet<String>),
    /// The credential.
    Proxy(Box<proxy::Status>),
}

/// Follows the daemon for as long as somebody listens. `wake`: one was just started.
pub async fn follow(ctx: &Ctx, news: Sender<News>, wake: Arc<Notify>) {
    loop {
        let client = match ctx.instance() {
            Ok(instance) => connect::live(ctx, &instance).await,
            Err(_) => None,
        };
        if let Some(client) = client {
            if news.send(News::Connected).is_err() {
                return;
            }
            if let Err(e) = converse(Arc::new(client), &news).await {
                ctx.out.debug(&format!("the daemon's events: {e}"));
            }
            if news.send(News::Lost).is_err() {
                return;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = wake.notified() => {}
        }
    }
}

async fn converse(client: Arc<Client>, news: &Sender<News>) -> Result<(), ApiError> {
    // Before the list, so that nothing falls between.
    let types = ["job", "credential"].map(str::to_owned).to_vec();
    let mut events = client.subscribe(&EventParams { types, ..EventParams::default() }).await?;
    settings(&client, news).await?;
    let all = everything(&client).await?;
    let descriptions: BTreeSet<String> =
        all.iter().rev().filter_map(|j| j.description.clone()).take(DESCRIPTIONS).collect();
    let mut failed: BTreeMap<String, usize> =
        all.iter().filter(|j| is_unexplained(j)).map(|j| (j.key.clone(), 0)).collect();
    let gone = |_| ApiError::new(act_proto::Kind::Stopping, "the editor has gone");
    news.send(News::All(all)).map_err(gone)?;
    let aside = news.clone();
    tokio::task::spawn_blocking(move || aside.send(News::Environments(environments(&descriptions))));
    let (asked, aside) = (client.clone(), news.clone());
    tokio::spawn(async move {
        if let Ok(Ok(info)) = tokio::time::timeout(INFO, asked.call::<ServerInfo>(&InfoParams {})).await {
            let _ = aside.send(News::Clusters(info.clusters));
        }
    });
    let mut refresh = tokio::time::interval(REFRESH);
    refresh.reset();
    loop {
        let first = tokio::select! {
            event = events.next() => event,
            _ = refresh.tick() => {
                settings(&client, news).await?;
                continue;
            }
            () = tokio::time::sleep(WHY), if !failed.is_empty() => {
                let keys = failed.keys().take(MAX_PAGE).cloned().collect();
                let params = ChangesParams { keys, ..ChangesParams::default() };
                let jobs = client.call::<JobsChanges>(&params).await?.items;
                failed.retain(|key, tries| {
                    *tries += 1;
                    *tries < TRIES && jobs.iter().any(|j| j.key == *key && is_unexplained(j))
                });
                news.send(News::Jobs(jobs)).map_err(gone)?;
                continue;
            }
        };
        let mut keys = BTreeSet::new();
        let mut next = first;
        let gathered = tokio::time::Instant::now() + GATHER;
        loop {
            let Some(Ok(event)) = next else { return Ok(()) };
            match event.kind.as_str() {
                // What was missed is read again from the beginning.
                "gap" | "end" => return Ok(()),
                "credential" => settings(&client, news).await?,
                _ => keys.extend(event.key),
            }
            match tokio::time::timeout_at(gathered, events.next()).await {
                Ok(event) => next = event,
                Err(_) => break,
            }
        }
        let keys: Vec<String> = keys.into_iter().collect();
        for keys in keys.chunks(MAX_PAGE) {
            let params = ChangesParams { keys: keys.to_vec(), ..ChangesParams::default() };
            let changes = client.call::<JobsChanges>(&params).await?;
            failed.extend(changes.items.iter().filter(|j| is_unexplained(j)).map(|j| (j.key.clone(), 0)));
            news.send(News::Jobs(changes.items)).map_err(gone)?;
            if !changes.missing.is_empty() {
                news.send(News::Gone(changes.missing)).map_err(gone)?;
            }
        }
    }
}

/// The number of a key: `j12` is 12.
#[must_use]
pub fn number(key: &str) -> u64 {
    key.trim_start_matches('j').parse().unwrap_or_default()
}

/// It has just failed, and nobody knows why yet.
fn is_unexplained(job: &Job) -> bool {
    job.arcstate.as_deref() == Some("failed") && job.error.as_deref().is_none_or(str::is_empty)
}

async fn everything(client: &Client) -> Result<Vec<Job>, ApiError> {
    let mut jobs =
        client.call::<JobsHistory>(&HistoryParams { limit: Some(MAX_PAGE), ..HistoryParams::default() }).await?.items;
    let mut params = ListParams { limit: Some(PAGE), ..ListParams::default() };
    loop {
        let page = match client.call::<JobsList>(&params).await {
            Ok(page) => page,
            // No list of the server was ever read, and there are no jobs of our own.
            Err(e) if e.data.kind.code().0 / 100 == 3 || e.data.kind.code().0 / 100 == 4 => break,
            Err(e) => return Err(e),
        };
        jobs.extend(page.items);
        match page.next {
            Some(next) => params.after = Some(next),
            None => break,
        }
    }
    Ok(jobs)
}

async fn settings(client: &Client, news: &Sender<News>) -> Result<(), ApiError> {
    let config = client.call::<DaemonConfig>(&NoParams {}).await?;
    let groups = config.settings.into_iter().find(|s| s.key == "clusters");
    if let Some(Ok(groups)) = groups.map(|s| serde_json::from_value(s.value)) {
        let _ = news.send(News::Groups(groups));
    }
    let proxy = client.call::<ProxyStatus>(&NoParams {}).await?;
    let _ = news.send(News::Proxy(Box::new(proxy)));
    Ok(())
}

/// The runtime environments that these files ask for.
fn environments(descriptions: &BTreeSet<String>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in descriptions {
        let path = std::path::Path::new(path);
        let readable =
            path.is_absolute() && std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= MAX_DESCRIPTION);
        let Some(bytes) = readable.then(|| std::fs::read(path).ok()).flatten() else { continue };
        for job in xrsl::parse_bytes(&bytes).tentative_jobs() {
            names.extend(job.runtime_environments.iter().map(|software| match software.version.as_str() {
                "" => software.name.clone(),
                version => format!("{}-{version}", software.name),
            }));
        }
    }
    names
}
