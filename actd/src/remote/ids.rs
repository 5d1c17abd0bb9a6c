//! The ids of one request. On a real aCT server a request without ids means "every job of the user", so this type
//! cannot hold an empty list; nor more ids than fit into one request line. It knows nothing about jobs.

use std::fmt::Write as _;

/// Most ids that go into one request: what act-client 1.0.0 sends, well under the server's limit of 4,094 bytes a request line.
pub const MAX_IDS: usize = 100;

/// Between 1 and [`MAX_IDS`] distinct server-side job ids, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids(Vec<u64>);

impl Ids {
    /// One id.
    pub fn one(id: u64) -> Self {
        Self(vec![id])
    }

    /// Ids of a single request, duplicates dropped. `None` if there is none, or more than [`MAX_IDS`]: use [`Ids::batches`] for those.
    pub fn new(ids: impl IntoIterator<Item = u64>) -> Option<Self> {
        let ids = distinct(ids);
        (!ids.is_empty() && ids.len() <= MAX_IDS).then_some(Self(ids))
    }

    /// Any number of ids cut into requests; no ids, no requests. Duplicates are dropped over the whole list.
    pub fn batches(ids: impl IntoIterator<Item = u64>) -> Vec<Self> {
        distinct(ids).chunks(MAX_IDS).map(|chunk| Self(chunk.to_vec())).collect()
    }

    /// The ids, never empty.
    pub fn as_slice(&self) -> &[u64] {
        &self.0
    }

    /// Whether this id is among them.
    pub fn contains(&self, id: u64) -> bool {
        self.0.contains(&id)
    }

    /// Value of the `id` query parameter: decimal ids joined by an encoded comma, never a range (`5-3` would mean every job).
    pub(crate) fn query_value(&self) -> String {
        let mut out = String::with_capacity(self.0.len() * 10);
        for (i, id) in self.0.iter().enumerate() {
            if i > 0 {
                out.push_str("%2C");
            }
            // Writing to a String cannot fail.
            let _ = write!(out, "{id}");
        }
        out
    }
}

fn distinct(ids: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut seen = std::collections::HashSet::new();
    ids.into_iter().filter(|id| seen.insert(*id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_ids_cannot_be_said() {
        assert_eq!(Ids::new([]), None);
        assert!(Ids::batches([]).is_empty());
        assert_eq!(Ids::new(0..101), None);
    }

    proptest! {
        #[test]
        fn batches_hold_every_id_once_and_fit_the_line(ids in proptest::collection::vec(any::<u64>(), 0..450)) {
            let batches = Ids::batches(ids.iter().copied());
            let flat: Vec<u64> = batches.iter().flat_map(|b| b.as_slice().iter().copied()).collect();
            prop_assert_eq!(flat, distinct(ids));
            for batch in &batches {
                prop_assert!(!batch.as_slice().is_empty() && batch.as_slice().len() <= MAX_IDS);
                let value = batch.query_value();
                prop_assert!(value.len() < 2_500 && !value.is_empty() && !value.contains('-') && !value.contains(','));
            }
        }
    }
}
