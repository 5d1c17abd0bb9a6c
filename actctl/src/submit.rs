//! Submitting, for `sub` and `run`: reads files, hands them to the daemon, follows the jobs until each is on the server
//! or has failed, and takes back what is not when the user gives up. Prints what act prints; decides no exit code.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, Instant};

use act_proto::MAX_SELECTORS;
use act_proto::jobs::{BulkParams, Description, Filter, SubmitItem, SubmitParams};
use act_proto::method::{JobsKill, JobsSubmit};

use crate::cli_jobs::Sub;
use crate::ctx::{Ctx, Session};
use crate::failure::{CREDENTIAL, DAEMON, DESCRIPTION, Failure, INTERRUPTED, LOCAL, SERVER};
use crate::follow::{Fate, Item, Submission};
use crate::progress::Progress;
use crate::sweep::{rows_of, rows_of_ranges};
use crate::watch::Watch;

/// The most descriptions of one call.
const MAX_FILES: usize = 1_000;
/// The most bytes of one call's descriptions, as JSON; the daemon takes 16 MiB in all.
const MAX_BYTES: usize = 15 << 20;
const TOO_LARGE: &str = "is larger than 15 MiB";
/// After Ctrl-C: how long to wait for the answer to a call that is under way.
const ANSWER: Duration = Duration::from_secs(20);
/// How long to wait while the server is away.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long one call waits for changes.
const CHANGES_MS: u64 = 10_000;

/// A file that was read.
#[derive(Debug)]
struct Text {
    index: usize,
    path: String,
    text: String,
}

/// What is to be submitted.
#[derive(Debug)]
pub struct Input {
    texts: Vec<Text>,
    refused: Vec<(usize, Item)>,
    params: SubmitParams,
    base_dir: String,
}

impl Input {
    /// Reads the files. One that cannot be read is a failed item of its own, as in act.
    ///
    /// # Errors
    /// A directory whose name is not UTF-8, or no current directory.
    pub fn read(args: &Sub) -> Result<Self, Failure> {
        let (mut texts, mut refused) = (Vec::new(), Vec::new());
        let rows = match &args.each {
            Some(file) => Some(rows_of(file)?),
            None if args.range.is_empty() => None,
            None => Some(rows_of_ranges(&args.range)?),
        };
        for (index, file) in args.files.iter().enumerate() {
            let path = file.display().to_string();
            let text = read(file);
            match text.and_then(|text| sweep(&path, text, rows.as_deref()).map_err(|why| (why, DESCRIPTION))) {
                Ok(all) => {
                    for (path, text) in all {
                        if json_len(&text) > MAX_BYTES {
                            refused.push((index, Item::refused(&path, None, TOO_LARGE.into(), LOCAL)));
                        } else {
                            texts.push(Text { index, path, text });
                        }
                    }
                }
                Err((why, exit)) => refused.push((index, Item::refused(&path, None, why, exit))),
            }
        }
        let params = SubmitParams {
            clusterlist: Some(args.clusterlist.clone()),
            webdav: args.webdav.webdav.clone(),
            batch: args.batch.clone(),
            results: args.results.as_deref().map(absolute).transpose()?,
            no_dedupe: args.no_dedupe,
            no_download: args.no_download,
            use_jobname: args.use_jobname,
            force: args.force,
            dry_run: args.dry_run,
            min_lifetime_s: match args.min_lifetime.as_deref() {
                None | Some("walltime") => None,
                Some(text) => Some(crate::pick::duration(text)?.as_secs()),
            },
            fits_lifetime: args.min_lifetime.as_deref() == Some("walltime"),
            ..SubmitParams::default()
        };
        let base_dir = absolute(args.base_dir.as_deref().unwrap_or(Path::new(".")))?;
        Ok(Self { texts, refused, params, base_dir })
    }

    /// How many jobs this is about. A file that cannot be read, or is refused, counts as one.
    pub fn jobs(&self) -> usize {
        let of = |text: &Text| xrsl::submissions(&text.text).map_or(1, |jobs| jobs.len());
        self.texts.iter().map(of).sum::<usize>() + self.refused.len()
    }

