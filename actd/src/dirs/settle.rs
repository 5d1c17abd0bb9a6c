//! "This file has stopped changing". Pure: it sees no file system and no clock, it is told.
//!
//! Events are hints. One that says that a file is complete (close after writing, rename into the directory) lets the
//! file be looked at; it does not shorten the time for which the file must then stay as it is.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::{Duration, Instant};

/// An empty file, or one that is known to be still open for writing, must stay as it is for so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// By what a change of a file is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Device.
    pub(super) dev: u64,
    /// Inode.
    pub(super) ino: u64,
    /// Size in bytes.
    pub(super) size: u64,
    /// Time of the last change of its content, nanoseconds since 1970.
    pub(super) mtime_ns: i64,
}

/// What an event says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// It has appeared (perhaps as a second name of a file, which nobody will close).
    Appeared,
    /// Its content has changed; whoever did that has it open.
    Written,
    /// Whoever wrote it has closed it, or it came whole by a rename.
    Complete,
}

/// What is to be done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has stopped changing.
    Settled,
    /// It is to be looked at again, at the time that [`Settle::next`] gives.
    Wait,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    stamp: Option<Stamp>,
    /// Since when nothing has been noticed.
    since: Instant,
    writing: bool,
}

/// The files that may still be changing.
#[derive(Debug)]
pub(super) struct Settle {
    quiet: Duration,
    files: BTreeMap<OsString, Seen>,
}

impl Settle {
    /// For a time for which a file must stay as it is.
    #[must_use]
    pub(super) fn new(quiet: Duration) -> Self {
        Self { quiet, files: BTreeMap::new() }
    }

    /// Another time; holds for the files that are waiting, too.
    pub(super) fn set_quiet(&mut self, quiet: Duration) {
        self.quiet = quiet;
    }

    /// A file was found in the directory. Nothing new if it is known.
    pub(super) fn found(&mut self, name: &OsStr, now: Instant) {
        if !self.files.contains_key(name) {
            self.files.insert(name.to_owned(), Seen { stamp: None, since: now, writing: false });
        }
    }

    /// An event told of the file.
    pub(super) fn sign(&mut self, name: &OsStr, sign: Sign, now: Instant) {
        self.found(name, now);
        if let Some(seen) = self.files.get_mut(name) {
            seen.since = now;
            // What it was when it was last looked at (empty, say) must not decide how long it is left alone.
            seen.stamp = None;
            match sign {
                Sign::Appeared => {}
                Sign::Written => seen.writing = true,
                Sign::Complete => seen.writing = false,
            }
        }
    }

    /// Events were lost: a close may have been among them.
    pub(super) fn events_lost(&mut self) {
        for seen in self.files.values_mut() {
            seen.writing = false;
        }
    }

    /// Somebody has it open for writing, or it could not be taken: its time begins anew.
    pub(super) fn again(&mut self, name: &OsStr, now: Instant) {
        if let Some(seen) = self.files.get_mut(name) {
            seen.since = now;
        }
    }

    /// The file as it is now.
    pub(super) fn look(&mut self, name: &OsStr, stamp: Stamp, now: Instant) -> Verdict {
        let quiet = self.quiet;
        let Some(seen) = self.files.get_mut(name) else { return Verdict::Wait };
        if seen.stamp != Some(stamp) {
            seen.stamp = Some(stamp);
            seen.since = now;
        }
        if now >= seen.due(quiet) { Verdict::Settled } else { Verdict::Wait }
    }

    /// What a file was when it was last looked at.
    #[must_use]
    pub(super) fn stamp(&self, name: &OsStr) -> Option<Stamp> {
        self.files.get(name).and_then(|seen| seen.stamp)
    }

    /// It is gone, or it has been taken.
    pub(super) fn forget(&mut self, name: &OsStr) {
        self.files.remove(name);
    }

