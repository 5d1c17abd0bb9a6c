//! The cache on a real directory: what is committed is there again, whatever the last run left behind.

use std::fs;

use act_proto::jobs::Origin;

use super::prune::Retention;
use super::reader::KEYS;
use super::record::EventRecord;
use super::recover::recover;
use super::samples;
use super::{Batch, Store, key1};
use crate::job::{Job, Key, Outcome, Phase, Spec, Time};

fn job(key: u64, phase: Phase) -> Job {
    Job {
        name: Some("name".into()),
        batch: Some("b".into()),
        changed: Time(6),
        ..Job::new(Key(key), Origin::Submitted, 1, phase, Time(5))
    }
}

pub(super) fn spec() -> Spec {
    Spec {
        text: "&(executable=a)".into(),
        clusters: vec!["https://c/q".into()],
        inputs: vec![],
        webdav: None,
        results: "/r".into(),
        source: None,
        base_dir: "/".into(),
        staged: vec![],
    }
}

fn closed(at: i64) -> Phase {
    Phase::Closed { id: Some(9), outcome: Outcome::Collected, dir: None, at: Time(at) }
}

fn event(key: u64, at: i64) -> EventRecord {
    EventRecord {
        at: Time(at),
        kind: "job".into(),
        key: Some(Key(key)),
        before: None,
        after: None,
        text: String::new(),
    }
}

fn fill(store: &Store) {
    let mut batch = Batch::default();
    for key in 1..=3 {
        batch.job(&job(key, Phase::Queued)).unwrap();
        batch.spec(Key(key), &spec()).unwrap();
        batch.client_ref(&format!("ref/{key}"), Key(key));
        batch.event(key, &event(key, 10)).unwrap();
    }
    batch.lost_post(1, &samples::lost_post()).unwrap();
    batch.next_key(4);
    store.commit(batch).unwrap();
    let mut batch = Batch::default();
    batch.job(&job(2, closed(100))).unwrap();
    store.commit(batch).unwrap();
}

#[test]
fn a_job_is_live_or_closed_never_both_and_keys_are_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let id = {
        let store = Store::open(dir.path()).unwrap();
        fill(&store);
        store.instance_id().to_owned()
    };
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.instance_id(), id);
    let loaded = store.load().unwrap();
    assert_eq!(loaded.jobs.iter().map(|j| j.key.0).collect::<Vec<_>>(), [1, 3]);
    assert_eq!((loaded.next_key, loaded.last_event), (4, 3));
    let reader = store.reader();
    assert!(reader.closed(Key(2)).is_some());
    assert_eq!(reader.by_client_ref("ref/2"), Some(Key(2)));
    assert_eq!(reader.events_of(Key(3)).len(), 1);
    let (events, gap) = reader.events(1, 10);
    assert_eq!((events.len(), gap), (2, false));
}

#[test]
fn what_has_had_its_time_is_forgotten_with_all_that_belongs_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    fill(&store);
    let keep = |closed_before, events_before| Retention {
        closed_before: Time(closed_before),
        events_before: Time(events_before),
        most_events: 100,
    };
    assert_eq!(store.prune(&keep(100, 10)).unwrap(), (0, 0));
    assert_eq!(store.prune(&keep(101, 10)).unwrap(), (1, 0));
    let reader = store.reader();
    assert!(
        reader.closed(Key(2)).is_none() && reader.spec(Key(2)).is_none() && reader.by_client_ref("ref/2").is_none()
    );
    assert!(reader.spec(Key(1)).is_some());
    assert_eq!(store.prune(&Retention { most_events: 1, ..keep(0, 0) }).unwrap().1, 2);
    let (events, gap) = reader.events(0, 10);
    assert_eq!((events.len(), gap), (1, true));
    assert_eq!(store.prune(&keep(0, i64::MAX)).unwrap().1, 0);
    let loaded = store.load().unwrap();
    assert_eq!((loaded.next_key, loaded.last_event), (4, 3), "keys and numbers of events are not used again");
}

