//! A client of the daemon: connects to its socket and calls methods by their types.

use std::path::Path;

use jsonrpsee::core::client::{ClientT, Error as RpcError, Subscription, SubscriptionClientT};
use jsonrpsee::core::traits::ToRpcParams;
use jsonrpsee_client_transport::ws::{Url, WsTransportClientBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::net::UnixStream;

use crate::daemon::{Hello, HelloParams};
use crate::error::{ApiError, ErrorData, Kind};
use crate::events::{Event, ListParams};
use crate::method::{DaemonHello, Method};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there: the daemon does not run.
    #[error("no daemon at {path}: {source}")]
    Absent {
        /// The socket.
        path: String,
        /// What `connect` said.
        source: std::io::Error,
    },
    /// Somebody listens, but the conversation fails.
    #[error("the daemon at {path} does not answer as one: {why}")]
    Broken {
        /// The socket.
        path: String,
        /// What went wrong.
        why: String,
    },
    /// The daemon is of another time.
    #[error(transparent)]
    Protocol(#[from] ApiError),
}

/// A connection to a daemon. Cheap to use from several tasks at once.
pub struct Client {
    inner: jsonrpsee::core::client::Client,
    hello: Hello,
}

struct ByName<'a, P>(&'a P);

impl<P: Serialize> ToRpcParams for ByName<'_, P> {
    fn to_rpc_params(self) -> Result<Option<Box<RawValue>>, serde_json::Error> {
        serde_json::value::to_raw_value(self.0).map(Some)
    }
}

impl Client {
    /// Connects and says hello.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(socket: &Path, client: &str) -> Result<Self, ConnectError> {
        let path = socket.display().to_string();
        let stream =
            UnixStream::connect(socket).await.map_err(|source| ConnectError::Absent { path: path.clone(), source })?;
        let broken = |why: String| ConnectError::Broken { path: path.clone(), why };
        let url = Url::parse("ws://localhost/rpc").map_err(|e| broken(e.to_string()))?;
        let (tx, rx) = WsTransportClientBuilder::default()
            .max_request_size(crate::MAX_MESSAGE)
            .max_response_size(crate::MAX_MESSAGE)
            .build_with_stream(url, stream)
            .await
            .map_err(|e| broken(e.to_string()))?;
        let inner = jsonrpsee::core::client::Client::builder()
            // Calls that wait (`jobs.changes`, `operations.get`) may take a minute by themselves.
            .request_timeout(std::time::Duration::from_secs(300))
            .build_with_tokio(tx, rx);
        let params = HelloParams { client: client.to_owned(), protocol: crate::PROTOCOL };
        let hello: Result<Hello, _> = inner.request(DaemonHello::NAME, ByName(&params)).await.map_err(api_error);
        let hello = hello.map_err(|e| match e.data.kind {
            Kind::WrongProtocol => ConnectError::Protocol(e),
            _ => broken(e.message),
        })?;
        Ok(Self { inner, hello })
    }

    /// What the daemon said of itself.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Whether the connection was still there when it was last used.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.inner.is_connected()
    }

    /// Calls a method.
    ///
    /// # Errors
    /// The daemon's error; a lost connection is [`Kind::Stopping`].
    pub async fn call<M: Method>(&self, params: &M::Params) -> Result<M::Reply, ApiError> {
        self.call_into::<M, M::Reply>(params).await
    }

    /// Calls a method and reads its reply into a type of the caller's, which may leave out what it does not need.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub async fn call_into<M: Method, R: DeserializeOwned>(&self, params: &M::Params) -> Result<R, ApiError> {
        self.inner.request(M::NAME, ByName(params)).await.map_err(api_error)
    }

    /// Calls a method by name with parameters as JSON: for tools.
    ///
    /// # Errors
    /// The daemon's error.
    pub async fn call_raw(&self, method: &str, params: Option<&RawValue>) -> Result<serde_json::Value, ApiError> {
        struct Raw<'a>(Option<&'a RawValue>);
        impl ToRpcParams for Raw<'_> {
            fn to_rpc_params(self) -> Result<Option<Box<RawValue>>, serde_json::Error> {
                Ok(self.0.map(ToOwned::to_owned))
            }
        }
        self.inner.request(method, Raw(params)).await.map_err(api_error)
    }

    /// Subscribes to events; see `events.subscribe`.
    ///
    /// # Errors
    /// The daemon's error.
    pub async fn subscribe(&self, params: &ListParams) -> Result<Subscription<Event>, ApiError> {
        self.inner.subscribe("events.subscribe", ByName(params), "events.unsubscribe").await.map_err(api_error)
    }
}

/// Turns what the transport gives into the API's error.
fn api_error(e: RpcError) -> ApiError {
    match e {
        RpcError::Call(object) => {
            let data = object.data().and_then(|d| serde_json::from_str::<ErrorData>(d.get()).ok());
            let message = object.message().to_owned();
            match data {
                Some(data) => ApiError { message, data },
                None => {
                    let kind = match object.code() {
                        -32601 => Kind::NoSuchMethod,
                        -32602 => Kind::BadParams,
                        _ => Kind::Internal,
                    };
                    let detail = object.data().map(|d| format!(": {}", d.get())).unwrap_or_default();
                    ApiError::new(kind, format!("{message}{detail}"))
                }
            }
        }
        RpcError::RequestTimeout => ApiError::new(Kind::Busy, "the daemon did not answer in time"),
        RpcError::ParseError(e) => ApiError::new(Kind::WrongProtocol, format!("an answer that cannot be read: {e}"))
            .hint("restart the daemon: `actctl daemon restart`"),
        other => ApiError::new(Kind::Stopping, format!("the connection to the daemon was lost: {other}"))
            .hint("see `actctl daemon logs`"),
    }
}
