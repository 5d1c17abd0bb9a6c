//! The hands themselves: clients, limits and settings that all work shares, and who does what. It keeps no state of jobs.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};

use tokio::sync::{AcquireError, OnceCell, Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::pace::Pace;
use super::rows::RowReader;
use super::{
    Done, ProgressSink, Work, clean, confirm, create, deliver, discard, list, look, manage, orphans, retrieve, sweep,
    upload,
};
use crate::auth::{Proxy, Trust};
use crate::fsutil::Together;
use crate::job::fault::{Class, Fault};
use crate::job::{Key, ProxyId, ServerId};
use crate::remote::act::{ActClient, ActOptions, Info};
use crate::remote::arex::ArexClient;
use crate::remote::retry::{Breaker, Decision};
use crate::remote::webdav::{WebdavClient, WebdavOptions};
use crate::remote::{ErrorClass, RemoteError, Timeouts};
use crate::secret::Secret;

/// How they work. What is about the server, the state directory and the user stays as it is while the daemon runs.
#[derive(Debug, Clone)]
pub struct HandsConfig {
    /// The aCT server.
    pub url: Url,
    /// Its name in manifests: scheme, host and port, or as the user writes it.
    pub server: String,
    /// This daemon's own name, the same after each restart, another one for each state directory.
    pub instance: String,
    /// Where manifests lie that cannot be in the directory that they are about.
    pub state_dir: PathBuf,
    /// Whom to trust.
    pub trust: Trust,
    /// For the aCT server.
    pub act: ActOptions,
    /// For WebDAV stores.
    pub webdav: WebdavOptions,
    /// For computing elements.
    pub ce: Timeouts,
    /// Files that are uploaded at a time.
    pub uploads: usize,
    /// Files that are downloaded at a time, all jobs together.
    pub downloads: usize,
    /// Files of one job that are downloaded at a time.
    pub files_per_job: usize,
    /// Most bytes a second of all downloads together; none: no cap.
    pub rate: Option<u64>,
    /// Bytes that are to stay free on the disk.
    pub min_free: u64,
    /// The user's umask: results are for them and for whom they let in, whatever the daemon's own umask is.
    pub umask: u32,
}

impl HandsConfig {
    /// The client of the aCT server, without a token. It reads all the roots of the system.
    ///
    /// # Errors
    /// The server's URL cannot be used, or TLS cannot be set up.
    pub fn client(&self) -> Result<ActClient, RemoteError> {
        ActClient::new(self.url.clone(), None, set_up(self.trust.rest())?, self.act)
    }
}

/// The clients of one credential.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) act: ActClient,
    /// The identity of its token, if it has one.
    proxyid: Option<ProxyId>,
    /// With `act`.
    pub(super) rows: RowReader,
    /// None: there is no proxy to present.
    presenting: Option<Arc<Presenting>>,
}

/// The clients that present the proxy, made when they are first needed: each reads all the roots of the system, which
/// takes a tenth of a second and a megabyte, and many users need neither.
#[derive(Debug)]
struct Presenting {
    webdav: Late<WebdavClient>,
    ce: Late<ArexClient>,
}

type Late<T> = LazyLock<Result<T, RemoteError>, Box<dyn FnOnce() -> Result<T, RemoteError> + Send>>;

impl Presenting {
    fn new(proxy: &Arc<Proxy>, config: &Arc<HandsConfig>) -> Self {
        let webdav = {
            let (proxy, config) = (proxy.clone(), config.clone());
            move || {
                let identity = connector(&config.trust, Some(&proxy))?;
                WebdavClient::new(identity, connector(&config.trust, None)?, config.webdav)
            }
        };
        let (proxy, config) = (proxy.clone(), config.clone());
        let ce = move || ArexClient::new(connector(&config.trust, Some(&proxy))?, config.ce);
        Self { webdav: LazyLock::new(Box::new(webdav)), ce: LazyLock::new(Box::new(ce)) }
    }
}

impl Tools {
    /// The client of WebDAV stores; none: there is no proxy to present.
    pub(super) fn webdav(&self) -> Option<Result<&WebdavClient, RemoteError>> {
        Some(LazyLock::force(&self.presenting.as_ref()?.webdav).as_ref().map_err(Clone::clone))
    }

