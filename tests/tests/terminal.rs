//! A command at a terminal: what it asks, and that an answer means what was shown.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use act_tests::{LONG, World, bins, wait_for, xrsl};

/// A program whose streams are a terminal, and a person's side of it.
struct Terminal {
    child: Child,
    keys: File,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    fn run(mut command: Command) -> Self {
        let (mut person, mut program) = (0, 0);
        // SAFETY: both are places for a descriptor; name, settings and size may be null.
        let made = unsafe {
            libc::openpty(&raw mut person, &raw mut program, std::ptr::null_mut(), std::ptr::null(), std::ptr::null())
        };
        assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: both are open and nobody else's.
        let (person, program) = unsafe { (File::from_raw_fd(person), OwnedFd::from_raw_fd(program)) };
        let end = || Stdio::from(program.try_clone().unwrap());
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let (mut reader, shown) = (person.try_clone().unwrap(), screen.clone());
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // It ends with an error when nobody has the other end open any more.
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        });
        Self { child, keys: person, screen }
    }

    fn shows(&self, text: &str) {
        wait_for(&format!("`{text}` on the screen"), LONG, || {
            let screen = self.screen.lock().unwrap();
            if screen.contains(text) { Ok(()) } else { Err(screen.clone()) }
        });
    }

    fn end(&mut self) -> Option<i32> {
        wait_for("the end of the command", LONG, || {
            let ended = self.child.try_wait().map_err(|e| e.to_string())?;
            ended.map(|status| status.code()).ok_or_else(|| self.screen.lock().unwrap().clone())
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail once it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn actctl(world: &World, args: &[&str]) -> Command {
    let mut command = world.user.command(bins::program("actctl"));
    command.args(args);
    command
}

#[test]
fn a_yes_means_what_was_shown_and_not_what_came_after() {
    let world = World::ready();
    let user = &world.user;
    let mut nothing = Terminal::run(actctl(&world, &["kill"]));
    nothing.shows("Will kill 0 jobs");
    assert_eq!(nothing.end(), Some(0));

    user.write("old.xrsl", xrsl::endless("old"));
    user.write("new.xrsl", xrsl::endless("new"));
    let _ = user.actctl(&["sub", "old.xrsl"]).ok();
    user.wait_arcstate("old", "running");
    let mut kill = Terminal::run(actctl(&world, &["kill"]));
    kill.shows("Kill 1 jobs? [y/N]");
    let _ = user.actctl(&["sub", "new.xrsl"]).ok();
    user.wait_arcstate("new", "running");
    kill.keys.write_all(b"y\n").unwrap();
    kill.shows("Will kill 1 jobs");
    assert_eq!(kill.end(), Some(0));
    world.sandbox.wait_state(1, "cancelled");
    assert_eq!(user.job("new").and_then(|job| job.arcstate).as_deref(), Some("running"));

    let mut no = Terminal::run(actctl(&world, &["kill"]));
    no.shows("Kill 1 jobs? [y/N]");
    no.keys.write_all(b"n\n").unwrap();
    no.shows("Nothing done.");
    assert_eq!(no.end(), Some(0));
    assert_eq!(user.job("new").and_then(|job| job.arcstate).as_deref(), Some("running"));
}

#[test]
fn colours_are_for_terminals_whose_owner_wants_them() {
    let world = World::ready();
    let screen = |no_color: &str| {
        let mut command = actctl(&world, &["--no-progress", "stat", "-i", "abc"]);
        command.env("TERM", "xterm").env("NO_COLOR", no_color);
        let mut ran = Terminal::run(command);
        ran.shows("Invalid ID: abc");
        assert_eq!(ran.end(), Some(2));
        ran.screen.lock().unwrap().clone()
    };
    assert!(screen("").contains('\x1b'), "an empty NO_COLOR is none");
    assert!(!screen("1").contains('\x1b'));
}
