//! A string that must not leak: the aCT token, a proxy's PEM text.
//! It must not be printable or serialisable; whoever needs the text asks for it by name with [`Secret::expose`].

use std::fmt;

use zeroize::Zeroizing;

/// Bytes that are wiped on drop. `Debug` prints `***`; there is deliberately no `Display`, no `Serialize`, no `PartialEq`.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes ownership of the text; its buffer is wiped when the secret is dropped.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text.into_bytes()))
    }

    /// Takes ownership of raw bytes; the buffer is wiped when the secret is dropped.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The secret as text; `None` if it is not UTF-8. Never pass the result to a log, an error or an event.
    pub fn expose(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The secret's bytes. The same warning as for [`Secret::expose`].
    pub fn expose_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Equality without an early exit, so that timing says nothing about where two secrets differ.
    pub fn same_as(&self, other: &Secret) -> bool {
        self.len() == other.len() && openssl::memcmp::eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let secret = Secret::new("eyJhbGciOi.abc.def".into());
        assert_eq!(format!("{secret:?} {:?}", Some(secret.clone())), "*** Some(***)");
        assert_eq!(secret.expose(), Some("eyJhbGciOi.abc.def"));
    }

    #[test]
    fn comparison_is_by_content() {
        let a = Secret::new("same".into());
        assert!(a.same_as(&Secret::from_bytes(b"same".to_vec())));
        assert!(!a.same_as(&Secret::new("sane".into())));
        assert!(!a.same_as(&Secret::new("same!".into())));
    }
}
