//! The engine's clock. All it waits for is a moment of the system's clock, and that may be set back: then nothing may stand
//! still for as long as it was set back, and no older list may look like a younger one.

use std::sync::Arc;

use crate::job::recover::clock_set_back;
use crate::job::{Job, Time};

use super::Engine;

impl Engine {
    /// This moment. If the clock has been set back since the last one, all that waits is put right before.
    pub(super) fn now(&mut self) -> Time {
        let now = Time::now();
        if now < self.latest {
            tracing::warn!(by_ms = self.latest.since(now), "the clock was set back");
            self.set_back(now);
        }
        self.latest = now;
        now
    }

    /// What lies ahead of `now` was meant by another clock.
    pub(super) fn set_back(&mut self, now: Time) {
        self.poll.set_back(now);
        self.held_back = None;
        let jobs: Vec<Arc<Job>> = {
            let mut jobs = self.board.write();
            if let Some((_, until)) = &mut jobs.gates.server {
                *until = now.min(*until);
            }
            for (_, until) in jobs.gates.disks.values_mut() {
                *until = now.min(*until);
            }
            jobs.by_key.values().cloned().collect()
        };
        let all = self.touched.values_mut().chain(self.left.values_mut());
        let since = [&mut self.confirm_since, &mut self.clean_since, &mut self.company].into_iter().flatten();
        for at in all.chain(since).chain([&mut self.pruned]) {
            *at = now.min(*at);
        }
        // When rows were seen does not tell any more how long ago that was.
        self.empty_at.clear();
        self.hunt.set_back(now);
        for waiter in &mut self.waiters {
            waiter.set_back(now);
        }
        for job in jobs {
            let Some(job) = self.job(job.key) else { continue };
            let mut settled = Job::clone(&job);
            clock_set_back(&mut settled, now);
            if settled != *job {
                let key = settled.key;
                self.replace(settled);
                self.schedule(key);
            }
        }
    }
}
