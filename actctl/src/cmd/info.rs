//! `info`: the server and its clusters.

use act_proto::method::ServerInfo;
use act_proto::server::InfoParams;
use serde_json::json;

use crate::ctx::Ctx;
use crate::failure::{OK, Outcome};

/// Runs the verb.
///
/// # Errors
/// The daemon's.
pub async fn run(ctx: &Ctx) -> Outcome {
    let mut session = ctx.session().await?;
    let info = session.call::<ServerInfo>(&InfoParams::default()).await?;
    if ctx.out.json {
        ctx.out.value(&json!({
            "schema": "act.info/1", "server": info.url, "clusters": info.clusters, "groups": info.groups,
        }))?;
        return Ok(OK);
    }
    // As the user named it, as act does: the config file may name it in another way.
    let url = ctx.selection.server.as_ref().unwrap_or(&info.url);
    let mut text = format!("aCT server URL: {url}\nClusters:\n");
    for cluster in &info.clusters {
        text.push_str(cluster);
        text.push('\n');
    }
    ctx.out.text(&text)?;
    Ok(OK)
}
