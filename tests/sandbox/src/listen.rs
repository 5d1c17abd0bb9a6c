//! Accepts connections for the REST server, with as many workers as asked for. With one worker, everybody waits while
//! one connection is open, even an idle one, as observed on a real aCT server.

use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use openssl::ssl::Ssl;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Notify, Semaphore},
};
use tokio_openssl::SslStream;
use tower_service::Service;

use crate::{options::Workers, shared::Shared};

/// Like the real front's queue of connections nobody has accepted yet.
const BACKLOG: u32 = 2048;

/// The connection a request came on.
#[derive(Clone)]
pub(crate) struct Connection {
    /// Number of the connection, from 1.
    pub(crate) id: u64,
    reset: Arc<Notify>,
}

impl Connection {
    /// Ends the connection with a TCP reset.
    pub(crate) fn reset(&self) {
        self.reset.notify_one();
    }
}

/// Binds 127.0.0.1 at `port`.
///
/// # Errors
/// The port is taken or not allowed.
pub(crate) fn bind(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    socket.listen(BACKLOG)
}

/// Serves until the sandbox stops.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener, app: Router) {
    let workers = Arc::new(Semaphore::new(match shared.options.workers {
        Workers::Limited(count) => count,
        Workers::Many => Semaphore::MAX_PERMITS,
    }));
    loop {
        let Ok(permit) = workers.clone().acquire_owned().await else { return };
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stop.cancelled() => return,
        };
        match stream {
            Ok((stream, _)) => {
                let (shared, app) = (shared.clone(), app.clone());
                shared.clone().tasks.spawn(async move {
                    connection(&shared, stream, app).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: let some connections end.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(shared: &Shared, stream: TcpStream, app: Router) {
    let id = shared.last_connection.fetch_add(1, Ordering::Relaxed) + 1;
    shared.open_connections.fetch_add(1, Ordering::Relaxed);
    if let Err(error) = talk(shared, id, stream, app).await {
        tracing::debug!(%error, id, "connection ended");
    }
    shared.open_connections.fetch_sub(1, Ordering::Relaxed);
}

async fn talk(shared: &Shared, id: u64, stream: TcpStream, app: Router) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    // A second handle on the socket: hyper owns the first, and a reset needs an option set just before the close.
    let handle = stream.try_clone()?;
    let stream = TcpStream::from_std(stream)?;
    let connection = Connection { id, reset: Arc::default() };
    let reset = connection.reset.clone();
    let request_time = shared.options.request_time;
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(connection.clone());
        let mut app = app.clone();
        async move {
            if !request_time.is_zero() {
                tokio::time::sleep(request_time).await;
            }
            app.call(Request::from(request.map(Body::new))).await
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(None)
        .keep_alive(shared.options.keep_alive)
        .title_case_headers(true);
    let served = async {
        match &shared.acceptor {
            None => http.serve_connection(TokioIo::new(stream), service).await.map_err(io::Error::other),
            Some(acceptor) => {
                let mut stream = SslStream::new(Ssl::new(acceptor.context())?, stream)?;
                Pin::new(&mut stream).accept().await.map_err(io::Error::other)?;
                http.serve_connection(TokioIo::new(stream), service).await.map_err(io::Error::other)
            }
        }
    };
    tokio::select! {
        result = served => result,
        () = reset.notified() => rustix::net::sockopt::set_socket_linger(&handle, Some(Duration::ZERO)).map_err(Into::into),
        () = shared.stop.cancelled() => Ok(()),
    }
}
