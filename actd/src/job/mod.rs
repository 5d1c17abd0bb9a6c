//! The pure core: what the daemon knows of one job, and the rules by which it changes. No IO, no clock, no async.
//!
//! Two functions carry the daemon: [`next::next`] says, from the record alone, what is to be done with a job now, and
//! [`apply::apply`] changes the record by what came of it. Because `next` reads nothing but the record, a restart needs
//! no other plan: the same question asked of the same record gives the same work. [`recover::recover`] only settles what
//! was in flight when the daemon ended.

pub mod apply;
mod arcstate;
pub mod fault;
pub mod next;
pub mod orphan;
pub mod recover;
pub mod select;
pub mod spec;
#[cfg(test)]
pub(crate) mod tests;
pub mod waiting;

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

pub use arcstate::Arcstate;
pub use fault::Cause;
pub use spec::{InputFile, Spec};

/// Milliseconds since 1970, UTC. The core never asks for it: it is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(pub i64);

impl Time {
    /// This moment, by the system's clock. For the edges of the daemon only.
    #[must_use]
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// Later by so many milliseconds.
    #[must_use]
    pub fn plus(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this; negative if it is the other way round.
    #[must_use]
    pub fn since(self, earlier: Time) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// RFC 3339 in UTC with milliseconds, as the API writes it.
    #[must_use]
    pub fn rfc3339(self) -> String {
        jiff::Timestamp::from_millisecond(self.0).map_or_else(|_| String::from("-"), |t| format!("{t:.3}"))
    }
}

/// The daemon's own name of a job: a number that is never used twice. People see `j12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(pub u64);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "j{}", self.0)
    }
}

impl std::str::FromStr for Key {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        let digits = s.strip_prefix('j').ok_or(())?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(());
        }
        digits.parse().map(Key).map_err(|_| ())
    }
}

/// The server's number of a job.
pub type ServerId = u64;

pub use act_proto::jobs::Origin;

/// Whose job it is on the server: the `proxyid` of the token under which it was made. 0: made before any was known.
pub type ProxyId = i64;

/// What the server's list said of a job when it was last read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The server's state.
    pub arcstate: Arcstate,
    /// ARC's state.
    pub state: Box<str>,
    /// ARC's URL of the job; it is another one after a resubmission. Empty: none yet.
    pub run: Box<str>,
    /// Since when these three are so, as far as seen from here.
    pub since: Time,
}

impl Seen {
    /// The last segment of ARC's URL: what act names the results' directory after.
    #[must_use]
    pub fn hash(&self) -> Option<&str> {
        self.run.trim_end_matches('/').rsplit('/').next().filter(|h| !h.is_empty())
    }
}

/// What a person wants of a job that has not happened yet. Kept until it has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// Kill it, also when it comes back. Kept until it has ended.
    pub kill: bool,
    /// Put its stored results into the trash.
    pub clean: bool,
    /// Have the server fetch what a failed job left.
    pub fetch: bool,
    /// Run it again.
    pub resubmit: bool,
}

impl Wishes {
    /// Nothing is wished for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How the user wants the job treated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Leave results on the server until somebody gets them.
    pub no_download: bool,
    /// Name the results' directory after the job.
    pub use_jobname: bool,
    /// It has local inputs to upload.
    pub has_inputs: bool,
    /// Its results count as collected when they are stored (watched directories).
    pub collected: bool,
}

/// A delivery that a person asked for with `get`. Kept until it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The directory in which the job's directory is made.
    pub parent: PathBuf,
    /// Name it after the job.
    pub use_jobname: bool,
    /// Leave the server as it is.
    pub noclean: bool,
    /// Copy what is already stored here instead of moving it.
    pub copy: bool,
    /// Paths that start so are not downloaded.
    pub exclude: Vec<String>,
    /// The operation it belongs to.
    pub operation: u64,
}

