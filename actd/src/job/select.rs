//! Which jobs are meant: the one grammar of selectors, and filters on top of it. Pure: it looks at the jobs it is given.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use act_proto::jobs::Filter;

use super::{AfterClean, Arcstate, Job, Key, Origin, Phase, ServerId, Time};

/// Why a selector or filter cannot be read, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSelector(pub String);

/// One term of a selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// `28517`: the server's id.
    Id(ServerId),
    /// `1-9:2`: from, to (inclusive), step.
    Range(ServerId, ServerId, u64),
    /// `j12`: our own key.
    Key(Key),
    /// `last:5`: so many of the jobs that were submitted last.
    Last(usize),
    /// `@batch`.
    Batch(String),
    /// An ARC job URL, the hash at its end, or a job's name.
    Word(String),
    /// Several, separated by commas.
    List(Vec<Term>),
}

impl Term {
    /// Reads a term.
    ///
    /// # Errors
    /// An empty or reversed range, an empty word, a number that is too large. On the server an empty set of ids means
    /// every job, so nothing that could mean "none" is let through.
    pub fn parse(text: &str) -> Result<Self, BadSelector> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BadSelector("an empty selector names no job".into()));
        }
        if text.contains(',') && !text.contains("://") {
            return text.split(',').map(Self::parse).collect::<Result<_, _>>().map(Self::List);
        }
        if let Ok(key) = text.parse() {
            return Ok(Self::Key(key));
        }
        if text == "last" {
            return Ok(Self::Last(1));
        }
        if let Some(count) = text.strip_prefix("last:") {
            return match count.parse() {
                Ok(n) if n > 0 => Ok(Self::Last(n)),
                _ => Err(BadSelector(format!("`{text}`: after `last:` comes how many, from 1"))),
            };
        }
        if let Some(batch) = text.strip_prefix('@') {
            return if batch.is_empty() {
                Err(BadSelector("`@` without the name of a batch".into()))
            } else {
                Ok(Self::Batch(batch.to_owned()))
            };
        }
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return number(text, text).map(Self::Id);
        }
        if text.starts_with(|c: char| c.is_ascii_digit())
            && text.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b':')
        {
            return range(text);
        }
        Ok(Self::Word(text.to_owned()))
    }
}

fn number(digits: &str, whole: &str) -> Result<u64, BadSelector> {
    digits.parse().map_err(|_| BadSelector(format!("`{whole}`: `{digits}` is no id")))
}

fn range(text: &str) -> Result<Term, BadSelector> {
    let (ends, step) = match text.split_once(':') {
        Some((ends, step)) => (ends, number(step, text)?),
        None => (text, 1),
    };
    let (from, to) =
        ends.split_once('-').ok_or_else(|| BadSelector(format!("`{text}`: a step belongs to a range, as in 1-9:2")))?;
    let (from, to) = (number(from, text)?, number(to, text)?);
    if step == 0 {
        return Err(BadSelector(format!("`{text}`: a step of 0 leads nowhere")));
    }
    if from > to {
        return Err(BadSelector(format!("`{text}` is an empty range; did you mean {to}-{from}?")));
    }
    Ok(Term::Range(from, to, step))
}

/// The jobs that a selection is made from.
#[derive(Debug, Clone, Copy)]
pub struct Jobs<'a> {
    /// All, by key.
    pub by_key: &'a BTreeMap<Key, Arc<Job>>,
    /// Those on the server, by its id: a shorter way to them.
    pub by_id: &'a BTreeMap<ServerId, Key>,
}

impl Jobs<'_> {
    /// By the server's id: what a person sees under that number, be it on the server or stored here.
    fn by_id(self) -> HashMap<ServerId, Key> {
        self.by_key.values().filter(|j| is_shown(j)).filter_map(|j| Some((j.id()?, j.key))).collect()
    }

    /// The job on the server with this id.
    fn on_server(self, id: ServerId) -> Option<Key> {
        let key = self.by_id.get(&id)?;
        self.by_key.get(key).filter(|j| is_shown(j) && j.id() == Some(id)).map(|j| j.key)
    }
}

/// What a filter selects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// The jobs, in the order of their keys.
    pub keys: Vec<Key>,
    /// Terms that name no job.
    pub missing: Vec<String>,
}

/// A filter whose words have been read.
#[derive(Debug, Clone)]
pub struct Parsed {
    terms: Vec<(String, Term)>,
    name: Option<String>,
    states: Vec<String>,
    since: Option<Time>,
    all: bool,
}

impl Parsed {
    /// Reads a filter.
    ///
    /// # Errors
    /// See [`Term::parse`]; a moment that is none.
    pub fn new(filter: &Filter) -> Result<Self, BadSelector> {
        let terms = filter
            .select
            .iter()
            .map(|text| Ok((text.clone(), Term::parse(text)?)))
            .collect::<Result<_, BadSelector>>()?;
        let since = match &filter.since {
            None => None,
            Some(text) => {
                let at: jiff::Timestamp = text
                    .parse()
                    .map_err(|_| BadSelector(format!("`{text}` is no moment: write it as 2026-11-22T15:04:05Z")))?;
                Some(Time(at.as_millisecond()))
            }
        };
        Ok(Self {
            terms,
            name: filter.name.clone().filter(|n| !n.is_empty()),
            states: filter.states.clone(),
            since,
            all: filter.all,
        })
    }

