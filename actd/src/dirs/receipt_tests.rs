//! Receipts in `accepted/`: kept up to date through restarts, and left alone where they are no longer ours.

use std::fs;

use super::tests::{JOB, Life, exists, root, settings, until};
use crate::engine::handle::Verb;
use crate::job::Key;

async fn kill(life: &Life, key: u64) {
    let _ = life.engine.act(Verb::Kill, vec![Key(key)], None).await.expect("kill");
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_a_paused_directory_are_kept_after_a_restart() {
    let root = root();
    let settings = settings(root.path());
    let dir = settings.path.clone();
    let life = Life::begin(root.path(), None, vec![settings.clone()]).await;
    fs::write(dir.join("a.xrsl"), JOB).expect("write");
    exists(&dir.join("accepted/a.xrsl")).await;
    let _ = life.dirs.pause(&dir, true).await.expect("pause");
    life.end().await;
    let life = Life::begin(root.path(), None, vec![settings]).await;
    fs::write(dir.join("b.xrsl"), JOB).expect("write");
    kill(&life, 1).await;
    let written = || fs::read_to_string(dir.join("accepted/a.xrsl.json")).expect("receipt");
    until("its end in the receipt", || async {
        written().contains("\"outcome\": \"killed\"").then_some(()).ok_or_else(written)
    })
    .await;
    assert!(dir.join("b.xrsl").exists());
    assert_eq!(life.dir().await.reason.as_deref(), Some("paused by the user"));
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_of_another_state_directory_stays_as_it_is() {
    let (root, other) = (root(), root());
    let settings = settings(root.path());
    let dir = settings.path.clone();
    let life = Life::begin(root.path(), None, vec![settings.clone()]).await;
    fs::write(dir.join("a.xrsl"), JOB).expect("write");
    let receipt = dir.join("accepted/a.xrsl.json");
    exists(&receipt).await;
    exists(&dir.join("accepted/a.xrsl")).await;
    life.end().await;
    let before = fs::read_to_string(&receipt).expect("receipt");
    assert!(before.contains("\"key\": \"j1\""), "{before}");

    // Another daemon gives the same names to its own jobs.
    let life = Life::begin(other.path(), None, vec![settings.clone()]).await;
    fs::write(dir.join("b.xrsl"), JOB.replace("one", "two")).expect("write");
    exists(&dir.join("accepted/b.xrsl.json")).await;
    exists(&dir.join("accepted/b.xrsl")).await;
    assert_eq!(life.engine.board.read().by_key.keys().map(ToString::to_string).collect::<Vec<_>>(), ["j1"]);
    life.end().await;
    assert_eq!(fs::read_to_string(&receipt).expect("receipt"), before);

    // The first one goes on with it.
    let life = Life::begin(root.path(), None, vec![settings]).await;
    kill(&life, 1).await;
    let written = || fs::read_to_string(&receipt).expect("receipt");
    until("its end in the receipt", || async {
        written().contains("\"outcome\": \"killed\"").then_some(()).ok_or_else(written)
    })
    .await;
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_that_a_person_has_replaced_do_not_stop_the_directory() {
    let root = root();
    let settings = settings(root.path());
    let dir = settings.path.clone();
    let life = Life::begin(root.path(), None, vec![settings.clone()]).await;
    for name in ["a", "b", "c"] {
        fs::write(dir.join(format!("{name}.xrsl")), JOB).expect("write");
        exists(&dir.join(format!("accepted/{name}.xrsl"))).await;
    }
    let receipt = |name: &str| dir.join(format!("accepted/{name}.xrsl.json"));
    let kept = root.path().join("a.json");
    fs::rename(receipt("a"), &kept).expect("rename");
    std::os::unix::fs::symlink(&kept, receipt("a")).expect("symlink");
    fs::remove_file(receipt("b")).expect("remove");
    fs::create_dir(receipt("b")).expect("mkdir");
    let before = fs::read_to_string(&kept).expect("receipt");
    for key in 1..=3 {
        kill(&life, key).await;
    }
    let written = |name: &str| fs::read_to_string(receipt(name)).expect("receipt");
    until("the third one's end in its receipt", || async {
        written("c").contains("\"outcome\": \"killed\"").then_some(()).ok_or_else(|| written("c"))
    })
    .await;
    fs::write(dir.join("d.xrsl"), JOB).expect("write");
    exists(&dir.join("accepted/d.xrsl")).await;
    // What a person puts there between two runs is met at the start.
    life.end().await;
    fs::remove_file(receipt("d")).expect("remove");
    fs::create_dir(receipt("d")).expect("mkdir");
    let life = Life::begin(root.path(), None, vec![settings]).await;
    fs::write(dir.join("e.xrsl"), JOB).expect("write");
    exists(&dir.join("accepted/e.xrsl")).await;
    assert_ne!(life.dir().await.state, "paused");
    assert_eq!(fs::read_to_string(&kept).expect("receipt"), before, "a link is not written through");
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_which_nothing_can_be_learnt_holds_up_no_other() {
    let root = root();
    let settings = settings(root.path());
    let dir = settings.path.clone();
    let life = Life::begin(root.path(), None, vec![settings.clone()]).await;
    fs::write(dir.join("a.xrsl"), JOB).expect("write");
    exists(&dir.join("accepted/a.xrsl")).await;
    life.end().await;
    // The ledger of what is followed cannot be opened.
    let followed = fs::read_dir(dir.join(".actd")).expect("own").flatten().map(|entry| entry.path());
    let ledgers: Vec<_> = followed.map(|path| path.join("claim.json")).filter(|path| path.exists()).collect();
    assert_eq!(ledgers.len(), 1, "{ledgers:?}");
    fs::remove_file(&ledgers[0]).expect("remove");
    std::os::unix::fs::symlink("/nowhere", &ledgers[0]).expect("symlink");
    let life = Life::begin(root.path(), None, vec![settings]).await;
    fs::write(dir.join("b.xrsl"), JOB).expect("write");
    exists(&dir.join("accepted/b.xrsl")).await;
    life.end().await;
}
