//! Daemons that a command does not find where it looks first, or that do not answer: found or ended all the same.

use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::thread;

use act_tests::{LONG, World, wait_for, xrsl};

#[test]
fn what_answers_nonsense_is_ended_by_a_signal() {
    let world = World::new();
    let user = &world.user;
    std::fs::create_dir_all(user.state()).unwrap();
    std::fs::DirBuilder::new().mode(0o700).create(user.root().join("run/actd")).unwrap();
    // It holds the lock, its socket takes connections, and nobody there ever says a word.
    let lock = user.state().join("actd.lock");
    let mut daemon =
        Command::new("flock").arg("-F").arg(&lock).args(["sleep", "600"]).stdin(Stdio::null()).spawn().unwrap();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let told = serde_json::json!({"host": host.trim(), "pid": daemon.id(), "socket": user.socket()});
    std::fs::write(&lock, format!("{told}\n")).unwrap();
    let listener = UnixListener::bind(user.socket()).unwrap();
    thread::spawn(move || listener.incoming().for_each(drop));

    let is_free = || Command::new("flock").arg("-n").arg(&lock).arg("true").status().unwrap().success();
    wait_for("the lock to be held", LONG, || if is_free() { Err("free".to_owned()) } else { Ok(()) });
    let _ = user.actctl(&["stat"]).exits(8).says(&["actctl daemon restart"]);
    // Nobody waits for it here, so it stays a zombie, which must not count as running.
    let _ = user.actctl(&["daemon", "stop"]).ok().says(&["has been ended"]);
    assert!(daemon.wait().unwrap().code().is_none(), "a signal");
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
