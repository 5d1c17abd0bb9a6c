//! Moving a directory tree to where a rename cannot take it: another file system. Single steps, so that the caller can
//! journal between them: [`try_rename`]; else [`copy_tree`] to a temporary name, [`publish`], [`remove_tree`].

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::atomic::{fsync_dir, with_path};

/// What a rename did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renamed {
    Done,
    /// Nothing has changed: the target is on another file system.
    CrossDevice,
}

/// Moves `from` to `to`, which must not exist (`AlreadyExists`; an empty directory, as [`super::reserve_dir`] makes it,
/// is replaced). Durable when it returns `Done`.
pub fn try_rename(from: &Path, to: &Path) -> io::Result<Renamed> {
    match rename_onto_nothing(from, to) {
        Ok(()) => {}
        Err(Errno::XDEV) => return Ok(Renamed::CrossDevice),
        Err(e) => return Err(with_path(&e.into(), to)),
    }
    for dir in [to.parent(), from.parent()].into_iter().flatten() {
        fsync_dir(if dir.as_os_str().is_empty() { Path::new(".") } else { dir })?;
    }
    Ok(Renamed::Done)
}

fn rename_onto_nothing(from: &Path, to: &Path) -> Result<(), Errno> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A plain rename replaces an empty directory by a directory, and fails on anything else that is in the way of one.
        Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS) if is_real_dir(from) && (is_real_dir(to) || !exists(to)) => {
            rustix::fs::rename(from, to).map_err(|e| if e == Errno::NOTEMPTY { Errno::EXIST } else { e })
        }
        Err(Errno::INVAL | Errno::NOSYS) if !exists(to) => rustix::fs::rename(from, to),
        Err(Errno::INVAL | Errno::NOSYS) => Err(Errno::EXIST),
        other => other,
    }
}

fn is_real_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_dir())
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Copies a tree of directories, files and symlinks (as such) to `part`, replacing what an earlier attempt left there.
/// Permissions and times of change are kept; every file and directory is fsynced. Gives the number of bytes copied.
/// Anything else (devices, sockets) is an error: results do not hold such.
pub fn copy_tree(from: &Path, part: &Path) -> io::Result<u64> {
    remove_tree(part)?;
    let mut copied = 0;
    // (source, target) directories still to copy; made before they are entered, fsynced after all is in them.
    let mut todo = vec![(from.to_owned(), part.to_owned())];
    let mut made: Vec<(PathBuf, fs::Metadata)> = Vec::new();
    while let Some((source, target)) = todo.pop() {
        let meta = fs::symlink_metadata(&source).map_err(|e| with_path(&e, &source))?;
        if !meta.is_dir() {
            return Err(with_path(&io::Error::from(io::ErrorKind::NotADirectory), &source));
        }
        fs::create_dir(&target).map_err(|e| with_path(&e, &target))?;
        for entry in fs::read_dir(&source).map_err(|e| with_path(&e, &source))? {
            let entry = entry.map_err(|e| with_path(&e, &source))?;
            let (source, target) = (entry.path(), target.join(entry.file_name()));
            let kind = entry.file_type().map_err(|e| with_path(&e, &source))?;
            if kind.is_dir() {
                todo.push((source, target));
            } else if kind.is_symlink() {
                fs::read_link(&source)
                    .and_then(|to| std::os::unix::fs::symlink(to, &target))
                    .map_err(|e| with_path(&e, &target))?;
            } else if kind.is_file() {
                copied += copy_file(&source, &target)?;
            } else {
                return Err(with_path(
                    &io::Error::new(io::ErrorKind::InvalidInput, "not a file or directory"),
                    &source,
                ));
            }
        }
        made.push((target, meta));
    }
    for (dir, meta) in made.iter().rev() {
        fsync_dir(dir)?;
        fs::set_permissions(dir, meta.permissions()).map_err(|e| with_path(&e, dir))?;
    }
    Ok(copied)
}

