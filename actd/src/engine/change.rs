//! Changing jobs within a turn, and making the turn durable.

use std::sync::Arc;

use crate::job::apply::{Input, apply, sweep_later};
use crate::job::next::{Next, next};
use crate::job::{AfterClean, Job, Key, Outcome, Phase, Spec, Time};
use crate::store::StoreError;
use crate::store::record::EventRecord;
use crate::work::remove_beginning;

use super::answer::OfDelivery;
use super::events::brief;
use super::shared::is_over;
use super::{Engine, SPECS, Slot};

/// Whether nobody goes on with a download of it that was begun. What began of a job of ours that vanished from the server
/// is kept: maybe nobody has more of it.
fn is_given_up(job: &Job) -> bool {
    match job.phase {
        Phase::Cleaning { then: AfterClean::Cleaned, dir: None, .. } => true,
        Phase::Closed { outcome: Outcome::Gone, .. } => !job.is_ours(),
        Phase::Closed { .. } => true,
        _ => false,
    }
}

impl Engine {
    /// A job as it is now, with the changes of this turn.
    pub(super) fn job(&self, key: Key) -> Option<Arc<Job>> {
        match self.changed.get(&key) {
            Some((_, job)) => Some(job.clone()),
            None => self.board.read().by_key.get(&key).cloned(),
        }
    }

    /// Applies an input to a job, and sees to all that follows from the change.
    pub(super) fn apply(&mut self, key: Key, input: Input, now: Time) {
        let Some(before) = self.job(key) else { return };
        let mut after = Job::clone(&before);
        // What runs all the same counts on its files: then they stay.
        let swept = matches!(input, Input::Swept(_, Ok(())) | Input::RowCancelled(_, Ok(false)));
        let of_delivery = OfDelivery::of(&input);
        apply(&mut after, input, now);
        if swept && is_over(&after) && !after.leftovers.iter().any(|l| l.webdav.is_some()) {
            self.unshare(key);
        }
        self.keep_sweeping(&mut after, now);
        if after == *before {
            // The answer may still have freed it for the next step.
            self.schedule(key);
            return;
        }
        after.changed = now;
        self.replace(after);
        let Some(after) = self.job(key) else { return };
        if let Phase::Retrieving { parent, .. } = &before.phase
            && let Some(other) = self.begun.insert(key, parent.clone())
            && other != *parent
        {
            // Asked for elsewhere: there it begins anew.
            self.given_up.push((key, other));
        }
        if matches!(after.phase, Phase::Retrieved { .. }) {
            self.begun.remove(&key);
        } else if is_given_up(&after)
            && let Some(parent) = self.begun.remove(&key)
        {
            self.given_up.push((key, parent));
        }
        self.answer(&before, &after, of_delivery);
        self.schedule(key);
    }

    /// Removes beginnings of downloads that were given up, once nobody writes to them any more.
    pub(super) fn remove_beginnings(&mut self) {
        let flights = &self.flights;
        let (wait, due) =
            std::mem::take(&mut self.given_up).into_iter().partition(|(key, _)| flights.contains_key(key));
        self.given_up = wait;
        for (key, parent) in due {
            let instance = self.store.instance_id().to_owned();
            self.tasks.spawn_blocking(move || {
                if let Err(error) = remove_beginning(&parent, &instance, key) {
                    tracing::warn!(%key, %error, "cannot remove a download that was begun");
                }
            });
        }
    }

    /// The job's files on WebDAV are swept: it needs none any more.
    fn unshare(&mut self, key: Key) {
        if self.shared.files(key).is_some() {
            self.shared.forget(key);
            // Nothing is encoded here that could fail.
            let _ = self.batch.shared::<&str>(key, &[]);
        }
    }

    /// A job that is over is swept once more if it still counts on shared files, whatever way led there.
    pub(super) fn keep_sweeping(&self, job: &mut Job, now: Time) {
        if self.shared.files(job.key).is_some() && is_over(job) && !job.leftovers.iter().any(|l| l.webdav.is_some()) {
            sweep_later(job, now);
        }
    }

    /// Adds a job that was just submitted. That is told of also when more follows within this turn.
    pub(super) fn add(&mut self, job: Job) {
        if let Some(record) = record(None, &job) {
            self.told.push((self.next_event, record));
            self.next_event += 1;
        }
        let job = Arc::new(job);
        self.changed.insert(job.key, (Some(job.clone()), job));
    }

