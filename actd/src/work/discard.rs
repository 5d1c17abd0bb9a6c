//! Results that nobody wants go to the trash of the directory that they lie in, for a while.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Done;
use super::deliver::forget;
use super::hands::Inner;
use super::publish::{self, Moved};
use super::trouble::{self, blocking};
use crate::failpoint;
use crate::fsutil::Together;
use crate::fsutil::transfer::remove_tree;
use crate::job::Key;
use crate::job::apply::Input;
use crate::job::fault::{Class, Fault};

/// Name of the trash.
pub const TRASH: &str = ".trash";

pub(super) async fn discard(hands: Arc<Inner>, key: Key, dir: PathBuf) -> Done {
    let result = blocking(move || {
        to_trash(&dir, &hands.syncs)?;
        forget(&hands, key);
        Ok(())
    });
    Done::one(key, Input::Discarded(result.await), None)
}

fn to_trash(dir: &Path, syncs: &Together) -> Result<(), Fault> {
    let failed = |e: io::Error| trouble::local(&e, dir);
    match fs::symlink_metadata(dir) {
        // Moved by an earlier call, or by the user.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(e)),
        Ok(_) => {}
    }
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name().and_then(|n| n.to_str())) else {
        return Err(Fault::new(Class::Local, format!("{} cannot be moved to the trash", dir.display())));
    };
    let trash = parent.join(TRASH);
    match fs::create_dir(&trash) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed(e)),
        _ => {}
    }
    // Its time in the trash begins now.
    let times = fs::FileTimes::new().set_modified(SystemTime::now());
    drop(fs::File::open(dir).and_then(|handle| handle.set_times(times)));
    failpoint!("discard.before");
    match publish::publish(dir, &trash, name, syncs, |_| Ok(())).map_err(failed)? {
        Moved::To(_) => {
            failpoint!("discard.after");
            Ok(())
        }
        Moved::CrossDevice => Err(Fault::new(
            Class::Local,
            format!("{} is on another file system than {}", trash.display(), dir.display()),
        )),
    }
}

/// Removes what has been in the trash of this results directory for longer than `keep`. Blocking.
///
/// # Errors
/// The trash cannot be read. What cannot be removed stays for the next time.
pub fn empty_trash(results: &Path, keep: Duration) -> io::Result<usize> {
    let entries = match fs::read_dir(results.join(TRASH)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        if age > keep {
            match remove_tree(&entry.path()) {
                Ok(()) => removed += 1,
                Err(error) => tracing::warn!(%error, "cannot remove old results from the trash"),
            }
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trash_keeps_for_a_while() {
        let results = tempfile::tempdir().expect("dir");
        for _ in 0..2 {
            let dir = results.path().join("abc");
            fs::create_dir(&dir).expect("mkdir");
            fs::write(dir.join("out"), "x").expect("write");
            to_trash(&dir, &Together::default()).expect("discard");
            to_trash(&dir, &Together::default()).expect("again");
            assert!(!dir.exists());
        }
        let trash = results.path().join(TRASH);
        assert!(trash.join("abc/out").exists() && trash.join("abc_1/out").exists());
        assert_eq!(empty_trash(results.path(), Duration::from_secs(60)).expect("empty"), 0);
        let old = fs::FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(61));
        fs::File::open(trash.join("abc")).and_then(|d| d.set_times(old)).expect("age");
        assert_eq!(empty_trash(results.path(), Duration::from_secs(60)).expect("empty"), 1);
        assert!(!trash.join("abc").exists() && trash.join("abc_1").exists());
        assert_eq!(empty_trash(Path::new("/nonexistent"), Duration::ZERO).expect("none"), 0);
    }
}
