//! The one task that owns the credential: it knows whether token and proxy can be used and says so to everybody, picks up
//! files that other programs replace, and delegates. It never deletes a delegation, never replaces a longer-lived one
//! unasked, and never takes another identity unasked.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use act_proto::error::{ApiError, Kind};
use act_proto::proxy::{Status, SubmitParams, Submitted};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::journal::Journal;
use super::{DelegateError, Proxy, ProxyError, Token, TokenError, Trust, delegate};
use crate::config::Config;
use crate::engine::Credential;
use crate::engine::board::Board;
use crate::job::{Phase, ProxyId, Time};
use crate::remote::act::ActClient;
use crate::remote::{ErrorClass, RemoteError};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long somebody waits for a delegation that is under way.
const SETTLE: Duration = Duration::from_secs(20);
/// First and longest pause between two delegations that were not asked for.
const PAUSE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3600));
/// A new proxy must live so much longer than the delegated one to be delegated unasked.
const LONGER: Duration = Duration::from_secs(60);

/// The credential as it is now.
#[derive(Debug, Clone, Default)]
pub struct AuthState {
    /// The token, unless it cannot be used.
    pub token: Option<Token>,
    /// The proxy, unless it cannot be used: for WebDAV and computing elements.
    pub proxy: Option<Arc<Proxy>>,
    /// Why the token cannot be used.
    pub problem: Option<ApiError>,
    /// Why the proxy cannot be used.
    pub proxy_problem: Option<ApiError>,
    /// Another number: another token or another proxy.
    pub generation: u64,
}

/// The actor, for everybody else.
#[derive(Debug, Clone)]
pub struct AuthHandle {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<AuthState>,
    status: watch::Receiver<Status>,
    settled: watch::Receiver<bool>,
}

#[derive(Debug)]
enum Command {
    Submit(SubmitParams, oneshot::Sender<Result<Submitted, ApiError>>),
    Config(Box<Config>),
}

impl AuthHandle {
    /// Delegates the proxy and stores the token.
    ///
    /// # Errors
    /// Everything that can go wrong with it; what was in force before still is.
    pub async fn submit(&self, params: SubmitParams) -> Result<Submitted, ApiError> {
        let gone = || ApiError::new(Kind::Stopping, "the daemon is stopping");
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Submit(params, reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Goes by another configuration from now on.
    pub async fn configure(&self, config: Config) {
        let _ = self.commands.send(Command::Config(Box::new(config))).await;
    }

    /// Why the token cannot be used. Waits while it is just being made, so that the first call to a new daemon is not told
    /// that something is missing which comes a moment later.
    pub async fn problem(&self) -> Option<ApiError> {
        let mut settled = self.settled.clone();
        let _ = tokio::time::timeout(SETTLE, settled.wait_for(|settled| *settled)).await;
        self.state.borrow().problem.clone()
    }

    /// The credential as it is now.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<AuthState> {
        self.state.clone()
    }

    /// The same for people.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }
}

/// What a file was when it was read: another stamp is another file.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

fn stamp(path: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec()))
}

/// Gives token and proxy to those who work with them, before anybody else learns of them.
pub type Equip = Box<dyn Fn(&AuthState) + Send + Sync>;

/// The actor before it runs.
pub struct Actor {
    config: Config,
    client: ActClient,
    equip: Equip,
    journal: Journal,
    token: Result<Option<Token>, TokenError>,
    token_stamp: Stamp,
    proxy: Result<Arc<Proxy>, ProxyError>,
    proxy_stamp: Stamp,
    /// The server refused this token.
    rejected: bool,
    /// The identity that our jobs belong to, as long as there is no board to ask.
    owner: Option<ProxyId>,
    board: Option<Board>,
    generation: u64,
    /// When it may be delegated unasked again, after how long a pause, and why the last time failed.
    next_try: Instant,
    pause: Duration,
    failure: Option<ApiError>,
    said: Option<String>,
    state: watch::Sender<AuthState>,
    status: watch::Sender<Status>,
    credential: watch::Sender<Credential>,
    /// Nothing is being delegated.
    settled: watch::Sender<bool>,
}

