//! The integration tests: one program, so that it is linked once. Each module is a part of a user's day.

mod bulk;
mod completion;
#[cfg(feature = "failpoints")]
mod crash;
mod credential;
mod delivery;
mod descriptions;
mod dirs;
mod doctor;
mod errors;
mod followers;
mod gets;
mod giving_up;
mod harness;
mod hooks;
mod hostile;
#[cfg(feature = "failpoints")]
mod late_results;
mod lsp;
mod main_job;
mod network;
#[cfg(feature = "failpoints")]
mod orphans;
#[cfg(feature = "peers")]
mod peers;
mod readme;
mod reload;
mod request_ids;
mod restart;
mod script;
mod secrets;
mod shared_inputs;
mod state;
mod terminal;
mod unresponsive;
mod verbs;
