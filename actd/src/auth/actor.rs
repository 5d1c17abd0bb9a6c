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

use super::handle::{AuthHandle, AuthState, Command};
use super::journal::Journal;
use super::notice::words;
use super::renew::Renewal;
use super::report::{
    SWITCH, delegate_error, empty_status, fqan, other_identity, proxy_error, proxyid_of, rfc3339, trust,
};
use super::{Proxy, ProxyError, Token, TokenError, Trust, delegate};
use crate::call;
use crate::config::Config;
use crate::engine::Credential;
use crate::engine::handle::EngineHandle;
use crate::fsutil::{Stamp, stamp};
use crate::hooks::Notice;
use crate::job::{Phase, ProxyId};
use crate::remote::act::ActClient;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// First and longest pause between two delegations that were not asked for.
const PAUSE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3600));
/// A new proxy must live so much longer than the delegated one to be delegated unasked.
const LONGER: Duration = Duration::from_secs(60);

/// Gives token and proxy to those who work with them, before anybody else learns of them.
pub type Equip = Box<dyn Fn(&AuthState) + Send + Sync>;

/// The actor before it runs.
pub struct Actor {
    pub(super) config: Config,
    client: ActClient,
    equip: Equip,
    journal: Journal,
    pub(super) token: Result<Option<Token>, TokenError>,
    token_stamp: Stamp,
    pub(super) proxy: Result<Arc<Proxy>, ProxyError>,
    proxy_stamp: Stamp,
    /// The server refused this token.
    rejected: bool,
    /// The identity that our jobs belong to, as long as there is no board to ask.
    owner: Option<ProxyId>,
    /// The identity that the user has just switched to, until the board has taken it.
    switched: Option<ProxyId>,
    engine: Option<EngineHandle>,
    renewal: Renewal,
    /// Whom those trust who present the proxy.
    trust: Trust,
    /// Tells the user that the credential is about to end, and when that has been done.
    notices: Option<mpsc::Sender<Notice>>,
    telling: Option<(u64, oneshot::Receiver<()>)>,
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
        let mut journal = Journal::read(&config.state);
        journal.is_configured(&config.proxy);
        let mut actor = Self {
            token: Ok(None),
            token_stamp: None,
            proxy: Err(ProxyError::Missing(config.proxy.clone())),
            proxy_stamp: None,
            rejected: false,
            owner,
            switched: None,
            engine: None,
            renewal: Renewal::default(),
            notices: None,
            telling: None,
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
            trust: trust(&config),
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

    /// Runs until `stop`. `rejected`: generations of credentials that the server refused.
    /// `notices`: where the user is told that the credential is about to end.
    pub fn start(
        mut self,
        engine: EngineHandle,
        rejected: mpsc::Receiver<u64>,
        notices: mpsc::Sender<Notice>,
        stop: CancellationToken,
    ) -> AuthHandle {
        self.engine = Some(engine);
        self.notices = Some(notices);
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
                before = self.renewal.ended() => {
                    tokio::task::block_in_place(|| self.look());
                    let now = self.usable_proxy().map(|p| p.useful_until());
                    self.renewal.judge(before, now);
                }
                level = told(&mut self.telling) => self.was_told(level),
                command = commands.recv() => match command {
                    Some(Command::Submit(params, causes, reply)) => {
                        let result = call::on_behalf(causes, self.submit(&params)).await;
                        // A caller that hung up needs no answer.
                        let _ = reply.send(result);
                    }
                    Some(Command::Config(config, client, reply)) => {
                        self.client = client;
                        tokio::task::block_in_place(|| self.configure(*config));
                        self.publish();
                        // A caller that has waited long enough needs no answer.
                        let _ = reply.send(());
                    }
                    None => return,
                },
            }
            if self.should_delegate() {
                self.settled.send_replace(false);
                self.delegate_unasked().await;
            }
            self.publish();
            self.settled.send_replace(true);
            self.watch_the_end().await;
        }
    }

    /// The proxy, unless it has ended or cannot be used.
    fn usable_proxy(&self) -> Option<&Arc<Proxy>> {
        self.proxy.as_ref().ok().filter(|p| p.check_valid(SystemTime::now()).is_ok())
    }

    /// Has a new proxy made, and tells the user, in good time before the credential ends.
    async fn watch_the_end(&mut self) {
        let seconds = |t: SystemTime| t.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let proxy = self.proxy.as_ref().ok().map(|p| p.useful_until());
        let token = self.token.as_ref().ok().and_then(Option::as_ref).and_then(Token::expires);
        let now = seconds(SystemTime::now());
        let Some(end) = [proxy, token].into_iter().flatten().min() else {
            self.renewal.consider(&self.config, &self.proxy_path(), None, Duration::ZERO);
            return;
        };
        let seen = self.journal.seen.of(seconds(end), now);
        if seen != self.journal.seen {
            self.journal.seen = seen;
            self.note_seen();
        }
        let usable = self.usable_proxy().map(|p| p.useful_until());
        self.renewal.consider(&self.config, &self.proxy_path(), usable, Duration::from_secs(seen.lead()));
        let Some(level) = seen.due(now) else { return };
        if self.telling.is_some() || (level > 0 && self.renewal.is_trusted(&self.config)) {
            return;
        }
        let left = seen.end.saturating_sub(now);
        let what = if token == Some(end) { "the delegated proxy" } else { "the proxy" };
        let text = match left {
            0 => format!("{what} has ended: make a new one with `arcproxy`"),
            left => format!("{what} ends in {}: make a new one with `arcproxy`", words(left)),
        };
        tracing::warn!("{text}");
        if let Some(engine) = &self.engine {
            engine.tell("credential", text.clone()).await;
        }
        let facts = vec![
            ("ACTD_LEFT_SECONDS", left.to_string()),
            ("ACTD_EXPIRES", rfc3339(end)),
            ("ACTD_PROXY", self.proxy_path().display().to_string()),
            ("ACTD_DN", self.journal.dn.clone().unwrap_or_default()),
        ];
        let (done, told) = oneshot::channel();
        if let Some(notices) = &self.notices
            && notices.try_send(Notice { text, facts, done }).is_ok()
        {
            self.telling = Some((level, told));
        }
    }

    /// The user has been told of a level: only then is it noted.
    fn was_told(&mut self, level: Option<u64>) {
        self.telling = None;
        if let Some(level) = level {
            self.journal.seen.told = Some(level);
            self.note_seen();
        }
    }

    fn note_seen(&self) {
        if let Err(e) = self.write_journal() {
            tracing::warn!("{e}: a word about the credential's end may be said twice");
        }
    }

    pub(super) fn proxy_path(&self) -> PathBuf {
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
        if config.renew != self.config.renew {
            self.renewal.reset();
        }
        let trust = trust(&config);
        if trust != self.trust || config.allow_http != self.config.allow_http {
            self.trust = trust;
            // Who presents the proxy is equipped anew, and what failed is tried again.
            self.generation += 1;
            self.may_try_again();
        }
        let before = self.proxy_path();
        if config.proxy != self.config.proxy {
            self.journal.is_configured(&config.proxy);
            self.note_seen();
        }
        self.config = config;
        if self.proxy_path() != before {
            // Two files that are both not there have the same stamp, and another name in what is said of them.
            self.read_proxy();
        }
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
        if self.switched.is_some() {
            return self.switched;
        }
        let Some(engine) = &self.engine else { return self.owner };
        let jobs = engine.board.read();
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
        // One that cannot be reached is soon asked again: the network may be back at any moment, and all jobs wait for it.
        let away = self.failure.as_ref().is_some_and(|e| e.data.kind == Kind::ServerUnreachable);
        self.pause = if away { PAUSE.0 } else { (self.pause * 2).min(PAUSE.1) };
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
        // Before it is read: another that comes meanwhile is then seen as another.
        let (stamp, proxy) = tokio::task::block_in_place(|| (stamp(&path), Proxy::load(&path)));
        let proxy = proxy.map_err(|e| proxy_error(&e))?;
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
        let before = (self.journal.path.clone(), self.journal.instead_of.clone(), self.journal.consent);
        self.journal.instead_of = chosen.is_some().then(|| self.config.proxy.clone());
        self.journal.path = chosen;
        self.journal.consent = true;
        let proxy = Arc::new(proxy);
        if let Err(e) = self.delegate(&proxy, params.switch_identity).await {
            // What was in force goes on, also after a restart.
            (self.journal.path, self.journal.instead_of, self.journal.consent) = before;
            if let Err(e) = self.write_journal() {
                tracing::warn!("{e}: after a restart, {} may be taken for the proxy", path.display());
            }
            return Err(e);
        }
        self.proxy_stamp = stamp;
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
        let path = self.config.token.clone();
        tokio::task::block_in_place(|| token.write(&path))
            .map_err(|e| ApiError::new(Kind::LocalFile, e.to_string()).hint("check `token:` in the config file"))?;
        self.journal.dn = Some(proxy.dn().to_owned());
        self.journal.fqan = fqan(proxy).map(str::to_owned);
        crate::failpoint!("proxy.token.written");
        self.write_journal()?;
        crate::failpoint!("proxy.recorded");
        if switch {
            // What the board says is out of date until the engine has taken this one.
            self.switched = Some(proxyid);
        }
        self.token_stamp = stamp(&path);
        self.token = Ok(Some(token));
        self.rejected = false;
        self.generation += 1;
        Ok(())
    }

    fn write_journal(&self) -> Result<(), ApiError> {
        tokio::task::block_in_place(|| self.journal.write(&self.config.state))
            .map_err(|e| ApiError::new(Kind::LocalFile, format!("the state directory cannot be written: {e}")))
    }

    /// Tells everybody, if anything is new.
    fn publish(&mut self) {
        let now = SystemTime::now();
        if let Some(engine) = &self.engine
            && self.switched == Some(engine.board.read().proxyid)
        {
            self.switched = None;
        }
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
}

/// Returns when the user has been told, with the level; nothing: that was not possible.
async fn told(telling: &mut Option<(u64, oneshot::Receiver<()>)>) -> Option<u64> {
    match telling {
        Some((level, done)) => done.await.is_ok().then_some(*level),
        None => std::future::pending().await,
    }
}
