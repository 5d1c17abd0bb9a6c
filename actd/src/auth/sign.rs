//! Signing a certificate request with the user's proxy: an RFC 3820 proxy one step further down.
//! Everything is checked before it is used: the request, and the certificate made from it.

use std::time::{Duration, SystemTime};

use openssl::asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::stack::Stack;
use openssl::x509::extension::KeyUsage;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509Extension, X509NameBuilder, X509Req, X509StoreContext};

use super::proxy::{Proxy, ProxyError, time};

/// `SEQUENCE { SEQUENCE { id-ppl-inheritAll } }` (RFC 3820 section 3.8): the new proxy may do what ours may.
const INHERIT_ALL: &[u8] = &[0x30, 0x0c, 0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x15, 0x01];
/// The same with the limited policy, which a proxy below a limited one must keep.
const LIMITED: &[u8] =
    &[0x30, 0x0f, 0x30, 0x0d, 0x06, 0x0b, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x9b, 0x50, 0x01, 0x01, 0x01, 0x09];
/// The new proxy begins this much earlier than now, for clocks that are behind.
const BACKDATE: Duration = Duration::from_secs(300);
/// Largest request that is looked at, in bytes of PEM.
const MAX_CSR: usize = 64 * 1024;
/// Weakest key that gets a proxy, in bits of security (RSA 2048 has 112).
const MIN_SECURITY_BITS: u32 = 112;

/// A certificate ready to be sent with what is above it.
#[derive(Debug, Clone)]
pub struct Signed {
    /// PEM of the new proxy certificate.
    pub cert: String,
    /// PEM of our proxy and everything above it.
    pub chain: String,
    /// End of the new proxy: ours.
    pub expires: SystemTime,
}

impl Proxy {
    /// PEM of the proxy certificate alone, without key.
    pub fn cert_pem(&self) -> Result<String, ProxyError> {
        pem_of([self.leaf()])
    }

    /// PEM of the certificates above the proxy, nearest first.
    pub fn chain_pem(&self) -> Result<String, ProxyError> {
        pem_of(self.above())
    }

    /// Signs a certificate request (PEM): a proxy for its key, one step below ours, as long as ours is valid.
    ///
    /// Refused: an expired proxy of ours, a request that is not signed with its own key, or whose key is weak; and the
    /// result, if it does not verify up to the user's certificate.
    pub fn sign(&self, csr: &str, now: SystemTime) -> Result<Signed, ProxyError> {
        self.check_valid(now)?;
        let refused = |why: &str| ProxyError::Sign(why.to_owned());
        if csr.len() > MAX_CSR {
            return Err(refused("the signing request is too long"));
        }
        let request = X509Req::from_pem(csr.as_bytes()).map_err(|_| refused("the signing request cannot be read"))?;
        let public = request.public_key().map_err(|_| refused("the signing request has no readable key"))?;
        if !request.verify(&public).unwrap_or(false) {
            return Err(refused("the signing request is not signed with its own key"));
        }
        if public.security_bits() < MIN_SECURITY_BITS {
            return Err(refused("the key in the signing request is too weak"));
        }
        if public.public_eq(self.key()) {
            return Err(refused("the signing request is for our own key"));
        }
        let cert = self.issue(&request, now).map_err(|e| ProxyError::Sign(format!("OpenSSL failed: {e}")))?;
        if !cert.public_key().is_ok_and(|key| key.public_eq(&public)) {
            return Err(refused("the new certificate has another key"));
        }
        self.verify(&cert)?;
        let expires = time(cert.not_after()).ok_or_else(|| refused("the new certificate has no readable end"))?;
        let chain = pem_of(std::iter::once(self.leaf()).chain(self.above()))?;
        Ok(Signed { cert: pem_of([&cert])?, chain, expires })
    }

    /// Signs a request of our own and throws the result away: whatever would stop [`Proxy::sign`] is found out before
    /// a server has been asked for anything.
    pub fn rehearse(&self, now: SystemTime) -> Result<(), ProxyError> {
        let csr = own_request().map_err(|e| ProxyError::Sign(format!("OpenSSL failed: {e}")))?;
        self.sign(&csr, now).map(drop)
    }

