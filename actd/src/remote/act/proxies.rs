//! `/proxies`: the two halves of a delegation. It must not sign anything, and there is deliberately no DELETE:
//! that would cut all jobs of the user off from their credential.

use http::{HeaderMap, Method, header};

use super::super::error::{ErrorClass, RemoteError};
use super::super::wire;
use super::jobs::parse;
use super::{ActClient, MAX_ERROR, Plan, bearer};
use crate::secret::Secret;

/// The server's part of a delegation: a request to sign, and the token that authorises the second half.
#[derive(Debug, Clone)]
pub struct DelegationOffer {
    /// PEM text of the certificate signing request; the key stays on the server.
    pub csr: String,
    /// Valid at once, but the server's daemons cannot act for the user before [`ActClient::complete_proxy`].
    pub token: Secret,
}

impl ActClient {
    /// `POST /proxies`: announces a proxy (`cert`, PEM) and the certificates above it (`chain`, PEM).
    ///
    /// From here until [`ActClient::complete_proxy`] the server holds a key without a certificate for this identity, so
    /// keep the time between the two short, and after any failure begin again here. Needs no token.
    pub async fn offer_proxy(&self, cert: &str, chain: &str) -> Result<DelegationOffer, RemoteError> {
        let plan = Plan::json(self.encode_proxy(cert, chain)?);
        let (mut answer, _place) = self.send(Method::POST, "proxies", plan, HeaderMap::new()).await?;
        let body = answer.bytes(MAX_ERROR).await?;
        let offer: wire::ProxyAnswer = parse(&answer, &body)?;
        match (offer.csr.0, offer.token.0) {
            (Some(csr), Some(token)) => Ok(DelegationOffer { csr, token: Secret::new(token) }),
            _ => Err(answer.nonsense("an answer without a signing request or without a token")),
        }
    }

    /// `PUT /proxies`: the signed certificate and the full chain above it (the proxy itself first). Answers the token to keep.
    ///
    /// Must never be repeated on its own: a real server then stores a corrupt proxy. After any error start again with
    /// [`ActClient::offer_proxy`].
    pub async fn complete_proxy(&self, token: &Secret, cert: &str, chain: &str) -> Result<Secret, RemoteError> {
        let what = format!("PUT /proxies on {}", self.origin());
        let value = bearer(token)
            .ok_or_else(|| RemoteError::new(ErrorClass::Server, what, "the server's own token is malformed"))?;
        let plan = Plan::json(self.encode_proxy(cert, chain)?);
        let (mut answer, _place) =
            self.send(Method::PUT, "proxies", plan, HeaderMap::from_iter([(header::AUTHORIZATION, value)])).await?;
        let body = answer.bytes(MAX_ERROR).await?;
        let done: wire::ProxyAnswer = parse(&answer, &body)?;
        done.token.0.map(Secret::new).ok_or_else(|| answer.nonsense("an answer without a token"))
    }

    fn encode_proxy(&self, cert: &str, chain: &str) -> Result<Vec<u8>, RemoteError> {
        self.encode(&wire::ProxyUpload { cert, chain })
    }
}
