//! Tests that need more than the Rust toolchain: root (mounts, other uids), the Python client `act` from PyPI, editors. They
//! are behind the feature `peers`, which `.ci/run` sets; without what they need they fail.

mod apache;
mod clients;
mod deaf;
mod disk;
#[cfg(feature = "editors")]
mod emacs;
mod nvim;
mod proxies;
mod shells;
mod side_by_side;
mod tls;
mod top;
mod uids;
#[cfg(feature = "editors")]
mod vscode;
