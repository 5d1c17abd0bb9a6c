//! The Python client act 1.0.0 and actctl side by side on one server, with one config file and one token: the same lines on
//! stdout for the same jobs.

use act_tests::act::Act;
use act_tests::{Ran, World, xrsl};
use serde_json::json;

/// Lines of act's that actctl says on stderr: progress.
const PROGRESS: &[&str] = &["Submitting batch", "Cleaning WebDAV", "Cleaning up"];

/// Act's lines, without progress.
fn lines(act: &Ran) -> Vec<&str> {
    act.lines().into_iter().filter(|line| !PROGRESS.iter().any(|start| line.starts_with(start))).collect()
}

/// Both run the same command; stdout must be the same, and both succeed.
#[track_caller]
fn same(world: &World, act: &Act<'_>, args: &[&str]) {
    let theirs = act.run(args).ok();
    let ours = world.user.actctl(args).ok();
    assert_eq!(ours.lines(), lines(&theirs), "{args:?}\n{ours}\n{theirs}");
    // Trailing spaces and the last line's end count, too.
    if lines(&theirs).len() == theirs.lines().len() {
        assert_eq!(ours.stdout, theirs.stdout, "{args:?}");
    }
}

/// A server with jobs in many states, all submitted by act, and none that changes any more.
fn world() -> World {
    let world = World::with(&[], &["download: manual"]);
    let _ = Act::new(&world.user, &world.sandbox.info().proxy).run(&["proxy"]).ok();
    let states = [
        ("done", "Finished", 4),
        ("donefailed", "Failed", 2),
        ("failed", "Failed", 3),
        ("running", "Running", 3),
        ("submitted", "Accepted", 3),
        ("cancelled", "Running", 1),
        ("finished", "Finished", 1),
    ];
    for (arcstate, state, count) in states {
        let _ = world.sandbox.synthetic(
            &json!({"count": count, "arcstate": arcstate, "state": state, "name": format!("my-{arcstate}")}),
        );
    }
    world
}

#[test]
fn stat_and_info_print_the_same() {
    let world = world();
    let act = Act::new(&world.user, &world.sandbox.info().proxy);
    same(&world, &act, &["info"]);
    same(&world, &act, &["--server", &format!("{}/", world.sandbox.info().server), "info"]);
    for args in [
        &["stat"][..],
        &["stat", "-a"],
        &["stat", "-s", "done"],
        &["stat", "-s", "DONE"],
        &["stat", "-s", "nosuchstate"],
        &["stat", "-n", "fail"],
        &["stat", "-n", "FAIL"],
        &["stat", "-n", "my-running", "-s", "running"],
        &["stat", "-i", "1"],
        &["stat", "-i", "1,3,5-7"],
        &["stat", "-i", "99999"],
        &["stat", "--client", "id"],
        &["stat", "--client", "jobname,id", "--arc", "arcstate"],
        &["stat", "--arc", "JobID,State,Error,ExitCode,cluster"],
        &["stat", "--arc", "arcstate,id,created", "--client", "id,created,arcjobid,proxyid"],
        &["stat", "--client", "id", "--arc", ""],
        &["stat", "--arc", "UsedTotalWallTime,SubmissionTime,EndTime,attemptsleft", "-s", "done"],
    ] {
        same(&world, &act, args);
    }
}

#[test]
fn both_submit_alike() {
    let world = World::with(&[], &["download: manual"]);
    let user = &world.user;
    let act = Act::new(user, &world.sandbox.info().proxy);
    let _ = act.run(&["proxy"]).ok();
    user.write("in.txt", "input\n");
    user.write("a.xrsl", xrsl::cat("a", "in.txt"));
    user.write("b.xrsl", xrsl::shell("b", "echo b"));
    assert_eq!(
        lines(&act.run(&["sub", "a.xrsl", "b.xrsl"]).ok()),
        ["Inserted job a with ID 1", "Inserted job b with ID 2"]
    );
    let ours = user.actctl(&["sub", "a.xrsl", "b.xrsl"]).ok();
    assert_eq!(ours.lines(), ["Inserted job a with ID 3", "Inserted job b with ID 4"]);
    // The server has understood both in the same way.
    for id in 1..=4 {
        world.sandbox.wait_state(id, "done");
    }
    same(&world, &act, &["stat", "-i", "1-4"]);
    for (theirs, ours) in [("1", "3"), ("2", "4")] {
        assert_eq!(user.actctl(&["cat", "-i", ours]).ok().stdout, act.run(&["cat", "-i", theirs]).ok().stdout);
    }
    // An unknown cluster, in the same words; only the exit code is right.
    let args = ["sub", "--clusterlist", "https://nosuch.example/q", "b.xrsl"];
    let theirs = act.run(&args).ok();
    let ours = user.actctl(&args).exits(2);
    assert_eq!(ours.lines(), lines(&theirs));
}