    /// Whether it restricts nothing: every job.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty() && self.name.is_none() && self.states.is_empty() && self.since.is_none()
    }

    /// Whether it restricts more than terms name.
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        self.name.is_some() || !self.states.is_empty() || self.since.is_some()
    }

    /// How many of the newest a term asks for; 0: none does.
    #[must_use]
    pub fn last(&self) -> usize {
        fn count(term: &Term) -> usize {
            match term {
                Term::Last(n) => *n,
                Term::List(terms) => terms.iter().map(count).max().unwrap_or(0),
                _ => 0,
            }
        }
        self.terms.iter().map(|(_, term)| count(term)).max().unwrap_or(0)
    }

    /// Whether it may name jobs that are finished with, when these terms of it name none of those that are not: a key and an
    /// id name one job, and `last` counts others.
    #[must_use]
    pub fn asks_history(&self, missing: &[String]) -> bool {
        fn asks(term: &Term, is_missing: bool) -> bool {
            match term {
                Term::Key(_) | Term::Id(_) => is_missing,
                Term::Last(_) => false,
                Term::Range(..) | Term::Batch(_) | Term::Word(_) => true,
                Term::List(terms) => terms.iter().any(|term| asks(term, is_missing)),
            }
        }
        self.terms.is_empty() || self.terms.iter().any(|(_, term)| asks(term, !missing.is_empty()))
    }

    /// The keys that it names, if it names jobs by nothing else.
    #[must_use]
    pub fn keys(&self) -> Option<BTreeSet<Key>> {
        fn add(term: &Term, keys: &mut BTreeSet<Key>) -> bool {
            match term {
                Term::Key(key) => {
                    keys.insert(*key);
                    true
                }
                Term::List(terms) => terms.iter().all(|term| add(term, keys)),
                _ => false,
            }
        }
        let mut keys = BTreeSet::new();
        (!self.terms.is_empty() && self.terms.iter().all(|(_, term)| add(term, &mut keys))).then_some(keys)
    }

    /// Whether the caller said that every job is meant.
    #[must_use]
    pub fn all(&self) -> bool {
        self.all
    }

    /// Whether a job fulfils all conditions but the selector terms.
    #[must_use]
    pub fn conditions(&self, job: &Job) -> bool {
        let name = self.name.as_deref().is_none_or(|part| job.name.as_deref().is_some_and(|name| like(name, part)));
        let state = self.states.is_empty()
            || job.arcstate().word().is_some_and(|word| self.states.iter().any(|s| s.eq_ignore_ascii_case(word)));
        name && state && self.since.is_none_or(|t| job.submitted >= t)
    }

    /// Whether one of the selector terms names the job, or there is none. For single jobs out of the whole (history);
    /// `last` counts nothing here and matches none.
    #[must_use]
    pub fn names(&self, job: &Job) -> bool {
        self.terms.is_empty() || self.terms.iter().any(|(_, term)| names(term, job))
    }

    /// Selects.
    #[must_use]
    pub fn select(&self, jobs: Jobs<'_>) -> Selection {
        if self.terms.is_empty() {
            let keys = jobs.by_key.values().filter(|j| self.conditions(j)).map(|j| j.key).collect();
            return Selection { keys, missing: Vec::new() };
        }
        let mut found = BTreeSet::new();
        let mut missing = Vec::new();
        // Among very many jobs the index of all costs more than the question.
        let has_short_way = |term: &Term| match term {
            Term::Id(id) => jobs.on_server(*id).is_some(),
            Term::Range(..) | Term::List(_) => false,
            Term::Key(_) | Term::Last(_) | Term::Batch(_) | Term::Word(_) => true,
        };
        let short = self.terms.iter().all(|(_, term)| has_short_way(term));
        let by_id = if short { HashMap::new() } else { jobs.by_id() };
        for (text, term) in &self.terms {
            resolve(text, term, jobs, &by_id, &mut found, &mut missing);
        }
        let fits = |key: &Key| jobs.by_key.get(key).is_some_and(|j| self.conditions(j));
        Selection { keys: found.into_iter().filter(fits).collect(), missing }
    }
}

