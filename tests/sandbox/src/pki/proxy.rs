//! Proxy files as grid tools leave them: certificate, key in PKCS#1, then the chain up to the user's certificate.
//!
//! Builds and writes proxies in every condition a test may need. It does not decide who accepts them.

use std::path::PathBuf;
use std::time::Duration;

use openssl::x509::X509;

use super::issue::{self, Credential, Validity};
use super::{Pki, PkiError, VOMS_HOST, file_name, inspect, make_dir, voms, write_file};

/// The VOMS attributes that a proxy is to carry. Times are seconds from now, and may be negative.
#[derive(Clone, Debug)]
pub struct Voms {
    /// The virtual organisation, such as `testvo`.
    pub vo: String,
    /// Its attributes in order, such as `/testvo/Role=NULL/Capability=NULL`.
    pub fqans: Vec<String>,
    pub from: i64,
    pub until: i64,
}

/// What kind of proxy to make. Times are seconds from now, and may be negative.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// The common name of the user whose proxy it is; made when there is none yet.
    pub user: String,
    /// How many proxies lie between the key in the file and the user's certificate; at least 1. With VOMS attributes, the
    /// first one, signed by the user, carries them.
    pub levels: u8,
    pub from: i64,
    pub until: i64,
    pub voms: Option<Voms>,
    /// Where to write it; `None` for a new file in the PKI's own directory.
    pub path: Option<PathBuf>,
}

/// A proxy on disk.
#[derive(Clone, Debug)]
pub struct Proxy {
    pub path: PathBuf,
    /// The same as the file's content; it holds the private key.
    pub pem: Vec<u8>,
    /// The user's DN, without the proxy's own names.
    pub dn: String,
    /// Leaf first, up to the user's certificate; the authority is not in it.
    pub chain: Vec<X509>,
}

impl Voms {
    /// The attributes of an ordinary member of this virtual organisation, for 12 hours.
    pub fn member(vo: &str) -> Voms {
        Voms {
            vo: vo.to_owned(),
            fqans: vec![format!("/{vo}/Role=NULL/Capability=NULL")],
            from: -300,
            until: 12 * 3600,
        }
    }
}

impl Default for ProxyOptions {
    fn default() -> Self {
        ProxyOptions::of("Test User")
    }
}

impl ProxyOptions {
    /// What a user normally works with: one level, 12 hours, ordinary member of `testvo`.
    pub fn of(user: &str) -> ProxyOptions {
        ProxyOptions {
            user: user.to_owned(),
            levels: 1,
            from: -300,
            until: 12 * 3600,
            voms: Some(Voms::member("testvo")),
            path: None,
        }
    }

    /// With no attributes.
    pub fn without_voms(self) -> Self {
        ProxyOptions { voms: None, ..self }
    }

    /// With these FQANs of this virtual organisation instead.
    pub fn fqans(self, vo: &str, fqans: &[&str]) -> Self {
        let voms = Voms { fqans: fqans.iter().map(|fqan| (*fqan).to_owned()).collect(), ..Voms::member(vo) };
        ProxyOptions { voms: Some(voms), ..self }
    }

    /// With this many levels of delegation.
    pub fn levels(self, levels: u8) -> Self {
        ProxyOptions { levels, ..self }
    }

    /// Written to this file.
    pub fn path(self, path: impl Into<PathBuf>) -> Self {
        ProxyOptions { path: Some(path.into()), ..self }
    }

    /// Valid from 5 minutes ago for this long; the attributes too.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.until = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX / 2);
        if let Some(voms) = &mut self.voms {
            voms.until = self.until;
        }
        self
    }

    /// Ended an hour ago; the attributes would still hold.
    pub fn expired(self) -> Self {
        ProxyOptions { from: -13 * 3600, until: -3600, ..self }
    }

    /// Valid, but its attributes ended an hour ago.
    pub fn attributes_expired(mut self) -> Self {
        if let Some(voms) = &mut self.voms {
            voms.from = -13 * 3600;
            voms.until = -3600;
        }
        self
    }

    /// Begins in an hour.
    pub fn not_yet_valid(self) -> Self {
        ProxyOptions { from: 3600, ..self }
    }
}

impl Pki {
    /// Makes a proxy and writes it, mode 0600.
    pub fn proxy(&self, options: &ProxyOptions) -> Result<Proxy, PkiError> {
        let user = self.user(&options.user)?;
        let now = issue::now();
        let validity =
            |from: i64, until: i64| Validity { from: now.saturating_add(from), until: now.saturating_add(until) };
        let attributes = match &options.voms {
            None => None,
            Some(wanted) => {
                self.trust_voms(&wanted.vo)?;
                Some(voms::extension_content(
                    &user.credential.cert,
                    &self.voms.credential,
                    &format!("{}://{VOMS_HOST}:15000", wanted.vo),
                    &wanted.fqans,
                    validity(wanted.from, wanted.until),
                )?)
            }
        };
        let mut chain = vec![user.credential.cert.clone()];
        let mut holder = user.credential.clone();
        for level in 0..options.levels.max(1) {
            let key = issue::rsa_key()?;
            let attributes = attributes.as_deref().filter(|_| level == 0);
            let cert = issue::proxy(&holder, &key, validity(options.from, options.until), attributes)?;
            chain.insert(0, cert.clone());
            holder = Credential { cert, key };
        }
        let mut pem = holder.cert.to_pem()?;
        pem.extend(holder.key.rsa()?.private_key_to_pem()?);
        for cert in &chain[1..] {
            pem.extend(cert.to_pem()?);
        }
        let path = match &options.path {
            Some(path) => path.clone(),
            None => {
                let dir = self.dir.join("proxies");
                make_dir(&dir)?;
                let name = format!("{}-{:08x}.pem", file_name(&options.user), fastrand::u32(..));
                dir.join(name)
            }
        };
        write_file(&path, &pem, 0o600)?;
        Ok(Proxy { path, pem, dn: user.dn(), chain })
    }

    /// Tells VOMS-aware tools that our server may sign for this virtual organisation.
    fn trust_voms(&self, vo: &str) -> Result<(), PkiError> {
        let dir = self.voms_dir().join(file_name(vo));
        make_dir(&dir)?;
        let names = format!("{}\n{}\n", self.voms.dn(), inspect::oneline(self.ca().subject_name()));
        write_file(&dir.join(format!("{VOMS_HOST}.lsc")), names.as_bytes(), 0o644)
    }
}
