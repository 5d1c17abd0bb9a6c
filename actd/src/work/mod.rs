//! The hands of the daemon: every piece of work that touches the network or the user's files, one function each.
//!
//! A piece of work gets all it needs in [`Work`] and answers with [`Input`]s for the core. It never touches the store or
//! a job's record. Every piece may be done twice: after a crash the engine asks for it again.

mod again;
mod clean;
mod confirm;
mod create;
mod deliver;
mod discard;
mod hands;
mod list;
mod look;
mod manage;
mod manifest;
mod orphans;
mod pace;
mod progress;
mod publish;
mod read;
mod retrieve;
mod rows;
mod space;
mod staged;
mod sweep;
mod trouble;
mod upload;

pub use confirm::description_for;
pub use discard::{TRASH, empty_trash};
pub use hands::{Hands, HandsConfig};
pub use manifest::{FileEntry, Manifest, Missing};
pub use progress::{ProgressSink, TransferKind};
pub use read::{MAX_PIECE, Piece, SessionFile, SessionJob, cat_local, list_local};
pub use retrieve::{remove_beginning, remove_stale};

use hands::Inner;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::job::apply::{Input, Row};
use crate::job::fault::Fault;
use crate::job::orphan::{Search, Skew};
use crate::job::{Key, ServerId, Spec, Time};
use crate::remote::Ids;

/// A piece of work. Batches hold at most [`BATCH`] jobs, all of the identity that is in force.
#[derive(Debug, Clone)]
pub enum Work {
    /// POST /jobs: a row for each.
    Create(Vec<(Key, Arc<Spec>)>),
    /// Upload all local inputs of a job: to the server, or into its WebDAV directory. Checks before and after each file
    /// that it is the one recorded.
    Upload {
        /// The job.
        key: Key,
        /// Its row.
        id: ServerId,
        /// Inputs and WebDAV base.
        spec: Arc<Spec>,
    },
    /// PUT /jobs: the descriptions, with WebDAV sources put in where the job has a base.
    Confirm(Vec<(Key, ServerId, Arc<Spec>)>),
    /// GET /jobs with the few columns that tell whether anything changed.
    List,
    /// GET /jobs for the words of ARC about jobs that ended badly.
    Look(Vec<(Key, ServerId)>),
    /// Download all results of one run, verify, publish as a directory, write its manifest.
    Retrieve(Retrieve),
    /// DELETE /jobs for rows that still are of the given run and in a state that has results or failed: lists them again
    /// immediately before. An empty run means "whatever run": a person asked for it.
    Clean(Vec<(Key, ServerId, Box<str>)>),
    /// PATCH action=cancel.
    Kill(Vec<(Key, ServerId)>),
    /// PATCH action=fetch.
    Fetch(Vec<(Key, ServerId)>),
    /// PATCH action=resubmit, for rows that still are of the given run; an empty run means "whatever run".
    Resubmit(Vec<(Key, ServerId, Box<str>)>),
    /// Cancel rows that we made and never confirmed. Rows that meanwhile have a description are left alone.
    CancelRows(Vec<(Key, ServerId)>),
    /// Cancel rows that requests without an answer have left, if they are that.
    CancelOrphans(Hunt),
    /// Delete a job's directory on WebDAV, or the files that it alone still shared; that there is nothing is success.
    Sweep {
        /// The job.
        key: Key,
        /// The server id the directory is named after.
        id: ServerId,
        /// Base URL.
        base: String,
        /// The job shares files: these go; it has no directory of its own.
        files: Option<Vec<Arc<str>>>,
    },
    /// Deliver stored results: rename, or copy and remove, into a directory made in `parent`.
    Deliver {
        /// The job.
        key: Key,
        /// Where they are.
        from: PathBuf,
        /// In which directory theirs is made.
        parent: PathBuf,
        /// Its name, if that is free.
        name: String,
        /// Leave them where they are, too.
        copy: bool,
    },
    /// Move stored results that nobody wants into the trash of the results directory.
    Discard {
        /// The job.
        key: Key,
        /// Where they are.
        dir: PathBuf,
    },
}

