//! What is wrong with a certificate that a client signed for the server. The real server looks at none of this; the
//! sandbox writes it into its journal, and accepts the certificate all the same.

use openssl::{
    error::ErrorStack,
    pkey::{PKeyRef, Public},
    stack::Stack,
    x509::{X509, X509NameRef, X509Ref, X509StoreContext, store::X509StoreBuilder, verify::X509VerifyFlags},
};

use crate::pki;

/// proxyCertInfo (1.3.6.1.5.5.7.1.14) as an OID element followed by `critical TRUE`.
const CRITICAL_PROXY_CERT_INFO: &[u8] = &[6, 8, 0x2b, 6, 1, 5, 5, 7, 1, 14, 1, 1, 0xff];

/// Pairs of a stable word and a sentence; empty for a good RFC 3820 delegation.
pub(super) fn find(
    signed: &X509Ref,
    chain: &[X509],
    csr_key: Option<&PKeyRef<Public>>,
    authority: &X509,
) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    match csr_key {
        None => found.push(("proxy-without-post", "PUT without a certificate request to answer".to_owned())),
        Some(key) => {
            if !signed.public_key().is_ok_and(|own| own.public_eq(key)) {
                found.push(("proxy-key", "the certificate is not for the key of the request".to_owned()));
            }
        }
    }
    if !pki::is_proxy(signed) {
        found.push(("proxy-extension", "the certificate has no proxyCertInfo".to_owned()));
    } else if !signed.to_der().is_ok_and(|der| contains(&der, CRITICAL_PROXY_CERT_INFO)) {
        found.push(("proxy-extension", "proxyCertInfo is not critical".to_owned()));
    }
    let (own, issuer) = (parts(signed.subject_name()), parts(signed.issuer_name()));
    let extra = own.strip_prefix(issuer.as_slice());
    if !extra.is_some_and(|extra| extra.len() == 1 && extra[0].0 == "CN") {
        found.push(("proxy-subject", format!("{} is not its issuer plus one CN", pki::oneline(signed.subject_name()))));
    }
    if let Err(reason) = verify(signed, chain, authority) {
        found.push(("proxy-chain", reason));
    }
    found
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn parts(name: &X509NameRef) -> Vec<(String, Vec<u8>)> {
    name.entries()
        .map(|entry| {
            let key = entry.object().nid().short_name().unwrap_or("?");
            (key.to_owned(), entry.data().as_slice().to_vec())
        })
        .collect()
}

/// Verifies a proxy and its chain up to the test CA.
fn verify(cert: &X509Ref, chain: &[X509], authority: &X509) -> Result<(), String> {
    let run = || -> Result<Result<(), String>, ErrorStack> {
        let mut store = X509StoreBuilder::new()?;
        store.add_cert(authority.clone())?;
        store.set_flags(X509VerifyFlags::ALLOW_PROXY_CERTS)?;
        let store = store.build();
        let mut untrusted = Stack::new()?;
        for link in chain {
            untrusted.push(link.clone())?;
        }
        X509StoreContext::new()?.init(&store, cert, &untrusted, |context| {
            let good = context.verify_cert()?;
            Ok(if good { Ok(()) } else { Err(context.error().error_string().to_owned()) })
        })
    };
    run().map_err(|error| error.to_string())?
}