/// Where a job stands. Data that only one phase has lives in that phase.
///
/// ```text
/// Queued -> Creating -> Created -> Uploading -> Confirming -> Active -> Retrieving -> Retrieved -> Cleaning -> Stored -> Collecting -> Closed
///                        |           |            |           +--------------------------------^----------------------------> Closed
///                        +-----------+------------+--> Closed, with the row as a leftover to cancel
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// On disk here, nothing sent.
    Queued,
    /// POST /jobs is out. `floor`: the highest id on the server before it; a row of ours has a higher one.
    Creating {
        /// Highest id listed before the request.
        floor: ServerId,
        /// When it was sent.
        at: Time,
    },
    /// A row exists, without a description.
    Created {
        /// Its id.
        id: ServerId,
    },
    /// Inputs are being uploaded; `done`: all of them are there.
    Uploading {
        /// Its id.
        id: ServerId,
        /// All inputs are there: the description may be sent.
        done: bool,
    },
    /// PUT /jobs is out. From here on the job may run.
    Confirming {
        /// Its id.
        id: ServerId,
        /// When it was first sent.
        at: Time,
    },
    /// On the server.
    Active {
        /// Its id.
        id: ServerId,
    },
    /// The results of `run` are being downloaded into `parent`, for the store or for a delivery.
    Retrieving {
        /// Its id.
        id: ServerId,
        /// The run whose results they are (ARC's URL).
        run: Box<str>,
        /// The directory in which its directory is made.
        parent: PathBuf,
    },
    /// The results of `run` are complete in `dir`; the server still has them.
    Retrieved {
        /// Its id.
        id: ServerId,
        /// The run whose results they are.
        run: Box<str>,
        /// Where they are; none: the job had no files.
        dir: Option<PathBuf>,
    },
    /// DELETE /jobs may be out, for this run only.
    Cleaning {
        /// Its id.
        id: ServerId,
        /// The run that may be dropped.
        run: Box<str>,
        /// Where its results are, if they were saved.
        dir: Option<PathBuf>,
        /// What it is when the row is gone.
        then: AfterClean,
    },
    /// Results are here, the server is clean, nobody has collected them.
    Stored {
        /// The id it had.
        id: ServerId,
        /// Where they are; none: the job had no files.
        dir: Option<PathBuf>,
        /// Since when.
        at: Time,
    },
    /// Stored results are being delivered.
    Collecting {
        /// The id it had.
        id: ServerId,
        /// Where they are.
        from: PathBuf,
    },
    /// The row vanished while it was being confirmed: it may have run. Waits for a person.
    Unknown {
        /// The id it had.
        id: ServerId,
    },
    /// Finished with.
    Closed {
        /// The id it had.
        id: Option<ServerId>,
        /// How it ended.
        outcome: Outcome,
        /// Where its results are, if they were saved.
        dir: Option<PathBuf>,
        /// When.
        at: Time,
    },
}

/// What follows a clean-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AfterClean {
    /// Results wait for collection.
    Store,
    /// They have been delivered.
    Collected,
    /// They were not wanted.
    Cleaned,
    /// They were kept for their time.
    Expired,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Its results were delivered.
    Collected,
    /// A person dropped it.
    Cleaned,
    /// Killed before it reached a cluster.
    Killed,
    /// It vanished from the server: cleaned elsewhere, or killed before ARC took it.
    Gone,
    /// The submission failed.
    NotSubmitted,
    /// Kept for its time and never collected.
    Expired,
}

impl Outcome {
    /// The word on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Collected => "collected",
            Self::Cleaned => "cleaned",
            Self::Killed => "killed",
            Self::Gone => "gone",
            Self::NotSubmitted => "not_submitted",
            Self::Expired => "expired",
        }
    }
}

/// Something of ours that is still to be removed. A job is not forgotten before its leftovers are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// The server id it belongs to.
    pub id: ServerId,
    /// The row itself must be cancelled (an abandoned, never confirmed one).
    pub row: bool,
    /// The WebDAV directory of this id must be deleted: its base URL.
    pub webdav: Option<Box<str>>,
    /// Not before: a request of ours to this id may still be executed until then.
    pub not_before: Time,
    /// How often it was tried in vain.
    pub attempts: u16,
}

/// When and why something is tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Failures in a row of the step that is due.
    pub attempts: u16,
    /// Not before.
    pub at: Time,
    /// What the last one said.
    pub why: Option<Box<str>>,
}

/// What the daemon knows of a job, in memory and on disk: about 300 to 600 bytes. What is only needed to submit it is in
/// its [`Spec`], which is read when asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Our name of it.
    pub key: Key,
    /// Who submitted it.
    pub origin: Origin,
    /// Whose it is.
    pub proxyid: ProxyId,
    /// Its name.
    pub name: Option<Box<str>>,
    /// The batch it was submitted in.
    pub batch: Option<Box<str>>,
    /// Base URL of the WebDAV store that its inputs are in, without a slash at its end.
    pub webdav: Option<Box<str>>,
    /// Where it stands.
    pub phase: Phase,
    /// What the server said of it.
    pub seen: Option<Seen>,
    /// In how many complete lists in a row it was missing.
    pub missing: u8,
    /// What is still wanted of it.
    pub wishes: Wishes,
    /// How it is to be treated.
    pub options: Options,
    /// A `get` that is not done yet.
    pub delivery: Option<Box<Delivery>>,
    /// Results saved while the server keeps its copy (`get --noclean`, logs of failed jobs), and of which run; or that no
    /// more of that run can be brought.
    pub saved: Option<Box<Saved>>,
    /// What is still to be removed.
    pub leftovers: Vec<Leftover>,
    /// When the step that is due may be tried again.
    pub retry: Retry,
    /// How often a new row had to be made for it.
    pub recreated: u8,
    /// The last mutation that may still be executed on the server, and until when: nothing opposite is sent before.
    pub in_flight_until: Time,
    /// What went wrong, in the server's or ARC's words.
    pub error: Option<Box<str>>,
    /// ARC's exit code.
    pub exit_code: Option<i32>,
    /// When it was submitted, or first seen.
    pub submitted: Time,
    /// When anything of it last changed.
    pub changed: Time,
    /// What its submission has failed for. It came later than the rest: records that were written before end without it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "at_the_end")]
    pub cause: Option<Cause>,
    /// The revision of the last change. Not kept on disk: a new daemon begins with one above those of the last.
    #[serde(skip)]
    pub rev: u64,
}

