//! Who we are to an aCT server. It holds no secret.

use std::fmt;

use super::{Proxy, Token};

/// The owner of jobs on a server. Two tokens are the same identity if server and `proxyid` are; DN and attribute are
/// labels for people, known when the proxy was at hand.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Origin of the server: scheme, host and port.
    pub server: String,
    /// The server's number for this user and VOMS attribute.
    pub proxyid: u64,
    /// The user's certificate subject.
    pub dn: Option<String>,
    /// First VOMS attribute.
    pub fqan: Option<String>,
}

impl Identity {
    /// The identity of a token on the server at `origin`. `proxy` is the one that the token was made from, if it is known to be.
    pub fn new(origin: &str, token: &Token, proxy: Option<&Proxy>) -> Self {
        Self {
            server: origin.to_owned(),
            proxyid: token.proxyid(),
            dn: proxy.map(|p| p.dn().to_owned()),
            fqan: proxy.and_then(|p| p.voms()).and_then(|v| v.fqans.first().cloned()),
        }
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.server == other.server && self.proxyid == other.proxyid
    }
}

impl Eq for Identity {}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.dn, &self.fqan) {
            (Some(dn), Some(fqan)) => write!(f, "{dn} ({fqan})"),
            (Some(dn), None) => f.write_str(dn),
            _ => write!(f, "proxy {} on {}", self.proxyid, self.server),
        }
    }
}