impl Actor {
    /// Reads token and proxy. `owner`: whose jobs there are. `client`: of the aCT server, for delegations. Blocks for a
    /// moment.
    #[must_use]
    pub fn new(config: Config, owner: Option<ProxyId>, client: &ActClient, equip: Equip) -> Self {
        let journal = Journal::read(&config.state);
        let mut actor = Self {
            token: Ok(None),
            token_stamp: None,
            proxy: Err(ProxyError::Missing(config.proxy.clone())),
            proxy_stamp: None,
            rejected: false,
            owner,
            board: None,
            generation: 1,
            next_try: Instant::now(),
            pause: PAUSE.0,
            failure: None,
            said: None,
            state: watch::Sender::default(),
            status: watch::Sender::new(empty_status()),
            credential: watch::Sender::default(),
            settled: watch::Sender::new(false),
            client: client.with_token(None),
            equip,
            journal,
            config,
        };
        actor.read_token();
        actor.read_proxy();
        actor.publish();
        actor
    }

    /// What the engine must know.
    #[must_use]
    pub fn credential(&self) -> watch::Receiver<Credential> {
        self.credential.subscribe()
    }

    /// What the hands must know.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<AuthState> {
        self.state.subscribe()
    }

    /// Runs until `stop`. `rejected`: generations of credentials that the server refused.
    pub fn start(mut self, board: Board, rejected: mpsc::Receiver<u64>, stop: CancellationToken) -> AuthHandle {
        self.board = Some(board);
        let (commands, receiver) = mpsc::channel(16);
        let handle = AuthHandle {
            commands,
            state: self.state.subscribe(),
            status: self.status.subscribe(),
            settled: self.settled.subscribe(),
        };
        tokio::spawn(self.run(receiver, rejected, stop));
        handle
    }

    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut rejected: mpsc::Receiver<u64>,
        stop: CancellationToken,
    ) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => tokio::task::block_in_place(|| self.look()),
                Some(generation) = rejected.recv() => self.was_rejected(generation),
                command = commands.recv() => match command {
                    Some(Command::Submit(params, reply)) => {
                        let result = self.submit(&params).await;
                        // A caller that hung up needs no answer.
                        let _ = reply.send(result);
                    }
                    Some(Command::Config(config)) => tokio::task::block_in_place(|| self.configure(*config)),
                    None => return,
                },
            }
            if self.should_delegate() {
                self.settled.send_replace(false);
                self.delegate_unasked().await;
            }
            self.publish();
            self.settled.send_replace(true);
        }
    }

    fn proxy_path(&self) -> PathBuf {
        self.journal.path.clone().unwrap_or_else(|| self.config.proxy.clone())
    }

    fn read_token(&mut self) {
        self.token_stamp = stamp(&self.config.token);
        self.token = Token::read(&self.config.token);
        self.rejected = false;
        self.generation += 1;
    }

    fn read_proxy(&mut self) {
        let path = self.proxy_path();
        self.proxy_stamp = stamp(&path);
        self.proxy = Proxy::load(&path).map(Arc::new);
        if let Ok(proxy) = &self.proxy {
            for warning in proxy.warnings() {
                tracing::warn!("{warning}");
            }
        }
        self.generation += 1;
        self.may_try_again();
    }

    fn may_try_again(&mut self) {
        self.next_try = Instant::now();
        self.pause = PAUSE.0;
        self.failure = None;
    }

    /// Picks up what other programs have written.
    fn look(&mut self) {
        if stamp(&self.config.token) != self.token_stamp {
            tracing::info!("the token file {} has changed", self.config.token.display());
            self.read_token();
        }
        if stamp(&self.proxy_path()) != self.proxy_stamp {
            tracing::info!("the proxy file {} has changed", self.proxy_path().display());
            self.read_proxy();
        }
    }

    fn configure(&mut self, config: Config) {
        self.config = config;
        self.look();
    }

    fn was_rejected(&mut self, generation: u64) {
        // Older results speak of a token that is no longer in use.
        if generation == self.generation && !self.rejected {
            tracing::warn!("the server refuses the token");
            self.rejected = true;
        }
    }

    /// Whose our jobs are, if there are any that need their identity.
    fn owner(&self) -> Option<ProxyId> {
        let Some(board) = &self.board else { return self.owner };
        let jobs = board.read();
        let bound = |phase: &Phase| !matches!(phase, Phase::Closed { .. } | Phase::Stored { .. } | Phase::Queued);
        (jobs.proxyid != 0 && jobs.by_key.values().any(|j| j.is_ours() && j.proxyid == jobs.proxyid && bound(&j.phase)))
            .then_some(jobs.proxyid)
    }

    /// Why the token cannot be used.
    fn problem(&self, now: SystemTime) -> Option<ApiError> {
        let token = match &self.token {
            Err(e) => {
                return Some(ApiError::new(Kind::NoToken, e.to_string()).hint("run `actctl proxy` to get a new one"));
            }
            Ok(None) => return Some(self.no_token(now)),
            Ok(Some(token)) => token,
        };
        if self.rejected {
            return Some(
                ApiError::new(Kind::TokenRejected, "the server refuses the token").hint("run `actctl proxy` again"),
            );
        }
        if token.is_expired(now) {
            return Some(
                ApiError::new(Kind::ProxyExpired, "the delegated proxy has ended")
                    .hint("make a new proxy (`arcproxy`) and run `actctl proxy`"),
            );
        }
        let proxyid = proxyid_of(token);
        match self.owner() {
            Some(owner) if owner != proxyid => Some(other_identity(owner, proxyid)),
            _ => None,
        }
    }

    fn no_token(&self, now: SystemTime) -> ApiError {
        let Ok(proxy) = &self.proxy else {
            return match &self.proxy {
                Err(e) => proxy_error(e),
                Ok(_) => ApiError::new(Kind::NoToken, "there is no token"),
            };
        };
        if let Err(e) = proxy.check_valid(now) {
            return proxy_error(&e);
        }
        if let Some(failure) = &self.failure {
            return failure.clone();
        }
        ApiError::new(Kind::NoToken, "the proxy has not been delegated to the server").hint("run `actctl proxy`")
    }

    /// Whether the proxy is to be delegated without anybody asking.
    fn should_delegate(&self) -> bool {
        let allowed = self.config.instance.is_config_server || self.journal.consent;
        let now = SystemTime::now();
        let Ok(proxy) = &self.proxy else { return false };
        if !allowed || Instant::now() < self.next_try || proxy.check_valid(now).is_err() || self.is_another(proxy) {
            return false;
        }
        if self.journal.open || self.rejected {
            return true;
        }
        match &self.token {
            Ok(Some(token)) => match (self.owner(), token.expires()) {
                // Somebody put another identity's token there: a person must decide.
                (Some(owner), _) if owner != proxyid_of(token) => false,
                (_, Some(end)) => token.is_expired(now) || (self.is_known(proxy) && proxy.expires() > end + LONGER),
                (_, None) => false,
            },
            Ok(None) | Err(_) => true,
        }
    }

    /// Whether the proxy is of another identity than the one that was delegated last.
    fn is_another(&self, proxy: &Proxy) -> bool {
        self.journal.dn.is_some() && !self.is_known(proxy)
    }

    /// Whether the proxy is of the identity that was delegated last.
    fn is_known(&self, proxy: &Proxy) -> bool {
        self.journal.dn.as_deref() == Some(proxy.dn()) && self.journal.fqan.as_deref() == fqan(proxy)
    }

    async fn delegate_unasked(&mut self) {
        let Ok(proxy) = self.proxy.clone() else { return };
        tracing::info!("delegating the proxy {}", proxy.path().display());
        match self.delegate(&proxy, false).await {
            Ok(()) => self.failure = None,
            Err(e) => {
                tracing::warn!("the proxy was not delegated: {e}");
                self.failure = Some(e);
            }
        }
        // After a success, too: a server that refuses every token it gives must not lead to a loop.
        self.next_try = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(PAUSE.1);
    }

    async fn submit(&mut self, params: &SubmitParams) -> Result<Submitted, ApiError> {
        let chosen = match &params.path {
            Some(path) if !Path::new(path).is_absolute() => {
                return Err(ApiError::new(Kind::BadParams, format!("the path of the proxy must be absolute: {path}")));
            }
            Some(path) => Some(PathBuf::from(path)).filter(|p| *p != self.config.proxy),
            None => None,
        };
        let path = chosen.clone().unwrap_or_else(|| self.config.proxy.clone());
        let proxy = tokio::task::block_in_place(|| Proxy::load(&path)).map_err(|e| proxy_error(&e))?;
        proxy.check_valid(SystemTime::now()).map_err(|e| proxy_error(&e))?;
        if self.is_another(&proxy) && !params.switch_identity && self.owner().is_some() {
            let whose = |dn: &str, fqan: Option<&str>| fqan.map_or_else(|| dn.to_owned(), |f| format!("{dn} ({f})"));
            let old = whose(self.journal.dn.as_deref().unwrap_or("?"), self.journal.fqan.as_deref());
            return Err(ApiError::new(
                Kind::OtherIdentity,
                format!("this proxy is of {}, the jobs here belong to {old}", whose(proxy.dn(), fqan(&proxy))),
            )
            .hint(SWITCH));
        }
        self.journal.path = chosen;
        self.journal.consent = true;
        let proxy = Arc::new(proxy);
        self.delegate(&proxy, params.switch_identity).await?;
        self.proxy_stamp = stamp(&path);
        self.proxy = Ok(proxy);
        self.may_try_again();
        self.publish();
        Ok(Submitted { token_path: self.config.token.display().to_string(), status: self.status.borrow().clone() })
    }

    /// Delegates and takes the new token.
    async fn delegate(&mut self, proxy: &Arc<Proxy>, switch: bool) -> Result<(), ApiError> {
        let client = self.client.clone();
        self.journal.open = true;
        self.write_journal()?;
        let token = match delegate(&client, proxy).await {
            Ok(token) => token,
            Err(e) => {
                self.journal.open = e.left_open();
                self.write_journal()?;
                return Err(delegate_error(&e));
            }
        };
        let proxyid = proxyid_of(&token);
        self.journal.open = false;
        if let Some(owner) = self.owner()
            && owner != proxyid
            && !switch
        {
            self.write_journal()?;
            return Err(other_identity(owner, proxyid));
        }
        self.journal.dn = Some(proxy.dn().to_owned());
        self.journal.fqan = fqan(proxy).map(str::to_owned);
        self.journal.proxyid = Some(proxyid);
        let path = self.config.token.clone();
        tokio::task::block_in_place(|| token.write(&path))
            .map_err(|e| ApiError::new(Kind::LocalFile, e.to_string()).hint("check `token:` in the config file"))?;
        crate::failpoint!("proxy.token.written");
        self.write_journal()?;
        crate::failpoint!("proxy.recorded");
        if switch {
            // From here on the board's identity is this one; until the engine has taken it, nobody else's jobs count.
            self.owner = None;
        }
        self.token_stamp = stamp(&path);
        self.token = Ok(Some(token));
        self.rejected = false;
        self.generation += 1;
        self.switching(switch, proxyid);
        Ok(())
    }

    /// The engine takes over another identity when it learns of it; only then is it the owner.
    fn switching(&mut self, switch: bool, proxyid: ProxyId) {
        if switch {
            self.credential.send_replace(Credential {
                proxyid: Some(proxyid),
                problem: None,
                generation: self.generation,
            });
        }
    }

    fn write_journal(&self) -> Result<(), ApiError> {
        tokio::task::block_in_place(|| self.journal.write(&self.config.state))
            .map_err(|e| ApiError::new(Kind::LocalFile, format!("the state directory cannot be written: {e}")))
    }

    /// Tells everybody, if anything is new.
    fn publish(&mut self) {
        let now = SystemTime::now();
        let problem = self.problem(now);
        let usable = |proxy: &Arc<Proxy>| proxy.check_valid(now).map(|()| proxy.clone());
        let proxy = match &self.proxy {
            Ok(proxy) => usable(proxy),
            Err(e) => Err(e.clone()),
        };
        let sentence = problem.as_ref().map(|p| p.message.clone());
        if sentence != self.said {
            match &problem {
                Some(p) => tracing::warn!(kind = p.data.kind.word(), "credential: {p}"),
                None => tracing::info!("the credential can be used"),
            }
            self.said.clone_from(&sentence);
        }
        let known = self.token.as_ref().ok().and_then(Option::as_ref).map(proxyid_of);
        // A token of another identity must not make that identity the one in force.
        let in_force = match &problem {
            Some(p) if p.data.kind == Kind::OtherIdentity => self.owner(),
            _ => known,
        };
        let credential = Credential { proxyid: in_force, problem: sentence, generation: self.generation };
        let status = self.status(problem.as_ref(), proxy.as_ref().err());
        let state = AuthState {
            token: if problem.is_none() { self.token.clone().ok().flatten() } else { None },
            proxy_problem: proxy.as_ref().err().map(proxy_error),
            proxy: proxy.ok(),
            problem,
            generation: self.generation,
        };
        let same = {
            let old = self.state.borrow();
            old.generation == state.generation
                && old.problem.as_ref().map(|p| &p.message) == state.problem.as_ref().map(|p| &p.message)
                && old.proxy.is_some() == state.proxy.is_some()
        };
        if !same {
            (self.equip)(&state);
            self.state.send_replace(state);
        }
        self.status.send_replace(status);
        // After the hands: the engine begins work at once.
        self.credential.send_if_modified(|old| {
            let same = *old == credential;
            if !same {
                *old = credential;
            }
            !same
        });
    }

    fn status(&self, problem: Option<&ApiError>, proxy_problem: Option<&ProxyError>) -> Status {
        let state = match problem.map(|p| p.data.kind) {
            None => "ok",
            Some(Kind::ProxyExpired) => "expired",
            Some(Kind::TokenRejected) => "rejected",
            Some(Kind::OtherIdentity) => "other_identity",
            Some(Kind::NoProxy | Kind::BadProxy) => "missing",
            Some(_) => "not_delegated",
        };
        let (message, hint) = match (problem, proxy_problem) {
            (Some(p), _) => (p.message.clone(), p.data.hint.clone()),
            // Enough to submit and to download; not to read from a computing element or to stage through WebDAV.
            (None, Some(e)) => (format!("the token can be used, but {e}"), Some(e.hint().to_owned())),
            (None, None) => ("the credential can be used".to_owned(), None),
        };
        let proxy = self.proxy.as_ref().ok();
        let token = self.token.as_ref().ok().and_then(Option::as_ref);
        let voms = proxy.and_then(|p| p.voms());
        Status {
            state: state.to_owned(),
            message,
            hint,
            proxy_path: self.proxy_path().display().to_string(),
            dn: proxy.map(|p| p.dn().to_owned()),
            voms: voms.map(|v| v.fqans.clone()).unwrap_or_default(),
            proxy_expires: proxy.map(|p| rfc3339(p.expires())),
            voms_expires: voms.map(|v| rfc3339(v.expires)),
            token_path: self.config.token.display().to_string(),
            token_expires: token.and_then(Token::expires).map(rfc3339),
            proxyid: token.map(proxyid_of),
        }
    }
}

