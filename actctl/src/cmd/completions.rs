//! `completions`: the completion script of a shell.

use clap::CommandFactory;

use crate::cli::{Cli, Completions};
use crate::ctx::Ctx;
use crate::failure::{OK, Outcome};

/// Runs the verb.
///
/// # Errors
/// The reader of stdout has gone.
pub fn run(ctx: &Ctx, args: &Completions, program: &'static str) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), program, &mut script);
    ctx.out.bytes(&script)?;
    Ok(OK)
}
