//! Whether a file is still the one that was read, without reading it again.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What a file is, of which something differs after a change, also one of its mode or owner (a file that could not be read
/// may be readable then); nothing: it is not there.
pub type Stamp = Option<Mark>;

/// See [`Stamp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Device and inode.
    file: (u64, u64),
    /// Bytes.
    len: u64,
    /// Time of change of the content, in seconds and nanoseconds: a program may set it back.
    modified: (i64, i64),
    /// Time of change of anything, the mode, the owner and the links included.
    changed: (i64, i64),
}

/// The stamp of a file as it is now; links are followed.
#[must_use]
pub fn stamp(path: &Path) -> Stamp {
    let mark = |m: fs::Metadata| Mark {
        file: (m.dev(), m.ino()),
        len: m.len(),
        modified: (m.mtime(), m.mtime_nsec()),
        changed: (m.ctime(), m.ctime_nsec()),
    };
    fs::metadata(path).ok().map(mark)
}
