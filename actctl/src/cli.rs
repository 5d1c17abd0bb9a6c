//! The command line: every verb, flag and default. Definitions only; what they do is in `cmd/`.
//!
//! Verbs and flags of the Python client `act` 1.0.0 keep their names, short forms and defaults. As with Python's argparse,
//! long options may be shortened while they stay unambiguous, and the last of a repeated option counts.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

use crate::cli_jobs::{Bulk, Cat, Get, History, Log, Ls, Run, Stat, Sub, Tail, Wait, Webdav, Why};
use crate::cli_xrsl::{Check, Fmt};
use crate::complete;

/// Submit, watch and collect jobs of an aCT server through actd.
#[derive(Debug, Parser)]
#[command(name = "actctl", version, infer_long_args = true, args_override_self = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 ok, 1 some items failed, 2 usage, 3 credential, 4 job description, 5 server, CE or \
                        WebDAV, 6 local disk or permissions, 7 timeout, 8 daemon, 70 bug, 125 `run` itself, 130 interrupted, 141 broken pipe."
)]
pub struct Cli {
    /// Options of every verb.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of every verb; they may stand before or after it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// URL of aCT server
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// Port of aCT server
    #[arg(long, global = true)]
    pub port: Option<u16>,
    /// Path to configuration file
    #[arg(long, global = true, value_name = "FILE")]
    pub conf: Option<PathBuf>,
    /// Tell on stderr what is done
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// One JSON value on stdout (streams: one a line)
    #[arg(long, global = true)]
    pub json: bool,
    /// Colours on stderr
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
    /// No progress bars
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// No progress, warnings or notes
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show info about aCT server
    Info,
    /// Submit proxy certificate, or show what it is worth
    Proxy(Proxy),
    /// Submit job descriptions
    Sub(Sub),
    /// Print status for jobs
    Stat(Stat),
    /// Download results of done and donefailed jobs
    Get(Get),
    /// Print stdout or stderr of the job
    Cat(Cat),
    /// Fetch failed jobs: have the server get their results
    Fetch(Bulk),
    /// Resubmit failed jobs
    Resub(Bulk),
    /// Kill jobs
    Kill(Bulk),
    /// Clean failed, done and donefailed jobs
    Clean(Bulk),
    /// Wait until jobs have ended
    Wait(Wait),
    /// Submit one description, wait, show its output, get its results, exit with its code
    Run(Run),
    /// Make jobs that another client submitted our own
    Adopt(Bulk),
    /// List jobs that are finished with
    History(History),
    /// Show what happened to a job
    Log(Log),
    /// Show failures, grouped by cause
    Why(Why),
    /// Show the end of a job's output; -f follows it
    Tail(Tail),
    /// List a job's files
    Ls(Ls),
    /// Watch all jobs on the whole screen; kill, resubmit, fetch and clean from there
    Top,
    /// Print events as they happen
    Events(Events),
    /// Say what is wrong with job descriptions
    Check(Check),
    /// Lay job descriptions out, one attribute to a line
    Fmt(Fmt),
    /// Watch directories: descriptions that are put there are submitted
    #[command(subcommand)]
    Dir(Dir),
    /// Control the daemon
    #[command(subcommand)]
    Daemon(Daemon),
    /// Look at everything that is needed, and say what to do about what is missing
    Doctor,
    /// Show the configuration
    #[command(subcommand)]
    Config(Config),
    /// Call a method of the daemon's API
    Rpc(Rpc),
    /// Serve an editor: the language server for job descriptions, on stdin and stdout
    Lsp(Lsp),
    /// Print a completion script
    Completions(Completions),
    /// Print the manual page, or write all of them into a directory
    Man(Man),
}

/// `proxy`.
#[derive(Debug, Args)]
pub struct Proxy {
    /// Show the proxy, its attributes and the token instead of submitting
    #[arg(long)]
    pub status: bool,
    /// The proxy file, instead of X509_USER_PROXY, the config's, or /tmp/x509up_uUID
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Take another identity than the one that the daemon has jobs of
    #[arg(long)]
    pub switch_identity: bool,
}

