//! Files written so that a crash, a hostile name or a planted symlink cannot do harm.
//! All functions block: call them from a blocking task. Nothing here knows about jobs or servers.
//!
//! * [`name`]: which names from a server may become files. * [`dir`]: reading below a directory without following symlinks,
//!   making those that the user is to have.
//! * [`atomic`]: whole files that appear at once. * [`transfer`]: moving a directory to another file system.
//! * [`together`]: one fsync for many.
//! * [`mod@space`]: free disk, and what kind of file system it is. * [`mod@stamp`]: whether a file has changed.

pub mod atomic;
pub mod dir;
pub mod name;
pub mod space;
pub mod stamp;
pub mod together;
pub mod transfer;

pub use atomic::{begin_writeback, fsync_dir, write_atomic};
pub use dir::{Dir, make_dirs};
pub use name::{NameError, RelPath};
pub use space::{FsKind, Space, fs_kind, is_disk_full, space};
pub use stamp::{Stamp, stamp};
pub use together::Together;
