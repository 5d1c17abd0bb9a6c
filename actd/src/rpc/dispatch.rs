//! JSON-RPC 2.0 for every framing: from the bytes of one message to the replies. There is no second way to carry out a
//! call.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use act_proto::error::ErrorData;
use act_proto::{Kind, MAX_MESSAGE};
use futures_util::future::join_all;
use http::Extensions;
use jsonrpsee::core::id_providers::RandomIntegerIdProvider;
use jsonrpsee::core::server::{
    BoundedSubscriptions, ConnectionId, MethodCallback, MethodResponse, MethodSink, Methods, SubscriptionState,
};
use jsonrpsee::types::{ErrorObject, ErrorObjectOwned, Id, Params};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, mpsc};

use super::peer::Peer;
use super::{MAX_BATCH, MAX_CALLS, MAX_SUBSCRIPTIONS};

/// What goes out on a connection: replies and notifications, each one JSON value.
pub(super) type Out = mpsc::Sender<Box<RawValue>>;

/// The calls of one connection.
pub(super) struct Dispatcher {
    methods: Methods,
    connection: ConnectionId,
    extensions: Extensions,
    subscriptions: BoundedSubscriptions,
    /// Places for calls of batches that are under way.
    batched: Semaphore,
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
    id: Option<CallId>,
}

/// The id of a request, which goes back as it came.
#[derive(Clone)]
struct CallId {
    id: Id<'static>,
    /// A number that [`Id`] cannot hold: negative, a fraction, or very large. It is put back in the reply's text.
    number: Option<Box<RawValue>>,
}

impl CallId {
    const NULL: Self = Self { id: Id::Null, number: None };

    /// None: it is neither a number, nor a string, nor null.
    fn read(raw: &RawValue) -> Option<Self> {
        if let Ok(id) = serde_json::from_str::<Id<'_>>(raw.get()) {
            return Some(Self { id: id.into_owned(), number: None });
        }
        raw.get()
            .starts_with(|c: char| c == '-' || c.is_ascii_digit())
            .then(|| Self { id: Id::Null, number: Some(raw.to_owned()) })
    }

    /// The reply with this id.
    fn finish(self, reply: MethodResponse) -> Box<RawValue> {
        #[derive(Deserialize, Serialize)]
        struct Reply<'a> {
            #[serde(borrow)]
            jsonrpc: &'a RawValue,
            #[serde(borrow)]
            id: &'a RawValue,
            #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
            result: Option<&'a RawValue>,
            #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
            error: Option<&'a RawValue>,
        }
        let json = reply.into_json();
        let Some(number) = self.number else { return json };
        let numbered = serde_json::from_str::<Reply<'_>>(json.get()).and_then(|mut reply| {
            reply.id = &number;
            serde_json::value::to_raw_value(&reply)
        });
        numbered.unwrap_or(json)
    }
}

impl Dispatcher {
    pub(super) fn new(methods: Methods, peer: Peer, out: Out) -> Self {
        let mut extensions = Extensions::new();
        extensions.insert(peer);
        let connection = ConnectionId(peer.connection as usize);
        extensions.insert(connection);
        extensions.insert(crate::call::Call::begin());
        let subscriptions = BoundedSubscriptions::new(MAX_SUBSCRIPTIONS);
        let batched = Semaphore::new(MAX_CALLS);
        Self { methods, connection, extensions, subscriptions, batched, out }
    }

    /// Carries out one message and sends what it answers.
    pub(super) async fn message(self: Arc<Self>, message: Vec<u8>) {
        if let Some(answer) = self.answer(&message, true).await {
            let _ = self.out.send(answer).await;
        }
    }

