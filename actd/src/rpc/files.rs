//! `jobs.cat` and `jobs.files`: from the results here if the job has any, else from its computing element.

use std::sync::Arc;
use std::time::Duration;

use act_proto::error::{ApiError, Kind};
use act_proto::jobs::{CatParams, CatReply, FileEntry, FileList};
use act_proto::method::{JobsCat, JobsFiles};
use base64::Engine as _;
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use serde_json::Value;

use super::Api;
use super::look::one;
use super::register::register as add;
use crate::fsutil::RelPath;
use crate::job::fault::{Class, Fault};
use crate::job::next::{Action, Next, next};
use crate::job::{Job, Phase, Time};
use crate::work::{Piece, SessionJob, cat_local, list_local};

/// Largest piece of a file in one reply.
const MAX_PIECE: u64 = 1 << 20;
/// The names of a job's stdout and stderr are asked for again after this time.
const NAMES: Duration = Duration::from_secs(10);

pub(super) fn register(module: &mut RpcModule<Api>) -> Result<(), RegisterMethodError> {
    add::<JobsCat, _, _>(module, |api, p| async move { cat(&api, p).await })?;
    add::<JobsFiles, _, _>(module, |api, p| async move { files(&api, &p.job).await })?;
    Ok(())
}

/// A failure to read for somebody.
fn failed(fault: Fault) -> ApiError {
    let kind = match fault.class {
        Class::Auth => Kind::NoProxy,
        Class::Local | Class::DiskFull => Kind::LocalFile,
        Class::NoRow => Kind::NotAvailable,
        Class::Rejected | Class::Transient | Class::Ambiguous => Kind::CeFailed,
    };
    let error = ApiError::new(kind, fault.why);
    if kind == Kind::NoProxy {
        error.hint("make a proxy (`arcproxy`); `actctl proxy --status` shows which is used")
    } else {
        error
    }
}

async fn cat(api: &Api, p: CatParams) -> Result<CatReply, ApiError> {
    if p.file.is_empty() {
        return Err(ApiError::new(
            Kind::BadParams,
            "`file` is missing: stdout, stderr, or a path among the job's files",
        ));
    }
    if !matches!(p.file.as_str(), "stdout" | "stderr") {
        RelPath::new(&p.file).map_err(|e| ApiError::new(Kind::BadParams, e.to_string()))?;
    }
    let job = one(api, &p.job)?;
    let length = p.length.unwrap_or(MAX_PIECE).clamp(1, MAX_PIECE);
    let ended = job.arcstate().is_final() || matches!(job.phase, Phase::Closed { .. });
    let piece = match job.results() {
        Some(dir) => match local_name(api, &job, &p.file)? {
            Some(name) => cat_local(dir, &name, p.offset, length).await.map_err(failed)?,
            None => None,
        },
        None => remote(api, &job, &p, length).await?,
    };
    Ok(match piece {
        Some(piece) => {
            let next = p.offset + piece.bytes.len() as u64;
            let data = base64::engine::general_purpose::STANDARD.encode(&piece.bytes);
            CatReply { data: Some(data), size: Some(piece.total), next, eof: next >= piece.total, ended }
        }
        None => CatReply { data: None, size: None, next: p.offset, eof: true, ended: ended && !is_coming(api, &job) },
    })
}

/// Whether the results of a job that has ended are still to come here by themselves: its computing element may have
/// dropped them by then.
fn is_coming(api: &Api, job: &Job) -> bool {
    let due = || next(job, Time::now(), &api.config.get().policy());
    job.results().is_none()
        && (matches!(job.phase, Phase::Retrieving { .. }) || matches!(due(), Next::Do(Action::Retrieve)))
}

