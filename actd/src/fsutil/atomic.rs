//! Files that appear at once or not at all, and survive a power cut once reported done.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Writes a file so that a reader, or a crash, sees the old content or the new, never a part.
///
/// `mode` (as in chmod, exactly; no umask) holds from the moment it has content; before that it is 0600. Fsyncs the file
/// and its directory. The directory must exist. A symlink at `path` is replaced, not followed.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (dir, name) = parent_and_name(path)?;
    let temp = dir.join(format!(".{}.{:016x}.tmp", name.chars().take(100).collect::<String>(), fastrand::u64(..)));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode & 0o777))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temp, path)
    })();
    if let Err(error) = written {
        // The error that counts is the first one.
        drop(std::fs::remove_file(&temp));
        return Err(with_path(&error, path));
    }
    fsync_dir(dir)
}

/// Makes what was created, renamed or removed in a directory durable.
pub fn fsync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| with_path(&e, dir))
}

/// Has the system begin to write a part of a file to the disk, so that a later fsync has less to wait for. It makes nothing
/// durable, and whether it works at all is not told.
pub fn begin_writeback(file: &File, offset: u64, len: u64) {
    use std::os::fd::AsRawFd as _;
    let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else { return };
    // SAFETY: the handle is open for as long as the call lasts, and the call reads and writes no memory of ours.
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE);
    }
}

/// The directory of a path (`.` for a bare name) and its last part.
fn parent_and_name(path: &Path) -> io::Result<(&Path, &str)> {
    let name = path.file_name().and_then(|n| n.to_str());
    let name = name
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{} has no file name", path.display())))?;
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((dir, name))
}

/// The same error, naming the file; the errno stays visible through [`super::is_disk_full`].
pub(crate) fn with_path(error: &io::Error, path: &Path) -> io::Error {
    io::Error::new(
        error.kind(),
        PathError { path: path.to_owned(), errno: error.raw_os_error(), text: error.to_string() },
    )
}

/// An I/O error with the path that it is about.
#[derive(Debug)]
pub(crate) struct PathError {
    path: PathBuf,
    pub(crate) errno: Option<i32>,
    text: String,
}

impl std::fmt::Display for PathError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.text)
    }
}

impl std::error::Error for PathError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_replaced_whole_with_its_mode() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("token");
        for text in ["one", "two"] {
            write_atomic(&path, text.as_bytes(), 0o600).expect("write");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
            assert_eq!(std::fs::metadata(&path).expect("stat").permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(dir.path()).expect("list").count(), 1);
        let error = write_atomic(&dir.path().join("no/token"), b"", 0o600).expect_err("no directory");
        assert!(error.to_string().contains("no/token"), "{error}");
    }

    #[test]
    fn a_symlink_is_replaced_not_followed() {
        let dir = tempfile::tempdir().expect("dir");
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "precious").expect("write");
        std::os::unix::fs::symlink(&victim, dir.path().join("link")).expect("symlink");
        write_atomic(&dir.path().join("link"), b"new", 0o644).expect("write");
        assert_eq!(std::fs::read_to_string(&victim).expect("read"), "precious");
    }
}
