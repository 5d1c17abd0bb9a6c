//! Whom to trust over TLS, and with which certificate to present ourselves. Verification is always on.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslFiletype, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::store::X509Lookup;
use openssl::x509::{X509Ref, X509StoreContextRef, X509VerifyResult};

use super::Proxy;

/// Grid CAs where Linux distributions and the IGTF put them.
const SYSTEM_CA_DIR: &str = "/etc/grid-security/certificates";

/// Trust anchors: a directory of grid CAs, by hashed name, besides the roots of the system.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    ca_dir: Option<PathBuf>,
}

impl Trust {
    /// With this directory of CAs (`HASH.0` files), or with the system's roots only.
    pub fn new(ca_dir: Option<PathBuf>) -> Self {
        Self { ca_dir }
    }

    /// The directory by the customs of grid tools: `X509_CERT_DIR`; else `~/.globus/certificates` or
    /// `/etc/grid-security/certificates`, whichever exists first. `env` looks up an environment variable.
    pub fn discover(env: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let usual = || {
            let home = set("HOME").map(|home| home.join(".globus/certificates"));
            home.into_iter().chain([PathBuf::from(SYSTEM_CA_DIR)]).find(|dir| dir.is_dir())
        };
        Self { ca_dir: set("X509_CERT_DIR").or_else(usual) }
    }

    /// The CA directory, if there is one.
    pub fn ca_dir(&self) -> Option<&Path> {
        self.ca_dir.as_deref()
    }

    /// Makes builders of REST clients that trust the same authorities. reqwest takes no directory, so its certificates are
    /// read here, once: a CA that is added later is seen by the next start. What cannot be read is left out, with a
    /// warning: a server that it stands for will be refused.
    pub fn rest(&self) -> impl Fn() -> reqwest::ClientBuilder + use<> {
        let roots: Vec<reqwest::Certificate> = self.ca_dir.as_deref().map(roots).unwrap_or_default();
        move || {
            let builder =
                reqwest::Client::builder().tls_backend_native().tls_version_min(reqwest::tls::Version::TLS_1_2);
            roots.iter().cloned().fold(builder, reqwest::ClientBuilder::add_root_certificate)
        }
    }

    /// TLS settings for a client: TLS 1.2 or newer, certificate and host name verified. With `identity` the proxy and
    /// its whole chain are presented if the server asks.
    pub fn connector(&self, identity: Option<&Proxy>) -> Result<SslConnectorBuilder, ErrorStack> {
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
        if let Some(proxy) = identity {
            if proxy.is_weakly_signed() {
                // OpenSSL would refuse to present it; what servers present is held to the same strength as otherwise.
                builder.set_security_level(0);
                builder.set_cipher_list("HIGH:!aNULL:!eNULL:!MD5:!3DES")?;
                builder.set_verify_callback(SslVerifyMode::PEER, |well, context| well && is_strong(context));
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

/// Whether the certificate that is being verified is as strong as OpenSSL's security level 2 wants it: 112 bits.
fn is_strong(context: &mut X509StoreContextRef) -> bool {
    let strong = context.current_cert().is_some_and(|cert| {
        let by_itself = cert.issued(cert) == X509VerifyResult::OK;
        let key = cert.public_key().is_ok_and(|key| key.security_bits() >= 112);
        // Nobody relies on the signature of an authority on itself.
        key && (by_itself || !is_weak(cert))
    });
    if !strong {
        context.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
    }
    strong
}

/// Whether a certificate is signed with SHA-1 or worse, as proxies of older VOMS tools are.
pub(super) fn is_weak(cert: &X509Ref) -> bool {
    let digest = cert.signature_algorithm().object().nid().signature_algorithms().map(|a| a.digest);
    matches!(digest, Some(Nid::SHA1 | Nid::MD5 | Nid::MD4 | Nid::MD2))
}

/// Most CA certificates that are read, and the largest file: a grid CA directory has some hundreds of a few kilobytes.
const MAX_ROOTS: usize = 4_000;
const MAX_ROOT: u64 = 1 << 20;

/// The CA certificates of a directory: its files `HASH.N`.
fn roots(dir: &Path) -> Vec<reqwest::Certificate> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) => {
            tracing::warn!(dir = %dir.display(), error = %e, "the CA directory cannot be read");
            return Vec::new();
        }
    };
    let is_hashed = |path: &PathBuf| {
        let hash = path.file_stem().and_then(|s| s.to_str()).is_some_and(|s| s.len() == 8);
        hash && path.extension().and_then(|s| s.to_str()).is_some_and(|e| e.bytes().all(|b| b.is_ascii_digit()))
    };
    let read = |path: PathBuf| {
        let small = std::fs::metadata(&path).is_ok_and(|m| m.len() <= MAX_ROOT);
        let cert = small
            .then(|| std::fs::read(&path).ok())
            .flatten()
            .and_then(|pem| reqwest::Certificate::from_pem(&pem).ok());
        if cert.is_none() {
            tracing::warn!(path = %path.display(), "not a CA certificate that can be read");
        }
        cert
    };
    entries.filter_map(|e| Some(e.ok()?.path())).filter(is_hashed).take(MAX_ROOTS).filter_map(read).collect()
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
