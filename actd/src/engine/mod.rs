//! The engine: the one task that owns all jobs, and what others may ask of it.

pub mod board;
pub mod convert;
pub mod events;
pub mod handle;
pub mod operations;
