//! Rows that a request made whose answer was lost: nobody knows their ids, and they never run. Which rows of the server's
//! list are such leftovers of ours, and when that is certain enough to cancel them, is decided here.
//!
//! A submission of another client of the same user that is still uploading looks just the same. So all of this must hold:
//! the row was made for the clusters of a lost request, in its time, and there are no more such rows than those requests had
//! asked for. And time must have passed: little if no other client of the user has been at work lately, much if one has.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::apply::IN_FLIGHT_MS;
use super::{ProxyId, ServerId, Time};

/// The server's `Date` and its column `created` have a resolution of a second each.
const SLACK_MS: i64 = 2_000;

/// So long a lost request is remembered at most while rows are there that might be its, milliseconds.
const REMEMBERED_MS: i64 = 30 * 86_400_000;

/// A server that is only busy executes a request at most so long after its client has gone, milliseconds; and so old an unused
/// row becomes before it is taken for a leftover, even if nobody else seems to be at work.
const SOON_MS: i64 = 60_000;

/// Another client counts as being at work if it made a row so long before a lost request, or after it, milliseconds.
const COMPANY_MS: i64 = 3_600_000;

/// A POST without an answer: rows of ours without a description may be on the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostPost {
    /// Highest id listed before it.
    pub floor: ServerId,
    /// When it was sent, by our clock.
    pub sent: Time,
    /// When it was given up, by our clock.
    pub lost: Time,
    /// How many rows of its may still be there.
    pub rows: u32,
    /// The clusters that it named for them.
    pub clusters: Vec<String>,
    /// Whose rows they are.
    pub proxyid: ProxyId,
}

/// A row without a description, as the server holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmptyRow {
    /// Its id.
    pub id: ServerId,
    /// When it was made, by the server's clock; none: not told.
    pub created: Option<Time>,
    /// Its clusters, comma-separated.
    pub clusters: String,
}

/// How far the server's clock is ahead of ours, milliseconds: something from `least` to `most`. An answer tells no more than
/// this, since it may have been on its way for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// At least.
    pub least: i64,
    /// At most.
    pub most: i64,
}

impl Skew {
    /// What an answer tells that was dated `date` by the server (in whole seconds), asked for at `sent`, and here at `now`.
    #[must_use]
    pub fn of(date: Time, sent: Time, now: Time) -> Self {
        Self { least: date.since(now), most: date.plus(1_000).since(sent) }
    }

    /// What this and a later answer tell together. If they contradict each other, a clock was set: the later one is right.
    #[must_use]
    pub fn and(self, later: Self) -> Self {
        let both = Self { least: self.least.max(later.least), most: self.most.min(later.most) };
        if both.least <= both.most { both } else { later }
    }

    /// The earliest and the latest time by our clock of what happened at `at` by the server's.
    fn ours(self, at: Time) -> (Time, Time) {
        (at.plus(-self.most), at.plus(-self.least))
    }
}

impl LostPost {
    /// Before this there is no use in looking for its rows.
    #[must_use]
    pub fn due(&self, long_ms: i64) -> Time {
        self.lost.plus(long_ms.min(2 * SOON_MS))
    }

    /// Whether it can be forgotten, given whether rows are there that might be its.
    #[must_use]
    pub fn is_settled(&self, now: Time, is_suspected: bool) -> bool {
        let past = now.since(self.lost);
        self.rows == 0 || past >= IN_FLIGHT_MS + SLACK_MS && (!is_suspected || past >= REMEMBERED_MS)
    }

    /// Whether it may have made that row, by the ids and clocks.
    fn may_have_made(&self, row: &EmptyRow, skew: Skew) -> bool {
        let Some((earliest, latest)) = row.created.map(|at| skew.ours(at)) else { return false };
        row.id > self.floor
            && latest >= self.sent.plus(-SLACK_MS)
            && earliest <= self.lost.plus(IN_FLIGHT_MS + SLACK_MS)
    }
}

