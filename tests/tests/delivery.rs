//! `get` and `run` while the daemon is killed, the server is away, or some jobs belong to somebody else.

use act_tests::{LONG, World, wait_for, xrsl};
use serde_json::json;

/// So many that they are not delivered in one moment.
const JOBS: usize = 12;

/// A world with done jobs whose results are still on the server.
fn done() -> World {
    let world = World::ready_with(&["--workers", "many"], &["download: manual"]);
    let user = &world.user;
    let mut args = vec!["sub".to_owned()];
    for number in 0..JOBS {
        user.write(&format!("{number}.xrsl"), xrsl::shell(&format!("job-{number}"), &format!("echo {number}")));
        args.push(format!("{number}.xrsl"));
    }
    let _ = user.actctl(&args.iter().map(String::as_str).collect::<Vec<_>>()).ok();
    let _ = user.actctl(&["wait"]).ok();
    world
}

/// The lines of a `get` that is under way.
fn told(world: &World) -> usize {
    let out = std::fs::read_to_string(world.user.work().join("get.out")).unwrap_or_default();
    out.lines().filter(|line| line.starts_with("Results for job")).count()
}

#[test]
fn a_get_tells_of_every_job_though_the_daemon_is_killed_twice() {
    let world = done();
    let user = &world.user;
    // The later half does not come before the second kill, however many are brought at a time.
    for id in JOBS / 2 + 1..=JOBS {
        let path = format!("/jobs/{id}/results/*");
        world.sandbox.fault(&json!({"path": path, "fault": {"kind": "delay", "ms": 60_000}}));
    }
    let mut command = user.command("bash");
    command.args(["-c", &format!("actctl get -i 1-{JOBS} > get.out 2> get.err; echo $? > get.code")]);
    let mut get = command.spawn().unwrap();
    for least in [1, JOBS / 2] {
        wait_for(&format!("{least} results"), LONG, || match (told(&world), user.daemon_pid()) {
            (n, Some(_)) if n >= least => Ok(()),
            n => Err(format!("{n:?}: {}", std::fs::read_to_string(user.work().join("get.err")).unwrap_or_default())),
        });
        if least > 1 {
            // What is asked for from here on comes; what is under way ends with the daemon.
            world.sandbox.heal();
        }
        user.kill_daemon();
    }
    wait_for("the end of get", LONG * 2, || match get.try_wait() {
        Ok(Some(_)) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let out = user.read("get.out");
    let mut jobs: Vec<&str> = out.lines().filter_map(|line| line.split(' ').nth(3)).collect();
    jobs.sort_unstable();
    let mut all: Vec<String> = (0..JOBS).map(|number| format!("job-{number}")).collect();
    all.sort_unstable();
    assert_eq!(jobs, all, "each once: {out}\n{}", user.read("get.err"));
    assert!(!out.contains("does not exist"), "{out}");
    assert_eq!(user.read("get.code"), "0\n");
    for line in out.lines() {
        let (name, dir) = line.trim_start_matches("Results for job job-").split_once(" stored in ").unwrap();
        assert_eq!(user.read(format!("{dir}/out.txt")), format!("{name}\n"));
    }
}

#[test]
fn a_get_that_is_interrupted_tells_of_what_it_has_delivered() {
    let world = done();
    let user = &world.user;
    // One keeps its results for long.
    world.sandbox.fault(&json!({"path": "/jobs/2/results/*", "fault": {"kind": "delay", "ms": 60_000}}));
    let mut command = user.command("bash");
    command.args(["-c", "exec actctl get --json > get.json 2> get.err"]);
    let mut get = command.spawn().unwrap();
    wait_for("a delivered job", LONG, || match user.history().len() {
        0 => Err("none".to_owned()),
        _ => Ok(()),
    });
    // SAFETY: it only sends a signal, to a child that has not been waited for.
    assert_eq!(unsafe { libc::kill(get.id().cast_signed(), libc::SIGINT) }, 0);
    let code = wait_for("the end of get", LONG, || match get.try_wait() {
        Ok(Some(end)) => Ok(end.code()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(code, Some(130), "{}", user.read("get.err"));
    let value: serde_json::Value = serde_json::from_str(&user.read("get.json")).unwrap();
    assert_eq!(value["schema"], "act.get/1");
    assert_eq!(value["error"]["kind"], "interrupted");
    assert!(value["items"].as_array().is_some_and(|items| !items.is_empty()), "{value}");
}

#[test]
fn a_run_that_is_interrupted_while_its_results_come_says_where_they_are() {
    let world = World::ready();
    let user = &world.user;
    let go = user.root().join("go");
    let script = format!("echo said; until test -e {}; do sleep 0.05; done; echo big > big", go.display());
    user.write("job.xrsl", xrsl::with("held", &script, "(outputfiles=(\"big\" \"\"))"));
    // Of its results one file does not come.
    world.sandbox.fault(&json!({"method": "GET", "path": "/jobs/*/results/big", "fault": {"kind": "stall"}}));
    let mut command = user.command("bash");
    command.args(["-c", "exec actctl -v run --no-download job.xrsl > run.out 2> run.err"]);
    let mut run = command.spawn().unwrap();
    wait_for("the job's first line", LONG, || {
        let out = std::fs::read_to_string(user.work().join("run.out")).unwrap_or_default();
        if out == "said\n" { Ok(()) } else { Err(out) }
    });
    std::fs::write(&go, "").unwrap();
    wait_for("a delivery under way", LONG, || {
        let err = std::fs::read_to_string(user.work().join("run.err")).unwrap_or_default();
        if err.contains("operations.get") { Ok(()) } else { Err(err) }
    });
    // SAFETY: it only sends a signal, to a child that has not been waited for.
    assert_eq!(unsafe { libc::kill(run.id().cast_signed(), libc::SIGINT) }, 0);
    let code = wait_for("the end of run", LONG, || match run.try_wait() {
        Ok(Some(end)) => Ok(end.code()),
        other => Err(format!("{other:?}: {}", user.read("run.err"))),
    });
    let err = user.read("run.err");
    assert_eq!(code, Some(130), "{err}");
    assert!(err.contains("job 1 has ended: `actctl get -i 1` gets its results"), "{err}");
    assert_eq!(user.read("run.out"), "said\n");
    let job = user.job("held").expect("it is not collected");
    assert_eq!((job.arcstate.as_deref(), job.outcome), (Some("done"), None));
}
