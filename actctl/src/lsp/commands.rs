//! Commands of the editor that need the daemon: submit, kill, get results, read output. Each starts the daemon if none
//! runs, as the other verbs do.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use act_proto::MAX_SELECTORS;
use act_proto::jobs::{BulkParams, CatParams, ChangesParams, Description, Filter, GetParams, Job, SubmitParams};
use act_proto::method::{JobsCat, JobsChanges, JobsFetch, JobsKill, JobsSubmit};
use base64::Engine;
use serde_json::{Value, json};

use crate::ctx::{Ctx, Session};
use crate::delivery::Delivery;
use crate::failure::Failure;

/// The longest output that is opened, in bytes.
const MAX_OUTPUT: usize = 16 << 20;

/// What is to be done.
#[derive(Debug)]
pub enum Order {
    /// Submit a text.
    Submit {
        /// The description, as it is in the editor.
        text: String,
        /// Its file.
        path: PathBuf,
        /// A group of clusters, or URLs.
        group: Option<String>,
    },
    /// Kill jobs.
    Kill(Vec<String>),
    /// Get the results of some jobs, and have the server fetch what others have left.
    Fetch {
        /// Jobs that ended well.
        done: Vec<String>,
        /// Jobs that ended badly.
        failed: Vec<String>,
        /// Where results go.
        dir: PathBuf,
    },
    /// Read a file of a job.
    Output {
        /// The job.
        key: String,
        /// `stdout`, `stderr`, or a path.
        file: String,
    },
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The answer to the editor.
    pub value: Value,
    /// A sentence for the user.
    pub message: String,
    /// It is worth a warning.
    pub warning: bool,
    /// A file to open.
    pub open: Option<PathBuf>,
    /// Jobs as they are now.
    pub jobs: Vec<Job>,
}

/// Carries out a command.
///
/// # Errors
/// The daemon's.
pub async fn run(ctx: &Ctx, order: Order) -> Result<Outcome, Failure> {
    let mut session = ctx.session().await?;
    match order {
        Order::Submit { text, path, group } => submit(&mut session, text, &path, group).await,
        Order::Kill(keys) => kill(&mut session, keys).await,
        Order::Fetch { done, failed, dir } => fetch(&mut session, done, failed, &dir).await,
        Order::Output { key, file } => output(&mut session, key, file).await,
    }
}

async fn submit(
    session: &mut Session<'_>,
    text: String,
    path: &Path,
    group: Option<String>,
) -> Result<Outcome, Failure> {
    let base_dir = path.parent().unwrap_or(Path::new("/")).display().to_string();
    let params = SubmitParams {
        descriptions: vec![Description { text, path: Some(super::lenses::told(path)), base_dir }],
        clusterlist: group.clone(),
        client_ref: Some(format!("lsp-{}", uuid::Uuid::now_v7())),
        ..SubmitParams::default()
    };
    // With its name it may be repeated when the answer was lost.
    let reply = session.repeat::<JobsSubmit>(&params).await?;
    let keys: Vec<String> = reply.items.iter().filter_map(|i| i.key.clone()).collect();
    let errors: Vec<String> = reply
        .items
        .iter()
        .filter_map(|i| i.error.as_ref().map(|e| i.name.as_ref().map_or_else(|| e.clone(), |n| format!("{n}: {e}"))))
        .collect();
    if keys.is_empty() {
        let why = errors.first().cloned().unwrap_or_else(|| "the description holds no job".to_owned());
        return Err(Failure::usage(format!("not submitted: {why}")));
    }
    let to = group.unwrap_or_else(|| "default".to_owned());
    let mut message = match (keys.as_slice(), reply.items.first().and_then(|i| i.name.as_deref())) {
        ([key], Some(name)) => format!("Submitted {name} ({key}) to {to}"),
        ([key], None) => format!("Submitted {key} to {to}"),
        (many, _) => format!("Submitted {} jobs to {to}", many.len()),
    };
    if let Some(first) = errors.first() {
        message.push_str(&format!("; {} not submitted: {first}", errors.len()));
    }
    let jobs = look(session, &keys).await?;
    let value = json!({ "batch": reply.batch, "keys": keys, "errors": errors });
    Ok(Outcome { value, message, warning: !errors.is_empty(), open: None, jobs })
}