    /// Sends the descriptions, in as few calls as possible; the answers come into `submission` in the order of the files.
    /// No further call is made once `stop` is set.
    ///
    /// # Errors
    /// The daemon refuses a call. What it took by earlier ones is in `submission`.
    async fn send(
        mut self,
        ctx: &Ctx,
        session: &mut Session<'_>,
        submission: &mut Submission,
        stop: &Cell<bool>,
    ) -> Result<(), Failure> {
        let reference = uuid::Uuid::new_v4();
        let connection = session.connection();
        let mut refused = self.refused.into_iter().peekable();
        let mut findings = Findings::default();
        let mut rest = self.texts.as_slice();
        for call in 0.. {
            if rest.is_empty() || stop.get() {
                break;
            }
            let (now, later) = rest.split_at(piece(rest));
            rest = later;
            self.params.descriptions = now
                .iter()
                .map(|t| Description {
                    text: t.text.clone(),
                    path: Some(known_as(&t.path)),
                    base_dir: self.base_dir.clone(),
                })
                .collect();
            self.params.client_ref = Some(format!("actctl-{reference}-{call}"));
            // The reference makes it safe to ask again when the answer was lost.
            let reply = session.repeat::<JobsSubmit>(&self.params).await.map_err(|f| match f.exit {
                DAEMON => f.hint(
                    "it may have taken the jobs: `actctl daemon start`, and `actctl stat` before you submit again",
                ),
                _ => f,
            })?;
            if call == 0 {
                submission.rev = reply.rev;
                submission.batch.clone_from(&reply.batch);
                self.params.batch = Some(reply.batch);
            }
            if session.connection() != connection {
                // The revisions of a daemon that was started anew begin anew.
                submission.rev = 0;
            }
            for item in reply.items {
                let Some(text) = now.get(item.description) else {
                    return Err(Failure::daemon("the daemon answered about a description that was not sent"));
                };
                while let Some((_, earlier)) = refused.next_if(|(index, _)| *index < text.index) {
                    submission.push(earlier);
                }
                findings.show(ctx, &text.path, &item);
                submission.push(Item::from_reply(&text.path, item));
            }
        }
        findings.summary(ctx);
        refused.for_each(|(_, item)| submission.push(item));
        Ok(())
    }
}

/// Hands everything to the daemon. If it refuses some of it, or the user gives up, all that it has taken is taken back: a
/// command that is typed again must not submit it twice.
///
/// # Errors
/// The daemon refuses, or does not answer.
pub async fn hand_over<I: Future>(
    ctx: &Ctx,
    session: &mut Session<'_>,
    input: Input,
    interrupt: &mut Pin<&mut I>,
) -> Result<(Submission, End), Failure> {
    let mut submission = Submission::default();
    let stop = Cell::new(false);
    let sent = {
        let sending = input.send(ctx, session, &mut submission, &stop);
        tokio::pin!(sending);
        tokio::select! {
            sent = &mut sending => sent,
            _ = interrupt.as_mut() => {
                ctx.out.note("Cancelling submission ...");
                stop.set(true);
                // The daemon finishes a call whatever we do: its answer is needed to take the jobs back.
                tokio::time::timeout(ANSWER, sending).await.unwrap_or_else(|_| {
                    Err(Failure::interrupted("interrupted before the daemon had answered").hint("see `actctl stat`"))
                })
            }
        }
    };
    if sent.is_ok() && !stop.get() {
        return Ok((submission, End::Decided));
    }
    let keys = submission.pending();
    if sent.is_err() && !keys.is_empty() {
        ctx.out.note(&format!("The {} jobs that had been accepted before are cancelled.", keys.len()));
    }
    take_back(ctx, session, &mut submission, keys).await;
    sent?;
    submission.fail_pending("cancelled", None, INTERRUPTED);
    Ok((submission, End::Interrupted))
}

/// The descriptions that a file stands for: itself, or one for each row of a sweep.
fn sweep(path: &str, text: String, rows: Option<&[xrsl::Row]>) -> Result<Vec<(String, String)>, String> {
    match rows {
        None => Ok(vec![(path.to_owned(), text)]),
        Some(rows) => crate::sweep::expand(path, &text, rows),
    }
}

/// A description's name for the daemon: absolute, so that it says which file it was from wherever it is asked. Links are
/// kept; `-` is standard input.
fn known_as(path: &str) -> String {
    if path == "-" {
        return path.to_owned();
    }
    std::path::absolute(path).map_or_else(|_| path.to_owned(), |p| p.display().to_string())
}

