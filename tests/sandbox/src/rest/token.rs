//! The tokens that POST /proxies gives out: JWT, HS256. Reads them as the real server does, with its five kinds of
//! refusal.

use axum::response::Response;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use openssl::{hash::MessageDigest, pkey::PKey, sign::Signer};
use serde_json::Value;

use super::reply;
use crate::{shared::Shared, state::Seconds};

/// Why a request is refused before it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Missing,
    Expired,
    BadSignature,
    NoProxy,
    /// Everything else: 500, on some routes in HTML.
    Broken,
}

impl Refusal {
    /// The answer; `html` on the four routes where an unreadable token gives the framework's page.
    pub(crate) fn answer(self, html: bool) -> Response {
        let msg = match self {
            Self::Missing => "Auth token is missing",
            Self::Expired => "Auth token is expired",
            Self::BadSignature => "Invalid token signature",
            Self::NoProxy => "Proxy from token does not exist in database or is expired",
            Self::Broken if html => return reply::html(StatusCode::INTERNAL_SERVER_ERROR),
            Self::Broken => return reply::server_error(),
        };
        reply::message(StatusCode::UNAUTHORIZED, msg)
    }
}

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// Makes the token of an identity. The same proxy always gives the same token.
pub(crate) fn issue(key: &str, proxyid: i64, expires: Seconds) -> String {
    let payload = format!(r#"{{"proxyid":{proxyid},"exp":{expires}}}"#);
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(payload));
    let signature = sign(key, &signed).unwrap_or_default();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn sign(key: &str, text: &str) -> Result<Vec<u8>, openssl::error::ErrorStack> {
    let key = PKey::hmac(key.as_bytes())?;
    let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
    signer.update(text.as_bytes())?;
    signer.sign_to_vec()
}

/// The proxyid that a request's token stands for.
pub(crate) fn check(shared: &Shared, headers: &HeaderMap, now: Seconds) -> Result<i64, Refusal> {
    let value = headers.get(AUTHORIZATION).ok_or(Refusal::Missing)?;
    // Whatever the scheme, the second word is the token.
    let token = value.to_str().ok().and_then(|text| text.split_ascii_whitespace().nth(1)).ok_or(Refusal::Broken)?;
    let key = shared.read(|state| state.token_key.clone());
    let proxyid = decode(&key, token, now)?;
    let live = shared.read(|state| state.proxies.get(&proxyid).is_some_and(|proxy| proxy.expires > now));
    if live { Ok(proxyid) } else { Err(Refusal::NoProxy) }
}

fn decode(key: &str, token: &str, now: Seconds) -> Result<i64, Refusal> {
    let parts: Vec<_> = token.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else { return Err(Refusal::Broken) };
    let json = |part: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
    let header_value = json(header).ok_or(Refusal::Broken)?;
    let given = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refusal::Broken)?;
    if header_value["alg"] != "HS256" {
        return Err(Refusal::Broken);
    }
    let right = sign(key, &format!("{header}.{payload}")).map_err(|_| Refusal::Broken)?;
    if given.len() != right.len() || !openssl::memcmp::eq(&given, &right) {
        return Err(Refusal::BadSignature);
    }
    let payload = json(payload).ok_or(Refusal::Broken)?;
    if payload["exp"].as_i64().is_some_and(|exp| exp <= now) {
        return Err(Refusal::Expired);
    }
    payload["proxyid"].as_i64().ok_or(Refusal::Broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_are_refused_as_observed() {
        let token = issue("secret", 7, 100);
        assert_eq!(token, issue("secret", 7, 100));
        assert_eq!(decode("secret", &token, 50), Ok(7));
        assert_eq!(decode("secret", &token, 100), Err(Refusal::Expired));
        assert_eq!(decode("other", &token, 50), Err(Refusal::BadSignature));
        assert_eq!(decode("secret", "garbage", 50), Err(Refusal::Broken));
        assert_eq!(decode("secret", "a.b.c", 50), Err(Refusal::Broken));
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode("{\"exp\":100}"));
        let no_claim = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(sign("secret", &signed).unwrap()));
        assert_eq!(decode("secret", &no_claim, 50), Err(Refusal::Broken));
    }
}
