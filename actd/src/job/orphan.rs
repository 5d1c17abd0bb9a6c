//! Rows that a request made whose answer was lost: nobody knows their ids, and they never run. Which rows of the server's
//! list are such leftovers of ours is decided here. A submission of another client of the same user that is still
//! uploading looks just the same, so everything must fit, and enough time must have passed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::apply::IN_FLIGHT_MS;
use super::{ProxyId, ServerId, Time};

/// The server's `Date` and its column `created` have a resolution of a second each.
const SLACK_MS: i64 = 2_000;

/// So long a lost request is remembered at most while rows are there that might be its, milliseconds.
const REMEMBERED_MS: i64 = 30 * 86_400_000;

/// A POST without an answer: rows of ours without a description may be on the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostPost {
    /// Highest id listed before it.
    pub floor: ServerId,
    /// When it was sent, by our clock.
    pub sent: Time,
    /// When it was given up, by our clock.
    pub lost: Time,
    /// How many rows it asked for with these clusters.
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

impl LostPost {
    /// Whether it may be looked for now: `age_ms` must have passed.
    #[must_use]
    pub fn is_due(&self, now: Time, age_ms: i64) -> bool {
        now.since(self.lost) >= age_ms
    }

    /// Whether it can be forgotten, given whether rows are there that might be its.
    #[must_use]
    pub fn is_settled(&self, now: Time, age_ms: i64, is_suspected: bool) -> bool {
        let past = now.since(self.lost);
        past >= age_ms.max(IN_FLIGHT_MS) && (!is_suspected || past >= REMEMBERED_MS)
    }

    fn fits(&self, row: &EmptyRow, skew_ms: i64) -> bool {
        let Some(created) = row.created else { return false };
        let from = self.sent.plus(skew_ms - SLACK_MS);
        let to = self.lost.plus(skew_ms + IN_FLIGHT_MS + SLACK_MS);
        row.id > self.floor
            && (from..=to).contains(&created)
            && clusters(&row.clusters) == clusters(&self.clusters.join(","))
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

/// Those of the rows that are leftovers of these requests: made by the server while one of them was out or could still be
/// executed, for the same clusters, longer than `age_ms` ago, and no more of them than the requests had asked for.
/// `skew_ms`: how far the server's clock is ahead of ours.
#[must_use]
pub fn ours(posts: &[LostPost], rows: &[EmptyRow], now: Time, skew_ms: i64, age_ms: i64) -> BTreeSet<ServerId> {
    let is_old = |row: &&EmptyRow| row.created.is_some_and(|at| now.plus(skew_ms).since(at) >= age_ms);
    // Requests that may have made the same row are counted together.
    let mut groups: Vec<(BTreeSet<ServerId>, u64)> = Vec::new();
    for post in posts.iter().filter(|post| post.is_due(now, age_ms)) {
        let mut fits: BTreeSet<ServerId> =
            rows.iter().filter(is_old).filter(|row| post.fits(row, skew_ms)).map(|row| row.id).collect();
        let mut asked = u64::from(post.rows);
        groups.retain_mut(|(others, count)| {
            let apart = others.is_disjoint(&fits);
            if !apart {
                fits.append(others);
                asked += *count;
            }
            apart
        });
        groups.push((fits, asked));
    }
    groups.into_iter().filter(|(fits, asked)| fits.len() as u64 <= *asked).flat_map(|(fits, _)| fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn post(floor: ServerId, sent: i64, rows: u32) -> LostPost {
        let clusters = vec!["https://A.example/q".to_owned(), "https://b.example:8443/q".to_owned()];
        LostPost { floor, sent: Time(sent), lost: Time(sent + 1_000), rows, clusters, proxyid: 1 }
    }

    fn row(id: ServerId, created: i64) -> EmptyRow {
        let clusters = "https://b.example:8443/q,https://a.example:443/q".to_owned();
        EmptyRow { id, created: Some(Time(created)), clusters }
    }

    fn found(posts: &[LostPost], rows: &[EmptyRow], now: i64) -> Vec<ServerId> {
        ours(posts, rows, Time(now), 0, DAY).into_iter().collect()
    }

    #[test]
    fn everything_must_fit() {
        let (sent, later) = (1_000_000, 1_000_000 + 2 * DAY);
        let posts = [post(10, sent, 2)];
        assert_eq!(found(&posts, &[row(11, sent + 500), row(12, sent + 600_000)], later), [11, 12]);
        assert_eq!(found(&posts, &[row(10, sent + 500)], later), [] as [u64; 0], "it was there before");
        assert_eq!(found(&posts, &[row(11, sent - 10_000)], later), [] as [u64; 0], "made before the request");
        assert_eq!(found(&posts, &[row(11, sent + IN_FLIGHT_MS + 10_000)], later), [] as [u64; 0], "made too late");
        assert_eq!(found(&posts, &[row(11, sent + 500)], sent + DAY), [] as [u64; 0], "too young");
        let other = EmptyRow { clusters: "https://a.example:443/q".into(), ..row(11, sent) };
        assert_eq!(found(&posts, &[other, row(12, sent)], later), [12], "other clusters");
        assert_eq!(found(&posts, &[EmptyRow { created: None, ..row(11, sent) }], later), [] as [u64; 0]);
    }

    #[test]
    fn more_rows_than_were_asked_for_are_left_alone() {
        let (sent, later) = (1_000_000, 1_000_000 + 2 * DAY);
        let rows = [row(11, sent + 4_000), row(12, sent + 4_000), row(13, sent + 4_000)];
        assert_eq!(found(&[post(10, sent, 2)], &rows, later), [] as [u64; 0]);
        // A second request of the same minute may have made them as well.
        assert_eq!(found(&[post(10, sent, 2), post(10, sent + 5_000, 1)], &rows, later), [11, 12, 13]);
        // One of another day has no part in it, and is not held up by it.
        let much_later = post(13, sent + DAY, 1);
        let rows = [row(11, sent), row(12, sent), row(13, sent), row(14, sent + DAY)];
        assert_eq!(found(&[post(10, sent, 2), much_later], &rows, later + DAY), [14]);
    }

    #[test]
    fn the_servers_clock_counts() {
        let (sent, hour) = (1_000_000, 3_600_000);
        let rows = [row(11, sent + hour)];
        assert!(ours(&[post(10, sent, 1)], &rows, Time(sent + 2 * DAY), 0, DAY).is_empty());
        assert_eq!(ours(&[post(10, sent, 1)], &rows, Time(sent + 2 * DAY), hour, DAY).len(), 1);
    }

    #[test]
    fn a_request_is_forgotten_when_it_can_have_left_nothing() {
        let post = post(10, 0, 1);
        assert!(!post.is_settled(Time(DAY), DAY, false));
        assert!(post.is_settled(Time(DAY + 1_000), DAY, false) && !post.is_settled(Time(2 * DAY), DAY, true));
        assert!(post.is_settled(Time(40 * DAY), DAY, true));
        assert!(!post.is_settled(Time(60_000), 1_000, false), "it may still be executed");
    }
}
