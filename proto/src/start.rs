//! How a starting daemon and the command line find each other: the line that tells whether the start went well, and the
//! lock file that says where a running daemon listens. No connection is made here.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{ApiError, ErrorData};

/// What a daemon started with `--ready-fd N` writes to that descriptor, as one line of JSON, before it closes it:
/// `{"ready":true}` once its socket answers, or `{"ready":false,"error":{...}}` when it ends instead.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StartReport {
    /// It serves.
    #[serde(default)]
    pub ready: bool,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StartError>,
}

/// The error of a [`StartReport`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StartError {
    /// What happened, in one sentence.
    pub message: String,
    /// Kind, hint, retryable.
    #[serde(flatten)]
    pub data: ErrorData,
}

impl StartReport {
    /// The report of a daemon that serves.
    #[must_use]
    pub fn ready() -> Self {
        Self { ready: true, error: None }
    }

    /// The report of a daemon that cannot start.
    #[must_use]
    pub fn failed(e: &ApiError) -> Self {
        Self { ready: false, error: Some(StartError { message: e.message.clone(), data: e.data.clone() }) }
    }
}

/// What a running daemon writes into its lock file, `actd.lock` in the state directory, as one line of JSON. The file
/// exists after a daemon has ended, too: only the lock on it (`flock`) says that one runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockInfo {
    /// Name of the machine.
    pub host: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// Where it listens.
    pub socket: PathBuf,
    /// When it last said that it lives; RFC 3339.
    #[serde(default)]
    pub heartbeat: Option<crate::Timestamp>,
    /// It ends, or has ended, because somebody asked for that (`daemon.stop` or a signal): whoever has lost it waits until it
    /// is started again. A daemon that died has not noted this.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
}

/// The lock file of a state directory.
#[must_use]
pub fn lock_path(state: &Path) -> PathBuf {
    state.join("actd.lock")
}

/// The log file of a daemon that the command line started (a service logs to the journal).
#[must_use]
pub fn log_path(state: &Path) -> PathBuf {
    state.join("actd.log")
}

/// Reads the lock file of a state directory; `None`: there is none, or what it holds is no [`LockInfo`].
///
/// # Errors
/// It is there and cannot be read.
pub fn read_lock(state: &Path) -> io::Result<Option<LockInfo>> {
    let file = match fs::OpenOptions::new().read(true).custom_flags(nonblock()).open(lock_path(state)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut text = String::new();
    file.take(1 << 16).read_to_string(&mut text)?;
    Ok(serde_json::from_str(text.lines().next().unwrap_or_default()).ok())
}

/// Writes what a lock file holds. Readers see the old line or the new one.
///
/// # Errors
/// It cannot be written (a full disk, mostly).
pub fn write_lock(file: &File, info: &LockInfo) -> io::Result<()> {
    let line = serde_json::to_string(info)? + "\n";
    file.write_all_at(line.as_bytes(), 0)?;
    file.set_len(line.len() as u64)
}

/// Notes for a daemon that no longer can that it ends because somebody asked for that.
///
/// # Errors
/// The lock file cannot be read or written.
pub fn mark_stopped(state: &Path) -> io::Result<()> {
    let Some(info) = read_lock(state)? else { return Ok(()) };
    let file = fs::OpenOptions::new().write(true).custom_flags(nonblock()).open(lock_path(state))?;
    write_lock(&file, &LockInfo { stopped: true, ..info })
}

/// A planted FIFO must not hold the caller up.
fn nonblock() -> i32 {
    i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn start_report_survives_the_pipe() {
        let e = ApiError::new(Kind::BadConfig, "line 3: no").hint("mend it");
        let line = serde_json::to_string(&StartReport::failed(&e)).unwrap();
        assert_eq!(
            line,
            r#"{"ready":false,"error":{"message":"line 3: no","kind":"bad_config","hint":"mend it","retryable":false}}"#
        );
        let back: StartReport = serde_json::from_str(&line).unwrap();
        assert_eq!(back.error.unwrap().data.kind, Kind::BadConfig);
        assert_eq!(serde_json::to_string(&StartReport::ready()).unwrap(), r#"{"ready":true}"#);
    }

    #[test]
    fn lock_file_is_read_or_ignored() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_lock(dir.path()).unwrap(), None);
        fs::write(lock_path(dir.path()), "garbage").unwrap();
        assert_eq!(read_lock(dir.path()).unwrap(), None);
        let info = LockInfo { host: "h".into(), pid: 7, socket: "/run/x.sock".into(), heartbeat: None, stopped: false };
        // As an older daemon wrote it.
        fs::write(lock_path(dir.path()), r#"{"host":"h","pid":7,"socket":"/run/x.sock","heartbeat":null}"#).unwrap();
        assert_eq!(read_lock(dir.path()).unwrap().as_ref(), Some(&info));
        mark_stopped(dir.path()).unwrap();
        assert_eq!(read_lock(dir.path()).unwrap(), Some(LockInfo { stopped: true, ..info.clone() }));
        write_lock(&fs::OpenOptions::new().write(true).open(lock_path(dir.path())).unwrap(), &info).unwrap();
        assert_eq!(read_lock(dir.path()).unwrap(), Some(info), "the next daemon's word");
    }
}
