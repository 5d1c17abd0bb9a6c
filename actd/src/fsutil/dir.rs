//! Directories. Reading below one through its handle: every step is relative to an open directory and follows no symlink,
//! so that one planted there (or swapped in while we work) leads nowhere. Making those that the user is to have.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::name::RelPath;

/// An open directory. Paths given to its methods are relative to it.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

const DIR_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Dir {
    /// Opens an existing directory. The path is the user's own: symlinks in it are followed.
    pub fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, DIR_FLAGS, Mode::empty()).map_err(|e| context(e, path))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Opens a regular file for reading, following no symlink.
    pub fn read(&self, path: &RelPath) -> io::Result<File> {
        let mut held: Option<Dir> = None;
        let (parents, name) = path.split_last();
        for segment in parents.into_iter().flat_map(|parents| parents.split('/')) {
            held = Some(held.as_ref().unwrap_or(self).enter(segment)?);
        }
        let dir = held.as_ref().unwrap_or(self);
        let at = dir.path.join(name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::openat(&dir.fd, name, flags, Mode::empty()).map_err(|e| context(e, &at))?;
        if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) != FileType::RegularFile {
            let text = format!("{} is not a regular file", at.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(File::from(fd))
    }

    fn enter(&self, segment: &str) -> io::Result<Dir> {
        let path = self.path.join(segment);
        let fd = rustix::fs::openat(&self.fd, segment, DIR_FLAGS | OFlags::NOFOLLOW, Mode::empty())
            .map_err(|e| context(e, &path))?;
        Ok(Dir { fd, path })
    }
}

/// Makes a directory and those above it that are missing, as the user's own shell would under `umask`: the process's is
/// stricter. Those that are there stay as they are.
///
/// # Errors
/// One cannot be made, or is something else.
pub fn make_dirs(path: &Path, umask: u32) -> io::Result<()> {
    let private = || rustix::fs::mkdir(path, Mode::RWXU);
    let made = match (private(), path.parent()) {
        (Err(Errno::NOENT), Some(parent)) => {
            make_dirs(parent, umask)?;
            private()
        }
        (made, _) => made,
    };
    match made {
        Ok(()) => {}
        Err(_) if path.is_dir() => return Ok(()),
        Err(e) => return Err(context(e, path)),
    }
    let dir = rustix::fs::open(path, DIR_FLAGS | OFlags::NOFOLLOW, Mode::empty()).map_err(|e| context(e, path))?;
    // What it has got from the directory above, such as its group for all that is made in it, stays.
    let inherited = rustix::fs::fstat(&dir)?.st_mode & 0o7000;
    Ok(rustix::fs::fchmod(&dir, Mode::from_raw_mode(inherited | (0o777 & !umask)))?)
}

fn context(error: Errno, path: &Path) -> io::Error {
    super::atomic::with_path(&error.into(), path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    fn rel(path: &str) -> RelPath {
        RelPath::new(path).expect("name")
    }

    #[test]
    fn only_those_that_are_missing_are_made_and_as_the_user_would_make_them() {
        use std::os::unix::fs::PermissionsExt as _;
        let temp = tempfile::tempdir().expect("dir");
        let at = |path: &str| temp.path().join(path);
        let mode = |path: &str| std::fs::metadata(at(path)).expect(path).permissions().mode() & 0o7777;
        for (path, mode) in [("closed", 0o700), ("shared", 0o2770)] {
            std::fs::create_dir(at(path)).expect("mkdir");
            std::fs::set_permissions(at(path), std::fs::Permissions::from_mode(mode)).expect("chmod");
        }
        make_dirs(&at("closed/a/b"), 0o027).expect("made");
        assert_eq!([mode("closed"), mode("closed/a"), mode("closed/a/b")], [0o700, 0o750, 0o750]);
        make_dirs(&at("closed/a"), 0o022).expect("it is there");
        assert_eq!(mode("closed/a"), 0o750);
        make_dirs(&at("shared/a"), 0o002).expect("made");
        assert_eq!(mode("shared/a"), 0o2775, "its group is that of the directory above");
        symlink(at("shared"), at("link")).expect("symlink");
        make_dirs(&at("link/b"), 0o022).expect("a symlink of the user's own is followed");
        assert!(at("shared/b").is_dir());
        std::fs::write(at("file"), "").expect("write");
        symlink(at("nowhere"), at("dangling")).expect("symlink");
        for path in ["file", "file/a", "dangling", "dangling/a"] {
            let error = make_dirs(&at(path), 0o022).expect_err(path);
            assert!(error.to_string().contains(path.split('/').next().expect("a part")), "{error}");
        }
    }

    #[test]
    fn only_plain_files_are_read_and_no_link_is_followed() {
        let temp = tempfile::tempdir().expect("dir");
        let outside = tempfile::tempdir().expect("dir");
        std::fs::write(outside.path().join("victim"), "precious").expect("write");
        std::fs::create_dir_all(temp.path().join("a/b")).expect("mkdir");
        std::fs::write(temp.path().join("a/b/out"), "hello").expect("write");
        symlink(outside.path(), temp.path().join("sub")).expect("symlink");
        symlink(outside.path().join("victim"), temp.path().join("a/link")).expect("symlink");
        rustix::fs::mkfifoat(rustix::fs::CWD, temp.path().join("pipe"), Mode::RUSR | Mode::WUSR).expect("fifo");

        let dir = Dir::open(temp.path()).expect("open");
        let mut text = String::new();
        dir.read(&rel("a/b/out")).expect("a file").read_to_string(&mut text).expect("read");
        assert_eq!(text, "hello");
        for other in ["sub/victim", "a/link", "pipe", "a/b", "a/b/out/below", "none"] {
            let error = dir.read(&rel(other)).expect_err(other);
            assert!(error.to_string().contains(other.split('/').next().expect("a part")), "{error}");
        }
    }
}
