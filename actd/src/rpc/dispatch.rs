//! JSON-RPC 2.0 for the framings that are not HTTP: from the bytes of one message to the replies. The methods are the same
//! objects that the HTTP server calls; there is no second list of them.

use std::borrow::Cow;
use std::sync::Arc;

use act_proto::error::ErrorData;
use act_proto::{Kind, MAX_MESSAGE};
use futures_util::future::join_all;
use http::Extensions;
use jsonrpsee::core::server::{
    BoundedSubscriptions, ConnectionId, MethodCallback, MethodResponse, MethodSink, Methods, SubscriptionState,
};
use jsonrpsee::server::RandomIntegerIdProvider;
use jsonrpsee::types::{ErrorObject, ErrorObjectOwned, Id, Params};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::peer::Peer;
use super::{MAX_BATCH, MAX_SUBSCRIPTIONS};

/// What goes out on a connection: replies and notifications, each one JSON value.
pub(super) type Out = mpsc::Sender<Box<RawValue>>;

/// The calls of one connection.
#[derive(Clone)]
pub(super) struct Dispatcher {
    methods: Methods,
    connection: ConnectionId,
    extensions: Extensions,
    subscriptions: BoundedSubscriptions,
    out: Out,
}

/// A request object. Unknown members are left alone, as the specification does.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    /// Missing: a notification. `null` is an id.
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

fn present<'de: 'a, 'a, D: Deserializer<'de>>(d: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(d).map(Some)
}

/// A request that can be carried out.
struct Call {
    method: String,
    params: Option<String>,
    id: Option<Id<'static>>,
}

impl Dispatcher {
    pub(super) fn new(methods: Methods, peer: Peer, out: Out) -> Self {
        let mut extensions = Extensions::new();
        extensions.insert(peer);
        let connection = ConnectionId(peer.connection as usize);
        extensions.insert(connection);
        let subscriptions = BoundedSubscriptions::new(MAX_SUBSCRIPTIONS);
        Self { methods, connection, extensions, subscriptions, out }
    }

    /// Carries out one message and sends what it answers.
    pub(super) async fn message(self: Arc<Self>, message: Vec<u8>) {
        if let Some(answer) = self.answer(&message, true).await {
            let _ = self.out.send(answer).await;
        }
    }

    /// Carries out one message, a request or a batch. Nothing: notifications, or an answer that was sent already.
    pub(super) async fn answer(&self, message: &[u8], may_subscribe: bool) -> Option<Box<RawValue>> {
        let refuse = |code, why: &str| Some(error(Id::Null, code, why, None).into_json());
        let Ok(raw) = serde_json::from_slice::<&RawValue>(message) else {
            return refuse(-32700, "what was sent is no JSON");
        };
        if !raw.get().starts_with('[') {
            let reply = match call(raw) {
                Ok(call) => self.call(call, may_subscribe).await,
                Err(reply) => Some(reply),
            };
            return reply.map(MethodResponse::into_json);
        }
        let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
            return refuse(-32700, "what was sent is no JSON");
        };
        if items.is_empty() {
            return refuse(-32600, "an empty batch");
        }
        if items.len() > MAX_BATCH {
            let why = format!("a batch of {} calls; at most {MAX_BATCH} may be in one", items.len());
            return refuse(-32600, &why);
        }
        let replies = join_all(items.into_iter().map(|item| async {
            match call(item) {
                Ok(call) => self.call(call, false).await,
                Err(reply) => Some(reply),
            }
        }));
        let replies: Vec<Box<RawValue>> = replies.await.into_iter().flatten().map(MethodResponse::into_json).collect();
        if replies.is_empty() {
            return None;
        }
        if replies.iter().map(|r| r.get().len() + 1).sum::<usize>() > MAX_MESSAGE as usize {
            return refuse(-32603, "the replies of the batch are larger than a message may be");
        }
        serde_json::value::to_raw_value(&replies).ok()
    }

    /// Tells the client that a message of its is too large. The connection ends after it.
    pub(super) async fn too_large(&self) {
        let why = format!("a message is larger than {} MiB", MAX_MESSAGE >> 20);
        let _ = self.out.send(error(Id::Null, -32600, &why, None).into_json()).await;
    }

    /// The reply; none to a notification, and none if it was sent already (subscriptions do that themselves, so that no
    /// event can come before the reply).
    async fn call(&self, call: Call, may_subscribe: bool) -> Option<MethodResponse> {
        let Call { method, params, id } = call;
        let wants_reply = id.is_some();
        let id = id.unwrap_or(Id::Null);
        let params = Params::new(params.as_deref()).into_owned();
        let extensions = self.extensions.clone();
        let max = MAX_MESSAGE as usize;
        let response = match self.methods.method(&method) {
            None => {
                let data =
                    ErrorData { kind: Kind::NoSuchMethod, hint: hint_for(&self.methods, &method), retryable: false };
                error(id, -32601, &format!("there is no method `{method}`"), Some(data))
            }
            Some(MethodCallback::Sync(run)) => run(id, params, max, extensions),
            Some(MethodCallback::Async(run)) => run(id, params, self.connection, max, extensions).await,
            Some(MethodCallback::Unsubscription(run)) => run(id, params, self.connection, max, extensions),
            Some(MethodCallback::Subscription(_)) if !may_subscribe || !wants_reply => error(
                id,
                -32600,
                "a subscription needs a connection that stays, and a call of its own: no HTTP POST, batch or notification",
                None,
            ),
            Some(MethodCallback::Subscription(run)) => {
                let Some(permit) = self.subscriptions.acquire() else {
                    let data = ErrorData { kind: Kind::TooMany, hint: None, retryable: false };
                    let why = format!("at most {MAX_SUBSCRIPTIONS} subscriptions per connection");
                    return Some(error(id, Kind::TooMany.code().0, &why, Some(data)));
                };
                let state = SubscriptionState {
                    conn_id: self.connection,
                    id_provider: &RandomIntegerIdProvider,
                    subscription_permit: permit,
                };
                run(id, params, MethodSink::new_with_limit(self.out.clone(), MAX_MESSAGE), state, extensions).await;
                return None;
            }
        };
        wants_reply.then_some(response)
    }
}

