//! A daemon that nobody asks, with jobs that run.

use std::time::Duration;

use crate::bed::{Bed, Server};
use crate::measure::Cost;
use crate::report::{Report, Row};
use crate::rows::Size;

pub(crate) fn run(size: &Size, report: &mut Report) {
    let jobs = size.thousand * 10;
    let bed = Bed::new(Server::OneWorker);
    bed.seed_running(jobs);
    let _ = bed.actctl(&["stat"]);
    let daemon = bed.daemon();
    let (settle, watch) = size.idle;
    std::thread::sleep(Duration::from_secs(settle));
    daemon.reset_peak();
    let (cpu, requests) = (daemon.cpu_ms(), bed.requests());
    std::thread::sleep(Duration::from_secs(watch));
    let (cpu, requests) = (daemon.cpu_ms() - cpu, bed.requests() - requests);
    let share = cpu / (watch as f64 * 1e3) * 100.0;
    let rss = daemon.rss_mib();
    report.row(Row {
        work: format!("idle with {jobs} jobs in flight"),
        target: "under 0.5 % of a core, under 40 MiB".into(),
        met: Some(share < 0.5 && rss < 40.0),
        ours: Some(Cost {
            ms: watch as f64 * 1e3,
            cpu_ms: cpu,
            peak_mib: daemon.peak_mib().unwrap_or_default(),
            requests,
        }),
        note: format!(
            "{share:.2} % of a core, {rss:.0} MiB, {:.1} requests a minute",
            requests * 60.0 / watch.max(1) as f64
        ),
        ..Row::default()
    });
}
