//! The control API on the socket: HTTP POST and WebSocket at `/rpc`, one JSON value per line, and `Content-Length` framing,
//! chosen by a connection's first bytes, all over one list of methods. Handlers ask the engine; none of them changes a job
//! by itself.

pub mod answer;
pub mod credential;
mod daemon;
mod dirs;
mod dispatch;
mod doctor;
mod events;
mod files;
mod framing;
pub mod look;
mod manage;
mod metrics;
mod peer;
mod register;
mod session;
pub mod stat;
pub mod submit;
mod table;
mod xrsl;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use act_proto::MAX_MESSAGE;
use act_proto::error::{ApiError, Kind};
use axum::Router;
use axum::body::to_bytes;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::core::server::Methods;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::handle::AuthHandle;
use crate::config::Config;
use crate::daemon::listen::Socket;
use crate::dirs::DirsHandle;
use crate::engine::handle::EngineHandle;
use crate::job::Time;
use crate::work::Hands;
use dispatch::Dispatcher;
use peer::{Language, Peer, Whole};

/// Connections at a time.
const MAX_CONNECTIONS: usize = 256;
/// Refused clients that are given a few seconds to read why.
const MAX_LEAVING: usize = 64;
/// Subscriptions per connection.
const MAX_SUBSCRIPTIONS: u32 = 32;
/// Messages of one connection that may be under way at a time (further ones wait in the socket), and calls of its batches.
const MAX_CALLS: usize = 64;
/// Calls in a batch.
const MAX_BATCH: usize = 1_000;
/// How long a client may take to send a request's body.
const BODY: Duration = Duration::from_secs(60);
/// How often it is looked whether the socket is still at its path.
const IN_PLACE: Duration = Duration::from_secs(5);

/// What a call may ask the daemon itself to do.
#[derive(Debug, Clone)]
pub struct Control {
    /// Begins the daemon's end.
    pub stop: CancellationToken,
    /// Reads the config file again; answers when it is in force.
    pub reload: tokio::sync::mpsc::Sender<tokio::sync::oneshot::Sender<Result<(), ApiError>>>,
}

/// Everything that the methods work with.
pub struct Api {
    /// The engine.
    pub engine: EngineHandle,
    /// For what is read from the server, a computing element or results for one call.
    pub hands: Hands,
    /// The credential.
    pub auth: AuthHandle,
    /// The watched directories.
    pub dirs: DirsHandle,
    /// The configuration in force.
    pub config: Shared,
    /// The daemon itself.
    pub control: Control,
    /// A random name of this state directory.
    pub instance_id: String,
    /// When the daemon started.
    pub started: Time,
    /// Calls that change something, until they are done.
    pub tasks: TaskTracker,
    /// Ends subscriptions and calls that wait.
    pub closing: CancellationToken,
    /// Connections, and when the last one ended.
    pub clients: Clients,
    /// Columns that were read from the server lately.
    pub columns: stat::Cache,
    /// Who needs the credential.
    pub needs: credential::NeedsCache,
    /// When jobs were closed, in revisions.
    pub closed: look::ClosedRevs,
    /// Names of batches.
    pub made_up: submit::MadeUp,
    /// Calls since the start.
    pub calls: AtomicU64,
}

/// The configuration in force, for readers.
#[derive(Debug, Clone)]
pub struct Shared(Arc<RwLock<Arc<Config>>>);

impl Shared {
    /// With this one to begin with.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(config))))
    }

    /// The one in force.
    #[must_use]
    pub fn get(&self) -> Arc<Config> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another one in force.
    pub fn set(&self, config: Config) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }
}

/// How many clients there are.
#[derive(Debug, Clone)]
pub struct Clients(watch::Sender<usize>);

impl Default for Clients {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Clients {
    /// Their number as it changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<usize> {
        self.0.subscribe()
    }

    fn come(&self) -> Guest {
        self.0.send_modify(|n| *n += 1);
        Guest(self.0.clone())
    }
}

/// Counts one client for as long as it lives.
struct Guest(watch::Sender<usize>);

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n = n.saturating_sub(1));
    }
}

