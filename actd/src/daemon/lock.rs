//! The state directory and the lock that makes this daemon its only one. The lock is `flock` on `actd.lock`; what stands
//! in the file says who holds it. It must not touch anything else in the directory.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use act_proto::error::{ApiError, Kind};
use act_proto::start::{LockInfo, lock_path, read_lock, write_lock};
use rustix::fs::{FlockOperation, flock};

use crate::fsutil::{FsKind, fs_kind};
use crate::job::Time;

/// The lock. Whoever holds it is the state directory's daemon, until the process ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Makes sure that the state directory is there, ours alone, and on a disk of this machine.
///
/// # Errors
/// With what to do about it.
pub fn prepare_state(state: &Path) -> Result<(), ApiError> {
    let local = |e: io::Error| {
        ApiError::new(Kind::LocalFile, format!("the state directory {} cannot be used: {e}", state.display()))
            .hint("choose another one: `actd.state` in the config file")
    };
    DirBuilder::new().recursive(true).mode(0o700).create(state).map_err(local)?;
    let meta = fs::metadata(state).map_err(local)?;
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(local(io::Error::other(format!("it belongs to uid {}", meta.uid()))));
    }
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(state, fs::Permissions::from_mode(0o700)).map_err(local)?;
    }
    let kind = match fs_kind(state).map_err(local)? {
        FsKind::Local => return Ok(()),
        FsKind::Nfs => "NFS",
        FsKind::Afs => "AFS",
        FsKind::Network(name) => {
            tracing::warn!("the state directory {} lies on {name}: a disk of this machine is safer", state.display());
            return Ok(());
        }
    };
    Err(ApiError::new(
        Kind::LocalFile,
        format!("the state directory {} lies on {kind}, where locks and writes are not safe enough", state.display()),
    )
    .hint(
        "put `state: /path/on/a/local/disk` under `actd:` in the config file (for example below /var/tmp or /scratch)",
    ))
}

impl Lock {
    /// Takes the lock.
    ///
    /// # Errors
    /// Another daemon holds it: the error says which.
    pub fn take(state: &Path) -> Result<Self, ApiError> {
        let path = lock_path(state);
        let local = |e: io::Error| ApiError::new(Kind::LocalFile, format!("the lock file {}: {e}", path.display()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(local)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(taken(state)),
            Err(e) => Err(local(e.into())),
        }
    }

    /// Writes who holds the lock, and that it lives.
    ///
    /// # Errors
    /// The file cannot be written (a full disk, mostly); the lock holds nevertheless.
    pub fn beat(&self, socket: &Path) -> io::Result<()> {
        self.write(socket, false)
    }

    /// Writes that the holder ends because it was asked to: commands that lose it start no other.
    ///
    /// # Errors
    /// As of [`Lock::beat`].
    pub fn stopped(&self, socket: &Path) -> io::Result<()> {
        self.write(socket, true)
    }

    fn write(&self, socket: &Path, stopped: bool) -> io::Result<()> {
        let info = LockInfo {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            socket: socket.to_owned(),
            heartbeat: Some(Time::now().rfc3339()),
            stopped,
        };
        write_lock(&self.file, &info)
    }
}

fn taken(state: &Path) -> ApiError {
    let who = read_lock(state).ok().flatten().map_or_else(String::new, |i| {
        format!(
            " (pid {} on {}, socket {}, last heard of at {})",
            i.pid,
            i.host,
            i.socket.display(),
            i.heartbeat.unwrap_or_default()
        )
    });
    ApiError::new(Kind::Busy, format!("another actd already runs with the state directory {}{who}", state.display()))
        .hint("use that one, or stop it first: `actctl daemon stop`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_learns_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/b");
        prepare_state(&state).unwrap();
        assert_eq!(fs::metadata(&state).unwrap().mode() & 0o777, 0o700);
        let first = Lock::take(&state).unwrap();
        first.beat(Path::new("/run/x.sock")).unwrap();
        let e = Lock::take(&state).unwrap_err();
        assert!(e.message.contains(&format!("pid {}", std::process::id())) && e.message.contains("/run/x.sock"), "{e}");
        drop(first);
        Lock::take(&state).unwrap();
    }
}
