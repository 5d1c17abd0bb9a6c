//! What can be wrong around a user: each gives one clear error with a hint and the right exit code, and loses nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use act_tests::{LONG, Ran, World, wait_for, xrsl};
use serde_json::json;

/// An error as people should get one.
#[track_caller]
fn clear(ran: Ran, code: i32, words: &[&str]) {
    let ran = ran.exits(code).says(words);
    let errors = ran.stderr.lines().filter(|line| line.starts_with("error:")).count();
    assert!(errors <= 1, "several errors: {ran}");
    assert!(ran.stderr.contains("hint:"), "no hint: {ran}");
    assert!(!ran.stderr.contains("panicked"), "{ran}");
}

#[test]
fn the_server_is_away() {
    let mut world = World::ready();
    world.user.write("job.xrsl", xrsl::shell("patient", "echo p"));
    let _ = world.user.actctl(&["stat"]).ok();
    world.sandbox.stop();
    clear(world.user.actctl(&["info"]), 5, &["error:", "refused"]);
    // What is known is shown, with a warning.
    let _ = world.user.actctl(&["stat"]).ok();
    // A submission is taken and waits.
    let _ = world.user.actctl(&["sub", "--detach", "job.xrsl"]).ok();
    let job = world.user.wait_job("j1", "waits for the server", |job| job.waiting.is_some());
    let reason = job.waiting.map(|waiting| waiting.reason).unwrap_or_default();
    assert!(["server", "retry"].contains(&reason.as_str()), "{reason}");
    world.sandbox.start_again();
    world.user.wait_phase("j1", "stored");
    assert_eq!(world.sandbox.runs_of("patient"), 1);
}

#[test]
fn no_server_ever() {
    let mut world = World::new();
    world.sandbox.stop();
    clear(world.user.actctl(&["proxy"]), 5, &["error:", "refused"]);
}

#[test]
fn the_proxy_is_missing() {
    let mut world = World::new();
    world.user.set_env("X509_USER_PROXY", "/nonexistent/proxy");
    clear(world.user.actctl(&["proxy"]), 3, &["/nonexistent/proxy"]);
}