    fn issue(&self, request: &X509Req, now: SystemTime) -> Result<X509, ErrorStack> {
        let issuer = self.leaf();
        let mut serial = [0; 8];
        openssl::rand::rand_bytes(&mut serial)?;
        // Positive, and never 0.
        serial[0] = serial[0] & 0x7f | 0x40;
        let serial = BigNum::from_slice(&serial)?;
        let mut subject = X509NameBuilder::new()?;
        for entry in issuer.subject_name().entries() {
            subject.append_entry(entry)?;
        }
        subject.append_entry_by_nid(Nid::COMMONNAME, &serial.to_dec_str()?)?;

        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let begin = Asn1Time::from_unix(i64::try_from(seconds.saturating_sub(BACKDATE).as_secs()).unwrap_or(0))?;
        let begin = if begin < *issuer.not_before() { issuer.not_before() } else { &begin };
        let end = self.expires().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let end = Asn1Time::from_unix(i64::try_from(end.as_secs()).unwrap_or(i64::MAX))?;

        let info = if self.is_limited() { LIMITED } else { INHERIT_ALL };
        let oid = Asn1Object::from_str("1.3.6.1.5.5.7.1.14")?;
        let mut builder = X509::builder()?;
        builder.set_version(2)?;
        builder.set_serial_number(&*Asn1Integer::from_bn(&serial)?)?;
        builder.set_issuer_name(issuer.subject_name())?;
        builder.set_subject_name(&subject.build())?;
        builder.set_not_before(begin)?;
        builder.set_not_after(&end)?;
        builder.set_pubkey(&*request.public_key()?)?;
        builder.append_extension(KeyUsage::new().critical().digital_signature().key_encipherment().build()?)?;
        builder.append_extension(X509Extension::new_from_der(&oid, true, &*Asn1OctetString::new_from_bytes(info)?)?)?;
        builder.sign(self.key(), digest_for(self.key()))?;
        Ok(builder.build())
    }

    /// The new certificate must verify, as a proxy, up to the user's own certificate (or the last one that we have).
    fn verify(&self, cert: &X509) -> Result<(), ProxyError> {
        let check = || -> Result<Option<String>, ErrorStack> {
            let all: Vec<&X509> = std::iter::once(self.leaf()).chain(self.above()).collect();
            let anchor = self.proxies().min(all.len() - 1);
            let mut store = X509StoreBuilder::new()?;
            store.add_cert(all[anchor].clone())?;
            store.set_flags(X509VerifyFlags::ALLOW_PROXY_CERTS | X509VerifyFlags::PARTIAL_CHAIN)?;
            let mut between = Stack::new()?;
            for cert in &all[..anchor] {
                between.push((*cert).clone())?;
            }
            let mut context = X509StoreContext::new()?;
            context.init(&store.build(), cert, &between, |context| {
                Ok(if context.verify_cert()? { None } else { Some(context.error().error_string().to_owned()) })
            })
        };
        match check() {
            Ok(None) => Ok(()),
            Ok(Some(why)) => Err(ProxyError::Sign(format!("the new certificate does not verify: {why}"))),
            Err(e) => Err(ProxyError::Sign(format!("OpenSSL failed: {e}"))),
        }
    }
}

/// Keys of the Edwards curves bring their own digest.
fn digest_for(key: &PKey<Private>) -> MessageDigest {
    if matches!(key.id(), Id::ED25519 | Id::ED448) { MessageDigest::null() } else { MessageDigest::sha256() }
}

/// A request for a fresh key of our own. An elliptic curve, because such a key is made in no time.
fn own_request() -> Result<String, ErrorStack> {
    let key = PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?)?;
    let mut request = X509Req::builder()?;
    request.set_pubkey(&key)?;
    request.sign(&key, MessageDigest::sha256())?;
    Ok(String::from_utf8_lossy(&request.build().to_pem()?).into_owned())
}

fn pem_of<'a>(certs: impl IntoIterator<Item = &'a X509>) -> Result<String, ProxyError> {
    let mut out = String::new();
    for cert in certs {
        let pem = cert.to_pem().map_err(|e| ProxyError::Sign(format!("OpenSSL failed: {e}")))?;
        out.push_str(&String::from_utf8_lossy(&pem));
    }
    Ok(out)
}
