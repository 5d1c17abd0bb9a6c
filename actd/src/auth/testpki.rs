//! A PKI for unit tests: a CA in a hashed directory, host and user certificates, proxies of any kind.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use openssl::asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslAcceptorBuilder, SslMethod, SslVerifyMode};
use openssl::x509::extension::{AuthorityKeyIdentifier, BasicConstraints, KeyUsage, SubjectAlternativeName};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509Builder, X509CrlBuilder, X509Extension, X509Name, X509NameRef, X509RevokedBuilder};

use super::Proxy;

pub(crate) struct Pki {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) ca: (X509, PKey<Private>),
    pub(crate) user: (X509, PKey<Private>),
    host: (X509, PKey<Private>),
}

/// How to make a proxy.
#[derive(Clone, Copy)]
pub(crate) struct Recipe<'a> {
    pub(crate) fqans: &'a [&'a str],
    /// DER of proxyCertInfo; empty for none.
    pub(crate) info: &'a [u8],
    /// From now; negative is the past.
    pub(crate) ends_in: i64,
    pub(crate) weak_usage: bool,
    /// Bits of an RSA key; none: an elliptic one.
    pub(crate) rsa: Option<u32>,
}

pub(crate) const INHERIT: &[u8] = &[0x30, 0x0c, 0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x15, 0x01];
pub(crate) const LIMITED: &[u8] =
    &[0x30, 0x0f, 0x30, 0x0d, 0x06, 0x0b, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x9b, 0x50, 0x01, 0x01, 0x01, 0x09];

impl Default for Recipe<'_> {
    fn default() -> Self {
        Self {
            fqans: &["/atlas/Role=NULL/Capability=NULL"],
            info: INHERIT,
            ends_in: 3600,
            weak_usage: false,
            rsa: None,
        }
    }
}

pub(crate) fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("group");
    PKey::from_ec_key(EcKey::generate(&group).expect("key")).expect("key")
}

pub(crate) fn rsa(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).expect("key")).expect("key")
}

fn unix(now_plus: i64) -> Asn1Time {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("clock").as_secs() as i64;
    Asn1Time::from_unix(now + now_plus).expect("time")
}

fn name(parts: &[(Nid, &str)], above: Option<&X509NameRef>) -> X509Name {
    let mut builder = X509Name::builder().expect("name");
    for entry in above.into_iter().flat_map(X509NameRef::entries) {
        builder.append_entry(entry).expect("entry");
    }
    for (nid, text) in parts {
        builder.append_entry_by_nid(*nid, text).expect("entry");
    }
    builder.build()
}

fn certificate(subject: &X509Name, public: &PKey<Private>, issuer: &X509NameRef, ends_in: i64) -> X509Builder {
    let mut builder = X509::builder().expect("builder");
    let serial = BigNum::from_u32(fastrand::u32(1..)).expect("serial");
    builder.set_version(2).expect("version");
    builder.set_serial_number(&Asn1Integer::from_bn(&serial).expect("serial")).expect("serial");
    builder.set_subject_name(subject).expect("subject");
    builder.set_issuer_name(issuer).expect("issuer");
    builder.set_pubkey(public).expect("key");
    builder.set_not_before(&unix(-86_400)).expect("begin");
    builder.set_not_after(&unix(ends_in)).expect("end");
    builder
}

fn sign(mut builder: X509Builder, with: &PKey<Private>) -> X509 {
    builder.sign(with, MessageDigest::sha256()).expect("sign");
    builder.build()
}

