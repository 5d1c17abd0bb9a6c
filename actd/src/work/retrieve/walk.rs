//! The tree of a job's results as the server lists it, bounded, every name checked. It fetches no file.

use std::collections::{BTreeSet, VecDeque};

use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::fsutil::RelPath;
use crate::job::ServerId;
use crate::remote::act::{ActClient, NoResults};
use crate::work::again;
use crate::work::manifest::Missing;

/// Most files and directories of one job.
const MAX_ENTRIES: usize = 100_000;
/// Most directories of one job: each is a request.
const MAX_DIRS: usize = 10_000;
/// Most bytes of all names together.
const MAX_NAMES: usize = 16 << 20;
/// Most refused names that are remembered one by one.
const MAX_REFUSED: usize = 100;

/// What a job has.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) files: BTreeSet<RelPath>,
    pub(super) dirs: BTreeSet<RelPath>,
    /// What cannot be brought.
    pub(super) refused: Vec<Missing>,
}

impl Tree {
    pub(super) fn refuse(&mut self, name: &str, why: impl Into<String>) {
        if self.refused.len() < MAX_REFUSED {
            let name = name.chars().take(200).flat_map(char::escape_debug).collect();
            self.refused.push(Missing { name, why: why.into() });
        }
    }

    /// Takes an entry of a directory; gives the path of a directory that is to be listed.
    fn take(&mut self, path: RelPath, is_dir: bool, may_list: bool) -> Option<RelPath> {
        let (is_file_too, is_dir_too) = (self.files.contains(&path), self.dirs.contains(&path));
        if is_file_too || is_dir_too {
            if is_file_too == is_dir {
                self.refuse(path.as_str(), "the server lists it as a file and as a directory");
            }
            return None;
        }
        if !is_dir {
            self.files.insert(path);
            return None;
        }
        if !may_list {
            self.refuse(path.as_str(), format!("the job has more than {MAX_DIRS} directories"));
            return None;
        }
        self.dirs.insert(path.clone());
        Some(path)
    }
}

/// What the server says about the results as a whole.
#[derive(Debug)]
pub(super) enum Listed {
    /// These.
    Tree(Tree),
    /// The job ended without any.
    None,
    /// Not in this state: the row must be looked at.
    NotInState,
}

pub(super) async fn walk(
    act: &ActClient,
    id: ServerId,
    exclude: &[String],
    stop: &CancellationToken,
) -> Result<Listed, Failure> {
    let mut tree = Tree::default();
    let mut todo: VecDeque<Option<RelPath>> = VecDeque::from([None]);
    let (mut names, mut listed) = (0, 0);
    while let Some(dir) = todo.pop_front() {
        let at = dir.as_ref().map_or("", RelPath::as_str);
        let entries = tokio::select! {
            () = stop.cancelled() => return Err(Failure::stopped()),
            entries = again::reading(|| act.results_list(id, at)) => entries.map_err(|e| Failure::of_server(&e))?,
        };
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(NoResults::Gone | NoResults::NoSuchPath) if dir.is_none() => return Ok(Listed::None),
            Err(NoResults::NoSuchPath) => {
                tree.refuse(at, "the server lists this directory and then says that there is none");
                continue;
            }
            Err(NoResults::Gone | NoResults::NotInState) => return Ok(Listed::NotInState),
        };
        listed += 1;
        // A name that is there twice is taken for a file: that is where bytes are.
        entries.sort_by_key(|entry| entry.is_dir);
        for entry in entries {
            let path = match &dir {
                Some(dir) => dir.child(&entry.name),
                None => RelPath::top(&entry.name),
            };
            let path = match path {
                Ok(path) => path,
                Err(error) => {
                    tree.refuse(&entry.name, error.to_string());
                    continue;
                }
            };
            if is_excluded(&path, entry.is_dir, exclude) {
                continue;
            }
            names += path.as_str().len();
            if tree.files.len() + tree.dirs.len() >= MAX_ENTRIES || names > MAX_NAMES {
                tree.refuse(
                    path.as_str(),
                    format!("the job has more than {MAX_ENTRIES} files, or longer names than are taken"),
                );
                return Ok(Listed::Tree(tree));
            }
            if let Some(dir) = tree.take(path, entry.is_dir, listed + todo.len() < MAX_DIRS) {
                todo.push_back(Some(dir));
            }
        }
    }
    Ok(Listed::Tree(tree))
}

fn is_excluded(path: &RelPath, is_dir: bool, exclude: &[String]) -> bool {
    let path = if is_dir { format!("{}/", path.as_str()) } else { path.as_str().to_owned() };
    exclude.iter().any(|prefix| !prefix.is_empty() && path.starts_with(prefix.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(p: &str) -> RelPath {
        RelPath::new(p).expect("path")
    }

    #[test]
    fn prefixes_exclude_what_starts_so() {
        let gmlog = ["gmlog/".to_owned()];
        assert!(is_excluded(&path("gmlog"), true, &gmlog));
        assert!(is_excluded(&path("gmlog/diag"), false, &gmlog));
        assert!(!is_excluded(&path("gmlog"), false, &gmlog));
        assert!(!is_excluded(&path("gmlogs"), true, &gmlog));
        assert!(!is_excluded(&path("x"), false, &[String::new()]));
    }

    #[test]
    fn one_name_is_one_thing() {
        let mut tree = Tree::default();
        assert_eq!(tree.take(path("a"), true, true), Some(path("a")));
        assert_eq!(tree.take(path("a"), true, true), None);
        assert!(tree.refused.is_empty());
        assert_eq!(tree.take(path("a"), false, true), None);
        assert_eq!(tree.refused.len(), 1);
        assert!(tree.files.is_empty());
        assert_eq!(tree.take(path("b"), true, false), None);
        assert_eq!(tree.refused.len(), 2);
    }
}
