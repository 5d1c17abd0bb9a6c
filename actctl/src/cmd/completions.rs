//! `completions`: the completion script of a shell. What can be typed comes from the definitions, what is there (jobs,
//! batches, clusters) from the daemon, while the user types.

use clap_complete::env::Shells;

use crate::cli::Completions;
use crate::ctx::Ctx;
use crate::failure::{Failure, OK, Outcome};

/// Runs the verb.
///
/// # Errors
/// The reader of stdout has gone.
pub fn run(ctx: &Ctx, args: &Completions, program: &'static str) -> Outcome {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let shell = args.shell.to_string();
    let shell = shells.completer(&shell).ok_or_else(|| Failure::usage(format!("nothing is known of {shell}")))?;
    // The script asks this program at each Tab; the environment variable tells it that.
    shell.write_registration("COMPLETE", program, program, program, &mut script).map_err(|e| Failure::stdout(&e))?;
    ctx.out.bytes(&script)?;
    Ok(OK)
}