/// The text of a description, or why there is none, with the exit code for that.
fn read(path: &Path) -> Result<String, (String, u8)> {
    let mut bytes = Vec::new();
    let limit = MAX_BYTES as u64;
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|f| f.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|e| (format!("cannot be read: {e}"), LOCAL))?;
    if bytes.len() as u64 == limit {
        return Err((TOO_LARGE.into(), LOCAL));
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let line = 1 + e.as_bytes()[..at].iter().filter(|b| **b == b'\n').count();
        let byte = e.as_bytes()[at];
        let why = format!(
            "is not UTF-8: byte {byte:#04x} in line {line}; convert it, for example with `iconv -f latin1 -t utf-8`"
        );
        (why, DESCRIPTION)
    })
}

/// The path made absolute, without following links: the user's own names stay in messages.
///
/// # Errors
/// It is not UTF-8, or there is no current directory.
pub fn absolute(path: &Path) -> Result<String, Failure> {
    let full: PathBuf = if path == Path::new(".") { std::env::current_dir() } else { std::path::absolute(path) }
        .map_err(|e| Failure::local(format!("{}: {e}", path.display())))?;
    full.into_os_string().into_string().map_err(|p| Failure::local(format!("{} is not UTF-8", Path::new(&p).display())))
}

/// How many of the texts go into one call.
fn piece(texts: &[Text]) -> usize {
    let mut bytes = 0;
    for (i, text) in texts.iter().enumerate().take(MAX_FILES) {
        bytes += json_len(&text.text) + json_len(&text.path) + 4_500;
        if i > 0 && bytes > MAX_BYTES {
            return i;
        }
    }
    texts.len().min(MAX_FILES)
}

/// The length of a text as a JSON string.
fn json_len(text: &str) -> usize {
    let escape = |b: u8| match b {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(escape).sum::<usize>() + 2
}

/// Findings in descriptions, in the form that editors and people know from compilers. What is found in many of them is
/// shown once: a thousand descriptions are mostly alike.
#[derive(Default)]
struct Findings {
    /// By code and sentence: in how many places.
    seen: BTreeMap<(String, String), usize>,
}

impl Findings {
    fn show(&mut self, ctx: &Ctx, path: &str, item: &SubmitItem) {
        for d in item.diagnostics.iter().filter(|d| d.level != "hint" || ctx.out.verbose > 0) {
            let times = self.seen.entry((d.code.clone(), d.message.clone())).or_default();
            *times += 1;
            if *times > 1 && d.level != "error" {
                continue;
            }
            ctx.out.note(&format!("{path}:{}:{}: {}[{}]: {}", d.line, d.column, d.level, d.code, d.message));
            if let Some(help) = &d.help {
                ctx.out.note(&format!("  help: {help}"));
            }
        }
    }

    fn summary(&self, ctx: &Ctx) {
        for ((code, _), times) in self.seen.iter().filter(|((code, _), n)| **n > 1 && !code.starts_with('E')) {
            ctx.out.note(&format!("{code}: the same in {} more places", times - 1));
        }
    }
}

/// Why following came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything is decided.
    Decided,
    /// Ctrl-C: what was pending has been taken back.
    Interrupted,
}

