//! `proxy.*` and `server.info`. No secret is in any reply.

use act_proto::error::ApiError;
use act_proto::method::{ProxyStatus, ProxySubmit, ServerInfo};
use act_proto::server::Info;
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;

use super::Api;
use super::register::register as add;
use crate::auth::actor::remote_error;

pub(super) fn register(module: &mut RpcModule<Api>) -> Result<(), RegisterMethodError> {
    add::<ProxySubmit, _, _>(module, |api, p| async move { api.auth.submit(p).await })?;
    add::<ProxyStatus, _, _>(module, |api, _| async move { Ok(api.auth.status()) })?;
    add::<ServerInfo, _, _>(module, |api, _| async move { info(&api).await })?;
    Ok(())
}

async fn info(api: &Api) -> Result<Info, ApiError> {
    // Without a token the server would only say that it is missing; our own words say what to do.
    if let Some(problem) = api.auth.problem().await {
        return Err(problem);
    }
    let config = api.config.get();
    let info = api.hands.act().info().await.map_err(|e| remote_error(&e))?;
    Ok(Info {
        url: api.config.get().instance.server.clone().unwrap_or_else(|| config.server.to_string()),
        clusters: info.clusters,
        arc: info.arc,
        client: info.client,
        groups: config.clusters.clone(),
    })
}