    /// The files that are to be looked at now.
    #[must_use]
    pub(super) fn due(&self, now: Instant) -> Vec<OsString> {
        let is_due = |seen: &Seen| seen.stamp.is_none() || seen.due(self.quiet) <= now;
        self.files.iter().filter(|(_, seen)| is_due(seen)).map(|(name, _)| name.clone()).collect()
    }

    /// When the next file is to be looked at.
    #[must_use]
    pub(super) fn next(&self) -> Option<Instant> {
        self.files.values().map(|seen| if seen.stamp.is_none() { seen.since } else { seen.due(self.quiet) }).min()
    }

    /// How many files are waiting.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }
}

impl Seen {
    fn due(&self, quiet: Duration) -> Instant {
        let unfinished = self.writing || self.stamp.is_some_and(|stamp| stamp.size == 0);
        self.since + if unfinished { quiet.max(PATIENCE) } else { quiet }
    }
}

/// Whether a name in a watched directory is that of a description: it ends in `.xrsl`, and is none of the names that
/// editors and copying programs give to what is not finished (`.*`, `#*`; `*~`, `*.part`, `*.tmp`, `4913` do not end so).
#[must_use]
pub(super) fn is_description(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.len() > b".xrsl".len() && name.ends_with(b".xrsl") && !name.starts_with(b".") && !name.starts_with(b"#")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUIET: Duration = Duration::from_secs(1);

    fn stamp(size: u64) -> Stamp {
        Stamp { dev: 1, ino: 2, size, mtime_ns: 3 }
    }

    fn name() -> &'static OsStr {
        OsStr::new("a.xrsl")
    }

    #[test]
    fn a_file_that_stays_as_it_is_is_taken_after_the_quiet_time() {
        let start = Instant::now();
        let mut settle = Settle::new(QUIET);
        settle.found(name(), start);
        assert_eq!(settle.due(start), [name()]);
        assert_eq!(settle.look(name(), stamp(5), start), Verdict::Wait);
        assert!(settle.due(start).is_empty());
        assert_eq!(settle.next(), Some(start + QUIET));
        assert_eq!(settle.look(name(), stamp(5), start + QUIET), Verdict::Settled);
        settle.forget(name());
        assert!(settle.len() == 0 && settle.next().is_none());
    }

    #[test]
    fn a_change_begins_the_quiet_time_anew() {
        let start = Instant::now();
        let mut settle = Settle::new(QUIET);
        settle.found(name(), start);
        for n in 0..10u32 {
            let now = start + QUIET * n;
            assert_eq!(settle.look(name(), stamp(5 + u64::from(n)), now), Verdict::Wait);
        }
        assert_eq!(settle.look(name(), stamp(14), start + QUIET * 10), Verdict::Settled);
    }

    #[test]
    fn completion_triggers_but_does_not_shorten() {
        let start = Instant::now();
        let mut settle = Settle::new(QUIET);
        settle.sign(name(), Sign::Complete, start);
        assert_eq!(settle.look(name(), stamp(5), start), Verdict::Wait);
        let later = start + QUIET / 2;
        settle.sign(name(), Sign::Complete, later);
        assert_eq!(settle.due(later), [name()]);
        assert_eq!(settle.look(name(), stamp(5), later), Verdict::Wait);
        assert_eq!(settle.look(name(), stamp(5), start + QUIET), Verdict::Wait);
        assert_eq!(settle.look(name(), stamp(5), later + QUIET), Verdict::Settled);
    }

    #[test]
    fn a_writer_that_pauses_is_waited_for() {
        let start = Instant::now();
        let mut settle = Settle::new(QUIET);
        settle.sign(name(), Sign::Appeared, start);
        settle.sign(name(), Sign::Written, start);
        settle.look(name(), stamp(5), start);
        assert_eq!(settle.look(name(), stamp(5), start + QUIET * 10), Verdict::Wait);
        settle.sign(name(), Sign::Complete, start + QUIET * 11);
        assert_eq!(settle.look(name(), stamp(5), start + QUIET * 11), Verdict::Wait);
        assert_eq!(settle.look(name(), stamp(5), start + QUIET * 12), Verdict::Settled);
    }

    #[test]
    fn a_file_seen_empty_is_looked_at_again_when_something_is_written() {
        let start = Instant::now();
        let mut settle = Settle::new(QUIET);
        settle.sign(name(), Sign::Appeared, start);
        assert_eq!(settle.look(name(), stamp(0), start), Verdict::Wait);
        assert_eq!(settle.next(), Some(start + PATIENCE));
        settle.sign(name(), Sign::Written, start);
        settle.sign(name(), Sign::Complete, start);
        assert_eq!(settle.next(), Some(start));
        assert_eq!(settle.look(name(), stamp(5), start), Verdict::Wait);
        assert_eq!(settle.look(name(), stamp(5), start + QUIET), Verdict::Settled);
    }

    #[test]
    fn a_lost_close_and_an_empty_file_are_not_waited_for_for_ever() {
        let start = Instant::now();
        let mut settle = Settle::new(QUIET);
        settle.sign(name(), Sign::Written, start);
        settle.look(name(), stamp(5), start);
        assert_eq!(settle.look(name(), stamp(5), start + PATIENCE), Verdict::Settled);
        settle.events_lost();
        assert_eq!(settle.look(name(), stamp(5), start + QUIET), Verdict::Settled);
        assert_eq!(settle.look(name(), stamp(0), start), Verdict::Wait);
        assert_eq!(settle.look(name(), stamp(0), start + QUIET), Verdict::Wait);
        assert_eq!(settle.look(name(), stamp(0), start + PATIENCE), Verdict::Settled);
    }

    #[test]
    fn names() {
        for yes in ["a.xrsl", "a b.xrsl", "é.xrsl", "a.tmp.xrsl"] {
            assert!(is_description(OsStr::new(yes)), "{yes}");
        }
        let no = [".a.xrsl", ".#a.xrsl", "#a.xrsl#", "#a.xrsl", "a.xrsl~", "a.xrsl.part", "a.xrsl.tmp", "4913"];
        for no in no.into_iter().chain([".nfs0001", ".xrsl", "a.xrsl.swp", ".a.xrsl.Xy12", "a.txt", "xrsl", ""]) {
            assert!(!is_description(OsStr::new(no)), "{no}");
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Pass(u16),
        Change,
        Sign(Sign),
        Lost,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let sign = prop_oneof![Just(Sign::Appeared), Just(Sign::Written), Just(Sign::Complete)];
        prop::collection::vec(
            prop_oneof![
                (0u16..1_500).prop_map(Step::Pass),
                Just(Step::Change),
                sign.prop_map(Step::Sign),
                Just(Step::Lost)
            ],
            0..40,
        )
    }

    proptest! {
        /// Whatever comes: never settled within the quiet time of a change, always settled when nothing comes any more.
        #[test]
        fn settled_means_quiet(steps in steps()) {
            let mut now = Instant::now();
            let (mut size, mut changed) = (1, now);
            let mut settle = Settle::new(QUIET);
            settle.found(name(), now);
            settle.look(name(), stamp(size), now);
            for step in steps {
                match step {
                    Step::Pass(ms) => now += Duration::from_millis(ms.into()),
                    Step::Change => { size += 1; changed = now; }
                    Step::Sign(sign) => { settle.sign(name(), sign, now); changed = now; }
                    Step::Lost => settle.events_lost(),
                }
                let before = settle.stamp(name());
                if settle.look(name(), stamp(size), now) == Verdict::Settled {
                    prop_assert!(now - changed >= QUIET);
                    prop_assert_eq!(before, Some(stamp(size)));
                }
            }
            settle.look(name(), stamp(size), now);
            prop_assert_eq!(settle.look(name(), stamp(size), now + PATIENCE), Verdict::Settled);
        }
    }
}
