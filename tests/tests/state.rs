//! The state directory: moved by export and import, damaged and mended, never silently taken for an empty one.

use std::fs;

use act_tests::{LONG, Ran, World, bins, xrsl};

fn actd(world: &World, args: &[&str]) -> Ran {
    let mut command = world.user.command(bins::program("actd"));
    command.args(args);
    world.user.run(command, LONG)
}

/// A world with a job that is stored, one that failed, and one in the history; no daemon runs.
fn used() -> World {
    let world = World::ready();
    let user = &world.user;
    user.write("a.xrsl", xrsl::shell("a", "echo a"));
    user.write("b.xrsl", xrsl::fail("b", 3));
    user.write("c.xrsl", xrsl::shell("c", "echo c"));
    let _ = user.actctl(&["sub", "a.xrsl", "b.xrsl", "c.xrsl"]).ok();
    user.wait_phase("a", "stored");
    user.wait_arcstate("b", "failed");
    user.wait_phase("c", "stored");
    let _ = user.actctl(&["get", "c"]).ok();
    user.kill_daemon();
    world
}

fn keys(world: &World) -> Vec<(String, Option<String>)> {
    let mut jobs = world.user.jobs();
    jobs.extend(world.user.history());
    let mut keys: Vec<_> = jobs.into_iter().map(|job| (job.key, job.name)).collect();
    keys.sort();
    keys
}

#[test]
fn an_export_is_everything() {
    let world = used();
    let user = &world.user;
    let _ = actd(&world, &["export", "jobs.jsonl"]).ok();
    let again = actd(&world, &["export", "jobs.jsonl"]).exits(6);
    assert!(again.stderr.contains("jobs.jsonl") && again.stderr.contains("exists"), "nothing is overwritten: {again}");
    let refused = actd(&world, &["import", "jobs.jsonl"]).exits(6);
    assert!(refused.stderr.contains("holds jobs already") && refused.stderr.contains("hint:"), "{refused}");
    fs::rename(user.state(), user.state().with_extension("old")).unwrap();
    let _ = actd(&world, &["import", "jobs.jsonl"]).ok();
    let _ = user.actctl(&["stat"]).ok();
    let names: Vec<_> = keys(&world).into_iter().map(|(key, name)| format!("{key} {}", name.unwrap())).collect();
    assert_eq!(names, ["j1 a", "j2 b", "j3 c"]);
    // It goes on with them as its own.
    let _ = user.actctl(&["get", "a"]).ok();
    let _ = user.actctl(&["resub", "b"]).ok();
    user.write("d.xrsl", xrsl::shell("d", "echo d"));
    let _ = user.actctl(&["sub", "d.xrsl"]).ok();
    assert_eq!(user.job("d").unwrap().key, "j4", "keys are not used again");
    let busy = actd(&world, &["export"]);
    assert!(busy.code != Some(0) && busy.stderr.contains("another actd"), "{busy}");
}

#[test]
fn damage_stops_the_daemon_and_is_mended_when_asked_for() {
    let world = used();
    let user = &world.user;
    let whole = actd(&world, &["--recover"]).ok();
    assert!(whole.stderr.contains("is whole"), "{whole}");
    let db = user.state().join("jobs.sled/db");
    let mut bytes = fs::read(&db).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[used / 2..used / 2 + 64].fill(0x5a);
    fs::write(&db, &bytes).unwrap();
    let stat = user.actctl(&["stat"]).exits(6);
    assert!(stat.stderr.contains("damaged") && stat.stderr.contains("actd --recover"), "{stat}");
    let mended = actd(&world, &["--recover"]).ok();
    assert!(mended.stderr.contains("the old cache is in") && mended.stderr.contains("adopt"), "{mended}");
    let _ = user.actctl(&["stat"]).ok();
    // What the server still has is shown, whoever knew of it before; results on the disk are where they were.
    user.wait_arcstate("b", "failed");
    let results = fs::read_dir(user.results()).unwrap().flatten().filter(|e| e.path().join("out.txt").exists()).count();
    assert_eq!(results, 1);
    user.write("d.xrsl", xrsl::shell("d", "echo d"));
    let _ = user.actctl(&["sub", "d.xrsl"]).ok();
    assert!(user.job("d").unwrap().key.as_str() > "j3", "keys are not used again");
}
