//! An aCT server in small, for tests and the demo.

pub mod pki;
pub mod tls;
