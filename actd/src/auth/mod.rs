//! Credentials: the user's X.509 proxy, the aCT token made from it, and whom to trust over TLS.
//! No secret leaves these types except to be sent to where it belongs.
//!
//! * [`proxy`]: the proxy file: load, check. [`voms`]: its attribute certificate. [`sign`]: delegating it further.
//! * [`mod@delegate`]: handing a proxy to the aCT server. [`token`]: what comes back.
//! * [`actor`]: the one task that owns the credential; [`handle`]: how everybody else sees it; [`report`]: it in words.
//! * [`tls`]: CA directory, system roots, client certificate.

pub mod actor;
pub mod delegate;
mod der;
pub mod handle;
mod journal;
mod notice;
pub mod proxy;
mod renew;
pub mod report;
pub mod sign;
#[cfg(test)]
pub(crate) mod testpki;
pub mod tls;
pub mod token;
pub mod voms;

pub use delegate::{DelegateError, delegate};
pub use proxy::{Proxy, ProxyError};
pub use tls::Trust;
pub use token::{Token, TokenError};
