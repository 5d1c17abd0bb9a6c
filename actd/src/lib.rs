//! `actd` keeps a user's jobs on an aCT server: submits each exactly once, downloads what finishes, cleans up behind
//! itself. The map of the code is `ARCHITECTURE.md` beside this package.

pub mod auth;
pub mod config;
pub mod engine;
pub mod failpoint;
pub mod fsutil;
pub mod job;
pub mod remote;
pub mod secret;
pub mod store;
pub mod work;
