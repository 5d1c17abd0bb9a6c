//! How a `get` ends: said once for each job and truly, also when it is asked for again, in vain, or by two at a time.

use std::thread;

use act_tests::{LONG, World, bins, wait_for, xrsl};
use serde_json::json;

fn done(world: &World, name: &str) -> String {
    let user = &world.user;
    user.write("job.xrsl", xrsl::shell(name, "echo x"));
    let _ = user.actctl(&["sub", "job.xrsl"]).ok();
    let job = user.wait_arcstate(name, "done");
    job.job_id.as_deref().and_then(|url| url.rsplit('/').next()).expect("a URL").to_owned()
}

#[test]
fn what_is_kept_on_the_server_may_be_got_again() {
    let world = World::ready_with(&[], &["download: manual"]);
    let hash = done(&world, "kept");
    for _ in 0..2 {
        let get = world.user.actctl(&["get", "--noclean"]).ok();
        assert_eq!(get.stdout, format!("Results for job kept stored in {hash}\n"));
    }
    assert_eq!(world.sandbox.jobs().len(), 1);
    // One that left no files.
    let id = world.sandbox.synthetic(&json!({"count": 1, "files": {}}))[0];
    let id = id.to_string();
    let _ = world.user.wait_arcstate(&id, "done");
    for _ in 0..2 {
        let get = world.user.actctl(&["get", "--noclean", &id]).ok();
        assert!(get.stdout.starts_with("No output files for job"), "{get}");
    }
    assert_eq!(world.sandbox.jobs().len(), 2);
}

#[test]
fn what_cannot_be_delivered_is_said_each_time() {
    let world = World::ready();
    let user = &world.user;
    let hash = done(&world, "stays");
    user.wait_phase("stays", "stored");
    for _ in 0..2 {
        // Nobody can make a directory there.
        let mut command = user.command(bins::program("actctl"));
        command.args(["get", "stays"]).current_dir("/proc");
        let get = user.run(command, LONG);
        assert_eq!(get.code, Some(1), "{get}");
        assert!(get.stderr.contains("/proc") && !get.stdout.contains("No output"), "{get}");
    }
    let get = user.actctl(&["get", "stays"]).ok();
    assert_eq!(get.stdout, format!("Results for job stays stored in {hash}\n"));
}

#[test]
fn what_one_directory_cannot_take_goes_to_another() {
    let get = |world: &World, name: &str| {
        // Nobody can make a directory there.
        let mut command = world.user.command(bins::program("actctl"));
        command.args(["get", name]).current_dir("/proc");
        let get = world.user.run(command, LONG);
        assert_eq!(get.code, Some(1), "{get}");
        assert!(get.stderr.contains("/proc"), "{get}");
        world.user.actctl(&["get", name]).ok().stdout
    };
    // Straight from the server.
    let world = World::ready_with(&[], &["download: manual"]);
    let hash = done(&world, "manual");
    assert_eq!(get(&world, "manual"), format!("Results for job manual stored in {hash}\n"));
    world.sandbox.wait_empty();
    // While they cannot be brought into the store.
    let world = World::ready_with(&[], &["results: /proc/nowhere"]);
    let hash = done(&world, "stuck");
    world.user.wait_phase("stuck", "retrieving");
    assert_eq!(get(&world, "stuck"), format!("Results for job stuck stored in {hash}\n"));
    world.sandbox.wait_empty();
}

/// The last one has them; the one before is told so, and does not wait for ever.
#[test]
fn two_at_a_time() {
    let world = World::ready_with(&[], &["download: manual"]);
    let user = &world.user;
    let hash = done(&world, "wanted");
    world
        .sandbox
        .fault(&json!({"method": "GET", "path": "/jobs/*/results/*", "fault": {"kind": "status", "status": 503}}));
    let get = |place: &str| {
        std::fs::create_dir(user.work().join(place)).unwrap();
        let mut command = user.command(bins::program("actctl"));
        command.args(["get", "wanted"]).current_dir(user.work().join(place));
        command
    };
    let asked = |place: &str| {
        let is_there = format!("/{place}");
        wait_for(&format!("results to be on their way to {place}"), LONG, || {
            let log = user.actctl(&["log", "wanted"]).stdout;
            let last = log.lines().rfind(|line| line.contains("downloading")).unwrap_or_default().to_owned();
            if last.contains(&is_there) { Ok(()) } else { Err(log) }
        });
    };
    thread::scope(|scope| {
        let first = get("first");
        let first = scope.spawn(move || user.run(first, LONG));
        asked("first");
        let second = get("second");
        let second = scope.spawn(move || user.run(second, LONG));
        let first = first.join().unwrap();
        assert_eq!(first.code, Some(1), "{first}");
        assert!(first.stderr.contains("another get"), "{first}");
        world.sandbox.heal();
        let second = second.join().unwrap().ok();
        assert_eq!(second.stdout, format!("Results for job wanted stored in {hash}\n"));
    });
    assert_eq!(user.read(format!("second/{hash}/out.txt")), "x\n");
    world.sandbox.wait_empty();
}

