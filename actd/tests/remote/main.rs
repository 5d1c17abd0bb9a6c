//! The remote clients against servers that share no type with them, each a process of its own.

mod harness;
#[cfg(feature = "peers")]
mod peers;
mod server;
mod staging;
