//! Watched directories where the system tells of no changes: no inotify watch or instance to be had, and a file system
//! that is changed from below. Needs root: user namespaces of its own, and mounts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use act_proto::daemon::NoParams;
use act_proto::dirs::Dir;
use act_proto::events::{Event, ListParams};
use act_proto::method::{DirsList, EventsList};
use act_tests::{LONG, User, World, wait_for, xrsl};

fn inbox(world: &World) -> PathBuf {
    let dir = world.user.work().join("in");
    fs::create_dir(&dir).expect("a directory can be made");
    dir
}

fn one(user: &User) -> Dir {
    user.call::<DirsList>(&NoParams {}).expect("dirs.list answers").items.pop().expect("a directory is watched")
}

/// What was told of watched directories.
fn told(user: &User) -> Vec<Event> {
    let params = ListParams { since: Some(0), types: vec!["dir".into()], ..ListParams::default() };
    user.call::<EventsList>(&params).expect("events.list answers").items
}

#[track_caller]
fn wait_taken(dir: &Path, name: &str, bound: Duration) {
    let accepted = dir.join("accepted").join(name);
    wait_for(&format!("{}", accepted.display()), bound, || if accepted.exists() { Ok(()) } else { Err("no".into()) });
}

/// The daemon in a user namespace of its own, where the limit of this name is nought, finds files by looking.
fn without(limit: &str, reason: &str) {
    let world = World::new();
    let (user, dir) = (&world.user, inbox(&world));
    let script = format!("echo 0 > /proc/sys/user/{limit} && exec actctl daemon start");
    let mut start = user.command("unshare");
    start.args(["--user", "--map-root-user", "bash", "-c", &script]);
    let _ = user.run(start, LONG).ok();
    let _ = user.actctl(&["dir", "add", &dir.display().to_string()]).ok();
    fs::write(dir.join("a.xrsl"), xrsl::shell("unheard", "true")).expect("write");
    wait_taken(&dir, "a.xrsl", LONG);
    let now = one(user);
    assert_eq!(now.state, "polling", "{now:?}");
    assert!(now.reason.as_deref().is_some_and(|r| r.contains(reason)), "{now:?}");
    // What has been said of it can be followed.
    let text = |e: &Event| e.text.strip_prefix(&format!("{}: ", dir.display())).unwrap_or(&e.text).to_owned();
    let texts = wait_for("the events", LONG, || {
        let texts: Vec<String> = told(user).iter().map(text).collect();
        if texts.iter().any(|t| t.starts_with("a.xrsl accepted: j1")) { Ok(texts) } else { Err(format!("{texts:?}")) }
    });
    assert!(texts.iter().any(|t| t.starts_with("polling: ") && t.contains(reason)), "{texts:?}");
}

#[test]
fn no_inotify_watch_is_left() {
    without("max_inotify_watches", "fs.inotify.max_user_watches");
}

#[test]
fn no_inotify_instance_is_left() {
    without("max_inotify_instances", "fs.inotify.max_user_instances");
}

/// Unmounts when the test ends, however it does.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy"]).arg(&self.0).status();
    }
}

/// Events come of what is done through the mount, the probe's too, and none of what is done below it: only the slow look at
/// everything finds that.
#[test]
fn a_file_that_appears_from_below_is_found_by_the_slow_look() {
    let world = World::new();
    let (user, dir) = (&world.user, inbox(&world));
    let below = world.scratch.path().join("below");
    for part in ["lower", "upper", "work"] {
        fs::create_dir_all(below.join(part)).expect("mkdir");
    }
    let part = |name: &str| below.join(name).display().to_string();
    let options = format!("lowerdir={},upperdir={},workdir={}", part("lower"), part("upper"), part("work"));
    let mounted = Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(&dir).status();
    assert!(mounted.is_ok_and(|s| s.success()), "no overlay can be mounted on {}", dir.display());
    let _mounted = Mounted(dir.clone());
    let _ = user.actctl(&["dir", "add", &dir.display().to_string()]).ok();
    wait_for("the watch", LONG, || {
        let now = one(user);
        if now.state == "watching" { Ok(()) } else { Err(format!("{now:?}")) }
    });
    fs::write(below.join("upper/a.xrsl"), xrsl::shell("below", "true")).expect("write");
    wait_taken(&dir, "a.xrsl", LONG + Duration::from_secs(60));
    let _ = user.actctl(&["daemon", "stop"]).ok();
}
