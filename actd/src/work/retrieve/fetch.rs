//! One file of the results: received in one or several requests, counted, hashed, resumed, and put into the tree only
//! when every byte announced is on the disk.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::stage::Partial;
use super::{Context, Failure};
use crate::failpoint;
use crate::fsutil::{self, RelPath};
use crate::job::fault::{Class, Fault};
use crate::remote::act::NoResults;
use crate::remote::{FileRange, RemoteFile, Validator};
use crate::work::again;
use crate::work::manifest::FileEntry;
use crate::work::space::Promise;
use crate::work::trouble::{self, blocking};

/// Pieces on their way to the disk: at most so many, each of one read of the connection.
const QUEUE: usize = 8;
/// A file that moves less than this in a window is given up for now: it holds a place that others could use.
const WINDOW: Duration = Duration::from_secs(120);
const WINDOW_MIN: u64 = 32 * 1024;
/// Connections in a row that may break while bytes still come, before the file is left for later. (Without any bytes:
/// as often as any read is tried.)
const BREAKS: u32 = 5;
/// Free disk is looked at again after so many bytes.
const SPACE_EVERY: u64 = 16 << 20;

/// What became of a file.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is in the tree.
    Here(FileEntry),
    /// The server has it in its list and does not give it.
    NotGiven(String),
    /// The results as a whole are not there any more.
    NotInState,
}

pub(super) async fn fetch(ctx: &Arc<Context>, path: &RelPath) -> Result<Outcome, Failure> {
    enum Found {
        Finished(FileEntry),
        Unfinished(Partial),
    }
    let found = {
        let (ctx, path) = (ctx.clone(), path.clone());
        blocking(move || {
            if let Some(entry) = ctx.stage.finished(&path) {
                return Ok(Found::Finished(entry));
            }
            let partial = ctx.stage.resume(&path).map_or_else(|| ctx.stage.start(&path), Ok);
            partial.map(Found::Unfinished).map_err(|e| trouble::local(&e, ctx.stage.root()))
        })
        .await
        .map_err(Failure::here)?
    };
    match found {
        Found::Finished(entry) => {
            ctx.meter.update(|p| {
                p.bytes += entry.size;
                p.total += entry.size;
                p.files += 1;
            });
            Ok(Outcome::Here(entry))
        }
        Found::Unfinished(partial) => {
            ctx.meter.update(|p| p.bytes += partial.len());
            let (ctx, path) = (ctx.clone(), path.clone());
            Transfer { ctx, path, partial: Some(partial), promise: None, counted: 0, whole: false }.run().await
        }
    }
}

struct Transfer {
    ctx: Arc<Context>,
    path: RelPath,
    /// Away while a blocking task has it.
    partial: Option<Partial>,
    /// The room for what the answer under way brings.
    promise: Option<Promise>,
    /// What it adds to the total.
    counted: u64,
    /// The server names no versions of it: only the whole of it, in one answer, is sure to be of one.
    whole: bool,
}

enum Step {
    More,
    All,
    No(Outcome),
}

impl Transfer {
    async fn run(mut self) -> Result<Outcome, Failure> {
        let mut breaks = 0;
        loop {
            let before = self.partial()?.len();
            match self.request().await {
                Ok(Step::More) => breaks = 0,
                Ok(Step::All) => return self.finish().await.map(Outcome::Here),
                Ok(Step::No(outcome)) => return Ok(outcome),
                Err(failure) => {
                    let moved = self.partial.as_ref().is_some_and(|p| p.len() > before && p.version().is_some());
                    breaks += 1;
                    let most = if moved { BREAKS } else { again::TRIES - 1 };
                    if breaks > most
                        || !failure.of_exchange
                        || failure.fault.class != Class::Transient
                        || failure.fault.retry_after_ms.is_some()
                        || self.ctx.stop.is_cancelled()
                    {
                        return Err(failure);
                    }
                    tracing::debug!(path = %self.path, why = failure.fault.why, "broke off; going on");
                    self.pause(Duration::from_millis(200) * breaks).await?;
                }
            }
        }
    }

