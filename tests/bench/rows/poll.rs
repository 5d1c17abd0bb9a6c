//! The poll: one list for all jobs, and what follows where a hundred have changed.

use act_proto::jobs::ListParams;
use act_proto::method::JobsList;
use serde_json::json;

use crate::bed::{Bed, Server};
use crate::measure::{Cost, median};
use crate::report::{Report, Row};
use crate::rows::Size;

pub(crate) fn run(size: &Size, report: &mut Report) {
    let mut linear = Vec::new();
    for jobs in [size.thousand, size.thousand * 10, size.thousand * 100] {
        let bed = Bed::new(Server::OneWorker);
        let ids = bed.seed_running(jobs);
        let client = bed.client();
        let daemon = bed.daemon();
        // The list is to be no older than this call.
        let fresh = ListParams { max_age_ms: Some(0), limit: Some(1), ..ListParams::default() };
        let poll = || {
            let (before, requests, start) = (daemon.cpu_ms(), bed.requests(), std::time::Instant::now());
            bed.runtime.block_on(client.call::<JobsList>(&fresh)).expect("an answer");
            Cost {
                ms: start.elapsed().as_secs_f64() * 1e3,
                cpu_ms: daemon.cpu_ms() - before,
                peak_mib: daemon.peak_mib().unwrap_or_default(),
                requests: bed.requests() - requests,
            }
        };
        // The first shows them to the daemon.
        poll();
        poll();
        let quiet: Vec<f64> = (0..size.rounds * 2).map(|_| poll().cpu_ms).collect();
        let changes = 100.min(ids.len() / 5);
        let mut changed = Vec::new();
        for round in 0..size.rounds.min(3) {
            for id in ids.iter().skip(round * changes).take(changes) {
                bed.world.sandbox.force(*id, &json!({"arcstate": "failed", "state": "Failed"}));
            }
            // What changed is looked at in detail: until that is over.
            let (before, requests) = (daemon.cpu_ms(), bed.requests());
            let mut cost = poll();
            let mut last = f64::NAN;
            while last.total_cmp(&bed.requests()).is_ne() {
                last = bed.requests();
                std::thread::sleep(std::time::Duration::from_millis(300));
            }
            cost.cpu_ms = daemon.cpu_ms() - before;
            cost.requests = bed.requests() - requests;
            changed.push(cost);
        }
        let (quiet, cost) = (median(quiet), crate::measure::medians(&changed));
        linear.push((jobs, quiet));
        report.grows("poll, CPU", jobs, quiet);
        report.grows("memory, MiB", jobs, daemon.rss_mib());
        report.grows("disk, MiB", jobs, bed.disk_mib());
        report.row(Row {
            work: format!("poll of {jobs} jobs, {changes} changed"),
            target: "a list and the details of what changed".into(),
            met: (jobs == size.thousand * 10).then_some(cost.requests <= 3.0),
            ours: Some(cost),
            note: format!("without changes {quiet:.0} ms of CPU"),
            ..Row::default()
        });
    }
    if let [_, (few, small), (many, large)] = linear[..] {
        let per = |cpu: f64, jobs: usize| cpu * 1e3 / jobs as f64;
        report.row(Row {
            work: "poll, CPU for each job".into(),
            target: "grows linearly".into(),
            met: (small > 0.0).then(|| per(large, many) <= per(small, few) * 1.5),
            note: format!("{:.2} µs among {few}, {:.2} µs among {many}", per(small, few), per(large, many)),
            ..Row::default()
        });
    }
}
