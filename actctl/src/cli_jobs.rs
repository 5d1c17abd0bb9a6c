//! The arguments of the verbs that work on jobs. Definitions only.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

use crate::complete;

/// Which jobs.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which jobs")]
pub struct JobArgs {
    /// All jobs; on kill and clean: yes, really all
    #[arg(short, long)]
    pub all: bool,
    /// IDs of jobs: 5,7-9; or a file with IDs, or - for stdin
    #[arg(short, long, allow_negative_numbers = true, add = ArgValueCompleter::new(complete::ids))]
    pub id: Option<String>,
    /// Substring that jobs should have in name
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub name: String,
    /// Only jobs in this state; repeatable
    #[arg(short, long = "state", value_name = "STATE", add = ArgValueCompleter::new(complete::states))]
    pub states: Vec<String>,
    /// Only jobs of the last 90s, 30m, 2h, 3d, or since an RFC 3339 time
    #[arg(long, value_name = "AGE")]
    pub since: Option<String>,
    /// Exit with 1 if no job fits
    #[arg(long)]
    pub fail_empty: bool,
    /// 28517, 28517-28520, 1-9:2, j12, last, last:5, @batch, an ARC job URL or its hash, a job's name
    #[arg(value_name = "JOB", add = ArgValueCompleter::new(complete::jobs))]
    pub select: Vec<String>,
}

/// `--webdav[=URL]`. The word after it is its URL if it looks like one (see `words.rs`).
#[derive(Debug, Clone, Default, Args)]
pub struct Webdav {
    /// Stage through the user's WebDAV directory; without a URL: the config's
    #[arg(long, value_name = "URL", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub webdav: Option<String>,
}

/// `sub`.
#[derive(Debug, Clone, Args)]
pub struct Sub {
    /// Stage through WebDAV.
    #[command(flatten)]
    pub webdav: Webdav,
    /// With --webdav: a directory on the store for each job, as act has it, instead of one upload for equal files
    #[arg(long)]
    pub no_dedupe: bool,
    /// A name of a list of clusters in the config under "clusters", or a comma separated list of cluster URLs
    #[arg(long, default_value = "default", value_name = "CLUSTERLIST", add = ArgValueCompleter::new(complete::clusters))]
    pub clusterlist: String,
    /// Directory that relative input paths are relative to; without it: the current one
    #[arg(long, value_name = "DIR")]
    pub base_dir: Option<PathBuf>,
    /// Name for all these jobs, for selections with @NAME
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(complete::batches))]
    pub batch: Option<String>,
    /// Where results go, instead of the config's directory
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// Leave results on the server until somebody gets them
    #[arg(long)]
    pub no_download: bool,
    /// Name the results' directory after the job
    #[arg(long)]
    pub use_jobname: bool,
    /// Submit in spite of errors that ARC itself would accept
    #[arg(long)]
    pub force: bool,
    /// Show what would be sent; send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Submit only what the credential lives long enough for: a time such as 12h, or `walltime` for each job's own
    #[arg(long, value_name = "TIME|walltime")]
    pub min_lifetime: Option<String>,
    /// Return when the jobs are safe with the daemon, before they are on the server
    #[arg(long)]
    pub detach: bool,
    /// Submit a job for each row of a file: CSV whose first line names the columns, or JSON lines; $(NAME) in the
    /// description is the row's value
    #[arg(long, value_name = "FILE", conflicts_with = "range")]
    pub each: Option<PathBuf>,
    /// Submit a job for each number, both ends included: NAME=FIRST..LAST; several give every combination
    #[arg(long, value_name = "NAME=FIRST..LAST", action = ArgAction::Append)]
    pub range: Vec<String>,
    /// Path to job description file; - is stdin
    #[arg(value_name = "xRSL", required = true)]
    pub files: Vec<PathBuf>,
}

/// `stat`.
#[derive(Debug, Args)]
pub struct Stat {
    /// Which.
    #[command(flatten)]
    pub jobs: JobArgs,
    /// A comma separated list of columns from ARC table [default: JobID,State,arcstate]
    #[arg(long, value_name = "COLUMNS")]
    pub arc: Option<String>,
    /// A comma separated list of columns from client table [default: id,jobname]
    #[arg(long, value_name = "COLUMNS")]
    pub client: Option<String>,
    /// Get a list of possible columns from server
    #[arg(long)]
    pub get_cols: bool,
    /// Print again whenever a job changes, until Ctrl-C
    #[arg(long, conflicts_with = "get_cols")]
    pub watch: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table, value_name = "HOW")]
    pub output: Output,
    /// Columns of the daemon's own job list, comma separated: key,id,name,phase,results,... (see --json)
    #[arg(long, value_name = "COLUMNS")]
    pub columns: Option<String>,
    /// A line for each job: '{id} {name} {results}'
    #[arg(long, value_name = "TEMPLATE")]
    pub format: Option<String>,
}