const SWITCH: &str =
    "jobs of another identity cannot be seen with this one; if you mean it, run `actctl proxy --switch-identity`";

fn other_identity(owner: ProxyId, new: ProxyId) -> ApiError {
    ApiError::new(
        Kind::OtherIdentity,
        format!("the token is of another identity (proxy {new} on the server) than the jobs here (proxy {owner})"),
    )
    .hint(SWITCH)
}

fn empty_status() -> Status {
    Status {
        state: "missing".into(),
        message: String::new(),
        hint: None,
        proxy_path: String::new(),
        dn: None,
        voms: Vec::new(),
        proxy_expires: None,
        voms_expires: None,
        token_path: String::new(),
        token_expires: None,
        proxyid: None,
    }
}

/// Whom to trust over TLS.
#[must_use]
pub fn trust(config: &Config) -> Trust {
    match &config.ca_dir {
        Some(dir) => Trust::new(Some(dir.clone())),
        None => Trust::discover(|name| std::env::var_os(name)),
    }
}

fn proxyid_of(token: &Token) -> ProxyId {
    ProxyId::try_from(token.proxyid()).unwrap_or(ProxyId::MAX)
}

fn fqan(proxy: &Proxy) -> Option<&str> {
    proxy.voms().and_then(|v| v.fqans.first()).map(String::as_str)
}

