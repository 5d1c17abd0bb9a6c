//! Whom to trust over TLS, and with which certificate to present ourselves. Verification is always on.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslFiletype, SslMethod, SslVersion};
use openssl::x509::store::X509Lookup;

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
