//! The aCT token: a JWT of which we read two claims, and its file, which act-client 1.0.0 shares.
//! The signature is the server's business: nothing here decides whether a token is genuine.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::fsutil::write_atomic;
use crate::secret::Secret;

/// Longest token; real ones have about 130 bytes.
const MAX_TOKEN: u64 = 16 * 1024;

/// Why there is no usable token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("cannot read the token file {}: {why}", .path.display())]
    Unreadable { path: PathBuf, why: String },
    #[error("cannot write the token file {}: {why}", .path.display())]
    Unwritable { path: PathBuf, why: String },
    #[error("the token is damaged: {0}")]
    Damaged(&'static str),
}

/// A token and what it says about itself.
#[derive(Debug, Clone)]
pub struct Token {
    secret: Secret,
    proxyid: u64,
    expires: Option<SystemTime>,
}

#[derive(Deserialize)]
struct Claims {
    proxyid: Number,
    #[serde(default)]
    exp: Option<Number>,
}

/// A number, possibly as a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Int(u64),
    Float(f64),
    Text(String),
}

impl Number {
    fn whole(&self) -> Option<u64> {
        match self {
            Number::Int(n) => Some(*n),
            Number::Float(n) if *n >= 0.0 && *n < 9e15 => Some(*n as u64),
            Number::Float(_) => None,
            Number::Text(text) => text.parse().ok(),
        }
    }
}

impl Token {
    /// Decodes a token without verifying it. White space around it is ignored.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Damaged("it does not have three parts"));
        };
        let engine = GeneralPurpose::new(
            &URL_SAFE,
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
        );
        let decode = |part: &str| engine.decode(part).map(Zeroizing::new).ok().filter(|bytes| !bytes.is_empty());
        let (Some(_), Some(payload), Some(_)) = (decode(header), decode(payload), decode(signature)) else {
            return Err(TokenError::Damaged("it is not base64"));
        };
        let claims: Claims =
            serde_json::from_slice(&payload).map_err(|_| TokenError::Damaged("it has no readable proxyid"))?;
        let proxyid = claims.proxyid.whole().ok_or(TokenError::Damaged("its proxyid is not a number"))?;
        let expires = match claims.exp {
            None => None,
            Some(exp) => Some(
                exp.whole()
                    .and_then(|s| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(s)))
                    .ok_or(TokenError::Damaged("its end is not a time"))?,
            ),
        };
        Ok(Self { secret: Secret::new(text.to_owned()), proxyid, expires })
    }

    /// Reads a token file. Blocks. `None` if there is no file or it is empty.
    pub fn read(path: &Path) -> Result<Option<Self>, TokenError> {
        let unreadable = |why: String| TokenError::Unreadable { path: path.to_owned(), why };
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(unreadable(e.to_string())),
        };
        let meta = file.metadata().map_err(|e| unreadable(e.to_string()))?;
        if !meta.is_file() {
            return Err(unreadable("it is not a regular file".into()));
        }
        if meta.mode() & 0o077 != 0 {
            tracing::warn!(path = %path.display(), mode = format!("{:o}", meta.mode() & 0o777), "the token file can be read by others");
        }
        let mut text = Zeroizing::new(String::new());
        file.take(MAX_TOKEN + 1).read_to_string(&mut text).map_err(|e| unreadable(e.to_string()))?;
        if text.len() as u64 > MAX_TOKEN {
            return Err(TokenError::Damaged("it is too long"));
        }
        if text.trim().is_empty() { Ok(None) } else { Self::parse(&text).map(Some) }
    }

    /// Writes the token file: at once, 0600 from its creation, and without a newline at its end, on which act-client
    /// 1.0.0 fails. Directories are made, private. Blocks.
    pub fn write(&self, path: &Path) -> Result<(), TokenError> {
        let unwritable = |e: std::io::Error| TokenError::Unwritable { path: path.to_owned(), why: e.to_string() };
        if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            use std::os::unix::fs::DirBuilderExt as _;
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unwritable)?;
        }
        write_atomic(path, self.secret.expose_bytes(), 0o600).map_err(unwritable)
    }

    /// For the Authorization header of the aCT server that issued it, and nothing else.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The server's number for (DN without proxy CNs, first VOMS attribute): the identity that owns the jobs.
    pub fn proxyid(&self) -> u64 {
        self.proxyid
    }

    /// End of the token: that of the delegated proxy. `None` if it does not say.
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// Whether it has ended at `now`.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt as _;

    pub(crate) fn jwt(payload: &str) -> String {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", encode(r#"{"alg":"HS256","typ":"JWT"}"#), encode(payload), encode("signature"))
    }

    #[test]
    fn claims() {
        let token = Token::parse(&jwt(r#"{"proxyid": 109, "exp": 1795420513}"#)).expect("token");
        assert_eq!(token.proxyid(), 109);
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_420_513);
        assert_eq!(token.expires(), Some(end));
        assert!(token.is_expired(end) && !token.is_expired(end - Duration::from_secs(1)));
        assert_eq!(Token::parse(&jwt(r#"{"proxyid":"7","exp":1.5e9,"new":[]}"#)).expect("token").proxyid(), 7);
        for bad in [
            "",
            "a.b",
            "a.b.c.d",
            "!.!.!",
            &jwt("{}"),
            &jwt("5"),
            &jwt(r#"{"proxyid":-1}"#),
            &jwt(r#"{"proxyid":1,"exp":"x"}"#),
        ] {
            assert!(Token::parse(bad).is_err(), "{bad}");
        }
        assert!(!format!("{token:?}").contains("ey"));
    }

    #[test]
    fn the_file() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("share/act-client/token");
        assert!(matches!(Token::read(&path), Ok(None)));
        let text = jwt(r#"{"proxyid":1}"#);
        Token::parse(&format!("{text}\n")).expect("token").write(&path).expect("write");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
        assert_eq!(std::fs::metadata(&path).expect("stat").permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(dir.path().join("share")).expect("stat").permissions().mode() & 0o777, 0o700);
        std::fs::write(&path, format!("{text}\n")).expect("write");
        assert_eq!(Token::read(&path).expect("read").map(|t| t.proxyid()), Some(1));
        std::fs::write(&path, "x".repeat(20_000)).expect("write");
        assert!(matches!(Token::read(&path), Err(TokenError::Damaged(_))));
        assert!(matches!(Token::read(dir.path()), Err(TokenError::Unreadable { .. })));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,80}|[A-Za-z0-9_.=-]{0,80}") {
            let _ = Token::parse(&text);
        }
    }
}
