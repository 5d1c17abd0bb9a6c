//! A world in which the daemon is made to die at a given step, over and over, and what must be true afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use act_proto::jobs::{Filter, Job, ListParams};
use act_proto::method::JobsList;
use act_tests::{LONG, Ran, World, wait_for};

/// What a user does while the daemon dies, and what must have come of it.
pub(super) trait Scenario {
    /// Names of fail points start so which this scenario is about; in a short run no others are crashed at.
    const ABOUT: &'static [&'static str];

    /// Settings of `actd:`.
    fn settings(_world: &Path) -> Vec<String> {
        Vec::new()
    }

    /// With an ordinary daemon: what must be there before.
    fn prepare(_trial: &Trial<'_>) {}

    /// What the user does.
    fn act(trial: &Trial<'_>);

    /// After the daemon has been started again: waits for the end, and asserts. That the server and the WebDAV store are
    /// empty is asserted after it.
    fn check(trial: &Trial<'_>);
}

/// One round in a world that sees many.
pub(super) struct Trial<'a> {
    pub(super) world: &'a World,
    number: usize,
}

impl Trial<'_> {
    /// A name that no other round uses.
    pub(super) fn name(&self, of: &str) -> String {
        format!("{of}-{}", self.number)
    }

    /// Starts the daemon if it is not there.
    pub(super) fn revive(&self) {
        if self.world.user.daemon_pid().is_none() {
            let _ = self.world.user.actctl(&["daemon", "start"]).ok();
        }
    }

    /// A job, closed or not; none: there is none, or there was no daemon to ask.
    pub(super) fn job(&self, name: &str) -> Option<Job> {
        self.revive();
        let filter = Filter { select: vec![name.to_owned()], ..Filter::default() };
        let params = ListParams { filter, closed: true, ..ListParams::default() };
        self.world.user.try_call::<JobsList>(&params).ok()?.ok()?.items.pop()
    }

    /// Waits until a job fits, with a daemon that may die and is started again.
    #[track_caller]
    pub(super) fn wait(&self, name: &str, what: &str, fits: impl Fn(&Job) -> bool) -> Job {
        wait_for(&format!("{name}: {what}"), LONG * 2, || match self.job(name) {
            Some(job) if fits(&job) => Ok(job),
            other => Err(format!("{other:?}")),
        })
    }

    #[track_caller]
    pub(super) fn wait_phase(&self, name: &str, phase: &str) -> Job {
        self.wait(name, phase, |job| act_tests::user::word(&job.phase) == phase)
    }

    /// Runs `actctl`; the daemon may die meanwhile.
    pub(super) fn actctl(&self, args: &[&str]) -> Ran {
        self.world.user.actctl(args)
    }

    /// Runs a verb that is not repeated by itself. If the daemon dies under it, it says so, and what to do.
    #[track_caller]
    pub(super) fn ask(&self, args: &[&str]) {
        let ran = self.actctl(args);
        match ran.code {
            Some(0) => {}
            Some(8) => {
                assert!(ran.stderr.contains("hint: "), "{ran}");
                let is_lost = ran.stderr.contains("connection to the daemon was lost");
                assert!(!is_lost || ran.stderr.contains("what it had taken down is done"), "{ran}");
            }
            _ => panic!("{ran}"),
        }
    }

    /// Cleans a job, however often the daemon dies meanwhile.
    #[track_caller]
    pub(super) fn clean(&self, name: &str) {
        wait_for(&format!("{name} to be cleaned"), LONG, || {
            self.revive();
            let ran = self.actctl(&["clean", name]);
            match self.job(name) {
                Some(job) if job.outcome.is_some() => Ok(()),
                other => Err(format!("{other:?}\n{ran}")),
            }
        });
    }

    /// Waits until the server was listed twice more: whatever is still wished for has begun by then.
    #[track_caller]
    pub(super) fn two_lists(&self) {
        let lists = || self.world.sandbox.journal("GET", "/jobs").len();
        let seen = lists();
        wait_for("two more lists", LONG, || {
            self.revive();
            if lists() >= seen + 2 { Ok(()) } else { Err(lists().to_string()) }
        });
    }

    /// How often it was executed.
    pub(super) fn ran_so_far(&self, name: &str) -> u32 {
        self.world.sandbox.runs_of(name)
    }

    /// Asserts that it was executed so often.
    #[track_caller]
    pub(super) fn ran(&self, name: &str, times: u32) {
        assert_eq!(self.ran_so_far(name), times, "runs of {name}");
    }
}

