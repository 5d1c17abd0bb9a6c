//! `fmt`: lays job descriptions out, one attribute to a line. Only white space between tokens changes; comments stay.

use std::path::Path;

use serde_json::json;

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
    let mut items = Vec::new();
    for path in &args.files {
        let text = read(path)?;
        let shown = path.display();
        let laid_out = if xrsl::adl::is_xml(&text) {
            ctx.out.warn(&format!("{shown} is XML; it stays as it is"));
            Some(text.clone())
        } else {
            xrsl::layout(&xrsl::parse(&text))
        };
        let Some(laid_out) = laid_out else {
            refused = true;
            items.push(json!({ "path": shown.to_string(), "accepted": false }));
            ctx.out.error(
                &format!("{shown} is no description that ARC accepts"),
                Some(&format!("see `actctl check {shown}`")),
            );
            continue;
        };
        let from_stdin = path == Path::new("-");
        let differs = laid_out != text;
        if ctx.out.json {
            let laid_out = from_stdin.then_some(&laid_out);
            items.push(json!({ "path": shown.to_string(), "accepted": true, "changes": differs, "text": laid_out }));
        }
        if args.check {
            differ |= differs;
            if differs && !ctx.out.json {
                ctx.out.line(&shown.to_string())?;
            }
        } else if from_stdin {
            if !ctx.out.json {
                ctx.out.text(&laid_out)?;
            }
        } else if differs {
            write(path, &laid_out)?;
        }
    }
    if ctx.out.json {
        ctx.out.value(&json!({ "schema": "act.fmt/1", "items": items }))?;
    }
    Ok(if refused {
        DESCRIPTION
    } else if differ {
        SOME_FAILED
    } else {
        OK
    })
}
