//! `daemon.*`, `rpc.discover`: who answers, what it is doing, its configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use act_proto::daemon::{ConfigReply, Hello, HelloParams, Requests, RequestsParams, Status, Stopping};
use act_proto::error::{ApiError, Kind};
use act_proto::method::{
    DaemonConfig, DaemonDoctor, DaemonHello, DaemonReload, DaemonRequests, DaemonStatus, DaemonStop,
};
use act_proto::{PROTOCOL, openrpc};
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::oneshot;

use super::Api;
use super::answer::{View, groups};
use super::register::register as add;
use crate::call;
use crate::engine::convert::wire_phase;
use crate::job::Time;

pub(super) fn register(module: &mut RpcModule<Api>) -> Result<(), RegisterMethodError> {
    add::<DaemonHello, _, _>(module, |api, p| async move { hello(&api, &p) })?;
    add::<DaemonStatus, _, _>(module, |api, _| async move { Ok(status(&api)) })?;
    add::<DaemonDoctor, _, _>(module, |api, _| async move { Ok(super::doctor::checkup(&api).await) })?;
    add::<DaemonRequests, _, _>(module, |_, p| async move { Ok(requests(&p)) })?;
    add::<DaemonStop, _, _>(module, |api, _| async move {
        tracing::info!("a client asks to stop");
        api.control.stop.cancel();
        Ok(Stopping { pid: std::process::id() })
    })?;
    add::<DaemonReload, _, _>(module, |api, _| async move { reload(&api).await })?;
    add::<DaemonConfig, _, _>(module, |api, _| async move { Ok(api.config.get().reply()) })?;
    // The same document for every caller, and not a small one: made once.
    let document: Result<Box<RawValue>, String> = to_raw_value(&openrpc::document()).map_err(|e| e.to_string());
    module.register_method("rpc.discover", move |_, _, _| {
        document.clone().map_err(|e| super::register::object(ApiError::new(Kind::Internal, e)))
    })?;
    Ok(())
}

fn hello(api: &Api, p: &HelloParams) -> Result<Hello, ApiError> {
    let client: String = p.client.chars().filter(|c| !c.is_control()).take(80).collect();
    tracing::debug!(client, protocol = p.protocol, "hello");
    if p.protocol != PROTOCOL {
        let (mine, other) = (PROTOCOL, p.protocol);
        let what =
            format!("this daemon (actd {}) speaks protocol {mine}, the client {other}", env!("CARGO_PKG_VERSION"));
        let hint = if other > mine {
            "an older daemon still runs: `actctl daemon restart`"
        } else {
            "update the client, or use the one that came with this daemon"
        };
        return Err(ApiError::new(Kind::WrongProtocol, what).hint(hint));
    }
    let config = api.config.get();
    Ok(Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL,
        capabilities: Vec::new(),
        instance: config.instance.name.clone(),
        instance_id: api.instance_id.clone(),
        pid: std::process::id(),
        server: config.server.as_str().trim_end_matches('/').to_owned(),
        request: call::causes().first().map(|c| c.id().to_owned()).unwrap_or_default(),
    })
}

/// What was sent for the calls of the connection that asks.
fn requests(p: &RequestsParams) -> Requests {
    let causes = call::causes();
    let (sent, gap) = causes.first().map(|c| c.sent_after(p.after)).unwrap_or_default();
    Requests { request: causes.first().map(|c| c.id().to_owned()).unwrap_or_default(), items: sent, gap }
}

pub(super) fn status(api: &Arc<Api>) -> Status {
    let config = api.config.get();
    let jobs = api.engine.board.read();
    let view = View::of(&jobs, &config);
    let mut phases: BTreeMap<String, u64> = BTreeMap::new();
    for job in jobs.by_key.values() {
        *phases.entry(phase_word(job)).or_default() += 1;
    }
    let (waiting, stuck) = groups(&jobs, &view);
    Status {
        instance: config.instance.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started: api.started.rfc3339(),
        state: config.state.display().to_string(),
        config: config.instance.config.display().to_string(),
        server: config.server.as_str().trim_end_matches('/').to_owned(),
        as_of: jobs.as_of.map(Time::rfc3339),
        server_error: view.gates.server.as_ref().map(|(why, _)| why.clone()),
        phases,
        waiting,
        stuck,
        orphans: jobs.orphans.len() as u64,
        requests: api.hands.act().requests(),
        last_event: api.engine.last_event(),
    }
}

/// The word of a job's phase on the wire.
pub(super) fn phase_word(job: &crate::job::Job) -> String {
    match serde_json::to_value(wire_phase(&job.phase)) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

async fn reload(api: &Api) -> Result<ConfigReply, ApiError> {
    let gone = || ApiError::new(Kind::Stopping, "the daemon is stopping");
    let (reply, answer) = oneshot::channel();
    api.control.reload.send(reply).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())??;
    Ok(api.config.get().reply())
}

/// Calls that came over HTTP since the start.
pub(super) fn calls(api: &Api) -> u64 {
    api.calls.load(Ordering::Relaxed)
}
