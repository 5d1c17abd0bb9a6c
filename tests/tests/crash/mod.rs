//! The real daemon dies at each step of what it does, before and after, and is started again: each description has run
//! exactly as often as it was to, every result is complete, nothing is left on the server or on WebDAV. Needs a daemon
//! that is built with the feature `failpoints`.

mod bench;
mod large_upload;

use std::fs;
use std::path::Path;

use act_tests::{LONG, wait_for, xrsl};

use bench::{Scenario, Trial, every_point, names, verify};

/// Jobs of a batch.
const BATCH: usize = 2;

fn input(name: &str) -> String {
    format!("input of {name}\n").repeat(2_000)
}

/// Submits a batch of jobs with inputs; the user's command must not fail.
fn submit(trial: &Trial<'_>, more: &[&str]) {
    let user = &trial.world.user;
    let mut args = vec!["sub".to_owned()];
    for n in 0..BATCH {
        let name = trial.name(&format!("job{n}"));
        // Equal inputs: on WebDAV they are one file.
        user.write(&format!("{name}.txt"), input(&trial.name("batch")));
        user.write(&format!("{name}.xrsl"), xrsl::cat(&name, &format!("{name}.txt")));
        args.push(format!("{name}.xrsl"));
    }
    args.extend(more.iter().map(ToString::to_string));
    let sub = trial.actctl(&args.iter().map(String::as_str).collect::<Vec<_>>()).ok();
    let inserted = sub.stdout.lines().filter(|line| line.starts_with("Inserted job ")).count();
    assert_eq!(inserted, BATCH, "{sub}");
}

fn check_submitted(trial: &Trial<'_>) {
    for n in 0..BATCH {
        let name = trial.name(&format!("job{n}"));
        let job = trial.wait_phase(&name, "stored");
        trial.ran(&name, 1);
        verify(Path::new(&job.results.expect("results")), &input(&trial.name("batch")));
    }
}

struct Submission;

impl Scenario for Submission {
    const ABOUT: &'static [&'static str] =
        &["commit.", "create.", "upload.", "confirm.", "list.", "retrieve.", "clean.", "turn."];

    fn act(trial: &Trial<'_>) {
        submit(trial, &[]);
    }

    fn check(trial: &Trial<'_>) {
        check_submitted(trial);
    }
}

#[test]
fn a_submission_and_its_results() {
    every_point::<Submission>();
}

struct Staging;

impl Scenario for Staging {
    const ABOUT: &'static [&'static str] = &["webdav.", "shared.", "create.after", "confirm."];

    fn act(trial: &Trial<'_>) {
        submit(trial, &["--webdav"]);
    }

    fn check(trial: &Trial<'_>) {
        check_submitted(trial);
    }
}

/// A job begins to need a file while the last one that did comes to its end.
struct Sharing;

impl Scenario for Sharing {
    const ABOUT: &'static [&'static str] = &["webdav.", "shared."];

    fn act(trial: &Trial<'_>) {
        submit(trial, &["--webdav"]);
        let (name, file) = (trial.name("later"), format!("{}.txt", trial.name("later")));
        trial.world.user.write(&file, input(&trial.name("batch")));
        trial.world.user.write(&format!("{name}.xrsl"), xrsl::cat(&name, &file));
        let _ = trial.actctl(&["sub", "--webdav", &format!("{name}.xrsl")]).ok();
    }

    fn check(trial: &Trial<'_>) {
        check_submitted(trial);
        let job = trial.wait_phase(&trial.name("later"), "stored");
        trial.ran(&trial.name("later"), 1);
        verify(Path::new(&job.results.expect("results")), &input(&trial.name("batch")));
    }
}

#[test]
fn jobs_that_share_inputs_one_after_the_other() {
    every_point::<Sharing>();
}

#[test]
fn a_submission_through_webdav() {
    every_point::<Staging>();
}

/// Submits one job, and waits for it.
fn one(trial: &Trial<'_>, text: &str, name: &str, phase: &str) {
    trial.world.user.write(&format!("{name}.xrsl"), text);
    let _ = trial.actctl(&["sub", &format!("{name}.xrsl")]).ok();
    trial.wait_phase(name, phase);
}

/// `get` of a job: until it succeeds, as a user would.
fn get_until_there(trial: &Trial<'_>, name: &str) {
    let closed = |trial: &Trial<'_>| trial.job(name).is_some_and(|job| job.outcome.as_deref() == Some("collected"));
    wait_for(&format!("{name} to be delivered"), LONG, || {
        if closed(trial) {
            return Ok(());
        }
        let ran = trial.actctl(&["get", name]);
        if closed(trial) { Ok(()) } else { Err(ran.to_string()) }
    });
    let job = trial.wait_phase(name, "closed");
    verify(Path::new(&job.results.expect("results")), "x\n");
    let hash = job.job_id.as_deref().and_then(|url| url.rsplit('/').next()).expect("a URL").to_owned();
    assert!(trial.world.user.work().join(&hash).is_dir(), "not in the working directory");
    assert_eq!(names(&trial.world.user.work()).iter().filter(|n| n.starts_with(&hash)).count(), 1, "delivered twice");
    assert!(!trial.world.user.results().join(&hash).exists(), "left in the store");
    trial.ran(name, 1);
}

