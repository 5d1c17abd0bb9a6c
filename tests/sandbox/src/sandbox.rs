//! Starts and stops the parts of a sandbox: PKI, REST server, CE, WebDAV store, admin port, and the files a user
//! needs.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;

use crate::{
    admin,
    ce::{self, Ce},
    fault::Fault,
    journal::{Entry, Violation},
    listen,
    options::Options,
    pki::{Pki, PkiError, ProxyOptions},
    rest, run,
    shared::{self, Cluster, Dirs, Sessions, Shared},
    snapshot,
    tls::{ClientCert, acceptor},
    webdav::{self, WebDav},
};

/// Whose proxy the sandbox makes.
const USER: &str = "Test User";
/// A proxy with less life than this is made anew at a start.
const MIN_PROXY_LIFE: i64 = 3600;
/// How long running parts may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Why a sandbox does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file or a port.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The cause.
        source: io::Error,
    },
    /// Certificates.
    #[error("cannot make the test PKI: {0}")]
    Pki(#[from] PkiError),
}

fn cannot<T>(what: impl Into<String>, result: io::Result<T>) -> Result<T, StartError> {
    result.map_err(|source| StartError::Io { what: what.into(), source })
}

/// Addresses and paths of a running sandbox; printed by `serve --json` as one line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Info {
    /// The REST API, `http://127.0.0.1:PORT`, with TLS `https://localhost:PORT`.
    pub server: String,
    /// The tests' own door, `http://127.0.0.1:PORT`.
    pub admin: String,
    /// The computing element, `https://localhost:PORT`.
    pub ce: String,
    /// The user's directory in the WebDAV store.
    pub webdav: String,
    /// Cluster URLs as in GET /info.
    pub clusters: Vec<String>,
    /// Configuration for act and actctl.
    pub config: PathBuf,
    /// The user's proxy, with a VOMS attribute.
    pub proxy: PathBuf,
    /// Where the configuration puts the token.
    pub token: PathBuf,
    /// Hashed directory of the test CA, for `X509_CERT_DIR`.
    pub ca_dir: PathBuf,
    /// The test CA as one file, for `SSL_CERT_FILE`.
    pub ca_file: PathBuf,
    /// Everything lies here.
    pub dir: PathBuf,
    /// The process that serves.
    pub pid: u32,
}

/// Ports of an earlier start in the same directory.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Ports {
    rest: u16,
    admin: u16,
    ce: u16,
    webdav: u16,
}

/// A running sandbox. Dropping it stops it without waiting and without a last snapshot.
pub struct Sandbox {
    /// First, so that everything has been told to stop before the rest is dropped.
    _stop: DropGuard,
    shared: Arc<Shared>,
    info: Arc<Info>,
    ce: Ce,
    webdav: Arc<WebDav>,
}

impl Sandbox {
    /// Starts everything; when it returns, all ports answer.
    ///
    /// # Errors
    /// The directory cannot be used, a port is taken, or a snapshot of an earlier run cannot be read.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let dirs = cannot(format!("use {}", options.dir.display()), Dirs::new(&options.dir))?;
        let pki = Pki::create(&options.pki_dir.clone().unwrap_or_else(|| dirs.join("pki")))?;
        let state = cannot("read the snapshot state.jsonl", snapshot::load(&dirs))?;
        let state = Arc::new(Mutex::new(state));
        let old = ports(&dirs.join("ports.json"));

        let wanted = if options.port == 0 { old.rest } else { options.port };
        let rest_listener = cannot("listen for the REST API", bind(wanted, options.port == 0))?;
        let admin_listener = cannot("listen for the admin API", bind(old.admin, true))?;
        let port = |listener: &TcpListener| listener.local_addr().map(|addr| addr.port());
        let sessions = Arc::new(Sessions { dirs: dirs.clone(), state: state.clone() });
        let ce = cannot("start the CE", start_ce(old.ce, &pki, sessions).await)?;
        let store = webdav::Options {
            behaviour: options.webdav,
            server_cert: options.webdav_cert,
            ..webdav::Options::new(dirs.join("dav"))
        };
        let webdav = Arc::new(cannot("start the WebDAV store", start_webdav(old.webdav, store, &pki).await)?);
        let new = Ports {
            rest: cannot("ask for a port", port(&rest_listener))?,
            admin: cannot("ask for a port", port(&admin_listener))?,
            ce: port_of(&ce.url()),
            webdav: port_of(&webdav.url()),
        };
        let ce_url = ce.url().trim_end_matches("/arex").to_owned();
        let clusters = vec![
            Cluster { url: format!("{ce_url}/fork"), up: true },
            // Nobody answers there: jobs for it never get anywhere.
            Cluster { url: "https://localhost:1/down".to_owned(), up: false },
        ];