/// A list of clusters as the server writes it: with ports, in any order.
fn clusters(list: &str) -> BTreeSet<String> {
    let normal = |text: &str| match url::Url::parse(text) {
        Ok(url) => {
            let port = url.port_or_known_default().map_or_else(String::new, |port| format!(":{port}"));
            format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
        }
        Err(_) => text.to_owned(),
    };
    list.split(',').map(str::trim).filter(|text| !text.is_empty()).map(normal).collect()
}

/// What is known when leftovers are looked for.
#[derive(Debug, Clone)]
pub struct Search {
    /// The lost requests of this identity, by number.
    pub posts: BTreeMap<u64, LostPost>,
    /// The server's clock.
    pub skew: Skew,
    /// When another client of the user was last seen to make a row or to describe one, by our clock.
    pub company: Option<Time>,
    /// How long rows are left alone while another client is at work, milliseconds.
    pub long_ms: i64,
}

/// What there is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Leftovers to cancel, each with the request that it counts for.
    pub ours: BTreeMap<ServerId, u64>,
    /// When there may be more, if no other rows come.
    pub again: Option<Time>,
}

/// Requests that may have made the same rows, and those rows.
#[derive(Debug, Default)]
struct Group<'a> {
    posts: BTreeMap<u64, &'a LostPost>,
    rows: BTreeMap<ServerId, &'a EmptyRow>,
}

impl Search {
    /// Which of `rows` are leftovers. `rows` are all those without a description that may be; `strangers`: when other rows of
    /// other clients were made, by the server's clock.
    #[must_use]
    pub fn among(&self, rows: &[EmptyRow], strangers: &[Time], now: Time) -> Found {
        let groups = self.groups(rows);
        let is_theirs = |row: &&EmptyRow| !groups.iter().any(|group| group.rows.contains_key(&row.id));
        let made = rows.iter().filter(is_theirs).filter_map(|row| row.created).chain(strangers.iter().copied());
        let company = made.map(|at| self.skew.ours(at).1).chain(self.company).max();
        let mut found = Found::default();
        for group in &groups {
            // One row too many, and nobody knows which.
            let Some(pairs) = group.pairs(self.skew) else { continue };
            for (row, number) in pairs {
                let may_be = group.posts.values().filter(|post| post.may_have_made(row, self.skew));
                match may_be.map(|post| self.due(post, row, company)).min() {
                    Some(due) if due <= now => {
                        found.ours.insert(row.id, number);
                    }
                    due => found.again = [found.again, due].into_iter().flatten().min(),
                }
            }
        }
        found
    }

    fn groups<'a>(&'a self, rows: &'a [EmptyRow]) -> Vec<Group<'a>> {
        let by_clusters = rows.iter().fold(BTreeMap::<_, Vec<&EmptyRow>>::new(), |mut all, row| {
            all.entry(clusters(&row.clusters)).or_default().push(row);
            all
        });
        let mut groups: Vec<Group<'_>> = Vec::new();
        for (number, post) in &self.posts {
            let alike = by_clusters.get(&clusters(&post.clusters.join(","))).into_iter().flatten();
            let fits = alike.filter(|row| post.may_have_made(row, self.skew));
            let mut new = Group { posts: BTreeMap::from([(*number, post)]), rows: fits.map(|r| (r.id, *r)).collect() };
            groups.retain_mut(|group| {
                let apart = !group.rows.keys().any(|id| new.rows.contains_key(id));
                if !apart {
                    new.posts.append(&mut group.posts);
                    new.rows.append(&mut group.rows);
                }
                apart
            });
            groups.push(new);
        }
        groups
    }

    /// When a row that fits a request may go, by our clock.
    fn due(&self, post: &LostPost, row: &EmptyRow, company: Option<Time>) -> Time {
        let (earliest, latest) = row.created.map_or((post.lost, post.lost), |at| self.skew.ours(at));
        let long = latest.max(post.lost).plus(self.long_ms);
        if company.is_some_and(|at| at >= post.sent.plus(-COMPANY_MS)) {
            return long;
        }
        let is_soon = earliest <= post.lost.plus(SOON_MS);
        long.min(post.lost.plus(SOON_MS + if is_soon { SOON_MS } else { IN_FLIGHT_MS }))
    }
}

