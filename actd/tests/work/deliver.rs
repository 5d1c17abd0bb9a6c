//! Delivery of stored results: by rename, by copy to another file system, again after a crash, and into the trash.

use std::path::{Path, PathBuf};

use actd::job::Key;
use actd::job::apply::Input;
use actd::job::fault::Class;
use actd::work::{Work, cat_local, list_local};
use serde_json::json;

use crate::bed::{Bed, tree};

/// A directory on another file system than the temporary one, if this machine has one.
fn elsewhere(than: &Path) -> Option<tempfile::TempDir> {
    use std::os::unix::fs::MetadataExt as _;
    let device = std::fs::metadata(than).expect("stat").dev();
    let found =
        ["/dev/shm", "/run", "/var/tmp"].iter().find(|dir| std::fs::metadata(dir).is_ok_and(|m| m.dev() != device));
    found.and_then(|dir| tempfile::Builder::new().prefix("work-").tempdir_in(dir).ok())
}

async fn stored(bed: &Bed) -> PathBuf {
    let [id] = bed.done_jobs(1, &json!({"out.txt": "result", "sub/x": "xx"}))[..] else { panic!("ids") };
    bed.retrieved(bed.retrieve(Key(1), id).await).await
}

async fn deliver(bed: &Bed, from: &Path, parent: &Path, copy: bool) -> Input {
    let work =
        Work::Deliver { key: Key(1), from: from.to_owned(), parent: parent.to_owned(), name: "wanted".into(), copy };
    let (input, fault) = bed.one(work).await;
    assert_eq!(fault, None);
    input
}

#[tokio::test(flavor = "multi_thread")]
async fn moved_into_a_free_name() {
    let bed = Bed::start(&[]).await;
    let from = stored(&bed).await;
    let content = tree(&from);
    let parent = bed.dir.path().join("cwd");
    std::fs::create_dir_all(parent.join("wanted")).expect("the user's own");
    let to = parent.join("wanted_1");
    for _ in 0..2 {
        assert_eq!(deliver(&bed, &from, &parent, false).await, Input::Delivered(Ok(to.clone())));
        assert_eq!((tree(&to), from.exists()), (content.clone(), false));
    }
    std::fs::remove_dir_all(&to).expect("remove");
    let Input::Delivered(Err(fault)) = deliver(&bed, &from, &parent, false).await else { panic!("out of nothing") };
    assert_eq!(fault.class, Class::Local);
}

#[tokio::test(flavor = "multi_thread")]
async fn copied_to_another_file_system() {
    let bed = Bed::start(&[]).await;
    let from = stored(&bed).await;
    let content = tree(&from);
    let Some(other) = elsewhere(bed.dir.path()) else { panic!("this machine has one file system only: no /dev/shm") };
    let to = other.path().join("wanted");
    for _ in 0..2 {
        assert_eq!(deliver(&bed, &from, other.path(), true).await, Input::Delivered(Ok(to.clone())));
        assert_eq!((tree(&to), tree(&from)), (content.clone(), content.clone()));
    }
    // A copy that the user has spoilt is no reason to remove the source.
    std::fs::write(to.join("out.txt"), "RESULT").expect("write");
    let second = other.path().join("wanted_1");
    assert_eq!(deliver(&bed, &from, other.path(), false).await, Input::Delivered(Ok(second.clone())));
    assert_eq!((tree(&second), from.exists()), (content, false));
    let names: Vec<String> = tree(other.path()).into_keys().filter(|p| p.contains(".part")).collect();
    assert!(names.is_empty(), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_then_a_crash_then_the_rest() {
    let bed = Bed::start(&[]).await;
    let from = stored(&bed).await;
    let content = tree(&from);
    let parent = bed.dir.path().join("cwd");
    let to = parent.join("wanted");
    // As left by a daemon that ended between copying and removing.
    assert_eq!(deliver(&bed, &from, &parent, true).await, Input::Delivered(Ok(to.clone())));
    assert_eq!(deliver(&bed, &from, &parent, false).await, Input::Delivered(Ok(to.clone())));
    assert_eq!((tree(&to), from.exists()), (content, false));
    assert!(!parent.join("wanted_1").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_added_or_edited_after_a_copy_is_delivered_too() {
    let bed = Bed::start(&[]).await;
    let from = stored(&bed).await;
    let copy = bed.dir.path().join("cwd/wanted");
    let parent = copy.parent().expect("parent");
    for change in ["sub/plot", "out.txt"] {
        assert_eq!(deliver(&bed, &from, parent, true).await, Input::Delivered(Ok(copy.clone())));
        std::fs::write(from.join(change), "hours of work").expect("write");
        let content = tree(&from);
        let Input::Delivered(Ok(to)) = deliver(&bed, &from, parent, false).await else { panic!("not delivered") };
        assert_eq!((tree(&to), from.exists()), (content, false), "{change}");
        // The next change is made to it, in the place where it was.
        std::fs::rename(&to, &from).expect("rename");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_fails_leaves_nothing() {
    let bed = Bed::start(&[]).await;
    let from = stored(&bed).await;
    let parent = bed.dir.path().join("cwd");
    // A thing that cannot be copied, as a quota that is used up would stop it in the middle.
    let pipe = rustix::fs::mkfifoat(rustix::fs::CWD, from.join("pipe"), rustix::fs::Mode::RUSR);
    pipe.expect("a pipe can be made");
    let Input::Delivered(Err(_)) = deliver(&bed, &from, &parent, true).await else { panic!("delivered") };
    assert!(tree(&parent).is_empty(), "{:?}", tree(&parent).keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_results_are_read_and_thrown_away() {
    let bed = Bed::start(&[]).await;
    let dir = stored(&bed).await;
    let files = list_local(&bed.hands, Key(1), &dir).await.expect("list");
    let names: Vec<&str> = files.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(names, ["out.txt", "sub/x"]);
    let piece = cat_local(&dir, "out.txt", 2, 3).await.expect("read").expect("a file");
    assert_eq!((piece.bytes.as_slice(), piece.total), (&b"sul"[..], 6));
    for _ in 0..2 {
        let discard = Work::Discard { key: Key(1), dir: dir.clone() };
        assert_eq!(bed.one(discard).await, (Input::Discarded(Ok(())), None));
    }
    assert!(!dir.exists());
    let name = dir.file_name().expect("name");
    assert_eq!(tree(&bed.results().join(".trash").join(name))["out.txt"], b"result");
    // Something else has taken the place.
    std::fs::create_dir(&dir).expect("mkdir");
    std::fs::write(dir.join("notes"), "mine").expect("write");
    let discard = Work::Discard { key: Key(1), dir: dir.clone() };
    assert_eq!(bed.one(discard).await, (Input::Discarded(Ok(())), None));
    assert_eq!(tree(&dir)["notes"], b"mine");
}