        let condition = options.tls;
        let tls = condition.map(|condition| acceptor(&pki, condition, ClientCert::Ignored)).transpose()?;
        let info = Arc::new(Info {
            server: match tls {
                Some(_) => format!("https://localhost:{}", new.rest),
                None => format!("http://127.0.0.1:{}", new.rest),
            },
            admin: format!("http://127.0.0.1:{}", new.admin),
            ce: ce_url.clone(),
            webdav: webdav.url(),
            clusters: clusters.iter().map(|cluster| cluster.url.clone()).collect(),
            config: dirs.join("config.yaml"),
            proxy: dirs.join("proxy"),
            token: dirs.join("token"),
            ca_dir: pki.ca_dir(),
            ca_file: pki.ca_file(),
            dir: dirs.root().to_owned(),
            pid: std::process::id(),
        });
        make_proxy(&pki, &info.proxy, options.proxy_validity)?;
        cannot("write the configuration", write_config(&info))?;
        let ports_text = serde_json::to_vec(&new).map_err(io::Error::other);
        cannot("write ports.json", ports_text.and_then(|text| fs::write(dirs.join("ports.json"), text)))?;

        let shared = Arc::new(Shared::new(options, dirs, pki, clusters, ce_url, tls, state));
        let app = rest::router(shared.clone());
        shared.tasks.spawn(listen::serve(shared.clone(), rest_listener, app));
        let admin = admin::router(shared.clone(), info.clone(), &ce, webdav.clone());
        let stop = shared.stop.clone();
        shared.tasks.spawn(async move {
            let served = axum::serve(admin_listener, admin).with_graceful_shutdown(stop.cancelled_owned()).await;
            if let Err(error) = served {
                tracing::error!(%error, "the admin port ended");
            }
        });
        shared.tasks.spawn(snapshot::keep(shared.clone()));
        run::resume(&shared);
        Ok(Self { _stop: shared.stop.clone().drop_guard(), shared, info, ce, webdav })
    }

    /// Addresses and paths.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Adds a fault; returns its id.
    pub fn add_fault(&self, fault: Fault) -> u64 {
        self.shared.faults.add(fault)
    }

    /// Removes all faults.
    pub fn remove_faults(&self) {
        self.shared.faults.remove(None);
    }

    /// All faults, with how often each was applied.
    pub fn faults(&self) -> Vec<Fault> {
        self.shared.faults.list()
    }

    /// The requests so far.
    pub fn journal(&self) -> Vec<Entry> {
        self.shared.journal.entries(0, |_| true)
    }

    /// What a well-behaved client would not have done.
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.journal.violations()
    }

    /// The CE's file server: its journal and faults.
    pub fn ce(&self) -> &Ce {
        &self.ce
    }

    /// The WebDAV store: its journal, faults and contents.
    pub fn webdav(&self) -> &WebDav {
        &self.webdav
    }

    /// Completes when somebody has asked for a stop over the admin port.
    pub async fn stopped(&self) {
        self.shared.stop.cancelled().await;
    }

    /// Stops serving, kills running jobs, writes the last snapshot.
    pub async fn shutdown(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        if tokio::time::timeout(STOP_WITHIN, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!("some parts did not end in time");
        }
        self.ce.stop().await;
        // The admin port shared the store, and has ended.
        if let Some(webdav) = Arc::into_inner(self.webdav) {
            webdav.stop().await;
        }
        self.shared.change(|state| state.closed = true);
        snapshot::save(&self.shared, true);
    }
}

fn ports(path: &Path) -> Ports {
    fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Binds `port`, or, if it was only a preference and is taken, any.
fn bind(port: u16, any: bool) -> io::Result<TcpListener> {
    match listen::bind(port) {
        Err(_) if any && port != 0 => listen::bind(0),
        result => result,
    }
}

async fn start_ce(port: u16, pki: &Pki, sessions: Arc<Sessions>) -> io::Result<Ce> {
    let options = |port| ce::Options { port, ..ce::Options::default() };
    match Ce::start(&options(port), pki, sessions.clone()).await {
        Err(_) if port != 0 => Ce::start(&options(0), pki, sessions).await,
        result => result,
    }
}

async fn start_webdav(port: u16, options: webdav::Options, pki: &Pki) -> io::Result<WebDav> {
    match WebDav::start(&webdav::Options { port, ..options.clone() }, pki).await {
        Err(_) if port != 0 => WebDav::start(&options, pki).await,
        result => result,
    }
}

fn port_of(url: &str) -> u16 {
    url::Url::parse(url).ok().and_then(|url| url.port()).unwrap_or(0)
}

fn make_proxy(pki: &Pki, path: &Path, validity: Duration) -> Result<(), PkiError> {
    let lives = fs::read(path).ok().and_then(|pem| openssl::x509::X509::from_pem(&pem).ok()).is_some_and(|cert| {
        let limit = openssl::asn1::Asn1Time::from_unix(shared::now() + MIN_PROXY_LIFE);
        limit.is_ok_and(|limit| cert.not_after() > &*limit)
    });
    if !lives {
        pki.proxy(&ProxyOptions::of(USER).lifetime(validity).path(path))?;
    }
    Ok(())
}

/// The user's configuration. One that already names this server is left alone: its owner may have added to it.
fn write_config(info: &Info) -> io::Result<()> {
    let server = format!("server: {}\n", info.server);
    if fs::read_to_string(&info.config).is_ok_and(|text| text.contains(&server)) {
        return Ok(());
    }
    let text = format!(
        "{server}clusters:\n  default:\n    - {}\n  down:\n    - {}\ntoken: {}\nproxy: {}\nwebdav: {}\n",
        info.clusters[0],
        info.clusters[1],
        info.token.display(),
        info.proxy.display(),
        info.webdav,
    );
    fs::write(&info.config, text)
}
