//! The verbs, one file each. A verb reads its arguments, asks the daemon and prints; it knows no other verb's output.

pub mod adopt;
pub mod bulk;
pub mod cat;
pub mod check;
pub mod clean;
pub mod completions;
pub mod config;
pub mod daemon;
pub mod daemon_logs;
pub mod daemon_service;
pub mod dir;
pub mod doctor;
pub mod events;
pub mod fetch;
pub mod fmt;
pub mod get;
pub mod history;
pub mod info;
pub mod kill;
pub mod log;
pub mod ls;
pub mod man;
pub mod proxy;
pub mod resub;
pub mod rpc;
pub mod run;
pub mod stat;
pub mod sub;
pub mod tail;
pub mod wait;
pub mod why;

use crate::cli::{Command, Daemon};
use crate::ctx::Ctx;
use crate::failure::Outcome;

/// Runs a verb.
///
/// # Errors
/// Whatever ends it early.
pub async fn run(ctx: &Ctx, command: &Command, program: &'static str) -> Outcome {
    match command {
        Command::Info => info::run(ctx).await,
        Command::Proxy(args) => proxy::run(ctx, args).await,
        Command::Sub(args) => sub::run(ctx, args).await,
        Command::Stat(args) => stat::run(ctx, args).await,
        Command::Get(args) => get::run(ctx, args).await,
        Command::Cat(args) => cat::run(ctx, args).await,
        Command::Fetch(args) => fetch::run(ctx, args).await,
        Command::Resub(args) => resub::run(ctx, args).await,
        Command::Kill(args) => kill::run(ctx, args).await,
        Command::Clean(args) => clean::run(ctx, args).await,
        Command::Wait(args) => wait::run(ctx, args).await,
        Command::Run(args) => run::run(ctx, args).await,
        Command::Adopt(args) => adopt::run(ctx, args).await,
        Command::History(args) => history::run(ctx, args).await,
        Command::Log(args) => log::run(ctx, args).await,
        Command::Why(args) => why::run(ctx, args).await,
        Command::Top => crate::top::run(ctx).await,
        Command::Tail(args) => tail::run(ctx, args).await,
        Command::Ls(args) => ls::run(ctx, args).await,
        Command::Events(args) => events::run(ctx, args).await,
        Command::Check(args) => check::run(ctx, args),
        Command::Fmt(args) => fmt::run(ctx, args),
        Command::Dir(args) => dir::run(ctx, args).await,
        Command::Daemon(args) => daemon::run(ctx, args).await,
        Command::Doctor => doctor::run(ctx).await,
        Command::Config(args) => config::run(ctx, args).await,
        Command::Rpc(args) => rpc::run(ctx, args).await,
        Command::Lsp(_) => crate::lsp::run(ctx).await,
        Command::Completions(args) => completions::run(ctx, args, program),
        Command::Man(args) => man::run(ctx, args),
    }
}

/// Whether a verb fails for single jobs by what a server says.
#[must_use]
pub fn asks_servers(command: &Command) -> bool {
    use Command::{Clean, Fetch, Get, Kill, Resub, Sub};
    matches!(command, Sub(_) | Get(_) | Kill(_) | Clean(_) | Fetch(_) | Resub(_))
}

/// Whether `--json` means one value for a verb: neither lines as things happen, nor what a job or a program has written.
#[must_use]
pub fn answers_once(command: &Command) -> bool {
    use Command::{Completions, Events, Lsp, Man, Rpc, Run, Tail, Top};
    !matches!(
        command,
        Events(_)
            | Run(_)
            | Tail(_)
            | Top
            | Rpc(_)
            | Lsp(_)
            | Completions(_)
            | Man(_)
            | Command::Daemon(Daemon::Logs { .. })
    )
}

/// Whether a verb looks after Ctrl-C by itself, because it has something to undo first.
#[must_use]
pub fn handles_interrupt(command: &Command) -> bool {
    matches!(command, Command::Sub(_) | Command::Get(_) | Command::Run(_))
}
