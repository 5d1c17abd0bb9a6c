//! The program `actd`: reads its arguments and runs the daemon.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    actd::run(actd::args::Args::parse())
}
