//! What other servers of the sandbox may know of the jobs: a read-only view, so that the CE can serve session
//! files without knowing the rest.

use std::path::PathBuf;

/// One job as the computing element sees it.
#[derive(Debug, Clone)]
pub struct Session {
    /// The session directory; it exists while the job's row does.
    pub dir: PathBuf,
    /// The owner's DN without proxy CNs, `/DC=org/.../CN=Test User 1`.
    pub owner: String,
}

/// Read access for the CE's file server.
pub trait SessionView: Send + Sync + 'static {
    /// The job whose id at the CE (`IDFromEndpoint`, the last path segment of its `JobID`) is `id`.
    fn session(&self, id: &str) -> Option<Session>;
}
