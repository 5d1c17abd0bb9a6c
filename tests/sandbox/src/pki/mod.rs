//! The test PKI: an authority in a hashed directory, host, VOMS and user certificates, and proxies of every condition.
//!
//! Everything lies in one directory and is made the first time it is asked for:
//!
//! | path | what |
//! |---|---|
//! | `certificates/HASH.0`, `HASH.signing_policy`, `ca.pem` | the authority, for `X509_CERT_DIR` and `SSL_CERT_FILE` |
//! | `authority/cert.pem`, `key.pem` | the authority with its key |
//! | `host/cert.pem`, `key.pem` | the servers: `localhost`, `127.0.0.1`, `::1` |
//! | `voms/cert.pem`, `key.pem`, `vomsdir/VO/voms.localhost.lsc` | who signs VOMS attributes, for `X509_VOMS_DIR` |
//! | `users/NAME/cert.pem`, `key.pem` | the users |
//! | `proxies/` | proxies whose path the caller did not choose |
//!
//! Keys and proxies are mode 0600. It must never be used for anything but tests: nothing here is protected by a password.

mod der;
mod inspect;
mod issue;
mod proxy;
mod voms;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use openssl::pkey::PKey;
use openssl::x509::X509;

pub use inspect::{VomsAttributes, base_dn, chain_fqan, is_proxy, oneline, read_fqan, voms_attributes};
pub use issue::Credential;
pub use proxy::{Proxy, ProxyOptions, Voms};

use issue::{Purpose, Validity};

/// The names in the host certificate.
const HOST_NAMES: &[&str] = &["localhost", "127.0.0.1", "::1"];
/// The common name of the server that signs VOMS attributes.
const VOMS_HOST: &str = "voms.localhost";

/// Why the PKI could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("cannot {what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("openssl: {0}")]
    OpenSsl(#[from] openssl::error::ErrorStack),
}

/// A certificate with its key, and the PEM files that hold them.
#[derive(Clone)]
pub struct Identity {
    pub credential: Credential,
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

/// How a server's certificate is to be, so that a client's checks can be tested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerCert {
    /// Issued by the authority for this machine's loopback names.
    #[default]
    Good,
    /// For the right names, but signed with its own key.
    SelfSigned,
    /// Issued by the authority for another host.
    WrongHost,
    /// Issued by the authority for the right names, and no longer valid since yesterday.
    Expired,
}

/// A test PKI in a directory. Clones share it.
#[derive(Clone)]
pub struct Pki {
    dir: PathBuf,
    authority: Identity,
    host: Identity,
    voms: Identity,
    /// Held while something is made in the directory, so that two tasks do not make it twice.
    making: Arc<Mutex<()>>,
}

impl Pki {
    /// Opens the PKI in `dir`, and makes what is missing there.
    pub fn create(dir: &Path) -> Result<Pki, PkiError> {
        make_dir(dir)?;
        let authority = Identity::open_or(&dir.join("authority"), None, || {
            Ok(issue::authority(&format!("Sandbox CA {:06x}", fastrand::u32(..1 << 24)))?)
        })?;
        let ca = &authority.credential;
        let host = Identity::open_or(&dir.join("host"), Some(ca), || {
            let key = issue::ec_key()?;
            let subject = issue::name(Some("Hosts"), "localhost")?;
            let purpose = Purpose::Server(HOST_NAMES);
            let cert = issue::end_entity(Some(ca), &subject, &key, Validity::days(365), purpose)?;
            Ok(Credential { cert, key })
        })?;
        let voms = Identity::open_or(&dir.join("voms"), Some(ca), || {
            let key = issue::rsa_key()?;
            let subject = issue::name(Some("Hosts"), VOMS_HOST)?;
            let purpose = Purpose::Server(&[VOMS_HOST]);
            let cert = issue::end_entity(Some(ca), &subject, &key, Validity::days(365), purpose)?;
            Ok(Credential { cert, key })
        })?;
        let pki = Pki { dir: dir.to_path_buf(), authority, host, voms, making: Arc::default() };
        pki.publish_authority()?;
        Ok(pki)
    }

    /// The hashed directory of trusted authorities, what `X509_CERT_DIR` names.
    pub fn ca_dir(&self) -> PathBuf {
        self.dir.join("certificates")
    }

    /// The authority as one PEM file, for `SSL_CERT_FILE` and `curl --cacert`.
    pub fn ca_file(&self) -> PathBuf {
        self.ca_dir().join("ca.pem")
    }

    /// The authority's certificate.
    pub fn ca(&self) -> &X509 {
        &self.authority.credential.cert
    }

    /// The directory with the `.lsc` files of trusted VOMS servers, what `X509_VOMS_DIR` names.
    pub fn voms_dir(&self) -> PathBuf {
        self.dir.join("vomsdir")
    }

    /// The servers' certificate for `localhost`, `127.0.0.1` and `::1`.
    pub fn host(&self) -> &Identity {
        &self.host
    }

