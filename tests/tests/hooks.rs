//! Commands of the user's that run when something has happened.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use act_tests::wait::{LONG, wait_for};
use act_tests::world::World;
use act_tests::xrsl;

/// A script that appends what it was told to a file `told`, then does `more`.
fn script(dir: &Path, name: &str, more: &str) -> PathBuf {
    fs::create_dir_all(dir).expect("a directory");
    let path = dir.join(name);
    let told = dir.join("told");
    let line = r#"$ACTD_EVENT $ACTD_EVENT_NUMBER <$ACTD_JOB_NAME> [$ACTD_BATCH] $ACTD_ARCSTATE $ACTD_EXIT_CODE $ACTD_BATCH_JOBS/$ACTD_BATCH_DONE/$ACTD_BATCH_FAILED"#;
    let text = format!("#!/bin/sh\necho \"{line} $*\" >>{}\necho results in $ACTD_RESULTS\n{more}\n", told.display());
    fs::write(&path, text).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    path
}

fn told(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("told")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn wait_told(dir: &Path, what: &str, fits: impl Fn(&[String]) -> bool) -> Vec<String> {
    wait_for(what, LONG, || {
        let lines = told(dir);
        if fits(&lines) { Ok(lines) } else { Err(format!("{lines:#?}")) }
    })
}

fn logs(world: &World) -> Vec<String> {
    let dir = world.user.state().join("hooks");
    let entries = fs::read_dir(dir).map(|d| d.flatten().collect::<Vec<_>>()).unwrap_or_default();
    entries.iter().map(|e| fs::read_to_string(e.path()).expect("a log")).collect()
}

#[test]
fn each_end_of_a_job_and_of_a_batch_is_told_once() {
    let mut world = World::with(&[], &[]);
    let dir = world.scratch.path().join("hooks");
    let hook = script(&dir, "hook", "");
    let hook = hook.display();
    world.user.configure(&[
        &format!("on_done: {hook} done 'two words'"),
        &format!("on_failed: [{hook}, failed]"),
        &format!("on_batch_done: {hook}"),
    ]);
    world.user.set_env("NOTIFY_SOCKET", "/nonexistent");
    let evil = "x; touch $(echo hacked) `touch hacked` ";
    world.user.write("good.xrsl", xrsl::shell("good", "true"));
    world.user.write("evil.xrsl", xrsl::shell(evil, "true"));
    world.user.write("bad.xrsl", xrsl::fail("bad", 3));
    let _ = world.user.actctl(&["sub", "--batch", "b", "good.xrsl", "evil.xrsl", "bad.xrsl"]).ok();
    let lines = wait_told(&dir, "the batch's end", |l| l.iter().any(|l| l.starts_with("batch_done")) && l.len() >= 4);
    let one = |start: &str, part: &str| {
        let n = lines.iter().filter(|l| l.starts_with(start) && l.contains(part)).count();
        assert_eq!(n, 1, "{start} {part}: {lines:#?}");
    };
    one("done ", "<good> [b] done");
    one("done ", &format!("<{evil}> [b]"));
    // What ARC says of it has been asked for before.
    one("failed ", "<bad> [b] failed 3 ");
    one("batch_done ", "[b]");
    one("batch_done ", "3/2/1");
    assert!(lines.iter().filter(|l| l.starts_with("done")).all(|l| l.ends_with("done two words")), "{lines:#?}");
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(!world.user.work().join("hacked").exists() && !world.user.root().join("home/hacked").exists());
    wait_for("a log of each, to its end", LONG, || match logs(&world) {
        all if all.len() == 4 && all.iter().all(|log| log.contains(" after ")) => Ok(()),
        all => Err(format!("{all:#?}")),
    });
    let all = logs(&world);
    let good = all.iter().find(|log| log.contains("ACTD_JOB_NAME=good")).expect("the log of good");
    assert!(good.contains("results in /") && good.contains("Well after"), "{good}");
    let bad = all.iter().find(|log| log.contains("ACTD_JOB_NAME=bad")).expect("the log of bad");
    assert!(!bad.contains("ACTD_ERROR=\n"), "{bad}");
    // Each is told at least once; only what is noted as told is told no more after a crash.
    let numbers = lines.iter().filter_map(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok());
    let newest = numbers.max().expect("numbers of events");
    wait_for("a note of all of them", LONG, || {
        let text = fs::read_to_string(world.user.state().join("hooks.json")).unwrap_or_default();
        let noted = serde_json::from_str::<serde_json::Value>(&text).ok().and_then(|v| v["event"].as_u64());
        if noted.is_some_and(|n| n >= newest) { Ok(()) } else { Err(format!("{text}, not {newest}")) }
    });
    // A restart tells nothing again; getting results is no new end, nor is dropping what had failed. A position of events
    // that are lost holds nothing back.
    world.user.kill_daemon();
    fs::write(world.user.state().join("hooks.json"), r#"{"event":1000000}"#).expect("a position");
    assert_eq!(world.user.actctl(&["clean", "-n", "bad"]).ok().stdout, "Cleaned 1 jobs\n");
    world.user.wait_job("bad", "it is dropped", |job| job.phase == act_proto::jobs::Phase::Closed);
    let _ = world.user.actctl(&["get", "-a"]);
    world.user.write("last.xrsl", xrsl::shell("last", "true"));
    let _ = world.user.actctl(&["sub", "--batch", "c", "last.xrsl"]).ok();
    // They run side by side, in any order.
    let lines = wait_told(&dir, "another batch", |l| {
        ["batch_done ", "done "].iter().all(|start| l.iter().any(|l| l.starts_with(start) && l.contains("[c]")))
    });
    assert_eq!(lines.len(), 6, "{lines:#?}");
}

#[test]
fn a_hook_that_a_crash_interrupts_runs_again() {
    let world = World::with(&[], &[]);
    let dir = world.scratch.path().join("hooks");
    // The first run hangs; a later one does not.
    let hook = script(
        &dir,
        "hook",
        &format!("if mkdir {0}/first 2>/dev/null; then exec sleep 600; fi; echo well >{0}/ended", dir.display()),
    );
    world.user.configure(&[&format!("on_done: {}", hook.display())]);
    let _ = world.user.actctl(&["proxy"]).ok();
    world.user.write("a.xrsl", xrsl::shell("a", "true"));
    let _ = world.user.actctl(&["sub", "a.xrsl"]).ok();
    let before = wait_told(&dir, "the first run", |l| l.len() == 1);
    world.user.kill_daemon();
    assert!(!dir.join("ended").exists());
    let _ = world.user.actctl(&["stat"]).ok();
    let after = wait_told(&dir, "the second run", |l| l.len() == 2);
    // The same event, so that a hook can tell.
    assert_eq!(before[0], after[1]);
    wait_for("its end", LONG, || if dir.join("ended").exists() { Ok(()) } else { Err(format!("{:#?}", logs(&world))) });
}

#[test]
fn a_hook_that_takes_too_long_is_stopped_and_others_go_on() {
    let world = World::with(&[], &["hook_timeout: 1s"]);
    let dir = world.scratch.path().join("hooks");
    let hook = script(&dir, "hook", "[ \"$ACTD_JOB_NAME\" != slow ] || sleep 600");
    world.user.configure(&["hook_timeout: 1s", &format!("on_done: {}", hook.display())]);
    for name in ["slow", "quick"] {
        world.user.write(&format!("{name}.xrsl"), xrsl::shell(name, "true"));
    }
    let _ = world.user.actctl(&["sub", "slow.xrsl", "quick.xrsl"]).ok();
    wait_for("both ends", LONG, || {
        let all = logs(&world);
        let has = |name: &str, end: &str| {
            all.iter().any(|l| l.contains(&format!("ACTD_JOB_NAME={name}\n")) && l.contains(end))
        };
        if has("slow", "TooLong after") && has("quick", "Well after") { Ok(()) } else { Err(format!("{all:#?}")) }
    });
}

#[test]
fn a_credential_that_is_about_to_end_is_told_of_once() {
    // Of 30 minutes between 20 and 30 are left while this test runs, on any machine: no text is expected to the minute.
    let world = World::with(&["--proxy-validity", "1800"], &[]);
    let minutes = |text: &str, before: &str, after: &str| {
        let found = text.split_once(before).and_then(|(_, rest)| rest.split_once(after)?.0.parse::<u64>().ok());
        assert!(found.is_some_and(|m| (20..=30).contains(&m)), "{before}..{after}: {text}");
    };
    let dir = world.scratch.path().join("hooks");
    let hook = script(&dir, "hook", "");
    world.user.configure(&[&format!("on_credential_low: {}", hook.display())]);
    let _ = world.user.actctl(&["proxy"]).ok();
    let lines = wait_told(&dir, "the notice", |l| l.len() == 1);
    assert!(lines[0].starts_with("credential_low"), "{lines:?}");
    let log = logs(&world).pop().expect("a log");
    let left = log.split_once("ACTD_LEFT_SECONDS=").and_then(|(_, rest)| rest.lines().next()?.parse::<u64>().ok());
    assert!(left.is_some_and(|s| (1200..=1800).contains(&s)) && log.contains("ACTD_EXPIRES=20"), "{log}");
    let events = world.user.actctl(&["events", "--no-follow", "--type", "credential"]).ok().stdout;
    minutes(&events, "ends in ", " minutes");
    // The daemon remembers that it has told it.
    wait_for("a note of it", LONG, || {
        let text = fs::read_to_string(world.user.state().join("credential.json")).unwrap_or_default();
        if text.contains("\"told\": 3600") { Ok(()) } else { Err(text) }
    });
    world.user.kill_daemon();
    let status = world.user.actctl(&["proxy", "--status"]).ok();
    assert!(status.stdout.contains("min left"), "{}", status.stdout);
    world.user.write("a.xrsl", xrsl::endless("a"));
    let refused = world.user.actctl(&["sub", "--min-lifetime", "12h", "a.xrsl"]).exits(3);
    assert!(refused.stderr.contains("12h") || refused.stderr.contains("720"), "{refused}");
    let refused = world.user.actctl(&["sub", "--min-lifetime", "walltime", "a.xrsl"]).exits(4);
    assert!(refused.stdout.contains("walltime is 60 minutes"), "{refused}");
    let _ = world.user.actctl(&["sub", "--min-lifetime", "10m", "a.xrsl"]).ok();
    let stat = world.user.actctl(&["stat"]).ok();
    minutes(&stat.stderr, "proxy: ", " min left");
    assert!(stat.stderr.contains("needed by 1 job"), "{}", stat.stderr);
    assert!(stat.stderr.contains("1 may run longer than it lives"), "{}", stat.stderr);
    assert_eq!(told(&dir).len(), 1);
}

/// The daemon's own files are for nobody else; the user's are for whom the user's shell would let in.
#[test]
fn the_users_umask_holds_for_the_directories_of_results_and_for_what_hooks_make() {
    let world = World::with(&[], &[]);
    let user = &world.user;
    let dir = world.scratch.path().join("hooks");
    let hook = script(&dir, "hook", "mkdir -p $ACTD_RESULTS/../plots");
    user.configure(&[&format!("on_done: {}", hook.display())]);
    user.write("job.xrsl", xrsl::shell("job", "true"));
    let ran = user.shell(
        "umask 027; actctl proxy; actctl sub job.xrsl; mkdir -m 711 there
         actctl sub --results there/new/deep job.xrsl; actctl wait 1-2",
    );
    let _ = ran.ok();
    wait_told(&dir, "both ends", |lines| lines.iter().filter(|line| line.starts_with("done ")).count() == 2);
    let mode = |path: PathBuf| {
        let is = || fs::metadata(&path).map(|meta| format!("{:o}", meta.permissions().mode() & 0o7777));
        wait_for("it to be made", LONG, || is().map_err(|e| format!("{}: {e}", path.display())))
    };
    let at = |path: &str| user.work().join(path);
    assert_eq!(mode(user.results()), "750");
    assert_eq!([mode(at("there")), mode(at("there/new")), mode(at("there/new/deep"))], ["711", "750", "750"]);
    assert_eq!([mode(dir.join("told")), mode(at("there/new/deep/plots"))], ["640", "750"]);
    assert_eq!(mode(user.state().join("hooks")), "700", "the daemon's own");
}

#[test]
fn a_renewal_that_fails_is_not_repeated_in_a_loop_and_one_that_works_is_taken() {
    let mut world = World::new();
    let dir = world.scratch.path().join("hooks");
    let late = world.user.root().join("late-proxy");
    world.user.set_env("X509_USER_PROXY", late.to_str().expect("a path"));
    let failing = script(&dir, "failing", "exit 1");
    world.user.configure(&[&format!("renew: {}", failing.display())]);
    let ran = world.user.actctl(&["stat"]);
    assert_eq!(ran.code, Some(3), "{ran}");
    wait_told(&dir, "the first try", |l| l.len() == 1);
    // The actor looks every two seconds; after three looks it has not tried again.
    let since = std::time::Instant::now();
    wait_for("some looks", LONG, || if since.elapsed().as_secs() >= 7 { Ok(()) } else { Err(String::new()) });
    assert_eq!(told(&dir).len(), 1);
    // A config file that has changed is read by itself, and another command tried at once; what it makes is delegated.
    let pem = world.sandbox.info().proxy.display().to_string();
    let good = script(&dir, "good", &format!("umask 077; cat {pem} >$X509_USER_PROXY"));
    world.user.configure(&[&format!("renew: {}", good.display())]);
    wait_for("a credential", LONG, || {
        let ran = world.user.actctl(&["proxy", "--status"]);
        if ran.code == Some(0) { Ok(()) } else { Err(format!("{ran}")) }
    });
    assert_eq!(told(&dir).len(), 2);
    assert!(logs(&world).iter().any(|l| l.starts_with("renew proxy") && l.contains("Well after")));
}
