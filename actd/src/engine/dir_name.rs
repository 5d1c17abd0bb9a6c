//! What the directory of a job's results is named after: text with placeholders for facts of the job. Facts come from a
//! server or a description: what makes no name of a single directory with them is not used.

use std::fmt;
use std::str::FromStr;

use crate::fsutil::RelPath;
use crate::job::Job;

/// Longest pattern, bytes.
const MAX_LEN: usize = 100;

/// A pattern such as `{name}-{id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirName(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Fact(Fact),
}

/// What a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    /// The hash at the end of ARC's URL of the job.
    Hash,
    /// The job's name.
    Name,
    /// The server's number of the job.
    Id,
}

impl Fact {
    const ALL: [Self; 3] = [Self::Hash, Self::Name, Self::Id];

    fn word(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Name => "name",
            Self::Id => "id",
        }
    }

    fn of(self, job: &Job) -> Option<String> {
        match self {
            Self::Hash => job.seen.as_ref().and_then(|s| s.hash()).map(str::to_owned),
            Self::Name => job.name.as_deref().filter(|name| !name.is_empty()).map(str::to_owned),
            Self::Id => job.id().map(|id| id.to_string()),
        }
    }
}

impl DirName {
    /// As act names it: after the hash, or after the job if so wished.
    #[must_use]
    pub fn of_act(use_jobname: bool) -> Self {
        Self(vec![Part::Fact(if use_jobname { Fact::Name } else { Fact::Hash })])
    }

    /// The name of this job's directory: by the pattern if that makes one, else the hash, else `job-ID`.
    pub(super) fn of(&self, job: &Job) -> String {
        let known = || job.id().map_or_else(|| job.key.to_string(), |id| format!("job-{id}"));
        self.filled(job).or_else(|| Self::default().filled(job)).unwrap_or_else(known)
    }

    /// Nothing: a fact is not known, or all together cannot be the name of a directory.
    fn filled(&self, job: &Job) -> Option<String> {
        let text = |part: &Part| match part {
            Part::Text(text) => Some(text.clone()),
            Part::Fact(fact) => fact.of(job),
        };
        let name: String = self.0.iter().map(text).collect::<Option<_>>()?;
        (!name.starts_with('.') && RelPath::top(&name).is_ok()).then_some(name)
    }
}

impl Default for DirName {
    fn default() -> Self {
        Self::of_act(false)
    }
}

impl fmt::Display for DirName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Fact(fact) => write!(f, "{{{}}}", fact.word()),
        })
    }
}

impl FromStr for DirName {
    type Err = String;

    /// # Errors
    /// A sentence that says what is wrong and which placeholders there are.
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |why: &str| {
            let all: Vec<String> = Fact::ALL.iter().map(|fact| format!("{{{}}}", fact.word())).collect();
            let shown = text.escape_debug();
            Err(format!("`{shown}` cannot name directories of results: {why}; placeholders are {}", all.join(", ")))
        };
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let Some((word, after)) = from.strip_prefix('{').and_then(|inside| inside.split_once('}')) else {
                return bad("`{` and `}` only stand around a placeholder");
            };
            match Fact::ALL.into_iter().find(|fact| fact.word() == word) {
                Some(fact) => parts.push(Part::Fact(fact)),
                None => return bad(&format!("`{{{}}}` stands for nothing", word.escape_debug())),
            }
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if !parts.iter().any(|part| matches!(part, Part::Fact(_))) {
            return bad("it would be the same for all jobs");
        }
        if text.contains('/') {
            return bad("with a slash in it, it is no name of a single directory");
        }
        if text.chars().any(char::is_control) {
            return bad("it has control characters");
        }
        if text.starts_with('.') {
            return bad("a dot at its beginning hides them");
        }
        if text.len() > MAX_LEN {
            return bad(&format!("it is longer than {MAX_LEN} bytes"));
        }
        Ok(Self(parts))
    }
}

#[cfg(test)]
mod tests {
    use act_proto::jobs::Origin;
    use proptest::prelude::*;

    use super::*;
    use crate::job::{Arcstate, Key, Phase, Seen, Time};

    fn job(name: Option<&str>, run: &str) -> Job {
        let seen = Seen { arcstate: Arcstate::Done, state: "".into(), run: run.into(), since: Time(1) };
        Job {
            name: name.map(Into::into),
            seen: Some(seen),
            ..Job::new(Key(7), Origin::Submitted, 1, Phase::Active { id: 12 }, Time(1))
        }
    }

    #[test]
    fn facts_take_their_places() {
        let job = job(Some("fit"), "https://ce/rest/1.0/jobs/abc");
        for (pattern, expected) in [
            ("{hash}", "abc"),
            ("{name}-{id}", "fit-12"),
            ("run {id} of {name}", "run 12 of fit"),
            ("{id}{id}", "1212"),
        ] {
            let name: DirName = pattern.parse().expect(pattern);
            assert_eq!((name.of(&job).as_str(), name.to_string().as_str()), (expected, pattern));
        }
        assert_eq!((DirName::of_act(true).of(&job), DirName::default().of(&job)), ("fit".into(), "abc".into()));
    }

    #[test]
    fn what_makes_no_name_is_not_used() {
        let name: DirName = "{name}-{id}".parse().expect("a pattern");
        let long = "x".repeat(300);
        for odd in [None, Some(""), Some("a/b"), Some("../../etc"), Some(".hidden"), Some("nul\0"), Some(&long)] {
            assert_eq!(name.of(&job(odd, "https://ce/jobs/abc")), "abc", "{odd:?}");
            assert_eq!(name.of(&job(odd, "")), "job-12", "{odd:?}");
        }
        assert_eq!(name.of(&job(Some("fit"), "https://ce/jobs/..")), "fit-12");
        assert_eq!(DirName::default().of(&job(Some("fit"), "https://ce/jobs/..")), "job-12");
    }

    #[test]
    fn a_bad_pattern_is_told_what_there_is() {
        let long = format!("{{id}}{}", "x".repeat(MAX_LEN));
        let all =
            ["", "results", "{nam}", "{name", "name}", "{{id}}", "{}", "a/{id}", ".{id}", "{id}\n", "{Id}", &long];
        for pattern in all {
            let why = pattern.parse::<DirName>().expect_err(pattern);
            assert!(why.ends_with("placeholders are {hash}, {name}, {id}") && !why.contains('\n'), "{why}");
        }
    }

    proptest! {
        #[test]
        fn it_is_always_one_directory_in_its_place(
            pattern in "(\\{(hash|name|id)\\}|[-. a{}/]){1,6}",
            name in prop::option::of("\\PC{0,20}|[./\\x00]{0,6}|[a.]{200,260}"),
            run in "\\PC{0,20}|[./]{0,6}",
        ) {
            if let Ok(pattern) = pattern.parse::<DirName>() {
                let dir = pattern.of(&job(name.as_deref(), &run));
                prop_assert!(RelPath::top(&dir).is_ok() && !dir.starts_with('.'), "{dir:?}");
            }
        }
    }
}
