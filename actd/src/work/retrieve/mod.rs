//! Bringing a job's results: list them, download every file, look whether anything was missed, make sure that they are
//! of the run they were taken for, make all of it durable, and only then give it its name. It never cleans the server.
//!
//! A directory that has its final name is whole, or says in its manifest what is missing; then the answer is a refusal,
//! so that the server keeps the job. After a crash anywhere the same call goes on from what is on the disk.

mod fetch;
mod stage;
mod walk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio_util::sync::CancellationToken;

use super::hands::Tools;
use super::manifest::{self, FileEntry, Manifest, Missing};
use super::progress::{Meter, TransferKind};
use super::publish::{self, Moved};
use super::rows::Coming;
use super::space::Turn;
use super::trouble::{self, Repeat, blocking};
use super::{Done, Inner, ProgressSink, Retrieve, rows};
use crate::failpoint;
use crate::fsutil::RelPath;
use crate::fsutil::transfer::remove_tree;
use crate::job::apply::Input;
use crate::job::fault::{Class, Fault};
use crate::job::{Key, ServerId, Time};
use crate::remote::RemoteError;

pub(super) use fetch::room;
use fetch::{Outcome, fetch};
use stage::{About, Stage};
pub(super) use stage::{gone_name, remove_stage, stage_name};
use walk::{Listed, Tree, walk};

/// The server is asked so often for what has been added meanwhile.
const ROUNDS: usize = 4;

/// Why it did not go on, and where the cause lies.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) fault: Fault,
    /// The exchange with the server failed: another request may do better.
    pub(super) of_exchange: bool,
    /// It concerns more than this job.
    stops_all: bool,
}

impl Failure {
    /// A failed request to the aCT server. An answer that arrived but is of no use says nothing about other jobs.
    fn of_server(error: &RemoteError) -> Self {
        let fault = trouble::remote(error, Repeat::Harmless);
        let answered = error.status().is_some_and(|status| (200..300).contains(&status));
        Self { stops_all: trouble::stops_all(&fault) && !answered, of_exchange: true, fault }
    }

    /// Anything else.
    fn here(fault: Fault) -> Self {
        Self { stops_all: fault.class == Class::DiskFull, of_exchange: false, fault }
    }

    fn stopped() -> Self {
        Self { fault: trouble::stopped(), of_exchange: false, stops_all: false }
    }

    fn new(class: Class, why: impl Into<String>) -> Self {
        Self::here(Fault::new(class, why))
    }
}

/// What the files of one job have in common.
struct Context {
    hands: Arc<Inner>,
    tools: Arc<Tools>,
    id: ServerId,
    stage: Stage,
    turn: Turn,
    meter: Arc<Meter>,
    stop: CancellationToken,
    /// Its row will be asked for.
    coming: Mutex<Option<Coming>>,
}

pub(super) async fn retrieve(
    hands: Arc<Inner>,
    tools: Arc<Tools>,
    job: Retrieve,
    sink: &ProgressSink,
    cancel: &CancellationToken,
) -> Done {
    let key = job.key;
    // A child: when one file fails, the others of this job end, too, each where it can go on.
    let stop = cancel.child_token();
    match run(hands, tools, job, sink, stop).await {
        Ok(dir) => Done::one(key, Input::Retrieved(Ok(dir)), None),
        Err(failure) => {
            let fault = failure.stops_all.then(|| failure.fault.clone());
            Done::one(key, Input::Retrieved(Err(failure.fault)), fault)
        }
    }
}

async fn run(
    hands: Arc<Inner>,
    tools: Arc<Tools>,
    job: Retrieve,
    sink: &ProgressSink,
    stop: CancellationToken,
) -> Result<Option<PathBuf>, Failure> {
    let job = Arc::new(Retrieve { name: publish::safe_name(&job.name), ..job });
    let coming = Mutex::new(Some(tools.rows.announce()));
    let prepared = {
        let (hands, job) = (hands.clone(), job.clone());
        blocking(move || match earlier(&hands, &job) {
            Some((dir, manifest)) if manifest.complete => Ok(Err(dir)),
            // Somebody asks again: what could not be brought then may be there now.
            incomplete => open(&hands, &job).map(|(stage, turn)| {
                let enough = room(stage.tree(), 0, hands.config().min_free);
                Ok((incomplete, stage, turn, enough))
            }),
        })
    };
    let (old, stage, turn, enough) = match prepared.await.map_err(Failure::here)? {
        Ok(prepared) => prepared,
        Err(dir) => return Ok(Some(dir)),
    };
    let meter = sink.meter(job.key, TransferKind::Download);
    let ctx = Arc::new(Context { hands, tools, id: job.id, stage, turn, meter, stop, coming });
    let brought = match enough {
        Ok(()) => bring(&ctx, &job, old).await,
        Err(fault) => Err(Failure::here(fault)),
    };
    if brought.as_ref().is_err_and(|failure| failure.fault.class == Class::DiskFull) {
        let stuck = blocking(move || {
            ctx.turn.stuck();
            Ok(())
        });
        stuck.await.map_err(Failure::here)?;
    }
    brought
}

