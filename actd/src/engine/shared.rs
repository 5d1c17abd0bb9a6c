//! Input files on WebDAV stores that jobs share, and which jobs: equal files of one store are uploaded once, and deleted
//! when the last job that needs them is gone from the server. It keeps counts; it sends nothing.
//!
//! **A file has one life.** Its name says what is in it (`actd-SHA256-SIZE`) and which job began it (`-INSTANCE.KEY`).
//! While some job needs it, a new job with equal content joins. Once the sweep of the last one is planned nobody joins
//! any more: equal content then begins another life under another name. So a deletion, however late the store may execute
//! it, and whatever a crash makes of its answer, never meets a file that a newer job counts on.
//!
//! **References are on disk** (`w` records) in the same commit as the job itself, long before anything is sent for it,
//! and until its sweep has been answered.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::job::{Job, Key, Phase};

/// The base URL and what is in the file.
type Content = (Box<str>, Box<str>);

/// The files of one job.
#[derive(Debug)]
struct Needs {
    /// In the order of its inputs.
    files: Vec<Arc<str>>,
    /// Whether it counts: its sweep is not planned.
    counts: bool,
}

/// Who needs which file.
#[derive(Debug, Default)]
pub(super) struct Shared {
    jobs: HashMap<Key, Needs>,
    /// How many jobs count on a file.
    needed: HashMap<Arc<str>, usize>,
    /// The file that a new job with this content joins.
    open: HashMap<Content, Arc<str>>,
}

/// Gone from the server for good: its inputs are not read any more.
pub(super) fn is_over(job: &Job) -> bool {
    matches!(job.phase, Phase::Stored { .. } | Phase::Collecting { .. } | Phase::Closed { .. })
}

/// `actd-SHA256-SIZE` of a file's name.
fn content_of(file: &str) -> &str {
    file.rsplit_once('-').map_or(file, |(content, _)| content)
}

impl Shared {
    /// Takes a new job in. The names of its files, to be written to disk with it.
    pub(super) fn join(&mut self, key: Key, base: &str, contents: &[String], instance: &str) -> Vec<Arc<str>> {
        let instance = instance.get(..8).unwrap_or(instance);
        let files: Vec<Arc<str>> = contents
            .iter()
            .map(|content| {
                let place = self.open.entry((base.into(), content.as_str().into()));
                place.or_insert_with(|| format!("{content}-{instance}.{}", key.0).into()).clone()
            })
            .collect();
        self.count(&files);
        self.jobs.insert(key, Needs { files: files.clone(), counts: true });
        files
    }

    /// Takes in what was found on disk of a job.
    pub(super) fn restore(&mut self, job: &Job, files: Vec<String>) {
        let files: Vec<Arc<str>> = files.into_iter().map(Arc::from).collect();
        // A job that is over may have had its sweep planned before the daemon ended.
        let counts = !is_over(job);
        if counts {
            self.count(&files);
            for file in &files {
                let base = job.webdav.clone().unwrap_or_default();
                self.open.insert((base, content_of(file).into()), file.clone());
            }
        }
        self.jobs.insert(job.key, Needs { files, counts });
    }

    fn count(&mut self, files: &[Arc<str>]) {
        for file in files.iter().collect::<BTreeSet<_>>() {
            *self.needed.entry(file.clone()).or_default() += 1;
        }
    }

    /// The names of a job's files, in the order of its inputs; none: it shares nothing.
    pub(super) fn files(&self, key: Key) -> Option<&[Arc<str>]> {
        self.jobs.get(&key).map(|needs| needs.files.as_slice())
    }

    /// The job's sweep is planned: from now on it counts no more. The files that nobody needs now: they are to be deleted.
    pub(super) fn release(&mut self, key: Key, base: &str) -> Vec<Arc<str>> {
        let Some(needs) = self.jobs.get_mut(&key) else { return Vec::new() };
        let files: BTreeSet<&Arc<str>> = needs.files.iter().collect();
        if std::mem::take(&mut needs.counts) {
            for file in &files {
                if let Some(count) = self.needed.get_mut(*file) {
                    *count = count.saturating_sub(1);
                }
            }
        }
        let dead: Vec<Arc<str>> =
            files.into_iter().filter(|f| self.needed.get(*f).is_none_or(|n| *n == 0)).cloned().collect();
        for file in &dead {
            self.needed.remove(file);
            let content = (base.into(), content_of(file).into());
            if self.open.get(&content) == Some(file) {
                self.open.remove(&content);
            }
        }
        dead
    }

    /// The job's sweep is done.
    pub(super) fn forget(&mut self, key: Key) {
        self.jobs.remove(&key);
    }
}
