//! Writing below a directory through its handle: every step is relative to an open directory and follows no symlink, so
//! that one planted in the target (or swapped in while we work) leads nowhere.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::name::{RelPath, temp_name};

/// An open directory. Paths given to its methods are relative to it.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

/// What is at a place, seen without following a symlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of this many bytes.
    File(u64),
    Directory,
    /// Symlink, device, socket or pipe.
    Other,
}

const DIR_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Dir {
    /// Opens an existing directory. The path is the user's own: symlinks in it are followed.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| context(e, path))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Where it was opened: for messages only.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory and those above it, as far as they do not exist. Something else in the way (a file, a
    /// symlink, even one to a directory) is an error.
    pub fn make_dir(&self, path: &RelPath) -> io::Result<Dir> {
        let mut dir = self.try_clone()?;
        for segment in path.segments() {
            dir = dir.enter(segment, true)?;
        }
        Ok(dir)
    }

    /// Opens a file for writing under its temporary name; its directories are made. `resume` keeps what an earlier
    /// attempt has left there (see [`Part::len`]), otherwise it is emptied. Nobody but the user may read it yet.
    pub fn part(&self, path: &RelPath, resume: bool) -> io::Result<Part> {
        let (dir, name) = self.parent_of(path, true)?;
        let temp = temp_name(name);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let open = || rustix::fs::openat(&dir.fd, temp.as_str(), flags, Mode::RUSR | Mode::WUSR);
        let mut fd = open().map_err(|e| context(e, &dir.path.join(&temp)))?;
        if !is_our_plain_file(&fd)? {
            // Not what we left: a pipe, a hard link to another file, another owner's.
            rustix::fs::unlinkat(&dir.fd, temp.as_str(), AtFlags::empty())
                .map_err(|e| context(e, &dir.path.join(&temp)))?;
            let exclusive = flags | OFlags::EXCL;
            fd = rustix::fs::openat(&dir.fd, temp.as_str(), exclusive, Mode::RUSR | Mode::WUSR)
                .map_err(|e| context(e, &dir.path.join(&temp)))?;
        }
        let file = File::from(fd);
        if !resume {
            file.set_len(0)?;
        }
        Ok(Part { file, dir, name: name.to_owned(), temp })
    }

    /// What is at the path; `None` if nothing is, or a directory on the way is missing or is none.
    pub fn kind(&self, path: &RelPath) -> io::Result<Option<Kind>> {
        match self.parent_of(path, false) {
            Ok((dir, name)) => dir.kind_of(name),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Opens a regular file for reading, following no symlink.
    pub fn read(&self, path: &RelPath) -> io::Result<File> {
        let (dir, name) = self.parent_of(path, false)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd =
            rustix::fs::openat(&dir.fd, name, flags, Mode::empty()).map_err(|e| context(e, &dir.path.join(name)))?;
        if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} is not a regular file", dir.path.join(name).display()),
            ));
        }
        Ok(File::from(fd))
    }

    /// Removes a file; success if there is none.
    pub fn remove_file(&self, path: &RelPath) -> io::Result<()> {
        let (dir, name) = match self.parent_of(path, false) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            found => found?,
        };
        match rustix::fs::unlinkat(&dir.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(context(e, &dir.path.join(name))),
        }
    }

    /// Makes what was created or renamed in this directory durable.
    pub fn sync(&self) -> io::Result<()> {
        rustix::fs::fsync(&self.fd).map_err(|e| context(e, &self.path))
    }

    fn try_clone(&self) -> io::Result<Dir> {
        Ok(Dir { fd: self.fd.as_fd().try_clone_to_owned()?, path: self.path.clone() })
    }

    fn parent_of<'a>(&self, path: &'a RelPath, make: bool) -> io::Result<(Dir, &'a str)> {
        let (parent, name) = path.split_last();
        let mut dir = self.try_clone()?;
        for segment in parent.into_iter().flat_map(|p| p.split('/')) {
            dir = dir.enter(segment, make)?;
        }
        Ok((dir, name))
    }

    fn enter(&self, segment: &str, make: bool) -> io::Result<Dir> {
        let path = self.path.join(segment);
        if make {
            match rustix::fs::mkdirat(&self.fd, segment, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
                Ok(()) => self.sync()?,
                Err(Errno::EXIST) => {}
                Err(e) => return Err(context(e, &path)),
            }
        }
        let fd = rustix::fs::openat(&self.fd, segment, DIR_FLAGS, Mode::empty()).map_err(|e| context(e, &path))?;
        Ok(Dir { fd, path })
    }

    fn kind_of(&self, name: &str) -> io::Result<Option<Kind>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => Kind::File(u64::try_from(stat.st_size).unwrap_or(0)),
                FileType::Directory => Kind::Directory,
                _ => Kind::Other,
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(context(e, &self.path.join(name))),
        }
    }
}