/// As the server's `LIKE` does it (observed on a real aCT server, act-client 1.0.0's API): case-sensitive, anywhere in
/// the name, and `%` stands for anything.
fn like(name: &str, part: &str) -> bool {
    let mut rest = name;
    part.split('%').all(|piece| match rest.find(piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}

fn names(term: &Term, job: &Job) -> bool {
    match term {
        Term::Id(id) => job.id() == Some(*id),
        Term::Range(from, to, step) => {
            job.id().is_some_and(|id| (*from..=*to).contains(&id) && (id - from).is_multiple_of(*step))
        }
        Term::Key(key) => job.key == *key,
        Term::Last(_) => false,
        Term::Batch(batch) => job.batch.as_deref() == Some(batch),
        Term::Word(word) => is_word(word, job),
        Term::List(list) => list.iter().any(|t| names(t, job)),
    }
}

fn is_word(word: &str, job: &Job) -> bool {
    if job.name.as_deref() == Some(word) {
        return true;
    }
    let Some(seen) = job.seen.as_ref().filter(|s| !s.run.is_empty()) else { return false };
    if word.contains("://") {
        return word.trim_end_matches('/') == seen.run.trim_end_matches('/');
    }
    seen.hash() == Some(word)
}

fn resolve(
    text: &str,
    term: &Term,
    jobs: Jobs<'_>,
    by_id: &HashMap<ServerId, Key>,
    found: &mut BTreeSet<Key>,
    missing: &mut Vec<String>,
) {
    let all = || jobs.by_key.values();
    let before = found.len();
    let mut hit = false;
    match term {
        Term::Id(id) => {
            if let Some(key) = by_id.get(id).copied().or_else(|| jobs.on_server(*id)) {
                hit = true;
                found.insert(key);
            }
        }
        Term::Range(from, to, step) => {
            // Ranges may be huge, the jobs are not.
            let inside = |id: u64| (*from..=*to).contains(&id) && (id - from).is_multiple_of(*step);
            for (_, key) in by_id.iter().filter(|(id, _)| inside(**id)) {
                hit = true;
                found.insert(*key);
            }
        }
        Term::Key(key) => {
            hit = jobs.by_key.contains_key(key);
            if hit {
                found.insert(*key);
            }
        }
        Term::Last(count) => {
            let ours = jobs.by_key.values().rev().filter(|j| j.origin == Origin::Submitted && is_shown(j)).take(*count);
            for job in ours {
                hit = true;
                found.insert(job.key);
            }
        }
        Term::List(list) => {
            // A name may hold a comma.
            let mut named = all().filter(|j| j.name.as_deref() == Some(text)).map(|j| j.key).peekable();
            if named.peek().is_some() {
                found.extend(named);
            } else {
                let parts = text.split(',').map(str::trim);
                parts.zip(list).for_each(|(text, term)| resolve(text, term, jobs, by_id, found, missing));
            }
            return;
        }
        Term::Batch(_) | Term::Word(_) => {
            for job in all().filter(|j| names(term, j)) {
                hit = true;
                found.insert(job.key);
            }
        }
    }
    if !hit && found.len() == before {
        missing.push(text.to_owned());
    }
}

/// Whether a person still thinks of it as a job that is there: not one that is closed, being undone, or collected while
/// the server is not yet clean of it.
#[must_use]
pub fn is_shown(job: &Job) -> bool {
    match &job.phase {
        Phase::Closed { .. } => false,
        Phase::Cleaning { then, .. } => *then == AfterClean::Store,
        _ => true,
    }
}

/// Whether there is something to get: results here or on the server.
#[must_use]
pub fn can_get(job: &Job) -> bool {
    match job.phase {
        Phase::Active { .. }
        | Phase::Retrieving { .. }
        | Phase::Retrieved { .. }
        | Phase::Cleaning { then: AfterClean::Store, .. } => job.arcstate().has_results(),
        Phase::Stored { .. } => true,
        _ => false,
    }
}

/// Whether it can be dropped: what the server lets go, what is stored here, and what nobody knows about.
#[must_use]
pub fn can_clean(job: &Job) -> bool {
    match job.phase {
        Phase::Active { .. }
        | Phase::Retrieving { .. }
        | Phase::Retrieved { .. }
        | Phase::Cleaning { then: AfterClean::Store, .. } => job.arcstate().can_clean(),
        Phase::Stored { .. } | Phase::Unknown { .. } => true,
        _ => false,
    }
}

/// Whether it can be killed: what the server kills, and what has not been sent.
#[must_use]
pub fn can_kill(job: &Job) -> bool {
    match job.phase {
        Phase::Active { .. } => job.arcstate().can_kill(),
        Phase::Queued
        | Phase::Creating { .. }
        | Phase::Created { .. }
        | Phase::Uploading { .. }
        | Phase::Confirming { .. } => true,
        _ => false,
    }
}

/// Whether the server can fetch what it left.
#[must_use]
pub fn can_fetch(job: &Job) -> bool {
    matches!(job.phase, Phase::Active { .. }) && *job.arcstate() == Arcstate::Failed
}

/// Whether the server can run it again.
#[must_use]
pub fn can_resubmit(job: &Job) -> bool {
    matches!(job.phase, Phase::Active { .. } | Phase::Retrieving { .. })
        && matches!(job.arcstate(), Arcstate::Failed | Arcstate::DoneFailed)
}

#[cfg(test)]
mod tests;
