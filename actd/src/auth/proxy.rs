//! The user's X.509 proxy file: where it is, whether it is fit for use, and what it says.
//! It must not talk to a server, and must not let the private key out except to sign and to set up TLS.

use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::{X509, X509KeyUsage, X509NameRef, X509Ref};
use zeroize::Zeroizing;

use super::der::{self, Der, INTEGER, OID, SEQUENCE};
use super::voms::{self, Voms};

/// Largest proxy file that is read; real ones have 5 to 30 kB.
const MAX_FILE: u64 = 1 << 20;
/// Most certificates in a proxy file.
const MAX_CHAIN: usize = 20;

/// DER content of 1.3.6.1.5.5.7.1.14 (proxyCertInfo, RFC 3820 section 3.8).
pub(super) const PROXY_CERT_INFO: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x0e];
/// DER content of 1.3.6.1.4.1.3536.1.1.1.9 (limited proxy, as the Globus Toolkit defined it).
pub(super) const LIMITED: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x9b, 0x50, 0x01, 0x01, 0x01, 0x09];

/// Why there is no usable proxy. `Display` says what; [`ProxyError::hint`] what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    #[error("there is no proxy certificate at {}", .0.display())]
    Missing(PathBuf),
    #[error("cannot read the proxy certificate {}: {why}", .path.display())]
    Unreadable { path: PathBuf, why: String },
    #[error("the proxy certificate {} belongs to user id {owner}, not to this user", .path.display())]
    NotOurs { path: PathBuf, owner: u32 },
    #[error("{} is not a proxy certificate: {why}", .path.display())]
    Malformed { path: PathBuf, why: String },
    #[error("the proxy certificate {} has expired", .0.display())]
    Expired(PathBuf),
    #[error("cannot delegate the proxy certificate: {0}")]
    Sign(String),
}

impl ProxyError {
    /// What the user can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing(_) | Self::Expired(_) => {
                "make a proxy (arcproxy, voms-proxy-init), or set X509_USER_PROXY or `proxy:` in the config"
            }
            Self::Unreadable { .. } | Self::NotOurs { .. } => {
                "check the file, X509_USER_PROXY, and `proxy:` in the config"
            }
            Self::Malformed { .. } | Self::Sign(_) => "make a new RFC 3820 proxy with arcproxy or voms-proxy-init -rfc",
        }
    }
}

/// A loaded proxy: certificate, private key, and the chain up to (at least) the user's own certificate.
///
/// Good in form when it exists: key and certificate match, each certificate is issued by the next. Whether it is still
/// valid is a question of the time: [`Proxy::check_valid`].
pub struct Proxy {
    path: PathBuf,
    key: PKey<Private>,
    /// Leaf first.
    chain: Vec<X509>,
    /// How many of the chain are proxies; at least 1.
    proxies: usize,
    limited: bool,
    dn: String,
    voms: Option<Voms>,
    expires: SystemTime,
    warnings: Vec<String>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Proxy");
        f.field("path", &self.path).field("dn", &self.dn).field("voms", &self.voms).field("expires", &self.expires);
        f.finish_non_exhaustive()
    }
}

