//! `cat`: the bytes of jobs' stdout, stderr or other files.

use act_proto::jobs::{CatParams, CatReply, Job};
use act_proto::method::JobsCat;
use base64::Engine;
use serde_json::json;

use crate::cli_jobs::Cat;
use crate::cmd::stat::list;
use crate::ctx::{Ctx, Session};
use crate::failure::{Failure, INTERRUPTED, OK, Outcome, SOME_FAILED};
use crate::pick::pick;

/// With `--json`: the most bytes of a file.
const MAX_JSON: usize = 256 << 20;

/// Runs the verb.
///
/// # Errors
/// What concerns no single job.
pub async fn run(ctx: &Ctx, args: &Cat) -> Outcome {
    let pick = pick(&args.jobs)?;
    let file = match (&args.file, args.stderr) {
        (Some(file), _) => file.as_str(),
        (None, true) => "stderr",
        (None, false) => "stdout",
    };
    let mut session = ctx.session().await?;
    let (jobs, _) = list(ctx, &mut session, &pick, false).await?;
    let mut exit = if jobs.is_empty() && args.jobs.fail_empty { SOME_FAILED } else { OK };
    let mut items = Vec::new();
    for job in &jobs {
        let mut bytes = Vec::new();
        let end = if ctx.out.json {
            whole(&mut session, job, file, &mut |piece| {
                if bytes.len() + piece.len() > MAX_JSON {
                    return Err(Failure::usage(format!("{file} of job {} is too large for one value", label(job)))
                        .hint("without --json it comes as it is, however large"));
                }
                bytes.extend_from_slice(piece);
                Ok(())
            })
            .await
        } else {
            whole(&mut session, job, file, &mut |piece| ctx.out.bytes(piece)).await
        };
        let mut error = None;
        match end {
            Ok(true) => {}
            Ok(false) => error = Some(not_yet(job, file)),
            Err(f) if f.message.is_empty() || f.exit == INTERRUPTED => return Err(f),
            Err(f) if jobs.len() == 1 => return Err(f),
            Err(f) => error = Some(format!("Error fetching {file} for job {}: {}", label(job), f.message)),
        }
        if let Some(error) = &error {
            exit = SOME_FAILED;
            if !ctx.out.json {
                ctx.out.error(error, None);
            }
        }
        if ctx.out.json {
            let data = base64::engine::general_purpose::STANDARD.encode(&bytes);
            let text = String::from_utf8(bytes).ok();
            items.push(json!({
                "key": job.key, "id": job.id, "name": job.name, "file": file, "text": text, "base64": data, "error": error,
            }));
        }
    }
    if ctx.out.json {
        ctx.out.value(&json!({ "schema": "act.cat/1", "items": items }))?;
    }
    Ok(exit)
}

/// A job as act names it in messages.
fn label(job: &Job) -> String {
    let id = job.id.map_or_else(|| job.key.clone(), |id| id.to_string());
    format!("{id} {}", job.name.as_deref().unwrap_or("None"))
}

/// What act says when the computing element has not told yet where the file is.
#[must_use]
pub fn not_yet(job: &Job, file: &str) -> String {
    format!("{file} not yet available for job {}", label(job))
}

/// Hands a file on, piece by piece, as far as it goes now; `false`: there is none yet.
///
/// # Errors
/// The daemon's, and those of `take`.
pub async fn whole(
    session: &mut Session<'_>,
    job: &Job,
    file: &str,
    take: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    let mut offset = 0;
    loop {
        let piece = piece(session, &job.key, file, offset, None).await?;
        let Some(bytes) = &piece.bytes else { return Ok(offset > 0) };
        take(bytes)?;
        if piece.eof || piece.next <= offset {
            return Ok(true);
        }
        offset = piece.next;
    }
}

/// A piece of a file.
#[derive(Debug)]
pub struct Piece {
    /// The bytes; none: the job has no such file yet.
    pub bytes: Option<Vec<u8>>,
    /// Bytes of the whole file, as it is now.
    pub size: Option<u64>,
    /// Where the next one starts.
    pub next: u64,
    /// There is nothing after it now.
    pub eof: bool,
    /// Nothing will come after it: the job writes no more.
    pub ended: bool,
}

/// Reads a piece, of the length that the daemon likes best if none is given.
///
/// # Errors
/// The daemon's.
pub async fn piece(
    session: &mut Session<'_>,
    job: &str,
    file: &str,
    offset: u64,
    length: Option<u64>,
) -> Result<Piece, Failure> {
    let params = CatParams { job: job.to_owned(), file: file.to_owned(), offset, length };
    let reply: CatReply = session.call::<JobsCat>(&params).await?;
    let bytes = reply.data.map(|data| base64::engine::general_purpose::STANDARD.decode(data)).transpose();
    let bytes = bytes.map_err(|e| Failure::daemon(format!("the daemon's answer is not base64: {e}")))?;
    Ok(Piece { bytes, size: reply.size, next: reply.next, eof: reply.eof, ended: reply.ended })
}