/// The jobs as they are.
async fn look(session: &mut Session<'_>, keys: &[String]) -> Result<Vec<Job>, Failure> {
    let mut jobs = Vec::new();
    for keys in keys.chunks(MAX_SELECTORS) {
        let params = ChangesParams { keys: keys.to_vec(), ..ChangesParams::default() };
        jobs.extend(session.call::<JobsChanges>(&params).await?.items);
    }
    Ok(jobs)
}

fn of(keys: &[String]) -> Filter {
    Filter { select: keys.to_vec(), ..Filter::default() }
}

async fn kill(session: &mut Session<'_>, keys: Vec<String>) -> Result<Outcome, Failure> {
    let mut killed = 0;
    let mut errors = Vec::new();
    for keys in keys.chunks(MAX_SELECTORS) {
        let bulk = session.repeat::<JobsKill>(&BulkParams { filter: of(keys), ..BulkParams::default() }).await?;
        killed += bulk.ok.len();
        errors.extend(bulk.failed.into_iter().map(|f| f.error));
    }
    let message = match errors.first() {
        None => format!("{killed} of {} jobs will be killed", keys.len()),
        Some(first) => format!("{killed} of {} jobs will be killed; {first}", keys.len()),
    };
    let jobs = look(session, &keys).await?;
    Ok(Outcome { value: json!({ "killed": killed }), message, warning: !errors.is_empty(), open: None, jobs })
}

async fn fetch(
    session: &mut Session<'_>,
    done: Vec<String>,
    failed: Vec<String>,
    dir: &Path,
) -> Result<Outcome, Failure> {
    let mut dirs = Vec::new();
    let mut errors: Vec<String> = Vec::new();
    for keys in done.chunks(MAX_SELECTORS) {
        let params = GetParams { filter: of(keys), dir: dir.display().to_string(), ..GetParams::default() };
        let mut delivery = Delivery::begin(session, &params).await?;
        loop {
            let news = delivery.next(session).await?;
            for item in news.items {
                dirs.extend(item.dir);
                errors.extend(item.errors);
            }
            if news.done {
                break;
            }
        }
    }
    let mut asked = 0;
    for keys in failed.chunks(MAX_SELECTORS) {
        let params = BulkParams { filter: of(keys), ..BulkParams::default() };
        asked += session.repeat::<JobsFetch>(&params).await?.ok.len();
    }
    let mut message = format!("Results of {} jobs are in {}", dirs.len(), dir.display());
    if let [one] = dirs.as_slice() {
        message = format!("Results are in {}", dir.join(one).display());
    }
    if asked > 0 {
        message.push_str(&format!("; the server fetches what {asked} failed jobs have left: ask again in a while"));
    }
    if let Some(first) = errors.first() {
        message.push_str(&format!("; {first}"));
    }
    let mut keys = done;
    keys.extend(failed);
    let jobs = look(session, &keys).await?;
    let value = json!({ "dir": dir, "dirs": dirs, "errors": errors });
    Ok(Outcome { value, message, warning: !errors.is_empty(), open: None, jobs })
}

async fn output(session: &mut Session<'_>, key: String, file: String) -> Result<Outcome, Failure> {
    let mut bytes = Vec::new();
    let mut offset = 0;
    loop {
        let params = CatParams { job: key.clone(), file: file.clone(), offset, length: None };
        let reply = session.call::<JobsCat>(&params).await?;
        if let Some(data) = reply.data {
            let piece = base64::engine::general_purpose::STANDARD.decode(data);
            bytes.extend(piece.map_err(|e| Failure::local(format!("the daemon's answer cannot be read: {e}")))?);
        }
        if reply.eof || reply.next <= offset || bytes.len() > MAX_OUTPUT {
            break;
        }
        offset = reply.next;
    }
    let path = store(&key, &file, &bytes)?;
    let message = if bytes.is_empty() { format!("{key} has written nothing to {file} yet") } else { String::new() };
    let value = json!({ "path": path, "bytes": bytes.len() });
    Ok(Outcome { value, message, warning: false, open: Some(path), jobs: Vec::new() })
}

/// Puts what was read where an editor can open it.
fn store(key: &str, file: &str, bytes: &[u8]) -> Result<PathBuf, Failure> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let home = std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cache"));
    let dir = cache.or(home).unwrap_or_else(std::env::temp_dir).join("actctl/output");
    let plain: String = file.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' }).collect();
    let path = dir.join(format!("{key}.{plain}.txt"));
    let failed = |e: std::io::Error| Failure::local(format!("{} cannot be written: {e}", path.display()));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
    let mut out =
        fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&path).map_err(failed)?;
    out.write_all(bytes).map_err(failed)?;
    Ok(path)
}