#[test]
fn an_export_makes_the_same_cache_elsewhere() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let from = Store::open(a.path()).unwrap();
    fill(&from);
    let mut text = Vec::new();
    from.export(&mut text).unwrap();
    let to = Store::open(b.path()).unwrap();
    to.import(&mut text.as_slice()).unwrap();
    assert_eq!(from.load().unwrap().jobs, to.load().unwrap().jobs);
    assert_eq!(from.reader().closed(Key(2)), to.reader().closed(Key(2)));
    assert_eq!(from.load().unwrap().next_key, to.load().unwrap().next_key);
    assert_eq!(to.load().unwrap().lost_posts.len(), 1);
    let empty = tempfile::tempdir().unwrap();
    let to = Store::open(empty.path()).unwrap();
    let error = to.import(&mut b"{\"next_key\":4}\n{\"job\":{}}\n".as_slice()).unwrap_err();
    assert!(error.to_string().contains("line 2"), "{error}");
    assert!(to.is_new().unwrap(), "all or nothing");
}

#[test]
fn leftovers_of_crashes_do_not_keep_it_from_opening() {
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()).unwrap());
    let path = dir.path().join("jobs.sled");
    fs::write(path.join("snap.000000000000001F.generating"), b"").unwrap();
    assert_eq!(Store::open(dir.path()).unwrap().load().unwrap().jobs.len(), 2);
    // A rewrite that ended between its two renames: the new one is complete.
    fs::rename(&path, dir.path().join("jobs.sled.new")).unwrap();
    fs::write(dir.path().join("jobs.sled.new/complete"), b"").unwrap();
    fs::create_dir(dir.path().join("jobs.sled.old")).unwrap();
    assert_eq!(Store::open(dir.path()).unwrap().load().unwrap().jobs.len(), 2);
    assert!(!dir.path().join("jobs.sled.old").exists());
    // One that was never complete goes; the old one is back.
    fs::rename(&path, dir.path().join("jobs.sled.old")).unwrap();
    fs::create_dir(dir.path().join("jobs.sled.new")).unwrap();
    assert_eq!(Store::open(dir.path()).unwrap().load().unwrap().jobs.len(), 2);
    assert!(!dir.path().join("jobs.sled.new").exists());
}

#[test]
fn records_of_a_newer_version_are_refused_with_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = Store::open(dir.path()).unwrap();
        store.tree.insert(super::key1(b'j', 8), vec![99, 1, 2]).unwrap();
        store.tree.flush().unwrap();
    }
    let error = Store::open(dir.path()).unwrap().load().unwrap_err().to_string();
    assert!(error.contains("newer actd") && error.contains("99"), "{error}");
}

/// Whatever is wrong with single records: the others are kept, and the old cache, too.
#[test]
fn what_can_be_read_is_kept_and_the_old_cache_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()).unwrap());
    let whole = recover(dir.path()).unwrap();
    assert!(whole.aside.is_none() && whole.lost.is_empty() && whole.kept > 8, "{whole:?}");
    {
        let store = Store::open(dir.path()).unwrap();
        store.tree.insert(super::key1(b'j', 3), vec![1, 255, 255]).unwrap();
        store.tree.remove(b"mnext_key").unwrap();
        store.tree.flush().unwrap();
        let error = store.load().unwrap_err().to_string();
        assert!(error.contains("j 3"), "{error}");
    }
    let mended = recover(dir.path()).unwrap();
    assert_eq!((mended.kept, mended.lost.len()), (whole.kept - 2, 1), "{mended:?}");
    assert!(mended.lost[0].contains("jobs 3"), "{mended:?}");
    assert!(mended.aside.is_some_and(|aside| aside.join("db").exists()));
    let store = Store::open(dir.path()).unwrap();
    let loaded = store.load().unwrap();
    assert_eq!(loaded.jobs.iter().map(|j| j.key.0).collect::<Vec<_>>(), [1]);
    assert_eq!(loaded.next_key, 4, "keys are not used again");
    assert!(store.reader().closed(Key(2)).is_some() && store.reader().spec(Key(3)).is_some());
}

