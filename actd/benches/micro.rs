//! Micro benchmarks of what is done most often, without any server: the state machine, the store's commit, the poll's diff,
//! a list on its way to a client, and reading a job description.
//!
//! ```text
//! cargo bench --workspace --bench micro             # all, in release
//! cargo bench --workspace --bench micro -- commit   # those whose name contains `commit`
//! cargo test  -p actd --bench micro             # each once: shows that they work
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use act_proto::jobs::JobList;
use actd::engine::board::Jobs;
use actd::engine::diff::compare;
use actd::job::apply::{Input, Row, apply};
use actd::job::next::{Policy, next};
use actd::job::{Arcstate, Job, Key, Origin, Phase, Seen, ServerId, Time};
use actd::rpc::answer::{View, job as wire};
use actd::store::{Batch, Store};
use divan::{Bencher, black_box};

const DAY_MS: i64 = 86_400_000;
const POLICY: Policy =
    Policy { download: true, fetch_failed: false, keep_ms: 14 * DAY_MS, keep_failed_ms: 14 * DAY_MS };

fn main() {
    divan::main();
}

/// A job that runs, with names as long as they usually are.
fn running(n: u64) -> Job {
    let seen = Seen {
        arcstate: Arcstate::Running,
        state: "Running".into(),
        run: format!("https://arc.example.org:443/arex/rest/1.0/jobs/{n:054}").into(),
        since: Time(0),
    };
    Job {
        name: Some(format!("sample-{n}").into()),
        batch: Some("b-2026-11-22-1".into()),
        seen: Some(seen),
        ..Job::new(Key(n), Origin::Submitted, 1, Phase::Active { id: n + 1_000 }, Time(0))
    }
}

fn board(count: u64) -> Jobs {
    let mut jobs = Jobs { proxyid: 1, ..Jobs::default() };
    for n in 1..=count {
        let job = running(n);
        jobs.by_id.insert(n + 1_000, job.key);
        jobs.by_key.insert(job.key, Arc::new(job));
    }
    jobs
}

/// What the server says of a job.
fn row(job: &Job, arcstate: Arcstate) -> Row {
    let seen = job.seen.as_ref();
    Row {
        id: job.id().unwrap_or_default(),
        name: job.name.as_deref().map(str::to_owned),
        arcstate,
        state: seen.map(|s| s.state.to_string()),
        run: seen.map(|s| s.run.to_string()),
    }
}

/// A list on which the first so many jobs are done.
fn rows(jobs: &Jobs, done: usize) -> HashMap<ServerId, Row> {
    let state = |n: usize| if n < done { Arcstate::Done } else { Arcstate::Running };
    jobs.by_key.values().enumerate().map(|(n, job)| (job.id().unwrap_or_default(), row(job, state(n)))).collect()
}

#[divan::bench]
fn state_machine_next(bencher: Bencher<'_, '_>) {
    let job = running(1);
    bencher.bench(|| next(black_box(&job), Time(5), &POLICY));
}

#[divan::bench]
fn state_machine_apply(bencher: Bencher<'_, '_>) {
    let job = running(1);
    let row = row(&job, Arcstate::Done);
    bencher.with_inputs(|| (job.clone(), Input::Listed(row.clone()))).bench_values(|(mut job, input)| {
        apply(&mut job, input, Time(5));
        job
    });
}

/// One batch, flushed and synced: what every answer waits for.
#[divan::bench(args = [1, 100, 1_000])]
fn store_commit(bencher: Bencher<'_, '_>, jobs: u64) {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let store = Store::open(dir.path()).expect("a new cache can be opened");
    let jobs: Vec<Job> = (1..=jobs).map(running).collect();
    bencher.counter(jobs.len()).bench_local(|| {
        let mut batch = Batch::default();
        for job in &jobs {
            batch.job(job).expect("a job can be encoded");
        }
        store.commit(batch).expect("it can be written");
    });
}

/// A list held against what is known, a hundred jobs being done.
#[divan::bench(args = [1_000, 10_000, 100_000])]
fn poll_diff(bencher: Bencher<'_, '_>, jobs: u64) {
    let board = board(jobs);
    let rows = rows(&board, 100);
    bencher.counter(jobs).bench_local(|| {
        let found = compare(&board, &rows, |_| false);
        assert_eq!((found.news.len(), found.strangers.len()), (100, 0), "what has changed");
        found
    });
}

/// `jobs.list` from the records to the bytes.
#[divan::bench(args = [100, 10_000])]
fn rpc_list(bencher: Bencher<'_, '_>, jobs: u64) {
    let board = board(jobs);
    let view = View::new(&board, POLICY);
    bencher.counter(jobs).bench_local(|| {
        let items = board.by_key.values().map(|job| wire(job, &view, Some("job.xrsl".into()), None)).collect();
        let list = JobList { schema: "act.jobs/1".into(), as_of: None, rev: 1, items, next: None, missing: Vec::new() };
        serde_json::to_vec(&list).expect("a list is JSON")
    });
}

/// A description with a hundred inputs; and fifty jobs in one.
#[divan::bench(args = ["hundred inputs", "fifty jobs"])]
fn xrsl_parse(bencher: Bencher<'_, '_>, what: &str) {
    let one = "(executable=\"run.sh\")(arguments=\"a b\" \"c\")(jobname=\"sample\")(stdout=\"out\")(walltime=\"60\")";
    let text = if what == "fifty jobs" {
        format!("+{}", format!("(&{one})").repeat(50))
    } else {
        let inputs: String = (0..100).map(|n| format!("(\"in{n}\" \"data/in{n}.root\")")).collect();
        format!("&{one}(inputfiles={inputs})")
    };
    assert!(xrsl::parse(&text).accepted(), "{text}");
    bencher.counter(divan::counter::BytesCount::of_str(&text)).bench_local(|| xrsl::parse(black_box(&text)));
}