impl Proxy {
    /// Reads and checks a proxy file. Blocks. Another owner than this user (or root) is an error; permissions wider than
    /// 0600 are a warning, because other tools may have made the file.
    pub fn load(path: &Path) -> Result<Self, ProxyError> {
        let unreadable = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => ProxyError::Missing(path.to_owned()),
            _ => ProxyError::Unreadable { path: path.to_owned(), why: e.to_string() },
        };
        // Not blocking, in case it is a pipe.
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
        let fd = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(|e| unreadable(e.into()))?;
        let file = std::fs::File::from(fd);
        let meta = file.metadata().map_err(unreadable)?;
        if !meta.is_file() {
            return Err(ProxyError::Unreadable { path: path.to_owned(), why: "it is not a regular file".into() });
        }
        if meta.uid() != 0 && meta.uid() != rustix::process::geteuid().as_raw() {
            return Err(ProxyError::NotOurs { path: path.to_owned(), owner: meta.uid() });
        }
        let mut pem = Zeroizing::new(Vec::with_capacity(meta.len().min(MAX_FILE) as usize + 1));
        file.take(MAX_FILE + 1).read_to_end(&mut pem).map_err(unreadable)?;
        if pem.len() as u64 > MAX_FILE {
            return Err(ProxyError::Malformed { path: path.to_owned(), why: "it is larger than 1 MiB".into() });
        }
        let mut proxy = Self::parse(&pem, path)?;
        if meta.mode() & 0o077 != 0 {
            let mode = meta.mode() & 0o777;
            proxy
                .warnings
                .push(format!("{} can be read by others (mode {mode:o}); run chmod 600 on it", path.display()));
        }
        Ok(proxy)
    }

    /// Checks the PEM text of a proxy: certificate, key and chain, in any order except that the proxy itself is the
    /// first certificate. `path` is only for messages.
    pub fn parse(pem: &[u8], path: &Path) -> Result<Self, ProxyError> {
        let bad = |why: &str| ProxyError::Malformed { path: path.to_owned(), why: why.to_owned() };
        let chain = X509::stack_from_pem(pem).map_err(|_| bad("a certificate in it cannot be read"))?;
        // A key with a passphrase would otherwise ask for it on the terminal.
        let key = PKey::private_key_from_pem_callback(pem, |_| Ok(0))
            .map_err(|_| bad("there is no private key in it, or one with a passphrase"))?;
        let leaf = chain.first().ok_or_else(|| bad("there is no certificate in it"))?;
        if chain.len() > MAX_CHAIN {
            return Err(bad("it holds too many certificates"));
        }
        if !leaf.public_key().is_ok_and(|public| public.public_eq(&key)) {
            return Err(bad("its private key does not belong to its first certificate"));
        }
        let infos: Vec<Option<ProxyInfo>> = chain.iter().map(|cert| proxy_info(cert)).collect();
        let proxies = infos.iter().take_while(|info| info.is_some()).count();
        if proxies == 0 {
            let legacy = last_common_name(leaf.subject_name()).is_some_and(|cn| cn == "proxy" || cn == "limited proxy");
            let why =
                if legacy { "it is a proxy of the old Globus form" } else { "its first certificate is not a proxy" };
            return Err(bad(why));
        }
        if infos[0].as_ref().is_some_and(|info| info.path_length == Some(0)) {
            return Err(bad("it forbids further delegation (path length 0)"));
        }
        if leaf.key_usage().is_some_and(|usage| !usage.contains(X509KeyUsage::DIGITAL_SIGNATURE)) {
            return Err(bad("its key usage forbids signatures"));
        }
        let links = chain.len().min(proxies + 1);
        for pair in chain[..links].windows(2) {
            let named = pair[0].issuer_name().try_cmp(pair[1].subject_name()).is_ok_and(std::cmp::Ordering::is_eq);
            let signed = pair[1].public_key().is_ok_and(|key| pair[0].verify(&key).unwrap_or(false));
            if !named || !signed {
                return Err(bad("its certificates do not form a chain"));
            }
        }
        let mut expires = None;
        for cert in &chain[..links] {
            let end = time(cert.not_after()).ok_or_else(|| bad("a time in it cannot be read"))?;
            expires = Some(expires.map_or(end, |earlier: SystemTime| earlier.min(end)));
        }
        let dn = match chain.get(proxies) {
            Some(own) => slash_form(own.subject_name(), 0),
            // Without the user's own certificate: each proxy has added one CN.
            None => slash_form(chain[proxies - 1].subject_name(), 1),
        };
        let voms = chain[..proxies].iter().find_map(|cert| voms::of_certificate(&cert.to_der().ok()?));
        let limited = infos.iter().flatten().any(|info| info.limited);
        let expires = expires.ok_or_else(|| bad("there is no certificate in it"))?;
        Ok(Self { path: path.to_owned(), key, chain, proxies, limited, dn, voms, expires, warnings: Vec::new() })
    }

    /// The user's name: the subject of their own certificate as `/DC=org/.../CN=Name`, without the CNs of proxies.
    pub fn dn(&self) -> &str {
        &self.dn
    }

    /// The VOMS attributes. The aCT server refuses a proxy without.
    pub fn voms(&self) -> Option<&Voms> {
        self.voms.as_ref()
    }

    /// End of the proxy: the earliest end in the chain up to the user's own certificate.
    pub fn expires(&self) -> SystemTime {
        self.expires
    }

    /// End of what the proxy is good for: its own, or that of the VOMS attributes if earlier.
    pub fn useful_until(&self) -> SystemTime {
        self.voms.as_ref().map_or(self.expires, |voms| voms.expires.min(self.expires))
    }

    /// Whether it is a limited proxy, with which most sites start no jobs.
    pub fn is_limited(&self) -> bool {
        self.limited
    }

    /// Whether a certificate in it is signed with SHA-1 or worse, or has a short key.
    pub fn is_weak(&self) -> bool {
        self.chain.iter().any(|cert| super::tls::is_weak(cert))
    }

    /// Where it was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is odd about the file, but not wrong.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// An error if the proxy has ended at `now`.
    pub fn check_valid(&self, now: SystemTime) -> Result<(), ProxyError> {
        if self.expires <= now { Err(ProxyError::Expired(self.path.clone())) } else { Ok(()) }
    }

    pub(super) fn key(&self) -> &PKey<Private> {
        &self.key
    }

    pub(super) fn leaf(&self) -> &X509 {
        // The constructor refuses an empty chain.
        &self.chain[0]
    }

    /// Certificates above the leaf, nearest first.
    pub(super) fn above(&self) -> &[X509] {
        &self.chain[1..]
    }

    /// How many certificates of the chain, from the leaf, are proxies.
    pub(super) fn proxies(&self) -> usize {
        self.proxies
    }
}

