//! From claims to jobs: read the file, have it checked, hand all jobs over at once, move the file on.
//!
//! Exactly once, whatever is cut off where: the claim is the client reference of its jobs, and the engine takes all jobs
//! of a call in one commit, or none. A claim whose jobs it knows is only moved on.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use act_proto::jobs::{Description, Diagnostic};

use super::claim::{Claim, Ledger};
use super::files;
use super::receipt::{self, Line, NOTE, RECEIPT, Receipt};
use super::settle::Stamp;
use super::spool::{self, Sidecar};
use super::worker::Worker;
use crate::engine::handle::NewJob;
use crate::intake::{self, Outcome, Terms};
use crate::job::{Key, Time};

/// Most claims that are handed over in one go.
const MAX_TAKEN: usize = 200;
/// The largest description, bytes: what the API takes, too.
const MAX_DESCRIPTION: u64 = act_proto::MAX_MESSAGE as u64;
/// What is put off is tried again after so long.
const PUT_OFF: Duration = Duration::from_secs(5);

/// A claimed file that has not been moved on.
#[derive(Debug)]
pub(super) struct Held {
    /// Its name in the watched directory.
    pub(super) name: OsString,
    /// What it was when it had settled; `None`: nobody knows.
    stamp: Option<Stamp>,
    /// It may have been handed over before.
    may_be_known: bool,
    not_before: Instant,
}

impl Held {
    pub(super) fn new(name: OsString, stamp: Option<Stamp>, now: Instant) -> Self {
        Self { name, stamp, may_be_known: stamp.is_none(), not_before: now }
    }
}

/// What is to be done with a claim.
enum Step {
    /// Its jobs are on disk: move it on.
    Accept(Ledger, Vec<Key>),
    /// Hand its jobs over.
    Submit(Ledger, Vec<NewJob>),
    /// It cannot be submitted.
    Fail(Ledger, String),
    /// Look again later.
    Wait,
}

impl Worker {
    /// When the next claim is to be handed over.
    pub(super) fn next_take(&self) -> Option<Instant> {
        let due = self.held.values().map(|held| held.not_before).min()?;
        Some(self.put_off.as_ref().map_or(due, |(_, until)| due.max(*until)))
    }

    /// Hands over the claims that are due.
    pub(super) fn take(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if self.put_off.as_ref().is_some_and(|(_, until)| *until > now) {
            return Ok(());
        }
        let due: Vec<Claim> = self
            .held
            .iter()
            .filter(|(_, held)| held.not_before <= now)
            .take(MAX_TAKEN)
            .map(|(c, _)| c.clone())
            .collect();
        if due.is_empty() {
            self.put_off = None;
            return Ok(());
        }
        let terms = match (self.context.terms)(&self.settings) {
            Ok(terms) => terms,
            Err(e) => {
                // Not the file's fault: it waits until the directory's settings fit the configuration again.
                let hint = e.data.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                self.put_off = Some((format!("{e}{hint}"), now + PUT_OFF));
                return Ok(());
            }
        };
        self.put_off = None;
        let mut accept = Vec::new();
        let mut submit: Vec<(Claim, Ledger, usize)> = Vec::new();
        let mut jobs = Vec::new();
        // A file that cannot be dealt with must not hold up the others.
        let mut trouble = Ok(());
        for claim in due {
            let step = self.prepare(&claim, &terms, &submit, now).and_then(|step| match step {
                Step::Fail(ledger, why) => self.fail(&claim, ledger, &why).map(|()| Step::Wait),
                step => Ok(step),
            });
            match step {
                Ok(Step::Accept(ledger, keys)) => accept.push((claim, ledger, keys)),
                Ok(Step::Submit(ledger, new)) => {
                    submit.push((claim, ledger, new.len()));
                    jobs.extend(new);
                }
                Ok(Step::Fail(..) | Step::Wait) => {}
                Err(e) => trouble = trouble.and(Err(self.of(&claim, &e))),
            }
        }
        if !jobs.is_empty() {
            crate::failpoint!("dirs.submit.before");
            match self.context.runtime.block_on(self.context.engine.submit(jobs)) {
                Ok(keys) => {
                    crate::failpoint!("dirs.submit.after");
                    let mut keys = keys.into_iter();
                    for (claim, ledger, count) in submit {
                        accept.push((claim, ledger, keys.by_ref().take(count).collect()));
                    }
                }
                Err(e) => {
                    for (claim, ..) in &submit {
                        if let Some(held) = self.held.get_mut(claim) {
                            held.may_be_known = true;
                        }
                    }
                    self.put_off = Some((e.to_string(), now + PUT_OFF));
                }
            }
        }
        let mut receipts = Vec::with_capacity(accept.len());
        for (claim, ledger, keys) in accept {
            match self.accept(claim.clone(), ledger, &keys) {
                Ok(Some(name)) => {
                    claim.write_out();
                    receipts.push(format!("{name}{RECEIPT}"));
                }
                Ok(None) => {}
                Err(e) => trouble = trouble.and(Err(self.of(&claim, &e))),
            }
        }
        if !receipts.is_empty() {
            files::sync(&self.places.accepted, &receipts)?;
        }
        trouble
    }