#[test]
fn the_proxy_is_garbage_or_open_to_others() {
    let mut world = World::new();
    let path = world.user.root().join("bad-proxy");
    fs::write(&path, "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let bad = path.display().to_string();
    world.user.set_env("X509_USER_PROXY", &bad);
    clear(world.user.actctl(&["proxy"]), 3, &[&bad]);
}

#[test]
fn the_proxy_has_ended() {
    let world = World::with(&["--proxy-validity", "1"], &[]);
    wait_for("the end of the proxy", LONG, || {
        let ran = world.user.actctl(&["proxy"]);
        if ran.code == Some(3) && ran.stderr.contains("expired") { Ok(()) } else { Err(ran.to_string()) }
    });
    clear(world.user.actctl(&["proxy"]), 3, &["expired"]);
}

#[test]
fn there_is_neither_proxy_nor_token() {
    let mut world = World::new();
    world.user.set_env("X509_USER_PROXY", "/nonexistent/proxy");
    world.user.write("job.xrsl", xrsl::shell("early", "true"));
    clear(world.user.actctl(&["stat"]), 3, &["proxy"]);
    clear(world.user.actctl(&["sub", "job.xrsl"]), 3, &["proxy"]);
    assert!(world.sandbox.jobs().is_empty());
}

#[test]
fn the_token_is_garbage() {
    let world = World::new();
    world.user.write("job.xrsl", xrsl::shell("later", "true"));
    fs::create_dir_all(world.user.token().parent().unwrap()).unwrap();
    fs::write(world.user.token(), "garbage").unwrap();
    // With a good proxy at hand it is replaced without a word.
    let _ = world.user.actctl(&["info"]).ok();
    assert_ne!(fs::read(world.user.token()).unwrap(), b"garbage");
    let _ = world.user.actctl(&["sub", "job.xrsl"]).ok();
    world.user.wait_phase("1", "stored");
}

#[test]
fn the_server_forgets_the_proxy_while_jobs_run() {
    let world = World::ready();
    let user = &world.user;
    let go = user.root().join("go").display().to_string();
    user.write("job.xrsl", xrsl::shell("survives", &format!("until test -e {go}; do sleep 0.05; done; echo s")));
    let _ = user.actctl(&["sub", "job.xrsl"]).ok();
    user.wait_arcstate("1", "running");
    let body = json!({"path": "/*", "fault": {"kind": "status", "status": 401, "msg": "Auth token is expired"}});
    world.sandbox.fault(&body);
    wait_for("the daemon to know", LONG, || {
        let ran = user.actctl(&["proxy", "--status"]);
        if ran.code == Some(3) { Ok(()) } else { Err(ran.to_string()) }
    });
    fs::write(&go, "").unwrap();
    world.sandbox.wait_state(1, "done");
    // Nothing was lost, nothing goes on, and it says what it waits for.
    clear(user.actctl(&["info"]), 3, &["actctl proxy"]);
    world.sandbox.heal();
    let _ = user.actctl(&["proxy"]).ok();
    user.wait_phase("1", "stored");
    assert_eq!(world.sandbox.runs_of("survives"), 1);
}

#[test]
fn an_input_cannot_be_read() {
    let world = World::ready();
    let user = &world.user;
    user.write("missing.xrsl", xrsl::cat("missing", "nofile.txt"));
    user.write("good.xrsl", xrsl::shell("good", "true"));
    let sub = user.actctl(&["sub", "missing.xrsl", "good.xrsl"]);
    assert!(sub.stdout.contains("Job description missing.xrsl not submitted: "), "{sub}");
    assert!(sub.stdout.contains("nofile.txt"), "{sub}");
    assert!(sub.stdout.contains("Inserted job good with ID "), "{sub}");
    assert_eq!(sub.code, Some(1), "{sub}");
    let alone = user.actctl(&["sub", "missing.xrsl"]);
    assert_ne!(alone.code, Some(0), "{alone}");
    user.wait_phase("good", "stored");
    world.sandbox.wait_empty();
    assert_eq!(world.sandbox.journal("POST", "/jobs").len(), 1, "the bad one was never sent");
}

#[test]
fn a_description_is_wrong() {
    let world = World::ready();
    let user = &world.user;
    user.write("bad.xrsl", "&(executable=\"/bin/true\")\n (arguments=\"x\"\n");
    let sub = user.actctl(&["sub", "bad.xrsl"]).exits(4);
    assert!(format!("{}{}", sub.stdout, sub.stderr).contains("bad.xrsl"), "{sub}");
    let place = sub.stdout.split_whitespace().chain(sub.stderr.split_whitespace()).any(|word| {
        let mut parts = word.trim_end_matches(':').rsplit(':');
        parts.next().is_some_and(|n| n.parse::<u32>().is_ok()) && parts.next().is_some_and(|n| n.parse::<u32>().is_ok())
    });
    assert!(place, "no line:column: {sub}");
    assert!(world.sandbox.journal("POST", "/jobs").is_empty());
}

#[test]
fn the_config_file_is_wrong() {
    let world = World::new();
    let user = &world.user;
    user.write_config("server: http://127.0.0.1:1\nactd:\n  poll_min: [soon\n");
    let ran = user.actctl(&["stat"]).exits(2);
    assert!(ran.stderr.contains("config.yaml:") && ran.stderr.contains("error:"), "{ran}");
    user.write_config("server: http://127.0.0.1:1\nactd:\n  poll_min: soon\n");
    clear(user.actctl(&["stat"]), 2, &["config.yaml:3:"]);
    user.write_config("clusters: {}\n");
    clear(user.actctl(&["stat"]), 2, &["server"]);
}

#[test]
fn an_unknown_key_is_a_warning() {
    let world = World::with(&[], &["dowload: manual"]);
    let _ = world.user.actctl(&["proxy"]).ok();
    let config = world.user.actctl(&["config", "show"]).ok();
    assert!(config.stderr.contains("dowload") && config.stderr.contains("actd.download"), "{config}");
}

#[test]
fn a_second_daemon_is_refused() {
    let world = World::ready();
    let pid = world.user.daemon_pid().unwrap().to_string();
    let mut command = world.user.command(act_tests::bins::program("actd"));
    command.arg("--idle-exit").arg("1h");
    let ran = world.user.run(command, LONG);
    assert_ne!(ran.code, Some(0), "{ran}");
    assert!(ran.stderr.contains(&pid), "it names the other one: {ran}");
    let _ = world.user.actctl(&["stat"]).ok();
    assert_eq!(world.user.daemon_pid().unwrap().to_string(), pid);
}

#[test]
fn many_commands_at_once_start_one_daemon() {
    let world = World::new();
    let script = "pids=; for i in 1 2 3 4 5 6; do actctl --json rpc daemon.status > $i.json & pids=\"$pids $!\"; done\n\
                  for pid in $pids; do wait $pid; done";
    let _ = world.user.shell(script).ok();
    let pid =
        |i| serde_json::from_str::<serde_json::Value>(&world.user.read(format!("{i}.json"))).unwrap()["pid"].clone();
    let pids: Vec<_> = (1..=6).map(pid).collect();
    assert!(pids.iter().all(|pid| pid.is_u64() && *pid == pids[0]), "{pids:?}");
}

#[test]
fn a_cluster_is_unknown() {
    let world = World::ready();
    let user = &world.user;
    user.write("job.xrsl", xrsl::shell("lost", "true"));
    let group = user.actctl(&["sub", "--clusterlist", "nosuchgroup", "job.xrsl"]).exits(2);
    assert!(group.stderr.contains("nosuchgroup") || group.stdout.contains("nosuchgroup"), "{group}");
    let url = user.actctl(&["sub", "--clusterlist", "https://nosuch.example/q", "job.xrsl"]).exits(2);
    assert!(url.stdout.contains("Unknown cluster https://nosuch.example/q"), "{url}");
    world.sandbox.wait_empty();
}

#[test]
fn the_runtime_directory_is_open_to_others() {
    let world = World::new();
    let run = world.user.root().join("run/actd");
    fs::create_dir(&run).unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
    let _ = world.user.actctl(&["stat"]).exits(6).says(&["error:", "chmod 700"]);
}
