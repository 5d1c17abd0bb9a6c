//! `stat`: the table of all jobs, and of one among very many.

use std::time::Duration;

use act_proto::jobs::{Filter, ListParams, StatParams};
use act_proto::method::{JobsList, JobsStat};

use crate::bed::{Bed, Server};
use crate::measure::{Cost, median, medians};
use crate::report::{Report, Row};
use crate::rows::Size;

pub(crate) fn run(size: &Size, report: &mut Report) {
    for (jobs, factor) in [(1, 20.0), (size.thousand, 15.0), (size.thousand * 10, 10.0)] {
        let bed = Bed::new(Server::OneWorker);
        let python = bed.python();
        bed.seed_running(jobs);
        let raw_client = bed.raw();
        let _ = bed.actctl(&["stat"]);
        let (mut ours, mut act, mut raw) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..size.rounds {
            act.push(bed.act(&python, &["stat"]));
            ours.push(bed.actctl(&["stat"]));
            raw.push(bed.raw_cost(raw_client.stat()));
        }
        let (ours, act) = (medians(&ours), medians(&act));
        report.grows("actctl stat", jobs, ours.ms);
        report.grows("act stat", jobs, act.ms);
        report.row(Row {
            work: format!("`stat`, {jobs} jobs"),
            target: format!("act / {factor}"),
            met: Some(ours.ms * factor <= act.ms),
            ours: Some(ours),
            act: Some(act),
            raw: Some(medians(&raw)),
            note: String::new(),
        });
    }
    one_of_many(size, report);
}

fn one_of_many(size: &Size, report: &mut Report) {
    let jobs = size.thousand * 100;
    let bed = Bed::new(Server::OneWorker);
    let ids = bed.seed_running(jobs);
    let id = ids[ids.len() / 2].to_string();
    let python = bed.python();
    let _ = bed.actctl(&["stat", "-i", &id]);
    let (mut ours, mut act) = (Vec::new(), Vec::new());
    for _ in 0..size.rounds * 4 {
        ours.push(bed.actctl(&["stat", "-i", &id]));
    }
    for _ in 0..size.rounds {
        act.push(bed.act(&python, &["stat", "-i", &id]));
    }
    let client = bed.client();
    let filter = Filter { select: vec![id], ..Filter::default() };
    let list = ListParams { filter: filter.clone(), ..ListParams::default() };
    let columns = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let stat = StatParams {
        filter,
        client: columns(&["id", "jobname"]),
        arc: columns(&["JobID", "State", "arcstate"]),
        ..StatParams::default()
    };
    let calls: Vec<f64> = (0..size.rounds * 20)
        .map(|_| {
            // Spread over several of the server's lists, which the daemon reads while somebody looks: all at once would
            // lie within one or between two.
            std::thread::sleep(Duration::from_millis(50));
            let start = std::time::Instant::now();
            bed.runtime.block_on(async {
                client.call::<JobsStat>(&stat).await.expect("an answer");
                client.call::<JobsList>(&list).await.expect("an answer");
            });
            start.elapsed().as_secs_f64() * 1e3 / 2.0
        })
        .collect();
    let (inside, ours) = (median(calls), medians(&ours));
    report.row(Row {
        work: format!("`stat` of one job among {jobs}"),
        target: "under 10 ms in the daemon, 30 ms start to end".into(),
        met: Some(inside < 10.0 && ours.ms < 30.0),
        ours: Some(ours),
        act: Some(medians(&act)),
        raw: None,
        note: format!("in the daemon {inside:.2} ms"),
    });
    if jobs >= 10_000 {
        let all = (0..size.rounds.min(3)).map(|_| (bed.actctl(&["stat"]), bed.act(&python, &["stat"])));
        let (ours, act): (Vec<Cost>, Vec<Cost>) = all.unzip();
        let (ours, act) = (medians(&ours), medians(&act));
        report.grows("actctl stat", jobs, ours.ms);
        report.grows("act stat", jobs, act.ms);
        report.row(Row {
            work: format!("`stat`, {jobs} jobs"),
            target: "stated".into(),
            ours: Some(ours),
            act: Some(act),
            ..Row::default()
        });
    }
}
