//! Which jobs a request means: `id=`, `name=`, `state=`, with the real server's reading of each, including its
//! dangerous one: an empty id list means every job.

use super::{Job, State};

/// A range that makes the real server's database connection break (seen with 3,000,000 ids).
const MAX_RANGE: i64 = 1_000_000;

/// Why a selection cannot be made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SelectError {
    /// 400 with this message.
    Invalid(String),
    /// So many ids that the database connection breaks.
    TooMany,
}

/// The filters of one request.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// Sorted ids; none when the request gave none, or an empty or reversed list.
    ids: Option<Vec<i64>>,
    name: Option<String>,
    state: Option<String>,
}

impl Selection {
    /// Reads the query's values, each as given first in the query.
    pub(crate) fn parse(id: Option<&str>, name: Option<&str>, state: Option<&str>) -> Result<Self, SelectError> {
        let ids = id.filter(|list| !list.is_empty()).map(ids).transpose()?;
        let given = |value: Option<&str>| value.filter(|value| !value.is_empty()).map(str::to_owned);
        Ok(Self { ids: ids.filter(|ids| !ids.is_empty()), name: given(name), state: given(state) })
    }

    /// The value of `state=`.
    pub(crate) fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The caller's jobs that match ids and name (not the state), by ascending id.
    pub(crate) fn jobs<'a>(&'a self, state: &'a State, proxyid: i64) -> Box<dyn Iterator<Item = &'a Job> + 'a> {
        let all: Box<dyn Iterator<Item = &Job>> = match &self.ids {
            Some(ids) => Box::new(ids.iter().filter_map(|id| state.jobs.get(id))),
            None => Box::new(state.jobs.values()),
        };
        Box::new(all.filter(move |job| job.proxyid == proxyid && self.has_name(job)))
    }

    /// The same as ids.
    pub(crate) fn ids(&self, state: &State, proxyid: i64) -> Vec<i64> {
        self.jobs(state, proxyid).map(|job| job.id).collect()
    }

    /// Whether the job is in the wanted state; jobs without an ARC row are in none.
    pub(crate) fn in_state(&self, job: &Job) -> bool {
        let Some(wanted) = &self.state else { return true };
        job.arcstate().is_some_and(|arcstate| arcstate.eq_ignore_ascii_case(wanted))
    }

    /// SQL `LIKE '%name%'` with `%` left as a wildcard, case-sensitive; a null name never matches.
    fn has_name(&self, job: &Job) -> bool {
        let Some(pattern) = &self.name else { return true };
        let Some(mut rest) = job.name.as_deref() else { return false };
        for piece in pattern.split('%') {
            match rest.find(piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        true
    }
}

fn ids(list: &str) -> Result<Vec<i64>, SelectError> {
    let mut ids = Vec::new();
    for piece in list.split(',') {
        let ends: Vec<_> = piece.split('-').collect();
        match ends.as_slice() {
            [id] => ids.push(number(id)?),
            [first, last] => {
                let (first, last) = (number(first)?, number(last)?);
                if last.saturating_sub(first) >= MAX_RANGE {
                    return Err(SelectError::TooMany);
                }
                ids.extend(first..=last);
            }
            _ => return Err(SelectError::Invalid(format!("Invalid job range: {piece}"))),
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// Python's `int()`: surrounding blanks and a sign are fine. A number too large for a row id matches nothing.
fn number(text: &str) -> Result<i64, SelectError> {
    let digits = text.trim();
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SelectError::Invalid(format!("Invalid job ID: {text}")));
    }
    Ok(digits.parse().unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_lists_are_read_as_observed() {
        let read = |list: &str| Selection::parse(Some(list), None, None).map(|selection| selection.ids);
        for (list, want) in [
            ("1", Some(vec![1])),
            ("1,2", Some(vec![1, 2])),
            ("1-3", Some(vec![1, 2, 3])),
            ("01", Some(vec![1])),
            (" 1 ", Some(vec![1])),
            ("+1", Some(vec![1])),
            ("1-2,2-3", Some(vec![1, 2, 3])),
            ("2-1", None),
            ("", None),
            ("99999999999999999999", Some(vec![i64::MAX])),
        ] {
            assert_eq!(read(list).unwrap(), want, "{list}");
        }
        for (list, want) in [
            ("1-", "Invalid job ID: "),
            ("-3", "Invalid job ID: "),
            ("1,,2", "Invalid job ID: "),
            ("1,", "Invalid job ID: "),
            ("a", "Invalid job ID: a"),
            ("1.0", "Invalid job ID: 1.0"),
            ("1-2-3", "Invalid job range: 1-2-3"),
        ] {
            assert_eq!(read(list).unwrap_err(), SelectError::Invalid(want.to_owned()), "{list}");
        }
        assert_eq!(read("1-3000000").unwrap_err(), SelectError::TooMany);
        assert!(read("1-200000").is_ok());
    }

    #[test]
    fn names_match_like_sql() {
        let mut state = State::default();
        for name in [Some("hello"), Some(""), None, Some("h_l")] {
            let id = state.create(1, String::new(), 0);
            state.jobs.get_mut(&id).unwrap().name = name.map(str::to_owned);
        }
        let named = |name: &str| Selection::parse(None, Some(name), None).unwrap().ids(&state, 1);
        assert_eq!(named("ell"), [1]);
        assert!(named("HELLO").is_empty());
        assert_eq!(named("%"), [1, 2, 4]);
        assert_eq!(named("h_l"), [4]);
        assert_eq!(named("h%o"), [1]);
        assert!(Selection::default().ids(&state, 2).is_empty());
    }
}