/// The method that was probably meant.
fn hint_for(methods: &Methods, name: &str) -> Option<String> {
    let names: Vec<&str> = methods.method_names().collect();
    crate::config::nearest(name, &names).map(|n| format!("did you mean `{n}`? `rpc.discover` lists all methods"))
}

fn error(id: Id<'static>, code: i32, message: &str, data: Option<ErrorData>) -> MethodResponse {
    let object: ErrorObjectOwned = ErrorObject::owned(code, message, data);
    MethodResponse::error(id, object)
}

/// Reads one request object; otherwise the reply that says why it is none.
fn call(raw: &RawValue) -> Result<Call, MethodResponse> {
    let invalid = |id: Id<'static>, why: &str| error(id, -32600, &format!("not a JSON-RPC 2.0 request: {why}"), None);
    #[derive(Deserialize)]
    struct OnlyId<'a> {
        #[serde(borrow, default)]
        id: Option<&'a RawValue>,
    }
    let read_id = |raw: &RawValue| serde_json::from_str::<Id<'_>>(raw.get()).map(Id::into_owned).ok();
    if !raw.get().starts_with('{') {
        return Err(invalid(Id::Null, "it must be an object"));
    }
    let wire: Wire<'_> = serde_json::from_str(raw.get()).map_err(|e| {
        let id = serde_json::from_str::<OnlyId<'_>>(raw.get()).ok().and_then(|o| o.id).and_then(read_id);
        invalid(id.unwrap_or(Id::Null), &e.to_string())
    })?;
    let id = match wire.id {
        None => None,
        Some(raw) => Some(
            read_id(raw).ok_or_else(|| invalid(Id::Null, "an id must be a whole number from 0, a string or null"))?,
        ),
    };
    let reply_to = || id.clone().unwrap_or(Id::Null);
    if wire.jsonrpc != "2.0" {
        return Err(invalid(reply_to(), "`jsonrpc` must be \"2.0\""));
    }
    let params = match wire.params.map(RawValue::get) {
        None | Some("null") => None,
        Some(p) if p.starts_with(['{', '[']) => Some(p.to_owned()),
        Some(_) => return Err(invalid(reply_to(), "`params` must be an object")),
    };
    Ok(Call { method: wire.method.into_owned(), params, id })
}