fn rfc3339(t: SystemTime) -> String {
    let ms = t.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    Time(i64::try_from(ms).unwrap_or(i64::MAX)).rfc3339()
}

fn proxy_error(e: &ProxyError) -> ApiError {
    let kind = match e {
        ProxyError::Missing(_) => Kind::NoProxy,
        ProxyError::Expired(_) => Kind::ProxyExpired,
        _ => Kind::BadProxy,
    };
    ApiError::new(kind, e.to_string()).hint(e.hint())
}

fn delegate_error(e: &DelegateError) -> ApiError {
    match (e, e.remote()) {
        (DelegateError::Proxy(e), _) => proxy_error(e),
        (_, Some(remote)) => remote_error(remote),
        _ => ApiError::new(Kind::ServerBroken, e.to_string()).hint("run `actctl proxy` again"),
    }
}

/// A failed request in the API's words.
#[must_use]
pub fn remote_error(e: &RemoteError) -> ApiError {
    let kind = match e.class() {
        ErrorClass::Transient { .. } | ErrorClass::Ambiguous => Kind::ServerUnreachable,
        ErrorClass::Auth { .. } => Kind::TokenRejected,
        ErrorClass::Rejected { .. } => Kind::ServerRefused,
        ErrorClass::Server => Kind::ServerBroken,
        ErrorClass::Dialect => Kind::ServerDialect,
        ErrorClass::Local => Kind::BadConfig,
    };
    let error = ApiError::new(kind, e.to_string());
    match e.hint() {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