    /// One request: a slice under a cap, else all that is left.
    async fn request(&mut self) -> Result<Step, Failure> {
        let ctx = self.ctx.clone();
        let _place = tokio::select! {
            () = ctx.stop.cancelled() => return Err(Failure::stopped()),
            place = ctx.hands.downloads.acquire() => place.map_err(|_| Failure::stopped())?,
        };
        tokio::select! {
            () = ctx.stop.cancelled() => return Err(Failure::stopped()),
            () = ctx.hands.pace.turn() => {}
        }
        let partial = self.partial()?;
        let offset = partial.len();
        let validator = partial.version().and_then(|(text, _)| Validator::from_text(text));
        let range = FileRange { offset, len: ctx.hands.pace.slice().filter(|_| !self.whole), validator };
        failpoint!("retrieve.request");
        let answer = tokio::select! {
            () = ctx.stop.cancelled() => return Err(Failure::stopped()),
            answer = ctx.tools.act.results_file(ctx.id, self.path.as_str(), &range) => answer,
        };
        let mut file = match answer {
            Ok(Ok(file)) => file,
            Ok(Err(NoResults::NoSuchPath)) => {
                let why = "the server lists this file and then says that there is none";
                return Ok(Step::No(Outcome::NotGiven(why.into())));
            }
            Ok(Err(NoResults::Gone | NoResults::NotInState)) => return Ok(Step::No(Outcome::NotInState)),
            Err(error) => {
                let failure = Failure::of_server(&error);
                // A refusal of one file by the application is about that file.
                let refused = failure.fault.class == Class::Rejected;
                return if refused { Ok(Step::No(Outcome::NotGiven(failure.fault.why))) } else { Err(failure) };
            }
        };
        self.fit(&file).await?;
        let received = self.receive(&mut file).await;
        self.promise = None;
        received?;
        let partial = self.partial()?;
        if partial.len() == file.total() {
            return Ok(Step::All);
        }
        if partial.version().is_none() {
            self.whole = true;
            self.restart().await?;
        }
        Ok(Step::More)
    }

    /// Fits what is here to the answer that begins, and makes sure that there is room for the rest.
    async fn fit(&mut self, file: &RemoteFile) -> Result<(), Failure> {
        let version = file.validator().map(|v| (v.as_str().to_owned(), file.total()));
        let partial = self.partial()?;
        let goes_on = file.offset() == partial.len() && (partial.len() == 0 || partial.version() == version.as_ref());
        if !goes_on {
            self.restart().await?;
            if file.offset() != 0 {
                let why = format!("{} has changed on the server while it was downloaded", self.path);
                return Err(Failure::here(Fault::new(Class::Transient, why)));
            }
        }
        if let Some(partial) = &mut self.partial {
            partial.is_of(version);
        }
        let (before, now) = (self.counted, file.total());
        self.counted = now;
        self.ctx.meter.update(|p| p.total = p.total.saturating_sub(before) + now);
        let (ctx, more) = (self.ctx.clone(), now - file.offset());
        let promised = blocking(move || ctx.turn.promise(more, ctx.hands.config().min_free)).await;
        self.promise = Some(promised.map_err(Failure::here)?);
        Ok(())
    }

    /// Receives the body. However it ends, what has come is on the disk and noted.
    async fn receive(&mut self, file: &mut RemoteFile) -> Result<(), Failure> {
        let (sender, mut queue) = mpsc::channel::<Bytes>(QUEUE);
        let mut partial = self.partial.take().ok_or_else(Failure::stopped)?;
        let path = self.path.clone();
        let writer = tokio::task::spawn_blocking(move || {
            let mut result = Ok(());
            while let Some(bytes) = queue.blocking_recv() {
                result = partial.write(&path, &bytes);
                if result.is_err() {
                    break;
                }
            }
            drop(queue);
            // A note that cannot be written costs a resumption, not the data. What is whole needs none.
            if result.is_ok() && !partial.is_whole() && partial.note(&path).is_err() {
                tracing::debug!(%path, "cannot note how far the download is");
            }
            (partial, result)
        });
        let received = self.pump(file, &sender).await;
        drop(sender);
        let written = match writer.await {
            Ok((partial, written)) => {
                self.partial = Some(partial);
                written.map_err(|e| Failure::here(trouble::local(&e, self.ctx.stage.root())))
            }
            Err(error) => Err(task_failed(&error)),
        };
        written.and(received)
    }

