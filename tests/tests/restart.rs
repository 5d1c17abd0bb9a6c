//! The daemon is stopped or killed in the middle of its work: exactly one run per description, all results complete,
//! nothing left on the server or on WebDAV.

use std::fs;
use std::thread;
use std::time::Duration;

use act_tests::{LONG, World, wait_for, xrsl};
use serde_json::json;

/// Jobs of a round.
const JOBS: usize = 12;

/// A user who has delegated a proxy. Rows that lost requests leave are to go within the test, not a day later.
pub(crate) fn ready(sandbox: &[&str]) -> World {
    World::ready_with(sandbox, &["orphans: 1s"])
}

/// Writes a description with an input file.
pub(crate) fn write_job(world: &World, number: usize) -> String {
    world.user.write(&format!("in-{number}.txt"), format!("input {number}\n").repeat(1000));
    let file = format!("{number}.xrsl");
    world.user.write(&file, xrsl::cat(&format!("job-{number}"), &format!("in-{number}.txt")));
    file
}

/// Submits them all and does not wait.
fn submit(world: &World, more: &[&str]) {
    let files: Vec<_> = (0..JOBS).map(|number| write_job(world, number)).collect();
    let mut args = vec!["sub", "--detach"];
    args.extend(more);
    args.extend(files.iter().map(String::as_str));
    let _ = world.user.actctl(&args).ok();
}

/// Waits for the end of `count` jobs, and counts.
pub(crate) fn check(world: &World, count: usize) {
    let user = &world.user;
    let _ = user.actctl(&["daemon", "start"]).ok();
    wait_for("all jobs to be stored", LONG * 5, || {
        let jobs = user.jobs();
        let stored = jobs.iter().filter(|job| act_tests::user::word(&job.phase) == "stored").count();
        if stored == count { Ok(()) } else { Err(format!("{stored} of {}: {jobs:?}", jobs.len())) }
    });
    // Unused rows of POSTs whose answers were lost, too.
    world.sandbox.wait_empty();
    for number in 0..count {
        let name = format!("job-{number}");
        assert_eq!(world.sandbox.runs_of(&name), 1, "runs of {name}");
        let job = user.job(&name).unwrap();
        let out = fs::read_to_string(format!("{}/out.txt", job.results.unwrap())).unwrap();
        assert_eq!(out, format!("input {number}\n").repeat(1000));
    }
    world.sandbox.assert_no_violations();
}

/// Kills the daemon and has it started again, after each of these pauses.
pub(crate) fn kill_after(world: &World, pauses: &[u64]) {
    for ms in pauses {
        // Not a wait for anything: the moment of the blow.
        thread::sleep(Duration::from_millis(*ms));
        world.user.kill_daemon();
        let _ = world.user.actctl(&["daemon", "start"]).ok();
    }
}

#[test]
fn killed_while_submitting() {
    let world = ready(&[]);
    world.sandbox.fault(&json!({"path": "/jobs*", "fault": {"kind": "delay", "ms": 40}}));
    submit(&world, &[]);
    kill_after(&world, &[0, 20, 60, 120, 200]);
    world.sandbox.heal();
    check(&world, JOBS);
}

#[test]
fn killed_while_staging_over_webdav() {
    let world = ready(&[]);
    world.sandbox.fault(&json!({"path": "/jobs*", "fault": {"kind": "delay", "ms": 40}}));
    submit(&world, &["--webdav"]);
    kill_after(&world, &[10, 50, 100, 200, 400]);
    world.sandbox.heal();
    check(&world, JOBS);
}

#[test]
fn killed_while_downloading() {
    let world = ready(&[]);
    submit(&world, &[]);
    world.sandbox.fault(&json!({"path": "/jobs/*/results/*", "fault": {"kind": "delay", "ms": 100}}));
    wait_for("a download", LONG, || {
        let seen = world.sandbox.journal("GET", "/jobs/*/results/*").len();
        if seen > 0 { Ok(()) } else { Err("none yet".to_owned()) }
    });
    kill_after(&world, &[0, 100, 300, 500]);
    world.sandbox.heal();
    check(&world, JOBS);
}

#[test]
fn stopped_in_the_middle_and_started_by_the_next_command() {
    let world = ready(&[]);
    world.sandbox.fault(&json!({"path": "/jobs*", "fault": {"kind": "delay", "ms": 40}}));
    submit(&world, &[]);
    for _ in 0..3 {
        let _ = world.user.actctl(&["daemon", "stop"]).ok();
        let _ = world.user.actctl(&["stat"]);
    }
    world.sandbox.heal();
    check(&world, JOBS);
}

#[test]
fn the_same_command_again_is_another_job() {
    let world = ready(&[]);
    world.user.write("job.xrsl", xrsl::shell("twice", "true"));
    let _ = world.user.actctl(&["sub", "job.xrsl"]).ok();
    world.user.kill_daemon();
    let _ = world.user.actctl(&["sub", "job.xrsl"]).ok();
    world.user.wait_phase("1", "stored");
    world.user.wait_phase("2", "stored");
    assert_eq!(world.sandbox.runs_of("twice"), 2);
}

