//! The lists of ids that `-i` takes: act's grammar and act's words about what is wrong with them. No IO.

use crate::failure::Failure;

/// Ids `first..=last`.
pub type Range = (u64, u64);

/// Reads `5,7-9` as act does, but refuses ranges that contain nothing: to act they mean every job.
///
/// # Errors
/// `Invalid ID: x` and the like, with exit code 2.
pub fn parse(list: &str) -> Result<Vec<Range>, Failure> {
    list.split(',').map(group).collect()
}

fn group(group: &str) -> Result<Range, Failure> {
    if !group.contains('-') {
        let id = number(group).ok_or_else(|| Failure::usage(format!("Invalid ID: {group}")))?;
        return Ok((id, id));
    }
    let mut parts = group.split('-');
    let (Some(first), Some(last), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Failure::usage(format!("Invalid ID range: {group}")));
    };
    let start = number(first).ok_or_else(|| Failure::usage(format!("Invalid ID range start: {first}")))?;
    let end = number(last).ok_or_else(|| Failure::usage(format!("Invalid ID range end: {last}")))?;
    if start > end {
        return Err(Failure::usage(format!("Invalid ID range: {group}")).hint(format!(
            "its end is below its start: write {last}-{first}",
            last = last.trim(),
            first = first.trim()
        )));
    }
    Ok((start, end))
}

/// A number as Python's `int` reads it: blanks around it and a plus sign are allowed.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// The selector terms of the ranges; sorted and merged if they are more than `max`.
#[must_use]
pub fn terms(ranges: &[Range], max: usize) -> Vec<String> {
    let write = |(a, b): Range| if a == b { a.to_string() } else { format!("{a}-{b}") };
    if ranges.len() <= max {
        return ranges.iter().copied().map(write).collect();
    }
    merged(ranges).into_iter().map(write).collect()
}

/// The same ids as ascending ranges that neither overlap nor touch.
#[must_use]
pub fn merged(ranges: &[Range]) -> Vec<Range> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut out: Vec<Range> = Vec::new();
    for (a, b) in sorted {
        match out.last_mut() {
            Some(last) if a <= last.1.saturating_add(1) => last.1 = last.1.max(b),
            _ => out.push((a, b)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(list: &str) -> String {
        let f = parse(list).unwrap_err();
        assert_eq!(f.exit, 2, "{list}");
        f.message
    }

    #[test]
    fn lists_and_ranges() {
        assert_eq!(parse("5,7-9, 01 ,+3").unwrap(), [(5, 5), (7, 9), (1, 1), (3, 3)]);
        assert_eq!(parse("4-4").unwrap(), [(4, 4)]);
    }

    #[test]
    fn errors_are_acts() {
        assert_eq!(message("abc"), "Invalid ID: abc");
        assert_eq!(message("1,,2"), "Invalid ID: ");
        assert_eq!(message(""), "Invalid ID: ");
        assert_eq!(message("1-2-3"), "Invalid ID range: 1-2-3");
        assert_eq!(message("1-"), "Invalid ID range end: ");
        assert_eq!(message("-3"), "Invalid ID range start: ");
        assert_eq!(message("1.0"), "Invalid ID: 1.0");
        assert_eq!(message("99999999999999999999"), "Invalid ID: 99999999999999999999");
    }

    #[test]
    fn a_reversed_range_never_means_every_job() {
        assert_eq!(message("5-3"), "Invalid ID range: 5-3");
        assert_eq!(message("1,5-3"), "Invalid ID range: 5-3");
    }

    #[test]
    fn many_ids_become_few_terms() {
        let ranges: Vec<Range> = (1..=2000).rev().map(|i| (i, i)).collect();
        assert_eq!(terms(&ranges, 1000), ["1-2000"]);
        assert_eq!(terms(&[(1, 1), (2, 2)], 1000), ["1", "2"]);
        assert_eq!(merged(&[(5, 9), (1, 2), (3, 3), (7, 20), (30, 30)]), [(1, 3), (5, 20), (30, 30)]);
    }
}