/// A file that is not complete yet, under its temporary name. Dropped without [`Part::publish`], it stays for a resumption.
#[derive(Debug)]
pub struct Part {
    file: File,
    dir: Dir,
    name: String,
    temp: String,
}

impl Part {
    /// The open file, positioned at its start.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// A second handle on the same open file (they share the position).
    pub fn try_clone(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Bytes that are there.
    pub fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Whether nothing is there yet.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Makes the content durable, gives the file its mode and final name, and makes the name durable.
    ///
    /// `mode` as in chmod, reduced by the process's umask. An existing file of that name is an error
    /// (`AlreadyExists`) unless `replace`; a directory or symlink there always is.
    pub fn publish(self, mode: u32, replace: bool) -> io::Result<()> {
        let target = self.dir.path.join(&self.name);
        let mode = Mode::from_raw_mode(mode & 0o777 & !umask());
        rustix::fs::fchmod(&self.file, mode).map_err(|e| context(e, &target))?;
        self.file.sync_all()?;
        match self.dir.kind_of(&self.name)? {
            None => {}
            Some(Kind::File(_)) if replace => {}
            Some(_) => return Err(context(Errno::EXIST, &target)),
        }
        let flags = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        match rustix::fs::renameat_with(&self.dir.fd, &*self.temp, &self.dir.fd, &*self.name, flags) {
            Ok(()) => {}
            // Some network file systems know no flags; the check above has to do.
            Err(Errno::INVAL | Errno::NOSYS) if !replace => {
                rustix::fs::renameat(&self.dir.fd, &*self.temp, &self.dir.fd, &*self.name)
                    .map_err(|e| context(e, &target))?;
            }
            Err(e) => return Err(context(e, &target)),
        }
        self.dir.sync()
    }

    /// Removes the unfinished file.
    pub fn discard(self) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.dir.fd, &*self.temp, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(context(e, &self.dir.path.join(&self.temp))),
        }
    }
}

/// A regular file of this user with no other name: safe to write to.
fn is_our_plain_file(fd: &OwnedFd) -> io::Result<bool> {
    let stat = rustix::fs::fstat(fd)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && stat.st_nlink == 1
        && stat.st_uid == rustix::process::geteuid().as_raw())
}

/// The umask of this process, read without changing it (setting it to read it would race with other threads).
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).unwrap_or(0o077)
}

