//! `/proxies`: delegation. The server makes the key and the request, the client signs it with its proxy. What the
//! real server never checks is checked here too, and goes into the journal.

use axum::response::Response;
use http::StatusCode;
use openssl::{
    asn1::Asn1Time,
    error::ErrorStack,
    hash::MessageDigest,
    pkey::{PKey, Private},
    rsa::Rsa,
    x509::{X509, X509NameRef, X509ReqBuilder},
};
use serde_json::{Value, json};

use super::{breach, reply, token};
use crate::{
    pki,
    shared::Shared,
    state::{Proxy, Seconds},
};

fn refuse(msg: &str) -> Response {
    reply::message(StatusCode::BAD_REQUEST, msg)
}

/// A certificate as sent, and what the server reads from it.
struct Sent {
    cert: X509,
    chain: Vec<X509>,
    /// The PEM text of cert and chain.
    pem: String,
    expires: Seconds,
    dn: String,
    attribute: String,
}

/// Reads `cert` and `chain` with the real server's messages, of which two differ between POST and PUT.
#[expect(clippy::result_large_err, reason = "the error is the answer")]
fn read(body: &Value, no_cert: &str, no_chain: &str) -> Result<Sent, Response> {
    let Value::Object(fields) = body else { return Err(reply::html(StatusCode::INTERNAL_SERVER_ERROR)) };
    if fields.is_empty() {
        return Err(refuse("No JSON data"));
    }
    let text = |key: &str| fields.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let cert_text = text("cert").ok_or_else(|| refuse(no_cert))?;
    let chain_text = text("chain").ok_or_else(|| refuse(no_chain))?;
    let expired = || refuse("Given certificate is expired");
    let cert = X509::from_pem(cert_text.as_bytes()).map_err(|_| expired())?;
    let expires = end_of(&cert).ok().filter(|expires| *expires > crate::shared::now()).ok_or_else(expired)?;
    let chain = X509::stack_from_pem(chain_text.as_bytes()).unwrap_or_default();
    let all: Vec<X509> = std::iter::once(cert.clone()).chain(chain.iter().cloned()).collect();
    let attribute = pki::chain_fqan(&all).filter(|_| pki::is_proxy(&cert));
    let (Some(dn), Some(attribute)) = (pki::base_dn(&all), attribute) else {
        return Err(refuse("Failed to extract DN or VOMS attributes"));
    };
    Ok(Sent { pem: format!("{}\n{chain_text}", cert_text.trim_end()), cert, chain, expires, dn, attribute })
}

fn end_of(cert: &X509) -> Result<Seconds, ErrorStack> {
    let left = Asn1Time::from_unix(0)?.diff(cert.not_after())?;
    Ok(Seconds::from(left.days) * 86_400 + Seconds::from(left.secs))
}

/// POST /proxies: a key and a certificate request for it, and already a valid token.
pub(super) fn post(shared: &Shared, body: &Value) -> Response {
    let sent = match read(body, "Missing issuer certificate", "Missing certificate chain") {
        Ok(sent) => sent,
        Err(answer) => return answer,
    };
    let Ok((csr, key)) = request(sent.cert.subject_name()) else { return reply::server_error() };
    let token = shared.change(|state| {
        let proxyid = state.identity(&sent.dn, &sent.attribute);
        if let Some(proxy) = state.proxies.get_mut(&proxyid) {
            // Until PUT there is only a key: nothing can act for this user, as on the real server.
            *proxy = Proxy { pem: key.clone(), key, expires: sent.expires, complete: false, ..proxy.clone() };
        }
        token::issue(&state.token_key, proxyid, sent.expires)
    });
    reply::json(StatusCode::OK, &json!({ "csr": csr, "token": token }))
}

/// A request for `subject` with a fresh key: RSA 2048, SHA-256, version 1, as the real server makes it.
fn request(subject: &X509NameRef) -> Result<(String, String), ErrorStack> {
    let key: PKey<Private> = PKey::from_rsa(Rsa::generate(2048)?)?;
    let mut builder = X509ReqBuilder::new()?;
    builder.set_version(0)?;
    builder.set_subject_name(subject)?;
    builder.set_pubkey(&key)?;
    builder.sign(&key, MessageDigest::sha256())?;
    let text = |pem: Vec<u8>| String::from_utf8_lossy(&pem).into_owned();
    Ok((text(builder.build().to_pem()?), text(key.private_key_to_pem_pkcs8()?)))
}

/// PUT /proxies: stores the signed certificate with the key of the last POST.
pub(super) fn put(shared: &Shared, proxyid: i64, seq: u64, body: &Value) -> Response {
    let sent = match read(body, "No signed certificate", "No cert chain") {
        Ok(sent) => sent,
        Err(answer) => return answer,
    };
    let Some(old) = shared.read(|state| state.proxies.get(&proxyid).cloned()) else { return reply::server_error() };
    let key = (!old.complete).then(|| PKey::private_key_from_pem(old.key.as_bytes()).ok()).flatten();
    let public = key.and_then(|key| PKey::public_key_from_pem(&key.public_key_to_pem().ok()?).ok());
    for (kind, detail) in breach::find(&sent.cert, &sent.chain, public.as_deref(), shared.pki.ca()) {
        shared.journal.violation(seq, kind, detail);
    }
    let token = shared.change(|state| {
        if let Some(proxy) = state.proxies.get_mut(&proxyid) {
            // certificate, key, chain: the layout of a proxy file. A repeated PUT uses the stored proxy as key and so
            // spoils it, as observed.
            let (first, rest) = split_first(&sent.pem);
            proxy.pem = format!("{first}{}{rest}", old.pem);
            proxy.expires = sent.expires;
            proxy.complete = true;
        }
        token::issue(&state.token_key, proxyid, sent.expires)
    });
    reply::json(StatusCode::OK, &json!({ "token": token }))
}

/// The first PEM block with its newline, and the rest.
fn split_first(pem: &str) -> (String, &str) {
    const END: &str = "-----END CERTIFICATE-----";
    let end = pem.find(END).map_or(pem.len(), |at| at + END.len());
    (format!("{}\n", &pem[..end]), pem[end..].trim_start())
}

/// DELETE /proxies: the identity stays known, its proxy is gone.
pub(super) fn delete(shared: &Shared, proxyid: i64) -> Response {
    shared.change(|state| {
        if let Some(proxy) = state.proxies.get_mut(&proxyid) {
            proxy.pem.clear();
            proxy.key.clear();
            proxy.expires = 0;
            proxy.complete = false;
        }
    });
    reply::no_content()
}
