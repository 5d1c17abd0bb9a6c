//! The two HTTP clients behind [`super::http::Transport`]: reqwest for the plain REST calls to the aCT server; hyper's client
//! with OpenSSL for hosts that want to see the proxy, where a grid CA directory is looked up by hash and
//! `Expect: 100-continue` can be waited for, and for all where there are revocation lists. Neither follows redirects, retries, or takes a proxy from the environment.

use std::error::Error;
use std::net::Ipv6Addr;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::BodyExt as _;
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use hyper_openssl::client::legacy::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use openssl::error::ErrorStack;
use openssl::ssl::{ConnectConfiguration, SslConnectorBuilder};

use super::body::SourceError;
use super::error::{ErrorClass, RemoteError};
use super::http::{Reuse, Timeouts};

/// Largest head of an answer.
const MAX_HEAD: usize = 128 * 1024;
/// Idle connections kept to a host that keeps them alive, and for how long.
const POOL_SIZE: usize = 4;
const POOL_IDLE: std::time::Duration = std::time::Duration::from_secs(5);

pub(super) type SendBody = UnsyncBoxBody<Bytes, SourceError>;
pub(super) type BoxError = Box<dyn Error + Send + Sync>;
pub(super) type RecvBody = BoxBody<Bytes, BoxError>;

type HyperClient = Client<HttpsConnector<HttpConnector>, SendBody>;

/// Whom the client of the aCT server trusts, in terms of the library that is to be used.
pub enum RestTls {
    /// Makes builders that know all authorities.
    Reqwest(Box<dyn Fn() -> reqwest::ClientBuilder + Send>),
    /// Looks authorities and revocation lists up in a directory, which reqwest cannot.
    OpenSsl(SslConnectorBuilder),
}

/// A client that makes a new connection for each request, and one that keeps some.
#[derive(Clone)]
pub(super) enum Backend {
    Hyper { fresh: Box<HyperClient>, pooled: Box<HyperClient> },
    Reqwest { fresh: reqwest::Client, pooled: Arc<Pooled> },
}

/// Made when it is needed: to read all the roots of the system takes a tenth of a second and a megabyte, and many servers
/// keep no connection. None: it cannot be made.
type Pooled = LazyLock<Option<reqwest::Client>, Box<dyn FnOnce() -> Option<reqwest::Client> + Send>>;

/// Why there is no answer.
pub(super) struct NoAnswer {
    pub(super) error: BoxError,
    /// There was no connection to send anything on.
    pub(super) unsent: bool,
}

impl Backend {
    /// For hosts that want to see the proxy.
    pub(super) fn hyper(tls: SslConnectorBuilder, timeouts: &Timeouts) -> Result<Self, ErrorStack> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeouts.connect));
        let mut connector = HttpsConnector::with_connector(tcp, tls)?;
        connector.set_callback(verify_address);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.http1_max_buf_size(MAX_HEAD).pool_timer(TokioTimer::new());
        // A request is never sent twice behind our back.
        builder.retry_canceled_requests(false);
        let fresh = builder.pool_max_idle_per_host(0).build(connector.clone());
        let pooled = builder.pool_max_idle_per_host(POOL_SIZE).pool_idle_timeout(POOL_IDLE).build(connector);
        Ok(Self::Hyper { fresh: Box::new(fresh), pooled: Box::new(pooled) })
    }

    /// For the REST calls.
    pub(super) fn rest(tls: RestTls, timeouts: &Timeouts) -> Result<Self, RemoteError> {
        let failed =
            |e: &dyn Error| RemoteError::new(ErrorClass::Local, "aCT server", format!("cannot set up TLS: {e}"));
        let tls = match tls {
            RestTls::Reqwest(tls) => tls,
            RestTls::OpenSsl(tls) => return Self::hyper(tls, timeouts).map_err(|e| failed(&e)),
        };
        let connect = timeouts.connect;
        let build = move |idle: usize| {
            tls()
                .http1_only()
                .tcp_nodelay(true)
                .connect_timeout(connect)
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .retry(reqwest::retry::never())
                .pool_max_idle_per_host(idle)
                .pool_idle_timeout(POOL_IDLE)
                .build()
                .map_err(|e| failed(&e))
        };
        let fresh = build(0)?;
        let pooled: Box<dyn FnOnce() -> Option<reqwest::Client> + Send> = Box::new(move || build(POOL_SIZE).ok());
        Ok(Self::Reqwest { fresh, pooled: Arc::new(LazyLock::new(pooled)) })
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn request(
        &self,
        request: Request<SendBody>,
        reuse: Reuse,
    ) -> Result<Response<RecvBody>, NoAnswer> {
        match self {
            Self::Hyper { fresh, pooled } => {
                let client = if reuse == Reuse::Yes { pooled } else { fresh };
                let mut request = request;
                let connected = capture_connection(&mut request);
                match client.request(request).await {
                    Ok(response) => Ok(response.map(|body| body.map_err(Into::into).boxed())),
                    Err(error) => {
                        let unsent = error.is_connect() || connected.connection_metadata().is_none();
                        Err(NoAnswer { error: error.into(), unsent })
                    }
                }
            }
            Self::Reqwest { fresh, pooled } => {
                let pooled = if reuse == Reuse::Yes { LazyLock::force(pooled).as_ref() } else { None };
                let client = pooled.unwrap_or(fresh);
                let broken = |error: reqwest::Error| NoAnswer {
                    unsent: error.is_connect() || error.is_builder(),
                    error: error.into(),
                };
                let (head, body) = request.into_parts();
                let empty = !head.headers.contains_key(http::header::CONTENT_LENGTH);
                let mut call = reqwest::Request::new(head.method, url(&head.uri).map_err(unusable)?);
                *call.headers_mut() = head.headers;
                if !empty {
                    *call.body_mut() = Some(reqwest::Body::wrap_stream(body.into_data_stream()));
                }
                let response: Response<reqwest::Body> = client.execute(call).await.map_err(broken)?.into();
                Ok(response.map(|body| body.map_err(Into::into).boxed()))
            }
        }
    }
}

/// Has a server that is named by its IPv6 address verified by it. The connector hands on the host as the URL has it, in
/// brackets, which OpenSSL would take for a name that no certificate has; IPv4 addresses it knows.
fn verify_address(connection: &mut ConnectConfiguration, uri: &Uri) -> Result<(), ErrorStack> {
    let inner = uri.host().and_then(|host| host.strip_prefix('[')?.strip_suffix(']'));
    if let Some(address) = inner.and_then(|inner| inner.parse::<Ipv6Addr>().ok()) {
        connection.param_mut().set_ip(address.into())?;
        // In its place, not besides; and there is no name to indicate.
        connection.set_verify_hostname(false);
        connection.set_use_server_name_indication(false);
    }
    Ok(())
}

fn url(uri: &Uri) -> Result<url::Url, url::ParseError> {
    uri.to_string().parse()
}

fn unusable(error: url::ParseError) -> NoAnswer {
    NoAnswer { error: error.into(), unsent: true }
}