/// The download itself. `old`: what an earlier call could bring.
async fn bring(
    ctx: &Arc<Context>,
    job: &Arc<Retrieve>,
    old: Option<(PathBuf, Manifest)>,
) -> Result<Option<PathBuf>, Failure> {
    failpoint!("retrieve.begin");

    let (files, tree) = match collect(ctx, job).await? {
        Collected::Results(files, tree) => (files, tree),
        Collected::Nothing => {
            same_run(ctx, job).await?;
            discard(ctx).await;
            return Ok(None);
        }
        Collected::NotInState => {
            same_run(ctx, job).await?;
            return Err(Failure::new(
                Class::Transient,
                "the server does not give the results although the job has ended",
            ));
        }
    };
    let mut tree = tree;
    match same_run(ctx, job).await {
        Err(failure) if failure.fault.class == Class::NoRow && !files.is_empty() => {
            // Nobody has more of it than this. Whether it is all cannot be known any more.
            tree.refuse("", "the server dropped the job before it was sure that this is all");
            let dir = publish_all(ctx, job, files, tree, None).await?;
            return Err(Failure::new(
                Class::NoRow,
                format!("{}; what came is in {}", failure.fault.why, dir.display()),
            ));
        }
        checked => checked?,
    }
    if files.is_empty() && tree.dirs.is_empty() && tree.refused.is_empty() {
        discard(ctx).await;
        return Ok(None);
    }
    failpoint!("retrieve.complete");
    let missing = tree.refused.clone();
    let old = match old {
        Some((dir, manifest)) if !missing.is_empty() && manifest.files.len() >= files.len() => {
            // No better than what is there already.
            discard(ctx).await;
            return Err(incomplete(&dir, &missing));
        }
        old => old,
    };
    let dir = publish_all(ctx, job, files, tree, old).await?;
    failpoint!("retrieve.published");
    if missing.is_empty() { Ok(Some(dir)) } else { Err(incomplete(&dir, &missing)) }
}

/// Results of this run that an earlier call has published already, unchanged since: complete, or as far as they could be
/// brought then. Blocks.
fn earlier(hands: &Inner, job: &Retrieve) -> Option<(PathBuf, Manifest)> {
    let config = &hands.config();
    let found = publish::find(&job.parent, &job.name, &config.state_dir, &config.instance, job.key, |dir, m| {
        m.id == job.id && *m.run == *job.run && m.exclude == job.exclude && m.check(dir).is_ok()
    });
    if found.as_ref().is_some_and(|(_, manifest)| manifest.complete) {
        let stage = job.parent.join(stage_name(&config.instance, job.key));
        if let Err(error) = remove_stage(&stage) {
            tracing::warn!(%error, "cannot remove the leftovers of a finished download");
        }
    }
    found
}

fn incomplete(dir: &Path, missing: &[Missing]) -> Failure {
    let names: Vec<String> = missing.iter().take(3).map(|m| format!("\"{}\" ({})", m.name, m.why)).collect();
    let more = if missing.len() > 3 { format!(" and {} more", missing.len() - 3) } else { String::new() };
    Failure::new(
        Class::Rejected,
        format!(
            "not all results can be brought: {}{more}; the others are in {}, and the server keeps the job",
            names.join(", "),
            dir.display()
        ),
    )
}

/// Blocks.
fn open(hands: &Inner, job: &Retrieve) -> Result<(Stage, Turn), Fault> {
    let config = &hands.config();
    let about =
        About { instance: config.instance.clone(), key: job.key.to_string(), id: job.id, run: job.run.clone().into() };
    // Before the directory is touched: from now on nobody else removes it.
    let turn = hands.space.begin(&job.parent.join(stage_name(&config.instance, job.key)), job.key);
    let stage = Stage::open(&job.parent, job.key, &about, config.umask).map_err(|e| trouble::local(&e, &job.parent))?;
    Ok((stage, turn))
}

enum Collected {
    Results(BTreeMap<String, FileEntry>, Tree),
    Nothing,
    NotInState,
}