    /// A server certificate in the condition asked for, with its key.
    pub fn server(&self, condition: ServerCert) -> Result<Credential, PkiError> {
        let Credential { cert: good, key } = self.host.credential.clone();
        let ca = Some(&self.authority.credential);
        let subject = good.subject_name();
        let names = Purpose::Server(HOST_NAMES);
        let year = Validity::days(365);
        let cert = match condition {
            ServerCert::Good => good,
            ServerCert::SelfSigned => issue::end_entity(None, subject, &key, year, names)?,
            ServerCert::WrongHost => {
                let other = "elsewhere.example.org";
                let subject = issue::name(Some("Hosts"), other)?;
                issue::end_entity(ca, &subject, &key, year, Purpose::Server(&[other]))?
            }
            ServerCert::Expired => issue::end_entity(ca, subject, &key, Validity::days(-1), names)?,
        };
        Ok(Credential { cert, key })
    }

    /// The certificate of the user with this common name, made at the first call. Any text of 1 to 64 characters will do.
    pub fn user(&self, name: &str) -> Result<Identity, PkiError> {
        let _one_at_a_time = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let ca = &self.authority.credential;
        Identity::open_or(&self.dir.join("users").join(file_name(name)), Some(ca), || {
            let key = issue::rsa_key()?;
            let subject = issue::name(Some("Users"), name)?;
            let cert = issue::end_entity(Some(ca), &subject, &key, Validity::days(365), Purpose::User)?;
            Ok(Credential { cert, key })
        })
    }

    /// Writes the authority where relying parties look for it: by the hash of its name, with the policy file that tools
    /// of the Globus family want beside it.
    fn publish_authority(&self) -> Result<(), PkiError> {
        let dir = self.ca_dir();
        make_dir(&dir)?;
        let ca = self.ca();
        let pem = ca.to_pem()?;
        let hash = format!("{:08x}", ca.subject_name_hash());
        let policy = format!(
            "access_id_CA X509 '{}'\npos_rights globus CA:sign\ncond_subjects globus '\"/DC=org/DC=act-sandbox/*\"'\n",
            oneline(ca.subject_name())
        );
        write_file(&dir.join(format!("{hash}.0")), &pem, 0o644)?;
        write_file(&dir.join(format!("{hash}.signing_policy")), policy.as_bytes(), 0o644)?;
        write_file(&dir.join("ca.pem"), &pem, 0o644)
    }
}

impl Identity {
    /// Reads a certificate and key from `dir`; makes and stores them when they are not there, not of this authority, or
    /// at the end of their life.
    fn open_or(
        dir: &Path,
        authority: Option<&Credential>,
        make: impl FnOnce() -> Result<Credential, PkiError>,
    ) -> Result<Identity, PkiError> {
        let cert_file = dir.join("cert.pem");
        let key_file = dir.join("key.pem");
        if let Some(credential) = read_credential(&cert_file, &key_file, authority) {
            return Ok(Identity { credential, cert_file, key_file });
        }
        let credential = make()?;
        make_dir(dir)?;
        write_file(&key_file, &credential.key.private_key_to_pem_pkcs8()?, 0o600)?;
        write_file(&cert_file, &credential.cert.to_pem()?, 0o644)?;
        Ok(Identity { credential, cert_file, key_file })
    }

    /// The subject in slash form.
    pub fn dn(&self) -> String {
        oneline(self.credential.cert.subject_name())
    }
}

fn read_credential(cert: &Path, key: &Path, authority: Option<&Credential>) -> Option<Credential> {
    let cert = X509::from_pem(&fs::read(cert).ok()?).ok()?;
    let key = PKey::private_key_from_pem(&fs::read(key).ok()?).ok()?;
    let tomorrow = openssl::asn1::Asn1Time::days_from_now(1).ok()?;
    let usable = cert.public_key().is_ok_and(|public| key.public_eq(&public))
        && cert.not_after() > &*tomorrow
        && authority.is_none_or(|ca| cert.verify(&ca.key).unwrap_or(false));
    usable.then_some(Credential { cert, key })
}

/// A file name for any text: what is not a letter, digit or `-` becomes `_HH`.
fn file_name(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => out.push(char::from(byte)),
            _ => out.push_str(&format!("_{byte:02x}")),
        }
    }
    out
}

fn make_dir(path: &Path) -> Result<(), PkiError> {
    fs::create_dir_all(path).map_err(|source| PkiError::Io {
        what: "make the directory",
        path: path.to_path_buf(),
        source,
    })
}

/// Replaces a file in one step, with its mode from the start.
fn write_file(path: &Path, content: &[u8], mode: u32) -> Result<(), PkiError> {
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{:08x}.part", fastrand::u32(..)));
    let part = PathBuf::from(part);
    let write = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&part)?;
        file.write_all(content)?;
        fs::rename(&part, path)
    };
    write().map_err(|source| {
        // Best effort: the error that matters is the one being reported.
        let _ = fs::remove_file(&part);
        PkiError::Io { what: "write", path: path.to_path_buf(), source }
    })
}
