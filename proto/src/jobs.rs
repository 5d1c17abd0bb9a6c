//! `jobs.*`, `operations.*`, `transfers.*`: submitting, looking, waiting, delivering, managing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Which jobs a call is about. All given conditions must hold; an empty filter is every job (calls that change jobs then
/// demand `all`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Selector terms, any of which may match: `28517`, `28517-28520`, `1-9:2`, `j12`, `last`, `last:5`, `@batch`, an ARC
    /// job URL or the hash at its end, a job name. Numbers are the server's ids.
    pub select: Vec<String>,
    /// A part of the job's name, case-sensitive.
    pub name: Option<String>,
    /// The server's states (arcstate), any of which may match, in any case. An empty word matches no job.
    pub states: Vec<String>,
    /// Only jobs submitted, or first seen, at or after this moment.
    pub since: Option<Timestamp>,
    /// Every job is meant. Needed by calls that change jobs when nothing else is given.
    pub all: bool,
}

/// Parameters of `jobs.submit`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SubmitParams {
    /// The descriptions. Each may hold several jobs (`+`).
    pub descriptions: Vec<Description>,
    /// A group of the config, or URLs separated by commas; nothing: the group `default`.
    pub clusterlist: Option<String>,
    /// Stage local inputs through WebDAV: `""` takes the config's URL, anything else is the URL.
    pub webdav: Option<String>,
    /// With `webdav`: give each job files of its own (`BASE/ID/NAME`, as act does) instead of uploading equal files once.
    pub no_dedupe: bool,
    /// A name for all of them; nothing: one is made up.
    pub batch: Option<String>,
    /// The caller's own name for this call. The same name again gives the same jobs and submits nothing.
    pub client_ref: Option<String>,
    /// Where results go instead of the config's directory.
    pub results: Option<String>,
    /// Leave the results on the server until somebody gets them.
    pub no_download: bool,
    /// Name the results' directory after the job.
    pub use_jobname: bool,
    /// Submit in spite of lint errors that ARC itself would accept.
    pub force: bool,
    /// Check only: nothing is stored or sent, the reply says what would be.
    pub dry_run: bool,
    /// Answer only when each job is on the server or has failed.
    pub wait: bool,
    /// Submit nothing if the credential ends within so many seconds.
    pub min_lifetime_s: Option<u64>,
    /// Refuse jobs whose walltime is longer than the credential lives.
    pub fits_lifetime: bool,
}

/// A job description to submit.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Description {
    /// xRSL (or ADL) text.
    pub text: String,
    /// The file it came from, as the user named it, for messages.
    pub path: Option<String>,
    /// Absolute directory that relative input paths are relative to.
    pub base_dir: String,
}

/// Reply of `jobs.submit`: one item per job, in the order of the descriptions.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SubmitReply {
    /// The batch's name.
    pub batch: String,
    /// Revision before the jobs were added: wait for changes from here. 0 if a `client_ref` was known already.
    pub rev: u64,
    /// What became of each.
    pub items: Vec<SubmitItem>,
}

/// One job of a submission.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SubmitItem {
    /// Index of its description in the request.
    pub description: usize,
    /// The job's key; null: not accepted, see `error`.
    pub key: Option<String>,
    /// The job's name, if the description could be read.
    pub name: Option<String>,
    /// Why it was not accepted, in one line.
    pub error: Option<String>,
    /// The kind of that error; null with an `error`: the description is bad.
    pub error_kind: Option<crate::Kind>,
    /// Findings in the description, errors and warnings.
    pub diagnostics: Vec<Diagnostic>,
    /// With `dry_run`: what would be sent.
    pub plan: Option<Plan>,
}

/// A finding in a job description.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Diagnostic {
    /// Stable code: `E21`.
    pub code: String,
    /// `error`, `warning` or `hint`.
    pub level: String,
    /// The sentence.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// What a submission would send.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The clusters, in order.
    pub clusters: Vec<String>,
    /// The description; a WebDAV source whose job id is not known yet says `<ID>`.
    pub description: String,
    /// The files that would be uploaded.
    pub uploads: Vec<PlannedUpload>,
}