impl<'a> Group<'a> {
    /// Gives each row a request that it fits, and no request more rows than it had asked for; none: there is no way to.
    fn pairs(&self, skew: Skew) -> Option<Vec<(&'a EmptyRow, u64)>> {
        let mut posts: Vec<(u64, &LostPost, u32)> = self.posts.iter().map(|(n, p)| (*n, *p, p.rows)).collect();
        posts.sort_by_key(|(_, post, _)| post.lost);
        let mut rows: Vec<&EmptyRow> = self.rows.values().copied().collect();
        // The first row with the first request that it fits: the later ones are left for rows that fit no other, or are yet
        // to come.
        rows.sort_by_key(|row| (row.created, row.id));
        let pair = |row: &'a EmptyRow| {
            let fits = |(_, post, left): &&mut (u64, &LostPost, u32)| *left > 0 && post.may_have_made(row, skew);
            let (number, _, left) = posts.iter_mut().find(fits)?;
            *left -= 1;
            Some((row, *number))
        };
        rows.into_iter().map(pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400_000;
    const MINUTE: i64 = 60_000;

    fn post(floor: ServerId, sent: i64, rows: u32) -> LostPost {
        let clusters = vec!["https://A.example/q".to_owned(), "https://b.example:8443/q".to_owned()];
        LostPost { floor, sent: Time(sent), lost: Time(sent + 1_000), rows, clusters, proxyid: 1 }
    }

    fn row(id: ServerId, created: i64) -> EmptyRow {
        let clusters = "https://b.example:8443/q,https://a.example:443/q".to_owned();
        EmptyRow { id, created: Some(Time(created)), clusters }
    }

    fn search(posts: &[LostPost]) -> Search {
        let posts = (1..).zip(posts.iter().cloned()).collect();
        Search { posts, skew: Skew { least: 0, most: 0 }, company: None, long_ms: DAY }
    }

    /// The ids of what is found.
    fn found(search: &Search, rows: &[EmptyRow], now: i64) -> Vec<ServerId> {
        search.among(rows, &[], Time(now)).ours.into_keys().collect()
    }

    /// Somebody else was at work all the time.
    fn in_company(posts: &[LostPost]) -> Search {
        let company = posts.iter().map(|post| post.sent).max();
        Search { company, ..search(posts) }
    }

    #[test]
    fn everything_must_fit() {
        let (sent, later) = (DAY, 3 * DAY);
        for search in [search(&[post(10, sent, 2)]), in_company(&[post(10, sent, 2)])] {
            let found = |rows: &[EmptyRow]| found(&search, rows, later);
            assert_eq!(found(&[row(11, sent + 500), row(12, sent + 600_000)]), [11, 12]);
            assert!(found(&[row(10, sent + 500)]).is_empty(), "it was there before");
            assert!(found(&[row(11, sent - 10_000)]).is_empty(), "made before the request");
            assert!(found(&[row(11, sent + IN_FLIGHT_MS + 10_000)]).is_empty(), "made too late");
            let other = EmptyRow { clusters: "https://a.example:443/q".into(), ..row(11, sent) };
            assert_eq!(found(&[other, row(12, sent)]), [12], "other clusters");
            assert!(found(&[EmptyRow { created: None, ..row(11, sent) }]).is_empty());
        }
    }

    #[test]
    fn more_rows_than_were_asked_for_are_left_alone() {
        let (sent, later) = (DAY, 4 * DAY);
        let rows = [row(11, sent + 4_000), row(12, sent + 4_000), row(13, sent + 4_000)];
        assert!(found(&search(&[post(10, sent, 2)]), &rows, later).is_empty());
        // A second request of the same minute may have made them as well.
        assert_eq!(found(&search(&[post(10, sent, 2), post(10, sent + 5_000, 1)]), &rows, later), [11, 12, 13]);
        // One of another day has no part in it, and is not held up by it.
        let rows = [row(11, sent), row(12, sent), row(13, sent), row(14, sent + DAY)];
        assert_eq!(found(&search(&[post(10, sent, 2), post(13, sent + DAY, 1)]), &rows, later), [14]);
        // Enough in all, but the early ones cannot be of the late request.
        let rows = [row(11, sent), row(12, sent), row(13, sent + 10 * MINUTE)];
        assert!(found(&search(&[post(10, sent, 1), post(10, sent + 9 * MINUTE, 5)]), &rows, later).is_empty());
    }

    #[test]
    fn nobody_else_about_makes_it_quick() {
        let sent = DAY;
        let lost = sent + 1_000;
        let alone = search(&[post(10, sent, 2)]);
        let soon = [row(11, sent + 500), row(12, sent + 500)];
        let first = alone.among(&soon, &[], Time(lost + MINUTE));
        assert_eq!((first.ours.len(), first.again), (0, Some(Time(lost + 2 * MINUTE))));
        assert_eq!(found(&alone, &soon, lost + 2 * MINUTE), [11, 12]);
        let late = [row(11, lost + 2 * MINUTE)];
        assert_eq!(alone.among(&late, &[], Time(lost + 5 * MINUTE)).again, Some(Time(lost + 16 * MINUTE)));
        assert_eq!(found(&alone, &late, lost + 16 * MINUTE), [11]);

        // Somebody: seen a while before, since then, by a described row's age, by an empty row that is none of ours.
        for at in [sent - 30 * MINUTE, lost + MINUTE] {
            let seen = Search { company: Some(Time(at)), ..alone.clone() };
            let waits = seen.among(&soon, &[], Time(lost + DAY - 10_000));
            assert_eq!((waits.ours.len(), waits.again), (0, Some(Time(lost + DAY))));
            assert_eq!(found(&seen, &soon, lost + DAY), [11, 12]);
            assert_eq!(alone.among(&soon, &[Time(at)], Time(lost + DAY - 10_000)).ours.len(), 0);
        }
        let other = EmptyRow { clusters: "https://c.example/q".into(), ..row(13, sent + 500) };
        let rows = [soon[0].clone(), soon[1].clone(), other];
        assert!(found(&alone, &rows, lost + DAY - 10_000).is_empty());
        // That was long ago.
        let long_ago = Search { company: Some(Time(sent - 61 * MINUTE)), ..alone };
        assert_eq!(found(&long_ago, &soon, lost + 2 * MINUTE), [11, 12]);
    }

    #[test]
    fn the_servers_clock_counts() {
        let (sent, hour) = (DAY, 3_600_000);
        let rows = [row(11, sent + hour)];
        assert!(found(&search(&[post(10, sent, 1)]), &rows, sent + 2 * DAY).is_empty());
        let skew = Skew { least: hour - 500, most: hour + 500 };
        assert_eq!(found(&Search { skew, ..search(&[post(10, sent, 1)]) }, &rows, sent + 2 * DAY).len(), 1);
        // An answer that took ten seconds says little, but it does not mislead.
        let slow = Skew::of(Time(hour + 5_000), Time(0), Time(10_000));
        assert!(slow.least <= hour && hour <= slow.most);
        assert_eq!(slow.and(skew), skew);
        let set = Skew { least: 0, most: 1_000 };
        assert_eq!(skew.and(set), set, "the clock was set");
    }

    #[test]
    fn a_request_is_forgotten_when_it_can_have_left_nothing() {
        let post = post(10, 0, 1);
        assert!(!post.is_settled(Time(MINUTE), false), "it may still be executed");
        assert!(post.is_settled(Time(16 * MINUTE), false) && !post.is_settled(Time(2 * DAY), true));
        assert!(post.is_settled(Time(40 * DAY), true));
        assert!(LostPost { rows: 0, ..post }.is_settled(Time(MINUTE), true));
    }

    /// Requests one after the other: how long after the last one ended, how long it was out, how many rows, and how long after
    /// it was sent it was executed (none: never).
    fn requests() -> impl Strategy<Value = Vec<(i64, i64, u32, Option<i64>)>> {
        let executed = prop::option::of(prop_oneof![3 => 0..1_000_i64, 1 => 0..IN_FLIGHT_MS]);
        prop::collection::vec((0..200_000_i64, 1..60_000_i64, 1..5_u32, executed), 1..12)
    }

    /// What is on the server after these requests.
    fn execute(requests: &[(i64, i64, u32, Option<i64>)], skew: i64) -> (Vec<LostPost>, Vec<EmptyRow>) {
        let (mut now, mut id) = (10 * DAY, 100);
        let (mut posts, mut rows) = (Vec::new(), Vec::new());
        for (pause, took, count, executed) in requests {
            now += pause;
            posts.push(LostPost { lost: Time(now + took), ..post(99, now, *count) });
            for _ in 0..executed.map_or(0, |_| *count) {
                id += 1;
                // The column has whole seconds.
                let created = (now + executed.unwrap_or(0) + skew) / 1_000 * 1_000;
                rows.push(row(id, created));
            }
            now += took;
        }
        (posts, rows)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

        /// All that lost requests have left is found in the end, and exactly that, when nobody else is about.
        #[test]
        fn nothing_of_ours_stays(requests in requests(), skew in -7_200_000..7_200_000_i64, width in 0..1_000_i64) {
            let (posts, rows) = execute(&requests, skew);
            let mut search = Search { skew: Skew { least: skew - width, most: skew + width }, ..search(&posts) };
            let mut left = rows.clone();
            let mut now = Time(10 * DAY);
            while !left.is_empty() {
                // Rows appear when they are made.
                let there: Vec<EmptyRow> =
                    left.iter().filter(|row| row.created.is_some_and(|at| at <= now.plus(skew))).cloned().collect();
                let found = search.among(&there, &[], now);
                for (id, number) in &found.ours {
                    search.posts.get_mut(number).unwrap().rows -= 1;
                    left.retain(|row| row.id != *id);
                }
                now = now.plus(MINUTE);
                prop_assert!(now.since(Time(10 * DAY)) < DAY, "still {left:?} of {posts:?}");
            }
        }

        /// Whatever else is there: no request answers for more rows than it had asked for, each row is one that it may have
        /// made, and old enough for who else was seen.
        #[test]
        fn nothing_of_others_goes(
            requests in requests(),
            others in prop::collection::vec((-DAY..DAY, any::<bool>()), 0..6),
            company in prop::option::of(-DAY..DAY),
            after in 0..2 * DAY,
        ) {
            let (posts, mut rows) = execute(&requests, 0);
            for (id, (at, alike)) in (1_000..).zip(others) {
                let clusters = if alike { row(1, 0).clusters } else { "https://c.example/q".into() };
                rows.push(EmptyRow { clusters, ..row(id, 10 * DAY + at) });
            }
            let company = company.map(|at| Time(10 * DAY + at));
            let search = Search { company, ..search(&posts) };
            let now = Time(10 * DAY + after);
            let found = search.among(&rows, &[], now);
            for (number, post) in &search.posts {
                let counted = found.ours.values().filter(|n| *n == number).count();
                prop_assert!(counted <= post.rows as usize);
            }
            for (id, number) in &found.ours {
                let (row, post) = (rows.iter().find(|row| row.id == *id).unwrap(), &search.posts[number]);
                let age = now.since(row.created.unwrap());
                prop_assert!(post.may_have_made(row, search.skew) && clusters(&row.clusters).len() == 2);
                prop_assert!(age >= SOON_MS - SLACK_MS, "{age}");
                let last = posts.last().unwrap().sent;
                if company.is_some_and(|at| at >= last.plus(-COMPANY_MS)) {
                    prop_assert!(age >= DAY - SLACK_MS, "{age}");
                }
            }
        }
    }
}