impl Pki {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let (ca_key, user_key, host_key) = (key(), key(), key());
        let ca_name = name(&[(Nid::ORGANIZATIONNAME, "Test"), (Nid::COMMONNAME, "CA")], None);
        let mut ca = certificate(&ca_name, &ca_key, &ca_name, 864_000);
        ca.append_extension(BasicConstraints::new().critical().ca().build().expect("ext")).expect("ext");
        ca.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build().expect("ext")).expect("ext");
        let ca = sign(ca, &ca_key);
        let user_name =
            name(&[(Nid::DOMAINCOMPONENT, "org"), (Nid::ORGANIZATIONNAME, "Test"), (Nid::COMMONNAME, "Jan Žák")], None);
        let mut user = certificate(&user_name, &user_key, &ca_name, 864_000);
        user.append_extension(KeyUsage::new().critical().digital_signature().build().expect("ext")).expect("ext");
        let user = sign(user, &ca_key);
        let mut host = certificate(&name(&[(Nid::COMMONNAME, "localhost")], None), &host_key, &ca_name, 864_000);
        let context = host.x509v3_context(Some(&ca), None);
        let names = SubjectAlternativeName::new().dns("localhost").build(&context).expect("san");
        host.append_extension(names).expect("ext");
        let host = sign(host, &ca_key);

        let ca_dir = dir.path().join("certificates");
        std::fs::create_dir(&ca_dir).expect("mkdir");
        let file = ca_dir.join(format!("{:08x}.0", ca.subject_name_hash()));
        std::fs::write(file, ca.to_pem().expect("pem")).expect("write");
        Self { dir, ca: (ca, ca_key), user: (user, user_key), host: (host, host_key) }
    }

    pub(crate) fn ca_dir(&self) -> PathBuf {
        self.dir.path().join("certificates")
    }

    /// One more step below `issuer`.
    pub(crate) fn below(&self, issuer: &(X509, PKey<Private>), recipe: Recipe<'_>) -> (X509, PKey<Private>) {
        let key = recipe.rsa.map_or_else(key, rsa);
        let cn = fastrand::u32(1000..).to_string();
        let subject = name(&[(Nid::COMMONNAME, &cn)], Some(issuer.0.subject_name()));
        let mut proxy = certificate(&subject, &key, issuer.0.subject_name(), recipe.ends_in);
        let mut usage = KeyUsage::new();
        let usage = if recipe.weak_usage { usage.key_agreement() } else { usage.digital_signature() };
        proxy.append_extension(usage.critical().build().expect("ext")).expect("ext");
        let mut raw = |oid: &str, critical: bool, value: &[u8]| {
            let oid = Asn1Object::from_str(oid).expect("oid");
            let value = Asn1OctetString::new_from_bytes(value).expect("value");
            let extension = X509Extension::new_from_der(&oid, critical, &value).expect("ext");
            proxy.append_extension(extension).expect("ext");
        };
        if !recipe.info.is_empty() {
            raw("1.3.6.1.5.5.7.1.14", true, recipe.info);
        }
        if !recipe.fqans.is_empty() {
            let value = super::voms::tests::extension_value("atlas", recipe.fqans, "20990101000000Z");
            raw("1.3.6.1.4.1.8005.100.100.5", false, &value);
        }
        (sign(proxy, &issuer.1), key)
    }

    /// PEM text of a proxy file: certificate, key, and the chain without the CA.
    pub(crate) fn proxy_pem(&self, recipe: Recipe<'_>) -> Vec<u8> {
        let (cert, key) = self.below(&self.user, recipe);
        pem(&[&cert, &self.user.0], &key)
    }

    pub(crate) fn proxy(&self, recipe: Recipe<'_>) -> Proxy {
        Proxy::parse(&self.proxy_pem(recipe), Path::new("/test/proxy")).expect("proxy")
    }

    /// Another certificate of `localhost`.
    pub(crate) fn host(&self, key: PKey<Private>, digest: MessageDigest) -> (X509, PKey<Private>) {
        self.named(SubjectAlternativeName::new().dns("localhost"), key, digest)
    }

    /// The certificate of a host that has an address and no name.
    pub(crate) fn address(&self, ip: &str) -> (X509, PKey<Private>) {
        self.named(SubjectAlternativeName::new().ip(ip), key(), MessageDigest::sha256())
    }

    fn named(
        &self,
        names: &SubjectAlternativeName,
        key: PKey<Private>,
        digest: MessageDigest,
    ) -> (X509, PKey<Private>) {
        let (ca, ca_key) = &self.ca;
        let mut host = certificate(&name(&[(Nid::COMMONNAME, "localhost")], None), &key, ca.subject_name(), 864_000);
        let context = host.x509v3_context(Some(ca), None);
        host.append_extension(names.build(&context).expect("san")).expect("ext");
        host.sign(ca_key, digest).expect("sign");
        (host.build(), key)
    }

    /// Puts a revocation list of the CA into the directory, in force until then from now, which names these.
    pub(crate) fn revoke(&self, revoked: &[&X509], until: i64) {
        let (ca, key) = &self.ca;
        let mut list = X509CrlBuilder::new().expect("list");
        list.set_issuer_name(ca.subject_name()).expect("issuer");
        list.set_last_update(&unix(-3600)).expect("time");
        list.set_next_update(&unix(until)).expect("time");
        for cert in revoked {
            let mut entry = X509RevokedBuilder::new().expect("entry");
            entry.set_revocation_date(&unix(-3600)).expect("time");
            entry.set_serial_number(cert.serial_number()).expect("serial");
            list.add_revoked(entry.build()).expect("entry");
        }
        // What a list has to have.
        let any = X509::builder().expect("builder");
        let issuer =
            AuthorityKeyIdentifier::new().issuer(true).build(&any.x509v3_context(Some(ca), None)).expect("ext");
        list.append_extension(issuer).expect("ext");
        let (oid, one) = (Asn1Object::from_str("2.5.29.20").expect("oid"), [2, 1, 1]);
        let number = Asn1OctetString::new_from_bytes(&one).expect("value");
        list.append_extension(X509Extension::new_from_der(&oid, false, &number).expect("ext")).expect("ext");
        list.sign(key, MessageDigest::sha256()).expect("sign");
        let text = list.build().expect("list").to_pem().expect("pem");
        std::fs::write(self.ca_dir().join(format!("{:08x}.r0", ca.subject_name_hash())), text).expect("write");
    }

    /// A TLS server as [`Self::acceptor`], which shows this certificate and takes proxies of any strength.
    pub(crate) fn lenient(&self, ask: bool, host: &(X509, PKey<Private>)) -> SslAcceptor {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("acceptor");
        builder.set_security_level(0);
        self.equip(builder, ask, host)
    }

    /// A TLS server for `localhost`; with `ask` it wants a client certificate, and takes proxies.
    pub(crate) fn acceptor(&self, ask: bool) -> SslAcceptor {
        let builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("acceptor");
        self.equip(builder, ask, &self.host)
    }

    fn equip(&self, mut builder: SslAcceptorBuilder, ask: bool, host: &(X509, PKey<Private>)) -> SslAcceptor {
        builder.set_certificate(&host.0).expect("cert");
        builder.set_private_key(&host.1).expect("key");
        builder.cert_store_mut().add_cert(self.ca.0.clone()).expect("ca");
        if ask {
            builder.cert_store_mut().set_flags(X509VerifyFlags::ALLOW_PROXY_CERTS).expect("flags");
            builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        }
        builder.set_session_id_context(b"test").expect("context");
        builder.build()
    }
}

pub(crate) fn pem(certs: &[&X509], key: &PKey<Private>) -> Vec<u8> {
    let mut out = certs[0].to_pem().expect("pem");
    // Grid tools write the key in its traditional form.
    out.extend(match key.rsa() {
        Ok(rsa) => rsa.private_key_to_pem().expect("pem"),
        Err(_) => key.ec_key().expect("ec").private_key_to_pem().expect("pem"),
    });
    for cert in &certs[1..] {
        out.extend(cert.to_pem().expect("pem"));
    }
    out
}

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
