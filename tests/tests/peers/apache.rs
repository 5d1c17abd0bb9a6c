//! Whole submissions through a WebDAV store that we did not write: Apache's mod_dav. Its files are counted on its own disk.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use act_tests::{LONG, World, wait_for, xrsl};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/apache-dav.sh");

/// A running Apache; stopped on drop.
struct Apache {
    url: String,
    dir: PathBuf,
}

impl Apache {
    fn start(world: &World) -> Self {
        let dir = world.scratch.path().join("apache");
        // It serves as a user of its own.
        let sandbox = &world.sandbox.info().dir;
        for open in [world.scratch.path(), sandbox, &sandbox.join("pki")] {
            fs::set_permissions(open, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let mut start = Command::new(SCRIPT);
        start.arg("start").arg(&dir).arg(sandbox.join("pki")).arg(port);
        let output = start.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Self { url: String::from_utf8(output.stdout).unwrap().trim().to_owned(), dir }
    }

    /// Everything in the store but the base.
    fn contents(&self) -> Vec<PathBuf> {
        fn below(dir: &Path, all: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                all.push(entry.path());
                below(&entry.path(), all);
            }
        }
        let mut all = Vec::new();
        below(&self.dir.join("dav"), &mut all);
        all
    }

    /// Requests with this method that succeeded, by the log: method, path, status.
    fn requests(&self, method: &str) -> usize {
        let log = fs::read_dir(self.dir.join("log")).into_iter().flatten().flatten();
        let text: String = log.filter_map(|entry| fs::read_to_string(entry.path()).ok()).collect();
        let is_one = |line: &&str| line.starts_with(&format!("{method} ")) && line.contains(" 20");
        text.lines().filter(is_one).count()
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        let _ = Command::new(SCRIPT).arg("stop").arg(&self.dir).status();
    }
}

#[test]
fn equal_inputs_are_uploaded_once_and_nothing_is_left() {
    let world = World::new();
    let apache = Apache::start(&world);
    world.user.reroute(&world.sandbox.info().server, &apache.url);
    let _ = world.user.actctl(&["proxy"]).ok();
    let before = apache.contents();
    let content = "through Apache\n".repeat(5_000);
    world.user.write("shared.txt", &content);
    let mut args = vec!["sub".to_owned(), "--webdav".to_owned()];
    for n in 0..8 {
        world.user.write(&format!("own-{n}.txt"), format!("own {n}\n"));
        let inputs = format!("(inputfiles=(\"in.txt\" \"shared.txt\")(\"own.txt\" \"own-{n}.txt\"))");
        world.user.write(&format!("{n}.xrsl"), xrsl::with(&format!("job-{n}"), "cat own.txt in.txt", &inputs));
        args.push(format!("{n}.xrsl"));
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let _ = world.user.actctl(&args).ok();
    // Whatever it is doing just now.
    world.user.kill_daemon();
    let _ = world.user.actctl(&["daemon", "start"]).ok();
    for n in 0..8 {
        let job = world.user.wait_phase(&format!("job-{n}"), "stored");
        let out = fs::read_to_string(format!("{}/out.txt", job.results.expect("results"))).expect("out.txt");
        assert_eq!(out, format!("own {n}\n{content}"));
        assert_eq!(world.sandbox.runs_of(&format!("job-{n}")), 1);
    }
    wait_for("an empty store", LONG, || {
        let contents = apache.contents();
        if contents == before { Ok(()) } else { Err(format!("{contents:?}")) }
    });
    let (puts, deletes) = (apache.requests("PUT"), apache.requests("DELETE"));
    // One of the shared file, one of each job's own; a kill may have made it say one again.
    assert!((9..=12).contains(&puts), "{puts} uploads, {deletes} deletions");
}
