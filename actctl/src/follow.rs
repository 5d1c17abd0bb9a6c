//! A submission as its caller sees it: which job came of which file, and whether it is on the server yet. No IO.

use std::collections::HashMap;

use act_proto::Kind;
use act_proto::jobs::{Job, Phase, Plan, SubmitItem};
use serde_json::{Value, json};

use crate::failure::{DESCRIPTION, OK, SERVER, SOME_FAILED};

/// What has become of one job of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Not decided yet.
    Pending,
    /// It is on the server under this id.
    Inserted(u64),
    /// It is not, and will not be.
    Failed {
        /// Why.
        message: String,
        /// What to do.
        hint: Option<String>,
        /// The exit code of such a failure.
        exit: u8,
    },
}

/// One job of a submission.
#[derive(Debug, Clone)]
pub struct Item {
    /// The file it came from, as the user named it.
    pub path: String,
    /// The daemon's key; none: it was not accepted.
    pub key: Option<String>,
    /// Its name, once known.
    pub name: Option<String>,
    /// Whether the server has given it an id: then messages call it by its name, as act's do.
    pub known_to_server: bool,
    /// What has become of it.
    pub fate: Fate,
    /// What it waits for: reason and sentence.
    pub waiting: Option<(String, String)>,
    /// With `--dry-run`: what would be sent.
    pub plan: Option<Plan>,
}

impl Item {
    /// A job, or a file, that the daemon did not accept.
    #[must_use]
    pub fn refused(path: &str, name: Option<String>, message: String, exit: u8) -> Self {
        let fate = Fate::Failed { message, hint: None, exit };
        Self { path: path.to_owned(), key: None, name, known_to_server: false, fate, waiting: None, plan: None }
    }

    /// From the daemon's answer to `jobs.submit`.
    #[must_use]
    pub fn from_reply(path: &str, item: SubmitItem) -> Self {
        let fate = match (&item.key, &item.plan, item.error) {
            (Some(_), ..) | (None, Some(_), None) => Fate::Pending,
            (None, _, error) => Fate::Failed {
                message: error.unwrap_or_else(|| "the daemon gave no reason".into()),
                hint: None,
                exit: item.error_kind.map_or(DESCRIPTION, Kind::exit),
            },
        };
        let (key, name, plan) = (item.key, item.name, item.plan);
        Self { path: path.to_owned(), key, name, known_to_server: false, fate, waiting: None, plan }
    }

    /// Takes in what the daemon now says of the job.
    pub fn update(&mut self, job: &Job) {
        if self.fate != Fate::Pending {
            return;
        }
        if job.name.is_some() {
            self.name.clone_from(&job.name);
        }
        self.known_to_server |= job.id.is_some();
        self.waiting = job.waiting.as_ref().map(|w| (w.reason.clone(), crate::gate::sentence(&w.reason, &w.message)));
        let failed = |default: &str| {
            let message = job.error.clone().unwrap_or_else(|| default.to_owned());
            Fate::Failed { exit: job.error_kind.map_or(SERVER, Kind::exit), message, hint: None }
        };
        self.fate = match job.phase {
            Phase::Queued | Phase::Creating | Phase::Created | Phase::Uploading | Phase::Confirming => return,
            Phase::Undoing => failed("the submission was undone"),
            Phase::Unknown => match &job.waiting {
                Some(w) => Fate::Failed { message: w.message.clone(), hint: w.hint.clone(), exit: SERVER },
                None => failed("the server lost it while it was being submitted: it may have run"),
            },
            Phase::Closed => match (job.outcome.as_deref(), job.id) {
                (Some("not_submitted"), _) | (_, None) => failed("the submission failed"),
                (Some("killed" | "gone"), Some(_)) if job.arcstate.is_none() && job.job_id.is_none() => {
                    failed("it was killed before it reached a cluster")
                }
                (_, Some(id)) => Fate::Inserted(id),
            },
            _ => match job.id {
                Some(id) => Fate::Inserted(id),
                None => return,
            },
        };
    }

    /// The line that act prints for it; none while it is pending.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        let name = self.name.as_deref().unwrap_or_default();
        match &self.fate {
            Fate::Pending => None,
            Fate::Inserted(id) => Some(format!("Inserted job {name} with ID {id}")),
            Fate::Failed { message, .. } if self.known_to_server && !name.is_empty() => {
                Some(format!("Job {name} not submitted: {message}"))
            }
            Fate::Failed { message, .. } => Some(format!("Job description {} not submitted: {message}", self.path)),
        }
    }

    /// As `--json` shows it.
    #[must_use]
    pub fn json(&self) -> Value {
        let (state, id, error) = match &self.fate {
            Fate::Pending => ("pending", None, None),
            Fate::Inserted(id) => ("inserted", Some(*id), None),
            Fate::Failed { message, hint, exit } => {
                ("failed", None, Some(json!({ "message": message, "hint": hint, "exit": exit })))
            }
        };
        json!({ "path": self.path, "key": self.key, "name": self.name, "state": state, "id": id, "error": error })
    }
}

/// All jobs of a submission, in the order of the files.
#[derive(Debug, Clone, Default)]
pub struct Submission {
    /// Name of the batch.
    pub batch: String,
    /// Revision to wait for changes from.
    pub rev: u64,
    /// The jobs.
    pub items: Vec<Item>,
    index: HashMap<String, usize>,
}

impl Submission {
    /// Adds a job.
    pub fn push(&mut self, item: Item) {
        if let Some(key) = &item.key {
            self.index.insert(key.clone(), self.items.len());
        }
        self.items.push(item);
    }

    /// Takes in changes.
    pub fn update(&mut self, jobs: &[Job]) {
        for job in jobs {
            if let Some(item) = self.index.get(&job.key).and_then(|i| self.items.get_mut(*i)) {
                item.update(job);
            }
        }
    }

    /// Keys of the jobs that are not decided yet.
    #[must_use]
    pub fn pending(&self) -> Vec<String> {
        self.items.iter().filter(|i| i.fate == Fate::Pending).filter_map(|i| i.key.clone()).collect()
    }

    /// How many are decided.
    #[must_use]
    pub fn decided(&self) -> usize {
        self.items.iter().filter(|i| i.fate != Fate::Pending).count()
    }

    /// What the pending jobs wait for, if all of them wait: reason and sentence of the first.
    #[must_use]
    pub fn all_wait_for(&self) -> Option<(String, String)> {
        let mut pending = self.items.iter().filter(|i| i.fate == Fate::Pending);
        let first = pending.next()?.waiting.clone()?;
        pending.all(|i| i.waiting.is_some()).then_some(first)
    }

    /// Gives all pending jobs the same end.
    pub fn fail_pending(&mut self, message: &str, hint: Option<&str>, exit: u8) {
        for item in self.items.iter_mut().filter(|i| i.fate == Fate::Pending) {
            item.fate = Fate::Failed { message: message.to_owned(), hint: hint.map(ToOwned::to_owned), exit };
        }
    }

    /// The exit code: 0 if all are there; if none is, and all for the same sort of reason, that one's; else 1.
    #[must_use]
    pub fn exit(&self) -> u8 {
        let mut exits = self.items.iter().map(|i| match &i.fate {
            Fate::Failed { exit, .. } => *exit,
            Fate::Inserted(_) | Fate::Pending => OK,
        });
        let Some(first) = exits.next() else { return OK };
        if exits.all(|e| e == first) { first } else { SOME_FAILED }
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
