//! `rpc`: one call of the daemon's API, for scripts and for looking.

use std::io::Read;

use act_proto::ApiError;
use serde_json::value::RawValue;

use crate::cli::Rpc;
use crate::ctx::Ctx;
use crate::failure::{Failure, OK, Outcome};

/// Runs the verb.
///
/// # Errors
/// Parameters that are no JSON object; the daemon's.
pub async fn run(ctx: &Ctx, args: &Rpc) -> Outcome {
    let text = match args.params.as_deref() {
        Some("-") => {
            let mut text = String::new();
            let read = std::io::stdin().lock().take(u64::from(act_proto::MAX_MESSAGE)).read_to_string(&mut text);
            read.map_err(|e| Failure::local(format!("cannot read the parameters from stdin: {e}")))?;
            text
        }
        Some(text) => text.to_owned(),
        None => "{}".to_owned(),
    };
    let params: Box<RawValue> = serde_json::from_str(text.trim()).map_err(|e| {
        Failure::usage(format!("the parameters are no JSON: {e}")).hint("write them as '{\"limit\":5}'")
    })?;
    let session = ctx.session().await?;
    let reply = session.client().call_raw(&args.method, Some(&params)).await.map_err(named)?;
    if ctx.out.json {
        ctx.out.value(&reply)?;
    } else {
        let text = serde_json::to_string_pretty(&reply).map_err(|e| Failure::local(e.to_string()))?;
        ctx.out.text(&(text + "\n"))?;
    }
    Ok(OK)
}

/// Here an unknown method is the caller's mistake, not a difference of versions.
fn named(e: ApiError) -> Failure {
    if e.data.kind == act_proto::Kind::NoSuchMethod {
        return Failure::usage(e.message).hint("`actctl rpc rpc.discover` describes all methods");
    }
    e.into()
}