/// How `stat` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// As act does.
    Table,
    /// What the daemon knows besides.
    Wide,
    /// Comma separated, with a head line.
    Csv,
    /// Only the ids.
    Ids,
    /// One JSON value.
    Json,
}

/// `get`.
#[derive(Debug, Args)]
pub struct Get {
    /// Which.
    #[command(flatten)]
    pub jobs: JobArgs,
    /// Its URL, for jobs that another client submitted.
    #[command(flatten)]
    pub webdav: Webdav,
    /// Name of download dir should be the same as job name
    #[arg(long)]
    pub use_jobname: bool,
    /// Do not clean jobs
    #[arg(long)]
    pub noclean: bool,
    /// Keep results in the results directory, too, where they are already downloaded
    #[arg(long)]
    pub copy: bool,
    /// Do not download paths that start so: gmlog/; repeatable
    #[arg(long, value_name = "PATH", action = ArgAction::Append)]
    pub exclude: Vec<String>,
    /// Put the jobs' directories there instead of the current directory
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// `cat`.
#[derive(Debug, Args)]
pub struct Cat {
    /// Which.
    #[command(flatten)]
    pub jobs: JobArgs,
    /// Print job's stdout (the default)
    #[arg(short = 'o', long)]
    pub stdout: bool,
    /// Print job's stderr
    #[arg(short = 'e', long)]
    pub stderr: bool,
    /// Print another of its files
    #[arg(long, value_name = "PATH", conflicts_with_all = ["stdout", "stderr"])]
    pub file: Option<String>,
}

/// `kill`, `clean`, `fetch`, `resub`, `adopt`.
#[derive(Debug, Args)]
pub struct Bulk {
    /// Which.
    #[command(flatten)]
    pub jobs: JobArgs,
    /// Its URL, for jobs that another client submitted.
    #[command(flatten)]
    pub webdav: Webdav,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Show what would be done; do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `wait`.
#[derive(Debug, Args)]
pub struct Wait {
    /// Which.
    #[command(flatten)]
    pub jobs: JobArgs,
    /// End as soon as one of them has ended
    #[arg(long)]
    pub any: bool,
    /// Give up after 90s, 30m, 2h (exit code 7)
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
}

/// `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// What `sub` takes.
    #[command(flatten)]
    pub sub: Sub,
    /// Give up waiting after 90s, 30m, 2h; the job goes on
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
    /// Leave the results where they are
    #[arg(long)]
    pub no_get: bool,
}

/// `history`.
#[derive(Debug, Args)]
pub struct History {
    /// Which.
    #[command(flatten)]
    pub jobs: JobArgs,
    /// At most so many
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub limit: usize,
}

/// `log`.
#[derive(Debug, Args)]
pub struct Log {
    /// The job
    #[arg(value_name = "JOB", add = ArgValueCompleter::new(complete::jobs))]
    pub job: String,
}

/// `why`.
#[derive(Debug, Args)]
pub struct Why {
    /// Which.
    #[command(flatten)]
    pub jobs: JobArgs,
}

/// `tail`.
#[derive(Debug, Args)]
pub struct Tail {
    /// Go on as it grows, until the job has ended
    #[arg(short, long)]
    pub follow: bool,
    /// How many lines
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub lines: usize,
    /// Its stderr
    #[arg(short = 'e', long)]
    pub stderr: bool,
    /// The job
    #[arg(value_name = "JOB", add = ArgValueCompleter::new(complete::jobs))]
    pub job: String,
    /// Another of its files
    #[arg(value_name = "PATH", conflicts_with = "stderr")]
    pub file: Option<String>,
}

/// `ls`.
#[derive(Debug, Args)]
pub struct Ls {
    /// With size and checksum
    #[arg(short, long)]
    pub long: bool,
    /// The jobs
    #[arg(value_name = "JOB", required = true)]
    pub select: Vec<String>,
}
