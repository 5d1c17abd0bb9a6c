//! When a user is to be told that their credential is about to end: a day, six hours, an hour before, and when it has.
//! Pure.

use serde::{Deserialize, Serialize};

/// So long before the end a word is said, in seconds.
const LEVELS: [u64; 4] = [86_400, 6 * 3600, LAST, 0];
/// The last word before the end comes however short-lived a credential is.
const LAST: u64 = 3600;
/// Two ends that are so near each other, in seconds, are one.
const SAME: u64 = 60;

/// A credential's end, as far as the user has been told of it. Times are in seconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// When it ends.
    pub end: u64,
    /// How long it had when it was first seen.
    pub left: u64,
    /// The last level that was told.
    pub told: Option<u64>,
}

impl Seen {
    /// The same for a credential that ends at `end`, which may be another one.
    pub(super) fn of(self, end: u64, now: u64) -> Self {
        if self.end.abs_diff(end) <= SAME { self } else { Self { end, left: end.saturating_sub(now), told: None } }
    }

    /// The level that is to be told now.
    pub(super) fn due(self, now: u64) -> Option<u64> {
        let left = self.end.saturating_sub(now);
        let reached = LEVELS.into_iter().filter(|level| left <= *level).min()?;
        let news = self.told.is_none_or(|told| told > reached);
        // One that never had so long was not about to end when it was made.
        let fits = reached < self.left || (reached == LAST && self.left > 0);
        (news && fits).then_some(reached)
    }

    /// How long before its end a new one is to be made, in seconds.
    pub(super) fn lead(self) -> u64 {
        (2 * 3600).min(self.left / 4)
    }
}

/// A time in words.
pub(super) fn words(seconds: u64) -> String {
    match seconds {
        0..60 => "less than a minute".into(),
        60..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told, and how long before the end, of a credential that has `left` when it is first seen.
    fn told(left: u64) -> Vec<(u64, u64)> {
        let mut seen = Seen::default().of(1_000_000 + left, 1_000_000);
        let mut told = Vec::new();
        for passed in (0..left + 600).step_by(10) {
            if let Some(level) = seen.of(seen.end, 1_000_000 + passed).due(1_000_000 + passed) {
                told.push((level, left.saturating_sub(passed)));
                seen.told = Some(level);
            }
        }
        told
    }

    #[test]
    fn each_level_is_told_once() {
        let (day, hour) = (86_400, 3_600);
        assert_eq!(told(7 * day), [(day, day), (6 * hour, 6 * hour), (hour, hour), (0, 0)]);
        assert_eq!(told(12 * hour), [(6 * hour, 6 * hour), (hour, hour), (0, 0)]);
        assert_eq!(told(hour / 2), [(hour, hour / 2), (0, 0)]);
        assert_eq!(told(0), []);
    }

    #[test]
    fn a_new_credential_begins_anew() {
        let seen = Seen { end: 1_000, left: 900, told: Some(0) };
        assert_eq!(seen.of(1_030, 500), seen);
        assert_eq!(seen.of(90_000, 1_000), Seen { end: 90_000, left: 89_000, told: None });
        assert_eq!((Seen { left: 48 * 3600, ..seen }.lead(), Seen { left: 400, ..seen }.lead()), (7_200, 100));
    }
}