/// Downloads what the server lists. Seen on a real server: results are complete before the job's state says so, and are
/// not changed after that but removed together with the row, which is looked at again when all is here. So a second list
/// is only asked for when something that was listed was not given.
async fn collect(ctx: &Arc<Context>, job: &Retrieve) -> Result<Collected, Failure> {
    let mut files: BTreeMap<String, FileEntry> = BTreeMap::new();
    let mut not_given: BTreeMap<RelPath, String> = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut tree = match walk(&ctx.tools.act, ctx.id, &job.exclude, &ctx.stop).await? {
            Listed::Tree(tree) => tree,
            Listed::None if round == 0 => return Ok(Collected::Nothing),
            Listed::None | Listed::NotInState => return Ok(Collected::NotInState),
        };
        if let Some(gone) = files.keys().find(|path| RelPath::new(path).is_ok_and(|p| !tree.files.contains(&p))) {
            // Somebody else is removing them: the row will say so, and what it says counts.
            let why = format!("{gone} is not listed by the server any more");
            same_run(ctx, job).await?;
            return Err(Failure::new(Class::Transient, why));
        }
        let due: Vec<RelPath> = tree
            .files
            .iter()
            .filter(|p| !files.contains_key(p.as_str()) && !not_given.contains_key(*p))
            .cloned()
            .collect();
        if due.is_empty() {
            for (path, why) in not_given {
                // Not listed any more: it was on its way out.
                if tree.files.contains(&path) {
                    tree.refuse(path.as_str(), why);
                }
            }
            return Ok(Collected::Results(files, tree));
        }
        failpoint!("retrieve.listed");
        for (path, outcome) in fetch_all(ctx, due).await? {
            match outcome {
                Outcome::Here(entry) => {
                    files.insert(entry.path.clone(), entry);
                }
                Outcome::NotGiven(why) => {
                    not_given.insert(path, why);
                }
                Outcome::NotInState => return Ok(Collected::NotInState),
            }
        }
        if not_given.is_empty() {
            return Ok(Collected::Results(files, tree));
        }
    }
    Err(Failure::new(Class::Transient, "files are still being added to the results on the server"))
}

/// Several at a time. When one fails, the others stop where they can go on, and the first failure is told.
async fn fetch_all(ctx: &Arc<Context>, paths: Vec<RelPath>) -> Result<Vec<(RelPath, Outcome)>, Failure> {
    let mut all = Vec::with_capacity(paths.len());
    let mut failed: Option<Failure> = None;
    // Every future is polled to its end: a dropped one could leave its writer behind.
    let one = |path: RelPath| async move {
        let outcome = fetch(ctx, &path).await;
        (path, outcome)
    };
    let mut running = stream::iter(paths).map(one).buffer_unordered(ctx.hands.config().files_per_job.max(1));
    while let Some((path, outcome)) = running.next().await {
        match outcome {
            Ok(outcome) => all.push((path, outcome)),
            Err(failure) => {
                if failed.is_none() {
                    failed = Some(failure);
                    ctx.stop.cancel();
                }
            }
        }
    }
    failed.map_or(Ok(all), Err)
}

/// Makes sure that the server's row still is of the run whose results these are to be.
async fn same_run(ctx: &Arc<Context>, job: &Retrieve) -> Result<(), Failure> {
    // It does not wait for itself.
    drop(ctx.coming.lock().unwrap_or_else(PoisonError::into_inner).take());
    let row = tokio::select! {
        () = ctx.stop.cancelled() => return Err(Failure::stopped()),
        row = ctx.tools.rows.row(&ctx.tools.act, ctx.id) => row.map_err(|e| Failure::of_server(&e))?,
    };
    let Some(row) = row else {
        let why = format!("job {} was removed from the server before all its results were here", ctx.id);
        return Err(Failure::new(Class::NoRow, why));
    };
    if !rows::is_run(&row, &job.run) {
        discard(ctx).await;
        return Err(Failure::new(Class::Transient, format!("job {} has been run again meanwhile", ctx.id)));
    }
    if !row.arcstate.has_results() {
        let state = row.arcstate.word().unwrap_or("unknown");
        return Err(Failure::new(
            Class::Transient,
            format!("job {} is {state} and has no results to download now", ctx.id),
        ));
    }
    Ok(())
}

async fn discard(ctx: &Arc<Context>) {
    let ctx = ctx.clone();
    let removed = blocking(move || ctx.stage.remove().map_err(|e| trouble::local(&e, ctx.stage.tree())));
    if let Err(fault) = removed.await {
        tracing::warn!(why = fault.why, "cannot remove an abandoned download");
    }
}

