//! How many requests may be under way to one server at a time, learnt from how fast it answers.
//! It must not look at what the requests are, except that transfers leave one place free for short calls.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// What kind of request wants a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// A short call: listing, mutation. Always served before transfers.
    Call,
    /// An upload or download, which may take minutes. One place is always left free of them (unless there is only one).
    Transfer,
}

/// Additive increase, multiplicative decrease on the latency of short calls. A server of one worker answers the later the
/// more is asked of it at once, and gets no more than keep it busy; one of many workers does not. Pure; see [`Limiter`] for
/// the async part.
#[derive(Debug, Clone)]
struct Aimd {
    limit: f64,
    cap: f64,
    /// Smallest latency seen, seconds; forgotten slowly so that it follows a server that became slower for good, and not one
    /// that is slow because of us.
    best: Option<f64>,
    /// The server has never been slow yet: the limit grows by one with each answer.
    is_new: bool,
}

impl Aimd {
    const START: f64 = 4.0;
    /// Up to `best * WAITS + QUICK` seconds nobody waits for others: there is room for one more.
    const WAITS: f64 = 2.0;
    const QUICK: f64 = 0.01;
    /// A latency counts as slow above `best * SLOW + SLACK` seconds.
    const SLOW: f64 = 3.0;
    const SLACK: f64 = 0.1;

    fn new(cap: usize) -> Self {
        let cap = cap.max(1) as f64;
        Self { limit: Self::START.min(cap), cap, best: None, is_new: true }
    }

    fn places(&self) -> usize {
        self.limit as usize
    }

    /// A call was answered after `latency`; `full` tells whether there were no places left (otherwise the limit was not tested).
    fn answered(&mut self, latency: Duration, full: bool) {
        let latency = latency.as_secs_f64();
        let best = self.best.map_or(latency, |best| latency.min(best * 1.000_5 + 0.000_002));
        self.best = Some(best);
        if latency > best * Self::SLOW + Self::SLACK {
            self.limit = (self.limit * 0.8).max(1.0);
            self.is_new = false;
        } else if full && latency <= best * Self::WAITS + Self::QUICK {
            let step = if self.is_new { 1.0 } else { 1.0 / self.limit };
            self.limit = (self.limit + step).min(self.cap);
        }
    }

    /// A call failed by timeout, reset, or a server error: the server has too much to do.
    fn failed(&mut self) {
        self.limit = (self.limit * 0.5).max(1.0);
        self.is_new = false;
    }
}

#[derive(Debug)]
struct State {
    aimd: Aimd,
    in_use: usize,
    transfers: usize,
    calls_waiting: VecDeque<oneshot::Sender<Place>>,
    transfers_waiting: VecDeque<oneshot::Sender<Place>>,
}

/// Adaptive limit on the requests under way to one server. Clones share the limit.
#[derive(Debug, Clone)]
pub struct Limiter {
    state: Arc<Mutex<State>>,
}

/// A place among the requests under way; given back on drop.
#[derive(Debug)]
pub struct Place {
    limiter: Limiter,
    lane: Lane,
}

