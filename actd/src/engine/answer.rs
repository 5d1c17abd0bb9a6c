//! Commands, and the answers to those that wait for what comes of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use act_proto::error::{ApiError, Kind};
use act_proto::jobs::{Bulk, BulkFailure, BulkItem, OperationItem, Origin};
use tokio::sync::oneshot;

use crate::job::apply::{Input, Wish};
use crate::job::next::Action;
use crate::job::select::can_kill;
use crate::job::{AfterClean, Arcstate, Delivery, Job, Key, Outcome, Phase, Time};
use crate::store::StoreError;

use super::handle::{Command, Get, NewJob, Verb};
use super::{Engine, store_failed};

/// A call that changes jobs waits so long for the server, milliseconds.
const PATIENCE_MS: i64 = 60_000;

/// After so many failures in a row a delivery is reported as failed.
const DELIVERY_ATTEMPTS: u16 = 5;

/// A call that waits for what the server says about some jobs.
pub(super) struct Waiter {
    verb: Verb,
    pending: BTreeMap<Key, BulkItem>,
    bulk: Bulk,
    reply: oneshot::Sender<Result<Bulk, ApiError>>,
    pub(super) deadline: Time,
}

impl Waiter {
    pub(super) fn fail(self, error: ApiError) {
        // A caller that hung up needs no answer.
        let _ = self.reply.send(Err(error));
    }

    /// The clock was set back to this.
    pub(super) fn set_back(&mut self, now: Time) {
        self.deadline = self.deadline.min(now.plus(PATIENCE_MS));
    }

    fn failed(&mut self, key: Key, why: &str) {
        if let Some(job) = self.pending.remove(&key) {
            self.bulk.failed.push(BulkFailure { job, error: why.to_owned() });
        }
    }
}

fn item(job: &Job) -> BulkItem {
    BulkItem {
        key: job.key.to_string(),
        id: job.id(),
        name: job.name.as_deref().map(str::to_owned),
        arcstate: job.arcstate().word().map(str::to_owned),
    }
}