/// A download.
#[derive(Debug, Clone)]
pub struct Retrieve {
    /// The job.
    pub key: Key,
    /// Its row.
    pub id: ServerId,
    /// The run whose results they must be.
    pub run: Box<str>,
    /// The job's name, for the manifest.
    pub job_name: Option<Box<str>>,
    /// The directory in which the job's directory is made.
    pub parent: PathBuf,
    /// The name of the job's directory, if that is free: otherwise `NAME_1`, `NAME_2`...
    pub name: String,
    /// Paths that start so are not downloaded.
    pub exclude: Vec<String>,
}

/// A search for rows of ours that nobody knows as theirs.
#[derive(Debug, Clone)]
pub struct Hunt {
    /// The requests that may have made them, and what else is known.
    pub search: Search,
    /// Rows without a description that nobody here claims.
    pub ids: Vec<ServerId>,
    /// The newest other row that another client made: when that was tells whether one is at work.
    pub stranger: Option<ServerId>,
}

/// The most jobs in one request: what act itself uses.
pub const BATCH: usize = 100;

/// What a piece of work gives.
#[derive(Debug)]
pub enum Done {
    /// Something for each of the jobs it was about, and how the exchange as a whole went (for the gates: a server that
    /// is away or a credential that is refused stops more than one job).
    Jobs {
        /// For each job what came of it. Every key of the work appears exactly once, but for
        /// [`Input::Columns`], which come besides.
        inputs: Vec<(Key, Input)>,
        /// The failure of the exchange itself, if it failed.
        fault: Option<Fault>,
    },
    /// The server's list.
    Listed(Result<Listing, Fault>),
    /// Nothing was begun: another identity has come into force since it was planned.
    Outdated,
    /// What came of a [`Hunt`].
    Orphans {
        /// Rows that were ours and are gone, each with the number of the request that it counts for.
        gone: Vec<(ServerId, u64)>,
        /// When more of them may be ours for certain.
        again: Option<Time>,
        /// The exchange failed; some may be gone all the same.
        fault: Option<Fault>,
    },
}

/// A complete list of the server's jobs of the identity in force.
#[derive(Debug)]
pub struct Listing {
    /// By server id.
    pub rows: HashMap<ServerId, Row>,
    /// When the request was sent: it proves nothing of what was done after that.
    pub sent: Time,
    /// What it tells of the server's clock.
    pub skew: Option<Skew>,
}

impl Done {
    /// What came of the one job that the work was about.
    fn one(key: Key, input: Input, fault: Option<Fault>) -> Self {
        Self::Jobs { inputs: vec![(key, input)], fault }
    }

    /// There was nothing to do.
    fn nothing() -> Self {
        Self::Jobs { inputs: Vec::new(), fault: None }
    }
}

/// The exchange failed: the same for every job of it.
fn whole(keys: impl Iterator<Item = Key>, fault: Fault, input: impl Fn(Fault) -> Input) -> Done {
    let inputs = keys.map(|key| (key, input(fault.clone()))).collect();
    Done::Jobs { inputs, fault: Some(fault).filter(trouble::stops_all) }
}

/// The ids of one request; none if there are none. A batch never has more than a request takes.
fn ids_of(ids: impl Iterator<Item = ServerId>) -> Option<Ids> {
    Ids::new(ids)
}

/// The URL of a job's directory on a WebDAV store.
fn webdav_dir(base: &str, id: ServerId) -> String {
    format!("{}/{id}", base.trim_end_matches('/'))
}

/// An input's name without `.` and doubled slashes, which mean nothing on the server's disk and cannot be in a URL.
fn plain_path(name: &str) -> String {
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    parts.join("/")
}
