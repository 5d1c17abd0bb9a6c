//! `rpc`: one call of the daemon's API, for scripts and for looking; or, with `--stdio`, a bridge to it for programs that
//! talk to a child process and to no socket.

use std::io::Read;
use std::time::Duration;

use act_proto::ApiError;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};

use crate::cli::Rpc;
use crate::connect::{self, Start};
use crate::ctx::Ctx;
use crate::failure::{Failure, OK, Outcome};

/// How long after the daemon stdin may end for it to be the end that was meant.
const ENDING: Duration = Duration::from_millis(500);

/// Runs the verb.
///
/// # Errors
/// Parameters that are no JSON object; the daemon's.
pub async fn run(ctx: &Ctx, args: &Rpc) -> Outcome {
    let Some(method) = &args.method else { return bridge(ctx).await };
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
    let reply = session.client().call_raw(method, Some(&params)).await.map_err(named)?;
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

/// Passes bytes both ways until one side ends. The daemon tells the framing by the first of them.
async fn bridge(ctx: &Ctx) -> Outcome {
    let instance = ctx.instance()?;
    // Now, so that what is wrong is said at once, and the first call need not wait.
    drop(connect::connect(ctx, &instance, Start::Transient).await?);
    let mut stdin = tokio::io::stdin();
    let mut first = vec![0; 64 << 10];
    let unread = |e: std::io::Error| Failure::local(format!("cannot read stdin: {e}"));
    // The daemon does not wait long for the first word of a connection; an editor may be silent for hours.
    let n = stdin.read(&mut first).await.map_err(unread)?;
    if n == 0 {
        return Ok(OK);
    }
    let state = instance.paths().state;
    if !connect::is_held(&state) {
        // It has ended meanwhile: by itself, or because somebody wanted that.
        if connect::is_stopped(&state) {
            return Err(connect::stopped());
        }
        drop(connect::connect(ctx, &instance, Start::Transient).await?);
    }
    let (mut reader, mut writer) = connect::stream(ctx, &instance).await?.into_split();
    let up = async {
        writer.write_all(&first[..n]).await?;
        copy(&mut stdin, &mut writer).await?;
        // Answers may still come.
        writer.shutdown().await
    };
    let down = async {
        let mut stdout = tokio::io::stdout();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match reader.read(&mut buffer).await {
                Ok(0) | Err(_) => return Ok(()),
                Ok(n) => {
                    stdout.write_all(&buffer[..n]).await?;
                    stdout.flush().await?;
                }
            }
        }
    };
    tokio::pin!(up, down);
    let lost = || Failure::daemon("the daemon has ended the conversation").hint("see `actctl daemon logs`");
    tokio::select! {
        sent = &mut up => {
            down.await.map_err(|e| Failure::stdout(&e))?;
            // Whatever the daemon could not take, it is gone.
            sent.map_err(|_| lost())?;
            Ok(OK)
        }
        shown = &mut down => {
            shown.map_err(|e| Failure::stdout(&e))?;
            // An HTTP request may ask for that, and stdin ends at the same moment.
            match tokio::time::timeout(ENDING, up).await {
                Ok(_) => Ok(OK),
                Err(_) => Err(lost()),
            }
        }
    }
}
