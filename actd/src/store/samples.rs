//! Records of every kind with every field and variant in use, and the bytes that the first version wrote for them.

use act_proto::jobs::{Origin, Phase as WirePhase};

use super::record::{Brief, EventRecord, RecordError, decode, encode};
use crate::job::orphan::LostPost;
use crate::job::{
    AfterClean, Arcstate, Delivery, InputFile, Job, Key, Leftover, Options, Outcome, Phase, Retry, Saved, Seen, Spec,
    Time, Wishes,
};

pub(super) fn lost_post() -> LostPost {
    let clusters = vec!["https://ce.example.org/q".into()];
    LostPost { floor: 40, sent: Time(1_000), lost: Time(2_000), rows: 3, clusters, proxyid: 1 }
}

fn phases() -> Vec<Phase> {
    let (id, at, run) = (28_517, Time(1_763_800_000_000), "https://ce.example.org:443/arex/rest/1.0/jobs/abc");
    let dir = Some("/home/u/act-results/abc".into());
    let cleaning = |then| Phase::Cleaning { id, run: run.into(), dir: dir.clone(), then };
    let closed = |outcome| Phase::Closed { id: Some(id), outcome, dir: dir.clone(), at };
    vec![
        Phase::Queued,
        Phase::Creating { floor: 7, at },
        Phase::Created { id },
        Phase::Uploading { id, done: true },
        Phase::Confirming { id, at },
        Phase::Active { id },
        Phase::Retrieving { id, run: run.into(), parent: "/home/u".into() },
        Phase::Retrieved { id, run: run.into(), dir: None },
        cleaning(AfterClean::Store),
        cleaning(AfterClean::Collected),
        cleaning(AfterClean::Cleaned),
        cleaning(AfterClean::Expired),
        Phase::Stored { id, dir: dir.clone(), at },
        Phase::Collecting { id, from: "/home/u/act-results/abc".into() },
        Phase::Unknown { id },
        closed(Outcome::Collected),
        closed(Outcome::Cleaned),
        closed(Outcome::Killed),
        closed(Outcome::Gone),
        closed(Outcome::NotSubmitted),
        closed(Outcome::Expired),
    ]
}

pub(super) fn jobs() -> Vec<Job> {
    let states = [
        None,
        Some("tosubmit"),
        Some("submitting"),
        Some("submitted"),
        Some("running"),
        Some("finishing"),
        Some("finished"),
        Some("done"),
        Some("failed"),
        Some("donefailed"),
        Some("tofetch"),
        Some("tocancel"),
        Some("cancelling"),
        Some("cancelled"),
        Some("toresubmit"),
        Some("torerun"),
        Some("lost"),
        Some("whatever"),
    ];
    let origins = [Origin::Submitted, Origin::Adopted, Origin::Foreign];
    let job = |(n, phase): (usize, Phase)| {
        let full = Job {
            name: Some("analysis π".into()),
            batch: Some("20261122".into()),
            webdav: Some("https://dav.example.org/u".into()),
            seen: Some(Seen {
                arcstate: Arcstate::from_word(states[n % states.len()]),
                state: "Finished".into(),
                run: "https://ce.example.org:443/arex/rest/1.0/jobs/abc".into(),
                since: Time(5),
            }),
            missing: 1,
            wishes: Wishes { kill: true, clean: false, fetch: true, resubmit: false },
            options: Options { no_download: true, use_jobname: false, has_inputs: true, collected: false },
            delivery: Some(Box::new(Delivery {
                parent: "/work".into(),
                use_jobname: true,
                noclean: false,
                copy: true,
                exclude: vec!["gmlog/".into()],
                operation: 9,
            })),
            saved: Some(Box::new(Saved { run: "https://ce/old".into(), dir: "/r/old".into() })),
            leftovers: vec![Leftover {
                id: 6,
                row: true,
                webdav: Some("https://dav".into()),
                not_before: Time(9),
                attempts: 2,
            }],
            retry: Retry { attempts: 3, at: Time(77), why: Some("connection refused".into()) },
            recreated: 2,
            in_flight_until: Time(99),
            error: Some("wrong exit code - 3 != 0".into()),
            exit_code: Some(-3),
            changed: Time(1_763_800_000_123),
            ..Job::new(Key(n as u64 + 1), origins[n % 3], -5, phase, Time(1_763_800_000_000))
        };
        if n == 0 { Job::new(Key(1), Origin::Submitted, 0, Phase::Queued, Time(0)) } else { full }
    };
    phases().into_iter().enumerate().map(job).collect()
}

