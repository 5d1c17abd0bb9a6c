//! The rows of the table, one module for each kind of work.

mod cache;
mod dirs;
mod get;
mod idle;
mod large_file;
mod poll;
mod rpc;
mod shared;
mod startup;
mod stat;
mod submit;

use crate::report::Report;

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Turns of each comparison.
    pub(crate) rounds: usize,
    /// Jobs where a table has 1,000; the others follow from it.
    pub(crate) thousand: usize,
    /// Bytes of the large file.
    pub(crate) large: u64,
    /// Seconds that a daemon is left alone, and then watched.
    pub(crate) idle: (u64, u64),
}

impl Size {
    /// For the table.
    pub(crate) const FULL: Self = Self { rounds: 5, thousand: 1_000, large: 500_000_000, idle: (60, 120) };
    /// To see that all of it works.
    pub(crate) const TINY: Self = Self { rounds: 1, thousand: 20, large: 1_000_000, idle: (0, 1) };
}

/// A kind of work, by its name for `--only`.
type Work = (&'static str, fn(&Size, &mut Report));

/// All, in the order of the table.
pub(crate) const ALL: &[Work] = &[
    ("startup", startup::run),
    ("stat", stat::run),
    ("sub", submit::run),
    ("shared", shared::run),
    ("get", get::run),
    ("large", large_file::run),
    ("poll", poll::run),
    ("idle", idle::run),
    ("cache", cache::run),
    ("rpc", rpc::run),
    ("dirs", dirs::run),
];
