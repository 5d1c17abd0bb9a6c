//! The command line of actd, with the verbs of the Python client `act`.
//!
//! It uses nothing of the daemon but its API ([`act_proto`]) and holds no state of its own. `cli` says what can be
//! typed, `cmd` what happens then, `out` is the only module that prints
//! (`top` draws), `failure` the only one that knows exit codes.

pub mod cli;
pub mod cli_jobs;
pub mod cli_xrsl;
pub mod cmd;
pub mod complete;
pub mod connect;
pub mod ctx;
pub mod delivery;
pub mod failure;
pub mod follow;
pub mod gate;
pub mod grid;
pub mod ids;
pub mod lsp;
mod memory;
pub mod out;
pub mod pick;
pub mod progress;
pub mod service;
pub mod standing;
pub mod submit;
pub mod sweep;
pub mod table;
pub mod top;
pub mod watch;
pub mod words;

use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use clap_complete::CompleteEnv;
use serde_json::json;

use crate::cli::Cli;
use crate::ctx::Ctx;
use crate::failure::{BROKEN_PIPE, BUG, Failure, INTERRUPTED, OK, SERVER, SOME_FAILED, USAGE};

/// Runs a command line, from its words to its exit code.
#[must_use]
pub fn main(args: Vec<OsString>) -> ExitCode {
    memory::keep();
    let program = words::program(args.first().map(OsString::as_os_str));
    // The shell asks what could come next: see `completions`.
    complete::typed(&args);
    let asked = CompleteEnv::with_factory(|| Cli::command().name(program).bin_name(program));
    match asked.try_complete(args.clone(), std::env::current_dir().ok().as_deref()) {
        Ok(false) => {}
        Ok(true) => return ExitCode::from(OK),
        Err(_) => return ExitCode::from(USAGE),
    }
    let json = args.iter().any(|a| a == "--json");
    let parsed = Cli::command().name(program).bin_name(program).try_get_matches_from(words::join_webdav(args));
    let cli = match parsed.and_then(|m| Cli::from_arg_matches(&m)) {
        Ok(cli) => cli,
        Err(e) => return ExitCode::from(unparsed(&e, json)),
    };
    let ctx = Ctx::new(&cli.global);
    let Some(command) = &cli.command else {
        let help = Cli::command().name(program).bin_name(program).render_help();
        return ExitCode::from(ctx.out.text(&help.to_string()).map_or_else(|f| f.exit, |()| OK));
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            ctx.out.failure(&Failure::local(format!("cannot start: {e}")));
            return ExitCode::from(BUG);
        }
    };
    let outcome = runtime.block_on(async {
        if cmd::handles_interrupt(command) {
            return cmd::run(&ctx, command, program).await;
        }
        tokio::select! {
            // The verb first: while it reads its input before anything else, Ctrl-C is the system's and ends it at once.
            biased;
            outcome = cmd::run(&ctx, command, program) => outcome,
            _ = tokio::signal::ctrl_c() => Err(Failure::interrupted("")),
        }
    });
    // A question may still be waiting for its answer on another thread.
    runtime.shutdown_background();
    // One of several jobs has failed by what the daemon was told by a server: whoever reports it needs the thread.
    if matches!(outcome, Ok(SOME_FAILED | SERVER)) && cmd::asks_servers(command) {
        ctx.tell_request();
    }
    let owes = ctx.out.json && cmd::answers_once(command) && !ctx.out.has_written();
    ExitCode::from(match outcome {
        Ok(exit) if owes => {
            // Nothing to tell is told, too: `--json` gives one value.
            ctx.out.value(&json!({ "schema": "act.exit/1", "exit": exit })).map_or_else(|f| f.exit, |()| exit)
        }
        Ok(exit) => exit,
        Err(mut failure) => {
            if failure.exit == INTERRUPTED && failure.message.is_empty() && owes {
                failure.message = "interrupted".to_owned();
            }
            ctx.out.failure(&failure);
            failure.exit
        }
    })
}

/// Runs the program; what is a mistake of ours ends it with an exit code of its own, after its words on stderr.
#[must_use]
pub fn guarded(run: impl FnOnce() -> ExitCode) -> ExitCode {
    std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or(ExitCode::from(BUG))
}

/// Help, version, and what cannot be parsed.
fn unparsed(e: &clap::Error, json: bool) -> u8 {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    let shown = match e.kind() {
        DisplayHelp | DisplayVersion => return e.print().map_or_else(|e| Failure::stdout(&e).exit, |()| OK),
        DisplayHelpOnMissingArgumentOrSubcommand => e.print(),
        _ if json => {
            let message = e.render().to_string();
            let first = message.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            let value = Failure::usage(first).hint("see --help").json();
            std::io::Write::write_all(&mut std::io::stdout(), format!("{value}\n").as_bytes())
        }
        _ => e.print(),
    };
    match shown {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => BROKEN_PIPE,
        _ => USAGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_of_ours_has_an_exit_code_of_its_own() {
        let panicked = guarded(|| panic!("on purpose"));
        assert_eq!(format!("{panicked:?}"), format!("{:?}", ExitCode::from(70)));
        assert_eq!(format!("{:?}", guarded(|| ExitCode::from(3))), format!("{:?}", ExitCode::from(3)));
    }
}
