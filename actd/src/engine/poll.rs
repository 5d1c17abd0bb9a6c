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