impl Engine {
    pub(super) fn command(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Submit { jobs, causes, reply } => {
                let keys = self.submit(jobs, now);
                self.caused(&causes, keys.as_deref().unwrap_or_default());
                self.reply(reply, keys);
            }
            Command::Do { verb, keys, webdav, causes, reply } => {
                self.act(verb, &keys, webdav.as_deref(), reply, now);
                self.caused(&causes, &keys);
            }
            Command::Get { get, causes, reply } => {
                let keys = get.keys.clone();
                let number = self.get(get, now);
                self.caused(&causes, &keys);
                self.reply(reply, Ok(number));
            }
            Command::CancelOperation { operation, reply } => {
                let result = self.cancel_operation(operation, now);
                self.reply(reply, result);
            }
            Command::Refresh { max_age, causes, reply } => self.poll.refresh(max_age, now, &causes, reply),
            Command::Tell { kind, text } => self.tell(kind, None, text),
            Command::Configure { config, reply } => {
                self.configure(*config);
                // A caller that hung up needs no answer.
                let _ = reply.send(());
            }
            Command::Stop { reply } => {
                for flight in self.flights.values() {
                    if matches!(flight.action, Action::Upload | Action::Retrieve | Action::Deliver) {
                        flight.cancel.cancel();
                    }
                }
                self.stopping = Some(reply);
            }
        }
    }

    /// Answers a call once this turn is durable, or says that it cannot be.
    fn reply<T: Send + 'static>(&mut self, to: oneshot::Sender<Result<T, ApiError>>, answer: Result<T, ApiError>) {
        // A caller that hung up needs no answer.
        self.replies.push(Box::new(move |durable| drop(to.send(durable.and(answer)))));
    }

    fn submit(&mut self, jobs: Vec<NewJob>, now: Time) -> Result<Vec<Key>, ApiError> {
        let failed = |e: StoreError| store_failed(&e);
        let proxyid = self.credential.borrow().proxyid.unwrap_or(0);
        let mut keys = Vec::with_capacity(jobs.len());
        for new in jobs {
            if let Some(known) = new.client_ref.as_deref().and_then(|r| self.by_client_ref(r)) {
                keys.push(known);
                continue;
            }
            let key = Key(self.next_key);
            self.next_key += 1;
            self.batch.next_key(self.next_key);
            self.batch.spec(key, &new.spec).map_err(failed)?;
            if let Some(base) = new.spec.webdav.as_deref().filter(|_| !new.contents.is_empty()) {
                let files = self.shared.join(key, base, &new.contents, self.store.instance_id());
                self.batch.shared(key, &files).map_err(failed)?;
            }
            if let Some(client_ref) = new.client_ref {
                self.batch.client_ref(&client_ref, key);
                self.new_refs.insert(client_ref, key);
            }
            let mut options = new.options;
            options.has_inputs = !new.spec.inputs.is_empty();
            self.add(Job {
                name: new.name.map(Into::into),
                batch: Some(new.batch.into()),
                webdav: new.spec.webdav.as_deref().filter(|_| options.has_inputs).map(Into::into),
                options,
                ..Job::new(key, Origin::Submitted, proxyid, Phase::Queued, now)
            });
            self.specs.insert(key, new.spec.into());
            self.schedule(key);
            keys.push(key);
        }
        Ok(keys)
    }

    /// The job that was submitted under this reference, in this turn or ever.
    fn by_client_ref(&self, client_ref: &str) -> Option<Key> {
        self.new_refs.get(client_ref).copied().or_else(|| self.reader.by_client_ref(client_ref))
    }

    fn act(
        &mut self,
        verb: Verb,
        keys: &[Key],
        webdav: Option<&str>,
        reply: oneshot::Sender<Result<Bulk, ApiError>>,
        now: Time,
    ) {
        let deadline = now.plus(PATIENCE_MS);
        let mut waiter = Waiter { verb, pending: BTreeMap::new(), bulk: Bulk::default(), reply, deadline };
        for key in keys {
            let Some(before) = self.job(*key) else { continue };
            let fits = match verb {
                Verb::Kill => can_kill(&before),
                Verb::Clean | Verb::Adopt => true,
                Verb::Fetch => *before.arcstate() == Arcstate::Failed,
                Verb::Resubmit => matches!(before.arcstate(), Arcstate::Failed | Arcstate::DoneFailed),
            };
            if !fits {
                waiter.bulk.skipped.push(item(&before));
                continue;
            }
            if let Some(flight) = self.flights.get(key)
                && matches!((verb, flight.action), (Verb::Kill, Action::Upload) | (Verb::Clean, Action::Retrieve))
            {
                flight.cancel.cancel();
            }
            let wish = match verb {
                Verb::Kill => {
                    let is_idle = !self.flights.contains_key(key);
                    Wish::Kill { webdav: webdav.map(str::to_owned), is_idle }
                }
                Verb::Clean => Wish::Clean { webdav: webdav.map(str::to_owned), is_stored: self.is_stored(&before) },
                Verb::Fetch => Wish::Fetch,
                Verb::Resubmit => Wish::Resubmit,
                Verb::Adopt => Wish::Adopt,
            };
            self.apply(*key, Input::Wish(wish), now);
            let Some(after) = self.job(*key) else { continue };
            if before.origin == Origin::Foreign && verb != Verb::Adopt {
                waiter.bulk.foreign += 1;
            }
            match outcome(verb, &before, &after) {
                Answer::Ok => waiter.bulk.ok.push(item(&before)),
                Answer::Skipped => waiter.bulk.skipped.push(item(&before)),
                Answer::Wait => {
                    waiter.pending.insert(*key, item(&before));
                }
            }
        }
        self.waiters.push(waiter);
        self.answer_ended();
    }

    fn get(&mut self, get: Get, now: Time) -> u64 {
        let least = u64::try_from(now.0).unwrap_or(0) / 1_000;
        let operation = self.operations.begin(least, &get.keys);
        for key in get.keys {
            let delivery = Delivery {
                parent: get.parent.clone(),
                use_jobname: get.use_jobname,
                noclean: get.noclean,
                copy: get.copy,
                exclude: get.exclude.clone(),
                operation,
            };
            self.apply(key, Input::Wish(Wish::Get { delivery, webdav: get.webdav.clone() }), now);
            self.stop_useless_download(key);
            let Some(job) = self.job(key) else {
                self.operation_item(operation, key, None, vec!["there is no such job any more".into()], false);
                continue;
            };
            let closed = matches!(job.phase, Phase::Closed { .. });
            let why = match &job.delivery {
                Some(delivery) if delivery.operation == operation => continue,
                Some(delivery) => format!("another get is delivering it to {}", delivery.parent.display()),
                None => match job.results() {
                    Some(dir) if !closed => format!("its results are in {} already", dir.display()),
                    _ => "it has no results to deliver".into(),
                },
            };
            let errors = if closed { Vec::new() } else { vec![why] };
            self.operation_item(operation, key, None, errors, closed);
        }
        operation
    }

    fn cancel_operation(&mut self, operation: u64, now: Time) -> Result<(), ApiError> {
        let Some(keys) = self.operations.pending(operation) else {
            return Err(ApiError::new(Kind::NoSuchOperation, format!("there is no operation o{operation}")));
        };
        for key in keys {
            let Some(job) = self.job(key) else { continue };
            // What is being cleaned or delivered is as good as done.
            let stoppable = matches!(
                job.phase,
                Phase::Active { .. }
                    | Phase::Retrieving { .. }
                    | Phase::Stored { .. }
                    | Phase::Cleaning { then: AfterClean::Store, .. }
            );
            if stoppable && job.delivery.as_ref().is_some_and(|d| d.operation == operation) {
                if let Some(flight) = self.flights.get(&key) {
                    flight.cancel.cancel();
                }
                self.operation_item(operation, key, None, vec!["cancelled".into()], false);
                self.apply(key, Input::Wish(Wish::DropGet), now);
            }
        }
        Ok(())
    }

    /// Tells whoever waits what became of a job that has just changed.
    pub(super) fn answer(&mut self, before: &Job, after: &Job, of_delivery: OfDelivery) {
        let key = after.key;
        if before.on_server()
            && !after.on_server()
            && let Some(id) = before.id()
        {
            self.left.insert(id, after.changed);
        }
        for waiter in &mut self.waiters {
            let Some(asked) = waiter.pending.get(&key) else { continue };
            let failed_again = after.retry.attempts > before.retry.attempts;
            match outcome(waiter.verb, before, after) {
                Answer::Ok => {
                    let asked = asked.clone();
                    waiter.pending.remove(&key);
                    waiter.bulk.ok.push(asked);
                }
                Answer::Skipped => {
                    let asked = asked.clone();
                    waiter.pending.remove(&key);
                    waiter.bulk.skipped.push(asked);
                }
                Answer::Wait if failed_again => {
                    waiter.failed(key, after.retry.why.as_deref().unwrap_or("it failed; it will be tried again"));
                }
                Answer::Wait => {}
            }
        }
        self.answer_ended();
        self.answer_delivery(before, after, of_delivery);
    }

    fn answer_delivery(&mut self, before: &Job, after: &Job, news: OfDelivery) {
        let Some(delivery) = &before.delivery else { return };
        let operation = delivery.operation;
        let relative = |dir: &Path| dir.strip_prefix(&delivery.parent).unwrap_or(dir).display().to_string();
        let dir = after.results().map(relative);
        match (&after.delivery, &after.phase) {
            (Some(other), _) if other.operation != operation => {
                let why = format!("another get has taken its place, into {}", other.parent.display());
                self.operation_item(operation, after.key, None, vec![why], false);
            }
            (Some(_), Phase::Cleaning { then: AfterClean::Collected, .. }) if after.retry.attempts > 0 => {
                // Delivered, and the server will be cleaned when it can be.
                self.operation_item(operation, after.key, dir, Vec::new(), false);
            }
            (Some(_), Phase::Retrieving { .. } | Phase::Collecting { .. })
                if after.retry.attempts >= DELIVERY_ATTEMPTS =>
            {
                let why = after.retry.why.as_deref().unwrap_or("it failed").to_owned();
                self.operation_item(operation, after.key, None, vec![why], false);
            }
            (Some(_), _) => {}
            (None, Phase::Closed { outcome: Outcome::Collected, .. }) => {
                self.operation_item(operation, after.key, dir, Vec::new(), true);
            }
            (None, phase) => {
                // It was delivered, and before its row was dropped somebody had the job run again.
                let run_again = matches!(before.phase, Phase::Cleaning { then: AfterClean::Collected, .. })
                    && matches!(phase, Phase::Active { .. });
                let (dir, errors) = match news {
                    // Delivered, and left on the server or in the store.
                    OfDelivery::Here(dir) => (dir.as_deref().map(relative), Vec::new()),
                    OfDelivery::Failed(why) => (None, vec![why]),
                    OfDelivery::Nothing if run_again => (dir, Vec::new()),
                    OfDelivery::Nothing => {
                        let why = after.error.as_deref().filter(|e| !e.is_empty());
                        (None, vec![why.unwrap_or("it is gone from the server").to_owned()])
                    }
                };
                self.operation_item(operation, after.key, dir, errors, false);
            }
        }
    }

    /// Tells of a job of an operation, once this turn is durable.
    fn operation_item(&mut self, operation: u64, key: Key, dir: Option<String>, errors: Vec<String>, cleaned: bool) {
        let job = self.job(key);
        let item = OperationItem {
            key: key.to_string(),
            id: job.as_ref().and_then(|j| j.id()),
            name: job.as_ref().and_then(|j| j.name.as_deref().map(str::to_owned)),
            dir,
            errors,
            cleaned,
        };
        let operations = self.operations.clone();
        self.replies.push(Box::new(move |durable| {
            if durable.is_ok() {
                operations.item(operation, key, item);
            }
        }));
    }

    /// Answers calls that wait for nothing more, once this turn is durable.
    fn answer_ended(&mut self) {
        let (ended, waiting) =
            std::mem::take(&mut self.waiters).into_iter().partition(|w: &Waiter| w.pending.is_empty());
        self.waiters = waiting;
        let ended: Vec<Waiter> = ended;
        for waiter in ended {
            self.reply(waiter.reply, Ok(waiter.bulk));
        }
    }

    /// Nothing can be sent now: whoever waits for the server is told so; what was wished for stays wished for.
    pub(super) fn fail_waiters(&mut self) {
        let why = {
            let jobs = self.board.read();
            let server = jobs.gates.server.as_ref().map(|(why, _)| why.clone());
            jobs.gates.credential.clone().or(server)
        };
        let Some(why) = why else { return };
        for waiter in &mut self.waiters {
            let keys: Vec<Key> = waiter.pending.keys().copied().collect();
            for key in keys.into_iter().filter(|k| !self.flights.contains_key(k)) {
                waiter.failed(key, &why);
            }
        }
        self.answer_ended();
    }

    pub(super) fn expire_waiters(&mut self, now: Time) {
        for waiter in self.waiters.iter_mut().filter(|w| w.deadline <= now) {
            let keys: Vec<Key> = waiter.pending.keys().copied().collect();
            for key in keys {
                waiter.failed(key, "the server has not answered yet; it stays wished for");
            }
        }
        self.answer_ended();
    }
}

