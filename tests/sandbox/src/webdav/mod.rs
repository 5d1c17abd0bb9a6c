//! A WebDAV store over TLS that asks for the client's certificate, as grid storage does.
//!
//! It behaves like a plain server or like dCache, whose door answers an upload with a redirection to a pool. Any client
//! with a valid certificate may read and write. What was asked of it, and what is left in it, can be looked at from
//! outside; it does not interpret what it stores.

mod methods;
mod pool;
mod propfind;
mod store;

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::front::Front;
use crate::pki::{Pki, ServerCert};
use crate::tls::{ClientCert, Server, acceptor};
use methods::{Door, Uploads};
use pool::Keys;
use store::Store;

/// Where the store begins in its server's paths.
const PREFIX: &str = "/dav";

/// How the store takes uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Takes the body itself and answers 201, also when it replaces a file. Only so can the Python client `act` 1.0.0
    /// upload, which first PUTs nothing and then wants a 201 (observed).
    Plain,
    /// Takes the body itself and answers 201 for a new file and 204 for a replaced one, as Apache's mod_dav does.
    Apache,
    /// An upload that expects 100-continue is redirected (307) to a pool before any of the body is read. The pool takes
    /// it without credentials, by a one-time key in the URL, and answers 201. Other uploads are taken as in `Plain`.
    Dcache {
        /// Whether the pool speaks TLS.
        pool_tls: bool,
    },
}

/// What kind of store to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The tree is kept here; made if missing.
    pub dir: PathBuf,
    /// Port on 127.0.0.1, 0 for a free one.
    pub port: u16,
    pub behaviour: Behaviour,
    pub server_cert: ServerCert,
}

/// A running store.
pub struct WebDav {
    door: Server,
    pool: Option<Server>,
    store: Arc<Store>,
    front: Front,
}

impl Options {
    /// A plain store with a good certificate on a free port.
    pub fn new(dir: impl Into<PathBuf>) -> Options {
        Options { dir: dir.into(), port: 0, behaviour: Behaviour::Plain, server_cert: ServerCert::Good }
    }
}

impl WebDav {
    pub async fn start(options: &Options, pki: &Pki) -> io::Result<WebDav> {
        let store = Arc::new(Store::open(&options.dir)?);
        let front = Front::default();
        let mut pool = None;
        let uploads = match options.behaviour {
            Behaviour::Plain => Uploads::Created,
            Behaviour::Apache => Uploads::CreatedOrReplaced,
            Behaviour::Dcache { pool_tls } => {
                let tls = match pool_tls {
                    true => Some(acceptor(pki, options.server_cert, ClientCert::Ignored).map_err(io::Error::other)?),
                    false => None,
                };
                let keys = Arc::new(Keys::default());
                let router = front.before("pool", pool::router(store.clone(), keys.clone()));
                let server = Server::start(router, tls).await?;
                // A certificate is for a name. In clear text, an address that leads here and is nobody's loopback address.
                let base = if pool_tls { "https://localhost" } else { "http://0.0.0.0" };
                let url = format!("{base}:{}", server.addr().port());
                pool = Some(server);
                Uploads::Redirected { pool: url, keys }
            }
        };
        let router = front.before("door", methods::router(Door { store: store.clone(), uploads }));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let tls = acceptor(pki, options.server_cert, ClientCert::Required).map_err(io::Error::other)?;
        let door = Server::on(listener, router, Some(tls))?;
        Ok(WebDav { door, pool, store, front })
    }

    /// The base URL, without a slash at its end.
    pub fn url(&self) -> String {
        format!("https://localhost:{}{PREFIX}", self.door.addr().port())
    }

    /// The journal and the faults; the servers are called `door` and `pool` there.
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// Everything in the store, sorted: files by their path below the base, directories with a slash at the end.
    pub fn contents(&self) -> io::Result<Vec<String>> {
        self.store.list()
    }

    /// Stops listening and drops all connections.
    pub async fn stop(self) {
        self.door.stop().await;
        if let Some(pool) = self.pool {
            pool.stop().await;
        }
    }
}
