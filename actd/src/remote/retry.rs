//! When to try again: exponential backoff with full jitter, Retry-After, and a circuit breaker per host.
//! Pure: no clock, no sleep, no random source of its own; the caller passes time and seed in.

use std::time::Duration;

/// Exponential backoff with full jitter: attempt `n` (0 = first retry) waits a random time up to `base * 2^n`, at most `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Upper end of the first wait.
    pub base: Duration,
    /// Upper end of every wait that the server did not ask for.
    pub max: Duration,
}

/// Shortest wait, so that no seed makes a busy loop.
pub const MIN_WAIT: Duration = Duration::from_millis(100);
/// Longest Retry-After that is believed; a server asking for more is asked again after this.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

impl Default for Backoff {
    /// For requests to the aCT server: 1 s, 2 s, 4 s ... 5 min.
    fn default() -> Self {
        Self { base: Duration::from_secs(1), max: Duration::from_secs(300) }
    }
}

impl Backoff {
    /// How long to wait before retry number `attempt` (0 = the first). The same arguments always give the same wait.
    ///
    /// A `retry_after` is honoured as a lower bound (up to [`MAX_RETRY_AFTER`]), with the jitter on top, so that many
    /// clients that were told the same second do not come back in the same second.
    pub fn wait(&self, attempt: u32, seed: u64, retry_after: Option<Duration>) -> Duration {
        let ceiling = 2u32.checked_pow(attempt.min(31)).and_then(|f| self.base.checked_mul(f)).unwrap_or(self.max);
        let ceiling = ceiling.min(self.max).max(MIN_WAIT);
        let jitter = ceiling.mul_f64(unit(seed, attempt));
        match retry_after {
            Some(asked) => asked.min(MAX_RETRY_AFTER) + jitter.min(Duration::from_secs(30)),
            None => jitter.max(MIN_WAIT),
        }
    }
}

/// A number in [0, 1) from the seed and attempt (splitmix64).
fn unit(seed: u64, attempt: u32) -> f64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(attempt) + 1));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 11) as f64 / (1u64 << 53) as f64
}

/// What the breaker says about sending a request now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Send.
    Go,
    /// Send this one only; its outcome decides for all.
    Probe,
    /// Do not send before this much more time has passed.
    Wait(Duration),
}

/// Circuit breaker of one host. Times are durations since any fixed start, from a monotonic clock.
///
/// Closed until [`Breaker::TRIP`] failures in a row; then open for a backoff that grows with each trip; then one probe.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    failures: u32,
    trips: u32,
    open_until: Option<Duration>,
    /// When the probe was let through; cleared by its outcome.
    probing_since: Option<Duration>,
}

impl Breaker {
    /// Failures in a row that open the breaker.
    pub const TRIP: u32 = 5;
    /// A probe that has not reported for this long is taken for lost (its task was cancelled), and another is allowed.
    pub const PROBE_TIMEOUT: Duration = Duration::from_secs(120);
    const OPEN: Backoff = Backoff { base: Duration::from_secs(5), max: Duration::from_secs(300) };

    /// May a request be sent at `now`? [`Decision::Probe`] is given once per opening; report its outcome.
    pub fn check(&mut self, now: Duration) -> Decision {
        let Some(until) = self.open_until else { return Decision::Go };
        if now < until {
            return Decision::Wait(until - now);
        }
        match self.probing_since {
            Some(since) if now < since + Self::PROBE_TIMEOUT => Decision::Wait(since + Self::PROBE_TIMEOUT - now),
            _ => {
                self.probing_since = Some(now);
                Decision::Probe
            }
        }
    }

    /// A request got an answer that shows the host alive (a refusal counts too).
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A request failed for a reason that lies with the host or the network. Failures while our own transfers keep the
    /// server's only worker busy must not be reported. Returns true when this failure opened the breaker.
    pub fn failed(&mut self, now: Duration, seed: u64) -> bool {
        self.failures = self.failures.saturating_add(1);
        let was_open = self.open_until.is_some();
        if was_open && self.probing_since.is_none() {
            // A straggler that was sent before the breaker opened.
            return false;
        }
        if !was_open && self.failures < Self::TRIP {
            return false;
        }
        self.probing_since = None;
        // At least half of the step, so that "open" means something with any seed.
        let step = Self::OPEN.wait(self.trips, seed, None);
        let floor = Self::OPEN.base.saturating_mul(1 << self.trips.min(6)).min(Self::OPEN.max) / 2;
        self.open_until = Some(now + step.max(floor));
        self.trips = self.trips.saturating_add(1);
        true
    }

    /// Whether requests are being held back.
    #[cfg(test)]
    fn is_open(&self) -> bool {
        self.open_until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_wait_is_bounded_and_repeatable(attempt in 0u32..5_000, seed: u64, after in proptest::option::of(0u64..100_000)) {
            let backoff = Backoff::default();
            let after = after.map(Duration::from_secs);
            let wait = backoff.wait(attempt, seed, after);
            prop_assert_eq!(wait, backoff.wait(attempt, seed, after));
            prop_assert!(wait >= after.unwrap_or_default().min(MAX_RETRY_AFTER));
            prop_assert!(wait >= MIN_WAIT || after.is_some());
            prop_assert!(wait <= MAX_RETRY_AFTER + backoff.max);
        }

        #[test]
        fn waits_grow_to_the_ceiling(seed: u64) {
            let backoff = Backoff::default();
            let mean = |attempt| (0..200).map(|i| backoff.wait(attempt, seed.wrapping_add(i), None).as_secs_f64()).sum::<f64>() / 200.0;
            prop_assert!(mean(0) < 0.75 && mean(4) > 5.0 && mean(12) > 100.0);
        }
    }

    #[test]
    fn the_breaker_opens_probes_and_closes() {
        let s = Duration::from_secs;
        let mut breaker = Breaker::default();
        for i in 1..Breaker::TRIP {
            assert!(!breaker.failed(s(u64::from(i)), 1));
            assert_eq!(breaker.check(s(u64::from(i))), Decision::Go);
        }
        assert!(breaker.failed(s(10), 1));
        assert!(matches!(breaker.check(s(10)), Decision::Wait(w) if w >= Duration::from_millis(2_500)));
        assert!(!breaker.failed(s(10), 1), "a straggler does not extend it");
        assert_eq!(breaker.check(s(20)), Decision::Probe);
        assert!(matches!(breaker.check(s(20)), Decision::Wait(_)), "one probe only");
        assert!(breaker.failed(s(21), 1), "a failed probe opens it again");
        assert!(matches!(breaker.check(s(21)), Decision::Wait(w) if w >= s(5)), "for longer");
        assert_eq!(breaker.check(s(60)), Decision::Probe);
        assert_eq!(breaker.check(s(60) + Breaker::PROBE_TIMEOUT), Decision::Probe, "a lost probe is replaced");
        breaker.succeeded();
        assert_eq!(breaker.check(s(61)), Decision::Go);
        assert!(!breaker.is_open());
    }
}
