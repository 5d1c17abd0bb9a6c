//! What the daemon remembers of its credential across restarts, in one small file of the state directory: whose proxy was
//! delegated, whether a delegation was begun, and which proxy file the user chose. No secret is in it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::notice::Seen;
use crate::fsutil::write_atomic;

/// The record. Fields that a later version adds are skipped by an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Journal {
    /// A delegation was begun and its end is not known: the server may be without a usable proxy.
    pub open: bool,
    /// The user delegated to this server at least once: it may be done again without asking.
    pub consent: bool,
    /// The proxy file that the user named with `proxy`, if it is not the configured one.
    pub path: Option<PathBuf>,
    /// The configured one of that time.
    pub instead_of: Option<PathBuf>,
    /// The user's name in the proxy that was delegated last.
    pub dn: Option<String>,
    /// Its first VOMS attribute.
    pub fqan: Option<String>,
    /// The end that the user was told of.
    pub seen: Seen,
}

impl Journal {
    /// Reads it; no file, or one that cannot be read, is an empty one: all it costs is a question more.
    pub(super) fn read(state: &Path) -> Self {
        let text = match std::fs::read_to_string(file(state)) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Self::default(),
            Err(e) => {
                tracing::warn!("{}: {e}", file(state).display());
                return Self::default();
            }
        };
        serde_json::from_str(&text).unwrap_or_else(|e| {
            tracing::warn!("{} cannot be read: {e}", file(state).display());
            Self::default()
        })
    }

    /// Goes by this configured proxy file from now on: if it is another one than the user named theirs instead of, that is
    /// their last word.
    pub(super) fn is_configured(&mut self, proxy: &Path) {
        let known = [&self.instead_of, &self.path];
        if self.instead_of.is_some() && known.iter().all(|path| path.as_deref() != Some(proxy)) {
            (self.path, self.instead_of) = (None, None);
        }
    }

    /// Writes it, durably.
    pub(super) fn write(&self, state: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        write_atomic(&file(state), text.as_bytes(), 0o600)
    }
}

fn file(state: &Path) -> PathBuf {
    state.join("credential.json")
}
