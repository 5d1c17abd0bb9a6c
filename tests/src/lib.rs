//! The harness of the integration tests: it starts the real programs `act-sandbox`, `actd` and `actctl` with directories
//! of their own, waits with a bound, and keeps everything when a test fails. It knows the programs only from outside:
//! command lines, files, the control API, the sandbox's admin port.
//!
//! ```no_run
//! use act_tests::{World, xrsl};
//!
//! let world = World::ready(); // a sandbox, and a user who has delegated a proxy
//! let user = &world.user;
//! user.write("in.txt", "hello\n");
//! user.write("job.xrsl", &xrsl::cat("first", "in.txt"));
//! let sub = user.actctl(&["sub", "job.xrsl"]).ok();
//! assert_eq!(sub.stdout, "Inserted job first with ID 1\n");
//! user.wait_phase("1", "stored"); // run, downloaded, verified, cleaned on the server
//! ```
//!
//! - [`World`] holds one [`Sandbox`] and one [`User`]; more users ("machines") come from [`World::machine`].
//! - Everything lies below one [`Scratch`] directory in `/tmp`. It is removed unless the test fails; then its path and
//!   the ends of its logs are printed.
//! - [`wait_for`] asks again and again until a condition holds, and panics with the last state it saw. There is no sleep
//!   in a test: whoever waits for an event waits for what the event leaves behind.
//! - Dropping a [`User`] kills every process that has its home directory in the environment, [`Sandbox`] its own.

pub mod act;
pub mod bins;
pub mod editor;
pub mod http;
pub mod net;
pub mod ran;
pub mod sandbox;
pub mod scratch;
pub mod user;
pub mod wait;
pub mod world;
pub mod xrsl;

pub use editor::Editor;
pub use ran::Ran;
pub use sandbox::Sandbox;
pub use scratch::Scratch;
pub use user::User;
pub use wait::{LONG, wait_for};
pub use world::World;