    /// Carries out one message, a request or a batch. Nothing: notifications, or an answer that was sent already.
    pub(super) async fn answer(&self, message: &[u8], may_subscribe: bool) -> Option<Box<RawValue>> {
        let refuse = |kind, why: &str| Some(error(CallId::NULL, kind, why, None));
        let Ok(raw) = serde_json::from_slice::<&RawValue>(message) else {
            return refuse(Kind::NoJson, "what was sent is no JSON");
        };
        if !raw.get().starts_with('[') {
            return match call(raw) {
                Ok(call) => self.call(call, may_subscribe).await,
                Err(reply) => Some(reply),
            };
        }
        let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
            return refuse(Kind::NoJson, "what was sent is no JSON");
        };
        if items.is_empty() {
            return refuse(Kind::BadRequest, "an empty batch");
        }
        if items.len() > MAX_BATCH {
            let why = format!("a batch of {} calls; at most {MAX_BATCH} may be in one", items.len());
            return refuse(Kind::BadRequest, &why);
        }
        let size = AtomicUsize::new(0);
        let replies = join_all(items.into_iter().map(|item| async {
            // It is never closed.
            let _place = self.batched.acquire().await;
            let reply = match call(item) {
                Ok(call) => self.call(call, false).await,
                Err(reply) => Some(reply),
            }?;
            // From the first that is too much on nothing more is kept; all are carried out.
            let more = reply.get().len() + 1;
            (size.fetch_add(more, Ordering::Relaxed) + more <= MAX_MESSAGE as usize).then_some(reply)
        }));
        let replies: Vec<Box<RawValue>> = replies.await.into_iter().flatten().collect();
        if size.into_inner() > MAX_MESSAGE as usize {
            return refuse(Kind::TooMany, "the replies of the batch are larger than a message may be");
        }
        if replies.is_empty() {
            return None;
        }
        serde_json::value::to_raw_value(&replies).ok()
    }

    /// Tells the client that a message of its is too large. The connection ends after it.
    pub(super) async fn too_large(&self) {
        let why = format!("a message is larger than {} MiB", MAX_MESSAGE >> 20);
        let _ = self.out.send(error(CallId::NULL, Kind::BadRequest, &why, None)).await;
    }

    /// The reply; none to a notification, and none if it was sent already (subscriptions do that themselves, so that no
    /// event can come before the reply).
    async fn call(&self, call: Call, may_subscribe: bool) -> Option<Box<RawValue>> {
        let Call { method, params, id: called } = call;
        let wants_reply = called.is_some();
        let called = called.unwrap_or(CallId::NULL);
        let id = called.id.clone();
        let params = Params::new(params.as_deref()).into_owned();
        let extensions = self.extensions.clone();
        let max = MAX_MESSAGE as usize;
        let response = match self.methods.method(&method) {
            None => {
                let hint = hint_for(&self.methods, &method);
                let reply = error(called, Kind::NoSuchMethod, &format!("there is no method `{method}`"), hint);
                return wants_reply.then_some(reply);
            }
            Some(MethodCallback::Sync(run)) => run(id, params, max, extensions),
            Some(MethodCallback::Async(run)) => run(id, params, self.connection, max, extensions).await,
            Some(MethodCallback::Unsubscription(run)) => run(id, by_position(params), self.connection, max, extensions),
            Some(MethodCallback::Subscription(_)) if !may_subscribe || !wants_reply || called.number.is_some() => {
                let why = "a subscription needs a connection that stays, and a call of its own with an id that is a string or \
                           a whole number from 0: no HTTP POST, batch or notification";
                return wants_reply.then(|| error(called, Kind::BadRequest, why, None));
            }
            Some(MethodCallback::Subscription(run)) => {
                let Some(permit) = self.subscriptions.acquire() else {
                    let why = format!("at most {MAX_SUBSCRIPTIONS} subscriptions per connection");
                    return Some(error(called, Kind::TooMany, &why, None));
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
        wants_reply.then(|| called.finish(response))
    }
}

/// The one parameter of unsubscribing, which is read by position, given by name: `{"subscription": 7}`.
fn by_position(params: Params<'static>) -> Params<'static> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Named {
        subscription: serde_json::Value,
    }
    match params.parse::<Named>() {
        Ok(named) if params.is_object() => Params::new(Some(&json!([named.subscription]).to_string())).into_owned(),
        _ => params,
    }
}

/// The method that was probably meant.
fn hint_for(methods: &Methods, name: &str) -> Option<String> {
    let names: Vec<&str> = methods.method_names().collect();
    crate::config::nearest(name, &names).map(|n| format!("did you mean `{n}`? `rpc.discover` lists all methods"))
}

fn error(id: CallId, kind: Kind, message: &str, hint: Option<String>) -> Box<RawValue> {
    let data = ErrorData { kind, hint, retryable: false, request: None, unknown_field: None };
    let object: ErrorObjectOwned = ErrorObject::owned(kind.code().0, message, Some(data));
    let reply = MethodResponse::error(id.id.clone(), object);
    id.finish(reply)
}

/// Reads one request object; otherwise the reply that says why it is none.
fn call(raw: &RawValue) -> Result<Call, Box<RawValue>> {
    let invalid =
        |id: CallId, why: &str| error(id, Kind::BadRequest, &format!("not a JSON-RPC 2.0 request: {why}"), None);
    #[derive(Deserialize)]
    struct OnlyId<'a> {
        #[serde(borrow, default)]
        id: Option<&'a RawValue>,
    }
    if !raw.get().starts_with('{') {
        return Err(invalid(CallId::NULL, "it must be an object"));
    }
    let wire: Wire<'_> = serde_json::from_str(raw.get()).map_err(|e| {
        let id = serde_json::from_str::<OnlyId<'_>>(raw.get()).ok().and_then(|o| o.id).and_then(CallId::read);
        invalid(id.unwrap_or(CallId::NULL), &e.to_string())
    })?;
    let id = match wire.id {
        None => None,
        Some(raw) => {
            Some(CallId::read(raw).ok_or_else(|| invalid(CallId::NULL, "an id must be a number, a string or null"))?)
        }
    };
    let reply_to = || id.clone().unwrap_or(CallId::NULL);
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
