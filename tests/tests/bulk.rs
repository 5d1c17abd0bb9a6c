//! Many jobs: a thousand that run, ten thousand that are only there.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use act_proto::jobs::ChangesParams;
use act_proto::method::JobsChanges;
use act_tests::{Ran, User, World, wait_for, xrsl};
use serde_json::json;

/// Bound of the long steps.
const MINUTES: Duration = Duration::from_secs(600);

#[test]
fn a_thousand_jobs_run_once_each_and_come_home() {
    let world = World::ready_with(&["--workers", "many", "--slots", "16"], &["poll_min: 500ms", "poll_max: 2s"]);
    let user = &world.user;
    for number in 0..1000 {
        user.write(&format!("job-{number:04}.xrsl"), xrsl::shell(&format!("t{number:04}"), &format!("echo {number}")));
    }
    let mut command = user.command("sh");
    command.args(["-c", "actctl sub *.xrsl"]);
    let sub = user.run(command, MINUTES).ok();
    let ids: BTreeSet<&str> = sub.lines().iter().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!((sub.lines().len(), ids.len()), (1000, 1000), "each has an id of its own");
    assert!(sub.lines().iter().all(|line| line.starts_with("Inserted job t")), "{sub}");

    wait_for("1,000 stored jobs", MINUTES, || {
        let jobs = user.jobs();
        let stored = jobs.iter().filter(|job| act_tests::user::word(&job.phase) == "stored").count();
        if stored == 1000 { Ok(()) } else { Err(format!("{stored} of {}", jobs.len())) }
    });
    for job in user.jobs() {
        let number: u32 = job.name.unwrap()[1..].parse().unwrap();
        let out = fs::read_to_string(format!("{}/out.txt", job.results.unwrap())).unwrap();
        assert_eq!(out, format!("{number}\n"));
    }
    world.sandbox.wait_empty();
    let runs = world.sandbox.runs();
    assert_eq!(runs.descriptions.len(), 1000);
    let twice: Vec<_> = runs.descriptions.iter().filter(|(_, runs)| **runs != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    world.sandbox.assert_no_violations();
}

/// Runs a command that a person waits for.
fn quick(user: &User, args: &[&str]) -> Ran {
    let ran = user.actctl(args).ok();
    // Generous: an unoptimised build on a busy machine. What must never happen is work that grows with the square.
    assert!(ran.took < Duration::from_secs(20), "{args:?} took {:?}", ran.took);
    ran
}

#[test]
fn ten_thousand_jobs_are_listed_filtered_and_survive_a_restart() {
    let world = World::ready_with(&["--workers", "many"], &["poll_min: 1s", "poll_max: 5s"]);
    let user = &world.user;
    let done = world.sandbox.synthetic(&json!({"count": 9000, "name": "many"}));
    let failed =
        world.sandbox.synthetic(&json!({"count": 1000, "name": "bad", "arcstate": "failed", "state": "Failed"}));
    wait_for("10,000 listed jobs", MINUTES, || {
        let count = user.actctl(&["stat", "-o", "ids"]).ok().lines().len();
        if count == 10_000 { Ok(()) } else { Err(count.to_string()) }
    });
    // A head, a rule, the rows.
    assert_eq!(quick(user, &["stat"]).lines().len(), 10_002);
    assert_eq!(quick(user, &["stat", "-s", "failed"]).lines().len(), 1_002);
    assert_eq!(quick(user, &["stat", "-s", "FAILED", "-n", "bad-10"]).lines().len(), 2 + 12);
    assert_eq!(quick(user, &["stat", "-n", "many-1234"]).lines().len(), 3);
    let range = format!("{}-{}", done[0], done[99]);
    assert_eq!(quick(user, &["stat", "-i", &range]).lines().len(), 102);
    assert_eq!(quick(user, &["stat", "--json"]).json()["items"].as_array().unwrap().len(), 10_000);

    // More have changed than one answer holds: it says where to go on.
    let _ = world.sandbox.synthetic(&json!({"count": 5, "name": "late"}));
    wait_for("the late ones", MINUTES, || match user.actctl(&["stat", "-o", "ids", "-n", "late"]).ok().lines().len() {
        5 => Ok(()),
        count => Err(count.to_string()),
    });
    let changes = |after: Option<String>| {
        let params = ChangesParams { after, ..ChangesParams::default() };
        user.call::<JobsChanges>(&params).expect("jobs.changes answers")
    };
    let first = changes(None);
    let rest = changes(first.next.clone());
    assert_eq!((first.items.len(), rest.items.len(), rest.next), (10_000, 5, None));

    let before = memory(user);
    user.kill_daemon();
    assert_eq!(quick(user, &["stat", "-o", "ids", "-s", "failed"]).lines().len(), 1000);
    for _ in 0..10 {
        let _ = quick(user, &["stat"]);
    }
    let after = memory(user);
    assert!(after < before.max(64 << 10) * 2, "memory grew from {before} KiB to {after} KiB");

    let ids = format!("{}-{}", failed[0], failed[999]);
    assert_eq!(user.actctl_within(&["clean", "-i", &ids], MINUTES).ok().stdout, "Cleaned 1000 jobs\n");
    let long = world.sandbox.journal("DELETE", "/jobs").into_iter().find(|entry| entry.query.len() > 4000);
    assert!(long.is_none(), "a request line that a real server refuses");
    assert_eq!(world.sandbox.jobs().len(), 9005);
}

/// Resident memory of the daemon in KiB.
fn memory(user: &User) -> u64 {
    let pid = user.daemon_pid().expect("a daemon runs");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn jobs_whose_words_are_long_come_in_smaller_pages() {
    // Together more than a message of the API may have; their list is read as seldom as can be.
    let world = World::ready_with(&[], &["poll_min: 5m", "poll_max: 10m"]);
    let ids = world.sandbox.synthetic(&json!({"count": 300, "name": "n".repeat(60_000), "arcstate": "done"}));
    let user = &world.user;
    let ran = wait_for("the jobs in the list", MINUTES, || match user.actctl(&["-q", "wait", "--json"]) {
        ran if ran.stdout.len() > 60_000 => Ok(ran),
        ran => Err(format!("{:?}: {}", ran.code, ran.stderr)),
    });
    assert_eq!(ran.json()["items"].as_array().map(Vec::len), Some(ids.len()), "{}", ran.stderr);
}
