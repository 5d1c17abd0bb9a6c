//! Giving a finished directory its final name without ever replacing anything, and finding it again after a crash.
//! Blocking; call it from a blocking task.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::manifest::Manifest;
use crate::fsutil::{RelPath, Together};
use crate::job::Key;

/// Most directories of one name beside each other.
const MAX_SUFFIX: u32 = 100_000;
/// After so many free names in a row nothing more is looked for.
const GAPS: u32 = 8;

/// How a move ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// It is there now.
    To(PathBuf),
    /// Nothing has changed: that is another file system.
    CrossDevice,
}

/// `name`, `name_1`, `name_2`... in `parent`, cut where a file system would not take it.
fn candidate(parent: &Path, name: &str, n: u32) -> PathBuf {
    let suffix = if n == 0 { String::new() } else { format!("_{n}") };
    let mut stem = name.len().min(255 - suffix.len());
    while !name.is_char_boundary(stem) {
        stem -= 1;
    }
    parent.join(format!("{}{suffix}", &name[..stem]))
}

/// A name that can be that of a directory: a job's name may be anything.
pub(super) fn safe_name(name: &str) -> String {
    let name: String = name.trim().chars().map(|c| if c == '/' || c.is_control() { '_' } else { c }).collect();
    let cut: String = name
        .chars()
        .scan(0, |len, c| {
            *len += c.len_utf8();
            (*len <= 240).then_some(c)
        })
        .collect();
    if RelPath::top(&cut).is_ok() && !cut.starts_with(".actd") { cut } else { "job".to_owned() }
}

/// Moves the directory `from` to the first free of `name`, `name_1`... in `parent`. `chosen` is told each name before
/// it is tried. Durable when it returns.
pub(super) fn publish(
    from: &Path,
    parent: &Path,
    name: &str,
    syncs: &Together,
    mut chosen: impl FnMut(&Path) -> io::Result<()>,
) -> io::Result<Moved> {
    for n in 0..MAX_SUFFIX {
        let to = candidate(parent, name, n);
        if fs::symlink_metadata(&to).is_ok() {
            continue;
        }
        chosen(&to)?;
        match rename_to_free(from, &to) {
            Ok(()) => {
                syncs.fsync_dir(parent)?;
                return Ok(Moved::To(to));
            }
            Err(Errno::EXIST | Errno::NOTEMPTY) => {}
            Err(Errno::XDEV) => return Ok(Moved::CrossDevice),
            Err(e) => return Err(with_path(e, &to)),
        }
    }
    let text = format!("{} has too many directories named {name}_N", parent.display());
    Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
}

/// Renames without replacing. Where the file system cannot promise that, an empty directory is made to hold the name:
/// renaming a directory onto it replaces it and nothing else.
fn rename_to_free(from: &Path, to: &Path) -> Result<(), Errno> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {
            rustix::fs::mkdir(to, rustix::fs::Mode::RWXU)?;
            rustix::fs::rename(from, to).inspect_err(|_| {
                // The name stays taken otherwise; the first error is the one that counts.
                let _ = rustix::fs::rmdir(to);
            })
        }
        other => other,
    }
}

/// A directory `name`, `name_1`... in `parent` whose manifest says that it is of this job and that `fits` takes.
pub(super) fn find(
    parent: &Path,
    name: &str,
    state_dir: &Path,
    instance: &str,
    key: Key,
    mut fits: impl FnMut(&Path, &Manifest) -> bool,
) -> Option<(PathBuf, Manifest)> {
    let mut gaps = 0;
    for n in 0..MAX_SUFFIX {
        let dir = candidate(parent, name, n);
        match fs::symlink_metadata(&dir) {
            Ok(meta) if meta.is_dir() => {
                gaps = 0;
                if let Some(manifest) = Manifest::if_of(&dir, state_dir, instance, key)
                    && fits(&dir, &manifest)
                {
                    return Some((dir, manifest));
                }
            }
            Ok(_) => gaps = 0,
            Err(_) => {
                gaps += 1;
                if gaps > GAPS {
                    return None;
                }
            }
        }
    }
    None
}

/// The same error with the path.
pub(super) fn with_path(error: Errno, path: &Path) -> io::Error {
    let error = io::Error::from(error);
    if crate::fsutil::is_disk_full(&error) {
        return error;
    }
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_ever_replaced() {
        let dir = tempfile::tempdir().expect("dir");
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("job")).expect("an empty directory of the user's");
        fs::write(at("job_1"), "a file of the user's").expect("write");
        std::os::unix::fs::symlink("/nowhere", at("job_2")).expect("symlink");
        for n in 3..6 {
            fs::create_dir(at("stage")).expect("mkdir");
            fs::write(at("stage/out"), n.to_string()).expect("write");
            let mut tried = Vec::new();
            let moved = publish(&at("stage"), dir.path(), "job", &Together::default(), |to| {
                tried.push(to.to_owned());
                Ok(())
            });
            assert_eq!(moved.expect("publish"), Moved::To(at(&format!("job_{n}"))));
            assert_eq!(tried, [at(&format!("job_{n}"))]);
        }
        assert_eq!(fs::read_dir(at("job")).expect("list").count(), 0);
        assert_eq!(fs::read_to_string(at("job_4/out")).expect("read"), "4");
    }

    #[test]
    fn names_of_jobs_become_names_of_directories() {
        for (name, expected) in [
            ("plain", "plain"),
            ("a/b", "a_b"),
            ("../../etc", ".._.._etc"),
            ("..", "job"),
            ("", "job"),
            (" \n ", "job"),
            ("x\0y", "x_y"),
            (".actd-0123-j1.part", "job"),
        ] {
            assert_eq!(safe_name(name), expected, "{name:?}");
        }
        let long = safe_name(&"ø".repeat(500));
        assert!(long.len() <= 240 && candidate(Path::new("/"), &long, 99_999).as_os_str().len() < 256);
    }
}