/// A field at the end of a record that may be missing there. A format that has names knows by itself.
fn at_the_end<'de, D: Deserializer<'de>>(record: D) -> Result<Option<Cause>, D::Error> {
    let has_names = record.is_human_readable();
    Option::deserialize(record).or_else(|e| if has_names { Err(e) } else { Ok(None) })
}

/// Results on our disk of a job that the server still has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The run they are of.
    pub run: Box<str>,
    /// Where. Empty: nowhere; the run left no files, or they cannot be brought.
    pub dir: PathBuf,
}

impl Saved {
    /// Where, if anywhere.
    #[must_use]
    pub fn dir(&self) -> Option<&std::path::Path> {
        Some(self.dir.as_path()).filter(|dir| !dir.as_os_str().is_empty())
    }
}

impl Job {
    /// A job of which no more is known than this.
    #[must_use]
    pub fn new(key: Key, origin: Origin, proxyid: ProxyId, phase: Phase, now: Time) -> Self {
        Self {
            key,
            origin,
            proxyid,
            name: None,
            batch: None,
            webdav: None,
            phase,
            seen: None,
            missing: 0,
            wishes: Wishes::default(),
            options: Options::default(),
            delivery: None,
            saved: None,
            leftovers: Vec::new(),
            retry: Retry::default(),
            recreated: 0,
            in_flight_until: Time::default(),
            error: None,
            exit_code: None,
            submitted: now,
            changed: now,
            cause: None,
            rev: 0,
        }
    }

    /// The server's id, if it has one.
    #[must_use]
    pub fn id(&self) -> Option<ServerId> {
        match &self.phase {
            Phase::Queued | Phase::Creating { .. } => None,
            Phase::Closed { id, .. } => *id,
            Phase::Created { id }
            | Phase::Uploading { id, .. }
            | Phase::Confirming { id, .. }
            | Phase::Active { id }
            | Phase::Retrieving { id, .. }
            | Phase::Retrieved { id, .. }
            | Phase::Cleaning { id, .. }
            | Phase::Stored { id, .. }
            | Phase::Collecting { id, .. }
            | Phase::Unknown { id } => Some(*id),
        }
    }

    /// Whether it is on its way to the server.
    #[must_use]
    pub fn is_submission(&self) -> bool {
        matches!(
            self.phase,
            Phase::Queued
                | Phase::Creating { .. }
                | Phase::Created { .. }
                | Phase::Uploading { .. }
                | Phase::Confirming { .. }
        )
    }

    /// Whether the server is expected to list it.
    #[must_use]
    pub fn on_server(&self) -> bool {
        matches!(
            self.phase,
            Phase::Created { .. }
                | Phase::Uploading { .. }
                | Phase::Confirming { .. }
                | Phase::Active { .. }
                | Phase::Retrieving { .. }
                | Phase::Retrieved { .. }
                | Phase::Cleaning { .. }
        )
    }

    /// Ours to act on without being asked.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.origin != Origin::Foreign
    }

    /// Finished with, nothing left to do: belongs to the history.
    #[must_use]
    pub fn is_history(&self) -> bool {
        matches!(self.phase, Phase::Closed { .. }) && self.leftovers.is_empty()
    }

    /// The server's state of it.
    #[must_use]
    pub fn arcstate(&self) -> &Arcstate {
        self.seen.as_ref().map_or(&Arcstate::None, |s| &s.arcstate)
    }

    /// Where its results are on this machine, complete.
    #[must_use]
    pub fn results(&self) -> Option<&std::path::Path> {
        match &self.phase {
            Phase::Retrieved { dir, .. }
            | Phase::Cleaning { dir, .. }
            | Phase::Stored { dir, .. }
            | Phase::Closed { dir, .. } => dir.as_deref(),
            Phase::Collecting { from, .. } => Some(from),
            _ => self.saved.as_ref().and_then(|s| s.dir()),
        }
    }

    /// All there is to bring of the run that the server shows has been brought, as far as it can be.
    #[must_use]
    pub fn is_brought(&self) -> bool {
        matches!((&self.saved, &self.seen), (Some(saved), Some(seen)) if saved.run == seen.run)
    }
}
