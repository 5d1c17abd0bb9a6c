//! Waiting for a condition, with a bound.

use std::thread;
use std::time::{Duration, Instant};

/// A bound that is never reached unless something is broken, also on a busy machine with two cores.
pub const LONG: Duration = Duration::from_secs(60);

/// Time between two looks.
const STEP: Duration = Duration::from_millis(25);

/// Asks `check` until it gives `Ok`, and returns that.
///
/// # Panics
/// `bound` has passed: with `what` and the last `Err`.
#[track_caller]
pub fn wait_for<T>(what: &str, bound: Duration, mut check: impl FnMut() -> Result<T, String>) -> T {
    let begin = Instant::now();
    loop {
        match check() {
            Ok(value) => return value,
            Err(last) if begin.elapsed() >= bound => panic!("waited {bound:?} for {what}; last seen: {last}"),
            Err(_) => thread::sleep(STEP),
        }
    }
}