    /// What a job was submitted with.
    pub(super) fn spec(&self, key: Key) -> Option<Arc<Spec>> {
        self.specs.get(&key).cloned().or_else(|| self.reader.spec(key).map(Arc::new))
    }

    /// Puts a job in place of what was there.
    pub(super) fn replace(&mut self, job: Job) {
        let (key, job) = (job.key, Arc::new(job));
        match self.changed.get_mut(&key) {
            Some((_, after)) => *after = job,
            None => {
                let before = self.board.read().by_key.get(&key).cloned();
                self.changed.insert(key, (before, job));
            }
        }
    }

    /// Forgets a job that never was one of ours.
    pub(super) fn forget(&mut self, key: Key) {
        self.changed.remove(&key);
        self.unschedule(key);
        self.forgotten.push(key);
    }

    /// Files a job under what is to be done with it.
    pub(super) fn schedule(&mut self, key: Key) {
        self.unschedule(key);
        if self.flights.contains_key(&key) {
            return;
        }
        let now = Time::now();
        let policy = self.config.policy;
        let (step, parked) = match self.changed.get(&key) {
            Some((_, job)) => (next(job, now, &policy), self.is_parked(job)),
            None => {
                let Some(job) = self.board.read().by_key.get(&key).cloned() else { return };
                (next(&job, now, &policy), self.is_parked(&job))
            }
        };
        let slot = match step {
            Next::Do(action) if parked && action.needs_credential() => return,
            Next::Do(action) => {
                self.ready.entry(action).or_default().insert(key);
                self.look_again(action, key);
                Slot::Ready(action)
            }
            Next::Wait(at) => {
                self.due.insert((at, key));
                Slot::Due(at)
            }
            Next::Nothing => return,
        };
        self.slots.insert(key, slot);
    }

    pub(super) fn unschedule(&mut self, key: Key) {
        match self.slots.remove(&key) {
            Some(Slot::Ready(action)) => {
                if let Some(set) = self.ready.get_mut(&action) {
                    set.remove(&key);
                }
            }
            Some(Slot::Due(at)) => {
                self.due.remove(&(at, key));
            }
            None => {}
        }
    }

    /// Belongs to another identity than the one in force: the token in force cannot touch it.
    fn is_parked(&self, job: &Job) -> bool {
        job.proxyid != 0 && job.proxyid != self.board.read().proxyid
    }

    /// Notes something that happened.
    pub(super) fn tell(&mut self, kind: &str, key: Option<Key>, text: String) {
        let record = EventRecord { at: Time::now(), kind: kind.into(), key, before: None, after: None, text };
        self.told.push((self.next_event, record));
        self.next_event += 1;
    }

    /// Makes the changes of this turn durable, then shows and tells them.
    pub(super) fn commit(&mut self) -> Result<(), StoreError> {
        if self.changed.is_empty() && self.forgotten.is_empty() && self.told.is_empty() && self.batch.is_empty() {
            return Ok(());
        }
        let mut batch = std::mem::take(&mut self.batch);
        let changed = std::mem::take(&mut self.changed);
        let forgotten = std::mem::take(&mut self.forgotten);
        let mut told = std::mem::take(&mut self.told);
        for (before, job) in changed.values() {
            batch.job(job)?;
            if let Some(mut record) = record(before.as_deref(), job) {
                // The first thing that follows from a call names it.
                if let Some((causes, named)) = self.causes.get_mut(&job.key)
                    && !std::mem::replace(named, true)
                {
                    let ids: Vec<&str> = causes.iter().map(|c| c.id()).collect();
                    record.text.push_str(&format!(" (request {})", ids.join(", ")));
                }
                told.push((self.next_event, record));
                self.next_event += 1;
            }
        }
        for key in &forgotten {
            batch.forget(*key);
        }
        for (seq, record) in &told {
            batch.event(*seq, record)?;
        }
        self.store.commit(batch)?;
        self.new_refs.clear();
        while self.specs.len() > SPECS {
            self.specs.pop_last();
        }

        let rev = {
            let mut guard = self.board.write();
            let jobs = &mut *guard;
            jobs.rev += 1;
            jobs.last_event = self.next_event - 1;
            jobs.look_at_gates();
            for (key, (before, job)) in changed {
                if !job.is_submission() {
                    self.specs.remove(&key);
                }
                if let Some(id) = before.as_ref().and_then(|b| b.id())
                    && jobs.by_id.get(&id) == Some(&key)
                {
                    jobs.by_id.remove(&id);
                }
                if job.is_history() {
                    jobs.by_key.remove(&key);
                    jobs.progress.remove(&key);
                    continue;
                }
                if let Some(id) = job.id()
                    && job.on_server()
                    && (job.proxyid == jobs.proxyid || job.proxyid == 0)
                {
                    jobs.by_id.insert(id, key);
                }
                drop(before);
                let mut job = Arc::unwrap_or_clone(job);
                job.rev = jobs.rev;
                jobs.by_key.insert(key, Arc::new(job));
            }
            for key in forgotten {
                if let Some(job) = jobs.by_key.remove(&key)
                    && let Some(id) = job.id()
                    && jobs.by_id.get(&id) == Some(&key)
                {
                    jobs.by_id.remove(&id);
                }
            }
            jobs.rev
        };
        for (seq, record) in told {
            self.events.publish(seq, record);
        }
        self.board.announce(rev);
        Ok(())
    }
}

