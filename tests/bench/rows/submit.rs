//! `sub`: many jobs with one small input file each.

use std::path::PathBuf;

use act_tests::xrsl;

use crate::bed::{Bed, Server};
use crate::measure::medians;
use crate::report::{Report, Row};
use crate::rows::Size;

/// Writes so many descriptions; their names, and what the bare client needs of them.
fn write(bed: &Bed, jobs: usize) -> (Vec<String>, Vec<(String, PathBuf)>) {
    let user = &bed.world.user;
    let all = (0..jobs).map(|n| {
        let (input, file) = (format!("in/{n}.txt"), format!("{n}.xrsl"));
        user.write(&input, format!("input of job {n}\n"));
        let text = xrsl::cat(&format!("job-{n}"), &input);
        user.write(&file, &text);
        (file, (text, user.work().join(input)))
    });
    all.unzip()
}

pub(crate) fn run(size: &Size, report: &mut Report) {
    for server in [Server::OneWorker, Server::ManyWorkers, Server::SlowWorker, Server::SlowWorkers] {
        for jobs in [size.thousand / 10, size.thousand] {
            let (mut ours, mut act, mut raw) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..size.rounds.min(3) {
                // A new one for each turn: what earlier turns left on the server would be listed.
                let bed = Bed::new(server);
                let (files, raw_jobs) = write(&bed, jobs);
                let mut args = vec!["sub"];
                args.extend(files.iter().map(String::as_str));
                let python = bed.python();
                let raw_client = bed.raw();
                raw.push(bed.raw_cost(raw_client.submit(&bed.world.sandbox.info().clusters[0], &raw_jobs)));
                act.push(bed.act(&python, &args));
                ours.push(bed.actctl(&args));
            }
            let (ours, act, raw) = (medians(&ours), medians(&act), medians(&raw));
            let half = server.is_serial() || ours.ms * 2.0 <= act.ms;
            report.row(Row {
                work: format!("`sub`, {jobs} jobs with one small input each, {}", server.words()),
                target: if server.is_serial() { "1.15 raw" } else { "1.15 raw, act / 2" }.into(),
                met: Some(ours.ms <= raw.ms * 1.15 && half),
                ours: Some(ours),
                act: Some(act),
                raw: Some(raw),
                note: String::new(),
            });
        }
    }
}