/// Writes the manifest, makes the tree durable, and gives the directory its name. `old`: what an earlier call could bring.
/// All of that is in the tree, so it makes room, unless somebody has put something there that is not.
async fn publish_all(
    ctx: &Arc<Context>,
    job: &Arc<Retrieve>,
    files: BTreeMap<String, FileEntry>,
    tree: Tree,
    old: Option<(PathBuf, Manifest)>,
) -> Result<PathBuf, Failure> {
    let (ctx, job) = (ctx.clone(), job.clone());
    let published = blocking(move || {
        let config = &ctx.hands.config();
        let root = ctx.stage.tree().to_owned();
        let failed = |e: std::io::Error| trouble::local(&e, &root);
        let files: Vec<FileEntry> = files.into_values().collect();
        let dirs: Vec<RelPath> = tree.dirs.into_iter().collect();
        for dir in &dirs {
            ctx.stage.make_dir(dir).map_err(failed)?;
        }
        if !ctx.stage.is_new() {
            ctx.stage.keep_only(&files, &dirs).map_err(failed)?;
        }
        let mut manifest = Manifest {
            schema: manifest::SCHEMA.to_owned(),
            instance: config.instance.clone(),
            key: job.key.to_string(),
            server: config.server.clone(),
            id: job.id,
            name: job.job_name.as_deref().map(str::to_owned),
            run: job.run.clone().into(),
            complete: tree.refused.is_empty(),
            retrieved: Time::now().rfc3339(),
            exclude: job.exclude.clone(),
            dir: None,
            missing: tree.refused,
            files,
        };
        if !manifest.is_displaced() {
            manifest.write_into(&root).map_err(failed)?;
        }
        failpoint!("retrieve.sync.before");
        manifest::seal(&root, &manifest.files, &dirs, config.umask).map_err(failed)?;
        failpoint!("retrieve.sync.after");
        let gone = job.parent.join(gone_name(&config.instance, job.key));
        if let Some((old, manifest)) = old {
            // Under a name by which nobody takes it for results, until these have theirs.
            match manifest.is_all_of(&old) {
                Ok(()) => remove_tree(&gone)
                    .and_then(|()| std::fs::rename(&old, &gone))
                    .map_err(|e| trouble::local(&e, &old))?,
                Err(why) => tracing::info!(key = %job.key, why, "earlier results stay beside the new ones"),
            }
        }
        let moved = publish::publish(&root, &job.parent, &job.name, &ctx.hands.syncs, |to| {
            if manifest.is_displaced() {
                manifest.write_apart(&config.state_dir, to)?;
            }
            failpoint!("retrieve.manifest.written");
            Ok(())
        })
        .map_err(|e| trouble::local(&e, &job.parent))?;
        failpoint!("retrieve.renamed");
        let Moved::To(dir) = moved else {
            // The staging directory lies in the parent itself.
            let why = format!("{} changed its file system", job.parent.display());
            return Err(Fault::new(Class::Transient, why));
        };
        if let Err(error) = ctx.stage.remove().and_then(|()| remove_tree(&gone)) {
            tracing::warn!(%error, "cannot remove the leftovers of a finished download");
        }
        Ok(dir)
    });
    published.await.map_err(Failure::here)
}

/// Removes the beginning of a job's download into `parent`, with which nobody goes on. Blocking.
///
/// # Errors
/// Something of it cannot be removed.
pub fn remove_beginning(parent: &Path, instance: &str, key: Key) -> std::io::Result<()> {
    remove_stage(&parent.join(stage_name(instance, key)))
}

/// Removes what unfinished work left in `parent` for jobs that are not live any more, and tells of how many. Blocking.
///
/// # Errors
/// The directory cannot be read. What cannot be removed stays for the next time.
pub fn remove_stale(parent: &Path, instance: &str, is_live: impl Fn(Key) -> bool) -> std::io::Result<usize> {
    let entries = match std::fs::read_dir(parent) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(key) = name.to_str().and_then(|name| stage::key_of(instance, name)) else { continue };
        if is_live(key) {
            continue;
        }
        match remove_tree(&entry.path()) {
            Ok(()) => removed += 1,
            Err(error) => tracing::warn!(%error, "cannot remove the leftovers of an unfinished download"),
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_leftovers_of_dead_jobs_are_removed() {
        let dir = tempfile::tempdir().expect("dir");
        let names = [
            stage_name("me", Key(1)),
            stage_name("me", Key(2)),
            gone_name("me", Key(2)),
            stage_name("other", Key(2)),
            ".actd-x-j2.part".to_owned(),
            "job".to_owned(),
        ];
        for name in &names {
            std::fs::create_dir_all(dir.path().join(name).join("tree")).expect("mkdir");
        }
        let removed = remove_stale(dir.path(), "me", |key| key == Key(1)).expect("remove");
        let left: Vec<bool> = names.iter().map(|name| dir.path().join(name).exists()).collect();
        assert_eq!((removed, left), (2, vec![true, false, false, true, true, true]));
        assert_eq!(remove_stale(&dir.path().join("none"), "me", |_| false).expect("none"), 0);
    }
}