/// The event that tells of a change; none: nothing that events tell of has changed.
fn record(before: Option<&Job>, job: &Job) -> Option<EventRecord> {
    let (was, is) = (before.map(brief), brief(job));
    (was.as_ref() != Some(&is)).then(|| EventRecord {
        at: job.changed,
        kind: "job".into(),
        key: Some(job.key),
        before: was,
        after: Some(is),
        text: describe(before, job),
    })
}

/// A change in words for people: what a line of a job's log says.
fn describe(before: Option<&Job>, job: &Job) -> String {
    let mut parts = Vec::new();
    let phase = |j: &Job| phase_words(&j.phase);
    match before {
        None => parts.push(phase(job)),
        Some(before) if phase(before) != phase(job) => parts.push(phase(job)),
        Some(_) => {}
    }
    let state = |j: &Job| {
        let arcstate = j.arcstate().word().unwrap_or("no state").to_owned();
        match j.seen.as_ref().map(|s| &*s.state).filter(|s| !s.is_empty()) {
            Some(state) => format!("{arcstate}/{state}"),
            None => arcstate,
        }
    };
    let (was, is) = (before.map(state), state(job));
    if job.seen.is_some() && was.as_ref() != Some(&is) {
        parts.push(format!("on the server: {is}"));
    }
    if let Some(why) = job.retry.why.as_deref() {
        parts.push(format!("will be tried again: {why}"));
    } else if let Some(error) = job.error.as_deref().filter(|e| !e.is_empty()) {
        parts.push(error.to_owned());
    }
    parts.join("; ")
}

fn phase_words(phase: &Phase) -> String {
    match phase {
        Phase::Queued => "queued".into(),
        Phase::Creating { .. } => "asking the server for a row".into(),
        Phase::Created { id } => format!("has row {id}"),
        Phase::Uploading { done: false, .. } => "uploading inputs".into(),
        Phase::Uploading { done: true, .. } => "inputs uploaded".into(),
        Phase::Confirming { .. } => "sending the description".into(),
        Phase::Active { id } => format!("on the server as {id}"),
        Phase::Retrieving { parent, .. } => format!("downloading results into {}", parent.display()),
        Phase::Retrieved { dir: Some(dir), .. } => format!("results complete in {}", dir.display()),
        Phase::Retrieved { dir: None, .. } => "complete: it has no result files".into(),
        Phase::Cleaning { .. } => "cleaning the server".into(),
        Phase::Stored { dir: Some(dir), .. } => format!("stored in {}, the server is clean", dir.display()),
        Phase::Stored { dir: None, .. } => "finished without result files, the server is clean".into(),
        Phase::Collecting { .. } => "delivering".into(),
        Phase::Unknown { .. } => "its row vanished while it was being confirmed: it may have run".into(),
        Phase::Closed { outcome, dir: Some(dir), .. } => format!("{}: {}", outcome.word(), dir.display()),
        Phase::Closed { outcome, .. } => outcome.word().into(),
    }
}