/// The path in the results that `stdout` or `stderr` means; none: the job has none.
fn local_name(api: &Api, job: &Job, file: &str) -> Result<Option<String>, ApiError> {
    if file != "stdout" && file != "stderr" {
        return Ok(Some(file.to_owned()));
    }
    let Some(spec) = api.engine.spec(job.key) else {
        let what = format!("what the {file} of job {} is called is not known: another client submitted it", job.key);
        return Err(ApiError::new(Kind::BadParams, what).hint("name the file; `actctl ls` lists them"));
    };
    let (stdout, stderr) = if xrsl::adl::is_xml(&spec.text) {
        let Ok(adl) = xrsl::adl::read(&spec.text) else { return Ok(None) };
        (adl.stdout, adl.stderr)
    } else {
        let parsed = xrsl::parse(&spec.text);
        let Some(job) = parsed.jobs().first() else { return Ok(None) };
        (job.stdout.clone(), if job.join { job.stdout.clone() } else { job.stderr.clone() })
    };
    Ok(if file == "stdout" { stdout } else { stderr })
}

async fn remote(api: &Api, job: &Arc<Job>, p: &CatParams, length: u64) -> Result<Option<Piece>, ApiError> {
    let Some((place, stdout, stderr)) = session(api, job).await? else { return Ok(None) };
    let file = match p.file.as_str() {
        "stdout" => stdout,
        "stderr" => stderr,
        other => Some(other.to_owned()),
    };
    let Some(file) = file else { return Ok(None) };
    match api.hands.cat(&place, &file, p.offset, length).await {
        // The computing element has dropped it: nothing will come of it any more.
        Err(fault) if fault.class == Class::NoRow => Ok(None),
        piece => piece.map_err(failed),
    }
}

/// Where a job's session is, and the names of its stdout and stderr there; none: it has no session yet.
async fn session(api: &Api, job: &Job) -> Result<Option<(SessionJob, Option<String>, Option<String>)>, ApiError> {
    let (Some(id), true) = (job.id(), job.on_server()) else { return Ok(None) };
    let arc = ["JobID", "cluster", "IDFromEndpoint", "StdOut", "StdErr"];
    // They come with the job's first states: an answer from before its last change may lack them.
    let unchanged = u64::try_from(Time::now().since(job.changed)).map_or(Duration::ZERO, Duration::from_millis);
    let rows = api.columns.read(&api.hands, &[id], &[], &arc, NAMES.min(unchanged)).await?;
    let Some(row) = rows.get(&id) else { return Ok(None) };
    let text = |name: &str| row.get(name).and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned);
    // What a job throws away has no name.
    let output = |name: &str| text(name).filter(|file| file != "/dev/null");
    let (stdout, stderr) = (output("a_StdOut"), output("a_StdErr"));
    let place = match (text("a_JobID"), text("a_cluster"), text("a_IDFromEndpoint")) {
        (Some(run), _, _) => SessionJob::Run(run),
        (None, Some(cluster), Some(id)) => SessionJob::At { cluster, id },
        _ => return Ok(None),
    };
    Ok(Some((place, stdout, stderr)))
}

async fn files(api: &Api, selector: &str) -> Result<FileList, ApiError> {
    let job = one(api, selector)?;
    if let Some(dir) = job.results() {
        let files = list_local(&api.hands, job.key, dir).await.map_err(failed)?;
        let entry = |f: crate::work::FileEntry| FileEntry {
            path: f.path,
            size: Some(f.size),
            sha256: Some(f.sha256).filter(|s| !s.is_empty()),
        };
        return Ok(FileList { place: "results".to_owned(), files: files.into_iter().map(entry).collect() });
    }
    let none = || {
        ApiError::new(
            Kind::NotAvailable,
            format!("job {} has no files yet: it has not reached a computing element", job.key),
        )
    };
    let (place, _, _) = session(api, &job).await?.ok_or_else(none)?;
    let found = api.hands.session_files(&place).await.map_err(failed)?.ok_or_else(none)?;
    let files =
        found.into_iter().filter(|f| !f.is_dir).map(|f| FileEntry { path: f.path, size: None, sha256: None }).collect();
    Ok(FileList { place: "session".to_owned(), files })
}
