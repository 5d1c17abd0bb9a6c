//! placeholder
pub mod fsutil;
pub mod remote;
pub mod secret;