struct Delivery;

impl Scenario for Delivery {
    const ABOUT: &'static [&'static str] = &["deliver."];

    fn prepare(trial: &Trial<'_>) {
        let name = trial.name("get");
        one(trial, &xrsl::shell(&name, "echo x"), &name, "stored");
    }

    fn act(trial: &Trial<'_>) {
        let _ = trial.actctl(&["get", &trial.name("get")]);
    }

    fn check(trial: &Trial<'_>) {
        get_until_there(trial, &trial.name("get"));
    }
}

#[test]
fn a_delivery_from_the_store() {
    every_point::<Delivery>();
}

struct DirectGet;

impl Scenario for DirectGet {
    const ABOUT: &'static [&'static str] = &["retrieve.published", "retrieve.renamed", "clean."];

    fn settings(_: &Path) -> Vec<String> {
        vec!["download: manual".to_owned()]
    }

    fn prepare(trial: &Trial<'_>) {
        let name = trial.name("direct");
        trial.world.user.write(&format!("{name}.xrsl"), xrsl::shell(&name, "echo x"));
        let _ = trial.actctl(&["sub", &format!("{name}.xrsl")]).ok();
        trial.wait(&name, "done", |job| job.arcstate.as_deref() == Some("done"));
    }

    fn act(trial: &Trial<'_>) {
        let _ = trial.actctl(&["get", &trial.name("direct")]);
    }

    fn check(trial: &Trial<'_>) {
        get_until_there(trial, &trial.name("direct"));
    }
}

#[test]
fn a_get_from_the_server() {
    every_point::<DirectGet>();
}

struct Clean;

impl Scenario for Clean {
    const ABOUT: &'static [&'static str] = &["discard.", "clean."];

    fn prepare(trial: &Trial<'_>) {
        let (good, bad) = (trial.name("good"), trial.name("bad"));
        one(trial, &xrsl::shell(&good, "echo x"), &good, "stored");
        trial.world.user.write(&format!("{bad}.xrsl"), xrsl::fail(&bad, 3));
        let _ = trial.actctl(&["sub", &format!("{bad}.xrsl")]).ok();
        trial.wait(&bad, "failed", |job| job.arcstate.as_deref() == Some("failed"));
    }

    fn act(trial: &Trial<'_>) {
        trial.ask(&["clean", &trial.name("good"), &trial.name("bad")]);
    }

    fn check(trial: &Trial<'_>) {
        for name in [trial.name("good"), trial.name("bad")] {
            wait_for(&format!("{name} to be cleaned"), LONG, || match trial.job(&name) {
                Some(job) if job.outcome.as_deref() == Some("cleaned") => Ok(()),
                // The command had not reached the daemon when it died: a user says it again.
                other => Err(format!("{other:?}\n{}", trial.actctl(&["clean", &name]))),
            });
            trial.ran(&name, 1);
        }
        assert_eq!(names(&trial.world.user.results()), [] as [String; 0], "in the trash, not lying about");
    }
}

#[test]
fn a_clean() {
    every_point::<Clean>();
}

struct Kill;

impl Scenario for Kill {
    const ABOUT: &'static [&'static str] = &["kill."];

    fn prepare(trial: &Trial<'_>) {
        let name = trial.name("endless");
        trial.world.user.write(&format!("{name}.xrsl"), xrsl::endless(&name));
        let _ = trial.actctl(&["sub", &format!("{name}.xrsl")]).ok();
        trial.wait(&name, "running", |job| job.arcstate.as_deref() == Some("running"));
    }

    fn act(trial: &Trial<'_>) {
        trial.ask(&["kill", &trial.name("endless")]);
    }

    fn check(trial: &Trial<'_>) {
        let name = trial.name("endless");
        wait_for(&format!("{name} to be killed"), LONG, || match trial.job(&name) {
            Some(job) if job.arcstate.as_deref() == Some("cancelled") || job.outcome.is_some() => Ok(()),
            other if other.as_ref().is_some_and(|job| job.arcstate.as_deref() != Some("running")) => {
                Err(format!("{other:?}"))
            }
            other => Err(format!("{other:?}\n{}", trial.actctl(&["kill", &name]))),
        });
        trial.ran(&name, 1);
        trial.clean(&name);
    }
}

#[test]
fn a_kill() {
    every_point::<Kill>();
}

struct Resubmission;