    /// The client of computing elements; none: there is no proxy to present.
    pub(super) fn ce(&self) -> Option<Result<&ArexClient, RemoteError>> {
        Some(LazyLock::force(&self.presenting.as_ref()?.ce).as_ref().map_err(Clone::clone))
    }
}

/// Places of which there may be more or fewer from now on.
#[derive(Debug)]
pub(super) struct Places {
    places: Semaphore,
    /// How many there are to be.
    wanted: Mutex<usize>,
}

impl Places {
    fn new(places: usize) -> Self {
        Self { places: Semaphore::new(places.max(1)), wanted: Mutex::new(places.max(1)) }
    }

    /// Waits for a place.
    pub(super) async fn acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.places.acquire().await
    }

    /// Another number of places; how many are too many and must be taken away as they get free.
    fn resize(&self, places: usize) -> usize {
        let places = places.max(1);
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *wanted, places);
        self.places.add_permits(places.saturating_sub(before));
        before.saturating_sub(places)
    }

    async fn take_away(&self, places: usize) {
        for _ in 0..places {
            if let Ok(place) = self.places.acquire().await {
                place.forget();
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Inner {
    config: RwLock<Arc<HandsConfig>>,
    tools: RwLock<Arc<Tools>>,
    pub(super) uploads: Places,
    pub(super) downloads: Places,
    pub(super) pace: Pace,
    pub(super) space: Arc<super::space::Space>,
    pub(super) syncs: Together,
    /// The row of a job, and how many of its inputs are on the other side already, for a repetition within the life of this
    /// process.
    pub(super) uploaded: Mutex<HashMap<Key, (ServerId, usize)>>,
    pub(super) staged: super::staged::Staged,
    /// Of WebDAV stores, by origin. The aCT server's is the engine's.
    breakers: Mutex<HashMap<String, Breaker>>,
    /// The server's columns.
    columns: OnceCell<Info>,
    started: std::time::Instant,
}

/// Does the daemon's work. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hands(pub(super) Arc<Inner>);

impl Hands {
    /// Hands without a credential yet, with the client that the configuration makes; [`Hands::equip`] gives them one.
    #[must_use]
    pub fn new(config: HandsConfig, act: ActClient) -> Self {
        let tools = Tools { act, proxyid: None, rows: RowReader::default(), presenting: None };
        Self(Arc::new(Inner {
            uploads: Places::new(config.uploads),
            downloads: Places::new(config.downloads),
            pace: Pace::new(config.rate),
            space: Arc::default(),
            syncs: Together::default(),
            tools: RwLock::new(Arc::new(tools)),
            uploaded: Mutex::default(),
            staged: super::staged::Staged::default(),
            breakers: Mutex::default(),
            columns: OnceCell::new(),
            started: std::time::Instant::now(),
            config: RwLock::new(Arc::new(config)),
        }))
    }

    /// From now on work uses this token, of that identity, and this proxy. Work that runs already goes on with the old ones. Call it before
    /// the engine is told of the new credential.
    pub fn equip(&self, token: Option<(Secret, ProxyId)>, proxy: Option<&Arc<Proxy>>) {
        let (token, proxyid) = token.unzip();
        let config = self.0.config();
        let presenting = proxy.map(|proxy| Arc::new(Presenting::new(proxy, &config)));
        self.0.change_tools(|now| Tools {
            act: now.act.with_token(token),
            proxyid,
            rows: RowReader::default(),
            presenting,
        });
    }

    /// Goes by another configuration from now on: limits, whom to trust, what is allowed. Work that is under way ends as it
    /// was begun; clients that present the proxy follow with the next [`Hands::equip`].
    ///
    /// # Errors
    /// As for [`HandsConfig::client`]; then nothing has changed.
    pub fn configure(&self, new: HandsConfig) -> Result<(), RemoteError> {
        let act = self.0.tools().act.rebuilt(set_up(new.trust.rest())?, new.act)?;
        // That took its time: they may have been equipped meanwhile.
        self.0.change_tools(|now| Tools {
            act: act.with_token_of(&now.act),
            proxyid: now.proxyid,
            rows: RowReader::default(),
            presenting: now.presenting.clone(),
        });
        self.0.pace.set(new.rate);
        let too_many = (self.0.uploads.resize(new.uploads), self.0.downloads.resize(new.downloads));
        *self.0.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        if too_many != (0, 0) {
            let inner = self.0.clone();
            tokio::spawn(async move {
                tokio::join!(inner.uploads.take_away(too_many.0), inner.downloads.take_away(too_many.1));
            });
        }
        Ok(())
    }

    /// The client of the aCT server with the token in force: for the delegation of proxies, which begins without one.
    #[must_use]
    pub fn act(&self) -> ActClient {
        self.0.tools().act.clone()
    }

    /// The client of WebDAV stores with the proxy in force; none: there is no proxy.
    #[must_use]
    pub fn webdav(&self) -> Option<Result<WebdavClient, RemoteError>> {
        Some(self.0.tools().webdav()?.cloned())
    }

    /// Does a piece of work with the credential that is in force at the moment of the call, unless that is of another
    /// identity than the one whose jobs it is about: to that they would seem to be gone. A list is of whoever asks. It must
    /// be polled to its end; `cancel` brings that about early, where the work can go on later.
    pub fn run(
        &self,
        work: Work,
        owner: ProxyId,
        sink: ProgressSink,
        cancel: CancellationToken,
    ) -> impl Future<Output = Done> + Send + 'static {
        let (inner, tools) = (self.0.clone(), self.0.tools());
        async move {
            let is_anybodys = matches!(work, Work::List | Work::Deliver { .. } | Work::Discard { .. });
            if !is_anybodys && tools.proxyid.is_some_and(|proxyid| proxyid != owner) {
                return Done::Outdated;
            }
            let act = &tools.act.clone();
            match work {
                Work::Create(jobs) => create::create(act, jobs).await,
                Work::Upload { key, id, spec } => upload::upload(&inner, &tools, key, id, &spec, &sink, &cancel).await,
                Work::Confirm(jobs) => confirm::confirm(act, jobs).await,
                Work::List => list::list(act).await,
                Work::Look(jobs) => look::look(act, jobs).await,
                Work::Retrieve(job) => retrieve::retrieve(inner, tools, job, &sink, &cancel).await,
                Work::Clean(jobs) => clean::clean(act, &inner.columns, jobs).await,
                Work::Kill(jobs) => manage::kill(act, jobs).await,
                Work::Fetch(jobs) => manage::fetch(act, jobs).await,
                Work::Resubmit(jobs) => manage::resubmit(act, jobs).await,
                Work::CancelRows(jobs) => {
                    inner.forget_uploads(&jobs);
                    manage::cancel_rows(act, jobs).await
                }
                Work::CancelOrphans(hunt) => orphans::cancel(act, hunt).await,
                Work::Sweep { key, id, base, files } => {
                    sweep::sweep(&inner, &tools, key, id, &base, files.as_deref()).await
                }
                Work::Deliver { key, from, parent, name, copy } => {
                    deliver::deliver(inner, key, deliver::Delivery { from, parent, name, copy }, &sink).await
                }
                Work::Discard { key, dir } => discard::discard(inner, key, dir).await,
            }
        }
    }
}

impl Inner {
    pub(super) fn config(&self) -> Arc<HandsConfig> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Nobody goes on with what these rows were to have.
    fn forget_uploads(&self, rows: &[(Key, ServerId)]) {
        let mut uploaded = self.uploaded.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, id) in rows {
            if uploaded.get(key).is_some_and(|(of, _)| of == id) {
                uploaded.remove(key);
            }
        }
    }

    /// Nobody else changes them meanwhile, so `change` must not take long.
    fn change_tools(&self, change: impl FnOnce(&Tools) -> Tools) {
        let mut tools = self.tools.write().unwrap_or_else(PoisonError::into_inner);
        let new = change(&tools);
        *tools = Arc::new(new);
    }

    pub(super) fn tools(&self) -> Arc<Tools> {
        self.tools.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a WebDAV store may be asked now; a store that is away is left alone for a while.
    pub(super) fn may_ask(&self, store: &Url) -> Result<(), Fault> {
        let now = self.started.elapsed();
        match self.breaker(store, |breaker| breaker.check(now)) {
            Decision::Go | Decision::Probe => Ok(()),
            Decision::Wait(wait) => {
                let why = format!(
                    "{} has failed several times: it is asked again later",
                    store.origin().ascii_serialization()
                );
                let retry_after_ms = i64::try_from(wait.as_millis()).ok();
                Err(Fault { retry_after_ms, ..Fault::new(Class::Transient, why) })
            }
        }
    }

    /// How an exchange with a WebDAV store went: any answer shows it alive.
    pub(super) fn asked(&self, store: &Url, error: Option<&RemoteError>) {
        let now = self.started.elapsed();
        self.breaker(store, |breaker| match error {
            Some(error)
                if error.status().is_none_or(|status| status >= 500) && !matches!(error.class(), ErrorClass::Local) =>
            {
                breaker.failed(now, fastrand::u64(..));
            }
            _ => breaker.succeeded(),
        });
    }

    fn breaker<T>(&self, store: &Url, with: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        with(breakers.entry(store.origin().ascii_serialization()).or_default())
    }
}

fn connector(trust: &Trust, proxy: Option<&Proxy>) -> Result<openssl::ssl::SslConnectorBuilder, RemoteError> {
    set_up(trust.connector(proxy))
}

fn set_up<T>(tls: Result<T, openssl::error::ErrorStack>) -> Result<T, RemoteError> {
    tls.map_err(|e| RemoteError::new(ErrorClass::Local, "TLS", format!("cannot be set up: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(state: &std::path::Path) -> HandsConfig {
        let second = std::time::Duration::from_secs(1);
        HandsConfig {
            // TLS: making its client takes long enough. Nobody has this address.
            url: "https://act.invalid".parse().expect("a URL"),
            server: "https://act.invalid".into(),
            instance: "instance".into(),
            state_dir: state.to_owned(),
            trust: Trust::new(None),
            act: ActOptions::default(),
            webdav: WebdavOptions::default(),
            ce: Timeouts { connect: second, head: second, idle: second, total: second },
            uploads: 1,
            downloads: 1,
            files_per_job: 1,
            rate: None,
            min_free: 0,
            umask: 0o022,
        }
    }

    #[tokio::test]
    async fn nothing_is_sent_for_jobs_of_another_identity_than_that_of_the_token() {
        let state = tempfile::tempdir().expect("a directory");
        let config = config(state.path());
        let hands = Hands::new(config.clone(), config.client().expect("a client"));
        let run = |work: &Work, owner| hands.run(work.clone(), owner, ProgressSink::none(), CancellationToken::new());
        let token = || Some(Secret::new("token".to_owned()));
        let kill = Work::Kill(vec![(Key(1), 5)]);
        hands.equip(token().map(|token| (token, 2)), None);
        assert!(matches!(run(&kill, 1).await, Done::Outdated));
        // A list is of whoever asks. Nobody answers here.
        assert!(matches!(run(&Work::List, 1).await, Done::Listed(Err(_))));
        // What changes may be another token of the same identity.
        for _ in 0..2 {
            hands.equip(token().map(|token| (token, 1)), None);
            hands.configure(config.clone()).expect("a good configuration");
            assert!(matches!(run(&kill, 1).await, Done::Jobs { .. }));
            assert!(matches!(run(&kill, 2).await, Done::Outdated));
        }
    }

    #[test]
    fn a_credential_that_comes_during_a_reload_is_not_lost() {
        let state = tempfile::tempdir().expect("a directory");
        let config = config(state.path());
        let hands = Hands::new(config.clone(), config.client().expect("a client"));
        for _ in 0..20 {
            hands.equip(None, None);
            std::thread::scope(|scope| {
                let reload = scope.spawn(|| hands.configure(config.clone()));
                std::thread::sleep(std::time::Duration::from_micros(fastrand::u64(0..3_000)));
                hands.equip(Some((Secret::new("token".to_owned()), 1)), None);
                reload.join().expect("no panic").expect("a good configuration");
            });
            assert!(hands.act().has_token());
        }
    }
}
