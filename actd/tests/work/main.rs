//! The daemon's hands against a real sandbox process: what is sent, what comes to lie on the disk, and what happens when
//! either side breaks off.

mod bed;
#[cfg(feature = "failpoints")]
mod crash;
mod deliver;
mod download;
mod manage;
#[path = "../common/sandbox_program.rs"]
mod sandbox_program;
mod submit;
