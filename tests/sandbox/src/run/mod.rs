//! Moves jobs through the server's states and really runs them. One task per moving job; it works on what the row
//! says at each step, so that kills, forced states and restarts need nothing but a changed row and a wake-up.

mod collect;
mod gmlog;
mod process;
mod stage;
mod transfer;

use std::{io, path::Path, sync::Arc, time::Duration};

use tokio::sync::Notify;

use self::transfer::Client;

use crate::{
    desc::{Description, Input},
    shared::{Shared, now},
    state::{Job, Seconds, new_ce_id},
};

/// Starts the driver of a job, at whatever state it is in.
pub(crate) fn start(shared: &Arc<Shared>, id: i64) {
    let Some((generation, wake)) =
        shared.read(|state| state.jobs.get(&id).map(|job| (job.generation, job.wake.clone())))
    else {
        return;
    };
    let driver = Driver { shared: shared.clone(), id, generation, wake };
    shared.tasks.spawn(async move {
        tokio::select! {
            _ = driver.drive() => {}
            () = driver.shared.stop.cancelled() => {}
        }
    });
}

/// Starts the drivers of all jobs of a loaded snapshot that have not come to rest.
pub(crate) fn resume(shared: &Arc<Shared>) {
    let moving: Vec<i64> = shared.change(|state| {
        let moving = |job: &&mut Job| !job.pinned && job.description.is_some();
        let jobs = state.jobs.values_mut().filter(moving);
        jobs.map(|job| {
            if job.arcstate() == Some("running") {
                // Its process died with the last run of the sandbox.
                fail(job, "LRMS error: (-1) Job was lost with unknown exit code", now());
            }
            job.id
        })
        .collect()
    });
    moving.into_iter().for_each(|id| start(shared, id));
}

/// How long the CE waits for a proxy: 30 seconds.
const PROXY_TRIES: u32 = 300;
const PROXY_PAUSE: Duration = Duration::from_millis(100);

/// The row is gone, or another driver has taken over.
struct Over;

struct Driver {
    shared: Arc<Shared>,
    id: i64,
    generation: u64,
    wake: Arc<Notify>,
}

/// How a job ended at the CE.
enum Outcome {
    Exit(i32),
    /// With this error text.
    Failed(String),
    /// Killed by its owner.
    Killed,
}

impl Driver {
    /// Looks at or changes the row, if it is still this driver's.
    fn row<R>(&self, change: impl FnOnce(&mut Job) -> R) -> Result<R, Over> {
        self.shared.change(|state| {
            let job = state.jobs.get_mut(&self.id).filter(|job| job.generation == self.generation).ok_or(Over)?;
            Ok(change(job))
        })
    }

