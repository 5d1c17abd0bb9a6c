//! `actctl top` on a terminal that util-linux's `script` makes: what it shows, what its keys do, how it leaves the terminal.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::{Child, ChildStdin, Stdio};

use act_tests::{LONG, World, bins, wait_for, xrsl};

/// Says goodbye to the terminal's other screen.
const BACK: &str = "\u{1b}[?1049l";

struct Top<'a> {
    world: &'a World,
    child: Child,
    keys: ChildStdin,
}

impl<'a> Top<'a> {
    fn start(world: &'a World) -> Self {
        let top = format!("stty rows 30 cols 120; exec {} top", bins::program("actctl").display());
        let out = File::create(world.scratch.path().join("screen")).expect("a file");
        let mut command = world.user.command("script");
        command.args(["--quiet", "--flush", "--return", "--command", &top, "/dev/null"]).env("TERM", "xterm-256color");
        let mut child = command.stdin(Stdio::piped()).stdout(out).spawn().expect("script");
        let keys = child.stdin.take().expect("stdin");
        Self { world, child, keys }
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.world.scratch.path().join("screen")).expect("the screen")).into_owned()
    }

    /// One word: what lies between words is drawn by moving the cursor.
    fn shows(&self, text: &str) {
        wait_for(&format!("{text:?} on the screen"), LONG, || {
            let screen = self.screen();
            if screen.contains(text) { Ok(()) } else { Err(screen) }
        });
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("keys");
    }

    /// Its exit code.
    fn end(mut self) -> Option<i32> {
        let code = wait_for("its end", LONG, || match self.child.try_wait().expect("a child") {
            Some(status) => Ok(status.code()),
            None => Err(self.screen()),
        });
        self.shows(BACK);
        code
    }
}

#[test]
fn jobs_on_the_whole_screen_and_a_kill_by_two_keys() {
    let world = World::ready();
    let mut top = Top::start(&world);
    top.shows("STATE");
    world.user.write("a.xrsl", xrsl::endless("first-of-all"));
    let _ = world.user.actctl(&["sub", "a.xrsl"]).ok();
    top.shows("first-of-all");
    top.shows("running");
    top.press("K");
    top.shows("[y/N]");
    top.press("y");
    wait_for("an empty server", LONG, || {
        let jobs = world.sandbox.jobs();
        if jobs.iter().all(|j| !matches!(j.arcstate.as_deref(), Some("running"))) {
            Ok(())
        } else {
            Err(format!("{jobs:?}"))
        }
    });
    top.press("q");
    assert_eq!(top.end(), Some(0));
}

#[test]
fn it_starts_no_daemon_that_somebody_has_stopped() {
    let mut world = World::ready();
    world.user.set_env("ACTCTL_DAEMON_WAIT", "0");
    world.user.write("a.xrsl", xrsl::endless("here"));
    let _ = world.user.actctl(&["sub", "a.xrsl"]).ok();
    let mut top = Top::start(&world);
    top.shows("running");
    let _ = world.user.actctl(&["daemon", "stop"]).ok();
    // Its timeline is asked of the daemon.
    top.press("\r");
    top.shows("has started");
    assert_eq!(world.user.daemon_pid(), None);
    top.press("q");
    top.press("q");
    assert_eq!(top.end(), Some(0));
}

#[test]
fn the_terminal_is_given_back_when_it_is_told_to_end() {
    let world = World::ready();
    let top = Top::start(&world);
    top.shows("STATE");
    let pids = fs::read_to_string(format!("/proc/{0}/task/{0}/children", top.child.id())).expect("children");
    let pid = pids.split_whitespace().next().and_then(|p| p.parse().ok()).and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("top's process"), rustix::process::Signal::TERM).expect("a signal");
    assert_eq!(top.end(), Some(0));
    // No terminal, no screen.
    let ran = world.user.actctl(&["top"]).exits(2);
    assert!(ran.stderr.contains("needs a terminal"), "{ran}");
}
