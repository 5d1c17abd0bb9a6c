//! Rows that lost requests of ours may have left on the server: noted when an answer is lost, looked for in each list,
//! cancelled when it is certain whose they are. They never run; they are only not tidy.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use tokio_util::sync::CancellationToken;

use crate::job::apply::IN_FLIGHT_MS;
use crate::job::orphan::LostPost;
use crate::job::{Arcstate, Key, Phase, ServerId, Time};
use crate::store::StoreError;
use crate::work::{BATCH, Hunt, Listing, Work};

use super::Engine;
use super::plan::Planned;

/// More lost requests than this are not remembered: a server that loses so many answers has other troubles.
const MOST_LOST: usize = 1_000;

/// What is being done about orphans.
#[derive(Debug, Default)]
pub(super) struct Hunting {
    /// Rows of the last list that nobody has looked at yet.
    suspects: BTreeSet<ServerId>,
    /// Rows that were looked at and are not certainly ours. What they are does not change.
    left: HashSet<ServerId>,
    is_out: bool,
    skew_ms: i64,
}

impl Engine {
    /// Those of the jobs whose request for a row is out.
    pub(super) fn creating(&self, keys: impl Iterator<Item = Key>) -> Vec<Key> {
        keys.filter(|key| self.job(*key).is_some_and(|j| matches!(j.phase, Phase::Creating { .. }))).collect()
    }

    /// Notes that rows of ours may be on the server that nobody knows the ids of: what these jobs had asked for.
    pub(super) fn note_lost_posts(&mut self, keys: &[Key], now: Time) -> Result<(), StoreError> {
        let mut posts: BTreeMap<(ServerId, Time, Vec<String>, i64), u32> = BTreeMap::new();
        for key in keys {
            let Some(job) = self.job(*key) else { continue };
            let Phase::Creating { floor, at } = job.phase else { continue };
            let clusters = self.reader.spec(*key).map(|spec| spec.clusters).unwrap_or_default();
            *posts.entry((floor, at, clusters, job.proxyid)).or_default() += 1;
        }
        for ((floor, sent, clusters, proxyid), rows) in posts {
            let lost = LostPost { floor, sent, lost: now, rows, clusters, proxyid };
            self.batch.lost_post(self.next_lost, &lost)?;
            self.lost.insert(self.next_lost, lost);
            self.next_lost += 1;
        }
        while self.lost.len() > MOST_LOST
            && let Some((number, _)) = self.lost.pop_first()
        {
            self.batch.settled_post(number);
        }
        Ok(())
    }

    /// Looks through a list for rows that may be of lost requests: above the highest id before the first of those, without
    /// a description, and not `ours`, as far as anybody knows.
    pub(super) fn suspect(&mut self, listing: &Listing, ours: &HashSet<ServerId>, now: Time) {
        self.hunt.skew_ms = listing.skew_ms;
        let proxyid = self.board.read().proxyid;
        let floor = self.lost.values().filter(|lost| lost.proxyid == proxyid).map(|lost| lost.floor).min();
        let suspects: BTreeSet<ServerId> = match floor {
            // The rows of a request that is out now look the same until its answer comes.
            Some(_) if self.is_creating() => return,
            Some(floor) => {
                let jobs = self.board.read();
                let is_ours = |id: &ServerId| {
                    ours.contains(id)
                        || jobs.by_id.get(id).and_then(|key| jobs.by_key.get(key)).is_some_and(|job| job.is_ours())
                };
                let empty = listing.rows.values().filter(|row| row.name.is_none() && row.arcstate == Arcstate::None);
                empty.map(|row| row.id).filter(|id| *id > floor && !is_ours(id)).collect()
            }
            None => BTreeSet::new(),
        };
        let age = self.config.orphans_ms;
        let is_settled = |lost: &LostPost| {
            lost.proxyid == proxyid && lost.is_settled(now, age, suspects.range(lost.floor + 1..).next().is_some())
        };
        let settled: Vec<u64> = self.lost.iter().filter(|(_, lost)| is_settled(lost)).map(|(n, _)| *n).collect();
        for number in settled {
            self.lost.remove(&number);
            self.batch.settled_post(number);
        }
        self.hunt.left.retain(|id| suspects.contains(id));
        self.board.write().orphans = suspects.iter().copied().collect();
        self.hunt.suspects = suspects.difference(&self.hunt.left.iter().copied().collect()).copied().collect();
    }

    fn is_creating(&self) -> bool {
        self.board.read().by_key.values().any(|job| matches!(job.phase, Phase::Creating { .. }))
    }

    /// The next look at suspects, if any is due.
    pub(super) fn plan_hunt(&mut self, now: Time) -> Option<Planned> {
        if self.hunt.is_out || self.hunt.suspects.is_empty() {
            return None;
        }
        let (age_ms, proxyid) = (self.config.orphans_ms, self.board.read().proxyid);
        let due = |lost: &&LostPost| lost.proxyid == proxyid && lost.is_due(now, age_ms);
        let posts: Vec<LostPost> = self.lost.values().filter(due).cloned().collect();
        if posts.is_empty() {
            return None;
        }
        let ids: Vec<ServerId> = self.hunt.suspects.iter().take(BATCH).copied().collect();
        self.hunt.suspects.retain(|id| !ids.contains(id));
        self.hunt.is_out = true;
        let work = Work::CancelOrphans(Hunt { posts, ids, skew_ms: self.hunt.skew_ms, age_ms });
        let cancel = CancellationToken::new();
        Some(Planned { actions: Vec::new(), work, cancel, causes: crate::call::none() })
    }

    /// What came of it. What failed is tried again after the next list.
    pub(super) fn hunted(&mut self, gone: &[ServerId], left: Vec<ServerId>) {
        self.hunt.is_out = false;
        // Young ones may be certain later.
        let (now, old_ms) = (Time::now(), self.config.orphans_ms.saturating_add(IN_FLIGHT_MS));
        if self.lost.values().all(|lost| lost.is_due(now, old_ms)) {
            self.hunt.left.extend(left);
        }
        if !gone.is_empty() {
            let ids: Vec<String> = gone.iter().map(ToString::to_string).collect();
            let text = format!("cancelled unused rows that lost requests had left: {}", ids.join(", "));
            tracing::info!("{text}");
            self.tell("server", None, text);
            self.poll.now();
        }
    }
}