#[test]
fn each_collects_kills_and_cleans_what_the_other_would() {
    // The same jobs on two servers, because both change them.
    let (left, right) = (world(), world());
    let act = Act::new(&left.user, &left.sandbox.info().proxy);
    let theirs = |args: &[&str]| act.run(args).ok();
    let ours = |args: &[&str]| right.user.actctl(args).ok();
    assert_eq!(ours(&["stat", "-o", "ids"]).lines().len(), theirs(&["stat"]).lines().len() - 2);
    let table = |ran: &Ran| -> Vec<String> {
        // The URLs of the jobs differ, and with them the width of nothing: all hashes are of the same length.
        lines(ran).iter().map(|line| line.split("https://").next().unwrap_or_default().to_owned()).collect()
    };
    for args in [
        &["kill", "-i", "10,11"][..],
        &["kill", "-s", "submitted", "-n", "my-submitted-1"],
        &["kill", "-i", "1"],
        &["kill", "-i", "99999"],
        &["clean", "-i", "7"],
        &["clean", "-s", "cancelled", "-n", "my-cancelled"],
        &["clean", "-i", "99999"],
        &["fetch", "-i", "8"],
        &["resub", "-i", "9"],
        &["resub", "-i", "99999"],
    ] {
        assert_eq!(
            ours(args).stdout,
            lines(&theirs(args)).iter().map(|line| format!("{line}\n")).collect::<String>(),
            "{args:?}"
        );
    }
    assert_eq!(table(&ours(&["stat", "-s", "done"])), table(&theirs(&["stat", "-s", "done"])));
    // `get`: a line for each job, in any order; the directories are named by the jobs' URLs.
    let names = |ran: &Ran| {
        let mut names: Vec<String> =
            lines(ran).iter().map(|line| line.split(" stored in ").next().unwrap_or_default().to_owned()).collect();
        names.sort();
        names
    };
    let (their_get, our_get) = (theirs(&["get"]), ours(&["get"]));
    assert_eq!(names(&our_get), names(&their_get), "{our_get}\n{their_get}");
    for line in our_get.lines().into_iter().filter(|line| line.contains("my-done-")) {
        let dir = line.rsplit(' ').next().unwrap();
        assert!(right.user.read(format!("{dir}/out.txt")).starts_with("result of job "), "{line}");
    }
    let absent = ["get", "-i", "99999"];
    assert_eq!(ours(&absent).stdout, theirs(&absent).stdout);
    assert_eq!(
        ours(&["clean"]).stdout,
        lines(&theirs(&["clean"])).iter().map(|l| format!("{l}\n")).collect::<String>()
    );
}

#[test]
fn switching_from_act_and_back() {
    let world = World::with(&[], &[]);
    let user = &world.user;
    let act = Act::new(user, &world.sandbox.info().proxy);
    // act delegates; actctl uses its token.
    let _ = act.run(&["proxy"]).ok();
    user.write("job.xrsl", xrsl::shell("mine", "echo m"));
    let _ = act.run(&["sub", "job.xrsl"]).ok();
    user.actctl(&["stat"]).ok().stdout.contains("mine").then_some(()).expect("act's job is shown");
    world.sandbox.wait_state(1, "done");
    let get = user.actctl(&["get"]).ok();
    assert!(get.stdout.starts_with("Results for job mine stored in "), "{get}");
    world.sandbox.wait_empty();
    // And back: actctl delegates and submits, act collects.
    let _ = user.actctl(&["proxy"]).ok();
    let _ = user.actctl(&["sub", "--no-download", "job.xrsl"]).ok();
    world.sandbox.wait_state(2, "done");
    let get = act.run(&["get"]).ok();
    assert!(get.stdout.contains("Results for job mine stored in "), "{get}");
    user.wait_job("j2", "seen to be gone", |job| act_tests::user::word(&job.phase) == "closed");
}
