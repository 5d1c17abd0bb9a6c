//! Watched directories: from a closed file to the request on the wire.

use std::time::{Duration, Instant, SystemTime};

use act_tests::{wait_for, xrsl};
use serde_json::Value;

use crate::bed::{Bed, Server};
use crate::measure::{Cost, median};
use crate::report::{Report, Row};
use crate::rows::Size;

/// What a file must stay unchanged for, by default.
const SETTLE_MS: f64 = 1_000.0;

fn now_ms() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1e3
}

pub(crate) fn run(size: &Size, report: &mut Report) {
    let bed = Bed::new(Server::OneWorker);
    let user = &bed.world.user;
    std::fs::create_dir_all(user.work().join("inbox")).expect("a directory");
    let _ = user.actctl(&["dir", "add", "inbox"]).ok();
    let posts = || -> Vec<Value> {
        let journal = bed.world.sandbox.admin("GET", "/journal?method=POST&path=/jobs", None);
        journal.as_array().cloned().unwrap_or_default()
    };
    let mut times = Vec::new();
    for round in 0..size.rounds * 2 {
        let before = posts().len();
        user.write(&format!("inbox/one-{round}.xrsl"), xrsl::shell(&format!("one-{round}"), "true"));
        let closed = now_ms();
        let post = wait_for("the request", Duration::from_secs(60), || {
            posts().get(before).cloned().ok_or_else(|| "no POST yet".to_owned())
        });
        times.push(post["time"].as_f64().unwrap_or(f64::NAN) - closed);
    }
    let ms = median(times);
    report.row(Row {
        work: "a file closed in a watched directory to the POST on the wire".into(),
        target: "settle time (1 s) + 100 ms".into(),
        met: Some(ms < SETTLE_MS + 100.0),
        ours: Some(Cost { ms, ..Cost::default() }),
        ..Row::default()
    });

    let files = size.thousand * 5;
    let (daemon, start) = (bed.daemon(), Instant::now());
    let (cpu, requests) = (daemon.cpu_ms(), bed.requests());
    for n in 0..files {
        user.write(&format!("inbox/many-{n}.xrsl"), xrsl::shell(&format!("many-{n}"), "true"));
    }
    let known = |count: usize| {
        wait_for("all files on the server", Duration::from_secs(600), || {
            let jobs = bed.world.sandbox.admin("GET", "/stats", None)["jobs"].as_u64().unwrap_or(0);
            if jobs as usize >= count { Ok(()) } else { Err(format!("{jobs} of {count}")) }
        });
    };
    known(files + size.rounds * 2);
    report.row(Row {
        work: format!("{files} files at once, until all have a row on the server"),
        target: "stated".into(),
        ours: Some(Cost {
            ms: start.elapsed().as_secs_f64() * 1e3,
            cpu_ms: daemon.cpu_ms() - cpu,
            peak_mib: daemon.peak_mib().unwrap_or_default(),
            requests: bed.requests() - requests,
        }),
        ..Row::default()
    });
}