/// A file of sled's that is damaged anywhere: an error or what is whole, never a crash, and never silently less.
#[test]
fn a_damaged_file_is_told_of_and_mended() {
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()).unwrap());
    let db = dir.path().join("jobs.sled/db");
    let good = fs::read(&db).unwrap();
    let used = good.iter().rposition(|byte| *byte != 0).unwrap();
    let mut refused = 0;
    for at in (0..used).step_by((used / 12).max(1)) {
        let trial = tempfile::tempdir().unwrap();
        let path = trial.path().join("jobs.sled");
        fs::create_dir(&path).unwrap();
        for name in ["db", "conf"] {
            fs::copy(dir.path().join("jobs.sled").join(name), path.join(name)).unwrap();
        }
        fs::copy(dir.path().join("jobs.last"), trial.path().join("jobs.last")).unwrap();
        let mut bytes = good.clone();
        for byte in &mut bytes[at..(at + 40).min(used)] {
            *byte ^= 0x5a;
        }
        fs::write(path.join("db"), &bytes).unwrap();
        match Store::open(trial.path()).and_then(|store| store.load()) {
            Ok(loaded) => assert_eq!(loaded.jobs.len(), 2, "damage at {at} is not told of"),
            Err(e) => {
                refused += 1;
                assert!(e.to_string().contains("changes are missing"), "{e}");
                let done = recover(trial.path()).unwrap();
                assert!(!done.lost.is_empty() && done.aside.is_some_and(|aside| aside.exists()), "damage at {at}");
                let loaded = Store::open(trial.path()).unwrap().load().unwrap();
                assert_eq!(loaded.next_key, 4, "keys are not used again");
            }
        }
    }
    assert!(refused > 0);
    fs::write(&db, b"not a database at all").unwrap();
    fs::remove_file(dir.path().join("jobs.sled/conf")).unwrap();
    let error = Store::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("changes are missing"), "{error}");
}

#[test]
fn a_file_that_is_mostly_dead_is_rewritten_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let size = || fs::metadata(dir.path().join("jobs.sled/db")).unwrap().len();
    let store = Store::open(dir.path()).unwrap();
    fill(&store);
    // Years of events, and then their end.
    for chunk in 0..4 {
        let mut batch = Batch::default();
        for number in 0..1_000 {
            let mut event = event(1, 10);
            // sled packs nothing: these are bytes on the disk.
            event.text = "x".repeat(4_000);
            batch.event(100 + chunk * 1_000 + number, &event).unwrap();
        }
        store.commit(batch).unwrap();
    }
    let keep = Retention { closed_before: Time(0), events_before: Time(1_000), most_events: u64::MAX };
    store.prune(&keep).unwrap();
    let jobs = store.load().unwrap().jobs;
    drop(store);
    let before = size();
    assert!(before > 12_000_000, "{before} bytes");
    assert_eq!(Store::open(dir.path()).unwrap().load().unwrap().jobs, jobs);
    assert!(size() < before / 4, "{before} and then {} bytes", size());
}

/// Jobs come, live and are forgotten, many times as many as are remembered at any time: the file stops growing.
/// `ACT_TESTS_JOBS` and `ACT_TESTS_REMEMBERED` make it a longer life.
#[test]
fn a_long_life_does_not_make_the_file_grow_without_bound() {
    const TOGETHER: u64 = 20;
    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |n| n.parse().expect("a number"));
    let (jobs, remembered) = (number("ACT_TESTS_JOBS", 800), number("ACT_TESTS_REMEMBERED", 100));
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let samples = samples::jobs();
    let (mut seq, mut sizes) = (0, Vec::new());
    for (turn, first) in (0..jobs).step_by(TOGETHER as usize).enumerate() {
        for (step, sample) in samples.iter().enumerate() {
            let mut batch = Batch::default();
            for key in first + 1..=first + TOGETHER {
                let phase = match &sample.phase {
                    _ if step + 1 == samples.len() => closed(key as i64),
                    Phase::Closed { .. } => Phase::Active { id: key },
                    phase => phase.clone(),
                };
                batch.job(&Job { phase, leftovers: vec![], ..Job { key: Key(key), ..sample.clone() } }).unwrap();
                if step == 0 {
                    batch.spec(Key(key), &spec()).unwrap();
                    batch.client_ref(&format!("a-reference-of-some-length/{key}"), Key(key));
                    batch.next_key(key + 1);
                }
                seq += 1;
                batch.event(seq, &EventRecord { text: "x".repeat(120), ..event(key, key as i64) }).unwrap();
            }
            store.commit(batch).unwrap();
        }
        if turn % 5 == 4 {
            let before = Time(first.saturating_sub(remembered) as i64);
            store.prune(&Retention { closed_before: before, events_before: before, most_events: 1_000_000 }).unwrap();
            let live: usize = store.tree.iter().map(|item| item.map_or(0, |(k, v)| k.len() + v.len())).sum();
            sizes.push(fs::metadata(dir.path().join("jobs.sled/db")).unwrap().len());
            println!("{first} jobs, {live} bytes live, file {}", sizes.last().unwrap());
        }
    }
    let half = sizes.len() / 2;
    let (early, late) = (sizes[..half].iter().max().unwrap(), sizes[half..].iter().max().unwrap());
    assert!(*late <= early * 2, "{sizes:?}");
}

