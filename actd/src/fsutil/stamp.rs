//! Whether a file is still the one that was read, without reading it again.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What a file is: device, inode, length in bytes, and time of change in seconds and nanoseconds, of which one differs after
/// a change; nothing: it is not there.
pub type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// The stamp of a file as it is now; links are followed.
#[must_use]
pub fn stamp(path: &Path) -> Stamp {
    fs::metadata(path).ok().map(|m| (m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec()))
}
