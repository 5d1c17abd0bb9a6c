//! The control API of `actd`: every method with its parameters and its reply, error codes, where the socket is, and a
//! client that connects to it.
//!
//! This crate is the whole contract between the daemon and its users. It holds no logic of the daemon and no words of
//! the command line. `PROTOCOL.md` beside it says the same for people who write clients in other languages.

pub mod client;
pub mod daemon;
pub mod dirs;
pub mod error;
pub mod events;
pub mod instance;
pub mod jobs;
pub mod method;
pub mod openrpc;
pub mod paths;
pub mod proxy;
pub mod server;
pub mod start;
pub mod xrsl;

pub use client::{Client, ConnectError};
pub use error::{ApiError, Code, ErrorData, Kind};
pub use instance::{Instance, Paths};
pub use method::{ALL, Method, MethodInfo};

/// The version of the protocol. A client and a daemon whose numbers differ do not work together; `daemon.hello` says so.
pub const PROTOCOL: u32 = 1;

/// The largest message that either side accepts, in bytes.
pub const MAX_MESSAGE: u32 = 16 << 20;

/// The most jobs that one page of a list holds.
pub const MAX_PAGE: usize = 10_000;

/// The most selector terms that a call which changes jobs takes.
pub const MAX_SELECTORS: usize = 1_000;

/// A moment in RFC 3339, UTC, with at most milliseconds: `2026-11-22T15:04:05.123Z`.
pub type Timestamp = String;