/// A file of a [`Plan`].
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PlannedUpload {
    /// The name in the job's session directory.
    pub name: String,
    /// The local file.
    pub path: String,
    /// Where it goes: a URL.
    pub to: String,
    /// Size in bytes.
    pub size: u64,
}

/// Who a job belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Submitted through this daemon.
    Submitted,
    /// Submitted elsewhere and adopted.
    Adopted,
    /// Submitted elsewhere: shown, and touched only by explicit calls.
    Foreign,
}

/// Where a job stands for the daemon (`arcstate` is where it stands for the server).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Accepted and on disk; nothing sent.
    Queued,
    /// The request for a row on the server is under way.
    Creating,
    /// It has a row, without a description.
    Created,
    /// Its inputs are being uploaded.
    Uploading,
    /// The description is being sent.
    Confirming,
    /// On the server.
    Active,
    /// Its results are being downloaded.
    Retrieving,
    /// The results are complete on disk; the server is not yet clean.
    Retrieved,
    /// The server is being cleaned.
    Cleaning,
    /// The results are on disk and the server is clean; nobody has collected them yet.
    Stored,
    /// The results are being delivered.
    Collecting,
    /// A submission that failed is being undone.
    Undoing,
    /// The row vanished while its submission was being confirmed: it may have run. A person must decide.
    Unknown,
    /// Finished with: in the history.
    Closed,
}

/// A job.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// The daemon's name for it, never used again: `j12`.
    pub key: String,
    /// The server's id; null: it has none yet.
    pub id: Option<u64>,
    /// Its name.
    pub name: Option<String>,
    /// The server's state of it; null: not known to ARC yet.
    pub arcstate: Option<String>,
    /// ARC's state of it.
    pub state: Option<String>,
    /// ARC's URL of it.
    pub job_id: Option<String>,
    /// The daemon's state of it.
    pub phase: Phase,
    /// How it ended, for closed jobs: `collected`, `cleaned`, `killed`, `gone`, `not_submitted`, `expired`.
    pub outcome: Option<String>,
    /// What it waits for, if it cannot go on.
    pub waiting: Option<Waiting>,
    /// Who submitted it.
    pub origin: Origin,
    /// The batch it was submitted in.
    pub batch: Option<String>,
    /// The file that described it.
    pub description: Option<String>,
    /// WebDAV base it was staged through.
    pub webdav: Option<String>,
    /// Where its results are, once they are complete.
    pub results: Option<String>,
    /// What went wrong: the server's or ARC's words.
    pub error: Option<String>,
    /// The kind of that error, for a job that was not submitted.
    #[serde(default)]
    pub error_kind: Option<crate::Kind>,
    /// The exit code, as far as ARC tells it.
    pub exit_code: Option<i64>,
    /// Bytes done and to do of the transfer under way.
    pub progress: Option<Progress>,
    /// When it was submitted, or first seen.
    pub submitted: Timestamp,
    /// When anything of it last changed.
    pub changed: Timestamp,
    /// The revision in which it last changed.
    pub rev: u64,
}

/// Why a job does not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// Stable word, as in [`crate::daemon::WaitingGroup`].
    pub reason: String,
    /// The sentence.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// When it is tried again; null: when what it waits for has happened.
    pub until: Option<Timestamp>,
}

/// Progress of a job's transfers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// Bytes moved.
    pub bytes: u64,
    /// Bytes in all, as far as known.
    pub total: u64,
    /// Files complete.
    pub files: u64,
}

/// Parameters of `jobs.list`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListParams {
    /// Which.
    pub filter: Filter,
    /// At most so many; nothing: 10,000, which is also the bound.
    pub limit: Option<usize>,
    /// Only after this key, in the order of keys: the next page.
    pub after: Option<String>,
    /// Only jobs that changed after this revision.
    pub since_rev: Option<u64>,
    /// Closed jobs too.
    pub closed: bool,
    /// The server's list may be so old, in milliseconds; older: it is read again, within the daemon's own limits.
    pub max_age_ms: Option<u64>,
}

