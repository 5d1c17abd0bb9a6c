//! Commands and notifications of the user's: when a job is done or has failed, a batch has come to rest, the credential
//! is about to end.
//!
//! It follows the numbered events, which are on disk, and notes up to which of them everything has been run: after a crash
//! it goes on there. So each command runs at least once; one that was running when the daemon was killed runs again, with
//! the same `ACTD_EVENT_NUMBER`. It changes no job.

mod desktop;
pub mod facts;
pub mod run;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use act_proto::events::Event;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::config::values::CommandLine;
use crate::config::{Config, Download, Notify};
use crate::engine::handle::EngineHandle;
use crate::fsutil::write_atomic;
use crate::job::{Arcstate, Job, Key, Phase, Time};
use crate::rpc::Shared;
use facts::{End, Handling, end, of_job, rests};
use run::{Facts, Run};

/// Commands that run at a time.
const AT_A_TIME: usize = 4;
/// Events read from the log at a time.
const PAGE: usize = 500;
/// Jobs of a batch that are counted in the history.
const MOST: usize = 10_000;
/// For so long a command waits for what ARC says of a job that has failed, milliseconds.
const WORDS_MS: i64 = 30_000;

/// Something to tell the user of that is no event of a job's: the credential is about to end.
#[derive(Debug)]
pub struct Notice {
    /// The sentence.
    pub text: String,
    /// For the command.
    pub facts: Facts,
    /// Told when the command has run.
    pub done: oneshot::Sender<()>,
}

/// Up to where everything has been run.
#[derive(Debug, Serialize, Deserialize)]
struct Position {
    event: u64,
}

struct Follower {
    engine: EngineHandle,
    config: Shared,
    file: PathBuf,
    logs: PathBuf,
    umask: u32,
    /// The newest event that was looked at.
    last: u64,
    /// Up to here is on disk.
    kept: u64,
    /// What runs, and for which events.
    running: JoinSet<()>,
    events: HashMap<Id, u64>,
    began: Time,
    /// Batches that have come to rest, and the newest event at that moment.
    rested: HashMap<String, u64>,
}

/// Follows the events until `stop`. `umask`: the user's, for what the commands make.
pub fn start(engine: EngineHandle, config: Shared, umask: u32, stop: CancellationToken) -> mpsc::Sender<Notice> {
    let (sender, notices) = mpsc::channel(8);
    let state = config.get().state.clone();
    let file = state.join("hooks.json");
    let kept = read(&file);
    // Events may have been lost with a cache that was recovered, and their numbers are given again then.
    let last = kept.unwrap_or(u64::MAX).min(engine.last_event());
    let follower = Follower {
        engine,
        config,
        file,
        logs: state.join("hooks"),
        umask,
        last,
        kept: kept.unwrap_or(0),
        running: JoinSet::new(),
        events: HashMap::new(),
        began: Time::now(),
        rested: HashMap::new(),
    };
    tokio::spawn(follower.follow(notices, stop));
    sender
}

fn read(file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    serde_json::from_str::<Position>(&text).ok().map(|p| p.event)
}

fn handling(job: &Job, config: &Config) -> Handling {
    Handling {
        manual: config.download == Download::Manual || job.options.no_download || job.is_brought(),
        fetch_failed: config.fetch_failed && !job.options.no_download,
    }
}

impl Follower {
    async fn follow(mut self, mut notices: mpsc::Receiver<Notice>, stop: CancellationToken) {
        let mut news = self.engine.subscribe();
        loop {
            if !self.catch_up(&stop).await {
                break;
            }
            self.note();
            tokio::select! {
                () = stop.cancelled() => break,
                // However it wakes: the log says what there is.
                _ = news.recv() => while news.try_recv().is_ok() {},
                () = ended(&mut self.running, &mut self.events) => {}
                Some(notice) = notices.recv() => self.notice(notice),
            }
        }
        // What runs is ended with the daemon, and run again at its next start.
        self.note();
    }

    /// Looks at all events there are; `false`: the daemon ends.
    async fn catch_up(&mut self, stop: &CancellationToken) -> bool {
        loop {
            let (page, gap) = self.engine.events(self.last, PAGE);
            if gap {
                tracing::warn!("events are no longer kept that no hook has seen");
            }
            if page.is_empty() {
                return true;
            }
            for event in page {
                while self.running.len() >= AT_A_TIME {
                    tokio::select! {
                        () = stop.cancelled() => return false,
                        () = ended(&mut self.running, &mut self.events) => {}
                    }
                    self.note();
                }
                self.last = event.seq;
                if event.kind == "job" {
                    self.look(&event);
                }
            }
        }
    }

