//! What follows from the server's list and from finished work.

use std::collections::HashSet;

use act_proto::jobs::Origin;

use crate::job::apply::{Input, Row, asked_for, pause};
use crate::job::fault::{Class, Fault};
use crate::job::next::Action;
use crate::job::{Arcstate, Job, Key, Phase, Seen, ServerId, Time};
use crate::work::{Done, Listing};

use super::diff::{Difference, compare};
use super::orphans::is_empty;
use super::{Engine, Finished};

/// After a full disk the next download is tried after so long, milliseconds.
const DISK_WAIT_MS: i64 = 15_000;

/// A server that does not answer is tried again after so long at most, milliseconds, unless it asks for more.
const LONGEST_GATE_MS: i64 = 60_000;

/// Jobs that become durable at a time when a list changes very many. What sled throws away for one piece lies among the jobs
/// that stay: with a thousand at a time, 10 MiB of 10,000 jobs' memory were holes that nobody could give back.
const PIECE: usize = 100;

impl Engine {
    pub(super) fn work_finished(&mut self, finished: Finished) {
        let now = self.now();
        if let Some((_, action)) = finished.actions.first()
            && let Some(n) = self.busy.get_mut(action)
        {
            *n = n.saturating_sub(1);
        }
        for (key, _) in &finished.actions {
            self.flights.remove(key);
            self.touched.insert(*key, now);
        }
        match finished.done {
            // Told apart before, see `broken`.
            Done::Outdated => {}
            Done::Listed(result) => self.listed(result, finished.generation, now),
            Done::Orphans { gone, again, fault } => {
                self.exchange(None, fault.as_ref(), finished.generation, now);
                // The commit of this turn reports a store that cannot be written.
                let _ = self.hunted(&gone, again, fault.is_some(), now);
            }
            Done::Jobs { inputs, fault } => {
                let action = finished.actions.first().map(|(_, a)| *a);
                self.found_room(&finished.actions, fault.as_ref(), now);
                self.exchange(action, fault.as_ref(), finished.generation, now);
                let unanswered = |i: &Input| matches!(i, Input::Created(Err(f)) if f.class == Class::Ambiguous);
                let lost = inputs.iter().filter(|(_, i)| unanswered(i)).map(|(key, _)| *key);
                let lost = self.creating(lost);
                // The commit of this turn reports a store that cannot be written.
                let _ = self.note_lost_posts(&lost, now);
                for (key, input) in inputs {
                    self.drop_shadow(&input, key);
                    if let Input::Columns(columns) = input {
                        self.keep_columns(key, &columns);
                        continue;
                    }
                    self.apply(key, input, now);
                }
                self.poll.quicken();
            }
        }
        for (key, _) in &finished.actions {
            self.board.write().progress.remove(key);
            self.schedule(*key);
            self.perhaps_at_rest(*key);
        }
    }

    /// Only of jobs that stay in `stat` after their row is gone.
    fn keep_columns(&mut self, key: Key, columns: &serde_json::Map<String, serde_json::Value>) {
        let stays = self
            .job(key)
            .is_some_and(|j| matches!(j.phase, Phase::Cleaning { then: crate::job::AfterClean::Store, .. }));
        if stays {
            self.batch.columns(key, columns);
        }
    }

    /// A row that a list showed before the server's answer told us that it is ours was taken for somebody else's.
    fn drop_shadow(&mut self, input: &Input, key: Key) {
        let Input::Created(Ok(id)) = input else { return };
        let shown = self.board.read().by_id.get(id).copied();
        let just_now = self.changed.values().find(|(_, j)| j.on_server() && j.id() == Some(*id)).map(|(_, j)| j.key);
        for shadow in [shown, just_now].into_iter().flatten() {
            if shadow != key && self.job(shadow).is_some_and(|j| j.origin == Origin::Foreign) {
                self.forget(shadow);
            }
        }
    }

    /// What a download tells about the disk that it went to. Another disk may have room.
    fn found_room(&mut self, actions: &[(Key, Action)], fault: Option<&Fault>, now: Time) {
        let Some((key, Action::Retrieve)) = actions.first() else { return };
        let place = self.job(*key).and_then(|job| match &job.phase {
            Phase::Retrieving { parent, .. } => Some(parent.clone()),
            // The list took it out of that meanwhile.
            _ => self.begun.get(key).cloned(),
        });
        let Some(place) = place else { return };
        let changed = match fault {
            None => self.board.write().gates.disks.remove(&place).is_some(),
            Some(fault) if fault.class == Class::DiskFull => {
                let closed = (fault.why.clone(), now.plus(DISK_WAIT_MS));
                self.board.write().gates.disks.insert(place, closed);
                true
            }
            Some(_) => false,
        };
        if changed {
            self.held_back = None;
        }
    }

