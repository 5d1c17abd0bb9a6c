//! The remote clients against servers that share no type with them, each a process of its own.

mod harness;
#[cfg(feature = "peers")]
mod peers;
#[path = "../common/sandbox_program.rs"]
mod sandbox_program;
mod server;
mod staging;
