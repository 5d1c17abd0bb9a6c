//! `resub`: runs failed jobs again.

use act_proto::method::JobsResubmit;

use crate::cli_jobs::Bulk;
use crate::cmd::bulk::{self, Bare, Words};
use crate::ctx::Ctx;
use crate::failure::Outcome;

/// Runs the verb.
///
/// # Errors
/// The daemon's.
pub async fn run(ctx: &Ctx, args: &Bulk) -> Outcome {
    let words = Words { verb: "resub", count: "Will resubmit", ask: "Resubmit" };
    bulk::run::<JobsResubmit>(ctx, args, &words, Bare::All).await
}
