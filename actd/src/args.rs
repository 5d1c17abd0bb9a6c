//! The daemon's command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::config::values::duration;

/// Keeps your jobs on an aCT server: submits, watches, downloads and cleans up. Usually started by `actctl` or as a
/// systemd user service.
#[derive(Debug, Parser)]
#[command(name = "actd", version)]
pub struct Args {
    /// Do this instead of running
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Mend a job cache that cannot be opened or read: keep every record that can be read, put the old cache aside, end
    #[arg(long)]
    pub recover: bool,
    /// Config file [default: $XDG_CONFIG_HOME/act-client/config.yaml]
    #[arg(long, value_name = "FILE", global = true)]
    pub conf: Option<PathBuf>,
    /// URL of the aCT server, instead of the config's
    #[arg(long, value_name = "URL", global = true)]
    pub server: Option<String>,
    /// Port of the aCT server
    #[arg(long, value_name = "PORT", global = true)]
    pub port: Option<u16>,
    /// State directory
    #[arg(long, value_name = "DIR", global = true)]
    pub state: Option<PathBuf>,
    /// Read the configuration, print as one line of JSON whether it can be used, and end
    #[arg(long)]
    pub check: bool,
    /// End after so long without jobs and clients, such as 30m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub idle_exit: Option<Duration>,
    /// Report to this file descriptor how the start went
    #[arg(long, value_name = "FD", value_parser = clap::value_parser!(i32).range(3..))]
    pub ready_fd: Option<i32>,
}

/// What the program does besides running.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Write all jobs as JSON lines, while no daemon runs
    Export {
        /// To this file, which must not be there yet; else to standard output
        file: Option<PathBuf>,
    },
    /// Take jobs from such lines into a state directory that holds none
    Import {
        /// From this file; else from standard input
        file: Option<PathBuf>,
    },
    /// Write the manual pages of this program into a directory: for packages
    #[command(hide = true)]
    Man {
        /// The directory
        dir: PathBuf,
    },
}
