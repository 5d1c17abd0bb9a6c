//! Downloads: whole, resumed, refused, raced, capped, and never cleaned by themselves.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use actd::job::Key;
use actd::job::apply::Input;
use actd::job::fault::{Class, Fault};
use actd::work::{Manifest, ProgressSink, Retrieve, Work};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::bed::{Bed, LONG, OWNER, tree};

fn failed(input: Input) -> Fault {
    match input {
        Input::Retrieved(Err(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

/// A file of half a megabyte, no two pieces of which are the same.
fn big() -> String {
    (0..50_000).fold(String::new(), |text, n| text + &format!("{n:09}\n"))
}

fn header<'a>(entry: &'a Value, name: &str) -> Option<&'a str> {
    let headers = entry["headers"].as_array()?;
    headers.iter().find(|h| h[0].as_str().is_some_and(|n| n.eq_ignore_ascii_case(name)))?[1].as_str()
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_manifest_and_name() {
    let bed = Bed::start(&[]).await;
    let ids = bed.done_jobs(2, &json!({"out.txt": "result {id}", "deep/er/x": "", ".actd-manifest.json.not": "y"}));
    std::fs::create_dir_all(bed.results().join("same")).expect("the user's own");
    for (n, id) in ids.iter().enumerate() {
        let job = Retrieve { name: "same".into(), ..bed.retrieve(Key(n as u64), *id).await };
        let dir = bed.retrieved(job.clone()).await;
        assert_eq!(dir, bed.results().join(format!("same_{}", n + 1)));
        assert_eq!(tree(&dir)["out.txt"], format!("result {id}").into_bytes());
        for (path, mode) in [("", 0o755), ("out.txt", 0o644), ("deep/er", 0o755), (".actd-manifest.json", 0o644)] {
            let meta = std::fs::metadata(dir.join(path)).expect("stat");
            assert_eq!(meta.permissions().mode() & 0o777, mode, "{path}");
        }
        // The same again, as after a crash before the result was recorded: found, not downloaded.
        let before = bed.sent("GET", "/jobs/").len();
        assert_eq!(bed.retrieved(job).await, dir);
        assert_eq!(bed.sent("GET", "/jobs/").len(), before);
    }
    let left: Vec<String> = tree(&bed.results()).into_keys().filter(|p| p.contains(".part")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(bed.sent("DELETE", "/jobs").is_empty(), "a download never cleans");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_resumed() {
    let bed = Bed::start(&[]).await;
    let [id] = bed.done_jobs(1, &json!({"big": big(), "small": "s"}))[..] else { panic!("ids") };
    bed.fault(&json!({"path": "/jobs/*/results/big", "count": 2, "fault": {"kind": "truncate", "bytes": 200_000}}));
    let dir = bed.retrieved(bed.retrieve(Key(1), id).await).await;
    assert_eq!(tree(&dir)["big"], big().into_bytes());
    let sent = bed.sent("GET", &format!("/jobs/{id}/results/big"));
    let ranges: Vec<Option<&str>> = sent.iter().map(|entry| header(entry, "range")).collect();
    assert_eq!(ranges.len(), 3, "{ranges:?}");
    assert!(ranges[1..].iter().all(|r| r.is_some_and(|r| r.starts_with("bytes=") && r != "bytes=0-")), "{ranges:?}");
    assert!(sent[1..].iter().all(|entry| header(entry, "if-range").is_some_and(|tag| tag.starts_with('"'))));
}

/// The size of the largest file below a directory in which others are at work.
fn largest(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => largest(&entry.path()),
        meta => meta.map_or(0, |meta| meta.len()),
    };
    entries.map(size).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_download_goes_on_later() {
    let bed = Bed::start(&[]).await;
    let [id] = bed.done_jobs(1, &json!({"big": big(), "small": "s"}))[..] else { panic!("ids") };
    bed.fault(&json!({"path": "/jobs/*/results/big", "count": 1, "fault": {"kind": "truncate", "bytes": 300_000, "stall": true}}));
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    let sink = ProgressSink::new(move |_, progress| {
        if progress.is_some_and(|(_, p)| p.files == 1 && p.bytes > 100_000) {
            stop.cancel();
        }
    });
    let job = bed.retrieve(Key(1), id).await;
    // The last report may come before the file is that far: then the stop comes from here, when something of it is here.
    let (late, results) = (cancel.clone(), bed.results());
    let watch = tokio::spawn(async move {
        while largest(&results) < 100_000 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        late.cancel();
    });
    let begin = Instant::now();
    let done = bed.hands.run(Work::Retrieve(job.clone()), OWNER, sink, cancel).await;
    watch.abort();
    // Half of the time after which a server that says nothing more is given up.
    assert!(begin.elapsed() < Duration::from_secs(30), "it stops when told, not when the server gives up");
    assert!(format!("{done:?}").contains("goes on from where it was"), "{done:?}");
    assert!(!bed.results().join(&job.name).exists());
    let dir = bed.retrieved(job).await;
    assert_eq!(tree(&dir)["big"], big().into_bytes());
    let sent = bed.sent("GET", &format!("/jobs/{id}/results/big"));
    assert!(header(sent.last().expect("a request"), "range").is_some_and(|r| r != "bytes=0-"), "{sent:?}");
    assert_eq!(bed.sent("GET", &format!("/jobs/{id}/results/small")).len(), 1, "what is complete is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_reach_outside_are_refused_and_the_rest_is_brought() {
    let bed = Bed::start(&[]).await;
    let [id] = bed.done_jobs(1, &json!({"good": "g"}))[..] else { panic!("ids") };
    let names = ["../evil", "/etc/evil", "a/../../evil", "..", "n\u{0}ul", "gone"];
    bed.fault(
        &json!({"path": "/jobs/*/results/", "fault": {"kind": "listing", "file": names, "dir": ["../..", "good"]}}),
    );
    let job = bed.retrieve(Key(1), id).await;
    let why = failed(bed.one(Work::Retrieve(job.clone())).await.0);
    assert_eq!(why.class, Class::Rejected);
    assert!(why.why.contains("evil") && why.why.contains("the server keeps the job"), "{}", why.why);
    let dir = bed.results().join(&job.name);
    assert_eq!(tree(&dir)["good"], b"g", "{why:?}");
    let manifest = Manifest::of(&dir, &bed.config.state_dir, Key(1)).expect("manifest");
    assert!(!manifest.complete && manifest.missing.len() >= 7, "{:?}", manifest.missing);
    let everything = tree(bed.dir.path());
    assert!(!everything.keys().any(|path| path.ends_with("evil")), "{:?}", everything.keys());
    assert!(!std::path::Path::new("/etc/evil").exists());

    let again = failed(bed.one(Work::Retrieve(job.clone())).await.0);
    assert_eq!((again.class, again.why), (Class::Rejected, why.why));
    assert_eq!(tree(&bed.results()).keys().filter(|path| path.ends_with("good")).count(), 1, "no second directory");
    assert!(bed.row(id).await.is_some() && bed.sent("DELETE", "/jobs").is_empty());

    // When the server has come to its senses, asking again brings all of it, in the same place.
    bed.admin("DELETE", "/faults", &Value::Null);
    assert_eq!(bed.retrieved(job).await, dir);
    assert!(Manifest::of(&dir, &bed.config.state_dir, Key(1)).expect("manifest").complete);
    assert_eq!(tree(&bed.results()).keys().filter(|path| path.ends_with("good")).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_put_beside_incomplete_results_stays() {
    let bed = Bed::start(&[]).await;
    let [id] = bed.done_jobs(1, &json!({"good": "g", "late": "l"}))[..] else { panic!("ids") };
    bed.fault(&json!({"path": format!("/jobs/{id}/results/late"), "fault": {"kind": "status", "status": 404}}));
    let job = bed.retrieve(Key(1), id).await;
    assert_eq!(failed(bed.one(Work::Retrieve(job.clone())).await.0).class, Class::Rejected);
    let first = bed.results().join(&job.name);
    std::fs::create_dir(first.join("plots")).expect("mkdir");
    std::fs::write(first.join("plots/a.png"), "hours of work").expect("write");
    bed.heal();
    let second = bed.retrieved(job).await;
    assert_eq!(tree(&second)["late"], b"l");
    assert_eq!(tree(&first)["plots/a.png"], b"hours of work");
    assert_ne!(first, second);
    let hidden: Vec<String> = tree(&bed.results()).into_keys().filter(|path| path.starts_with('.')).collect();
    assert!(hidden.is_empty(), "{hidden:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_lengths_are_not_complete() {
    let bed = Bed::start(&[]).await;
    let [id] = bed.done_jobs(1, &json!({"out": "0123456789"}))[..] else { panic!("ids") };
    let job = bed.retrieve(Key(1), id).await;
    for fault in [
        json!({"kind": "wrong_length", "delta": 5}),
        json!({"kind": "truncate", "bytes": 0}),
        json!({"kind": "status", "status": 500}),
        json!({"kind": "reset"}),
        json!({"kind": "endless", "content_type": "application/octet-stream"}),
    ] {
        bed.fault(&json!({"path": "/jobs/*/results/out", "fault": fault}));
        let (input, _) = bed.one(Work::Retrieve(job.clone())).await;
        let why = failed(input);
        assert_eq!(why.class, Class::Transient, "{fault}: {why:?}");
        assert!(!bed.results().join(&job.name).exists(), "{fault}");
        bed.heal();
    }
    let dir = bed.retrieved(job).await;
    assert_eq!(tree(&dir)["out"], b"0123456789");
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_another_run_are_not_taken() {
    let bed = Bed::start(&[]).await;
    let ids = bed.done_jobs(3, &json!({"out": "x"}));
    let job = Retrieve { run: "https://ce/arex/rest/1.0/jobs/old".into(), ..bed.retrieve(Key(1), ids[0]).await };
    let (input, fault) = bed.one(Work::Retrieve(job)).await;
    let why = failed(input);
    assert_eq!((why.class, fault), (Class::Transient, None));
    assert!(why.why.contains("run again"), "{}", why.why);
    assert!(tree(&bed.results()).is_empty(), "{:?}", tree(&bed.results()).keys());

    let job = bed.retrieve(Key(2), ids[1]).await;
    bed.admin("POST", &format!("/jobs/{}/state", ids[1]), &json!({"arcstate": "running"}));
    let why = failed(bed.one(Work::Retrieve(job)).await.0);
    assert_eq!(why.class, Class::Transient, "{why:?}");

    let job = bed.retrieve(Key(3), ids[2]).await;
    bed.jobs(Work::Clean(vec![(Key(3), ids[2], "".into())])).await;
    let (input, fault) = bed.one(Work::Retrieve(job)).await;
    assert_eq!((failed(input).class, fault), (Class::NoRow, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_files_is_complete() {
    let bed = Bed::start(&[]).await;
    let ids = bed.done_jobs(2, &json!({"out": "x"}));
    let none = bed.admin("GET", &format!("/jobs/{}", ids[0]), &Value::Null);
    std::fs::remove_dir_all(none["results"].as_str().expect("results")).expect("remove");
    let job = bed.retrieve(Key(1), ids[0]).await;
    assert_eq!(bed.one(Work::Retrieve(job)).await, (Input::Retrieved(Ok(None)), None));

    let empty = bed.admin("GET", &format!("/jobs/{}", ids[1]), &Value::Null);
    let results = std::path::PathBuf::from(empty["results"].as_str().expect("results"));
    std::fs::remove_file(results.join("out")).expect("remove");
    let job = bed.retrieve(Key(2), ids[1]).await;
    assert_eq!(bed.one(Work::Retrieve(job)).await, (Input::Retrieved(Ok(None)), None));
    assert!(tree(&bed.results()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_jobs_wins_over_the_manifest() {
    let bed = Bed::start(&[]).await;
    let [id] = bed.done_jobs(1, &json!({".actd-manifest.json": "the job's own", "out": "x"}))[..] else {
        panic!("ids")
    };
    let job = bed.retrieve(Key(7), id).await;
    let dir = bed.retrieved(job.clone()).await;
    assert_eq!(tree(&dir)[".actd-manifest.json"], b"the job's own");
    let manifest = Manifest::of(&dir, &bed.config.state_dir, Key(7)).expect("kept apart");
    assert_eq!((manifest.files.len(), manifest.dir.as_ref()), (2, Some(&dir)));
    assert_eq!(bed.retrieved(job).await, dir, "and it is found again by it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cap_is_made_of_short_requests() {
    let bed = Bed::with(&[], |config| config.rate = Some(200_000)).await;
    let [id] = bed.done_jobs(1, &json!({"big": big()}))[..] else { panic!("ids") };
    let begin = Instant::now();
    let dir = bed.retrieved(bed.retrieve(Key(1), id).await).await;
    // 500,000 bytes in slices of 200,000: the last one is not waited for.
    assert!(begin.elapsed() >= Duration::from_millis(1_900) && begin.elapsed() < LONG, "{:?}", begin.elapsed());
    assert_eq!(tree(&dir)["big"], big().into_bytes());
    let sent = bed.sent("GET", &format!("/jobs/{id}/results/big"));
    let ranges: Vec<Option<&str>> = sent.iter().map(|entry| header(entry, "range")).collect();
    assert_eq!(ranges, [Some("bytes=0-199999"), Some("bytes=200000-399999"), Some("bytes=400000-599999")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_before_it_is_full() {
    let bed = Bed::with(&[], |config| config.min_free = u64::MAX / 2).await;
    let [id] = bed.done_jobs(1, &json!({"out": "x"}))[..] else { panic!("ids") };
    let (input, fault) = bed.one(Work::Retrieve(bed.retrieve(Key(1), id).await)).await;
    let why = failed(input);
    assert_eq!((why.class, fault.map(|f| f.class)), (Class::DiskFull, Some(Class::DiskFull)));
    assert!(why.why.contains("MiB are free"), "{}", why.why);
    assert!(bed.sent("GET", &format!("/jobs/{id}/results/")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_and_levels() {
    let bed = Bed::start(&["--workers", "many"]).await;
    let mut files = serde_json::Map::new();
    for n in 0..300 {
        files.insert(format!("d{}/e{}/f{n}", n % 7, n % 3), json!(format!("file {n}")));
    }
    let [id] = bed.done_jobs(1, &Value::Object(files))[..] else { panic!("ids") };
    let dir = bed.retrieved(bed.retrieve(Key(1), id).await).await;
    let tree = tree(&dir);
    for n in 0..300 {
        assert_eq!(tree[&format!("d{}/e{}/f{n}", n % 7, n % 3)], format!("file {n}").into_bytes());
    }
    assert_eq!(
        bed.sent("GET", &format!("/jobs/{id}/results/"))
            .iter()
            .filter(|e| e["path"].as_str().is_some_and(|p| p.contains("/f")))
            .count(),
        300
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_jobs_need_few_requests() {
    let bed = Bed::start(&["--workers", "1"]).await;
    let ids = bed.done_jobs(40, &json!({"out": "result {id}"}));
    let rows = bed.rows().await;
    bed.admin("DELETE", "/journal", &Value::Null);
    let jobs = ids.iter().map(|id| {
        let work = Work::Retrieve(Retrieve {
            key: Key(*id),
            id: *id,
            run: rows[id].run.clone().expect("run").into(),
            job_name: None,
            parent: bed.results(),
            name: format!("job{id}"),
            exclude: Vec::new(),
        });
        bed.one(work)
    });
    for (input, fault) in futures_util::future::join_all(jobs).await {
        assert!(matches!(input, Input::Retrieved(Ok(Some(_)))) && fault.is_none(), "{input:?}");
    }
    assert_eq!(bed.sent("GET", "/jobs/").len(), 80, "a listing and a file for each");
    assert!(bed.journal().len() <= 100, "the rows are looked at together: {}", bed.journal().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_somebody_else_cleans_meanwhile() {
    let bed = Bed::start(&["--workers", "many"]).await;
    let [id] = bed.done_jobs(1, &json!({"out": "result"}))[..] else { panic!("ids") };
    let job = bed.retrieve(Key(1), id).await;
    // The row is gone when it is looked at for the last time.
    bed.fault(&json!({"path": "/jobs", "method": "GET", "query": "id=", "fault": {"kind": "body", "body": "[]"}}));
    let why = failed(bed.one(Work::Retrieve(job.clone())).await.0);
    assert_eq!(why.class, Class::NoRow);
    let dir = bed.results().join(&job.name);
    assert!(why.why.contains(dir.to_str().expect("text")), "{}", why.why);
    assert_eq!(tree(&dir)["out"], b"result");
    assert!(!Manifest::of(&dir, &bed.config.state_dir, Key(1)).expect("manifest").complete);
}
