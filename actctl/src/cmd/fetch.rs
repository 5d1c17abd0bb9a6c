//! `fetch`: has the server fetch what failed jobs left.

use act_proto::method::JobsFetch;

use crate::cli_jobs::Bulk;
use crate::cmd::bulk::{self, Bare, Words};
use crate::ctx::Ctx;
use crate::failure::Outcome;

/// Runs the verb.
///
/// # Errors
/// The daemon's.
pub async fn run(ctx: &Ctx, args: &Bulk) -> Outcome {
    let words = Words { verb: "fetch", count: "Will fetch", ask: "Fetch" };
    bulk::run::<JobsFetch>(ctx, args, &words, Bare::All).await
}