impl Limiter {
    /// Starts with 4 places and never has more than `cap`.
    pub fn new(cap: usize) -> Self {
        let state = State {
            aimd: Aimd::new(cap),
            in_use: 0,
            transfers: 0,
            calls_waiting: VecDeque::new(),
            transfers_waiting: VecDeque::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Waits for a place, first come first served within a lane. Cancel safe.
    pub async fn acquire(&self, lane: Lane) -> Place {
        loop {
            let receiver = {
                let mut state = self.lock();
                let (sender, receiver) = oneshot::channel();
                match lane {
                    Lane::Call => state.calls_waiting.push_back(sender),
                    Lane::Transfer => state.transfers_waiting.push_back(sender),
                }
                receiver
            };
            self.grant();
            if let Ok(place) = receiver.await {
                return place;
            }
        }
    }

    /// Reports the time from sending a short request to its answer.
    pub fn answered(&self, latency: Duration) {
        let mut state = self.lock();
        // Transfers alone never take the last place: that some of them wait tells as much.
        let full = state.in_use >= state.aimd.places() || !state.transfers_waiting.is_empty();
        state.aimd.answered(latency, full);
    }

    /// Reports a timeout, a reset or a 5xx.
    pub fn failed(&self) {
        self.lock().aimd.failed();
    }

    /// Places at present, and how many are taken.
    #[cfg(test)]
    pub fn usage(&self) -> (usize, usize) {
        let state = self.lock();
        (state.aimd.places(), state.in_use)
    }

    /// Whether a transfer of ours is under way: it may hold the server's only worker, so a timeout now says nothing about the server.
    pub fn transferring(&self) -> bool {
        self.lock().transfers > 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is plain counters, valid after any panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands free places to those waiting. Sends outside of the lock: a receiver that is gone returns its place by Drop.
    fn grant(&self) {
        let mut ready = Vec::new();
        {
            let mut state = self.lock();
            let places = state.aimd.places();
            while state.in_use < places {
                if let Some(sender) = state.calls_waiting.pop_front() {
                    ready.push((sender, Lane::Call));
                } else if state.transfers < places.saturating_sub(1).max(1)
                    && let Some(sender) = state.transfers_waiting.pop_front()
                {
                    state.transfers += 1;
                    ready.push((sender, Lane::Transfer));
                } else {
                    break;
                }
                state.in_use += 1;
            }
        }
        for (sender, lane) in ready {
            // An abandoned waiter gets the place handed back here, and its Drop grants it to the next.
            drop(sender.send(Place { limiter: self.clone(), lane }));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut state = self.limiter.lock();
            state.in_use = state.in_use.saturating_sub(1);
            if self.lane == Lane::Transfer {
                state.transfers = state.transfers.saturating_sub(1);
            }
        }
        self.limiter.grant();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn transfers_leave_a_place_for_calls() {
        let limiter = Limiter::new(16);
        let held: Vec<Place> = futures_util::future::join_all((0..3).map(|_| limiter.acquire(Lane::Transfer))).await;
        let mut fourth = Box::pin(limiter.acquire(Lane::Transfer));
        assert!((&mut fourth).now_or_never().is_none(), "a transfer took the last place");
        let call = limiter.acquire(Lane::Call).await;
        assert_eq!(limiter.usage(), (4, 4));
        drop(call);
        assert!((&mut fourth).now_or_never().is_none());
        drop(held);
        drop(fourth.await);
        assert_eq!(limiter.usage().1, 0);
    }

    #[tokio::test]
    async fn an_abandoned_waiter_loses_no_place() {
        let limiter = Limiter::new(1);
        let held = limiter.acquire(Lane::Call).await;
        let mut gone = Box::pin(limiter.acquire(Lane::Call));
        assert!((&mut gone).now_or_never().is_none());
        let mut next = Box::pin(limiter.acquire(Lane::Call));
        assert!((&mut next).now_or_never().is_none());
        drop(gone);
        drop(held);
        drop(next.await);
        assert_eq!(limiter.usage(), (1, 0));
    }

    #[tokio::test]
    async fn transfers_alone_find_more_places() {
        let limiter = Limiter::new(8);
        let mut held = Vec::new();
        for _ in 0..8 {
            while let Some(place) = limiter.acquire(Lane::Transfer).now_or_never() {
                held.push(place);
            }
            let mut waiting = Box::pin(limiter.acquire(Lane::Transfer));
            assert!((&mut waiting).now_or_never().is_none());
            limiter.answered(Duration::from_millis(5));
        }
        assert_eq!((limiter.usage().0, held.len()), (8, 7), "one is left for calls");
    }

    #[test]
    fn a_server_of_one_worker_is_asked_no_more_than_keeps_it_busy() {
        let mut aimd = Aimd::new(17);
        aimd.answered(Duration::from_millis(5), false);
        for _ in 0..300 {
            aimd.answered(Duration::from_millis(5 * aimd.places() as u64), true);
        }
        assert!((4..8).contains(&aimd.places()), "{aimd:?}");
    }

    #[test]
    fn the_limit_follows_latency() {
        let mut aimd = Aimd::new(16);
        for _ in 0..400 {
            aimd.answered(Duration::from_millis(10), true);
        }
        assert_eq!(aimd.places(), 16);
        for _ in 0..20 {
            aimd.answered(Duration::from_millis(900), true);
        }
        assert!(aimd.places() <= 2, "{aimd:?}");
        for _ in 0..400 {
            aimd.answered(Duration::from_millis(10), false);
        }
        assert!(aimd.places() <= 2, "an untested limit does not grow");
        aimd.failed();
        aimd.failed();
        assert_eq!(aimd.places(), 1);
    }
}
