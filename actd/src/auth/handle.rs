//! The credential as everybody else sees it, and what may be asked of the task that owns it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use act_proto::error::{ApiError, Kind};
use act_proto::proxy::{Status, SubmitParams, Submitted};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Proxy, Token};
use crate::call::{self, Causes};
use crate::config::Config;
use crate::remote::act::ActClient;

/// How long somebody waits for a delegation that is under way.
const SETTLE: Duration = Duration::from_secs(20);

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
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) state: watch::Receiver<AuthState>,
    pub(super) status: watch::Receiver<Status>,
    pub(super) settled: watch::Receiver<bool>,
}

#[derive(Debug)]
pub(super) enum Command {
    Submit(SubmitParams, Causes, oneshot::Sender<Result<Submitted, ApiError>>),
    Config(Box<Config>, ActClient, oneshot::Sender<()>),
}

impl AuthHandle {
    /// Delegates the proxy and stores the token.
    ///
    /// # Errors
    /// Everything that can go wrong with it; what was in force before still is.
    pub async fn submit(&self, params: SubmitParams) -> Result<Submitted, ApiError> {
        let gone = || ApiError::new(Kind::Stopping, "the daemon is stopping");
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Submit(params, call::causes(), reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Goes by another configuration, and delegates with this client, from its return on; or a little later, while something is
    /// just being delegated.
    pub async fn configure(&self, config: Config, client: &ActClient) {
        let (reply, done) = oneshot::channel();
        let command = Command::Config(Box::new(config), client.with_token(None), reply);
        let _ = tokio::time::timeout(SETTLE, async {
            if self.commands.send(command).await.is_ok() {
                let _ = done.await;
            }
        })
        .await;
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

    /// When the credential ends: the token, or the proxy or its attributes if these end earlier. None: nothing says.
    #[must_use]
    pub fn ends(&self) -> Option<SystemTime> {
        let state = self.state.borrow();
        let token = state.token.as_ref().and_then(Token::expires);
        let proxy = state.proxy.as_ref().map(|p| p.useful_until());
        [token, proxy].into_iter().flatten().min()
    }

    /// The same for people.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }
}
