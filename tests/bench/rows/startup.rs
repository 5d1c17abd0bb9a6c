//! What starting the command line costs by itself.

use crate::bed::{Bed, Server};
use crate::measure::medians;
use crate::report::{Report, Row};
use crate::rows::Size;

pub(crate) fn run(size: &Size, report: &mut Report) {
    let bed = Bed::new(Server::OneWorker);
    let python = bed.python();
    bed.seed_running(1);
    let _ = bed.actctl(&["stat"]);
    for args in [["--help"], ["stat"]] {
        let (mut ours, mut act) = (Vec::new(), Vec::new());
        for _ in 0..size.rounds * 4 {
            // Its own time: the daemon's is not in it.
            let mut command = bed.world.user.command(act_tests::bins::program("actctl"));
            command.args(args);
            ours.push(bed.other(command));
        }
        for _ in 0..size.rounds {
            act.push(bed.act(&python, &args));
        }
        let cost = medians(&ours);
        report.row(Row {
            work: format!("`actctl {}`, its own processor time", args[0]),
            target: "under 10 ms".into(),
            met: Some(cost.cpu_ms < 10.0),
            ours: Some(cost),
            act: Some(medians(&act)),
            ..Row::default()
        });
    }
}