/// Parameters of `jobs.changes`. Jobs that are closed are told of if their keys are asked for; keys of jobs that are no more
/// (another client removed them from the server) come in `missing`, and end no waiting. Where more have changed than one
/// answer holds, it has a `next`: ask again with the same `since_rev` and `after` set to it, and go on from the `rev` of
/// the first of these answers.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChangesParams {
    /// Keys of the jobs to look at, `j12`; none: all.
    pub keys: Vec<String>,
    /// Answer with jobs that changed after this revision, as soon as there is one.
    pub since_rev: u64,
    /// Without `keys`: only after this key, in the order of keys: the next page.
    pub after: Option<String>,
    /// How long to wait, in milliseconds; at most 60,000.
    pub timeout_ms: u64,
    /// Leave out jobs that are on their way to the server and wait for nothing: for whoever waits for them to be there,
    /// the steps between are no news.
    pub settled: bool,
}

/// A page of jobs.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct JobList {
    /// `act.jobs/1`.
    pub schema: String,
    /// When the server's list was last read completely.
    pub as_of: Option<Timestamp>,
    /// The revision of this answer.
    pub rev: u64,
    /// The jobs, in the order of their keys.
    pub items: Vec<Job>,
    /// There are more: ask again with `after` set to this.
    pub next: Option<String>,
    /// Terms of the selector, or keys, that name no job.
    pub missing: Vec<String>,
}

/// Parameters of `jobs.stat`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StatParams {
    /// Which.
    pub filter: Filter,
    /// Columns of the server's client table: `id`, `jobname`, ...
    pub client: Vec<String>,
    /// Columns of its ARC table: `JobID`, `State`, `arcstate`, ...
    pub arc: Vec<String>,
    /// The server's list may be so old, in milliseconds; older: it is read again, within the daemon's own limits.
    pub max_age_ms: Option<u64>,
    /// At most so many rows; nothing: 10,000, which is also the bound.
    pub limit: Option<usize>,
    /// Only rows after this key, in the order of the rows: the next page.
    pub after: Option<String>,
}

/// Reply of `jobs.stat`. Cells are in the order of the columns asked for: client's, then arc's.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct StatReply {
    /// When the server's list was last read completely.
    pub as_of: Option<Timestamp>,
    /// The rows' keys, same order as `rows`.
    pub keys: Vec<String>,
    /// The cells: strings, numbers or null, as the server has them.
    pub rows: Vec<Vec<serde_json::Value>>,
    /// Terms of the selector that name no job.
    pub missing: Vec<String>,
    /// Why these may be old, and other things to tell on stderr.
    pub warnings: Vec<String>,
    /// There are more rows: ask again with `after` set to this.
    pub next: Option<String>,
}

/// Parameters of `jobs.history`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HistoryParams {
    /// Which.
    pub filter: Filter,
    /// At most so many, 10,000 at most; nothing: 1,000.
    pub limit: Option<usize>,
}

/// Parameters of methods about one job.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneParams {
    /// A selector that names exactly one job.
    pub job: String,
}

/// Reply of `jobs.log`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct JobLog {
    /// The job as it is now.
    pub job: Job,
    /// What happened to it, oldest first.
    pub entries: Vec<LogEntry>,
}

/// A line of a job's timeline.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LogEntry {
    /// When.
    pub at: Timestamp,
    /// Number of the event.
    pub seq: u64,
    /// What happened: `phase` or `arcstate` changed, a retry, a wish.
    pub what: String,
    /// Words for people.
    pub text: String,
}

/// Parameters of `jobs.get`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GetParams {
    /// Which; only jobs with results (`done`, `donefailed`) are taken.
    pub filter: Filter,
    /// Absolute directory in which the jobs' directories are made.
    pub dir: String,
    /// Name directories after the jobs.
    pub use_jobname: bool,
    /// Do not clean the server; implies `copy`.
    pub noclean: bool,
    /// Copy results that are already on disk instead of moving them.
    pub copy: bool,
    /// WebDAV base of jobs that have none remembered.
    pub webdav: Option<String>,
    /// Paths that start so are not downloaded: `gmlog/`.
    pub exclude: Vec<String>,
}

/// Reply of calls that start an operation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct OperationStarted {
    /// The operation's name: `o12`.
    pub operation: String,
    /// How many jobs it is about.
    pub jobs: u64,
    /// Their keys. Empty: an older daemon, which does not tell.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Terms of the selector that name no job, or none in the right state.
    pub missing: Vec<String>,
    /// Jobs among them that another client submitted.
    pub foreign: u64,
}

