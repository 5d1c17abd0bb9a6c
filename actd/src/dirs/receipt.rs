//! What a person or a script finds beside a description that was taken: the receipt `NAME.json`, or the note
//! `NAME.error`. Only the forms; where they go is [`super::spool`]'s.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::claim::{Claim, Ledger};
use super::files;
use crate::job::{Job, Key, Phase, Time};

/// The receipt's extension.
pub(super) const RECEIPT: &str = ".json";
/// The note's extension.
pub(super) const NOTE: &str = ".error";
/// The form's name: fields are never renamed within it.
const SCHEMA: &str = "act.receipt/1";
const MAX: u64 = 16 << 20;

/// The receipt of a description that was submitted. Written when its jobs are on disk here; again when they are on the
/// server and have ids, and when they have ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Receipt {
    schema: String,
    /// The name that it had in the watched directory.
    file: String,
    /// The watched directory.
    directory: String,
    /// When its jobs were taken, RFC 3339.
    accepted: String,
    /// Of the description.
    size: u64,
    sha256: String,
    /// The claim: the jobs' client reference.
    claim: String,
    /// Other names under which the very same file (a hard link) was submitted before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    same_file_as: Vec<String>,
    /// One for each job of the description, in its order.
    pub(super) jobs: Vec<Line>,
}

/// A job in a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    /// The daemon's name of it.
    key: String,
    /// The server's; null until it is on the server.
    id: Option<u64>,
    /// Its name.
    name: Option<String>,
    /// The server's state in which it ended; null until then.
    state: Option<String>,
    /// How it ended for the daemon (`collected`, `killed`, `not_submitted`...); null until then.
    outcome: Option<String>,
    /// What went wrong.
    error: Option<String>,
    /// Where its results are.
    results: Option<String>,
}

impl Receipt {
    /// For a description whose jobs have just been taken.
    pub(super) fn new(claim: &Claim, ledger: &Ledger, directory: &Path, now: Time, jobs: Vec<Line>) -> Self {
        Self {
            schema: SCHEMA.into(),
            file: ledger.name.clone(),
            directory: directory.display().to_string(),
            accepted: now.rfc3339(),
            size: ledger.size,
            sha256: ledger.sha256.clone(),
            claim: claim.id.clone(),
            same_file_as: ledger.same_file_as.clone(),
            jobs,
        }
    }

    /// As it stands in the file.
    pub(super) fn bytes(&self) -> Vec<u8> {
        // Strings and numbers: there is nothing that JSON cannot hold.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads one; `None`: it is gone, or it is no longer ours: a person has put another there (a link, a directory), or
    /// keeps it from being read.
    pub(super) fn read(path: &Path, claim: &Claim) -> io::Result<Option<Self>> {
        let Some(file) = files::open_plain(path)? else { return Ok(None) };
        let receipt: Option<Self> = serde_json::from_slice(&files::read(&file, MAX)?).ok();
        Ok(receipt.filter(|receipt| receipt.claim == claim.id))
    }

    /// The keys of its jobs.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.jobs.iter().filter_map(|line| line.key.parse().ok()).collect()
    }
}

impl Line {
    /// For a job of which nothing more is known.
    pub(super) fn unknown(key: Key) -> Self {
        Self { key: key.to_string(), id: None, name: None, state: None, outcome: None, error: None, results: None }
    }

    /// For a job as it is.
    pub(super) fn of(job: &Arc<Job>) -> Self {
        // Before that, the row may yet be replaced by another.
        let is_there = !matches!(
            job.phase,
            Phase::Queued
                | Phase::Creating { .. }
                | Phase::Created { .. }
                | Phase::Uploading { .. }
                | Phase::Confirming { .. }
        );
        let ended = is_there && job.arcstate().is_final();
        let outcome = match &job.phase {
            Phase::Closed { outcome, .. } => Some(outcome.word().to_owned()),
            Phase::Unknown { .. } => Some("unknown".to_owned()),
            _ => None,
        };
        Self {
            key: job.key.to_string(),
            id: job.id().filter(|_| is_there),
            name: job.name.as_deref().map(str::to_owned),
            state: job.arcstate().word().filter(|_| ended).map(str::to_owned),
            error: job.error.as_deref().filter(|_| ended || outcome.is_some()).map(str::to_owned),
            outcome,
            results: job.results().map(|dir| dir.display().to_string()),
        }
    }

    /// Nothing more will happen to it.
    pub(super) fn is_final(&self) -> bool {
        self.outcome.as_deref().is_some_and(|outcome| outcome != "unknown")
    }
}

/// The note of a description that cannot be submitted.
pub(super) fn note(claim: &Claim, file: &str, directory: &Path, why: &str) -> Vec<u8> {
    let at = Time::now().rfc3339();
    let directory = directory.display();
    format!(
        "{file} was not submitted.\n\n{}\n\nCorrect it and move it back into {directory}\n({at}, claim {})\n",
        why.trim_end(),
        claim.id
    )
    .into_bytes()
}