fn context(error: Errno, path: &Path) -> io::Error {
    let io = io::Error::from(error);
    super::atomic::with_path(&io, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    fn rel(path: &str) -> RelPath {
        RelPath::new(path).expect("name")
    }

    #[test]
    fn a_file_appears_whole_and_keeps_its_part_for_resumption() {
        let temp = tempfile::tempdir().expect("dir");
        let dir = Dir::open(temp.path()).expect("open");
        let part = dir.part(&rel("a/b/out.txt"), true).expect("part");
        part.file().write_all(b"hel").expect("write");
        assert_eq!(part.file().metadata().expect("stat").mode() & 0o777, 0o600);
        drop(part);
        assert_eq!(dir.kind(&rel("a/b/out.txt")).expect("kind"), None);
        let part = dir.part(&rel("a/b/out.txt"), true).expect("again");
        assert_eq!(part.len().expect("len"), 3);
        drop(part);
        let part = dir.part(&rel("a/b/out.txt"), false).expect("fresh");
        assert!(part.is_empty().expect("len"));
        part.file().write_all(b"hello").expect("write");
        part.publish(0o755, false).expect("publish");
        assert_eq!(dir.kind(&rel("a/b/out.txt")).expect("kind"), Some(Kind::File(5)));
        assert_eq!(std::fs::read_dir(temp.path().join("a/b")).expect("list").count(), 1);

        let second = dir.part(&rel("a/b/out.txt"), false).expect("part");
        assert_eq!(second.publish(0o644, false).expect_err("exists").kind(), io::ErrorKind::AlreadyExists);
        dir.part(&rel("a/b/out.txt"), false).expect("part").publish(0o644, true).expect("replace");
        assert_eq!(dir.kind(&rel("a/b/out.txt")).expect("kind"), Some(Kind::File(0)));
    }

    #[test]
    fn planted_symlinks_lead_nowhere() {
        let temp = tempfile::tempdir().expect("dir");
        let outside = tempfile::tempdir().expect("dir");
        let victim = outside.path().join("victim");
        std::fs::write(&victim, "precious").expect("write");
        let dir = Dir::open(temp.path()).expect("open");

        symlink(outside.path(), temp.path().join("sub")).expect("symlink");
        assert!(dir.part(&rel("sub/x"), false).is_err());
        assert!(dir.make_dir(&rel("sub/y")).is_err());
        assert!(dir.read(&rel("sub/victim")).is_err());
        assert!(dir.remove_file(&rel("sub/victim")).is_err());

        symlink(&victim, temp.path().join(temp_name("f"))).expect("symlink");
        assert!(dir.part(&rel("f"), false).is_err(), "a symlink in place of the temporary file");
        std::fs::remove_file(temp.path().join(temp_name("f"))).expect("remove");

        std::fs::hard_link(&victim, temp.path().join(temp_name("f"))).expect("link");
        let part = dir.part(&rel("f"), false).expect("part");
        part.file().write_all(b"new").expect("write");
        symlink(&victim, temp.path().join("f")).expect("symlink");
        assert!(part.publish(0o644, true).is_err(), "a symlink in place of the final file");
        assert_eq!(std::fs::read_to_string(&victim).expect("read"), "precious");
        assert_eq!(std::fs::read_dir(outside.path()).expect("list").count(), 1);
    }

    #[test]
    fn something_else_in_the_way_is_an_error() {
        let temp = tempfile::tempdir().expect("dir");
        let dir = Dir::open(temp.path()).expect("open");
        std::fs::write(temp.path().join("file"), "x").expect("write");
        assert!(dir.part(&rel("file/below"), false).is_err());
        assert_eq!(dir.kind(&rel("file/below")).expect("kind"), None);
        dir.make_dir(&rel("d/e")).expect("make");
        dir.make_dir(&rel("d/e")).expect("again");
        assert!(dir.part(&rel("d/e"), false).expect("part").publish(0o644, true).is_err());
        dir.remove_file(&rel("nothing/here")).expect("absent");
        let fifo = temp.path().join(temp_name("pipe"));
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RUSR | Mode::WUSR).expect("fifo");
        let part = dir.part(&rel("pipe"), false).expect("part");
        part.publish(0o640, false).expect("publish");
        assert!(std::fs::metadata(temp.path().join("pipe")).expect("stat").is_file());
        assert_eq!(std::fs::metadata(temp.path().join("pipe")).expect("stat").permissions().mode() & 0o007, 0);
    }
}
