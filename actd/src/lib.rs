//! `actd` keeps a user's jobs on an aCT server: submits each exactly once, downloads what finishes, cleans up behind
//! itself. The map of the code is `ARCHITECTURE.md` beside this package.

pub mod args;
pub mod auth;
pub mod call;
pub mod config;
pub mod daemon;
pub mod dirs;
pub mod engine;
pub mod failpoint;
pub mod fsutil;
pub mod hooks;
pub mod intake;
pub mod job;
pub mod log;
mod memory;
pub mod remote;
pub mod rpc;
pub mod secret;
pub mod store;
mod upkeep;
pub mod work;

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, RawFd};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use act_proto::error::{ApiError, Kind};
use act_proto::instance::Selection;
use act_proto::start::StartReport;
use clap::CommandFactory as _;
use rustix::fs::Mode;
use rustix::process::DumpableBehavior;

use args::Args;
use config::{Config, Flags};
use daemon::{Ready, Start};

/// Runs the daemon to its end; gives the exit code of the process.
#[must_use]
pub fn run(args: Args) -> ExitCode {
    if let Some(args::Command::Man { dir }) = &args.command {
        return manual(dir);
    }
    // Everything made from here on is the user's alone; results are given the mask of whoever started this when they are
    // published: the user's shell, or their service manager.
    let umask = rustix::process::umask(Mode::from_raw_mode(0o077)).as_raw_mode();
    let ready = match args.ready_fd.map(ready).transpose() {
        Ok(ready) => ready,
        Err(e) => return fail(&ApiError::new(Kind::BadParams, format!("--ready-fd: {e}")), None),
    };
    // No core dump of this process, and no other process of the user may read its memory: it holds a key.
    if let Err(e) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        return fail(&ApiError::new(Kind::Internal, format!("prctl: {e}")), ready);
    }
    let selection = Selection { conf: args.conf, server: args.server, port: args.port };
    let flags = Flags { selection, state: args.state };
    let config = match Config::load(&flags) {
        Ok(_) if args.check => return say(&StartReport::ready(), ExitCode::SUCCESS),
        Ok(config) => config,
        Err(e) if args.check => return say(&StartReport::failed(&e), ExitCode::from(e.data.kind.exit())),
        Err(e) => return fail(&e, ready),
    };
    if args.recover || args.command.is_some() {
        return match upkeep::run(&config, args.command.as_ref()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => fail(&e, ready),
        };
    }
    if let Err(e) = log::start(config.log.as_deref()) {
        return fail(&ApiError::new(Kind::LocalFile, format!("the log: {e}")), ready);
    }
    memory::tame();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(&ApiError::new(Kind::Internal, format!("no threads: {e}")), ready),
    };
    let start = Start { flags, config, idle_exit: args.idle_exit, ready, umask };
    let result = runtime.block_on(daemon::run(start));
    // Whatever still blocks (a hanging file system) must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(2));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("{e}");
            fail(&e, None)
        }
    }
}

/// Writes the manual pages, made from the same definitions as the help.
fn manual(dir: &Path) -> ExitCode {
    let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Args::command(), dir));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let what = format!("cannot write manual pages to {}: {e}", dir.display());
            fail(&ApiError::new(Kind::LocalFile, what), None)
        }
    }
}

/// The descriptor that the starter passed.
fn ready(fd: RawFd) -> io::Result<Ready> {
    // SAFETY: only to ask whether it is open; borrowed for these two calls, before anything else runs in this process.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::io::fcntl_setfd(borrowed, rustix::io::fcntl_getfd(borrowed)? | rustix::io::FdFlags::CLOEXEC)?;
    // SAFETY: the starter opened it for us, as the command line says, and it is open; nothing else here knows of it.
    Ok(Ready(unsafe { File::from_raw_fd(fd) }))
}

/// Prints a report for the program that asked.
fn say(report: &StartReport, code: ExitCode) -> ExitCode {
    let line = serde_json::to_string(report).unwrap_or_default() + "\n";
    match io::Write::write_all(&mut io::stdout(), line.as_bytes()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(e: &ApiError, ready: Option<Ready>) -> ExitCode {
    if let Some(ready) = ready {
        ready.report(&StartReport::failed(e));
    }
    // The log may not be there yet, or be a file that nobody looks at.
    let mut text = format!("actd: error: {e}\n");
    if let Some(hint) = &e.data.hint {
        text.push_str(&format!("actd: hint: {hint}\n"));
    }
    let _ = io::Write::write_all(&mut io::stderr(), text.as_bytes());
    ExitCode::from(e.data.kind.exit())
}