struct ProxyInfo {
    limited: bool,
    path_length: Option<u64>,
}

/// The proxyCertInfo extension: `SEQUENCE { pathLen INTEGER OPTIONAL, SEQUENCE { language OID, ... } }`.
/// `None` if the certificate is not an RFC 3820 proxy.
fn proxy_info(cert: &X509Ref) -> Option<ProxyInfo> {
    let certificate = cert.to_der().ok()?;
    let mut info = Der::new(der::extension(&certificate, PROXY_CERT_INFO).ok()??).expect(SEQUENCE).ok()?.inside();
    let path_length = match info.take_if(INTEGER).ok()? {
        Some(n) if n.value.len() <= 8 => Some(n.value.iter().fold(0u64, |n, b| n << 8 | u64::from(*b))),
        Some(_) => return None,
        None => None,
    };
    let language = info.expect(SEQUENCE).ok()?.inside().expect(OID).ok()?;
    Some(ProxyInfo { limited: language.value == LIMITED, path_length })
}

pub(super) fn time(asn1: &Asn1TimeRef) -> Option<SystemTime> {
    let since = Asn1Time::from_unix(0).ok()?.diff(asn1).ok()?;
    let seconds = i64::from(since.days) * 86_400 + i64::from(since.secs);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}

fn last_common_name(name: &X509NameRef) -> Option<String> {
    name.entries_by_nid(Nid::COMMONNAME).last()?.data().to_string().ok()
}