fn methods(api: &Arc<Api>) -> Result<Methods, RegisterMethodError> {
    let mut module = RpcModule::from_arc(api.clone());
    daemon::register(&mut module)?;
    credential::register(&mut module)?;
    submit::register(&mut module)?;
    look::register(&mut module)?;
    files::register(&mut module)?;
    stat::register(&mut module)?;
    manage::register(&mut module)?;
    dirs::register(&mut module)?;
    events::register(&mut module)?;
    xrsl::register(&mut module)?;
    Ok(module.into())
}

/// Serves clients until `stop`, then lets each have its last word.
///
/// # Errors
/// Two methods have one name: a mistake of ours.
pub async fn serve(mut socket: Socket, api: Arc<Api>, stop: CancellationToken) -> Result<(), ApiError> {
    let internal = |e: RegisterMethodError| ApiError::new(Kind::Internal, e.to_string());
    let listen = Listen::new(&api, methods(&api).map_err(internal)?);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    let mut in_place = tokio::time::interval(IN_PLACE);
    let number = AtomicU32::new(1);
    let mut said: Option<String> = None;
    let mut refused: Option<Instant> = None;
    let mut leaving: VecDeque<(Instant, UnixStream)> = VecDeque::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = in_place.tick() => {
                leaving.retain(|(at, _)| at.elapsed() < IN_PLACE);
                match socket.keep_in_place() {
                    None => said = None,
                    Some(Ok(())) => {
                        said = None;
                        tracing::info!("the socket was not in its place; listening at {}", socket.path().borrow().display());
                    }
                    // It may last for days: one line of the log is enough.
                    Some(Err(e)) if said.as_ref() == Some(&e.message) => {}
                    Some(Err(e)) => {
                        tracing::warn!("the socket is not in its place: {e}");
                        said = Some(e.message);
                    }
                }
            }
            accepted = socket.listener().accept() => match accepted {
                Ok((stream, _)) => {
                    let connection = number.fetch_add(1, Ordering::Relaxed);
                    let peer = match peer::check(&stream, connection) {
                        Ok(peer) => peer,
                        Err(e) => {
                            tracing::warn!("a connection is refused: {e}");
                            continue;
                        }
                    };
                    let Ok(place) = places.clone().try_acquire_owned() else {
                        // A line of the log for each of ten thousand would be another flood.
                        if refused.is_none_or(|at| at.elapsed() >= IN_PLACE) {
                            refused = Some(Instant::now());
                            tracing::warn!("connections are refused: there are {MAX_CONNECTIONS} already");
                        }
                        refuse(&stream);
                        // Closed at once, it would fail on its own writing before it reads why.
                        if leaving.len() == MAX_LEAVING {
                            leaving.pop_front();
                        }
                        leaving.push_back((Instant::now(), stream));
                        continue;
                    };
                    let (listen, stop, guest) = (listen.clone(), stop.clone(), api.clients.come());
                    connections.spawn(async move {
                        listen.connection(stream, peer, stop).await;
                        drop((place, guest));
                    });
                }
                Err(e) => {
                    // Out of descriptors, mostly: it does not help to ask again at once.
                    tracing::warn!("no connection can be accepted: {e}");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
    socket.remove();
    connections.close();
    connections.wait().await;
    Ok(())
}

/// What a client may send, read as messages; for fuzzing.
#[cfg(fuzzing)]
pub fn fuzz_framing(data: &[u8]) {
    framing::fuzz(data);
}

/// Says why it is hung up on a client, as far as there is room for that at once. It is HTTP, which most clients speak, with
/// an answer of JSON-RPC.
fn refuse(stream: &UnixStream) {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":null,"error":{{"code":-32000,"message":"too many clients: {MAX_CONNECTIONS} are connected already"}}}}"#
    );
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // Whoever does not take it hears of it by the end of the connection.
    let _ = stream.try_write(format!("{head}{body}").as_bytes());
    let _ = rustix::net::shutdown(stream, rustix::net::Shutdown::Write);
}

/// What every connection needs.
#[derive(Clone)]
struct Listen {
    methods: Methods,
    router: Router,
}

/// What the HTTP routes need.
#[derive(Clone)]
struct Http {
    api: Arc<Api>,
    methods: Methods,
}

/// Takes the WebSocket that a connection has become.
type Upgraded = mpsc::Sender<WebSocket>;

impl Listen {
    fn new(api: &Arc<Api>, methods: Methods) -> Self {
        let http = Http { api: api.clone(), methods: methods.clone() };
        let router = Router::new()
            .route("/rpc", post(call).get(websocket))
            // Where tools ask that cannot be told a path.
            .route("/", post(call).get(websocket))
            .route("/healthz", get(healthz))
            .route("/metrics", get(metrics))
            .with_state(http);
        Self { methods, router }
    }

    async fn connection(&self, stream: UnixStream, peer: Peer, stop: CancellationToken) {
        let (language, stream) = match peer::sniff(stream).await {
            Ok(told) => told,
            Err(e) => return tracing::debug!(connection = peer.connection, "a client said nothing: {e}"),
        };
        tracing::debug!(connection = peer.connection, pid = peer.pid, ?language, "a client");
        let framed = match language {
            Language::Lines => framing::lines(stream),
            Language::Headers => framing::heads(stream),
            Language::Http => match self.http(stream, peer, &stop).await {
                Some(socket) => framing::websocket(socket),
                None => return,
            },
        };
        session::serve(framed, self.methods.clone(), peer, stop).await;
    }

    /// Answers HTTP requests until the connection ends, or becomes a WebSocket.
    async fn http(&self, stream: Whole, peer: Peer, stop: &CancellationToken) -> Option<WebSocket> {
        let (upgraded, mut socket) = mpsc::channel::<WebSocket>(1);
        {
            let router = self.router.clone().layer(Extension(peer)).layer(Extension(upgraded));
            let mut http = hyper::server::conn::http1::Builder::new();
            // `nc -U` closes its side when it has said all; the answer is still wanted.
            http.timer(TokioTimer::new()).header_read_timeout(BODY).half_close(true);
            let service = TowerToHyperService::new(router);
            let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
            tokio::select! {
                ended = connection.as_mut() => if let Err(e) = ended {
                    tracing::debug!(connection = peer.connection, "a client's connection: {e}");
                },
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = tokio::time::timeout(Duration::from_secs(5), connection).await;
                }
            }
        }
        // Without an upgrade nobody is left who could send one.
        socket.recv().await
    }
}

