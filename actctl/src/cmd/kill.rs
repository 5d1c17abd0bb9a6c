//! `kill`: kills jobs.

use act_proto::method::JobsKill;

use crate::cli_jobs::Bulk;
use crate::cmd::bulk::{self, Bare, Words};
use crate::ctx::Ctx;
use crate::failure::Outcome;

/// Runs the verb.
///
/// # Errors
/// The daemon's.
pub async fn run(ctx: &Ctx, args: &Bulk) -> Outcome {
    let words = Words { verb: "kill", count: "Will kill", ask: "Kill" };
    bulk::run::<JobsKill>(ctx, args, &words, Bare::Consent).await
}
