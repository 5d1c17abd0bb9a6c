//! Results that nobody wants go to the trash of the directory that they lie in, for a while.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Done;
use super::deliver::forget;
use super::hands::Inner;
use super::manifest::Manifest;
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
        let config = &hands.config();
        if dir.exists() && Manifest::if_of(&dir, &config.state_dir, &config.instance, key).is_none() {
            tracing::warn!(%key, dir = %dir.display(), "not this job's results any more, by their manifest: it stays");
        } else {
            to_trash(&dir, &hands.syncs)?;
        }
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

/// Removes what this daemon has put into the trash of this directory, by the manifest in it, and what has been there for
/// longer than `keep`. A directory of that name may be anybody's: what is not known to be ours stays, also results of a
/// job that had a file with the manifest's name. Blocking.
///
/// # Errors
/// The trash cannot be read. What cannot be removed stays for the next time.
pub fn empty_trash(results: &Path, instance: &str, keep: Duration) -> io::Result<usize> {
    let entries = match fs::read_dir(results.join(TRASH)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        let meta = entry.metadata()?;
        let is_old = meta.modified()?.elapsed().unwrap_or_default() > keep;
        if is_old && meta.is_dir() && Manifest::is_by(&entry.path(), instance) {
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
    use super::super::manifest;
    use super::*;

    /// Old results that the daemon `instance` has brought, in `dir`.
    fn results_of(dir: &Path, instance: &str) {
        fs::create_dir_all(dir).expect("mkdir");
        let mut manifest = Manifest {
            schema: manifest::SCHEMA.into(),
            instance: instance.into(),
            key: "j1".into(),
            server: "https://act.example.org".into(),
            id: 1,
            name: None,
            run: "https://ce.example.org/1".into(),
            complete: true,
            retrieved: "2026-01-01T00:00:00Z".into(),
            exclude: Vec::new(),
            dir: None,
            missing: Vec::new(),
            files: Vec::new(),
        };
        manifest.write_into(dir).expect("a manifest");
    }

    fn age(dir: &Path) {
        let old = fs::FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(61));
        fs::File::open(dir).and_then(|d| d.set_times(old)).expect("age");
    }

    #[test]
    fn the_trash_keeps_for_a_while() {
        let results = tempfile::tempdir().expect("dir");
        for _ in 0..2 {
            let dir = results.path().join("abc");
            results_of(&dir, "me");
            to_trash(&dir, &Together::default()).expect("discard");
            to_trash(&dir, &Together::default()).expect("again");
            assert!(!dir.exists());
        }
        let trash = results.path().join(TRASH);
        assert!(trash.join("abc").join(manifest::NAME).exists() && trash.join("abc_1").exists());
        let empty = || empty_trash(results.path(), "me", Duration::from_secs(60)).expect("empty");
        assert_eq!(empty(), 0);
        age(&trash.join("abc"));
        assert_eq!(empty(), 1);
        assert!(!trash.join("abc").exists() && trash.join("abc_1").exists());
        assert_eq!(empty_trash(Path::new("/nonexistent"), "me", Duration::ZERO).expect("none"), 0);
    }

    #[test]
    fn what_somebody_else_has_in_a_directory_of_that_name_stays() {
        let home = tempfile::tempdir().expect("dir");
        let trash = home.path().join(TRASH);
        let [theirs, other, link] = ["photos", "other", "link"].map(|name| trash.join(name));
        fs::create_dir_all(&theirs).expect("mkdir");
        fs::write(theirs.join("precious"), "x").expect("write");
        results_of(&other, "another daemon");
        results_of(&home.path().join("abc"), "me");
        std::os::unix::fs::symlink(home.path().join("abc"), &link).expect("symlink");
        for dir in [&theirs, &other, &home.path().join("abc")] {
            age(dir);
        }
        assert_eq!(empty_trash(home.path(), "me", Duration::ZERO).expect("empty"), 0);
        assert!(theirs.join("precious").exists() && other.exists() && link.exists());
    }
}
