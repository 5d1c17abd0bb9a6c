//! An aCT server in small, for tests and the demo: the REST API, the state machine, and jobs that really run, with a
//! computing element and a WebDAV store beside it. It shares no code with the clients it is meant to test, and must
//! not: two readings of one API find each other's mistakes.
//!
//! In a process of its own: `act-sandbox serve --dir D --json` prints one line of JSON ([`Info`]) when it is ready, and
//! writes `D/config.yaml` (for act and actctl) and `D/proxy`. Inside a test: [`Sandbox::start`].
//!
//! What was asked of it is in a [`journal`]; what is to go wrong is told by [`fault`]s. Both, forced job states, jobs by
//! the thousand and run counts are also on the admin port, as plain JSON:
//!
//! ```sh
//! curl $ADMIN/journal?method=POST
//! curl -H 'Content-Type: application/json' $ADMIN/faults \
//!     -d '{"method": "POST", "path": "/jobs", "count": 1, "fault": {"kind": "reset", "execute": true}}'
//! curl -H 'Content-Type: application/json' $ADMIN/jobs/7/state -d '{"arcstate": "lost", "state": "Undefined"}'
//! curl -H 'Content-Type: application/json' $ADMIN/synthetic -d '{"count": 10000, "arcstate": "done"}'
//! ```

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
mod snapshot;
mod state;
pub mod synthetic;
pub mod tls;
pub mod webdav;

pub use options::{Delays, Options, Workers};
pub use sandbox::{Info, Sandbox, StartError};
