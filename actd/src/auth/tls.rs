//! Whom to trust over TLS, and with which certificate to present ourselves. Verification is always on.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslFiletype, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::store::X509Lookup;
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509Crl, X509Ref, X509StoreContextRef, X509VerifyResult};

use super::Proxy;
use crate::remote::RestTls;

/// Grid CAs where Linux distributions and the IGTF put them.
const SYSTEM_CA_DIR: &str = "/etc/grid-security/certificates";

/// Trust anchors: a directory of grid CAs, by hashed name, besides the roots of the system. What is made of it goes by the
/// directory's content of that moment; another content is another `Trust`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    ca_dir: Option<PathBuf>,
    /// When a CA or a revocation list has last been put there.
    changed: Option<SystemTime>,
    /// There are revocation lists.
    has_lists: bool,
}

impl Trust {
    /// With this directory of CAs (`HASH.0` files, revocation lists in `HASH.r0`), or with the system's roots only.
    pub fn new(ca_dir: Option<PathBuf>) -> Self {
        let changed = ca_dir.as_deref().and_then(last_change);
        let has_lists = ca_dir.as_deref().is_some_and(has_lists);
        Self { ca_dir, changed, has_lists }
    }

    /// The directory by the customs of grid tools: `X509_CERT_DIR`; else `~/.globus/certificates` or
    /// `/etc/grid-security/certificates`, whichever exists first. `env` looks up an environment variable.
    pub fn discover(env: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let usual = || {
            let home = set("HOME").map(|home| home.join(".globus/certificates"));
            home.into_iter().chain([PathBuf::from(SYSTEM_CA_DIR)]).find(|dir| dir.is_dir())
        };
        Self::new(set("X509_CERT_DIR").or_else(usual))
    }

    /// The CA directory, if there is one.
    pub fn ca_dir(&self) -> Option<&Path> {
        self.ca_dir.as_deref()
    }

    /// How REST clients verify servers. reqwest takes no directory, so its certificates are read here; what cannot be read
    /// is left out, with a warning: a server that it stands for will be refused. Nor does it ask revocation lists: where
    /// there are any, OpenSSL is set up instead. What they name is refused. One that is out of date is no reason to refuse
    /// others: the aCT server is no part of the grid, and other clients of it ask no lists.
    ///
    /// # Errors
    /// OpenSSL cannot be set up.
    pub fn rest(&self) -> Result<RestTls, ErrorStack> {
        if self.has_lists {
            return self.verifying(None, true).map(RestTls::OpenSsl);
        }
        let roots: Vec<reqwest::Certificate> = self.ca_dir.as_deref().map(roots).unwrap_or_default();
        Ok(RestTls::Reqwest(Box::new(move || {
            let builder =
                reqwest::Client::builder().tls_backend_native().tls_version_min(reqwest::tls::Version::TLS_1_2);
            roots.iter().cloned().fold(builder, reqwest::ClientBuilder::add_root_certificate)
        })))
    }

    /// TLS settings for a client: TLS 1.2 or newer, certificate and host name verified. With `identity` the proxy and
    /// its whole chain are presented if the server asks. What a CA's revocation list names is refused, and, as other grid
    /// clients have it, everything of a CA whose list is out of date; a CA without a list revokes nothing.
    ///
    /// # Errors
    /// OpenSSL does not take the identity, or cannot be set up.
    pub fn connector(&self, identity: Option<&Proxy>) -> Result<SslConnectorBuilder, ErrorStack> {
        self.verifying(identity, false)
    }

