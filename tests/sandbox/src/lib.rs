//! An aCT server in small, for tests and the demo.

pub mod ce;
pub mod front;
pub mod pki;
mod ranged;
pub mod tls;
pub mod webdav;
