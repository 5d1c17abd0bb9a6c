//! `events.*`: the numbered events, listed or as a subscription. The numbers and their keeping are the engine's.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use act_proto::error::{ApiError, Kind};
use act_proto::events::{Event, EventList, ListParams};
use act_proto::jobs::Progress;
use act_proto::method::EventsList;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::core::server::{PendingSubscriptionSink, SubscriptionSink};
use jsonrpsee::{RpcModule, SubscriptionCloseResponse};
use serde_json::value::to_raw_value;

use super::Api;
use super::register::{self, object};
use crate::job::{Key, Time};

/// How often transfer progress is told.
const PROGRESS: Duration = Duration::from_millis(500);
/// A subscriber that takes nothing for so long is cut off.
const SLOW: Duration = Duration::from_secs(30);
/// Events read from the log at a time, and held for a subscriber while it takes them.
const PAGE: usize = 100;
const DEFAULT_LIMIT: usize = 1_000;
const MAX_WAIT: Duration = Duration::from_secs(60);

pub(super) fn register(module: &mut RpcModule<Api>) -> Result<(), RegisterMethodError> {
    register::register::<EventsList, _, _>(module, |api, p| async move { list(&api, p).await })?;
    module.register_subscription(
        "events.subscribe",
        "events.event",
        "events.unsubscribe",
        |given, pending, api, _| async move {
            let wanted = match register::read::<ListParams>("events.subscribe", &given).and_then(|p| Wanted::new(&p)) {
                Ok(wanted) => wanted,
                Err(e) => {
                    pending.reject(object(e)).await;
                    return SubscriptionCloseResponse::None;
                }
            };
            subscription(&api, wanted, pending).await;
            SubscriptionCloseResponse::None
        },
    )?;
    Ok(())
}

/// Which events a caller wants.
struct Wanted {
    since: Option<u64>,
    types: Vec<String>,
    jobs: HashSet<String>,
}

impl Wanted {
    fn new(p: &ListParams) -> Result<Self, ApiError> {
        const KNOWN: [&str; 7] = ["job", "credential", "server", "dir", "progress", "gap", "end"];
        if let Some(unknown) = p.types.iter().find(|t| !KNOWN.contains(&t.as_str())) {
            return Err(ApiError::new(Kind::BadParams, format!("there is no event type `{unknown}`"))
                .hint(format!("the types are {}", KNOWN.join(", "))));
        }
        if let Some(bad) = p.jobs.iter().find(|k| k.parse::<Key>().is_err()) {
            return Err(ApiError::new(Kind::BadParams, format!("`{bad}` is no job key, such as j12")));
        }
        Ok(Self { since: p.since, types: p.types.clone(), jobs: p.jobs.iter().cloned().collect() })
    }

    fn kind(&self, kind: &str) -> bool {
        self.types.is_empty() || self.types.iter().any(|t| t == kind)
    }

    fn has(&self, event: &Event) -> bool {
        self.kind(&event.kind)
            && (self.jobs.is_empty() || event.key.as_ref().is_some_and(|key| self.jobs.contains(key)))
    }
}

async fn list(api: &Api, p: ListParams) -> Result<EventList, ApiError> {
    let wanted = Wanted::new(&p)?;
    let limit = p.limit.unwrap_or(DEFAULT_LIMIT).min(act_proto::MAX_PAGE);
    let deadline = tokio::time::Instant::now() + Duration::from_millis(p.timeout_ms).min(MAX_WAIT);
    let mut since = p.since.unwrap_or_else(|| api.engine.last_event());
    let mut news = api.engine.subscribe();
    let mut items = Vec::new();
    // A number that was never given, of a state directory that is no more.
    let mut lost = since > api.engine.last_event();
    loop {
        loop {
            let (page, gap) = api.engine.events(since, PAGE);
            lost |= gap;
            let Some(last) = page.last() else { break };
            since = last.seq;
            let room = limit - items.len();
            items.extend(page.into_iter().filter(|e| wanted.has(e)).take(room));
            if items.len() >= limit {
                break;
            }
        }
        if !items.is_empty() || lost || tokio::time::Instant::now() >= deadline {
            // Where nothing was found up to here, what has come since is not passed over.
            let last = if items.is_empty() && !lost { since } else { api.engine.last_event() };
            return Ok(EventList { items, last, gap: lost });
        }
        tokio::select! {
            // However it wakes: the log says what there is.
            _ = news.recv() => {}
            () = tokio::time::sleep_until(deadline) => {}
            () = api.closing.cancelled() => return Err(ApiError::new(Kind::Stopping, "the daemon is stopping")),
        }
    }
}