/// A call over HTTP POST: the same dispatcher as on a bare connection.
async fn call(State(http): State<Http>, Extension(peer): Extension<Peer>, request: Request) -> Response {
    let json = |value: &HeaderValue| value.to_str().is_ok_and(|v| v.trim().starts_with("application/json"));
    if !request.headers().get(CONTENT_TYPE).is_some_and(json) {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type must be application/json\n").into_response();
    }
    let body = match tokio::time::timeout(BODY, to_bytes(request.into_body(), MAX_MESSAGE as usize)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => return (StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n").into_response(),
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "the request did not end in time\n").into_response(),
    };
    http.api.calls.fetch_add(1, Ordering::Relaxed);
    // Nothing is sent but the answer: subscriptions are refused here.
    let (out, _) = mpsc::channel(1);
    match Dispatcher::new(http.methods, peer, out).answer(&body, false).await {
        Some(answer) => ([(CONTENT_TYPE, "application/json")], String::from(Box::<str>::from(answer))).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// A WebSocket.
async fn websocket(
    State(http): State<Http>,
    Extension(to): Extension<Upgraded>,
    upgrade: WebSocketUpgrade,
) -> Response {
    http.api.calls.fetch_add(1, Ordering::Relaxed);
    // What is somewhat too large is still read, to be refused with a word.
    upgrade.max_message_size(2 * MAX_MESSAGE as usize).max_frame_size(2 * MAX_MESSAGE as usize).on_upgrade(
        async move |socket| {
            // Nobody waits for it: the daemon is stopping.
            let _ = to.send(socket).await;
        },
    )
}

async fn healthz(State(http): State<Http>) -> Response {
    if http.api.closing.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    "ok\n".into_response()
}

async fn metrics(State(http): State<Http>) -> Response {
    let text = metrics::render(&http.api);
    ([("content-type", "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