fn spec() -> Spec {
    Spec {
        text: "&(executable=run.sh)".into(),
        clusters: vec!["https://ce.example.org/q".into(), "https://b.example.org:8443/q".into()],
        inputs: vec![InputFile {
            name: "in/a".into(),
            path: "/home/u/a".into(),
            size: 12,
            mtime_ns: -1,
            dev_ino: (3, 4),
        }],
        webdav: Some("https://dav.example.org/u".into()),
        results: "/home/u/act-results".into(),
        source: Some("a.xrsl".into()),
        base_dir: "/home/u".into(),
        staged: Vec::new(),
    }
}

fn event() -> EventRecord {
    let brief = |phase| Brief {
        id: Some(4),
        name: Some("n".into()),
        phase,
        arcstate: Some("done".into()),
        state: Some("Finished".into()),
        batch: None,
    };
    EventRecord {
        at: Time(8),
        kind: "job".into(),
        key: Some(Key(3)),
        before: Some(brief(WirePhase::Active)),
        after: Some(brief(WirePhase::Stored)),
        text: "stored".into(),
    }
}

/// All samples, encoded as they are now, each with its length before it.
fn encoded() -> Vec<u8> {
    let mut records: Vec<Vec<u8>> = jobs().iter().map(|job| encode(job).unwrap()).collect();
    records.push(encode(&spec()).unwrap());
    records.push(encode(&event()).unwrap());
    records.push(encode(&lost_post()).unwrap());
    records.push(encode(&vec!["actd-00-1".to_owned()]).unwrap());
    records.iter().flat_map(|r| (r.len() as u32).to_be_bytes().into_iter().chain(r.iter().copied())).collect()
}

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/records-v1.bin");

/// These bytes are on disks out there. If this fails, the types have changed: give them back their shape, or make it a new
/// version that reads the old one, too. The file is never written again.
#[test]
fn version_1_is_read_as_it_was_written() {
    let bytes = std::fs::read(FIXTURE).expect("the fixture");
    let mut rest = bytes.as_slice();
    let mut records = Vec::new();
    while let Some((head, tail)) = rest.split_first_chunk::<4>() {
        let (record, tail) = tail.split_at(u32::from_be_bytes(*head) as usize);
        records.push(record);
        rest = tail;
    }
    let jobs = jobs();
    let (old_jobs, others) = records.split_at(jobs.len());
    for (record, job) in old_jobs.iter().zip(&jobs) {
        assert_eq!(decode::<Job>(record).expect("a job"), *job);
    }
    assert_eq!(decode::<Spec>(others[0]).expect("a spec"), spec());
    assert_eq!(decode::<EventRecord>(others[1]).expect("an event"), event());
    assert_eq!(decode::<LostPost>(others[2]).expect("a lost request"), lost_post());
    assert_eq!(decode::<Vec<String>>(others[3]).expect("names"), ["actd-00-1"]);
    assert_eq!(encoded(), bytes, "what is written now is the same version");
    let mut newer = old_jobs[1].to_vec();
    newer[0] = 2;
    assert!(matches!(decode::<Job>(&newer), Err(RecordError::Newer(2))));
    for cut in 1..old_jobs[3].len() {
        assert!(decode::<Job>(&old_jobs[3][..cut]).is_err(), "a record that was cut at {cut}");
    }
}

/// Writes the file for the first time.
#[test]
fn the_fixture_is_there() {
    if std::env::var_os("ACTD_WRITE_FIXTURE").is_some() && !std::path::Path::new(FIXTURE).exists() {
        std::fs::create_dir_all(std::path::Path::new(FIXTURE).parent().unwrap()).unwrap();
        std::fs::write(FIXTURE, encoded()).unwrap();
    }
    assert!(std::path::Path::new(FIXTURE).exists());
}