/// Why a subscription ended.
enum End {
    /// The client unsubscribed or hung up.
    Gone,
    /// It took nothing for too long.
    Slow,
}

struct Feed {
    sink: SubscriptionSink,
    wanted: Wanted,
    /// The newest event that the client has, or has passed over.
    last: u64,
    told: HashMap<Key, Progress>,
}

async fn subscription(api: &Arc<Api>, wanted: Wanted, pending: PendingSubscriptionSink) {
    // Before the starting point is taken, so that nothing falls between.
    let mut news = api.engine.subscribe();
    let last = wanted.since.unwrap_or_else(|| api.engine.last_event());
    let Ok(sink) = pending.accept().await else { return };
    let mut feed = Feed { sink, wanted, last, told: HashMap::new() };
    let newest = api.engine.last_event();
    if feed.last > newest {
        feed.last = newest;
        // A number that was never given, of a state directory that is no more.
        if let Err(end) = feed.notice("gap", "there is no event of that number yet: read the lists again").await {
            return feed.ended(&end);
        }
    }
    let mut ticks = tokio::time::interval(PROGRESS);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        if let Err(end) = feed.catch_up(api).await {
            return feed.ended(&end);
        }
        tokio::select! {
            _ = news.recv() => {
                // One wake-up for all that is there: the events themselves are read from the log, in order.
                while news.try_recv().is_ok() {}
            }
            _ = ticks.tick(), if feed.wanted.kind("progress") => {
                if let Err(end) = feed.progress(api).await {
                    return feed.ended(&end);
                }
            }
            () = feed.sink.closed() => return,
            () = api.closing.cancelled() => {
                let _ = feed.catch_up(api).await;
                let text = "the daemon is stopping; subscribe again with `since` when it runs again";
                let _ = feed.notice("end", text).await;
                return;
            }
        }
    }
}

impl Feed {
    fn ended(&self, end: &End) {
        if matches!(end, End::Slow) {
            tracing::info!(subscription = ?self.sink.subscription_id(), "a subscriber that takes nothing is cut off");
        }
    }

    async fn send(&self, event: &Event) -> Result<(), End> {
        let Ok(raw) = to_raw_value(event) else { return Ok(()) };
        match self.sink.send_timeout(raw, SLOW).await {
            Ok(()) => Ok(()),
            Err(_) if self.sink.is_closed() => Err(End::Gone),
            Err(_) => Err(End::Slow),
        }
    }

    /// What is said by the way: without a number of its own.
    async fn notice(&self, kind: &str, text: &str) -> Result<(), End> {
        self.send(&Event {
            seq: self.last,
            at: Time::now().rfc3339(),
            kind: kind.to_owned(),
            key: None,
            before: None,
            after: None,
            text: text.to_owned(),
            progress: None,
        })
        .await
    }

    async fn catch_up(&mut self, api: &Api) -> Result<(), End> {
        loop {
            let (page, gap) = api.engine.events(self.last, PAGE);
            if gap {
                // Always told, whatever types are wanted: without it a client would believe that nothing is missing.
                self.notice("gap", "older events are no longer kept: read the lists again").await?;
            }
            let Some(newest) = page.last().map(|e| e.seq) else {
                if gap {
                    self.last = api.engine.last_event();
                }
                return Ok(());
            };
            for event in &page {
                if self.wanted.has(event) {
                    self.send(event).await?;
                }
                self.last = event.seq;
            }
            self.last = newest;
        }
    }

    /// Transfers that have moved since the last time. Dropped while the client is behind: the next one says it all.
    async fn progress(&mut self, api: &Api) -> Result<(), End> {
        let now: HashMap<Key, Progress> = api.engine.board.read().progress.iter().map(|(k, (_, p))| (*k, *p)).collect();
        self.told.retain(|key, _| now.contains_key(key));
        for (key, progress) in now {
            if self.told.get(&key) == Some(&progress) || self.sink.capacity() < self.sink.max_capacity() / 2 {
                continue;
            }
            let name = key.to_string();
            if !self.wanted.jobs.is_empty() && !self.wanted.jobs.contains(&name) {
                continue;
            }
            let event = Event {
                seq: self.last,
                at: Time::now().rfc3339(),
                kind: "progress".to_owned(),
                key: Some(name),
                before: None,
                after: None,
                text: String::new(),
                progress: Some(progress),
            };
            self.send(&event).await?;
            self.told.insert(key, progress);
        }
        Ok(())
    }
}