/// `events`.
#[derive(Debug, Args)]
pub struct Events {
    /// Start after the event of this number; without it: from now on (all that are kept, with --no-follow)
    #[arg(long, value_name = "NUMBER")]
    pub since: Option<u64>,
    /// Only events of this type (job, credential, server, dir); repeatable
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
    /// Print what there is and end
    #[arg(long)]
    pub no_follow: bool,
    /// Only events about these jobs
    #[arg(value_name = "JOB", add = ArgValueCompleter::new(complete::jobs))]
    pub select: Vec<String>,
}

/// `dir ...`.
#[derive(Debug, Subcommand)]
pub enum Dir {
    /// Watch a directory, or change how it is watched
    Add(DirAdd),
    /// List watched directories and how they stand
    List,
    /// Watch a directory no longer; its files stay
    Rm(DirOne),
    /// Take no files out of it until it is resumed
    Pause(DirOne),
    /// Take files out of it again
    Resume(DirOne),
}

/// `dir add`.
#[derive(Debug, Args)]
pub struct DirAdd {
    /// The directory
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// A name of a list of clusters in the config, or a comma separated list of cluster URLs; without it: default
    #[arg(long, value_name = "CLUSTERLIST")]
    pub clusterlist: Option<String>,
    /// Stage through WebDAV
    #[command(flatten)]
    pub webdav: Webdav,
    /// Where results go, instead of DIR/results
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// How long a file must have stayed as it is, instead of 1s
    #[arg(long, value_name = "TIME")]
    pub settle: Option<String>,
    /// Remove what has been in DIR/accepted and DIR/failed for so long
    #[arg(long, value_name = "TIME")]
    pub sweep: Option<String>,
    /// Look every two seconds instead of waiting for the file system's events
    #[arg(long)]
    pub poll: bool,
}

/// A watched directory.
#[derive(Debug, Args)]
pub struct DirOne {
    /// The directory
    #[arg(value_name = "DIR", add = ArgValueCompleter::new(complete::dirs))]
    pub dir: PathBuf,
}

/// `daemon ...`.
#[derive(Debug, Subcommand)]
pub enum Daemon {
    /// Make it a service of yours, which starts when you log in and, with lingering, runs on after you log out
    Install,
    /// End the service and remove what `install` made; jobs, results and state stay
    Uninstall,
    /// Start it, if it does not run
    Start,
    /// Stop it; work goes on at its next start
    Stop(Stop),
    /// Stop and start it
    Restart(Stop),
    /// Read the configuration again
    Reload,
    /// Show what it is doing, and what waits for what
    Status,
    /// List the daemons of this user
    List,
    /// Print its log
    Logs {
        /// Go on as it grows
        #[arg(short, long)]
        follow: bool,
        /// How many lines to begin with
        #[arg(long, default_value_t = 200, value_name = "N")]
        lines: usize,
        /// Only what was done for one command: `-v` and failures show its request id
        #[arg(long, value_name = "ID")]
        request: Option<String>,
    },
}

/// `daemon stop` and `daemon restart`.
#[derive(Debug, Args)]
pub struct Stop {
    /// How long it may take to end when it is asked to, and then by a signal, before it is killed: 30s, 2m. Usually a minute,
    /// and 20 seconds
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
}

/// `config ...`.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Show the settings in force
    Show {
        /// With the origin of each: flag, environment, file, default
        #[arg(long)]
        origin: bool,
    },
    /// Print the path of the config file
    Path,
}

/// `rpc`.
#[derive(Debug, Args)]
pub struct Rpc {
    /// The method, `jobs.list`; `rpc.discover` describes them all
    #[arg(required_unless_present = "stdio")]
    pub method: Option<String>,
    /// The parameter object as JSON; `-` reads it from stdin
    pub params: Option<String>,
    /// Pass stdin to the daemon and its answers to stdout: one JSON value a line, or Content-Length framing
    #[arg(long, conflicts_with_all = ["method", "params"])]
    pub stdio: bool,
}

/// `lsp`.
#[derive(Debug, Args)]
pub struct Lsp {
    /// Taken for the sake of editors that always give it; there is no other way
    #[arg(long, hide = true)]
    pub stdio: bool,
}

/// `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `man`.
#[derive(Debug, Args)]
pub struct Man {
    /// Write a page for each verb there
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
