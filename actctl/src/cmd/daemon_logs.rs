//! `daemon logs`: the journal of the service, or the log file of a daemon that actctl has started.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Duration;

use act_proto::start::log_path;

use crate::ctx::Ctx;
use crate::failure::{Failure, OK, Outcome};
use crate::service::{self, SERVICE, SOCKET};

/// The most bytes of the last lines. A log is put aside before it is so large.
const MAX: u64 = 16 << 20;
/// How often a log that grows is looked at.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs the verb.
///
/// # Errors
/// There is no log.
pub async fn run(ctx: &Ctx, follow: bool, lines: usize, request: Option<&str>) -> Outcome {
    if let Some(id) = request
        && !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    {
        return Err(Failure::usage(format!("`{id}` is no request id")).hint("they look like 3f2a1-17"));
    }
    if ctx.out.json {
        return Err(Failure::usage("`daemon logs` gives lines as they were written, no JSON")
            .hint("`events --json` tells what happens"));
    }
    let instance = ctx.instance()?;
    if instance.name == "default" && (service::is_active(SERVICE).await || service::is_enabled(SOCKET).await) {
        return Err(journal(follow, lines, request));
    }
    let path = log_path(&instance.paths().state);
    let bad = |e: io::Error| {
        Failure::local(format!("no log: {}: {e}", path.display())).hint("no daemon of yours has run here yet")
    };
    ctx.out.text(&tail_of(&path, lines, |line| is_about(line, request)).map_err(bad)?)?;
    if !follow {
        return Ok(OK);
    }
    let mut file = File::open(&path).map_err(bad)?;
    let mut at = file.seek(SeekFrom::End(0)).map_err(bad)?;
    let mut unfinished = Vec::new();
    loop {
        let mut piece = Vec::new();
        file.by_ref().take(1 << 20).read_to_end(&mut piece).map_err(bad)?;
        at += piece.len() as u64;
        unfinished.extend_from_slice(&piece);
        let whole = unfinished.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
        for line in unfinished.drain(..whole).collect::<Vec<u8>>().split_inclusive(|b| *b == b'\n') {
            if is_about(&String::from_utf8_lossy(line), request) {
                ctx.out.bytes(line)?;
            }
        }
        if piece.is_empty() {
            tokio::time::sleep(PAUSE).await;
            // Put aside and begun anew, when a new daemon was started.
            if std::fs::metadata(&path).is_ok_and(|m| m.len() < at) {
                file = File::open(&path).map_err(bad)?;
                at = 0;
            }
        }
    }
}

/// Becomes `journalctl`, which knows its terminal, its pager and Ctrl-C; returns only if that cannot be.
fn journal(follow: bool, lines: usize, request: Option<&str>) -> Failure {
    let e = std::process::Command::new("journalctl").args(service::journal_args(follow, lines, request)).exec();
    Failure::local(format!("the service's log is in the journal, and journalctl cannot be run: {e}"))
}

/// The last lines of a file.
///
/// # Errors
/// It cannot be read.
pub fn tail(path: &Path, lines: usize) -> io::Result<String> {
    tail_of(path, lines, |_| true)
}

/// Whether a line of the log was written for the command of that request id.
fn is_about(line: &str, request: Option<&str>) -> bool {
    let Some(id) = request else { return true };
    line.match_indices(id).any(|(at, _)| !line[at + id.len()..].starts_with(|c: char| c.is_ascii_alphanumeric()))
}

fn tail_of(path: &Path, lines: usize, keep: impl Fn(&str) -> bool) -> io::Result<String> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(MAX)))?;
    let mut bytes = Vec::new();
    file.take(MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().filter(|line| keep(line)).collect();
    Ok(all[all.len().saturating_sub(lines)..].iter().flat_map(|l| [l, "\n"]).collect())
}

#[cfg(test)]
mod tests {
    use super::{is_about, tail};

    #[test]
    fn lines_of_one_request() {
        let line = "INFO for{request=3f2a1-17,3f2a1-2}: answered";
        assert!(is_about(line, None) && is_about(line, Some("3f2a1-17")) && is_about(line, Some("3f2a1-2")));
        assert!(!is_about(line, Some("3f2a1-1")));
    }

    #[test]
    fn the_last_lines_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "a\nb\nc\n").unwrap();
        assert_eq!(tail(&path, 2).unwrap(), "b\nc\n");
        assert_eq!(tail(&path, 9).unwrap(), "a\nb\nc\n");
        assert!(tail(&dir.path().join("none"), 1).is_err());
    }
}
