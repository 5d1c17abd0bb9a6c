//! One file of the results: received in one or several requests, counted, hashed, resumed, and put into the tree only
//! when every byte announced is on the disk.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{SemaphorePermit, mpsc};
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
/// Files up to this size are received into memory and written in one go.
const SMALL: u64 = 64 * 1024;
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
    let transfer = |partial: Option<Partial>| Transfer {
        ctx: ctx.clone(),
        path: path.clone(),
        new: partial.is_none(),
        partial,
        promise: None,
        counted: 0,
        whole: false,
    };
    if ctx.stage.is_new() {
        return transfer(None).run().await;
    }
    let found = {
        let (ctx, path) = (ctx.clone(), path.clone());
        blocking(move || {
            if let Some(entry) = ctx.stage.finished(&path) {
                return Ok(Found::Finished(entry));
            }
            let partial = ctx.stage.resume(&path).map_or_else(|| ctx.stage.start(&path), Ok);
            partial.map(Found::Unfinished).map_err(|e| trouble::local(&e, ctx.stage.tree()))
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
            transfer(Some(partial)).run().await
        }
    }
}

struct Transfer {
    ctx: Arc<Context>,
    path: RelPath,
    /// Nothing of it is on the disk.
    new: bool,
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
    End(Outcome),
}

impl Transfer {
    async fn run(mut self) -> Result<Outcome, Failure> {
        let mut breaks = 0;
        loop {
            let before = self.partial.as_ref().map_or(0, Partial::len);
            match self.request().await {
                Ok(Step::More) => breaks = 0,
                Ok(Step::All) => return self.finish().await.map(Outcome::Here),
                Ok(Step::End(outcome)) => return Ok(outcome),
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
        let place = tokio::select! {
            () = ctx.stop.cancelled() => return Err(Failure::stopped()),
            place = ctx.hands.downloads.acquire() => place.map_err(|_| Failure::stopped())?,
        };
        tokio::select! {
            () = ctx.stop.cancelled() => return Err(Failure::stopped()),
            () = ctx.hands.pace.turn() => {}
        }
        let (offset, validator) = match &self.partial {
            None if self.new => (0, None),
            None => return Err(Failure::stopped()),
            Some(partial) => (partial.len(), partial.version().and_then(|(text, _)| Validator::from_text(text))),
        };
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
                return Ok(Step::End(Outcome::NotGiven(why.into())));
            }
            Ok(Err(NoResults::Gone | NoResults::NotInState)) => return Ok(Step::End(Outcome::NotInState)),
            Err(error) => {
                let failure = Failure::of_server(&error);
                // A refusal of one file by the application is about that file.
                let refused = failure.fault.class == Class::Rejected;
                return if refused { Ok(Step::End(Outcome::NotGiven(failure.fault.why))) } else { Err(failure) };
            }
        };
        if self.new {
            if file.left() == file.total() && file.total() <= SMALL {
                return self.small(file, place).await;
            }
            self.start().await?;
        }
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

    /// Receives all of a small file, then writes it.
    async fn small(&mut self, mut file: RemoteFile, place: SemaphorePermit<'_>) -> Result<Step, Failure> {
        let ctx = self.ctx.clone();
        let (before, now) = (std::mem::replace(&mut self.counted, file.total()), file.total());
        ctx.meter.update(|p| p.total = p.total.saturating_sub(before) + now);
        let mut content = Vec::with_capacity(usize::try_from(now).unwrap_or(0));
        let receiving = async {
            while let Some(chunk) = file.chunk().await.map_err(|e| Failure::of_server(&e))? {
                ctx.hands.pace.took(chunk.len() as u64);
                ctx.meter.update(|p| p.bytes += chunk.len() as u64);
                content.extend_from_slice(&chunk);
                failpoint!("retrieve.chunk");
            }
            Ok(())
        };
        let received = tokio::select! {
            () = ctx.stop.cancelled() => Err(Failure::stopped()),
            received = tokio::time::timeout(WINDOW, receiving) => received.unwrap_or_else(|_| {
                let why = format!("{}: {now} bytes did not come in {} s", self.path, WINDOW.as_secs());
                Err(Failure::here(Fault::new(Class::Transient, why)))
            }),
        };
        if let Err(failure) = received {
            let lost = content.len() as u64;
            ctx.meter.update(|p| p.bytes = p.bytes.saturating_sub(lost));
            return Err(failure);
        }
        // The connection has ended: others may have its place while this is written.
        drop((file, place));
        failpoint!("retrieve.file.before");
        let path = self.path.clone();
        let entry = blocking(move || {
            let _promise = ctx.turn.promise(now, ctx.hands.config().min_free)?;
            ctx.stage.put(&path, &content).map_err(|e| trouble::local(&e, ctx.stage.tree()))
        });
        let entry = entry.await.map_err(Failure::here)?;
        failpoint!("retrieve.file.after");
        self.ctx.meter.update(|p| p.files += 1);
        Ok(Step::End(Outcome::Here(entry)))
    }

    /// Begins a file of which nothing is here.
    async fn start(&mut self) -> Result<(), Failure> {
        let (ctx, path) = (self.ctx.clone(), self.path.clone());
        let started = blocking(move || ctx.stage.start(&path).map_err(|e| trouble::local(&e, ctx.stage.tree())));
        self.partial = Some(started.await.map_err(Failure::here)?);
        self.new = false;
        Ok(())
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
                written.map_err(|e| Failure::here(trouble::local(&e, self.ctx.stage.tree())))
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
        result.map_err(|e| Failure::here(trouble::local(&e, self.ctx.stage.tree())))
    }

    /// Fails if after `more` bytes less than the configured rest of the disk would be free.
    async fn room(&self, more: u64) -> Result<(), Failure> {
        let (at, keep) = (self.ctx.stage.tree().to_owned(), self.ctx.hands.config().min_free);
        blocking(move || room(&at, more, keep)).await.map_err(Failure::here)
    }

    async fn finish(&mut self) -> Result<FileEntry, Failure> {
        let partial = self.partial.take().ok_or_else(Failure::stopped)?;
        let (ctx, path) = (self.ctx.clone(), self.path.clone());
        failpoint!("retrieve.file.before");
        let finished =
            blocking(move || ctx.stage.finish(&path, partial).map_err(|e| trouble::local(&e, ctx.stage.tree())));
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
