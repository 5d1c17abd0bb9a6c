//! The daemon is killed in the middle of an upload that is too large to be over soon: the same row and the same file are
//! gone on with, the job runs once, and nothing is left, neither at once nor a quarter of an hour later.

use std::fs;
use std::os::unix::fs::FileExt;

use act_tests::{LONG, World, wait_for, xrsl};
use serde_json::json;

/// More than all buffers on the way: bytes.
const SIZE: u64 = 24 << 20;

/// A submission of an input of [`SIZE`] bytes that nobody takes, interrupted by a kill -9.
fn killed_while_uploading(world: &World, name: &str, flags: &[&str]) {
    let user = &world.user;
    let file = fs::File::create(user.work().join("large.bin")).unwrap();
    file.set_len(SIZE).unwrap();
    // Not the same from start to end.
    for at in 0..8 {
        file.write_all_at(format!("piece {at}").as_bytes(), at * (SIZE / 8)).unwrap();
    }
    let text = xrsl::with(name, "sha256sum < in.bin", "(inputfiles=(\"in.bin\" \"large.bin\"))");
    user.write("job.xrsl", text);
    let mut args = vec!["sub", "--detach", "job.xrsl"];
    args.extend(flags);
    let _ = user.actctl(&args).ok();
    user.wait_phase(name, "uploading");
}

fn whole(world: &World, name: &str) {
    let job = world.user.wait_phase(name, "stored");
    let out = fs::read_to_string(format!("{}/out.txt", job.results.expect("results"))).expect("out.txt");
    let digest = openssl::sha::sha256(&fs::read(world.user.work().join("large.bin")).unwrap());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(out.starts_with(&digest), "{out}");
    assert_eq!(world.sandbox.runs_of(name), 1);
    world.sandbox.wait_empty();
    world.sandbox.assert_no_violations();
}

#[test]
fn to_the_server() {
    let world = World::ready_with(&["--workers", "many"], &[]);
    // Nothing of the body is read.
    world.sandbox.fault(&json!({"method": "PUT", "path": "/jobs/*/data/*", "fault": {"kind": "stall"}}));
    killed_while_uploading(&world, "large", &[]);
    wait_for("the upload to be under way", LONG, || {
        let applied = world.sandbox.faults_applied();
        if applied > 0 { Ok(()) } else { Err(applied.to_string()) }
    });
    world.user.kill_daemon();
    world.sandbox.heal();
    let _ = world.user.actctl(&["daemon", "start"]).ok();
    whole(&world, "large");
    let rows = world.sandbox.journal("POST", "/jobs").len();
    assert_eq!(rows, 1, "gone on with the same row");
}

#[test]
fn to_webdav() {
    let world = World::ready_with(&["--workers", "many"], &[]);
    let stall = json!({"method": "PUT", "fault": {"kind": "reset", "after_bytes": 6_000_000}});
    world.sandbox.admin("POST", "/webdav/faults", Some(&stall));
    killed_while_uploading(&world, "large", &["--webdav"]);
    wait_for("a part of the file to be there", LONG, || {
        let journal = world.sandbox.admin("GET", "/webdav/journal", None).to_string();
        if journal.contains("\"PUT\"") { Ok(()) } else { Err(journal) }
    });
    world.user.kill_daemon();
    world.sandbox.admin("DELETE", "/webdav/faults", None);
    let _ = world.user.actctl(&["daemon", "start"]).ok();
    whole(&world, "large");
    assert_eq!(world.sandbox.journal("POST", "/jobs").len(), 1, "gone on with the same row");
}

/// The user no longer wants it, while the daemon is away. The row never runs, so it can go at once; a file that the store
/// may yet take has to be waited for.
#[test]
fn and_then_the_job_is_not_wanted_any_more() {
    let world = World::ready_with(&["--workers", "many"], &[]);
    for (name, flags) in [("direct", &[][..]), ("staged", &["--webdav"])] {
        world.sandbox.fault(&json!({"method": "PUT", "path": "/jobs/*/data/*", "fault": {"kind": "stall"}}));
        let reset = json!({"method": "PUT", "fault": {"kind": "reset", "after_bytes": 6_000_000}});
        world.sandbox.admin("POST", "/webdav/faults", Some(&reset));
        killed_while_uploading(&world, name, flags);
        world.user.kill_daemon();
        let _ = world.user.actctl(&["kill", name]).ok();
        world.sandbox.heal();
        world.sandbox.admin("DELETE", "/webdav/faults", None);
        wait_for("the row to be gone", LONG, || {
            let rows = world.sandbox.jobs();
            if rows.is_empty() { Ok(()) } else { Err(format!("{rows:?}")) }
        });
        assert_eq!(world.sandbox.runs_of(name), 0);
    }
    world.sandbox.assert_no_violations();
}
