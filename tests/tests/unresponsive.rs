//! Daemons that a command does not find where it looks first, or that do not answer: found or ended all the same.

use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread;

use act_proto::instance::{Instance, Selection, sessionless_runtime_dir};
use act_proto::start::read_lock;
use act_tests::{LONG, User, World, wait_for, xrsl};

/// A process that holds the lock, and whose socket takes connections at which nobody ever says a word.
fn mute(user: &User, script: &str) -> Child {
    std::fs::create_dir_all(user.state()).unwrap();
    std::fs::DirBuilder::new().mode(0o700).create(user.root().join("run/actd")).unwrap();
    let lock = user.state().join("actd.lock");
    let mut command = Command::new("flock");
    let daemon = command.arg("-F").arg(&lock).args(["sh", "-c", script]).stdin(Stdio::null()).spawn().unwrap();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let told = serde_json::json!({"host": host.trim(), "pid": daemon.id(), "socket": user.socket()});
    std::fs::write(&lock, format!("{told}\n")).unwrap();
    let listener = UnixListener::bind(user.socket()).unwrap();
    thread::spawn(move || listener.incoming().for_each(drop));
    wait_for("the script to sleep", LONG, || {
        let command = std::fs::read_to_string(format!("/proc/{}/comm", daemon.id())).unwrap();
        if command == "sleep\n" { Ok(()) } else { Err(command) }
    });
    daemon
}

#[test]
fn what_answers_nonsense_is_ended_by_a_signal() {
    let world = World::new();
    let user = &world.user;
    let mut daemon = mute(user, "exec sleep 600");
    let _ = user.actctl(&["stat"]).exits(8).says(&["actctl daemon restart"]);
    let list = user.actctl(&["daemon", "list", "--json"]).ok().json();
    let item = &list["items"][0];
    assert_eq!((&item["running"], item["pid"].as_u64()), (&true.into(), Some(daemon.id().into())), "{list}");
    assert!(item["error"].is_string(), "{list}");
    // Nobody waits for it here, so it stays a zombie, which must not count as running.
    let _ = user.actctl(&["daemon", "stop"]).ok().says(&["has been ended"]);
    assert_eq!(daemon.wait().unwrap().signal(), Some(libc::SIGTERM));
}

#[test]
fn what_does_not_even_end_by_a_signal_is_killed_and_counts_as_stopped() {
    let world = World::new();
    let user = &world.user;
    let mut daemon = mute(user, "trap '' TERM; exec sleep 600");
    let _ = user.actctl(&["daemon", "stop", "--timeout", "1s"]).ok().says(&["has been ended"]);
    assert_eq!(daemon.wait().unwrap().signal(), Some(libc::SIGKILL));
    // It could not note itself that somebody wanted that.
    assert!(read_lock(&user.state()).unwrap().is_some_and(|lock| lock.stopped));
}

#[test]
fn a_daemon_that_takes_too_long_to_end_is_ended_by_a_signal_and_loses_nothing() {
    let world = World::ready();
    let user = &world.user;
    user.write("in.txt", "x");
    user.write("job.xrsl", xrsl::cat("slow", "in.txt"));
    // What is under way is waited for.
    world.sandbox.fault(&serde_json::json!({"method": "PUT", "path": "/jobs/*/data/*", "fault": {"kind": "stall"}}));
    let _ = user.actctl(&["sub", "--detach", "job.xrsl"]).ok();
    user.wait_phase("j1", "uploading");
    let _ = user.actctl(&["daemon", "stop", "--timeout", "1s"]).ok().says(&["not ended within 1 s", "has been ended"]);
    world.sandbox.heal();
    let _ = user.actctl(&["daemon", "start"]).ok();
    user.wait_phase("j1", "stored");
    assert_eq!(world.sandbox.runs_of("slow"), 1);
}

#[test]
fn a_daemon_with_a_state_directory_of_its_own_is_found_from_another_session() {
    let world = World::new();
    let user = &world.user;
    let state = user.root().join("own-state");
    user.configure(&[&format!("state: {}", state.display())]);
    let _ = user.actctl(&["proxy"]).ok();
    // As from a crontab: there is no such runtime directory.
    let elsewhere = user.root().join("elsewhere");
    std::fs::DirBuilder::new().mode(0o700).create(&elsewhere).unwrap();
    let run = |args: &[&str]| {
        let mut command = user.command(act_tests::bins::program("actctl"));
        command.args(args).env("XDG_RUNTIME_DIR", &elsewhere);
        user.run(command, LONG)
    };
    user.write("job.xrsl", xrsl::shell("cron", "true"));
    let _ = run(&["sub", "--detach", "job.xrsl"]).ok();
    let list = run(&["daemon", "list", "--json"]).ok().json();
    assert_eq!(list["items"][0]["running"], true, "{list}");
    let _ = run(&["daemon", "stop"]).ok().says(&["has stopped"]);
    assert!(!user.root().join("state/actd").exists(), "nothing is kept in the usual place");
}

#[test]
fn a_daemon_that_outlives_its_session_is_found_by_cron() {
    let world = World::new();
    let user = &world.user;
    // The socket of another instance has a name of its own in the directory that all sessions of a user share.
    let conf = user.root().join("other.yaml");
    std::fs::copy(user.config(), &conf).unwrap();
    let selection = Selection { conf: Some(conf.clone()), ..Selection::default() };
    let name = Instance::resolve(&selection).unwrap().name;
    let lock = || read_lock(&user.root().join("state/actd").join(&name)).unwrap().unwrap();
    let run = |has_session: bool, args: &[&str]| {
        let mut command = user.command(act_tests::bins::program("actctl"));
        command.arg("--conf").arg(&conf).args(args);
        if !has_session {
            command.env_remove("XDG_RUNTIME_DIR");
        }
        user.run(command, LONG)
    };
    let _ = run(true, &["daemon", "start"]).ok();
    let first = lock();
    assert!(first.socket.starts_with(user.root()), "{first:?}");
    std::fs::remove_dir_all(user.root().join("run")).unwrap();
    let _ = run(false, &["stat"]).ok();
    let expected = sessionless_runtime_dir().join(format!("{name}.sock"));
    wait_for("the lock file's word on where it listens", LONG, || {
        let lock = lock();
        if lock.socket == expected { Ok(()) } else { Err(format!("{lock:?}")) }
    });
    assert_eq!(lock().pid, first.pid, "it is the same daemon");
    let _ = run(false, &["daemon", "stop"]).ok();
    assert!(!expected.exists());
    // What the command waited for another at.
    let _ = std::fs::remove_file(expected.with_extension("start"));
}
