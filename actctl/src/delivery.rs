//! Results on their way into a directory: begins a delivery and follows it to its end, also across restarts of the daemon,
//! and gives up where nothing goes on for its jobs.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use act_proto::jobs::{
    Filter, GetParams, Job, ListParams, Operation, OperationCancelParams, OperationItem, OperationParams,
    OperationStarted, Phase, Progress,
};
use act_proto::method::{JobsGet, JobsList, OperationsCancel, OperationsGet};
use act_proto::{Kind, MAX_SELECTORS};

use crate::ctx::{Ctx, Session};
use crate::failure::Failure;
use crate::gate::closed;

/// How long one call waits for a job to end: as often are the bytes shown that have come.
const NEWS_MS: u64 = 500;
/// How long to wait while nothing goes on for any job. Nothing is lost by giving up: the next delivery goes on.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the daemon may take to confirm that it stops.
const STOP: Duration = Duration::from_secs(5);

/// A delivery under way.
#[derive(Debug)]
pub struct Delivery {
    /// What the daemon said when it began.
    pub started: OperationStarted,
    dir: String,
    /// The connection that items were counted on.
    connection: u64,
    /// Items seen on it.
    seen: usize,
    /// It may be another daemon by now than the one that began it.
    restarted: bool,
    /// Jobs that were told of.
    told: BTreeSet<String>,
    bytes: u64,
    moved: Instant,
}

/// What has come since the last look.
#[derive(Debug, Default)]
pub struct News {
    /// Jobs that are done with, each once.
    pub items: Vec<OperationItem>,
    /// Nothing more will come.
    pub done: bool,
    /// Bytes of what is under way.
    pub progress: Progress,
    /// Why nothing goes on.
    pub waiting: Option<String>,
}

impl Delivery {
    /// Begins one.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn begin(session: &mut Session<'_>, params: &GetParams) -> Result<Self, Failure> {
        let started = session.call::<JobsGet>(params).await?;
        Ok(Self {
            started,
            dir: params.dir.clone(),
            connection: session.connection(),
            seen: 0,
            restarted: false,
            told: BTreeSet::new(),
            bytes: 0,
            moved: Instant::now(),
        })
    }

    /// Waits a moment for news.
    ///
    /// # Errors
    /// Nothing has gone on for a while, and why (then it is cancelled); the daemon's.
    pub async fn next(&mut self, session: &mut Session<'_>) -> Result<News, Failure> {
        let operation = self.started.operation.clone();
        let params = OperationParams { operation, seen: self.seen, timeout_ms: NEWS_MS };
        let reply = session.call::<OperationsGet>(&params).await;
        let forgotten = matches!(&reply, Err(f) if f.kind == Kind::NoSuchOperation.word());
        if session.connection() != self.connection && (reply.is_ok() || forgotten) {
            // A daemon that was started anew counts anew, and only what it has done itself.
            self.connection = session.connection();
            self.seen = 0;
            self.restarted = true;
            return Ok(News::default());
        }
        let mut news: Operation = match reply {
            // All was done before it was started anew.
            Err(_) if self.restarted && forgotten => Operation { done: true, ..self.nothing() },
            reply => reply?,
        };
        self.seen += news.items.len();
        news.items.retain(|item| self.told.insert(item.key.clone()));
        if news.done && self.restarted {
            news.items.extend(self.untold(session).await?);
        }
        let mut waiting = None;
        if !news.items.is_empty() || news.progress.bytes != self.bytes {
            self.moved = Instant::now();
            self.bytes = news.progress.bytes;
        } else if !news.done
            && let Some(why) = closed(session, &self.open()).await?
        {
            if self.moved.elapsed() > PATIENCE {
                session.call::<OperationsCancel>(&self.cancellation()).await?;
                return Err(why);
            }
            waiting = Some(why.message);
        }
        Ok(News { items: news.items, done: news.done, progress: news.progress, waiting })
    }

    /// Has it stopped, and says so. What is here already is kept for the next time.
    pub async fn stop(&self, ctx: &Ctx, session: &mut Session<'_>) {
        let params = self.cancellation();
        match tokio::time::timeout(STOP, session.call::<OperationsCancel>(&params)).await {
            Ok(Ok(_)) => ctx.out.note("Stopping job download: run the same command again to resume."),
            _ => ctx.out.warn("the daemon has not confirmed that it stops; the download may go on"),
        }
    }

    fn cancellation(&self) -> OperationCancelParams {
        OperationCancelParams { operation: self.started.operation.clone() }
    }

    fn nothing(&self) -> Operation {
        Operation {
            operation: self.started.operation.clone(),
            done: false,
            total: self.started.jobs,
            items: Vec::new(),
            progress: Progress::default(),
        }
    }

    /// Jobs that were not told of yet.
    fn open(&self) -> Vec<String> {
        self.started.keys.iter().filter(|key| !self.told.contains(*key)).cloned().collect()
    }

    /// What became of jobs that were done with just before a restart: nobody had asked yet, and the new daemon does not
    /// count them any more.
    async fn untold(&mut self, session: &mut Session<'_>) -> Result<Vec<OperationItem>, Failure> {
        let mut items = Vec::new();
        for keys in self.open().chunks(MAX_SELECTORS) {
            let filter = Filter { select: keys.to_vec(), ..Filter::default() };
            let params = ListParams { filter, closed: true, ..ListParams::default() };
            let jobs = session.call::<JobsList>(&params).await?.items;
            items.extend(jobs.iter().map(|job| settled(job, &self.dir)));
        }
        self.told.extend(items.iter().map(|item| item.key.clone()));
        Ok(items)
    }
}

/// What the job itself tells of its delivery into a directory.
fn settled(job: &Job, dir: &str) -> OperationItem {
    let collected = job.phase == Phase::Closed && job.outcome.as_deref() == Some("collected");
    let at = job.results.as_deref().and_then(|results| Path::new(results).strip_prefix(dir).ok());
    let errors = if collected || at.is_some() {
        Vec::new()
    } else {
        vec!["the daemon was restarted before it told what came of it: run the same command again".to_owned()]
    };
    let (key, id, name) = (job.key.clone(), job.id, job.name.clone());
    OperationItem { key, id, name, dir: at.map(|at| at.display().to_string()), errors, cleaned: collected }
}
