//! `get`: the results of many small jobs.

use std::collections::BTreeMap;

use serde_json::json;

use crate::bed::{Bed, Server};
use crate::measure::medians;
use crate::report::{Report, Row};
use crate::rows::Size;

/// What ARC leaves beside each job's output.
const LOGS: [&str; 10] =
    ["description", "xml", "input_status", "statistics", "input", "output", "diag", "errors", "status", "local"];

pub(crate) fn run(size: &Size, report: &mut Report) {
    for server in [Server::OneWorker, Server::ManyWorkers, Server::SlowWorker, Server::SlowWorkers] {
        for logs in [false, true] {
            compare(size, server, logs, report);
        }
    }
}

fn compare(size: &Size, server: Server, logs: bool, report: &mut Report) {
    let jobs = size.thousand / 10;
    let mut files = BTreeMap::from([("out.txt".to_owned(), "result of job {id}\n".to_owned())]);
    if logs {
        files.extend(LOGS.iter().map(|name| (format!("gmlog/{name}"), format!("{name} of job {{id}}\n").repeat(20))));
    }
    let bed = Bed::new(server);
    let python = bed.python();
    let raw_client = bed.raw();
    let seed = |name: &str| {
        bed.seed(&json!({"count": jobs, "arcstate": "done", "state": "Finished", "name": name, "files": files}));
    };
    let (mut ours, mut act, mut raw, mut without) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..size.rounds.min(3) {
        // Each gets jobs of its own, and cleans them.
        let name = |who: &str| format!("{who}{round}x");
        for who in ["raw", "act", "ours", "less"] {
            seed(&name(who));
        }
        let to = bed.world.user.work().join(name("raw"));
        raw.push(bed.raw_cost(raw_client.get(&name("raw"), &to)));
        act.push(bed.act(&python, &["get", "-n", &name("act")]));
        bed.expect_results(jobs);
        // As every few seconds while jobs end.
        bed.list_anew();
        ours.push(bed.actctl(&["get", "-n", &name("ours")]));
        bed.expect_results(jobs);
        if logs {
            without.push(bed.actctl(&["get", "-n", &name("less"), "--exclude", "gmlog/"]));
            bed.expect_results(jobs);
        }
    }
    let (ours, act, raw) = (medians(&ours), medians(&act), medians(&raw));
    let third = server.is_serial() || ours.ms * 3.0 <= act.ms;
    report.row(Row {
        work: format!("`get`, {jobs} jobs of {}, {}", if logs { "11 files" } else { "one small file" }, server.words()),
        target: if server.is_serial() { "1.15 raw" } else { "1.15 raw, act / 3" }.into(),
        met: Some(ours.ms <= raw.ms * 1.15 && third),
        ours: Some(ours),
        act: Some(act),
        raw: Some(raw),
        note: format!("raw {} requests, act {}", raw.requests, act.requests),
    });
    if logs {
        let without = medians(&without);
        report.row(Row {
            work: format!("the same with `--exclude gmlog/`, {}", server.words()),
            target: "those requests saved".into(),
            met: Some(without.requests + (jobs * LOGS.len()) as f64 <= ours.requests),
            ours: Some(without),
            ..Row::default()
        });
    }
}