    fn look(&mut self, event: &Event) {
        let config = self.config.get();
        if !config.hooks.any() && config.notify == Notify::Off {
            return;
        }
        let Some(job) = event.key.as_ref().and_then(|k| k.parse::<Key>().ok()).and_then(|key| self.engine.job(key))
        else {
            return;
        };
        let Some(end) = end(event, &job, handling(&job, &config)) else { return };
        let told = match end {
            End::Done => Some(("on_done", "done", config.hooks.on_done.as_ref())),
            End::Failed => Some(("on_failed", "failed", config.hooks.on_failed.as_ref())),
            End::Dropped => None,
        };
        let with_note = config.notify == Notify::Job;
        if let Some((what, word, command)) = told.filter(|(_, _, command)| command.is_some() || with_note) {
            let hook = self.hook(what, job.key.to_string(), command);
            let (engine, event, job) = (self.engine.clone(), event.clone(), job.clone());
            let until = job.seen.as_ref().map_or(self.began, |seen| seen.since.max(self.began)).plus(WORDS_MS);
            self.begin(event.seq, async move {
                let job = with_words(&engine, job, until).await;
                let mut facts = vec![("ACTD_EVENT", word.to_owned())];
                facts.extend(of_job(&job, &event));
                let name = job.name.as_deref().unwrap_or("without a name");
                let note = with_note
                    .then(|| (format!("Job {name}: {word}"), job.error.as_deref().unwrap_or_default().to_owned()));
                hook.run(facts, note, job.results()).await;
            });
        }
        if let Some(batch) = job.batch.as_deref() {
            self.batch(event, batch, &config);
        }
    }

    /// Runs what is to be run when a batch has come to rest, once for each time that it does.
    fn batch(&mut self, event: &Event, batch: &str, config: &Config) {
        if self.rested.get(batch).is_some_and(|at| event.seq <= *at) {
            return;
        }
        let (mut all, mut done, mut failed) = (0_u64, 0_u64, 0_u64);
        let mut count = |job: &Job| {
            all += 1;
            match job.arcstate().word() {
                Some("done") => done += 1,
                Some("failed" | "donefailed" | "lost") => failed += 1,
                _ => {}
            }
        };
        // What is seen here may be the end that a later event tells of: that one is then no news of the batch.
        let newest = {
            let jobs = self.engine.board.read();
            let own = || jobs.by_key.values().filter(|j| j.is_ours() && j.batch.as_deref() == Some(batch));
            if own().any(|j| !rests(j, handling(j, config))) {
                return;
            }
            own().for_each(|job| count(job));
            jobs.last_event
        };
        let past =
            tokio::task::block_in_place(|| self.engine.history(MOST, &mut |job| job.batch.as_deref() == Some(batch)));
        past.iter().for_each(count);
        self.rested.insert(batch.to_owned(), newest);
        if done + failed == 0 {
            // Withdrawn by a person, who knows.
            return;
        }
        let facts = vec![
            ("ACTD_EVENT", "batch_done".to_owned()),
            ("ACTD_EVENT_NUMBER", event.seq.to_string()),
            ("ACTD_BATCH", batch.to_owned()),
            ("ACTD_BATCH_JOBS", all.to_string()),
            ("ACTD_BATCH_DONE", done.to_string()),
            ("ACTD_BATCH_FAILED", failed.to_string()),
        ];
        let note = (config.notify != Notify::Off)
            .then(|| (format!("Batch {batch} has ended"), format!("{all} jobs: {done} done, {failed} failed")));
        let command = config.hooks.on_batch_done.as_ref();
        if command.is_some() || note.is_some() {
            let hook = self.hook("on_batch_done", safe(batch), command);
            self.begin(event.seq, async move { hook.run(facts, note, None).await });
        }
    }

    fn notice(&mut self, notice: Notice) {
        let config = self.config.get();
        let note = (config.notify != Notify::Off).then(|| ("Grid credential".to_owned(), notice.text.clone()));
        let mut facts = vec![("ACTD_EVENT", "credential_low".to_owned())];
        facts.extend(notice.facts);
        let hook = self.hook("on_credential_low", "credential".into(), config.hooks.on_credential_low.as_ref());
        // Not among those whose events are counted: whoever asked knows when it has run.
        tokio::spawn(async move {
            hook.run(facts, note, None).await;
            // Nobody waiting any more is no error.
            let _ = notice.done.send(());
        });
    }

