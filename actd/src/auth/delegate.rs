//! Handing the user's proxy to the aCT server: rehearse, POST, sign, PUT. It must never call PUT alone, nor DELETE.

use std::time::SystemTime;

use super::{Proxy, ProxyError, Token, TokenError};
use crate::failpoint;
use crate::remote::RemoteError;
use crate::remote::act::ActClient;

/// Why a delegation failed, and how far it had come.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DelegateError {
    /// Nothing was sent: the proxy is not fit for it.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The server did not accept the announcement. If the error says that it may have run, the server may hold a key
    /// without certificate now: delegate again.
    #[error("the delegation was not begun: {0}")]
    Offer(RemoteError),
    /// Begun and not finished: until it is done again (from the start), the server cannot act for this user.
    #[error("the delegation was begun but not finished, delegate again: {0}")]
    Unfinished(String),
    /// The same because the second request failed.
    #[error("the delegation was begun but not finished, delegate again: {0}")]
    Complete(RemoteError),
    /// Done, but the server's token cannot be read.
    #[error("the server's token cannot be used: {0}")]
    Token(#[from] TokenError),
}

impl DelegateError {
    /// The failed request, if that was the reason.
    pub fn remote(&self) -> Option<&RemoteError> {
        match self {
            Self::Offer(error) | Self::Complete(error) => Some(error),
            _ => None,
        }
    }

    /// Whether the server may be left without a usable proxy for this user.
    pub fn left_open(&self) -> bool {
        match self {
            Self::Proxy(_) | Self::Token(_) => false,
            Self::Offer(error) => error.may_have_run(),
            Self::Unfinished(_) | Self::Complete(_) => true,
        }
    }
}

/// Delegates `proxy` to the server of `client` and gives the token. Whatever can fail on our side is tried before the
/// first request, so that the time between the two requests is that of one signature.
///
/// After any error begin again here: a second PUT alone makes a real server store a corrupt proxy.
pub async fn delegate(client: &ActClient, proxy: &Proxy) -> Result<Token, DelegateError> {
    proxy.rehearse(SystemTime::now())?;
    let (cert, chain) = (proxy.cert_pem()?, proxy.chain_pem()?);
    if chain.is_empty() {
        return Err(ProxyError::Malformed {
            path: proxy.path().to_owned(),
            why: "the user's own certificate is missing in it".into(),
        }
        .into());
    }
    failpoint!("proxy.offer.before");
    let offer = client.offer_proxy(&cert, &chain).await.map_err(DelegateError::Offer)?;
    failpoint!("proxy.offer.after");
    let signed =
        proxy.sign(&offer.csr, SystemTime::now()).map_err(|error| DelegateError::Unfinished(error.to_string()))?;
    let token =
        client.complete_proxy(&offer.token, &signed.cert, &signed.chain).await.map_err(DelegateError::Complete)?;
    failpoint!("proxy.complete.after");
    let text = token.expose().ok_or(TokenError::Damaged("it is not text"))?;
    Ok(Token::parse(text)?)
}