    /// What an exchange as a whole tells about server and credential.
    fn exchange(&mut self, action: Option<Action>, fault: Option<&Fault>, generation: u64, now: Time) {
        let server = action.is_none_or(Action::needs_server);
        match fault.map(|f| f.class) {
            None => {
                if server {
                    self.server_answered();
                }
            }
            Some(Class::Auth) => {
                // Told once; further results of the same credential change nothing.
                let _ = self.rejected.try_send(generation);
            }
            // One upload or download that fails says little about the server as a whole.
            Some(Class::Transient | Class::Ambiguous)
                if server && !matches!(action, Some(Action::Upload | Action::Retrieve)) =>
            {
                if let Some(fault) = fault {
                    self.server_failed(fault, now);
                }
            }
            Some(_) => {}
        }
    }

    fn server_answered(&mut self) {
        self.server_failures = 0;
        let was = self.board.write().gates.server.take();
        if was.is_some() {
            self.tell("server", None, "the server answers again".into());
        }
    }

    fn server_failed(&mut self, fault: &Fault, now: Time) {
        self.server_failures = self.server_failures.saturating_add(1);
        let own = pause(self.server_failures, fault, 1).min(LONGEST_GATE_MS);
        let pause = own.max(asked_for(fault));
        let first = {
            let mut jobs = self.board.write();
            let first = jobs.gates.server.is_none();
            jobs.gates.server = Some((fault.why.clone(), now.plus(pause)));
            first
        };
        if first {
            self.tell("server", None, fault.why.clone());
        }
        self.poll.now();
    }

    fn listed(&mut self, result: Result<Listing, Fault>, generation: u64, now: Time) {
        let listing = match result {
            Ok(listing) => listing,
            Err(fault) => {
                self.exchange(None, Some(&fault), generation, now);
                self.poll.ended(false, false);
                return;
            }
        };
        self.server_answered();
        let same = generation == self.taken && generation == self.credential.borrow().generation;
        if !same || self.poll.is_void() {
            // Another identity's list, perhaps; or of a moment that nothing can be compared with any more.
            self.poll.ended(false, false);
            self.poll.now();
            return;
        }
        let changed = self.merge(&listing, now);
        self.poll.ended(true, changed);
    }

    /// Holds the list against what we know. Says whether anything was new.
    fn merge(&mut self, listing: &Listing, now: Time) -> bool {
        // A download that is under way finds out by itself, and may have all by now.
        let unproven =
            |key: Key| self.flights.contains_key(&key) || self.touched.get(&key).is_some_and(|t| *t >= listing.sent);
        let Difference { news, strangers } = compare(&self.board.read(), &listing.rows, unproven);
        // Only what is younger than a list can make it unproven.
        self.touched.retain(|_, at| now.since(*at) < 600_000);
        let changed = !news.is_empty() || !strangers.is_empty();
        // What the first list shows may have been there for long.
        let is_first = self.board.read().as_of.is_none();
        // Rows of jobs that have changed in this very turn are not on the board yet, but they are known.
        let mut ours = self.known_rows();
        for (key, input) in news {
            if !self.write_piece() {
                return changed;
            }
            if matches!(input, Input::Missing { .. }) && self.job(key).is_some_and(|j| is_vanished_stranger(&j)) {
                self.forget(key);
                self.tell("job", Some(key), "it is gone from the server".into());
                continue;
            }
            if matches!(input, Input::Listed(_)) && self.is_outdated(key, listing.sent) {
                continue;
            }
            let input = self.with_evidence(key, input, listing.sent, now);
            self.apply(key, input, now);
            self.stop_useless_download(key);
        }
        ours.extend(self.known_rows());
        self.left.retain(|_, at| now.since(*at) < 600_000);
        if !is_first && strangers.iter().any(|id| listing.rows.get(id).is_some_and(|row| !is_empty(row))) {
            self.note_company(now);
        }
        self.strangers(listing, strangers, &ours, now);
        self.suspect(listing, &ours);
        self.board.write().as_of = Some(listing.sent);
        changed
    }

