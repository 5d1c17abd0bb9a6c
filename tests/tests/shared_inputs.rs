//! Inputs that jobs share on WebDAV: uploaded once, there as long as one job needs them, gone afterwards.

use std::fs;
use std::thread;
use std::time::Duration;

use act_tests::{LONG, World, wait_for, xrsl};
use serde_json::{Value, json};

/// Writes descriptions `FIRST.xrsl`..., all with the input `shared.txt`; each tells its own name before it shows the input.
fn write_jobs(world: &World, numbers: std::ops::Range<usize>) -> Vec<String> {
    let names = numbers.map(|number| {
        let file = format!("{number}.xrsl");
        let input = "(inputfiles=(\"in.txt\" \"shared.txt\"))";
        world.user.write(&file, xrsl::with(&format!("job-{number}"), "cat in.txt", input));
        file
    });
    names.collect()
}

fn submit(world: &World, flags: &[&str], files: &[String]) {
    let mut args = vec!["sub"];
    args.extend(flags);
    args.extend(files.iter().map(String::as_str));
    let _ = world.user.actctl(&args).ok();
}

/// Paths of the requests to the store of this method.
fn requests(world: &World, method: &str) -> Vec<String> {
    let journal = world.sandbox.admin("GET", "/webdav/journal", None);
    let is_it = |entry: &&Value| entry["method"] == json!(method) && entry["status"].as_u64().is_some_and(|s| s < 300);
    let path = |entry: &Value| entry["path"].as_str().unwrap_or_default().to_owned();
    journal.as_array().into_iter().flatten().filter(is_it).map(path).collect()
}

/// All of them are stored and got the file.
fn assert_stored(world: &World, numbers: std::ops::Range<usize>, content: &str) {
    for number in numbers {
        let job = world.user.wait_phase(&format!("job-{number}"), "stored");
        let out = fs::read_to_string(format!("{}/out.txt", job.results.expect("results"))).expect("out.txt");
        assert_eq!(out, content, "job-{number}");
    }
}

#[test]
fn equal_inputs_are_uploaded_once_and_deleted_with_the_last_job() {
    let world = World::ready();
    let content = "shared\n".repeat(10_000);
    world.user.write("shared.txt", &content);
    submit(&world, &["--webdav"], &write_jobs(&world, 0..25));
    assert_stored(&world, 0..25, &content);
    world.sandbox.wait_empty();
    let (puts, deletes) = (requests(&world, "PUT"), requests(&world, "DELETE"));
    assert_eq!((puts.len(), deletes.len()), (1, 1), "{puts:?} {deletes:?}");
    assert_eq!(puts, deletes);
    assert!(puts[0].contains("/actd-") && puts[0].contains("-70000-"), "{puts:?}");
    assert_eq!(requests(&world, "MKCOL"), Vec::<String>::new());
    world.sandbox.assert_no_violations();
}

#[test]
fn a_copy_of_a_file_is_the_same_file_and_another_content_is_not() {
    let world = World::ready();
    world.user.write("one.txt", "same\n");
    world.user.write("copy.txt", "same\n");
    world.user.write("other.txt", "else\n");
    let inputs = "(inputfiles=(\"a\" \"one.txt\")(\"b\" \"copy.txt\")(\"c\" \"other.txt\"))";
    world.user.write("job.xrsl", xrsl::with("abc", "cat a b c", inputs));
    submit(&world, &["--webdav"], &["job.xrsl".to_owned()]);
    let job = world.user.wait_phase("abc", "stored");
    let out = fs::read_to_string(format!("{}/out.txt", job.results.expect("results"))).expect("out.txt");
    assert_eq!(out, "same\nsame\nelse\n");
    world.sandbox.wait_empty();
    assert_eq!(requests(&world, "PUT").len(), 2);
}

