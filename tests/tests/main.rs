//! The integration tests: one program, so that it is linked once. Each module is a part of a user's day.

mod credential;
mod harness;
