//! Submissions of many jobs that end in the middle, by Ctrl-C or because a part is refused: nothing of them stays.

use std::collections::BTreeSet;

use act_proto::jobs::{ChangesParams, Phase};
use act_proto::method::JobsChanges;
use act_tests::{LONG, Ran, World, wait_for};
use serde_json::json;

/// A description for `--range i=FIRST..LAST`.
const NUMBERED: &str = "&(executable=/bin/echo)(arguments=$(i))(jobname=$(i))(walltime=5)";
/// So many that the daemon is still taking them when something happens that follows the first thousand.
const MANY: &str = "i=1..40000";

/// Submits them to a server that is away, and does something when the daemon has some.
fn submit(world: &mut World, then: &str) -> Ran {
    world.sandbox.stop();
    let user = &world.user;
    user.write("many.xrsl", NUMBERED);
    let script = format!(
        "actctl sub --detach --range {MANY} many.xrsl > sub.out 2> sub.err & pid=$!\n\
         for i in $(seq 600); do test -z \"$(actctl stat -o ids 2> stat.err)\" || break; sleep 0.05; done\n\
         {then}\n\
         code=0; wait $pid || code=$?; cat sub.out; cat sub.err >&2; exit $code"
    );
    user.shell(&script)
}

fn nothing_is_left(world: &World) {
    wait_for("no job", LONG, || match world.user.jobs().len() {
        0 => Ok(()),
        left => Err(format!("{left} jobs")),
    });
}

/// What has not been sent when the server goes away is told of, too: whoever waits for all of a submission would otherwise
/// wait for ever.
#[test]
fn a_gate_that_closes_is_told_of_every_job_that_is_still_to_be_sent() {
    let mut world = World::ready();
    let user = &world.user;
    user.write("many.xrsl", NUMBERED);
    world.sandbox.fault(&json!({"method": "POST", "path": "/jobs", "fault": {"kind": "delay", "ms": 60_000}}));
    let _ = user.actctl(&["sub", "--detach", "--range", "i=1..300", "many.xrsl"]).ok();
    let look = |since_rev, timeout_ms, settled| {
        let params = ChangesParams { since_rev, timeout_ms, settled, ..ChangesParams::default() };
        user.call::<JobsChanges>(&params).expect("jobs.changes answers")
    };
    let (creating, before) = wait_for("a request under way", LONG, || {
        let list = look(0, 0, false);
        let creating = list.items.iter().filter(|job| job.phase == Phase::Creating).count();
        if creating > 0 { Ok((creating, list.rev)) } else { Err(format!("{} jobs", list.items.len())) }
    });
    assert!(creating < 300, "some are not in flight");
    world.sandbox.stop();
    let user = &world.user;
    let mut told = BTreeSet::new();
    let mut since_rev = before;
    wait_for("every job to be told of", LONG, || {
        let params = ChangesParams { since_rev, timeout_ms: 1_000, settled: true, ..ChangesParams::default() };
        let list = user.call::<JobsChanges>(&params).expect("jobs.changes answers");
        since_rev = list.rev;
        told.extend(list.items.into_iter().filter(|job| job.waiting.is_some()).map(|job| job.key));
        if told.len() == 300 { Ok(()) } else { Err(format!("{} told of", told.len())) }
    });
}

#[test]
fn ctrl_c_ends_a_submission_of_many_calls() {
    let mut world = World::ready();
    let ran = submit(&mut world, "kill -INT $pid").exits(130).says(&["Cancelling submission"]);
    assert_eq!(ran.stdout, "", "{ran}");
    nothing_is_left(&world);
    let taken = world.user.history().iter().filter_map(|job| job.key[1..].parse::<u32>().ok()).max();
    assert!(taken.is_some_and(|last| last < 40_000), "the last ones were never handed over: {taken:?}");
}

#[test]
fn what_was_taken_is_taken_back_when_a_later_part_is_refused() {
    let mut world = World::ready();
    let config = world.user.config();
    let without = format!("sed -i 's/^  default:/  other:/' {}; actctl daemon reload", config.display());
    let ran = submit(&mut world, &without).exits(2).says(&["default", "cancelled"]);
    assert_eq!(ran.stdout, "", "{ran}");
    nothing_is_left(&world);
}

/// A daemon that is stopped keeps what it has taken: the same command, typed again, would submit it twice.
#[test]
fn a_daemon_that_is_stopped_meanwhile_keeps_the_jobs_and_the_user_is_told() {
    let mut world = World::ready();
    world.user.set_env("ACTCTL_DAEMON_WAIT", "0");
    world.sandbox.stop();
    let user = &world.user;
    user.write("job.xrsl", NUMBERED);
    let script = "actctl sub --range i=1..2 job.xrsl 2> sub.err & pid=$!\n\
                  for i in $(seq 600); do test -z \"$(actctl stat -o ids 2> stat.err)\" || break; sleep 0.05; done\n\
                  actctl daemon stop\n\
                  code=0; wait $pid || code=$?; cat sub.err >&2; exit $code";
    let sub = user.shell(script).exits(8).says(&["2 jobs are with the daemon", "do not submit again"]);
    let wait = sub.stderr.split('`').find(|part| part.starts_with("actctl wait @")).expect("how to wait").to_owned();
    world.sandbox.start_again();
    let _ = world.user.shell(&wait).ok();
    assert_eq!((world.sandbox.runs_of("1"), world.sandbox.runs_of("2")), (1, 1));
}