    /// An error, with the claim that it is about.
    fn of(&self, claim: &Claim, e: &io::Error) -> io::Error {
        io::Error::new(e.kind(), format!("{}: {e}", self.places.own.join(&claim.id).display()))
    }

    /// The jobs that were made of a claim.
    pub(super) fn submitted(&self, claim: &Claim) -> Vec<Key> {
        let known = |n: u32| self.context.engine.by_client_ref(&format!("{}/0.{n}", claim.id));
        (0..).map_while(known).collect()
    }

    fn prepare(
        &mut self,
        claim: &Claim,
        terms: &Terms,
        earlier: &[(Claim, Ledger, usize)],
        now: Instant,
    ) -> io::Result<Step> {
        let Some(held) = self.held.get_mut(claim) else { return Ok(Step::Wait) };
        let path = claim.path(&held.name);
        let Some(there) = files::lstat(&path)? else {
            // Taken away by somebody, out of our own directory.
            self.held.remove(claim);
            claim.close()?;
            return Ok(Step::Wait);
        };
        let may_be_known = held.may_be_known;
        let mut ledger = if may_be_known { claim.ledger()?.unwrap_or_default() } else { Ledger::default() };
        ledger.name = held.name.to_string_lossy().into_owned();
        if !claim.is_of(&self.context.instance) {
            let why = "Another actd, with another state directory, had taken this file and did not finish with it; it may \
                       have submitted it.\nMake sure that it did not before you submit the file again.";
            return Ok(Step::Fail(ledger, why.into()));
        }
        if may_be_known {
            if let Some(why) = ledger.error.take() {
                return Ok(Step::Fail(ledger, why));
            }
            let keys = self.submitted(claim);
            if !keys.is_empty() {
                return Ok(Step::Accept(ledger, keys));
            }
        }
        let quiet = self.quiet();
        let Some(held) = self.held.get_mut(claim) else { return Ok(Step::Wait) };
        if there.is_symlink() {
            return Ok(Step::Fail(ledger, "It is a symbolic link. Copy the file itself, or make a hard link.".into()));
        }
        let file = match files::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(Step::Fail(ledger, format!("It cannot be read: {e}.")));
            }
            Err(e) => return Err(e),
        };
        let stamp = files::stamp(&file.metadata()?);
        // Whoever had it open may have gone on writing, and a program may have put another file in its place at the last
        // moment: then it settles here.
        if files::is_open_for_writing(&file) || held.stamp != Some(stamp) {
            held.stamp = Some(stamp);
            held.not_before = now + quiet;
            return Ok(Step::Wait);
        }
        let bytes = files::read(&file, MAX_DESCRIPTION)?;
        let meta = file.metadata()?;
        if files::stamp(&meta) != stamp {
            held.not_before = now + quiet;
            return Ok(Step::Wait);
        }
        ledger.size = bytes.len() as u64;
        ledger.dev_ino = (stamp.dev, stamp.ino);
        ledger.sha256 = openssl::sha::sha256(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if meta.nlink() > 1 {
            ledger.same_file_as = spool::names_of(&self.places.accepted, ledger.dev_ino)?;
            let same = earlier.iter().filter(|(_, other, _)| other.dev_ino == ledger.dev_ino);
            ledger.same_file_as.extend(same.map(|(_, other, _)| other.name.clone()));
        }
        if bytes.len() as u64 > MAX_DESCRIPTION {
            return Ok(Step::Fail(ledger, format!("It is larger than {} MiB.", MAX_DESCRIPTION >> 20)));
        }
        let Ok(text) = String::from_utf8(bytes) else {
            return Ok(Step::Fail(ledger, "It is no text in UTF-8.".into()));
        };
        claim.write(&ledger)?;
        crate::failpoint!("dirs.take.read");
        Ok(match self.check(claim, &ledger.name, text, terms) {
            Ok(jobs) => Step::Submit(ledger, jobs),
            Err(why) => Step::Fail(ledger, why),
        })
    }

    /// All jobs of a description, or why it cannot be submitted.
    fn check(&self, claim: &Claim, name: &str, text: String, terms: &Terms) -> Result<Vec<NewJob>, String> {
        let path = self.places.dir.join(name).display().to_string();
        let base_dir = self.places.dir.display().to_string();
        let description = Description { text, path: Some(path), base_dir };
        let terms = Terms { client_ref: Some(claim.id.clone()), ..terms.clone() };
        let checked = intake::check(&description, 0, &terms, &|_| None);
        let many = checked.len() > 1;
        let mut jobs = Vec::with_capacity(checked.len());
        let (mut refused, mut notes) = (Vec::new(), Vec::new());
        for (n, job) in checked.into_iter().enumerate() {
            let which = match &job.name {
                _ if !many => String::new(),
                Some(name) => format!("job {} ({name}): ", n + 1),
                None => format!("job {}: ", n + 1),
            };
            notes.extend(job.diagnostics.iter().map(finding));
            match job.outcome {
                Outcome::New(job) => jobs.push(*job),
                // It was asked for above, and nobody else uses this reference.
                Outcome::Known(_) => {}
                Outcome::Refused(why) => refused.push(format!("{which}{why}")),
            }
        }
        if refused.is_empty() {
            return Ok(jobs);
        }
        if !jobs.is_empty() {
            refused.push("None of its jobs was submitted.".into());
        }
        if !notes.is_empty() {
            refused.push(format!("\nFindings (line:column):\n{}", notes.join("\n")));
        }
        Err(refused.join("\n"))
    }

    /// Moves a claim on; gives its name in `accepted/`.
    fn accept(&mut self, claim: Claim, mut ledger: Ledger, keys: &[Key]) -> io::Result<Option<String>> {
        let Some(held) = self.held.get(&claim) else { return Ok(None) };
        let lines = self.lines(keys);
        let receipt = Receipt::new(&claim, &ledger, &self.places.dir, Time::now(), lines);
        let name = spool::place(
            &claim,
            &held.name,
            &self.places.accepted,
            &Sidecar { extension: RECEIPT, content: &|_| receipt.bytes() },
            &mut |name| {
                ledger.accepted = Some(name.to_owned());
                claim.write(&ledger)
            },
        )?;
        self.held.remove(&claim);
        self.shown.lock().accepted += 1;
        let jobs: Vec<String> = keys.iter().map(Key::to_string).collect();
        tracing::info!(dir = %self.places.dir.display(), file = ledger.name, jobs = jobs.join(" "), "accepted");
        self.tell(&format!("{} accepted: {}", ledger.name, jobs.join(" ")));
        self.follow.add(claim, name.clone(), receipt);
        Ok(Some(name))
    }

    fn fail(&mut self, claim: &Claim, mut ledger: Ledger, why: &str) -> io::Result<()> {
        let Some(held) = self.held.get(claim) else { return Ok(()) };
        ledger.error = Some(why.to_owned());
        claim.write(&ledger)?;
        crate::failpoint!("dirs.fail.decided");
        let note = receipt::note(claim, &ledger.name, &self.places.dir, why);
        spool::place(
            claim,
            &held.name,
            &self.places.failed,
            &Sidecar { extension: NOTE, content: &|_| note.clone() },
            &mut |_| Ok(()),
        )?;
        self.held.remove(claim);
        self.shown.lock().failed += 1;
        tracing::warn!(dir = %self.places.dir.display(), file = ledger.name, "not submitted: {why}");
        self.tell(&format!("{} not submitted: {why}", ledger.name));
        claim.close()
    }

    /// What is known of jobs.
    pub(super) fn lines(&self, keys: &[Key]) -> Vec<Line> {
        let line = |key: &Key| self.context.engine.job(*key).map_or_else(|| Line::unknown(*key), |job| Line::of(&job));
        keys.iter().map(line).collect()
    }
}

fn finding(d: &Diagnostic) -> String {
    let help = d.help.as_ref().map(|help| format!("\n    help: {help}")).unwrap_or_default();
    format!("  {}:{}: {} [{}]: {}{help}", d.line, d.column, d.level, d.code, d.message)
}