    fn hook(&self, what: &'static str, about: String, command: Option<&CommandLine>) -> Hook {
        let config = self.config.get();
        Hook {
            what,
            about,
            command: command.cloned(),
            facts: vec![
                ("ACTD_INSTANCE", config.instance.name.clone()),
                ("ACTD_SERVER", config.server.as_str().trim_end_matches('/').to_owned()),
            ],
            limit: config.hooks.timeout,
            logs: self.logs.clone(),
            umask: self.umask,
        }
    }

    fn begin(&mut self, seq: u64, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.running.spawn(task).id();
        self.events.insert(id, seq);
    }

    /// Writes down up to where everything has been run, if that is news.
    fn note(&mut self) {
        while let Some(ended) = self.running.try_join_next_with_id() {
            self.events.remove(&id(&ended));
        }
        let config = self.config.get();
        if !config.hooks.any() && config.notify == Notify::Off && self.running.is_empty() {
            // Who turns hooks on later does not mean what has happened before.
            if std::mem::take(&mut self.kept) != 0 {
                let _ = std::fs::remove_file(&self.file);
            }
            return;
        }
        let event = self.events.values().min().map_or(self.last, |seq| seq.saturating_sub(1));
        if event == self.kept {
            return;
        }
        let written = serde_json::to_vec(&Position { event })
            .map_err(std::io::Error::from)
            .and_then(|text| tokio::task::block_in_place(|| write_atomic(&self.file, &text, 0o600)));
        match written {
            Ok(()) => self.kept = event,
            Err(e) => tracing::warn!("{}: {e}: hooks may run again after a restart", self.file.display()),
        }
    }
}

/// A command or a notification, before what it tells is known.
struct Hook {
    what: &'static str,
    about: String,
    command: Option<CommandLine>,
    /// What each is told.
    facts: Facts,
    limit: Duration,
    logs: PathBuf,
    umask: u32,
}

impl Hook {
    async fn run(self, mut facts: Facts, note: Option<(String, String)>, dir: Option<&Path>) {
        if let Some((title, text)) = note {
            desktop::show(&title, &text, &self.logs).await;
        }
        let Some(command) = self.command else { return };
        facts.extend(self.facts);
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let dir = dir.map(Path::to_owned).into_iter().chain(home).find(|dir| dir.is_dir());
        let dir = dir.unwrap_or_else(|| PathBuf::from("/"));
        let run =
            Run { what: self.what, about: self.about, command, facts, dir, limit: self.limit, umask: Some(self.umask) };
        run.run(&self.logs).await;
    }
}

/// A job that has failed, with what ARC says about that, if it says it before `until`.
async fn with_words(engine: &EngineHandle, mut job: Arc<Job>, until: Time) -> Arc<Job> {
    let is_awaited = |job: &Job| {
        let failed =
            matches!(job.arcstate(), Arcstate::Failed | Arcstate::DoneFailed | Arcstate::Lost | Arcstate::ToFetch);
        failed && job.error.is_none() && matches!(job.phase, Phase::Active { .. } | Phase::Retrieving { .. })
    };
    loop {
        let rev = engine.board.read().rev;
        job = engine.job(job.key).unwrap_or(job);
        let left = u64::try_from(until.since(Time::now())).unwrap_or(0);
        if !is_awaited(&job) || left == 0 {
            return job;
        }
        let _ = tokio::time::timeout(Duration::from_millis(left), engine.board.changed_after(rev)).await;
    }
}

/// Waits until one of them has ended.
async fn ended(running: &mut JoinSet<()>, events: &mut HashMap<Id, u64>) {
    match running.join_next_with_id().await {
        Some(ended) => drop(events.remove(&id(&ended))),
        None => std::future::pending().await,
    }
}

fn id(ended: &Result<(Id, ()), tokio::task::JoinError>) -> Id {
    match ended {
        Ok((id, ())) => *id,
        Err(e) => e.id(),
    }
}

/// A name as a part of a file's name.
fn safe(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-')).take(60).collect()
}

/// How long a command may take, unless the config says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(600);