/// Follows the jobs until all are decided, and prints their lines in the order of the files. `interrupt` ends when the
/// user wants it to end.
///
/// # Errors
/// The daemon is lost, or the reader of stdout has gone (then what is pending is taken back).
pub async fn follow<I: Future>(
    ctx: &Ctx,
    session: &mut Session<'_>,
    submission: &mut Submission,
    interrupt: &mut Pin<&mut I>,
) -> Result<End, Failure> {
    let total = submission.items.len();
    let mut progress = Progress::new(&ctx.out, total as u64, "submitting");
    let mut printed = 0;
    let mut watch = Watch::since(submission.rev).settled();
    let mut moved = Instant::now();
    loop {
        let shown = show(ctx, submission, &mut printed, &progress);
        let keys = submission.pending();
        if let Err(gone) = shown {
            take_back(ctx, session, submission, keys).await;
            return Err(gone);
        }
        if keys.is_empty() {
            return Ok(End::Decided);
        }
        let waiting = submission.all_wait_for();
        match &waiting {
            Some((reason, message)) if reason == "credential" || reason == "other_identity" => {
                take_back(ctx, session, submission, keys).await;
                submission.fail_pending(
                    message,
                    Some("make a proxy if there is none (`arcproxy`), run `actctl proxy`, then submit again"),
                    CREDENTIAL,
                );
                continue;
            }
            Some((_, message)) => progress.waiting(message),
            None => moved = Instant::now(),
        }
        if moved.elapsed() > PATIENCE {
            let why = waiting.map_or_else(|| "the server is away".to_owned(), |(_, message)| message);
            take_back(ctx, session, submission, keys).await;
            submission.fail_pending(&format!("given up after 10 minutes: {why}"), None, SERVER);
            continue;
        }
        progress.set(submission.decided() as u64, waiting.map(|w| w.1).unwrap_or_default());
        let jobs = tokio::select! {
            jobs = watch.next(session, &keys, CHANGES_MS) => jobs.map_err(|f| left_behind(f, submission, keys.len()))?,
            _ = interrupt.as_mut() => {
                progress.end();
                ctx.out.note("Cancelling submission ...");
                take_back(ctx, session, submission, keys).await;
                // As act does: what got through is told, what was cancelled is not.
                let through = submission.items.iter().skip(printed).filter_map(Item::line);
                let text: String = through.map(|line| line + "\n").collect();
                submission.fail_pending("cancelled", None, INTERRUPTED);
                if !ctx.out.json {
                    ctx.out.text(&text)?;
                }
                return Ok(End::Interrupted);
            }
        };
        let before = submission.decided();
        submission.update(&jobs.jobs);
        if submission.decided() > before {
            moved = Instant::now();
        }
    }
}

/// The daemon is lost, and jobs are with it: whoever types the command again submits them twice.
fn left_behind(lost: Failure, submission: &Submission, jobs: usize) -> Failure {
    let (they, batch) = (if jobs == 1 { "1 job is" } else { &*format!("{jobs} jobs are") }, &submission.batch);
    lost.hint(format!(
        "{they} with the daemon and will be submitted when it runs again (`actctl daemon start`): do not submit again; \
         `actctl wait @{batch}` waits for that, `actctl kill @{batch}` takes back"
    ))
}

/// Prints the lines of the jobs that are decided, up to the first that is not.
fn show(ctx: &Ctx, submission: &Submission, printed: &mut usize, progress: &Progress<'_>) -> Result<(), Failure> {
    let mut text = String::new();
    while let Some(line) = submission.items.get(*printed).and_then(Item::line) {
        *printed += 1;
        text.push_str(&line);
        text.push('\n');
    }
    if ctx.out.json || text.is_empty() {
        return Ok(());
    }
    progress.aside(|| ctx.out.text(&text))
}

/// Kills what is not on the server. When it returns, that is durable, or the user has been told that it is not.
pub async fn take_back(ctx: &Ctx, session: &mut Session<'_>, submission: &mut Submission, keys: Vec<String>) {
    for keys in keys.chunks(MAX_SELECTORS) {
        let filter = Filter { select: keys.to_vec(), ..Filter::default() };
        let params = BulkParams { filter, ..BulkParams::default() };
        let killed = tokio::time::timeout(Duration::from_secs(30), session.repeat::<JobsKill>(&params)).await;
        match killed {
            Ok(Ok(_)) => {}
            Ok(Err(f)) => {
                ctx.out.error(&format!("could not cancel: {}", f.message), Some("`actctl stat` shows what is left"));
            }
            Err(_) => ctx.out.error("could not cancel in 30 seconds", Some("`actctl stat` shows what is left")),
        }
    }
    // Jobs that got onto the server in the meantime have been killed there.
    for item in &mut submission.items {
        if item.fate == Fate::Pending {
            item.waiting = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sizes: &[usize]) -> Vec<Text> {
        sizes.iter().map(|n| Text { index: 0, path: "p".into(), text: "x".repeat(*n) }).collect()
    }

    #[test]
    fn calls_stay_within_the_daemons_bounds() {
        assert_eq!(piece(&texts(&[10; 3])), 3);
        assert_eq!(piece(&texts(&[10; 2500])), 1000);
        assert_eq!(piece(&texts(&[8 << 20, 8 << 20])), 1);
        assert_eq!(piece(&texts(&[15 << 20])), 1);
    }

    #[test]
    fn json_length_is_exact() {
        for text in ["plain", "a\"b\\c\n\t", "\u{1}é"] {
            assert_eq!(json_len(text), serde_json::to_string(text).unwrap().len(), "{text:?}");
        }
    }
}
