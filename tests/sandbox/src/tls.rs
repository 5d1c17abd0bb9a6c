//! Serves an axum router on loopback, over TLS or in the clear, and tells it who the verified client is.
//!
//! HTTP/1.1 only, like the servers it stands in for. A client certificate may be an RFC 3820 proxy. This file accepts
//! connections and knows nothing of what is served on them.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use openssl::ssl::{Ssl, SslAcceptor, SslMethod, SslOptions, SslRef, SslSessionCacheMode, SslVerifyMode};
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509Name};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_openssl::SslStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::pki::{Pki, PkiError, ServerCert, base_dn};

/// More clients than this at once wait for one to leave.
const MAX_CONNECTIONS: usize = 1024;
/// How long a client may take for its handshake, or for the head of a request; also how long it may stay idle.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a server does about client certificates. One that is shown must always be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCert {
    Ignored,
    Optional,
    /// The handshake fails without one.
    Required,
}

/// Who is at the other end; an extension of every request.
#[derive(Clone)]
pub struct Peer {
    pub addr: SocketAddr,
    /// The DN of the person, without the names that proxies add; `None` when no certificate was shown.
    pub dn: Option<String>,
    /// The verified chain, leaf first, the authority last; empty when no certificate was shown.
    pub chain: Arc<[X509]>,
}

/// Put into a response's extensions, it makes the server reset the connection instead of answering.
#[derive(Clone, Copy, Debug)]
pub struct HangUp;

/// A running server. Dropping it stops it without waiting.
pub struct Server {
    addr: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// The server side of TLS: a certificate in the given condition, client certificates judged by the PKI's authority.
pub fn acceptor(pki: &Pki, condition: ServerCert, clients: ClientCert) -> Result<SslAcceptor, PkiError> {
    let server = pki.server(condition)?;
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    builder.set_certificate(&server.cert)?;
    builder.set_private_key(&server.key)?;
    let mut store = X509StoreBuilder::new()?;
    store.add_cert(pki.ca().clone())?;
    builder.set_verify_cert_store(store.build())?;
    builder.verify_param_mut().set_flags(X509VerifyFlags::ALLOW_PROXY_CERTS)?;
    builder.set_verify(match clients {
        ClientCert::Ignored => SslVerifyMode::NONE,
        ClientCert::Optional => SslVerifyMode::PEER,
        ClientCert::Required => SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
    });
    let mut authorities = Stack::<X509Name>::new()?;
    authorities.push(pki.ca().subject_name().to_owned()?)?;
    builder.set_client_ca_list(authorities);
    // A resumed session has no chain on the server's side, so every connection makes a full handshake.
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_options(SslOptions::NO_TICKET);
    builder.set_num_tickets(0)?;
    Ok(builder.build())
}

impl Server {
    /// Serves `router` on a free port of 127.0.0.1, with TLS if there is an acceptor.
    pub async fn start(router: Router, tls: Option<SslAcceptor>) -> io::Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Server::on(listener, router, tls)
    }

    /// Serves `router` on this listener, with TLS if there is an acceptor.
    pub fn on(listener: TcpListener, router: Router, tls: Option<SslAcceptor>) -> io::Result<Server> {
        let server = Server { addr: listener.local_addr()?, stop: CancellationToken::new(), tasks: TaskTracker::new() };
        let stop = server.stop.clone();
        let tasks = server.tasks.clone();
        server.tasks.spawn(async move {
            stop.run_until_cancelled(accept(&listener, &router, tls.as_ref(), &stop, &tasks)).await;
        });
        Ok(server)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops listening and drops the open connections, as if the process had died, and waits until that is done.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(
    listener: &TcpListener,
    router: &Router,
    tls: Option<&SslAcceptor>,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Infallible {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let place = places.clone().acquire_owned().await;
        let (stream, addr) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: others must be closed first.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (router, tls, stop) = (router.clone(), tls.cloned(), stop.clone());
        tasks.spawn(async move {
            let _place = place;
            let served = stop.run_until_cancelled(connection(stream, addr, router, tls.as_ref()));
            if let Some(Err(error)) = served.await {
                tracing::debug!(%addr, %error, "connection ended");
            }
        });
    }
}

async fn connection(stream: TcpStream, addr: SocketAddr, router: Router, tls: Option<&SslAcceptor>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = stream.as_fd().try_clone_to_owned()?;
    let Some(tls) = tls else {
        let peer = Peer { addr, dn: None, chain: Arc::new([]) };
        return requests(stream, socket, peer, router).await;
    };
    let mut stream = SslStream::new(Ssl::new(tls.context())?, stream)?;
    let handshake = tokio::time::timeout(PATIENCE, std::pin::Pin::new(&mut stream).accept()).await?;
    if let Err(refusal) = handshake {
        linger(stream.get_mut()).await;
        return Err(io::Error::other(refusal));
    }
    let chain = verified_chain(stream.ssl());
    let peer = Peer { addr, dn: base_dn(&chain), chain: chain.into() };
    requests(stream, socket, peer, router).await
}

/// Ends a refused connection so that the client can read why: closing with its bytes unread would send RST, and that may
/// overtake the alert.
async fn linger(stream: &mut TcpStream) {
    let drain = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(1 << 20), &mut tokio::io::sink()).await
    };
    // Whatever the client does now, the connection is over.
    let _ = tokio::time::timeout(Duration::from_secs(2), drain).await;
}

/// The chain of a client that showed a certificate. That it holds was checked in the handshake.
fn verified_chain(ssl: &SslRef) -> Vec<X509> {
    match (ssl.peer_certificate(), ssl.verified_chain()) {
        (Some(_), Some(chain)) => chain.iter().map(ToOwned::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Serves one connection's requests. `socket` is another descriptor of the same connection.
async fn requests<S>(stream: S, socket: OwnedFd, peer: Peer, router: Router) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let answer = router.clone().oneshot(request.map(Body::new));
        async {
            let response: Response = answer.await.unwrap_or_else(|never: Infallible| match never {});
            if response.extensions().get::<HangUp>().is_some() {
                // With no time to linger, closing sends RST.
                rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
                return Err(io::Error::from(io::ErrorKind::ConnectionReset));
            }
            Ok(response)
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(io::Error::other)
}
