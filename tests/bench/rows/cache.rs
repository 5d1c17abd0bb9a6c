//! Very many jobs in the cache: memory, disk, and how long a start takes.

use std::time::Instant;

use act_proto::Client;
use act_proto::jobs::{Filter, ListParams};
use act_proto::method::JobsList;

use crate::bed::{Bed, Server};
use crate::measure::{Cost, median};
use crate::report::{Report, Row};
use crate::rows::Size;

pub(crate) fn run(size: &Size, report: &mut Report) {
    for jobs in [size.thousand, size.thousand * 10, size.thousand * 100] {
        let bed = Bed::new(Server::OneWorker);
        let user = &bed.world.user;
        let ids = bed.seed_running(jobs);
        let _ = bed.actctl(&["stat", "-i", "1"]);
        let fresh = ListParams { max_age_ms: Some(0), limit: Some(1), ..ListParams::default() };
        bed.runtime.block_on(bed.client().call::<JobsList>(&fresh)).expect("an answer");
        // The server is away: what is answered is what was on disk.
        let filter = Filter { select: vec![ids[ids.len() / 2].to_string()], ..Filter::default() };
        let one = ListParams { filter, ..ListParams::default() };
        let mut starts = Vec::new();
        let mut costs = Vec::new();
        for _ in 0..size.rounds.min(3) {
            let _ = user.actctl(&["daemon", "stop"]).ok();
            bed.world.sandbox.broken(true);
            let start = Instant::now();
            let command = user.command(act_tests::bins::program("actd"));
            let daemon = spawn(command);
            let found = bed.runtime.block_on(async {
                let client = loop {
                    match Client::connect(&user.socket(), "bench").await {
                        Ok(client) => break client,
                        Err(_) if start.elapsed().as_secs() < 120 => {
                            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                        }
                        Err(e) => panic!("{e}"),
                    }
                };
                client.call::<JobsList>(&one).await.expect("an answer").items.len()
            });
            assert_eq!(found, 1, "the job is known");
            starts.push(start.elapsed().as_secs_f64() * 1e3);
            bed.world.sandbox.broken(false);
            // With the server back, after a list of all.
            bed.runtime.block_on(bed.client().call::<JobsList>(&fresh)).expect("an answer");
            let process = bed.daemon();
            costs.push(Cost {
                ms: *starts.last().unwrap_or(&0.0),
                cpu_ms: process.cpu_ms(),
                peak_mib: process.peak_mib().unwrap_or_default(),
                requests: process.rss_mib(),
            });
            let _ = user.actctl(&["daemon", "stop"]).ok();
            daemon.join().expect("it ends");
            let _ = user.actctl(&["daemon", "start"]).ok();
        }
        let (start, rss) = (median(starts), median(costs.iter().map(|c| c.requests).collect()));
        let disk = bed.disk_mib();
        report.grows("start to first answer", jobs, start);
        let mut cost = crate::measure::medians(&costs);
        cost.requests = 0.0;
        report.row(Row {
            work: format!("{jobs} jobs in the cache, restart to first answer"),
            target: "under 1 s, under 200 MiB".into(),
            met: (jobs == size.thousand * 100).then_some(start < 1_000.0 && rss < 200.0),
            ours: Some(cost),
            note: format!("{rss:.0} MiB of memory after a list of all, {disk:.0} MiB on disk"),
            ..Row::default()
        });
    }
}

/// Starts it, and somebody who takes note of its end as soon as it has come.
fn spawn(mut command: std::process::Command) -> std::thread::JoinHandle<()> {
    use std::process::Stdio;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("actd can be run");
    std::thread::spawn(move || drop(child.wait()))
}