    /// `old_lists`: a list that is out of date still names what it names, and nothing else follows from it.
    fn verifying(&self, identity: Option<&Proxy>, old_lists: bool) -> Result<SslConnectorBuilder, ErrorStack> {
        // This loads the system's roots, or what SSL_CERT_FILE and SSL_CERT_DIR name.
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        match self.ca_dir.as_deref().map(Path::to_str) {
            Some(Some(dir)) if !dir.contains('\0') => {
                builder.cert_store_mut().add_lookup(X509Lookup::hash_dir())?.add_dir(dir, SslFiletype::PEM)?;
            }
            Some(_) => tracing::warn!("the CA directory's name is not text: not used"),
            None => {}
        }
        builder.verify_param_mut().set_flags(X509VerifyFlags::CRL_CHECK | X509VerifyFlags::CRL_CHECK_ALL)?;
        let weak = identity.is_some_and(Proxy::is_weak);
        builder.set_verify_callback(SslVerifyMode::PEER, move |well, context| {
            let mut tolerated = || is_only(context, NO_LIST) || (old_lists && is_only(context, OLD_LIST));
            (well || tolerated()) && (!weak || is_strong(context))
        });
        if let Some(proxy) = identity {
            if weak {
                // OpenSSL would refuse to present it; what servers present is held to the same strength as otherwise.
                builder.set_security_level(0);
                builder.set_cipher_list("HIGH:!aNULL:!eNULL:!MD5:!3DES")?;
                // TLS 1.3 has no signature that fits into so short a key.
                if proxy.key().rsa().is_ok_and(|key| key.size() < 128) {
                    builder.set_max_proto_version(Some(SslVersion::TLS1_2))?;
                }
            }
            builder.set_certificate(proxy.leaf())?;
            for cert in proxy.above() {
                builder.add_extra_chain_cert(cert.clone())?;
            }
            builder.set_private_key(proxy.key())?;
            builder.check_private_key()?;
        }
        Ok(builder)
    }
}

/// The CA has published no revocation list here.
const NO_LIST: &[i32] = &[openssl_sys::X509_V_ERR_UNABLE_TO_GET_CRL];
/// Its list is not of today.
const OLD_LIST: &[i32] = &[openssl_sys::X509_V_ERR_CRL_HAS_EXPIRED, openssl_sys::X509_V_ERR_CRL_NOT_YET_VALID];

/// Whether what is wrong is one of these and nothing else; then it is put right.
fn is_only(context: &mut X509StoreContextRef, errors: &[i32]) -> bool {
    let is = errors.contains(&context.error().as_raw());
    if is {
        context.set_error(X509VerifyResult::OK);
    }
    is
}

/// Whether the certificate that is being verified is as strong as OpenSSL's security level 2 wants it.
fn is_strong(context: &mut X509StoreContextRef) -> bool {
    let strong = context.current_cert().is_some_and(|cert| !is_weak(cert));
    if !strong {
        context.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
    }
    strong
}

/// Whether a certificate has a key of less than 112 bits of strength (RSA: 2048), or is signed with SHA-1 or worse, as
/// proxies of older tools are.
pub(super) fn is_weak(cert: &X509Ref) -> bool {
    let digest = cert.signature_algorithm().object().nid().signature_algorithms().map(|a| a.digest);
    let signature = matches!(digest, Some(Nid::SHA1 | Nid::MD5 | Nid::MD4 | Nid::MD2));
    // Nobody relies on the signature of an authority on itself.
    let by_itself = || cert.issued(cert) == X509VerifyResult::OK;
    let key = cert.public_key().is_ok_and(|key| key.security_bits() >= 112);
    !key || (signature && !by_itself())
}

/// Most CA certificates that are read, and the largest file: a grid CA directory has some hundreds of a few kilobytes.
const MAX_ROOTS: usize = 4_000;
const MAX_ROOT: u64 = 1 << 20;
/// The largest revocation list that is looked at; some have megabytes.
const MAX_LIST: u64 = 32 << 20;

/// What a file of a CA directory is by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `HASH.N`
    Authority,
    /// `HASH.rN`
    List,
}

