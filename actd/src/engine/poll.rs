//! When the server's list is read: one list for everybody, often while things change, seldom when they do not.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::call::{self, Causes};
use crate::job::Time;

/// Lists that somebody asks for explicitly come no closer to each other than this, milliseconds.
const LEAST_GAP_MS: i64 = 1_000;

/// So long after somebody looked the list is kept fresh, milliseconds.
const ATTENTION_MS: i64 = 30_000;

/// The state of polling.
pub(super) struct Poll {
    shortest: i64,
    longest: i64,
    interval: i64,
    /// When the last list was asked for.
    started: Time,
    /// When the last complete list was asked for.
    complete: Option<Time>,
    wanted: bool,
    attention: Time,
    pub(super) in_flight: bool,
    /// The clock was set back while the list was on its way.
    is_void: bool,
    waiting: Vec<(Time, oneshot::Sender<()>)>,
    /// The calls that the next list is read for.
    causes: Causes,
    /// Who has what they waited for once this turn is over: before, the board does not show it.
    answered: Vec<oneshot::Sender<()>>,
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Poll {
    pub(super) fn new((shortest, longest): (Duration, Duration)) -> Self {
        let shortest = millis(shortest).max(100);
        Self {
            shortest,
            longest: millis(longest).max(shortest),
            interval: shortest,
            started: Time::default(),
            complete: None,
            wanted: true,
            attention: Time::default(),
            in_flight: false,
            is_void: false,
            waiting: Vec::new(),
            causes: call::none(),
            answered: Vec::new(),
        }
    }

    /// Other times between two lists from now on.
    pub(super) fn set_times(&mut self, (shortest, longest): (Duration, Duration)) {
        self.shortest = millis(shortest).max(100);
        self.longest = millis(longest).max(self.shortest);
        self.interval = self.interval.clamp(self.shortest, self.longest);
    }

    /// Those to tell now that what the last list said is on the board.
    pub(super) fn answered(&mut self) -> Vec<oneshot::Sender<()>> {
        std::mem::take(&mut self.answered)
    }

    /// When the next list is due. Nothing is sent while the server's gate is closed.
    pub(super) fn next_at(&self, now: Time, gate: Option<Time>) -> Time {
        if self.in_flight {
            return now.plus(60_000);
        }
        if let Some(gate) = gate {
            return gate;
        }
        if self.wanted {
            return self.started.plus(LEAST_GAP_MS.min(self.shortest));
        }
        let interval = if now.since(self.attention) < ATTENTION_MS { self.shortest } else { self.interval };
        self.started.plus(interval)
    }

    /// The clock was set back to this: no list is fresh any more, and the next one is due.
    pub(super) fn set_back(&mut self, now: Time) {
        self.started = self.started.min(now);
        self.attention = self.attention.min(now);
        self.complete = None;
        self.wanted = true;
        self.is_void = self.in_flight;
        for (least, _) in &mut self.waiting {
            *least = now.min(*least);
        }
    }

    /// Whether the list that has come says nothing of when it was asked for.
    pub(super) fn is_void(&self) -> bool {
        self.is_void
    }

    /// A list is wanted as soon as it may be.
    pub(super) fn now(&mut self) {
        self.wanted = true;
    }

    /// Something happens: look often again.
    pub(super) fn quicken(&mut self) {
        self.interval = self.shortest;
    }

    /// Somebody wants a list that is no older than this; answered when there is one.
    pub(super) fn refresh(&mut self, max_age: Duration, now: Time, causes: &Causes, reply: oneshot::Sender<()>) {
        self.attention = now;
        let least = now.plus(-millis(max_age));
        if self.complete.is_some_and(|c| c >= least) {
            self.answered.push(reply);
            return;
        }
        if !(self.in_flight && self.started >= least) {
            self.wanted = true;
            self.causes = call::union(self.causes.iter().chain(causes.iter()));
        }
        self.waiting.push((least, reply));
    }

    /// A list is asked for now; for whom.
    pub(super) fn begun(&mut self, now: Time) -> Causes {
        self.in_flight = true;
        self.is_void = false;
        self.wanted = false;
        self.started = now;
        std::mem::replace(&mut self.causes, call::none())
    }

    /// A list came, or did not. Whoever waits is answered: with a failure there is nothing better to wait for.
    pub(super) fn ended(&mut self, complete: bool, changed: bool) {
        self.in_flight = false;
        if complete {
            self.complete = Some(self.started);
        }
        self.interval = if changed { self.shortest } else { (self.interval + self.interval / 2).min(self.longest) };
        let (started, mut later) = (self.started, Vec::new());
        for (least, reply) in self.waiting.drain(..) {
            if !complete || started >= least {
                self.answered.push(reply);
            } else {
                later.push((least, reply));
            }
        }
        self.wanted |= !later.is_empty();
        self.waiting = later;
    }

    /// Nobody gets a list for now.
    pub(super) fn give_up(&mut self) {
        self.answered.extend(self.waiting.drain(..).map(|(_, reply)| reply));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_clock_that_is_set_back_neither_delays_the_list_nor_makes_an_old_one_fresh() {
        let (later, now) = (Time(7_200_000), Time(3_600_000));
        let mut poll = Poll::new((SECOND, 60 * SECOND));
        drop(poll.begun(later));
        poll.ended(true, false);
        drop(poll.begun(later.plus(1_000)));
        poll.set_back(now);
        assert!(poll.is_void(), "the list on its way was asked for by another clock");
        poll.ended(false, false);
        poll.now();
        assert!(poll.next_at(now.plus(1_000), None) <= now.plus(1_000));
        let (reply, mut answer) = oneshot::channel();
        poll.refresh(60 * SECOND, now.plus(1_000), &call::none(), reply);
        assert!(poll.answered().is_empty(), "the list is of a time to come");
        drop(poll.begun(now.plus(1_000)));
        assert!(!poll.is_void());
        poll.ended(true, false);
        for reply in poll.answered() {
            reply.send(()).expect("somebody waits");
        }
        assert_eq!(answer.try_recv(), Ok(()));
    }
}
