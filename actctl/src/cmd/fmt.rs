//! `fmt`: lays job descriptions out, one attribute to a line. Only white space between tokens changes; comments stay.

use std::path::Path;

use crate::cli_xrsl::Fmt;
use crate::cmd::check::{read, write};
use crate::ctx::Ctx;
use crate::failure::{DESCRIPTION, OK, Outcome, SOME_FAILED};

/// Runs the verb.
///
/// # Errors
/// A file that cannot be read or written.
pub fn run(ctx: &Ctx, args: &Fmt) -> Outcome {
    let (mut refused, mut differ) = (false, false);
    for path in &args.files {
        let text = read(path)?;
        let shown = path.display();
        if xrsl::adl::is_xml(&text) {
            ctx.out.warn(&format!("{shown} is XML; it stays as it is"));
            continue;
        }
        let Some(laid_out) = xrsl::layout(&xrsl::parse(&text)) else {
            refused = true;
            ctx.out.error(
                &format!("{shown} is no description that ARC accepts"),
                Some(&format!("see `actctl check {shown}`")),
            );
            continue;
        };
        let from_stdin = path == Path::new("-");
        if args.check {
            if laid_out != text {
                differ = true;
                ctx.out.line(&shown.to_string())?;
            }
        } else if from_stdin {
            ctx.out.text(&laid_out)?;
        } else if laid_out != text {
            write(path, &laid_out)?;
        }
    }
    Ok(if refused {
        DESCRIPTION
    } else if differ {
        SOME_FAILED
    } else {
        OK
    })
}
