//! `clean`: drops jobs that have ended, and their results.

use act_proto::method::JobsClean;

use crate::cli_jobs::Bulk;
use crate::cmd::bulk::{self, Bare, Words};
use crate::ctx::Ctx;
use crate::failure::Outcome;

/// Runs the verb.
///
/// # Errors
/// The daemon's.
pub async fn run(ctx: &Ctx, args: &Bulk) -> Outcome {
    let words = Words { verb: "clean", count: "Cleaned", ask: "Clean" };
    bulk::run::<JobsClean>(ctx, args, &words, Bare::Ask).await
}