    /// What is being downloaded of the job is of another run by now, or gone, or not what is wanted any more.
    pub(super) fn stop_useless_download(&self, key: Key) {
        if let Some(flight) = self.flights.get(&key)
            && flight.action == Action::Retrieve
            && !self.job(key).is_some_and(|j| matches!(j.phase, Phase::Retrieving { .. }))
        {
            flight.cancel.cancel();
        }
    }

    /// The server has answered a request about this job after the list was asked for: it may show the job as it was before
    /// that, failed though it is to run again. The next list is soon.
    fn is_outdated(&self, key: Key, sent: Time) -> bool {
        self.touched.get(&key).is_some_and(|at| *at >= sent)
            && self.job(key).is_some_and(|job| {
                // That it is there at all is news if one list lacked it.
                matches!(job.phase, Phase::Active { .. }) && job.seen.is_some() && job.missing == 0
            })
    }

    /// What the lists before this one add to what it says about a job.
    fn with_evidence(&mut self, key: Key, input: Input, sent: Time, now: Time) -> Input {
        let Some(job) = self.job(key) else { return input };
        match &input {
            Input::Listed(row) if job.origin == Origin::Foreign => {
                if job.name.is_none() && *job.arcstate() == Arcstate::None && !is_empty(row) {
                    self.note_company(now);
                }
                input
            }
            Input::Listed(row) if matches!(job.phase, Phase::Confirming { .. }) && is_empty(row) => {
                self.empty_at.insert(key, sent);
                let is_over = job.in_flight_until > Time::default() && job.in_flight_until < sent;
                if is_over { Input::ListedUntaken(row.clone()) } else { input }
            }
            Input::Missing { .. } => Input::Missing { empty_at: self.empty_at.get(&key).copied() },
            _ => {
                self.empty_at.remove(&key);
                input
            }
        }
    }

    /// Rows that are ours although the board's index does not have them.
    fn known_rows(&self) -> HashSet<ServerId> {
        let jobs = self.board.read();
        let left = jobs.by_key.values().flat_map(|j| j.leftovers.iter().filter(|l| l.row).map(|l| l.id));
        let changed = self.changed.values().filter(|(_, j)| j.on_server()).filter_map(|(_, j)| j.id());
        left.chain(changed).collect()
    }

    /// A list may change a hundred thousand jobs, or show them for the first time: they become durable and are shown in
    /// pieces, since all at a time would be in memory several times over, in gigabytes. Says whether to go on.
    fn write_piece(&mut self) -> bool {
        if self.changed.len() >= PIECE
            && let Err(e) = tokio::task::block_in_place(|| self.commit())
        {
            self.trouble = Some(e);
        }
        self.trouble.is_none()
    }

    /// Takes over rows that nobody here knows.
    fn strangers(&mut self, listing: &Listing, mut ids: Vec<ServerId>, ours: &HashSet<ServerId>, now: Time) {
        let proxyid = self.board.read().proxyid;
        // Their keys are in the order of their ids.
        ids.sort_unstable();
        for id in ids {
            let stale = self.left.get(&id).is_some_and(|at| *at >= listing.sent);
            let Some(row) = listing.rows.get(&id).filter(|_| !stale && !ours.contains(&id)) else { continue };
            if !self.write_piece() {
                return;
            }
            self.stranger(row.clone(), proxyid, now);
        }
    }

    fn stranger(&mut self, row: Row, proxyid: i64, now: Time) {
        let key = Key(self.next_key);
        self.next_key += 1;
        self.batch.next_key(self.next_key);
        let seen = Seen {
            arcstate: row.arcstate,
            state: row.state.unwrap_or_default().into(),
            run: row.run.unwrap_or_default().into(),
            since: now,
        };
        let job = Job {
            name: row.name.map(Into::into),
            seen: Some(seen),
            ..Job::new(key, Origin::Foreign, proxyid, Phase::Active { id: row.id }, now)
        };
        self.replace(job);
        self.schedule(key);
    }
}

/// Somebody else's empty row that is gone: nothing to remember.
fn is_vanished_stranger(job: &Job) -> bool {
    job.origin == Origin::Foreign && job.name.is_none() && *job.arcstate() == Arcstate::None
}
