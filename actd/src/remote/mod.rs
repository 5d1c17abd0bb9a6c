//! Clients for the machines that actd talks to: the aCT server, WebDAV stores, and computing elements.
//! They must not keep state about jobs, retry changes, or touch the store: one call is one request (or a few reads).
//!
//! * [`act`]: the aCT server's REST API. [`Ids`] cannot be empty, so "every job" cannot be said by accident.
//! * [`webdav`]: staging inputs on a WebDAV store.
//! * [`arex`]: reading session files of a running job from its CE.
//! * [`mod@file`]: a remote file on its way here, by range, with its length verified.
//! * [`error`]: every failure carries a class that says what to do about it.
//! * [`retry`]: when to try again; [`limit`]: how many requests at a time.

pub mod act;
pub mod arex;
mod backend;
mod body;
pub mod error;
mod failure;
pub mod file;
mod http;
pub mod ids;
pub mod limit;
mod path;
pub mod retry;
#[cfg(test)]
mod testserver;
pub mod webdav;
#[cfg(test)]
mod webdav_tests;
mod wire;

pub use backend::RestTls;
pub(crate) use body::UNREADABLE;
pub use body::{InputFile, Progress};
pub use error::{AuthReason, ErrorClass, RemoteError};
pub use file::{FileRange, RemoteFile, Validator};
pub use http::Timeouts;
pub use ids::{Ids, MAX_IDS};

/// Reads arbitrary bytes as every kind of answer: the door of the fuzz target, in no other build.
#[cfg(fuzzing)]
pub fn fuzz_answers(data: &[u8]) {
    wire::fuzz(data);
    webdav::fuzz(data);
}