fn copy_file(source: &Path, target: &Path) -> io::Result<u64> {
    let mut reader = File::open(source).map_err(|e| with_path(&e, source))?;
    let meta = reader.metadata()?;
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(target);
    let mut writer = open.map_err(|e| with_path(&e, target))?;
    let copied = io::copy(&mut reader, &mut writer).map_err(|e| with_path(&e, target))?;
    if copied != meta.len() {
        return Err(with_path(&io::Error::new(io::ErrorKind::InvalidData, "it changed while it was copied"), source));
    }
    writer.set_permissions(fs::Permissions::from_mode(meta.permissions().mode() & 0o777))?;
    if let Ok(modified) = meta.modified() {
        writer.set_modified(modified)?;
    }
    writer.sync_all().map_err(|e| with_path(&e, target))?;
    Ok(copied)
}

/// Gives a finished copy its final name: [`try_rename`] within one file system, where `CrossDevice` is an error.
pub fn publish(part: &Path, to: &Path) -> io::Result<()> {
    match try_rename(part, to)? {
        Renamed::Done => Ok(()),
        Renamed::CrossDevice => Err(with_path(&io::Error::from(io::ErrorKind::CrossesDevices), to)),
    }
}

/// Removes a tree without following symlinks; success if there is none.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(with_path(&e, path)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(root: &Path) {
        fs::create_dir_all(root.join("sub/deep")).expect("mkdir");
        fs::create_dir(root.join("empty")).expect("mkdir");
        fs::write(root.join("a.txt"), "alpha").expect("write");
        fs::write(root.join("sub/deep/run.sh"), "#!/bin/sh\n").expect("write");
        fs::set_permissions(root.join("sub/deep/run.sh"), fs::Permissions::from_mode(0o750)).expect("chmod");
        std::os::unix::fs::symlink("a.txt", root.join("link")).expect("symlink");
    }

    fn check(root: &Path) {
        assert_eq!(fs::read_to_string(root.join("link")).expect("read"), "alpha");
        assert!(root.join("empty").is_dir());
        let script = fs::metadata(root.join("sub/deep/run.sh")).expect("stat");
        assert_eq!((script.len(), script.permissions().mode() & 0o777), (10, 0o750));
    }

    #[test]
    fn a_rename_keeps_what_is_in_the_way() {
        let dir = tempfile::tempdir().expect("dir");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        tree(&from);
        fs::create_dir(&to).expect("mkdir");
        fs::write(to.join("other"), "x").expect("write");
        assert_eq!(try_rename(&from, &to).expect_err("in the way").kind(), io::ErrorKind::AlreadyExists);
        fs::remove_file(to.join("other")).expect("remove");
        assert_eq!(try_rename(&from, &to).expect("onto a reserved directory"), Renamed::Done);
        check(&to);
        std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).expect("symlink");
        assert!(try_rename(&to, &dir.path().join("dangling")).is_err());
        check(&to);
    }

    #[test]
    fn a_copy_is_complete_and_replaces_a_broken_one() {
        let dir = tempfile::tempdir().expect("dir");
        let (from, part, to) = (dir.path().join("from"), dir.path().join("to.part"), dir.path().join("to"));
        tree(&from);
        fs::create_dir(&part).expect("mkdir");
        fs::write(part.join("leftover"), "x").expect("write");
        assert_eq!(copy_tree(&from, &part).expect("copy"), 15);
        assert!(!part.join("leftover").exists());
        publish(&part, &to).expect("publish");
        remove_tree(&from).expect("remove");
        remove_tree(&from).expect("again");
        check(&to);
    }

    #[test]
    fn devices_and_pipes_are_refused() {
        let dir = tempfile::tempdir().expect("dir");
        let from = dir.path().join("from");
        fs::create_dir(&from).expect("mkdir");
        rustix::fs::mkfifoat(CWD, from.join("pipe"), rustix::fs::Mode::RUSR).expect("fifo");
        assert!(copy_tree(&from, &dir.path().join("part")).is_err());
    }
}
