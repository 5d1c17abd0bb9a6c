//! The arguments of the verbs that look at job descriptions only: `check` and `fmt`. Definitions only.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Job descriptions, xRSL or ADL; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How to print what is found
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// Correct what can be corrected, in the files
    #[arg(long, conflicts_with = "canonical")]
    pub fix: bool,
    /// Directory that local inputs are relative to, instead of the current one
    #[arg(long, value_name = "DIR")]
    pub base_dir: Option<PathBuf>,
    /// Print the evaluated jobs as ARC keeps them, a JSON array of strings; only ARC's own verdict counts
    #[arg(long)]
    pub canonical: bool,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// With the line and a mark under the place
    Human,
    /// One JSON value
    Json,
    /// file:line:column: error: message
    Gcc,
    /// SARIF 2.1.0
    Sarif,
}

/// `fmt`.
#[derive(Debug, Args)]
pub struct Fmt {
    /// Job descriptions, which are rewritten; - is standard input to standard output
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Change nothing, name the files that would change and exit with 1
    #[arg(long)]
    pub check: bool,
}