    /// Waits, but not longer than until the row is in another state. A wake-up alone proves nothing: it may be left
    /// over from before this driver.
    async fn pause(&self, delay: Duration) {
        let arcstate = || self.row(|job| job.arcstate().map(str::to_owned)).ok();
        let before = arcstate();
        let end = tokio::time::sleep(delay);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                () = self.wake.notified() => {
                    let now = arcstate();
                    if now.is_none() || now != before {
                        return;
                    }
                }
            }
        }
    }

    /// Changes the row if it is (still) in `arcstate`.
    fn in_state<R>(&self, arcstate: &str, change: impl FnOnce(&mut Job) -> R) -> Result<Option<R>, Over> {
        self.row(|job| (job.arcstate() == Some(arcstate)).then(|| change(job)))
    }

    async fn drive(&self) -> Result<(), Over> {
        let delays = self.shared.options.delays;
        loop {
            let arcstate = self.row(|job| job.arcstate().map(str::to_owned))?;
            match arcstate.as_deref() {
                None => {
                    self.pause(delays.handover).await;
                    self.row(|_| ())?;
                    self.shared.change(|state| {
                        if state.jobs.get(&self.id).is_some_and(|job| job.arc.is_none()) {
                            state.hand_over(self.id, now());
                        }
                    });
                }
                Some("tosubmit") => {
                    self.pause(delays.tosubmit).await;
                    self.in_state("tosubmit", |job| job.enter("submitting", now()))?;
                }
                Some("submitting") => self.submit().await?,
                Some("submitted") => self.work().await?,
                Some("finished") => {
                    if !self.deliver("finished", "done").await? {
                        return Ok(());
                    }
                }
                Some("tofetch") => {
                    self.deliver("tofetch", "donefailed").await?;
                }
                Some("toresubmit") => {
                    self.pause(delays.resubmit).await;
                    self.in_state("toresubmit", |job| job.enter("tosubmit", now()))?;
                }
                Some("tocancel") => {
                    self.pause(delays.cancel).await;
                    self.in_state("tocancel", |job| job.enter("cancelling", now()))?;
                }
                Some("cancelling") => {
                    // Without a JobID the server never finds out that the job is gone (observed).
                    if self.row(|job| job.arc.as_ref().is_none_or(|arc| arc.job_id.is_none()))? {
                        return Ok(());
                    }
                    self.pause(delays.cancel).await;
                    self.in_state("cancelling", |job| job.enter("cancelled", now()))?;
                }
                Some(_) => return Ok(()),
            }
        }
    }

    /// `submitting`: finds a cluster, uploads the inputs to it, gets a JobID.
    async fn submit(&self) -> Result<(), Over> {
        let shared = &self.shared;
        let (list, description) = self.row(|job| (job.clusterlist.clone(), job.submitted.clone()))?;
        let Some(description) = description else { return Err(Over) };
        self.pause(shared.options.delays.submitting).await;
        let reachable = |url: &&str| {
            let known = shared.clusters.iter().find(|cluster| cluster.url == *url);
            known.is_some_and(|cluster| cluster.up)
        };
        let Some(cluster) = list.split(',').find(reachable).map(str::to_owned) else {
            self.in_state("submitting", |job| job.enter("tosubmit", now()))?;
            return Ok(());
        };
        let ce_id = new_ce_id();
        let (data, session) = (shared.dirs.data(self.id), shared.dirs.session(&ce_id));
        let staged = {
            let description = description.clone();
            blocking(move || stage::upload(&description, &data, &session)).await
        };
        if let Err(reason) = staged {
            tracing::info!(id = self.id, %reason, "submission to the CE failed for good");
            self.in_state("submitting", |job| job.enter("tocancel", now()))?;
            return Ok(());
        }
        self.row(|job| {
            let now = now();
            // A kill during the submission does not stop it: the job is at the CE, and is cancelled there.
            if !matches!(job.arcstate(), Some("submitting" | "tocancel")) {
                return;
            }
            if let Some(arc) = &mut job.arc {
                arc.accepted(&shared.ce_url, &ce_id, &cluster, now);
            }
            job.report("Accepted", now);
            if job.arcstate() == Some("submitting") {
                job.enter("submitted", now);
            }
        })
    }

    /// `submitted` and `running`: what happens at the CE, until the job has ended there.
    async fn work(&self) -> Result<(), Over> {
        let shared = &self.shared;
        let (description, ce_id) =
            self.row(|job| (job.submitted.clone(), job.arc.as_ref().and_then(|arc| arc.id_from_endpoint.clone())))?;
        let (Some(description), Some(ce_id)) = (description, ce_id) else { return Err(Over) };
        self.pause(shared.options.delays.accepted).await;
        if !self.still("submitted")? {
            return Ok(());
        }
        self.row(|job| {
            job.report("Preparing", now());
            if let Some(arc) = &mut job.arc {
                arc.check(&description);
            }
        })?;
        if description.bad_for_ce {
            return self.end(Outcome::Failed("LRMS error: (-1) Job description is not acceptable".into())).await;
        }
        if description.inputs.iter().any(|input| input.uncached && input.is_local()) {
            // The CE waits for a file that nobody uploads (observed).
            self.left("submitted").await;
            return Ok(());
        }
        let session = shared.dirs.session(&ce_id);
        let staged = tokio::select! {
            staged = self.stage_in(&description, &session) => staged,
            () = self.left("submitted") => return Ok(()),
        };
        if let Err(reason) = staged {
            self.row(|job| {
                job.enter("torerun", now());
                job.report("Undefined", now());
            })?;
            self.pause(shared.options.delays.status).await;
            return self.end(Outcome::Failed(format!("Failed in data staging: {reason}"))).await;
        }
        self.row(|job| job.report("Queuing", now()))?;
        let slot = tokio::select! {
            slot = shared.slots.acquire() => slot,
            () = self.left("submitted") => return Ok(()),
        };
        if !self.still("submitted")? {
            return Ok(());
        }
        let mut outcome = self.run(&description, &ce_id, &session).await?;
        drop(slot);
        if matches!(outcome, Outcome::Exit(0)) {
            let sent = tokio::select! {
                sent = self.stage_out(&description, &session) => sent,
                () = self.left("running") => return Ok(()),
            };
            if let Err(reason) = sent {
                outcome = Outcome::Failed(format!("Failed in data staging: {reason}"));
            }
        }
        self.end(outcome).await
    }

    /// Waits until the row is no longer in `arcstate`, or no longer this driver's.
    async fn left(&self, arcstate: &str) {
        while matches!(self.still(arcstate), Ok(true)) {
            self.wake.notified().await;
        }
    }

    fn still(&self, arcstate: &str) -> Result<bool, Over> {
        self.row(|job| job.arcstate() == Some(arcstate))
    }

    async fn stage_in(&self, description: &Description, session: &Path) -> Result<(), String> {
        if description.inputs.iter().all(Input::is_local) {
            return Ok(());
        }
        let (proxy, ca_dir) = (self.proxy().await, self.shared.pki.ca_dir());
        stage::download(description, session, &Client { proxy: &proxy, ca_dir: &ca_dir }).await
    }

    async fn stage_out(&self, description: &Description, session: &Path) -> Result<(), String> {
        if description.outputs.iter().all(|output| !output.target.contains("://")) {
            return Ok(());
        }
        let (proxy, ca_dir) = (self.proxy().await, self.shared.pki.ca_dir());
        stage::deliver(description, session, &Client { proxy: &proxy, ca_dir: &ca_dir }).await
    }

    /// The owner's delegated proxy. During a delegation there is none: a real CE tries again for some time.
    async fn proxy(&self) -> String {
        for _ in 0..PROXY_TRIES {
            let proxy = self.shared.read(|state| {
                let proxy = state.proxies.get(&state.jobs.get(&self.id)?.proxyid)?;
                proxy.complete.then(|| proxy.pem.clone())
            });
            if let Some(proxy) = proxy {
                return proxy;
            }
            tokio::time::sleep(PROXY_PAUSE).await;
        }
        String::new()
    }

    /// Runs the executable and waits for its end.
    async fn run(&self, description: &Arc<Description>, ce_id: &str, session: &Path) -> Result<Outcome, Over> {
        let begin = now();
        let url = format!("{}/arex/{ce_id}", self.shared.ce_url);
        let mut process = match process::Process::start(description, session, ce_id, &url) {
            Ok(process) => process,
            Err(error) => return Ok(Outcome::Failed(lrms_error(start_error_code(&error)))),
        };
        let started = self.shared.change(|state| {
            let job = state.jobs.get_mut(&self.id).filter(|job| job.generation == self.generation);
            let Some(job) = job.filter(|job| job.arcstate() == Some("submitted")) else { return false };
            job.enter("running", begin);
            job.report("Running", begin);
            if let Some(arc) = &mut job.arc {
                arc.local_id = Some(process.id().to_string());
                arc.execution_node = Some("sandbox".to_owned());
            }
            let line = description.command_line();
            *state.runs_by_job.entry(self.id).or_default() += 1;
            *state.runs_by_description.entry(format!("{}: {line}", description.name)).or_default() += 1;
            true
        });
        if !started {
            process.kill().await;
            return Ok(Outcome::Killed);
        }
        let limit = description.walltime.filter(|seconds| *seconds > 0).map(Duration::from_secs);
        let visible = tokio::time::sleep(self.shared.options.delays.status);
        let outcome = tokio::select! {
            code = process.wait() => Outcome::Exit(code),
            () = sleep_or_forever(limit) => {
                process.kill().await;
                Outcome::Failed("LRMS error: (271) Job was killed: wall time limit exceeded".to_owned())
            }
            () = self.left("running") => {
                process.kill().await;
                Outcome::Killed
            }
        };
        // The server looks at its jobs from time to time, so an end shows only at the next look.
        if !matches!(outcome, Outcome::Killed) {
            tokio::select! {
                () = visible => {}
                () = self.left("running") => {}
            }
        }
        self.row(|job| {
            if let Some(arc) = &mut job.arc {
                arc.used_wall_time = now() - begin;
            }
        })?;
        Ok(outcome)
    }

    /// The server sees how the job ended.
    async fn end(&self, outcome: Outcome) -> Result<(), Over> {
        self.row(|job| {
            let now = now();
            if !matches!(job.arcstate(), Some("submitted" | "running" | "torerun")) {
                return;
            }
            match outcome {
                Outcome::Killed => {}
                Outcome::Failed(error) => fail(job, &error, now),
                Outcome::Exit(0) => {
                    job.enter("finished", now);
                    job.report("Finished", now);
                    if let Some(arc) = &mut job.arc {
                        arc.exit_code = Some(0);
                        arc.end_time = Some(now);
                    }
                }
                Outcome::Exit(code) => fail(job, &lrms_error(code), now),
            }
        })
    }

    /// Fetches the outputs from the CE, `from` -> `to`. False if that can never succeed.
    async fn deliver(&self, from: &str, to: &str) -> Result<bool, Over> {
        let shared = &self.shared;
        let job = self.row(|job| job.clone())?;
        let (Some(description), Some(arc)) = (job.submitted.clone(), job.arc.clone()) else { return Err(Over) };
        let Some(ce_id) = arc.id_from_endpoint.clone() else { return Err(Over) };
        let (session, results) = (shared.dirs.session(&ce_id), shared.dirs.results(&ce_id));
        let owner = shared.read(|state| state.proxies.get(&job.proxyid).map(|proxy| proxy.dn.clone()));
        let any_name = shared.options.deliver_any_name;
        let log = gmlog::files(&description, &arc, &shared.ce_url, &owner.unwrap_or_default());
        let dir = crate::state::columns::log_dir(&job);
        let target = results.clone();
        let outcome = blocking(move || {
            let paths = collect::outputs(&description, &session);
            if !any_name && paths.iter().any(|path| !collect::can_be_moved(path)) {
                return Ok(false);
            }
            collect::deliver(&session, &paths, &target)?;
            gmlog::write(&target.join(dir), &log)?;
            Ok::<_, io::Error>(true)
        })
        .await;
        self.pause(shared.options.delays.fetching).await;
        match outcome {
            Ok(true) => {
                self.in_state(from, |job| {
                    job.results = Some(results);
                    job.enter(to, now());
                })?;
                Ok(true)
            }
            Ok(false) => Ok(false),
            Err(error) => {
                tracing::error!(%error, id = self.id, "outputs were not collected");
                Ok(false)
            }
        }
    }
}

fn fail(job: &mut Job, error: &str, now: Seconds) {
    job.enter("failed", now);
    job.report("Failed", now);
    if let Some(arc) = &mut job.arc {
        arc.error = Some(error.to_owned());
        // A failed job has no exit code: it is only in the text (observed).
        arc.exit_code = None;
    }
}

fn lrms_error(code: i32) -> String {
    format!("LRMS error: ({code}) Job finished with wrong exit code - {code} != 0")
}

/// What a shell on the worker node would exit with.
fn start_error_code(error: &io::Error) -> i32 {
    if error.kind() == io::ErrorKind::PermissionDenied { 126 } else { 127 }
}

async fn sleep_or_forever(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

async fn blocking<R: Send + 'static>(work: impl FnOnce() -> io::Result<R> + Send + 'static) -> io::Result<R> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
