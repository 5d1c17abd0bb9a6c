//! Submissions of many jobs that end in the middle, by Ctrl-C or because a part is refused: nothing of them stays.

use act_tests::{LONG, Ran, World, wait_for};

/// A description for `--range i=FIRST..LAST`.
const NUMBERED: &str = "&(executable=/bin/echo)(arguments=$(i))(jobname=$(i))(walltime=5)";
/// So many that the daemon is still taking them when something happens that follows the first thousand.
const MANY: &str = "i=1..20000";

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

#[test]
fn ctrl_c_ends_a_submission_of_many_calls() {
    let mut world = World::ready();
    let ran = submit(&mut world, "kill -INT $pid").exits(130).says(&["Cancelling submission"]);
    assert_eq!(ran.stdout, "", "{ran}");
    nothing_is_left(&world);
    let taken = world.user.history().iter().filter_map(|job| job.key[1..].parse::<u32>().ok()).max();
    assert!(taken.is_some_and(|last| last < 20_000), "the last ones were never handed over: {taken:?}");
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