/// sled shows what it could not write: nobody may rely on it.
#[test]
fn what_could_not_be_made_durable_is_not_known_and_nothing_is_written_after_it() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut store = Store::open(dir.path()).unwrap();
        fill(&store);
        let reader = store.reader();
        // A file that cannot be synced.
        let good = std::mem::replace(&mut store.file, fs::File::open("/dev/null").unwrap());
        let mut batch = Batch::default();
        batch.client_ref("ref/4", Key(4));
        assert!(store.commit(batch).is_err());
        assert_eq!(reader.by_client_ref("ref/4"), None);
        store.file = good;
        let mut batch = Batch::default();
        batch.client_ref("ref/5", Key(5));
        let refused = store.commit(batch).map_err(|e| e.to_string());
        assert!(refused.as_ref().is_err_and(|e| e.contains("an earlier change")), "{refused:?}");
    }
    let reader = Store::open(dir.path()).unwrap().reader();
    assert_eq!((reader.by_client_ref("ref/1"), reader.by_client_ref("ref/5")), (Some(Key(1)), None));
}

#[test]
fn the_history_is_read_from_a_key_on_and_no_further_than_asked() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut batch = Batch::default();
    // Every third is still alive; more keys than are looked up at a time.
    let count = 2 * KEYS as u64;
    for key in 1..=count {
        batch.job(&job(key, if key % 3 == 0 { Phase::Queued } else { closed(100) })).unwrap();
    }
    store.commit(batch).unwrap();
    let reader = store.reader();
    let all: Vec<u64> = (1..=count).filter(|key| key % 3 != 0).collect();
    let (mut read, mut pages, mut after) = (0, Vec::new(), Key(0));
    loop {
        let mut keep = |_: &Job| {
            read += 1;
            true
        };
        let page = reader.history_after(after, 300, &mut keep);
        let Some(last) = page.last() else { break };
        after = last.key;
        pages.extend(page.iter().map(|job| job.key.0));
    }
    assert_eq!(pages, all, "each once, oldest first");
    assert_eq!(read, all.len(), "each is read once");
    let odd = reader.history_after(Key(4), 2, &mut |job| job.key.0 % 2 == 1);
    assert_eq!(odd.iter().map(|job| job.key.0).collect::<Vec<_>>(), [5, 7]);
    assert!(reader.history_after(Key(count), 1, &mut |_| true).is_empty());
    assert!(reader.history_after(Key(0), 0, &mut |_| true).is_empty());
}

#[test]
fn events_are_read_in_pieces_and_a_gap_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut batch = Batch::default();
    (5..=20).for_each(|seq| batch.event(seq, &event(1, 10)).unwrap());
    // One that cannot be read is left out, and ends nothing.
    batch.batch.insert(&key1(b'e', 7), b"\x01");
    store.commit(batch).unwrap();
    let reader = store.reader();
    let numbers = |since, limit| {
        let (events, gap) = reader.events(since, limit);
        (events.into_iter().map(|(seq, _)| seq).collect::<Vec<_>>(), gap)
    };
    assert_eq!(numbers(0, 2), (vec![5, 6], true));
    assert_eq!(numbers(4, 3), (vec![5, 6, 8], false));
    assert_eq!(numbers(18, 9), (vec![19, 20], false));
    assert_eq!(numbers(20, 9), (vec![], false));
    assert_eq!(numbers(u64::MAX, 9), (vec![], false));
}
