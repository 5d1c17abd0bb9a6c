//! The file operations that a watched directory needs: looking without following links, renaming without overwriting,
//! reading whole, asking whether somebody still writes. They block, and know nothing of jobs.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, RenameFlags};
use rustix::io::Errno;

use super::settle::Stamp;

/// The stamp of a file.
pub(super) fn stamp(meta: &Metadata) -> Stamp {
    let mtime_ns = meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec());
    Stamp { dev: meta.dev(), ino: meta.ino(), size: meta.len(), mtime_ns }
}

/// What is at a path, links not followed; `None`: nothing.
pub(super) fn lstat(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Renames; what has the new name already is an error (`AlreadyExists`), also if it is the same file.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not on this file system (NFS): a hard link fails as well if the name is taken.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        other => return Ok(other?),
    }
    match rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty()) {
        Ok(()) => fs::remove_file(from),
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
            // Neither: there is a moment in which another program could take the name.
            if lstat(to)?.is_some() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        Err(e) => Err(e.into()),
    }
}

/// Opens a file for reading, following no link and waiting for no pipe's writer.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Opens a file of ours that others may meddle with. `None`: it is gone, no file any more (a link, a directory), or kept from
/// being read. A directory that cannot be entered is an error.
pub(super) fn open_plain(path: &Path) -> io::Result<Option<File>> {
    if !lstat(path)?.is_some_and(|meta| meta.is_file()) {
        return Ok(None);
    }
    match open(path) {
        Ok(file) => Ok(file.metadata()?.is_file().then_some(file)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(None),
        // It has become a link just now.
        Err(e) if e.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Reads a file to its end, or to one byte more than `max`.
pub(super) fn read(file: &File, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `F_SETSIG` of Linux (`asm-generic/fcntl.h`, the same on every architecture that Rust builds for); not in `libc`.
const F_SETSIG: libc::c_int = 10;

/// Whether another process has the file open for writing. `false` also where the file system cannot tell.
///
/// Linux grants a read lease only on a file that nobody has open for writing (`fcntl(2)`, "Leases").
pub(super) fn is_open_for_writing(file: &File) -> bool {
    let fd = file.as_raw_fd();
    // A lease that is broken while it is held is told by a signal. SIGIO, the usual one, would end the process; SIGURG
    // is ignored unless somebody asks for it.
    // SAFETY: fcntl with integer arguments on a descriptor that is open for the whole call touches no memory.
    unsafe {
        if libc::fcntl(fd, F_SETSIG, libc::SIGURG) == -1 {
            return false;
        }
        if libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) == -1 {
            return io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN);
        }
        libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK);
    }
    false
}

/// `NAME` for 0, else `STEM_1.xrsl`, `STEM_2.xrsl`...: cut so that `room` bytes can be appended to it.
pub(super) fn numbered(name: &OsStr, n: u32, room: usize) -> OsString {
    const MAX: usize = 255;
    let bytes = name.as_encoded_bytes();
    let dot = bytes.iter().rposition(|b| *b == b'.').unwrap_or(bytes.len());
    let (stem, extension) = bytes.split_at(dot);
    let suffix = if n == 0 { String::new() } else { format!("_{n}") };
    let mut cut = stem.len().min(MAX.saturating_sub(extension.len() + suffix.len() + room));
    // A character is not cut in two.
    while cut < stem.len() && cut > 0 && (stem[cut] & 0xc0) == 0x80 {
        cut -= 1;
    }
    let whole = [&stem[..cut], suffix.as_bytes(), extension].concat();
    std::os::unix::ffi::OsStringExt::from_vec(whole)
}

/// Writes a file under a name that must be free (`AlreadyExists` otherwise); it appears whole. [`sync`] makes it durable.
pub(super) fn create_new(dir: &Path, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
    with_temp(dir, bytes, |temp| rename_new(temp, &dir.join(name)))
}

/// Writes a file in place of what has that name; it appears whole.
pub(super) fn replace(dir: &Path, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
    with_temp(dir, bytes, |temp| fs::rename(temp, dir.join(name)))
}

/// Makes the content of files and their names in `dir` durable.
pub(super) fn sync(dir: &Path, names: &[String]) -> io::Result<()> {
    // One wait for each file would be one flush of the disk's cache each. So all are set off first; the last one's, and
    // the directory's, come after them.
    let mut last = None;
    for name in names {
        // Otherwise a person was quicker.
        if let Some(file) = open_plain(&dir.join(name))? {
            write_out(&file);
            last = Some(file);
        }
    }
    if let Some(file) = last {
        file.sync_all()?;
    }
    crate::fsutil::fsync_dir(dir)
}

/// Has a file's content written to the disk. What cannot do that does it in its own time.
pub(super) fn write_out(file: &File) {
    let how = libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: integer arguments and a descriptor that is open for the whole call; no memory is touched.
    let _ = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, how) };
}

fn with_temp(dir: &Path, bytes: &[u8], publish: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let temp = dir.join(format!(".{:016x}.tmp", fastrand::u64(..)));
    let result = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&temp)?;
        file.write_all(bytes)?;
        publish(&temp)
    })();
    if result.is_err() {
        // The error that counts is the first one.
        drop(fs::remove_file(&temp));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_never_overwrites_not_even_a_second_name_of_the_same_file() {
        let dir = tempfile::tempdir().expect("dir");
        let (a, b, c) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("c"));
        fs::write(&a, "1").expect("write");
        fs::hard_link(&a, &b).expect("link");
        assert_eq!(rename_new(&a, &b).expect_err("taken").kind(), io::ErrorKind::AlreadyExists);
        assert!(a.exists() && b.exists());
        rename_new(&a, &c).expect("free");
        assert!(!a.exists() && c.exists());
    }

    #[test]
    fn a_writer_is_noticed() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("a");
        let mut writer = File::create(&path).expect("create");
        writer.write_all(b"x").expect("write");
        assert!(is_open_for_writing(&open(&path).expect("open")));
        drop(writer);
        let reader = open(&path).expect("open");
        assert!(!is_open_for_writing(&reader));
        // The lease is given back: a writer need not wait.
        OpenOptions::new().append(true).open(&path).expect("open for writing");
    }

    #[test]
    fn numbered_names_fit_and_keep_their_extension() {
        assert_eq!(numbered(OsStr::new("a.b.xrsl"), 0, 6), "a.b.xrsl");
        assert_eq!(numbered(OsStr::new("a.b.xrsl"), 12, 6), "a.b_12.xrsl");
        let long = format!("{}.xrsl", "é".repeat(125));
        for n in [0, 7] {
            let name = numbered(OsStr::new(&long), n, 6);
            assert!(name.len() <= 249 && name.len() >= 247, "{}", name.len());
            assert!(name.to_str().is_some_and(|name| name.ends_with(".xrsl")));
        }
    }

    #[test]
    fn links_and_pipes_are_not_opened() {
        let dir = tempfile::tempdir().expect("dir");
        let link = dir.path().join("l");
        std::os::unix::fs::symlink("/etc/passwd", &link).expect("symlink");
        assert!(open(&link).is_err() && open_plain(&link).expect("a link").is_none());
        assert!(open_plain(dir.path()).expect("a directory").is_none());
        assert!(open_plain(&dir.path().join("none")).expect("nothing").is_none());
        assert!(lstat(&link).expect("lstat").is_some_and(|m| m.is_symlink()));
        assert!(lstat(&dir.path().join("none")).expect("lstat").is_none());
    }
}