#[test]
fn no_dedupe_is_the_layout_of_act() {
    let world = World::ready();
    world.user.write("shared.txt", "own\n");
    submit(&world, &["--webdav", "--no-dedupe"], &write_jobs(&world, 0..2));
    assert_stored(&world, 0..2, "own\n");
    world.sandbox.wait_empty();
    let mut puts = requests(&world, "PUT");
    puts.sort();
    assert_eq!(puts.len(), 2, "{puts:?}");
    assert!(puts[0].ends_with("/1/in.txt") && puts[1].ends_with("/2/in.txt"), "{puts:?}");
}

#[test]
fn a_job_that_comes_while_the_file_is_being_deleted_does_not_lose_it() {
    let world = World::ready();
    world.user.write("shared.txt", "kept\n");
    // The store takes its time with the deletion, and in the end nobody hears of it.
    let late = json!({"method": "DELETE", "count": 1, "fault": {"kind": "reset", "execute": true}});
    world.sandbox.admin("POST", "/webdav/faults", Some(&late));
    let slow = json!({"method": "DELETE", "count": 1, "fault": {"kind": "delay", "ms": 1500}});
    world.sandbox.admin("POST", "/webdav/faults", Some(&slow));
    submit(&world, &["--webdav"], &write_jobs(&world, 0..1));
    assert_stored(&world, 0..1, "kept\n");
    wait_for("a deletion", LONG, || {
        let journal = world.sandbox.admin("GET", "/webdav/journal", None).to_string();
        if journal.contains("DELETE") { Ok(()) } else { Err(journal) }
    });
    submit(&world, &["--webdav"], &write_jobs(&world, 1..4));
    assert_stored(&world, 1..4, "kept\n");
    world.sandbox.wait_empty();
    let mut puts = requests(&world, "PUT");
    puts.dedup();
    assert_eq!(puts.len(), 2, "another life has another name: {puts:?}");
}

#[test]
fn who_needs_a_file_is_known_after_a_kill() {
    let world = World::ready_with(&["--slots", "4"], &[]);
    let content = "through crashes\n".repeat(1_000);
    world.user.write("shared.txt", &content);
    let files = write_jobs(&world, 0..16);
    let flags = ["--webdav", "--detach"];
    for (n, ms) in [0, 40, 90, 150].into_iter().enumerate() {
        submit(&world, &flags, &files[n * 4..n * 4 + 4]);
        // Not a wait for anything: the moment of the blow.
        thread::sleep(Duration::from_millis(ms));
        world.user.kill_daemon();
        let _ = world.user.actctl(&["daemon", "start"]).ok();
    }
    assert_stored(&world, 0..16, &content);
    for number in 0..16 {
        assert_eq!(world.sandbox.runs_of(&format!("job-{number}")), 1, "job-{number}");
    }
    // Rows without a description may be left of lost requests; no file may.
    wait_for("an empty store", LONG, || {
        let files = world.sandbox.webdav_contents();
        if files.is_empty() { Ok(()) } else { Err(format!("{files:?}")) }
    });
}

#[test]
fn a_submission_that_is_killed_takes_its_files_along() {
    let world = World::ready();
    world.user.write("shared.txt", "short-lived\n");
    // The descriptions are never taken: the jobs have their files on the store and no way on.
    world.sandbox.fault(&json!({"method": "PUT", "path": "/jobs", "fault": {"kind": "status", "status": 503}}));
    submit(&world, &["--webdav", "--detach"], &write_jobs(&world, 0..3));
    wait_for("the upload", LONG, || {
        let files = world.sandbox.webdav_contents();
        if files.len() == 1 { Ok(()) } else { Err(format!("{files:?}")) }
    });
    let _ = world.user.actctl(&["kill", "-a"]);
    world.sandbox.heal();
    wait_for("an empty store", LONG, || {
        let files = world.sandbox.webdav_contents();
        if files.is_empty() { Ok(()) } else { Err(format!("{files:?} {:?}", world.user.jobs())) }
    });
}
