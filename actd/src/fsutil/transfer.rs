//! Moving a directory tree to where a rename cannot take it, another file system, in steps: [`copy_tree`] to a temporary
//! name, a rename there, [`remove_tree`].

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::atomic::{fsync_dir, with_path};

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
    fn a_copy_is_complete_and_replaces_a_broken_one() {
        let dir = tempfile::tempdir().expect("dir");
        let (from, part, to) = (dir.path().join("from"), dir.path().join("to.part"), dir.path().join("to"));
        tree(&from);
        fs::create_dir(&part).expect("mkdir");
        fs::write(part.join("leftover"), "x").expect("write");
        assert_eq!(copy_tree(&from, &part).expect("copy"), 15);
        assert!(!part.join("leftover").exists());
        fs::rename(&part, &to).expect("rename");
        remove_tree(&from).expect("remove");
        remove_tree(&from).expect("again");
        check(&to);
    }

    #[test]
    fn devices_and_pipes_are_refused() {
        let dir = tempfile::tempdir().expect("dir");
        let from = dir.path().join("from");
        fs::create_dir(&from).expect("mkdir");
        rustix::fs::mkfifoat(rustix::fs::CWD, from.join("pipe"), rustix::fs::Mode::RUSR).expect("fifo");
        assert!(copy_tree(&from, &dir.path().join("part")).is_err());
    }
}
