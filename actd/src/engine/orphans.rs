//! Rows that lost requests of ours may have left on the server: noted when an answer is lost, looked for in each list,
//! cancelled when it is certain whose they are. They never run; they are only not tidy.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use act_proto::jobs::Origin;
use tokio_util::sync::CancellationToken;

use crate::job::apply::Row;
use crate::job::orphan::{LostPost, Search, Skew};
use crate::job::{Arcstate, Key, Phase, ServerId, Time};
use crate::store::StoreError;
use crate::work::{Hunt, Listing, Work};

use super::Engine;
use super::board::Jobs;
use super::plan::Planned;

/// More lost requests than this are not remembered: a server that loses so many answers has other troubles.
const MOST_LOST: usize = 1_000;

/// A search that failed is tried again after so long, milliseconds.
const PAUSE_MS: i64 = 10_000;

/// What is being done about orphans.
#[derive(Debug, Default)]
pub(super) struct Hunting {
    /// Rows without a description of the last list that nobody here claims.
    suspects: BTreeSet<ServerId>,
    /// The newest other row there that another client made.
    stranger: Option<ServerId>,
    /// The suspects that were looked at last; none: what is known has changed since.
    looked: Option<BTreeSet<ServerId>>,
    /// When they are to be looked at again.
    again: Option<Time>,
    is_out: bool,
    skew: Option<Skew>,
}

impl Hunting {
    /// The clock was set back to this.
    pub(super) fn set_back(&mut self, now: Time) {
        self.again = self.again.map(|again| again.min(now));
        self.skew = None;
    }
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
            let clusters = self.spec(*key).map(|spec| spec.clusters.clone()).unwrap_or_default();
            *posts.entry((floor, at, clusters, job.proxyid)).or_default() += 1;
        }
        for ((floor, sent, clusters, proxyid), rows) in posts {
            let lost = LostPost { floor, sent, lost: now, rows, clusters, proxyid };
            self.batch.lost_post(self.next_lost, &lost)?;
            self.lost.insert(self.next_lost, lost);
            self.next_lost += 1;
            self.hunt.looked = None;
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
    pub(super) fn suspect(&mut self, listing: &Listing, ours: &HashSet<ServerId>) {
        if let Some(skew) = listing.skew {
            self.hunt.skew = Some(self.hunt.skew.map_or(skew, |before| before.and(skew)));
        }
        // The rows of a request that is out now look the same until its answer comes.
        if self.is_creating() {
            return;
        }
        let proxyid = self.board.read().proxyid;
        let floor = self.lost.values().filter(|lost| lost.proxyid == proxyid).map(|lost| lost.floor).min();
        let (mut suspects, mut stranger) = (BTreeSet::new(), None);
        if let Some(floor) = floor {
            let new: HashMap<_, _> = self.changed.values().filter_map(|(_, j)| Some((j.id()?, j.origin))).collect();
            let jobs = self.board.read();
            for row in listing.rows.values() {
                let origin = new.get(&row.id).copied().or_else(|| origin_of(&jobs, row.id));
                let is_ours = || ours.contains(&row.id) && !new.contains_key(&row.id);
                match origin {
                    None | Some(Origin::Foreign) if is_ours() => {}
                    None | Some(Origin::Foreign) if row.id > floor && is_empty(row) => {
                        suspects.insert(row.id);
                    }
                    Some(Origin::Submitted) => {}
                    _ => stranger = stranger.max(Some(row.id)),
                }
            }
        }
        let is_settled = |lost: &LostPost| {
            let is_suspected = suspects.range(lost.floor + 1..).next().is_some();
            lost.proxyid == proxyid && lost.is_settled(listing.sent, is_suspected)
        };
        let settled: Vec<u64> = self.lost.iter().filter(|(_, lost)| is_settled(lost)).map(|(n, _)| *n).collect();
        for number in settled {
            self.lost.remove(&number);
            self.batch.settled_post(number);
        }
        self.board.write().orphans = suspects.iter().copied().collect();
        self.hunt.suspects = suspects;
        self.hunt.stranger = stranger;
    }

    /// Another client of the user is at work: rows that look like leftovers may be its.
    pub(super) fn note_company(&mut self, now: Time) {
        self.company = Some(now);
        self.batch.company(now);
    }

    fn is_creating(&self) -> bool {
        self.board.read().by_key.values().any(|job| matches!(job.phase, Phase::Creating { .. }))
    }

    /// The next look at suspects, if any is due.
    pub(super) fn plan_hunt(&mut self, now: Time) -> Option<Planned> {
        if self.hunt.is_out || self.hunt.suspects.is_empty() {
            return None;
        }
        let is_known = self.hunt.looked.as_ref() == Some(&self.hunt.suspects);
        if is_known && self.hunt.again.is_none_or(|again| again > now) {
            return None;
        }
        let (long_ms, proxyid) = (self.config.orphans_ms, self.board.read().proxyid);
        let of_this = self.lost.iter().filter(|(_, post)| post.proxyid == proxyid);
        let posts: BTreeMap<u64, LostPost> = of_this.map(|(number, post)| (*number, post.clone())).collect();
        if !posts.values().any(|post| post.due(long_ms) <= now) {
            return None;
        }
        let ids: Vec<ServerId> = {
            let jobs = self.board.read();
            let is_ours = |id: &ServerId| origin_of(&jobs, *id).is_some_and(|origin| origin != Origin::Foreign);
            self.hunt.suspects.iter().filter(|id| !is_ours(id)).copied().collect()
        };
        self.hunt.looked = Some(self.hunt.suspects.clone());
        self.hunt.again = None;
        self.hunt.is_out = true;
        let skew = self.hunt.skew.unwrap_or(Skew { least: 0, most: 0 });
        let search = Search { posts, skew, company: self.company, long_ms };
        let work = Work::CancelOrphans(Hunt { search, ids, stranger: self.hunt.stranger });
        Some(Planned { actions: Vec::new(), work, cancel: CancellationToken::new(), causes: crate::call::none() })
    }

    /// What came of it. What failed is tried again after a while.
    pub(super) fn hunted(
        &mut self,
        gone: &[(ServerId, u64)],
        again: Option<Time>,
        failed: bool,
        now: Time,
    ) -> Result<(), StoreError> {
        self.hunt.is_out = false;
        self.hunt.again = if failed { Some(now.plus(PAUSE_MS)) } else { again };
        for (id, number) in gone {
            self.hunt.suspects.remove(id);
            if let Some(looked) = &mut self.hunt.looked {
                looked.remove(id);
            }
            if let Some(post) = self.lost.get_mut(number) {
                post.rows = post.rows.saturating_sub(1);
                self.batch.lost_post(*number, post)?;
            }
        }
        if !gone.is_empty() {
            let ids: Vec<String> = gone.iter().map(|(id, _)| id.to_string()).collect();
            let text = format!("cancelled unused rows that lost requests had left: {}", ids.join(", "));
            tracing::info!("{text}");
            self.tell("server", None, text);
            self.poll.now();
        }
        Ok(())
    }
}

/// Who made the job of that row; none: nobody here knows it.
fn origin_of(jobs: &Jobs, id: ServerId) -> Option<Origin> {
    jobs.by_id.get(&id).and_then(|key| jobs.by_key.get(key)).map(|job| job.origin)
}

/// Without a description, and unknown to ARC.
pub(super) fn is_empty(row: &Row) -> bool {
    row.name.is_none() && row.arcstate == Arcstate::None
}
