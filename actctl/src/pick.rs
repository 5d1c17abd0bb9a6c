//! From the arguments of a verb to the filter that the daemon understands. Reads the file of `-i FILE`, nothing else.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use act_proto::MAX_SELECTORS;
use act_proto::jobs::Filter;

use crate::cli_jobs::JobArgs;
use crate::failure::Failure;
use crate::ids::{self, Range};

/// The most bytes of a list of ids.
const MAX_LIST: u64 = 32 << 20;

/// What a verb is to work on.
#[derive(Debug, Clone, Default)]
pub struct Pick {
    /// The filter; for calls that change jobs, see [`Pick::chunks`].
    pub filter: Filter,
    /// The ids of `-i`, if it was given.
    pub ids: Option<Vec<Range>>,
    /// Nothing narrows it down: every job.
    pub bare: bool,
}

/// Makes a [`Pick`] of the arguments.
///
/// # Errors
/// Ids that cannot be read, a file that cannot, a bad `--since`.
pub fn pick(args: &JobArgs) -> Result<Pick, Failure> {
    let mut filter = Filter { select: args.select.clone(), ..Filter::default() };
    let mut ranges = None;
    if let Some(list) = &args.id {
        let (found, others) = list_of_ids(list)?;
        filter.select.extend(ids::terms(&found, MAX_SELECTORS));
        filter.select.extend(others);
        ranges = Some(found);
        if filter.select.is_empty() {
            return Err(Failure::usage(format!("no IDs in {list}")));
        }
    }
    filter.name = Some(args.name.clone()).filter(|n| !n.is_empty());
    filter.states.clone_from(&args.states);
    if let Some(since) = &args.since {
        filter.since = Some(moment(since)?);
    }
    let bare = filter.select.is_empty() && filter.name.is_none() && filter.states.is_empty() && filter.since.is_none();
    filter.all = args.all && bare;
    Ok(Pick { filter, ids: ranges, bare })
}

impl Pick {
    /// The filter in pieces that a call takes.
    #[must_use]
    pub fn chunks(&self) -> Vec<Filter> {
        if self.filter.select.len() <= MAX_SELECTORS {
            return vec![self.filter.clone()];
        }
        self.filter
            .select
            .chunks(MAX_SELECTORS)
            .map(|terms| Filter { select: terms.to_vec(), ..self.filter.clone() })
            .collect()
    }
}

/// The value of `-i`: ids, or a file of ids (and keys, `j12`) separated by blanks or commas, or `-` for stdin.
fn list_of_ids(list: &str) -> Result<(Vec<Range>, Vec<String>), Failure> {
    if list == "-" {
        return from_file(&mut io::stdin().lock(), "stdin");
    }
    let error = match ids::parse(list) {
        Ok(ranges) => return Ok((ranges, Vec::new())),
        Err(error) => error,
    };
    let path = Path::new(list);
    if list.is_empty() || !path.is_file() {
        return Err(error);
    }
    let mut file = File::open(path).map_err(|e| Failure::local(format!("cannot read {list}: {e}")))?;
    from_file(&mut file, list)
}

fn from_file(file: &mut dyn Read, name: &str) -> Result<(Vec<Range>, Vec<String>), Failure> {
    let mut text = String::new();
    let read = file.take(MAX_LIST).read_to_string(&mut text);
    let read = read.map_err(|e| Failure::local(format!("cannot read the IDs in {name}: {e}")))?;
    if read as u64 == MAX_LIST {
        return Err(Failure::usage(format!("the list of IDs in {name} is larger than 32 MiB")));
    }
    let (mut ranges, mut others) = (Vec::new(), Vec::new());
    for word in text.split(|c: char| c.is_whitespace() || c == ',').filter(|w| !w.is_empty()) {
        if word.strip_prefix('j').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())) {
            others.push(word.to_owned());
        } else {
            ranges.extend(ids::parse(word).map_err(|f| f.hint(format!("in the list of IDs in {name}")))?);
        }
    }
    Ok((ranges, others))
}

/// A length of time: `90s`, `30m`, `2h`, `3d`, `1w`; a bare number is seconds.
///
/// # Errors
/// Anything else.
pub fn duration(text: &str) -> Result<Duration, Failure> {
    let bad = || Failure::usage(format!("`{text}` is not a length of time")).hint("write it as 90s, 30m, 2h or 3d");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(bad()),
    };
    let number: u64 = digits.parse().map_err(|_| bad())?;
    number.checked_mul(factor).filter(|s| *s < 1 << 40).map(Duration::from_secs).ok_or_else(bad)
}

/// A moment: an RFC 3339 time, or an age.
fn moment(text: &str) -> Result<String, Failure> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(format!("{at:.3}"));
    }
    let age = duration(text).map_err(|f| f.hint("write --since as 30m, 2h, 3d or 2026-11-22T15:04:05Z"))?;
    let at = jiff::Timestamp::now().checked_sub(age).map_err(|_| Failure::usage("--since is too long ago"))?;
    Ok(format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(id: &str) -> JobArgs {
        JobArgs { id: Some(id.into()), ..JobArgs::default() }
    }

    #[test]
    fn ids_and_selectors_join() {
        let mut a = args("5,7-9");
        a.select = vec!["last:2".into()];
        let p = pick(&a).unwrap();
        assert_eq!(p.filter.select, ["last:2", "5", "7-9"]);
        assert!(!p.bare && !p.filter.all);
    }

    #[test]
    fn a_file_of_ids() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ids");
        std::fs::write(&file, "5\n7-9 j12,\n").unwrap();
        let p = pick(&args(file.to_str().unwrap())).unwrap();
        assert_eq!(p.filter.select, ["5", "7-9", "j12"]);
        std::fs::write(&file, "\n").unwrap();
        assert_eq!(pick(&args(file.to_str().unwrap())).unwrap_err().exit, 2);
    }

    #[test]
    fn nothing_given_is_bare_and_all_only_if_said() {
        let p = pick(&JobArgs::default()).unwrap();
        assert!(p.bare && !p.filter.all);
        let p = pick(&JobArgs { all: true, ..JobArgs::default() }).unwrap();
        assert!(p.bare && p.filter.all);
        let p = pick(&JobArgs { all: true, states: vec![String::new()], ..JobArgs::default() }).unwrap();
        assert!(!p.bare && !p.filter.all, "a selection is never widened by -a");
    }

    #[test]
    fn an_empty_id_is_no_selection_of_everything() {
        assert_eq!(pick(&args("")).unwrap_err().message, "Invalid ID: ");
    }

    #[test]
    fn times() {
        assert_eq!(duration("90").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("2h").unwrap(), Duration::from_secs(7200));
        assert!(duration("h").is_err() && duration("2y").is_err() && duration("-1s").is_err() && duration("").is_err());
        assert_eq!(moment("2026-11-22T15:04:05Z").unwrap(), "2026-11-22T15:04:05.000Z");
        assert!(moment("2h").unwrap().ends_with('Z'));
    }

    #[test]
    fn a_thousand_terms_a_call() {
        let a = JobArgs { select: (0..2500).map(|i| format!("name{i}")).collect(), ..JobArgs::default() };
        let chunks = pick(&a).unwrap().chunks();
        assert_eq!(chunks.iter().map(|c| c.select.len()).collect::<Vec<_>>(), [1000, 1000, 500]);
    }
}