/// Asserts that a directory holds exactly what its manifest says, with the right contents, and `out.txt` with this text.
#[track_caller]
pub(super) fn verify(dir: &Path, out: &str) {
    let text = fs::read_to_string(dir.join(".actd-manifest.json")).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let manifest: serde_json::Value = serde_json::from_str(&text).expect("the manifest is JSON");
    assert_eq!(manifest["complete"], true, "{text}");
    for file in manifest["files"].as_array().expect("it names files") {
        let path = dir.join(file["path"].as_str().expect("a path"));
        let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let digest = openssl::sha::sha256(&bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(file["sha256"], digest, "{}", path.display());
    }
    assert_eq!(fs::read_to_string(dir.join("out.txt")).expect("out.txt"), out, "{}", dir.display());
}

/// Names in a directory but for those that start with a dot.
pub(super) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

/// The daemon's own temporary directories in a directory of results.
fn unfinished(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".actd-") && name != ".actd-manifest.json").collect()
}

struct Bench {
    world: World,
    log: PathBuf,
    rounds: usize,
}

impl Bench {
    /// One round. Returns the fail points that were passed while the user acted, and how often.
    fn round<S: Scenario>(&mut self, failpoint: &str) -> BTreeMap<String, u64> {
        self.rounds += 1;
        let trial = Trial { world: &self.world, number: self.rounds };
        S::prepare(&trial);
        let user = &self.world.user;
        if user.daemon_pid().is_some() {
            user.kill_daemon();
        }
        // The last daemon may have left nothing there.
        let _ = fs::remove_file(&self.log);
        let mut start = user.command(act_tests::bins::program("actctl"));
        start.args(["daemon", "start"]).env("ACTD_FAILPOINTS", failpoint).env("ACTD_FAILPOINTS_LOG", &self.log);
        // It may die while it starts.
        let _ = user.run(start, LONG);
        let first = user.daemon_pid();
        S::act(&trial);
        S::check(&trial);
        self.world.sandbox.wait_empty();
        self.world.sandbox.assert_no_violations();
        for dir in [user.results(), user.work()] {
            assert_eq!(unfinished(&dir), [] as [String; 0], "{}", dir.display());
        }
        let died = first.is_none() || user.daemon_pid() != first;
        assert!(died || failpoint.is_empty() || !failpoint.ends_with("@1"), "{failpoint} was not reached");
        println!("{failpoint}: {}", if died { "died" } else { "lived" });
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().fold(BTreeMap::new(), |mut all, name| {
            *all.entry(name.to_owned()).or_default() += 1;
            all
        })
    }
}

/// Learns which fail points the scenario passes, then has the daemon die at them, one after the other.
///
/// In a short run these are the first passages of the points that it is about, and some commits; with `ACT_TESTS_FULL`
/// in the environment every passage of every point.
pub(super) fn every_point<S: Scenario>() {
    let world = World::new();
    let mut settings = S::settings(world.scratch.path());
    // Unused rows are to go while we look.
    settings.push("orphans: 1s".to_owned());
    world.user.configure(&settings.iter().map(String::as_str).collect::<Vec<_>>());
    let _ = world.user.actctl(&["proxy"]).ok();
    let log = world.scratch.path().join("failpoints.log");
    let mut bench = Bench { world, log, rounds: 0 };
    let passed = bench.round::<S>("");
    println!("{passed:?}");
    let is_full = std::env::var_os("ACT_TESTS_FULL").is_some();
    let mut reached = 0;
    for (name, times) in &passed {
        let about = S::ABOUT.iter().any(|start| name.starts_with(start));
        // How often they are passed differs from round to round; beyond the usual number nothing would be reached.
        let times = (*times).min(if name.ends_with(".chunk") { 2 } else { 40 });
        let which: Vec<u64> = if is_full {
            (1..=times).collect()
        } else if about {
            vec![1]
        } else if name == "commit.after" {
            // A commit is the moment from which on a step counts: some of them, spread over the whole.
            (1..=times).step_by(usize::try_from(times / 4).unwrap_or(1).max(1)).skip(1).collect()
        } else {
            Vec::new()
        };
        for at in which {
            bench.round::<S>(&format!("{name}=crash@{at}"));
            reached += 1;
        }
    }
    assert!(reached > 0, "nothing of {:?} in {passed:?}", S::ABOUT);
}