/// A name as grid tools print it, without its last `strip` parts. Control characters become `?`.
fn slash_form(name: &X509NameRef, strip: usize) -> String {
    let entries: Vec<_> = name.entries().collect();
    let mut out = String::new();
    for entry in &entries[..entries.len().saturating_sub(strip)] {
        let object = entry.object();
        let key = object.nid().short_name().map_or_else(|_| object.to_string(), str::to_owned);
        let value = entry.data().to_string().unwrap_or_default();
        out.push('/');
        out.push_str(&key);
        out.push('=');
        out.extend(value.chars().map(|c| if c.is_control() { '?' } else { c }));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::testpki::{self, LIMITED as LIMITED_INFO, Pki, Recipe, seconds};
    use super::*;
    use openssl::x509::X509Req;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn parse(pem: &[u8]) -> Result<Proxy, ProxyError> {
        Proxy::parse(pem, Path::new("/p"))
    }

    #[test]
    fn what_a_proxy_says() {
        let pki = Pki::new();
        let fqans = ["/atlas/Role=production/Capability=NULL", "/atlas"];
        let proxy = pki.proxy(Recipe { fqans: &fqans, ..Recipe::default() });
        assert_eq!(proxy.dn(), "/DC=org/O=Test/CN=Jan Žák");
        assert_eq!(proxy.voms().map(|v| (v.vo.as_str(), v.fqans.len())), Some(("atlas", 2)));
        let now = SystemTime::now();
        let left = proxy.expires().duration_since(now).expect("valid");
        assert!(left > seconds(3590) && left <= seconds(3600), "{left:?}");
        assert!(!proxy.is_limited() && proxy.check_valid(now).is_ok());
        assert!(matches!(proxy.check_valid(now + seconds(3601)), Err(ProxyError::Expired(_))));
        assert!(!format!("{proxy:?}").contains("PRIVATE"));

        // Two levels, the lower one living longer than the upper; without the user's certificate.
        let upper = pki.below(&pki.user, Recipe { ends_in: 100, ..Recipe::default() });
        let lower = pki.below(&upper, Recipe { fqans: &[], info: LIMITED_INFO, ..Recipe::default() });
        let two = parse(&testpki::pem(&[&lower.0, &upper.0, &pki.user.0], &lower.1)).expect("two levels");
        assert_eq!(two.dn(), proxy.dn());
        assert!(two.is_limited() && two.voms().is_some());
        assert!(two.expires() <= now + seconds(101));
        let short = parse(&testpki::pem(&[&lower.0, &upper.0], &lower.1)).expect("without user certificate");
        assert_eq!(short.dn(), proxy.dn());
    }

    #[test]
    fn what_is_no_proxy() {
        let pki = Pki::new();
        let why = |pem: &[u8]| match parse(pem) {
            Err(ProxyError::Malformed { why, .. }) => why,
            other => panic!("{other:?}"),
        };
        let (cert, key) = pki.below(&pki.user, Recipe::default());
        assert!(why(b"garbage").contains("private key") || why(b"garbage").contains("certificate"));
        assert!(why(&cert.to_pem().expect("pem")).contains("private key"));
        assert!(why(&testpki::pem(&[&cert, &pki.user.0], &testpki::key())).contains("does not belong"));
        assert!(why(&testpki::pem(&[&pki.user.0], &pki.user.1)).contains("not a proxy"));
        assert!(why(&testpki::pem(&[&cert, &pki.ca.0], &key)).contains("form a chain"));
        let stopped = [0x30, 0x0f, 0x02, 0x01, 0x00, 0x30, 0x0a, 6, 8, 0x2b, 6, 1, 5, 5, 7, 0x15, 1];
        assert!(why(&pki.proxy_pem(Recipe { info: &stopped, ..Recipe::default() })).contains("delegation"));
        assert!(why(&pki.proxy_pem(Recipe { weak_usage: true, ..Recipe::default() })).contains("key usage"));
        let cipher = openssl::symm::Cipher::aes_256_cbc();
        let locked = key.private_key_to_pem_pkcs8_passphrase(cipher, b"secret").expect("pem");
        assert!(why(&[cert.to_pem().expect("pem"), locked].concat()).contains("passphrase"));
    }

    #[test]
    fn the_file() {
        let pki = Pki::new();
        let path = pki.dir.path().join("x509up");
        assert!(matches!(Proxy::load(&path), Err(ProxyError::Missing(_))));
        std::fs::write(&path, pki.proxy_pem(Recipe::default())).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        assert!(Proxy::load(&path).expect("load").warnings().is_empty());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("chmod");
        assert_eq!(Proxy::load(&path).expect("load").warnings().len(), 1);
        assert!(matches!(Proxy::load(pki.dir.path()), Err(ProxyError::Unreadable { .. })));
        std::fs::write(&path, vec![b'x'; 2 << 20]).expect("write");
        assert!(matches!(Proxy::load(&path), Err(ProxyError::Malformed { .. })));
        let pipe = pki.dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).expect("fifo");
        assert!(matches!(Proxy::load(&pipe), Err(ProxyError::Unreadable { .. })));
    }

    fn request(key: &PKey<Private>) -> String {
        let mut request = X509Req::builder().expect("builder");
        request.set_pubkey(key).expect("key");
        request.sign(key, openssl::hash::MessageDigest::sha256()).expect("sign");
        String::from_utf8(request.build().to_pem().expect("pem")).expect("text")
    }

    #[test]
    fn a_signed_request_is_a_proxy_that_verifies() {
        let pki = Pki::new();
        let now = SystemTime::now();
        for info in [testpki::INHERIT, LIMITED_INFO] {
            let proxy = pki.proxy(Recipe { info, ..Recipe::default() });
            proxy.rehearse(now).expect("rehearsal");
            let key = testpki::key();
            let signed = proxy.sign(&request(&key), now).expect("signed");
            assert_eq!(signed.expires, proxy.expires());
            let key_pem = key.private_key_to_pem_pkcs8().expect("pem");
            let file = [signed.cert.as_bytes(), &key_pem, signed.chain.as_bytes()].concat();
            let delegated = parse(&file).expect("delegated");
            assert_eq!((delegated.dn(), delegated.is_limited()), (proxy.dn(), proxy.is_limited()));
            assert!(delegated.voms().is_some(), "the attributes are in the chain");

            // The openssl tool agrees, from the CA directory down.
            let leaf = pki.dir.path().join("leaf.pem");
            let chain = pki.dir.path().join("chain.pem");
            std::fs::write(&leaf, &signed.cert).expect("write");
            std::fs::write(&chain, &signed.chain).expect("write");
            let output = std::process::Command::new("openssl")
                .args(["verify", "-allow_proxy_certs", "-CApath"])
                .arg(pki.ca_dir())
                .arg("-untrusted")
                .args([&chain, &leaf])
                .output()
                .expect("openssl");
            assert!(output.status.success(), "{output:?}");
        }
    }

    #[test]
    fn bad_requests_are_not_signed() {
        let pki = Pki::new();
        let proxy = pki.proxy(Recipe::default());
        let now = SystemTime::now();
        let good = request(&testpki::key());
        assert!(matches!(proxy.sign(&good, now + seconds(4000)), Err(ProxyError::Expired(_))));
        assert!(proxy.sign("garbage", now).is_err());
        assert!(proxy.sign(&"x".repeat(1 << 20), now).is_err());
        assert!(proxy.sign(&request(proxy.key()), now).is_err(), "our own key");
        let weak = PKey::from_rsa(openssl::rsa::Rsa::generate(1024).expect("rsa")).expect("key");
        assert!(proxy.sign(&request(&weak), now).is_err(), "a weak key");
        let mut forged = X509Req::builder().expect("builder");
        forged.set_pubkey(&testpki::key()).expect("key");
        forged.sign(&testpki::key(), openssl::hash::MessageDigest::sha256()).expect("sign");
        let forged = String::from_utf8(forged.build().to_pem().expect("pem")).expect("text");
        assert!(proxy.sign(&forged, now).is_err(), "signed with another key");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn damage_is_an_error_not_a_panic(at in any::<prop::sample::Index>(), byte: u8) {
            static PEM: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| Pki::new().proxy_pem(Recipe::default()));
            let mut pem = PEM.clone();
            let at = at.index(pem.len());
            pem[at] = byte;
            let _ = parse(&pem);
            let _ = parse(&pem[..at]);
        }
    }
}
