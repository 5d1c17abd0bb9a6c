//! Waiting for jobs to change, also across restarts of the daemon and for more jobs than one call may name.

use std::collections::HashSet;

use act_proto::MAX_PAGE;
use act_proto::jobs::{ChangesParams, Job};
use act_proto::method::JobsChanges;

use crate::cmd::stat::halved;
use crate::ctx::Session;
use crate::failure::Failure;

/// What has been seen of a set of jobs.
#[derive(Debug)]
pub struct Watch {
    start: u64,
    rev: u64,
    window: HashSet<String>,
    /// How many jobs are watched at a time.
    size: usize,
    settled: bool,
    /// The connection that the revision is of.
    connection: Option<u64>,
}

/// What there is to tell of jobs.
#[derive(Debug, Default)]
pub struct Changes {
    /// Those that have changed, as they are now.
    pub jobs: Vec<Job>,
    /// Keys of those that are no more: another client removed them from the server.
    pub gone: Vec<String>,
}

impl Watch {
    /// Changes after this revision are news.
    #[must_use]
    pub fn since(rev: u64) -> Self {
        Self { start: rev, rev, window: HashSet::new(), size: MAX_PAGE, settled: false, connection: None }
    }

    /// The steps of a job on its way to the server are no news.
    #[must_use]
    pub fn settled(self) -> Self {
        Self { settled: true, ..self }
    }

    /// Waits until one of the jobs changes, or for a time, and gives those that have, and those that are no more. With more jobs than a call may
    /// name, the first ones are waited for until none of them is asked about any more; then the next, from the start.
    ///
    /// # Errors
    /// The daemon's error.
    pub async fn next(
        &mut self,
        session: &mut Session<'_>,
        jobs: &[String],
        timeout_ms: u64,
    ) -> Result<Changes, Failure> {
        let keys = self.keys(jobs);
        let params =
            ChangesParams { keys, since_rev: self.rev, timeout_ms, settled: self.settled, ..ChangesParams::default() };
        let before = *self.connection.get_or_insert(session.connection());
        let reply = match session.call::<JobsChanges>(&params).await {
            Err(f) if halved(&f, &mut self.size) => {
                self.window.clear();
                return Ok(Changes::default());
            }
            reply => reply?,
        };
        if session.connection() != before {
            // A daemon that was started anew, after the clock was set back, may have counted beyond ours by now.
            self.connection = Some(session.connection());
            self.start = 0;
            self.rev = 0;
        } else {
            self.rev = reply.rev;
        }
        Ok(Changes { jobs: reply.items, gone: reply.missing })
    }

    /// The jobs of this turn.
    fn keys(&mut self, jobs: &[String]) -> Vec<String> {
        let here: Vec<String> = jobs.iter().filter(|k| self.window.contains(*k)).cloned().collect();
        if !here.is_empty() {
            return here;
        }
        self.window = jobs.iter().take(self.size).cloned().collect();
        self.rev = self.start;
        jobs.iter().take(self.size).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_jobs_than_a_call_may_name_are_watched_in_turn() {
        let all: Vec<String> = (0..MAX_PAGE + 5).map(|i| format!("j{i}")).collect();
        let mut watch = Watch::since(7);
        assert_eq!(watch.keys(&all), all[..MAX_PAGE]);
        watch.rev = 100;
        assert_eq!(watch.keys(&all[MAX_PAGE - 1..]), all[MAX_PAGE - 1..MAX_PAGE]);
        assert_eq!(watch.rev, 100);
        assert_eq!(watch.keys(&all[MAX_PAGE..]), all[MAX_PAGE..]);
        assert_eq!(watch.rev, 7, "the next ones may have changed long ago");
    }
}
