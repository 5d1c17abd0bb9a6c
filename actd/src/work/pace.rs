//! A cap on what is downloaded in a second, all jobs together. A slow reader would hold the server's only worker, so the
//! cap is made of short requests at full speed with pauses between them: this says how long to pause and how much to ask.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Least and most bytes of one request under a cap.
const SLICE: (u64, u64) = (64 * 1024, 8 * 1024 * 1024);

/// The cap.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes a second; 0: no cap.
    rate: AtomicU64,
    /// When what has been taken so far is paid for.
    paid_at: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(rate: Option<u64>) -> Self {
        Self { rate: AtomicU64::new(rate.unwrap_or(0)), paid_at: Mutex::new(Instant::now()) }
    }

    /// Another cap from now on. What was taken under the old one is forgiven.
    pub(super) fn set(&self, rate: Option<u64>) {
        self.rate.store(rate.unwrap_or(0), Ordering::Relaxed);
        *self.lock() = Instant::now();
    }

    fn rate(&self) -> Option<u64> {
        Some(self.rate.load(Ordering::Relaxed)).filter(|r| *r > 0)
    }

    /// The most bytes that one request may ask for; none: the whole file.
    pub(super) fn slice(&self) -> Option<u64> {
        self.rate().map(|rate| rate.clamp(SLICE.0, SLICE.1))
    }

    /// Waits until the next request may begin.
    pub(super) async fn turn(&self) {
        loop {
            let paid_at = *self.lock();
            if self.rate().is_none() || paid_at <= Instant::now() {
                return;
            }
            // In pieces: the cap may be changed meanwhile.
            tokio::time::sleep_until(paid_at.min(Instant::now() + Duration::from_secs(1))).await;
        }
    }

    /// So many bytes came.
    pub(super) fn took(&self, bytes: u64) {
        if let Some(rate) = self.rate() {
            let mut paid_at = self.lock();
            // Quiet times are not saved up.
            *paid_at = (*paid_at).max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / rate as f64);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.paid_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_is_paid_for_with_pauses() {
        let pace = Pace::new(Some(100_000));
        let start = Instant::now();
        for _ in 0..4 {
            pace.turn().await;
            pace.took(5_000);
        }
        pace.turn().await;
        assert!(start.elapsed() >= Duration::from_millis(199), "{:?}", start.elapsed());
        pace.took(100_000_000);
        let paid_at = *pace.lock();
        assert!(paid_at > Instant::now() + Duration::from_secs(990));
    }

    #[tokio::test]
    async fn without_a_cap_nothing_waits() {
        let free = Pace::new(None);
        free.took(u64::MAX);
        free.turn().await;
        assert_eq!((free.slice(), Pace::new(Some(0)).slice()), (None, None));
        assert_eq!(Pace::new(Some(1)).slice(), Some(SLICE.0));
        assert_eq!(Pace::new(Some(u64::MAX)).slice(), Some(SLICE.1));
    }
}