/// What an input says of a delivery that it may end.
pub(super) enum OfDelivery {
    /// The results are there; none: the job had no files.
    Here(Option<PathBuf>),
    /// They cannot be brought there.
    Failed(String),
    /// Nothing.
    Nothing,
}

impl OfDelivery {
    pub(super) fn of(input: &Input) -> Self {
        match input {
            Input::Retrieved(Ok(dir)) => Self::Here(dir.clone()),
            Input::Delivered(Ok(dir)) => Self::Here(Some(dir.clone())),
            Input::Retrieved(Err(fault)) | Input::Delivered(Err(fault)) => Self::Failed(fault.why.clone()),
            Input::Wish(Wish::Clean { .. }) | Input::Discarded(_) => Self::Failed("it was cleaned".into()),
            _ => Self::Nothing,
        }
    }
}

enum Answer {
    Ok,
    Skipped,
    Wait,
}

/// What a change means to somebody who asked for `verb`.
fn outcome(verb: Verb, before: &Job, after: &Job) -> Answer {
    let closed = matches!(after.phase, Phase::Closed { .. });
    match verb {
        Verb::Kill => {
            if closed || *after.arcstate() == Arcstate::ToCancel {
                Answer::Ok
            } else if !matches!(after.phase, Phase::Active { .. }) {
                // Not on the server as a job yet: the wish is on disk and holds.
                if after.wishes.kill { Answer::Ok } else { Answer::Skipped }
            } else if !after.wishes.kill
                || (before.wishes.kill && after.retry.at > before.retry.at && after.retry.why.is_none())
            {
                Answer::Skipped
            } else {
                Answer::Wait
            }
        }
        Verb::Clean => match &after.phase {
            Phase::Closed { .. } => Answer::Ok,
            Phase::Cleaning { .. } => Answer::Wait,
            _ if after.wishes.clean => Answer::Wait,
            _ => Answer::Skipped,
        },
        Verb::Fetch if after.wishes.fetch => Answer::Wait,
        Verb::Resubmit if after.wishes.resubmit => Answer::Wait,
        Verb::Fetch if *after.arcstate() == Arcstate::ToFetch => Answer::Ok,
        Verb::Resubmit if *after.arcstate() == Arcstate::ToResubmit => Answer::Ok,
        Verb::Fetch | Verb::Resubmit => Answer::Skipped,
        Verb::Adopt if before.origin == Origin::Foreign => Answer::Ok,
        Verb::Adopt => Answer::Skipped,
    }
}