/// The first one goes on when its terminal is closed; what it leaves out is not lost by that.
#[test]
fn a_second_one_has_what_the_first_left_out() {
    let world = World::ready_with(&[], &["download: manual"]);
    let user = &world.user;
    user.write("job.xrsl", xrsl::with("wanted", "echo x; echo y > more", "(outputfiles=(\"more\" \"\"))"));
    let _ = user.actctl(&["sub", "job.xrsl"]).ok();
    let _ = user.wait_arcstate("wanted", "done");
    let slow = json!({"kind": "delay", "ms": 60_000});
    world.sandbox.fault(&json!({"method": "GET", "path": "/jobs/*/results/out.txt", "fault": slow}));
    thread::scope(|scope| {
        let first = scope.spawn(|| user.actctl(&["get", "--exclude", "more", "wanted"]));
        let is_under_way = || !world.sandbox.journal("GET", "/jobs/*/results/*").is_empty();
        wait_for("the first download", LONG, || if is_under_way() { Ok(()) } else { Err(String::from("no request")) });
        world.sandbox.heal();
        let second = user.actctl(&["get", "wanted"]).ok();
        let dir = second.stdout.trim_end().rsplit(' ').next().expect("a directory").to_owned();
        assert_eq!(
            (user.read(format!("{dir}/out.txt")), user.read(format!("{dir}/more"))),
            ("x\n".into(), "y\n".into())
        );
        let first = first.join().unwrap();
        assert!(first.code == Some(1) && first.stderr.contains("another get"), "{first}");
    });
    world.sandbox.wait_empty();
}

/// What came by itself is delivered from where it is, or dropped with its job, and kept in the trash for a while; what somebody
/// has got is theirs.
#[test]
fn logs_of_failed_jobs_that_came_by_themselves() {
    let world = World::ready_with(&[], &["fetch_failed: true"]);
    let user = &world.user;
    for name in ["mine", "theirs", "got"] {
        user.write("job.xrsl", xrsl::shell(name, "echo why; exit 3"));
        let _ = user.actctl(&["sub", "job.xrsl"]).ok();
    }
    let logs = ["mine", "theirs", "got"].map(|name| {
        let job = user.wait_job(name, "its logs", |job| job.results.is_some());
        std::path::PathBuf::from(job.results.expect("a directory"))
    });
    for dir in &logs {
        assert_eq!((dir.parent(), dir.join("out.txt").exists()), (Some(user.results().as_path()), true), "{dir:?}");
    }
    let downloads = || world.sandbox.journal("GET", "/jobs/*/results/*").len();
    let before = downloads();
    let name = logs[2].file_name().expect("a name").to_string_lossy();
    let get = user.actctl(&["get", "got"]).ok();
    assert_eq!(get.stdout, format!("Results for job got stored in {name}\n"));
    assert_eq!(
        (user.read(format!("{name}/out.txt")).as_str(), logs[2].exists(), downloads()),
        ("why\n", false, before)
    );
    let _ = user.actctl(&["get", "--noclean", "theirs"]).ok();
    let got = user.wait_job("theirs", "its delivery", |job| {
        job.results.as_deref().is_some_and(|dir| dir.starts_with(&user.work().display().to_string()))
    });
    assert_eq!(user.actctl(&["clean", "--all"]).ok().stdout, "Cleaned 2 jobs\n");
    world.sandbox.wait_empty();
    let name = logs[0].file_name().expect("a name");
    assert!(!logs[0].exists() && user.results().join(".trash").join(name).join("out.txt").exists());
    assert!(std::path::Path::new(&got.results.expect("a directory")).join("out.txt").exists());
    assert_eq!(user.history().iter().filter(|job| job.outcome.as_deref() == Some("cleaned")).count(), 2);
}
