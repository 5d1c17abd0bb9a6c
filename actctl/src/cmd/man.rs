//! `man`: the manual pages, made from the same definitions as the help.

use clap::CommandFactory;

use crate::cli::{Cli, Man};
use crate::ctx::Ctx;
use crate::failure::{Failure, OK, Outcome};

/// Runs the verb.
///
/// # Errors
/// The directory cannot be written.
pub fn run(ctx: &Ctx, args: &Man) -> Outcome {
    let command = Cli::command();
    if let Some(dir) = &args.dir {
        let bad = |e: std::io::Error| Failure::local(format!("cannot write manual pages to {}: {e}", dir.display()));
        std::fs::create_dir_all(dir).map_err(bad)?;
        clap_mangen::generate_to(command, dir).map_err(bad)?;
        return Ok(OK);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).map_err(|e| Failure::stdout(&e))?;
    ctx.out.bytes(&page)?;
    Ok(OK)
}