#[test]
fn the_server_cuts_and_breaks_at_every_step() {
    let world = ready(&[]);
    for fault in [
        json!({"method": "PUT", "path": "/jobs/*/data/*", "count": 3, "fault": {"kind": "reset", "after_bytes": 100}}),
        json!({"method": "PUT", "path": "/jobs", "count": 1, "fault": {"kind": "status", "status": 500, "html": true}}),
        json!({"method": "GET", "path": "/jobs", "count": 2, "skip": 2, "fault": {"kind": "truncate", "bytes": 40}}),
        json!({"method": "GET", "path": "/jobs/*/results/out.txt", "count": 3, "fault": {"kind": "truncate", "bytes": 100}}),
        json!({"method": "GET", "path": "/jobs/*/results/out.txt", "skip": 3, "count": 2, "fault": {"kind": "reset"}}),
        json!({"method": "DELETE", "path": "/jobs", "count": 1, "fault": {"kind": "reset", "execute": true}}),
    ] {
        world.sandbox.fault(&fault);
    }
    submit(&world, &[]);
    check(&world, JOBS);
    assert!(world.sandbox.faults_applied() >= 8, "the faults were met: {}", world.sandbox.faults_applied());
}

/// The answer to a request for rows is lost, or the request is executed later: the rows are found and cancelled, others'
/// rows are left alone.
#[test]
fn rows_of_lost_requests_are_cancelled_and_no_others() {
    let world = World::ready_with(&[], &["orphans: 24h"]);
    let user = &world.user;
    let cluster = world.sandbox.info().clusters[0].clone();
    let make_row = || {
        let script = format!(
            r#"curl -sS -f -X POST -H "Authorization: Bearer $(cat {})" -H 'Content-Type: application/json' \
               -d '[{{"clusterlist":["{cluster}"]}}]' {}/jobs"#,
            user.token().display(),
            world.sandbox.info().server.trim_end_matches('/'),
        );
        user.shell(&script).ok().json()[0]["id"].as_u64().expect("an id")
    };
    // Somebody else's, as an `act sub` that is still uploading.
    let before = make_row();
    wait_for(
        "it to be listed",
        LONG,
        || if user.jobs().len() == 1 { Ok(()) } else { Err(format!("{:?}", user.jobs())) },
    );
    let lost = json!({"method": "POST", "path": "/jobs", "count": 1, "fault": {"kind": "reset", "execute": true}});
    world.sandbox.fault(&lost);
    user.write("a.xrsl", xrsl::shell("a", "echo a"));
    let _ = user.actctl(&["sub", "a.xrsl"]).ok();
    let late =
        json!({"method": "POST", "path": "/jobs", "count": 1, "fault": {"kind": "late", "ms": 1500, "reset": true}});
    world.sandbox.fault(&late);
    user.write("b.xrsl", xrsl::shell("b", "echo b"));
    let _ = user.actctl(&["sub", "b.xrsl"]).ok();
    user.wait_phase("a", "stored");
    user.wait_phase("b", "stored");
    let rows = || world.sandbox.jobs().iter().map(|row| row.id).collect::<Vec<_>>();
    wait_for("the late row", LONG, || if rows().len() == 3 { Ok(()) } else { Err(format!("{:?}", rows())) });
    // So young they may be anybody's: they are only told of.
    wait_for("the orphans to be seen", LONG, || {
        let status = user.actctl(&["daemon", "status"]).ok();
        if status.stdout.contains("2 rows without a description") { Ok(()) } else { Err(status.to_string()) }
    });
    assert_eq!(rows().len(), 3);
    // Another one for the same clusters in that time: one too many, so none is touched although all are old enough.
    let third = make_row();
    user.configure(&["orphans: 1s"]);
    let _ = user.actctl(&["daemon", "restart"]).ok();
    let lists = || world.sandbox.journal("GET", "/jobs").len();
    let seen = lists();
    wait_for("some lists", LONG, || if lists() >= seen + 8 { Ok(()) } else { Err(lists().to_string()) });
    assert_eq!(rows().len(), 4, "of three rows that fit two are ours, and nobody knows which");
    // Its owner takes it away: now it is certain.
    let delete = format!(
        r#"curl -sS -f -X PATCH -H "Authorization: Bearer $(cat {})" "{}/jobs?id={third}&action=cancel""#,
        user.token().display(),
        world.sandbox.info().server.trim_end_matches('/'),
    );
    let _ = user.shell(&delete).ok();
    wait_for("the orphans to be cancelled", LONG, || {
        if rows() == [before] { Ok(()) } else { Err(format!("{:?}", rows())) }
    });
    assert_eq!((world.sandbox.runs_of("a"), world.sandbox.runs_of("b")), (1, 1));
    world.sandbox.assert_no_violations();
    world.sandbox.heal();
}

/// Kills at random moments, while jobs are submitted, run and come home. `ACT_TESTS_ROUNDS` sets how many.
#[test]
fn random_kills_under_load() {
    let rounds = std::env::var("ACT_TESTS_ROUNDS").map_or(10, |rounds| rounds.parse().expect("a number of rounds"));
    let world = ready(&["--workers", "4"]);
    world.sandbox.fault(&json!({"path": "/jobs*", "fault": {"kind": "delay", "ms": 10}}));
    let mut seed = u64::from(std::process::id());
    println!("seed {seed}");
    for number in 0..rounds {
        let file = write_job(&world, number);
        let mut args = vec!["sub", "--detach", file.as_str()];
        args.extend((number % 3 == 0).then_some("--webdav"));
        let _ = world.user.actctl(&args).ok();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        kill_after(&world, &[(seed >> 33) % 300]);
    }
    world.sandbox.heal();
    check(&world, rounds);
}
