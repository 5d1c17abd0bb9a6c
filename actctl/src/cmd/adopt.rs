//! `adopt`: makes jobs that another client submitted our own.

use act_proto::method::JobsAdopt;

use crate::cli_jobs::Bulk;
use crate::cmd::bulk::{self, Bare, Words};
use crate::ctx::Ctx;
use crate::failure::Outcome;

/// Runs the verb.
///
/// # Errors
/// The daemon's.
pub async fn run(ctx: &Ctx, args: &Bulk) -> Outcome {
    let words = Words { verb: "adopt", count: "Adopted", ask: "Adopt" };
    bulk::run::<JobsAdopt>(ctx, args, &words, Bare::Consent).await
}
