//! The daemon as its clients see it: start and end, the socket, the framings, the limits.

mod conformance;
mod daemon;
mod framing;
mod life;
mod limits;
mod revisions;
mod subscribers;