impl Scenario for Resubmission {
    const ABOUT: &'static [&'static str] = &["resubmit.", "commit.after"];

    fn prepare(trial: &Trial<'_>) {
        let name = trial.name("fails");
        trial.world.user.write(&format!("{name}.xrsl"), xrsl::fail(&name, 3));
        let _ = trial.actctl(&["sub", &format!("{name}.xrsl")]).ok();
        trial.wait(&name, "failed", |job| job.arcstate.as_deref() == Some("failed"));
        trial.ran(&name, 1);
    }

    fn act(trial: &Trial<'_>) {
        trial.ask(&["resub", &trial.name("fails")]);
    }

    fn check(trial: &Trial<'_>) {
        let name = trial.name("fails");
        // What was taken before the daemon died is done without another word.
        trial.two_lists();
        let again = trial.wait(&name, "failed or running", |job| job.arcstate.as_deref() != Some("toresubmit"));
        if trial.ran_so_far(&name) == 1 && again.arcstate.as_deref() == Some("failed") {
            let _ = trial.actctl(&["resub", &name]).ok();
        }
        wait_for(&format!("{name} to run again"), LONG, || {
            trial.revive();
            match trial.ran_so_far(&name) {
                2 => Ok(()),
                n => Err(format!("{n} runs; {:?}", trial.job(&name))),
            }
        });
        trial.wait(&name, "failed again", |job| job.arcstate.as_deref() == Some("failed"));
        trial.two_lists();
        trial.ran(&name, 2);
        trial.clean(&name);
    }
}

#[test]
fn a_resubmission() {
    every_point::<Resubmission>();
}

struct Renewal;

impl Scenario for Renewal {
    const ABOUT: &'static [&'static str] = &["proxy."];

    fn act(trial: &Trial<'_>) {
        let _ = trial.actctl(&["proxy"]);
    }

    fn check(trial: &Trial<'_>) {
        trial.revive();
        wait_for("a credential", LONG, || {
            let ran = trial.actctl(&["proxy", "--status"]);
            if ran.code == Some(0) { Ok(()) } else { Err(ran.to_string()) }
        });
        let (posts, puts) =
            (trial.world.sandbox.journal("POST", "/proxies"), trial.world.sandbox.journal("PUT", "/proxies"));
        // Each PUT follows a POST of its own: one alone makes a real server store a corrupt proxy.
        for pair in puts.windows(2) {
            assert!(posts.iter().any(|p| p.seq > pair[0].seq && p.seq < pair[1].seq), "a PUT without its POST");
        }
        // A job runs with it.
        let name = trial.name("renewed");
        one(trial, &xrsl::shell(&name, "echo x"), &name, "stored");
        trial.ran(&name, 1);
    }
}

#[test]
fn a_renewal_of_the_proxy() {
    every_point::<Renewal>();
}

struct Watched;

impl Scenario for Watched {
    const ABOUT: &'static [&'static str] = &["dirs."];

    fn settings(root: &Path) -> Vec<String> {
        let dir = root.join("in");
        fs::create_dir_all(&dir).expect("mkdir");
        vec![format!("dirs: [{{path: \"{}\", settle: 200ms}}]", dir.display())]
    }

    fn act(trial: &Trial<'_>) {
        let dir = trial.world.scratch.path().join("in");
        let name = trial.name("watched");
        fs::write(dir.join(format!("{name}.xrsl")), xrsl::shell(&name, "echo x")).expect("write");
        fs::write(dir.join(format!("{name}-bad.xrsl")), "&(executable=").expect("write");
    }

    fn check(trial: &Trial<'_>) {
        let dir = trial.world.scratch.path().join("in");
        let name = trial.name("watched");
        let receipt = dir.join(format!("accepted/{name}.xrsl.json"));
        wait_for(&format!("the receipt of {name}"), LONG * 2, || {
            trial.revive();
            let text = fs::read_to_string(&receipt).unwrap_or_default();
            let receipt: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            if receipt["jobs"][0]["outcome"] == "collected" {
                Ok(())
            } else {
                Err(format!("{text}: {:?}", names(&dir)))
            }
        });
        wait_for(&format!("the refusal of {name}-bad"), LONG, || {
            trial.revive();
            if dir.join(format!("failed/{name}-bad.xrsl.error")).exists() {
                Ok(())
            } else {
                Err(format!("{:?}", names(&dir)))
            }
        });
        trial.ran(&name, 1);
        let job = trial.wait(&name, "closed", |job| job.outcome.as_deref() == Some("collected"));
        verify(Path::new(&job.results.expect("results")), "x\n");
        for (sub, name) in [("accepted", format!("{name}.xrsl")), ("failed", format!("{name}-bad.xrsl"))] {
            let start = name.trim_end_matches(".xrsl").to_owned();
            let found = names(&dir.join(sub));
            let alike = found.iter().filter(|n| n.starts_with(&start) && n.ends_with(".xrsl")).count();
            assert_eq!(alike, 1, "{found:?}");
        }
    }
}

#[test]
fn a_watched_directory() {
    every_point::<Watched>();
}
