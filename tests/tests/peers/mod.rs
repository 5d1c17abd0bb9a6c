//! Tests that need more than the Rust toolchain: root (mounts, other uids) and the Python client `act` from PyPI. They
//! are behind the feature `peers`, which `.ci/run` sets; without what they need they fail.

mod clients;
mod disk;
mod nvim;
mod side_by_side;
mod uids;
