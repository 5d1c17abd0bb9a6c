//! Reading again: a server that answers one request in three with an error still gets its work done, if a read that failed
//! is simply repeated. Only for reads; what changes something is the engine's to repeat.

use std::future::Future;
use std::time::Duration;

use crate::remote::{ErrorClass, RemoteError};

/// A read is tried so often before the work as a whole is put off.
pub(super) const TRIES: u32 = 4;

/// Before the second try; then twice, three times as long.
const PAUSE: Duration = Duration::from_millis(200);

/// The pause before the next try, after so many; none: no more tries.
pub(super) fn pause_after(tries: u32) -> Option<Duration> {
    (tries < TRIES).then(|| PAUSE * tries)
}

/// Whether another try at once may do better: the server stumbled, and did not say when to come back.
fn may_pass(error: &RemoteError) -> bool {
    match error.class() {
        ErrorClass::Server | ErrorClass::Ambiguous => true,
        ErrorClass::Transient { retry_after } => retry_after.is_none(),
        _ => false,
    }
}

/// Reads, again if need be.
pub(super) async fn reading<T, F>(mut read: impl FnMut() -> F) -> Result<T, RemoteError>
where
    F: Future<Output = Result<T, RemoteError>>,
{
    let mut tries = 1;
    loop {
        match (read().await, pause_after(tries)) {
            (Err(error), Some(pause)) if may_pass(&error) => {
                tracing::debug!(%error, tries, "reading again");
                tokio::time::sleep(pause).await;
                tries += 1;
            }
            (result, _) => return result,
        }
    }
}
