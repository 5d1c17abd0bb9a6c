//! The config file, looked at from time to time: whether another one is there than is in force.

use std::path::{Path, PathBuf};

use crate::fsutil::{Stamp, stamp};

pub(super) struct Watched {
    path: PathBuf,
    in_force: Stamp,
    last: Stamp,
}

impl Watched {
    /// `in_force`: what it was when it was read.
    pub(super) fn new(path: &Path, in_force: Stamp) -> Self {
        Self { path: path.to_owned(), in_force, last: stamp(path) }
    }

    /// Whether it is another one than was read, and no longer being written.
    pub(super) fn has_changed(&mut self) -> bool {
        let now = stamp(&self.path);
        let at_rest = now == self.last;
        self.last = now;
        // An editor may take the file away for a moment; without it nothing could be in force.
        if now == self.in_force || !at_rest || now.is_none() {
            return false;
        }
        self.in_force = now;
        true
    }

    /// It is being read for another reason.
    pub(super) fn seen(&mut self) {
        self.in_force = stamp(&self.path);
        self.last = self.in_force;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_change_during_the_start_is_a_change() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("config.yaml");
        std::fs::write(&path, "server: https://a\n").expect("write");
        let read = stamp(&path);
        std::fs::write(&path, "server: https://other\n").expect("write");
        let mut file = Watched::new(&path, read);
        assert!(file.has_changed() && !file.has_changed());
        // One that is still being written is not read yet.
        std::fs::write(&path, "server: https://oth").expect("write");
        assert!(!file.has_changed());
        assert!(file.has_changed() && !file.has_changed());
        // One that could not be read may be readable now.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("chmod");
        assert!(!file.has_changed());
        assert!(file.has_changed() && !file.has_changed());
        std::fs::remove_file(&path).expect("remove");
        assert!(!file.has_changed() && !file.has_changed());
        let mut file = Watched::new(&path, read);
        file.seen();
        assert!(!file.has_changed());
    }
}