    async fn pump(&self, file: &mut RemoteFile, to: &mpsc::Sender<Bytes>) -> Result<(), Failure> {
        let ctx = &self.ctx;
        let (mut window, mut in_window, mut since_look) = (Instant::now(), 0u64, 0u64);
        loop {
            let chunk = tokio::select! {
                () = ctx.stop.cancelled() => return Err(Failure::stopped()),
                chunk = file.chunk() => chunk.map_err(|e| Failure::of_server(&e))?,
            };
            let Some(chunk) = chunk else { return Ok(()) };
            let len = chunk.len() as u64;
            ctx.hands.pace.took(len);
            // The receiver is gone only after a failed write, which the writer reports.
            if to.send(chunk).await.is_err() {
                return Ok(());
            }
            if let Some(promise) = &self.promise {
                promise.took(len);
            }
            ctx.meter.update(|p| p.bytes += len);
            failpoint!("retrieve.chunk");
            in_window += len;
            since_look += len;
            if since_look >= SPACE_EVERY {
                since_look = 0;
                self.room(file.left()).await?;
            }
            if window.elapsed() >= WINDOW {
                if in_window < WINDOW_MIN {
                    let why = format!("{}: only {in_window} bytes came in {} s", self.path, window.elapsed().as_secs());
                    return Err(Failure::here(Fault::new(Class::Transient, why)));
                }
                (window, in_window) = (Instant::now(), 0);
            }
        }
    }

    async fn restart(&mut self) -> Result<(), Failure> {
        let mut partial = self.partial.take().ok_or_else(Failure::stopped)?;
        let lost = partial.len();
        let restarted = tokio::task::spawn_blocking(move || {
            let result = partial.restart();
            (partial, result)
        });
        let (partial, result) = restarted.await.map_err(|e| task_failed(&e))?;
        self.partial = Some(partial);
        self.ctx.meter.update(|p| p.bytes = p.bytes.saturating_sub(lost));
        result.map_err(|e| Failure::here(trouble::local(&e, self.ctx.stage.root())))
    }

    /// Fails if after `more` bytes less than the configured rest of the disk would be free.
    async fn room(&self, more: u64) -> Result<(), Failure> {
        let (at, keep) = (self.ctx.stage.root().to_owned(), self.ctx.hands.config().min_free);
        blocking(move || room(&at, more, keep)).await.map_err(Failure::here)
    }

    async fn finish(&mut self) -> Result<FileEntry, Failure> {
        let partial = self.partial.take().ok_or_else(Failure::stopped)?;
        let (ctx, path) = (self.ctx.clone(), self.path.clone());
        failpoint!("retrieve.file.before");
        let finished =
            blocking(move || ctx.stage.finish(&path, partial).map_err(|e| trouble::local(&e, ctx.stage.root())));
        let entry = finished.await.map_err(Failure::here)?;
        failpoint!("retrieve.file.after");
        self.ctx.meter.update(|p| p.files += 1);
        Ok(entry)
    }

    async fn pause(&self, pause: Duration) -> Result<(), Failure> {
        tokio::select! {
            () = self.ctx.stop.cancelled() => Err(Failure::stopped()),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    fn partial(&self) -> Result<&Partial, Failure> {
        // It is away only inside of the calls above, which bring it back or fail.
        self.partial.as_ref().ok_or_else(Failure::stopped)
    }
}

fn task_failed(error: &tokio::task::JoinError) -> Failure {
    Failure::here(Fault::new(Class::Transient, format!("a task of the daemon failed: {error}")))
}

/// Fails with [`Class::DiskFull`] unless `keep` bytes stay free beside `more`.
pub(in crate::work) fn room(at: &Path, more: u64, keep: u64) -> Result<(), Fault> {
    let space = fsutil::space(at).map_err(|e| trouble::local(&e, at))?;
    if space.free >= more.saturating_add(keep) {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let why = format!(
        "{} MiB are free at {}; {} MiB are still to come and {} MiB are to stay free",
        mib(space.free),
        at.display(),
        mib(more),
        mib(keep)
    );
    Err(Fault::new(Class::DiskFull, why))
}
