//! `tail`: the end of a job's output, and with `-f` what comes after it.

use std::time::Duration;

use act_proto::jobs::{Filter, Job, Phase};
use act_proto::{ApiError, Kind};

use crate::cli_jobs::Tail;
use crate::cmd::cat::{not_yet, piece};
use crate::cmd::stat::list;
use crate::ctx::{Ctx, Session};
use crate::failure::{Failure, OK, Outcome, SOME_FAILED};
use crate::pick::Pick;

/// The most bytes of the last lines that are kept.
const KEPT: usize = 4 << 20;
/// How often a file that grows is looked at.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs the verb.
///
/// # Errors
/// No such job, or the daemon's.
pub async fn run(ctx: &Ctx, args: &Tail) -> Outcome {
    if ctx.out.json {
        return Err(Failure::usage("`tail` gives bytes as the job writes them, no JSON")
            .hint("`cat --json` gives a whole file as one value"));
    }
    let file = match (&args.file, args.stderr) {
        (Some(file), _) => file.as_str(),
        (None, true) => "stderr",
        (None, false) => "stdout",
    };
    let mut session = ctx.session().await?;
    // Once: `last` must not become another job while it is followed.
    let job = only(ctx, &mut session, &args.job).await?;
    // Of a large file only the end is asked for.
    let size = piece(&mut session, &job.key, file, 0, Some(1)).await?.size.unwrap_or(0);
    let mut offset = size.saturating_sub(KEPT as u64);
    let mut kept: Vec<u8> = Vec::new();
    let (mut there, mut ended);
    loop {
        let piece = piece(&mut session, &job.key, file, offset, None).await?;
        there = piece.bytes.is_some() || offset > 0;
        ended = piece.ended;
        kept.extend_from_slice(piece.bytes.as_deref().unwrap_or_default());
        let start = last_lines(&kept, args.lines).max(kept.len().saturating_sub(KEPT));
        kept.drain(..start);
        if piece.eof || piece.next <= offset {
            offset = piece.next.max(offset);
            break;
        }
        offset = piece.next;
    }
    ctx.out.bytes(&kept)?;
    if args.follow && !ended {
        there |= follow(ctx, &mut session, &job, file, offset).await?;
    }
    if !there {
        ctx.out.error(&not_yet(&job, file), None);
        return Ok(SOME_FAILED);
    }
    Ok(OK)
}

/// The one job that a selector names.
async fn only(ctx: &Ctx, session: &mut Session<'_>, selector: &str) -> Result<Job, Failure> {
    let pick = Pick { filter: Filter { select: vec![selector.to_owned()], ..Filter::default() }, ..Pick::default() };
    let (mut jobs, _) = list(ctx, session, &pick, true).await?;
    // A name may have been used before: what is finished with is meant only if nothing else is.
    if jobs.iter().any(|job| job.phase != Phase::Closed) {
        jobs.retain(|job| job.phase != Phase::Closed);
    }
    match (jobs.pop(), jobs.len()) {
        (Some(job), 0) => Ok(job),
        (None, _) => Err(ApiError::new(Kind::NoSuchJob, format!("no job is named by `{selector}`")).into()),
        (_, more) => {
            Err(ApiError::new(Kind::NotOneJob, format!("`{selector}` names {} jobs, not one", more + 1)).into())
        }
    }
}

/// Prints a file from `offset` on until the job writes no more; gives whether there was such a file.
///
/// # Errors
/// The daemon's.
pub async fn follow(
    ctx: &Ctx,
    session: &mut Session<'_>,
    job: &Job,
    file: &str,
    mut offset: u64,
) -> Result<bool, Failure> {
    let mut said = false;
    loop {
        match piece(session, &job.key, file, offset, None).await {
            Ok(piece) => {
                match &piece.bytes {
                    Some(bytes) => ctx.out.bytes(bytes)?,
                    // Nor is there anything new of one that is read to its end.
                    None if piece.ended || offset > 0 => {}
                    None if !std::mem::replace(&mut said, true) => {
                        ctx.out.note(&format!("waiting: {}", not_yet(job, file)));
                    }
                    None => {}
                }
                offset = piece.next.max(offset);
                if piece.eof && piece.ended {
                    return Ok(piece.bytes.is_some() || offset > 0);
                }
                if piece.eof {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            // The computing element, or the way to it, may be away for a while.
            Err(f) if f.retryable => {
                ctx.out.debug(&f.message);
                tokio::time::sleep(PAUSE * 5).await;
            }
            Err(f) => return Err(f),
        }
    }
}

/// Where the last `lines` lines of the text begin.
fn last_lines(text: &[u8], lines: usize) -> usize {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    if lines == 0 {
        return text.len();
    }
    body.iter().enumerate().rev().filter(|(_, b)| **b == b'\n').nth(lines - 1).map_or(0, |(i, _)| i + 1)
}

#[cfg(test)]
mod tests {
    use super::last_lines;

    #[test]
    fn the_last_lines() {
        let text = b"a\nb\nc\n";
        assert_eq!(&text[last_lines(text, 1)..], b"c\n");
        assert_eq!(&text[last_lines(text, 2)..], b"b\nc\n");
        assert_eq!(last_lines(text, 9), 0);
        assert_eq!(last_lines(text, 0), text.len());
        assert_eq!(&b"a\nb"[last_lines(b"a\nb", 1)..], b"b");
    }
}
