//! The remote clients against servers that share no type with them, each a process of its own.

mod harness;
mod server;
mod staging;
