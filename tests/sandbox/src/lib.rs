//! An aCT server in small, for tests and the demo: the REST API, the state machine, and jobs that really run. It
//! shares no code with the clients it is meant to test.

mod admin;
pub mod ce;
mod desc;
pub mod fault;
pub mod front;
pub mod journal;
mod listen;
pub mod options;
pub mod pki;
mod ranged;
mod rest;
mod run;
mod sandbox;
mod shared;
mod state;
pub mod synthetic;
pub mod tls;
pub mod webdav;

pub use options::{Delays, Options, Workers};
pub use sandbox::{Info, Sandbox, StartError};