/// The CAs and revocation lists of a directory, so far as their names tell.
fn entries(dir: &Path) -> std::io::Result<impl Iterator<Item = (Kind, PathBuf)> + use<>> {
    let kind = |path: &Path| {
        let hash = path.file_stem()?.to_str().filter(|s| s.len() == 8 && s.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let number = path.extension()?.to_str().filter(|_| !hash.is_empty())?;
        let (kind, number) = number.strip_prefix('r').map_or((Kind::Authority, number), |n| (Kind::List, n));
        (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(kind)
    };
    let paths = std::fs::read_dir(dir)?.filter_map(|e| Some(e.ok()?.path()));
    Ok(paths.filter_map(move |path| Some((kind(&path)?, path))).take(MAX_ROOTS))
}

/// When a CA or a revocation list was last written, or the directory changed.
fn last_change(dir: &Path) -> Option<SystemTime> {
    let modified = |path: &Path| std::fs::metadata(path).ok()?.modified().ok();
    let newest = entries(dir).ok()?.filter_map(|(_, path)| modified(&path)).max();
    newest.max(modified(dir))
}

/// Whether there are revocation lists in a directory.
fn has_lists(dir: &Path) -> bool {
    entries(dir).is_ok_and(|mut all| all.any(|(kind, _)| kind == Kind::List))
}

/// The content of a file, unless it is larger than any of its kind.
fn read(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let small = std::fs::metadata(path).is_ok_and(|m| m.len() <= limit);
    small.then(|| std::fs::read(path).ok()).flatten()
}

/// The CA certificates of a directory.
fn roots(dir: &Path) -> Vec<reqwest::Certificate> {
    let entries = match entries(dir) {
        Ok(entries) => entries,
        Err(e) => {
            tracing::warn!(dir = %dir.display(), error = %e, "the CA directory cannot be read");
            return Vec::new();
        }
    };
    let certificate = |(kind, path): (Kind, PathBuf)| {
        let of_authority = (kind == Kind::Authority).then_some(path)?;
        let cert = read(&of_authority, MAX_ROOT).and_then(|pem| reqwest::Certificate::from_pem(&pem).ok());
        if cert.is_none() {
            tracing::warn!(path = %of_authority.display(), "not a CA certificate that can be read");
        }
        cert
    };
    entries.filter_map(certificate).collect()
}

/// What there is in a CA directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// CAs that are found by their names.
    pub authorities: usize,
    /// CAs under names that are not theirs: OpenSSL before 1.0 made others.
    pub misnamed: usize,
    /// Revocation lists in force.
    pub lists: usize,
    /// Names of revocation lists that are out of date: nothing of their CAs is taken.
    pub stale: Vec<String>,
}

/// Looks at all files of a CA directory.
///
/// # Errors
/// The directory cannot be read.
pub fn survey(dir: &Path) -> std::io::Result<Survey> {
    let mut found = Survey::default();
    let now = Asn1Time::days_from_now(0)?;
    for (kind, path) in entries(dir)? {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        match kind {
            Kind::Authority => {
                let cert = read(&path, MAX_ROOT).and_then(|pem| X509::from_pem(&pem).ok());
                match cert.map(|c| name.starts_with(&format!("{:08x}.", c.subject_name_hash()))) {
                    Some(true) => found.authorities += 1,
                    Some(false) => found.misnamed += 1,
                    None => {}
                }
            }
            Kind::List => match read(&path, MAX_LIST).and_then(|pem| X509Crl::from_pem(&pem).ok()) {
                Some(list) if list.next_update().is_some_and(|at| at < now) => found.stale.push(name.to_owned()),
                Some(_) => found.lists += 1,
                None => {}
            },
        }
    }
    found.stale.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_by_custom() {
        let home = tempfile::tempdir().expect("dir");
        let env = |name: &str| match name {
            "HOME" => Some(home.path().as_os_str().to_owned()),
            _ => None,
        };
        let before = Trust::discover(env);
        assert!(before.ca_dir().is_none_or(|dir| dir == Path::new(SYSTEM_CA_DIR)));
        let own = home.path().join(".globus/certificates");
        std::fs::create_dir_all(&own).expect("mkdir");
        assert_eq!(Trust::discover(env).ca_dir(), Some(own.as_path()));
        let named = |name: &str| if name == "X509_CERT_DIR" { Some("/named".into()) } else { env(name) };
        assert_eq!(Trust::discover(named).ca_dir(), Some(Path::new("/named")));
    }
}