/// Parameters of `operations.get`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OperationParams {
    /// Its name.
    pub operation: String,
    /// Items already seen: answer with those after them.
    pub seen: usize,
    /// How long to wait for news, in milliseconds; at most 60,000.
    pub timeout_ms: u64,
}

/// Parameters of `operations.cancel`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationCancelParams {
    /// Its name.
    pub operation: String,
}

/// An operation's state.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Operation {
    /// Its name.
    pub operation: String,
    /// Whether all its items are done (or it was cancelled).
    pub done: bool,
    /// How many jobs it is about.
    pub total: u64,
    /// The items that ended after those `seen`.
    pub items: Vec<OperationItem>,
    /// Bytes of its jobs under way.
    pub progress: Progress,
}

/// What became of one job of an operation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct OperationItem {
    /// The job's key.
    pub key: String,
    /// The server's id.
    pub id: Option<u64>,
    /// The job's name.
    pub name: Option<String>,
    /// The results' directory, relative to the asked-for one; null: it had no files, or failed.
    pub dir: Option<String>,
    /// Why it failed.
    pub errors: Vec<String>,
    /// The server has been, or will be, cleaned of it.
    pub cleaned: bool,
}

/// Parameters of `jobs.cat`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CatParams {
    /// A selector that names exactly one job.
    pub job: String,
    /// `stdout`, `stderr`, or a path among the job's files.
    pub file: String,
    /// From this byte.
    pub offset: u64,
    /// At most so many bytes; nothing: 1 MiB, which is also the bound.
    pub length: Option<u64>,
}

/// Reply of `jobs.cat`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CatReply {
    /// The bytes, in base64; null: the job has no such file yet.
    pub data: Option<String>,
    /// Bytes of the whole file as it is now; null: there is none, or an older daemon does not tell.
    #[serde(default)]
    pub size: Option<u64>,
    /// Where the next piece starts.
    pub next: u64,
    /// There is nothing after it now.
    pub eof: bool,
    /// The job will write no more.
    pub ended: bool,
}

/// Reply of `jobs.files`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FileList {
    /// `results` (on this machine) or `session` (at the computing element).
    pub place: String,
    /// The files, sorted by path.
    pub files: Vec<FileEntry>,
}

/// A file of a job.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FileEntry {
    /// Path relative to the job's directory.
    pub path: String,
    /// Bytes; null: not known.
    pub size: Option<u64>,
    /// sha256 in hex, of downloaded files.
    pub sha256: Option<String>,
}

/// Parameters of the calls that manage jobs.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BulkParams {
    /// Which.
    pub filter: Filter,
    /// WebDAV base of jobs that have none remembered.
    pub webdav: Option<String>,
    /// Say what would be done, do nothing.
    pub dry_run: bool,
}

/// Reply of the calls that manage jobs.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Bulk {
    /// Jobs it was done to.
    pub ok: Vec<BulkItem>,
    /// Jobs it was tried on in vain.
    pub failed: Vec<BulkFailure>,
    /// Jobs that matched but whose state does not allow it.
    pub skipped: Vec<BulkItem>,
    /// Terms of the selector that name no job.
    pub missing: Vec<String>,
    /// How many of `ok` another client submitted.
    pub foreign: u64,
}

/// A job of a [`Bulk`].
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct BulkItem {
    /// The job's key.
    pub key: String,
    /// The server's id.
    pub id: Option<u64>,
    /// The job's name.
    pub name: Option<String>,
    /// The server's state of it.
    pub arcstate: Option<String>,
}

/// A job of a [`Bulk`] that failed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct BulkFailure {
    /// The job.
    pub job: BulkItem,
    /// Why.
    pub error: String,
}

/// Reply of `transfers.list`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TransferList {
    /// The transfers, oldest first.
    pub items: Vec<Transfer>,
}

/// A transfer under way.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Transfer {
    /// The job's key.
    pub key: String,
    /// `upload`, `download` or `deliver`.
    pub kind: String,
    /// Bytes and files.
    pub progress: Progress,
}
