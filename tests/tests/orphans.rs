//! Rows that lost requests leave, and the same identity at work on several machines: what is left is cancelled soon when
//! nobody else is about, late when somebody is, and whoever loses a row to another's mistake loses no job.

use std::time::{Duration, Instant};

use act_tests::user::User;
use act_tests::{LONG, World, wait_for, xrsl};
use serde_json::json;

use crate::restart::{check, kill_after, write_job};

/// `curl` as the user, at the server.
pub(crate) fn curl(world: &World, user: &User, args: &str) -> act_tests::Ran {
    let server = world.sandbox.info().server.trim_end_matches('/');
    let token = user.token();
    user.shell(&format!(r#"curl -sS -f -H "Authorization: Bearer $(cat {})" {server}{args}"#, token.display())).ok()
}

fn rows(world: &World) -> Vec<u64> {
    world.sandbox.jobs().iter().map(|row| row.id).collect()
}

/// Another machine takes the row for a leftover of its own and cancels it, just when the answer to the description is lost.
#[test]
fn a_row_that_is_cancelled_under_its_lost_description_costs_no_job() {
    let world = World::ready();
    let user = &world.user;
    world.sandbox.fault(&json!({"method": "PUT", "path": "/jobs", "fault": {"kind": "reset"}}));
    user.write("a.xrsl", xrsl::shell("a", "echo a"));
    let _ = user.actctl(&["sub", "--detach", "a.xrsl"]).ok();
    wait_for("a description to be lost", LONG, || {
        let puts = world.sandbox.journal("PUT", "/jobs").len();
        if puts > 0 { Ok(()) } else { Err(format!("{:?}", user.jobs())) }
    });
    let first = rows(&world)[0];
    let _ = curl(&world, user, &format!("'/jobs?id={first}&action=cancel' -X PATCH"));
    assert_eq!(rows(&world), [] as [u64; 0]);
    world.sandbox.heal();
    let job = user.wait_phase("a", "stored");
    assert_ne!(job.id, Some(first));
    assert_eq!(world.sandbox.runs_of("a"), 1);
    world.sandbox.wait_empty();
    world.sandbox.assert_no_violations();
}

/// One machine has lost a request that was never carried out, and is set to wait for almost nothing: it takes the row of
/// another one, which is still uploading, for its own leftover. The other one asks for a new row; that is all.
#[test]
fn a_row_that_is_taken_under_an_upload_costs_no_job() {
    let world = World::ready_with(&["--workers", "4"], &["orphans: 1s"]);
    let (hasty, other) = (&world.user, world.machine("other", &[]));
    let _ = other.actctl(&["proxy"]).ok();
    world.sandbox.fault(&json!({"method": "POST", "path": "/jobs", "count": 1, "fault": {"kind": "reset"}}));
    hasty.write("a.xrsl", xrsl::shell("a", "echo a"));
    let _ = hasty.actctl(&["sub", "a.xrsl"]).ok();
    let slow = json!({"method": "PUT", "path": "/jobs/*/data/*", "count": 1, "fault": {"kind": "delay", "ms": 10_000}});
    world.sandbox.fault(&slow);
    other.write("in.txt", "input of b\n");
    other.write("b.xrsl", xrsl::cat("b", "in.txt"));
    let _ = other.actctl(&["sub", "--detach", "b.xrsl"]).ok();
    let job = other.wait_phase("b", "stored");
    hasty.wait_phase("a", "stored");
    let cancelled = world.sandbox.journal("PATCH", "/jobs");
    assert!(!cancelled.is_empty(), "nobody took the row: {job:?}");
    assert_eq!((world.sandbox.runs_of("a"), world.sandbox.runs_of("b")), (1, 1));
    world.sandbox.wait_empty();
    world.sandbox.assert_no_violations();
}

/// With the settings of a user who has set nothing.
#[test]
fn leftovers_go_within_minutes_if_nobody_else_is_at_work() {
    let lose_one = |world: &World, name: &str| {
        let lost = json!({"method": "POST", "path": "/jobs", "count": 1, "fault": {"kind": "reset", "execute": true}});
        world.sandbox.fault(&lost);
        world.user.write("job.xrsl", xrsl::shell(name, "echo x"));
        let _ = world.user.actctl(&["sub", "job.xrsl"]).ok();
        world.user.wait_phase(name, "stored");
        wait_for("the lost row alone", LONG, || match rows(world).len() {
            1 => Ok(()),
            n => Err(n.to_string()),
        });
    };
    let (alone, crowd) = (World::ready(), World::ready());
    let begin = Instant::now();
    lose_one(&alone, "a");
    // Somebody else submits with the same token, a job that this daemon sees come and go.
    let other = crowd.machine("other", &[]);
    let _ = crowd.user.actctl(&["stat"]).ok();
    other.write("b.xrsl", xrsl::shell("b", "sleep 2"));
    let _ = other.actctl(&["sub", "b.xrsl"]).ok();
    other.wait_phase("b", "stored");
    lose_one(&crowd, "c");

    wait_for("the leftover to be cancelled", Duration::from_secs(240), || match rows(&alone).len() {
        0 => Ok(()),
        n => Err(n.to_string()),
    });
    println!("cancelled after {:?}", begin.elapsed());
    assert!(begin.elapsed() > Duration::from_secs(100), "too soon: it could have been somebody's");
    // The other one is about as old; it may stay for a day.
    let lists = || crowd.sandbox.journal("GET", "/jobs").len();
    let seen = lists();
    wait_for("lists for a while", LONG * 2, || if lists() >= seen + 60 { Ok(()) } else { Err(lists().to_string()) });
    assert_eq!(rows(&crowd).len(), 1, "somebody else may be uploading for it");
    assert_eq!((alone.sandbox.runs_of("a"), crowd.sandbox.runs_of("c")), (1, 1));
}

/// Answers are lost and the daemon is killed while jobs are submitted one by one. With the settings of a user who has set
/// nothing the server is empty some minutes later.
#[test]
fn what_a_bad_network_and_kills_leave_goes_within_minutes() {
    const JOBS: usize = 40;
    let world = World::ready_with(&["--workers", "4"], &[]);
    let user = &world.user;
    // Of the requests for rows one in three is carried out and not answered, one in three is not even carried out.
    for (skip, execute) in [(0, true), (1, false)] {
        let fault = json!({"kind": "reset", "execute": execute});
        world.sandbox.fault(&json!({"method": "POST", "path": "/jobs", "every": 3, "skip": skip, "fault": fault}));
    }
    let mut seed = u64::from(std::process::id());
    println!("seed {seed}");
    for number in 0..JOBS {
        let file = write_job(&world, number);
        let _ = user.actctl(&["sub", "--detach", &file]).ok();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if number % 4 == 0 {
            kill_after(&world, &[(seed >> 33) % 300]);
        }
    }
    let begin = Instant::now();
    wait_for("all jobs to be stored", LONG * 5, || {
        let jobs = user.jobs();
        let stored = jobs.iter().filter(|job| act_tests::user::word(&job.phase) == "stored").count();
        if stored == JOBS { Ok(()) } else { Err(format!("{stored} of {}", jobs.len())) }
    });
    let left = rows(&world).len();
    println!("{left} rows left when all jobs are stored, after {:?}", begin.elapsed());
    assert!(left > 0, "the campaign met no trouble");
    wait_for("the server to be empty", Duration::from_secs(400), || match rows(&world).len() {
        0 => Ok(()),
        n => Err(n.to_string()),
    });
    println!("none after {:?}", begin.elapsed());
    check(&world, JOBS);
}

/// Two machines that lose answers and descriptions, both set to wait for almost nothing: they take rows from each other.
/// Only one of them leaves rows behind: if both did at a time, nobody could tell which are whose, and they would stay.
#[test]
fn two_hasty_machines_on_a_bad_network_lose_nothing() {
    const JOBS: usize = 15;
    let world = World::ready_with(&["--workers", "4"], &["orphans: 1s"]);
    let other = world.machine("other", &["orphans: 1s"]);
    let _ = other.actctl(&["proxy"]).ok();
    let submit = |user: &User, who: &str, n: usize| {
        user.write(&format!("in-{n}.txt"), format!("{who}{n}\n"));
        user.write(&format!("{n}.xrsl"), xrsl::cat(&format!("{who}-{n}"), &format!("in-{n}.txt")));
        let _ = user.actctl(&["sub", "--detach", &format!("{n}.xrsl")]).ok();
    };
    let lost = json!({"method": "POST", "path": "/jobs", "count": 2, "fault": {"kind": "reset", "execute": true}});
    world.sandbox.fault(&lost);
    submit(&world.user, "a", 0);
    wait_for("two rows to be left behind", LONG, || match world.sandbox.journal("POST", "/jobs").len() {
        0 | 1 => Err(format!("{:?}", world.user.jobs())),
        _ => Ok(()),
    });
    for (method, skip, execute) in [("POST", 1, false), ("PUT", 0, true), ("PUT", 2, false)] {
        let fault = json!({"kind": "reset", "execute": execute});
        world.sandbox.fault(&json!({"method": method, "path": "/jobs", "every": 4, "skip": skip, "fault": fault}));
    }
    let slow = json!({"method": "PUT", "path": "/jobs/*/data/*", "every": 3, "fault": {"kind": "delay", "ms": 2_500}});
    world.sandbox.fault(&slow);
    let machines = [(&world.user, "a"), (&other, "b")];
    submit(&other, "b", 0);
    for n in 1..JOBS {
        for (user, who) in machines {
            submit(user, who, n);
        }
    }
    for (user, who) in machines {
        for n in 0..JOBS {
            let name = format!("{who}-{n}");
            wait_for(&format!("{name} to be stored"), LONG * 3, || match user.job(&name) {
                Some(job) if act_tests::user::word(&job.phase) == "stored" => Ok(()),
                other => Err(format!("{other:?}")),
            });
            assert_eq!(world.sandbox.runs_of(&name), 1, "{name}");
        }
    }
    world.sandbox.wait_empty();
    world.sandbox.assert_no_violations();
}
