//! Commands that follow their daemon: they go on when it is restarted or dies, and end when somebody has stopped it.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::{Child, Stdio};

use act_tests::{Editor, LONG, User, World, bins, wait_for, xrsl};
use serde_json::json;

/// An `actctl` that runs until something happens.
struct Follower {
    child: Child,
    out: String,
    err: String,
}

impl Follower {
    fn start(user: &User, args: &[&str]) -> Self {
        let name = args.join("-");
        let (out, err) = (format!("{name}.out"), format!("{name}.err"));
        let file = |name: &str| File::create(user.work().join(name)).expect("a file");
        let mut command = user.command(bins::program("actctl"));
        command.arg("-v").args(args).stdin(Stdio::piped()).stdout(file(&out)).stderr(file(&err));
        Self { child: command.spawn().expect("actctl runs"), out, err }
    }

    /// All that wait for something until it happens.
    fn all(user: &User) -> Vec<Self> {
        let verbs: [&[&str]; 4] = [&["wait", "long"], &["events"], &["stat", "--watch"], &["tail", "-f", "long"]];
        let all: Vec<Self> = verbs.iter().map(|args| Self::start(user, args)).collect();
        all.iter().for_each(|follower| follower.connected(user, 1));
        all
    }

    /// Waits until it has been connected to so many daemons.
    fn connected(&self, user: &User, times: usize) {
        wait_for(&format!("{times} connections of {}", self.err), LONG, || {
            let err = user.read(&self.err);
            if err.matches("connected to ").count() >= times { Ok(()) } else { Err(err) }
        });
    }

    fn shows(&self, user: &User, text: &str) {
        wait_for(&format!("`{text}` in {}", self.out), LONG, || {
            let out = user.read(&self.out);
            if out.contains(text) { Ok(()) } else { Err(format!("{out}\n{}", user.read(&self.err))) }
        });
    }

    fn end(&mut self, user: &User) -> Option<i32> {
        wait_for(&format!("the end of {}", self.err), LONG, || match self.child.try_wait() {
            Ok(Some(end)) => Ok(end.code()),
            other => Err(format!("{other:?}: {}", user.read(&self.err))),
        })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Both fail once it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How often a daemon was started.
fn starts(user: &User) -> usize {
    fs::read_to_string(user.state().join("actd.log")).expect("a log").matches(" starts").count()
}

/// A world with a job that runs until it is killed.
fn running() -> World {
    let world = World::ready();
    world.user.write("long.xrsl", xrsl::endless("long"));
    let _ = world.user.actctl(&["sub", "long.xrsl"]).ok();
    world.user.wait_arcstate("long", "running");
    world
}

#[test]
fn they_go_on_when_the_daemon_is_restarted_and_when_it_dies() {
    let world = running();
    let user = &world.user;
    let mut all = Follower::all(user);
    let _ = user.actctl(&["daemon", "restart"]).ok();
    all.iter().for_each(|follower| follower.connected(user, 2));
    // One of them starts it.
    user.kill_daemon();
    all.iter().for_each(|follower| follower.connected(user, 3));
    assert_eq!(starts(user), 3);
    let _ = user.actctl(&["kill", "long"]).ok();
    all[1].shows(user, "cancelled");
    all[2].shows(user, "cancelled");
    assert_eq!(all[0].end(user), Some(1), "a job that was killed");
    assert!(user.read(&all[3].out).starts_with("begun\n"), "{}", user.read(&all[3].err));
}

#[test]
fn they_end_when_the_daemon_was_stopped_and_do_not_start_another() {
    let mut world = running();
    world.user.set_env("ACTCTL_DAEMON_WAIT", "1");
    let user = &world.user;
    let mut all = Follower::all(user);
    // It has said nothing yet: for its first word it looks for the daemon again.
    let mut bridge = Follower::start(user, &["rpc", "--stdio"]);
    bridge.connected(user, 1);
    let mut editor = Editor::lsp(user, &json!({}));
    let before = starts(user);
    let _ = user.actctl(&["daemon", "stop"]).ok();
    for follower in &mut all {
        assert_eq!(follower.end(user), Some(8), "{}", user.read(&follower.err));
        let err = user.read(&follower.err);
        assert!(err.contains("error: the daemon was stopped") && err.contains("`actctl daemon start`"), "{err}");
    }
    bridge.child.stdin.take().expect("stdin").write_all(b"{}\n").expect("it listens");
    assert_eq!(bridge.end(user), Some(8), "{}", user.read(&bridge.err));
    assert_eq!((starts(user), user.daemon_pid()), (before, None), "who stops it means that");
    // A new command is another matter.
    let _ = user.actctl(&["stat"]).ok();
    assert_eq!(starts(user), before + 1);
    editor.ask("shutdown", &json!(null));
}
