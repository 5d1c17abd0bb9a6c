//! How much room a file system has, and whether it is one that a database may live on.

use std::io;
use std::path::Path;

/// Room on a file system, for this user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that may still be written (a quota may allow fewer).
    pub free: u64,
    /// Size in bytes.
    pub total: u64,
}

/// Room where `path` (which must exist) lies.
pub fn space(path: &Path) -> io::Result<Space> {
    let stat = rustix::fs::statvfs(path).map_err(|e| super::atomic::with_path(&e.into(), path))?;
    Ok(Space { free: stat.f_bavail.saturating_mul(stat.f_frsize), total: stat.f_blocks.saturating_mul(stat.f_frsize) })
}

/// Whether an error means that no more can be written here: the disk or the user's quota is full.
pub fn is_disk_full(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<super::atomic::PathError>()).and_then(|e| e.errno);
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || [error.raw_os_error(), inner].into_iter().flatten().any(|errno| {
            errno == rustix::io::Errno::NOSPC.raw_os_error() || errno == rustix::io::Errno::DQUOT.raw_os_error()
        })
}

/// Kind of a file system as far as locks, fsync and change events are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsKind {
    Local,
    Nfs,
    Afs,
    /// Another that lies on other machines (its name): CIFS, Lustre, CephFS, sshfs and other FUSE.
    Network(&'static str),
}

/// Kind of the file system where `path` (which must exist) lies, by its magic number (Linux `statfs(2)`, magic.h).
pub fn fs_kind(path: &Path) -> io::Result<FsKind> {
    let stat = rustix::fs::statfs(path).map_err(|e| super::atomic::with_path(&e.into(), path))?;
    // The field's type differs between platforms; the numbers have 32 bits.
    Ok(kind_of_magic(stat.f_type as u32))
}

fn kind_of_magic(magic: u32) -> FsKind {
    match magic {
        0x6969 => FsKind::Nfs,
        // OpenAFS and the kernel's own client.
        0x5346_414f | 0x6b41_4653 => FsKind::Afs,
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => FsKind::Network("CIFS/SMB"),
        0x0bd0_0bd0 => FsKind::Network("Lustre"),
        0x00c3_6400 => FsKind::Network("CephFS"),
        0x4750_4653 => FsKind::Network("GPFS"),
        0x6573_5546 => FsKind::Network("FUSE"),
        0x0102_1997 => FsKind::Network("9p"),
        _ => FsKind::Local,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine() {
        let dir = tempfile::tempdir().expect("dir");
        let space = space(dir.path()).expect("space");
        assert!(space.free > 0 && space.free <= space.total);
        assert!(fs_kind(Path::new("/proc")).is_ok_and(|k| k == FsKind::Local));
        assert!(fs_kind(&dir.path().join("absent")).is_err());
    }

    #[test]
    fn magic_numbers() {
        assert_eq!(kind_of_magic(0x6969), FsKind::Nfs);
        assert_eq!(kind_of_magic(0x5346_414f), FsKind::Afs);
        assert_eq!(kind_of_magic(0xef53), FsKind::Local);
    }

    #[test]
    fn a_quota_is_a_full_disk_even_with_a_path_around_it() {
        for (errno, full) in [(libc_enospc(), true), (122, true), (2, false)] {
            let raw = io::Error::from_raw_os_error(errno);
            assert_eq!(is_disk_full(&raw), full);
            assert_eq!(is_disk_full(&super::super::atomic::with_path(&raw, Path::new("/x"))), full);
        }
    }

    fn libc_enospc() -> i32 {
        rustix::io::Errno::NOSPC.raw_os_error()
    }
}
