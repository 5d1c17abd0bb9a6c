//! The other verbs: kill at every stage, clean, cat, wait, adopt, log, events, history.

use act_tests::{LONG, World, wait_for, xrsl};
use serde_json::{Value, json};

/// A world in which a job stays in one state of the server's for ten minutes.
fn held_in(state: &str) -> World {
    World::ready_with(&["--delays", &format!("{state}=600000")], &[])
}

/// Nothing of the job is left, and nothing will run.
fn wait_killed(world: &World, id: &str) {
    let user = &world.user;
    wait_for(&format!("job {id} to be killed"), LONG, || {
        let job = user.job(id);
        let ended = job.as_ref().is_none_or(|job| {
            job.arcstate.as_deref() == Some("cancelled") || act_tests::user::word(&job.phase) == "closed"
        });
        if ended { Ok(()) } else { Err(format!("{job:?}")) }
    });
}

#[test]
fn kill_before_the_server_has_looked_at_it() {
    let world = held_in("handover");
    world.user.write("job.xrsl", xrsl::shell("early", "true"));
    let _ = world.user.actctl(&["sub", "job.xrsl"]).ok();
    assert_eq!(world.user.actctl(&["kill", "-i", "1"]).ok().stdout, "Will kill 1 jobs\n");
    wait_killed(&world, "1");
    world.sandbox.wait_empty();
    assert_eq!(world.sandbox.runs_of("early"), 0);
}

#[test]
fn kill_in_tosubmit() {
    let world = held_in("tosubmit");
    world.user.write("job.xrsl", xrsl::shell("early", "true"));
    let _ = world.user.actctl(&["sub", "job.xrsl"]).ok();
    world.sandbox.wait_state(1, "tosubmit");
    assert_eq!(world.user.actctl(&["kill", "-i", "1"]).ok().stdout, "Will kill 1 jobs\n");
    wait_killed(&world, "1");
    world.sandbox.wait_empty();
    assert_eq!(world.sandbox.runs_of("early"), 0);
}

#[test]
fn kill_in_submitted_and_clean() {
    let world = held_in("accepted");
    world.user.write("job.xrsl", xrsl::endless("accepted"));
    let _ = world.user.actctl(&["sub", "job.xrsl"]).ok();
    world.sandbox.wait_state(1, "submitted");
    assert_eq!(world.user.actctl(&["kill", "-i", "1"]).ok().stdout, "Will kill 1 jobs\n");
    world.sandbox.wait_state(1, "cancelled");
    world.user.wait_arcstate("1", "cancelled");
    assert_eq!(world.user.actctl(&["clean", "-i", "1"]).ok().stdout, "Cleaned 1 jobs\n");
    world.sandbox.wait_empty();
}

#[test]
fn kill_while_running() {
    let world = World::ready();
    world.user.write("job.xrsl", xrsl::endless("long"));
    let _ = world.user.actctl(&["sub", "job.xrsl"]).ok();
    world.user.wait_arcstate("1", "running");
    assert_eq!(world.user.actctl(&["kill", "-i", "1"]).ok().stdout, "Will kill 1 jobs\n");
    world.sandbox.wait_state(1, "cancelled");
    world.user.wait_arcstate("1", "cancelled");
    assert_eq!(world.user.actctl(&["kill", "-i", "1"]).ok().stdout, "Will kill 0 jobs\n");
    // Bare `clean` without a terminal means what it means to act.
    assert_eq!(world.user.actctl(&["clean"]).ok().stdout, "Cleaned 1 jobs\n");
    world.sandbox.wait_empty();
    assert_eq!(world.user.actctl(&["stat"]).ok().stdout, "");
}

#[test]
fn kill_while_inputs_are_uploaded() {
    let world = World::ready();
    let user = &world.user;
    world.sandbox.fault(&json!({"method": "PUT", "path": "/jobs/*/data/*", "fault": {"kind": "delay", "ms": 20_000}}));
    user.write("in.txt", "x");
    user.write("job.xrsl", xrsl::cat("uploading", "in.txt"));
    let _ = user.actctl(&["sub", "--detach", "job.xrsl"]).ok();
    user.wait_phase("j1", "uploading");
    assert_eq!(user.actctl(&["kill", "j1"]).ok().stdout, "Will kill 1 jobs\n");
    let job = user.wait_phase("j1", "closed");
    assert_eq!(job.outcome.as_deref(), Some("killed"));
    // The row goes when the upload that was cut off can no longer be executed; without a description it never runs.
    let rows = world.sandbox.jobs();
    assert!(rows.iter().all(|row| row.arcstate.is_none() && row.name.is_none()), "{rows:?}");
    assert_eq!(world.sandbox.runs_of("uploading"), 0);
}

#[test]
fn kill_of_a_stored_job_does_nothing_and_clean_puts_results_aside() {
    let world = World::ready();
    let user = &world.user;
    user.write("job.xrsl", xrsl::shell("done", "echo precious"));
    let places = [user.results(), user.work().join("elsewhere")];
    for place in &places {
        let _ = user.actctl(&["sub", "--results", &place.display().to_string(), "job.xrsl"]).ok();
    }
    let jobs = ["1", "2"].map(|id| user.wait_phase(id, "stored"));
    assert_eq!(user.actctl(&["kill", "-i", "1"]).ok().stdout, "Will kill 0 jobs\n");
    assert_eq!(user.actctl(&["clean", "-i", "1-2"]).ok().stdout, "Cleaned 2 jobs\n");
    for job in jobs {
        user.wait_phase(&job.key, "closed");
        assert!(!std::path::Path::new(&job.results.unwrap()).exists());
    }
    let kept = places.map(|place| {
        let trash = place.join(".trash");
        let kept = wait_for("the results in the trash", LONG, || {
            let found = std::fs::read_dir(&trash).ok().and_then(|mut dirs| dirs.next()).and_then(Result::ok);
            found.ok_or_else(|| format!("{} is empty", trash.display()))
        });
        assert_eq!(std::fs::read_to_string(kept.path().join("out.txt")).unwrap(), "precious\n");
        kept.path()
    });
    // After its time it goes, and nothing else that is in a directory of that name.
    let theirs = user.results().join(".trash/photos");
    std::fs::create_dir(&theirs).unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(30 * 86_400);
    for dir in kept.iter().chain([&theirs]) {
        let times = std::fs::FileTimes::new().set_modified(long_ago);
        std::fs::File::open(dir).and_then(|dir| dir.set_times(times)).unwrap();
    }
    let _ = user.actctl(&["daemon", "restart"]).ok();
    wait_for("the trash to be emptied", LONG, || match kept.iter().find(|dir| dir.exists()) {
        Some(dir) => Err(format!("{} is there", dir.display())),
        None => Ok(()),
    });
    assert!(theirs.exists());
}

#[test]
fn a_kill_that_names_nothing_kills_nothing() {
    let world = World::ready();
    let user = &world.user;
    user.write("job.xrsl", xrsl::endless("alive"));
    let _ = user.actctl(&["sub", "job.xrsl"]).ok();
    user.wait_arcstate("1", "running");
    let _ = user.actctl(&["kill", "-i", "5-3"]).exits(2);
    let _ = user.actctl(&["clean", "-i", "5-3"]).exits(2);
    let _ = user.actctl(&["kill", "-i", ""]).exits(2);
    let _ = user.actctl(&["kill"]).exits(2).says(&["hint:", "--all"]);
    assert_eq!(user.actctl(&["kill", "-i", "99"]).ok().stdout, "Will kill 0 jobs\n");
    let _ = user.actctl(&["kill", "--fail-empty", "-i", "99"]).exits(1);
    assert!(world.sandbox.journal("PATCH", "/jobs").is_empty());
    assert_eq!(user.actctl(&["kill", "--all"]).ok().stdout, "Will kill 1 jobs\n");
    world.sandbox.wait_state(1, "cancelled");
}

/// Nobody knows what its output is called until it has been looked at, long after it was first asked for.
#[test]
fn run_shows_what_a_job_said_before_it_failed() {
    let world = World::ready_with(&["--delays", "submitting=2000"], &[]);
    world.user.write("job.xrsl", xrsl::shell("brief", "echo said; exit 3"));
    let run = world.user.actctl(&["run", "job.xrsl"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(3), "said\n"), "{run}");
    // One that throws its errors away has none to show.
    world.user.write("job.xrsl", "&(executable=/bin/false)(stdout=out.txt)(jobname=quiet)(walltime=1)");
    let run = world.user.actctl(&["run", "job.xrsl"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{run}");
    let cat = world.user.actctl(&["cat", "-e", "quiet"]);
    assert_eq!((cat.code, cat.stdout.as_str()), (Some(1), ""), "{cat}");
    assert!(cat.stderr.contains("not yet available"), "{cat}");
    let cat = world.user.actctl(&["cat", "quiet", "--file", "../out.txt"]);
    assert_eq!(cat.code, Some(2), "{cat}");
}

#[test]
fn run_of_several_jobs_submits_none() {
    let world = World::ready();
    let user = &world.user;
    let one = "(executable=/bin/true)(walltime=1)";
    user.write("a.xrsl", format!("&{one}"));
    user.write("two.xrsl", format!("+(&{one})(&{one})"));
    for args in [&["run", "a.xrsl", "two.xrsl"][..], &["run", "a.xrsl", "no-such.xrsl"], &["run", "two.xrsl"]] {
        let run = user.actctl(args);
        assert_eq!((run.code, run.stdout.as_str()), (Some(125), ""), "{run}");
        assert!(run.stderr.contains("`run` takes one job, and there are"), "{run}");
    }
    assert!(world.sandbox.journal("POST", "/jobs").is_empty());
}

/// A job of XML says there what its output is called.
#[test]
fn cat_knows_the_output_of_an_xml_description() {
    let world = World::ready();
    let adl = "<?xml version=\"1.0\"?><ActivityDescription xmlns=\"http://www.eu-emi.eu/es/2010/12/adl\">\
               <ActivityIdentification><Name>xml</Name></ActivityIdentification><Application>\
               <Executable><Path>/bin/echo</Path><Argument>said</Argument></Executable>\
               <Output>said.txt</Output></Application></ActivityDescription>";
    world.user.write("job.adl", adl);
    let _ = world.user.actctl(&["sub", "job.adl"]).ok();
    world.user.wait_phase("xml", "stored");
    assert_eq!(world.user.actctl(&["cat", "xml"]).ok().stdout, "said\n");
    // Nothing is laid out in it, and nothing of it is lost.
    assert_eq!(world.user.shell("actctl fmt - < job.adl").ok().stdout, adl);
}

#[test]
fn cat_shows_output_while_running_and_after() {
    let world = World::ready();
    let user = &world.user;
    let go = user.root().join("go").display().to_string();
    let script = format!("echo begun; until test -e {go}; do sleep 0.05; done; echo ended; printf '\\377\\376' >&2");
    user.write("job.xrsl", xrsl::shell("talks", &script));
    let _ = user.actctl(&["sub", "job.xrsl"]).ok();
    user.wait_arcstate("1", "running");
    wait_for("the first line", LONG, || {
        let cat = user.actctl(&["cat", "-i", "1"]);
        if cat.stdout == "begun\n" { Ok(()) } else { Err(cat.to_string()) }
    });
    // A job that is silent for a while has its output there all the same.
    let tail = user.shell("timeout 3 actctl tail -f 1 || test $? = 124").ok();
    assert_eq!((tail.stdout.as_str(), tail.stderr.as_str()), ("begun\n", ""), "{tail}");
    std::fs::write(&go, "").unwrap();
    user.wait_phase("1", "stored");
    assert_eq!(user.actctl(&["cat", "talks"]).ok().stdout, "begun\nended\n");
    let bytes = user.shell("actctl cat -e -i 1 | od -An -tx1").ok();
    assert_eq!(bytes.stdout.trim(), "ff fe");
}

#[test]
fn tail_of_what_will_never_be_there_ends() {
    let world = World::ready();
    let user = &world.user;
    user.write("done.xrsl", xrsl::shell("done", "echo one; echo two"));
    user.write("bad.xrsl", xrsl::fail("bad", 3));
    let _ = user.actctl(&["sub", "done.xrsl", "bad.xrsl"]).ok();
    // From before its start: all of it comes, though the results move while it is followed.
    assert_eq!(user.actctl(&["tail", "-f", "done"]).ok().stdout, "one\ntwo\n");
    user.wait_phase("done", "stored");
    user.wait_arcstate("bad", "failed");
    for job in ["done", "bad"] {
        let _ = user.actctl(&["tail", "-f", job, "nosuch.txt"]).exits(1).says(&["nosuch.txt not yet available"]);
    }
}

#[test]
fn wait_ends_when_jobs_end() {
    let world = World::ready();
    let user = &world.user;
    user.write("long.xrsl", xrsl::endless("long"));
    user.write("short.xrsl", xrsl::shell("short", "true"));
    let _ = user.actctl(&["sub", "long.xrsl", "short.xrsl"]).ok();
    let _ = user.actctl(&["wait", "--any"]).ok();
    let _ = user.actctl(&["wait", "short"]).ok();
    let _ = user.actctl(&["wait", "--timeout", "1s", "long"]).exits(7).says(&["error:"]);
    let _ = user.actctl(&["kill", "long"]).ok();
    let _ = user.actctl(&["wait", "long"]).exits(1);
    // What is finished with is not waited for by a filter.
    let _ = user.actctl(&["clean", "long"]).ok();
    let _ = user.actctl(&["wait", "-n", "o"]).ok();
}

#[test]
fn a_name_that_was_used_before_means_the_job_of_today() {
    let world = World::ready();
    let user = &world.user;
    user.write("job.xrsl", xrsl::shell("again", "echo $$"));
    for _ in 0..2 {
        let _ = user.actctl(&["sub", "job.xrsl"]).ok();
        let _ = user.actctl(&["wait", "again"]).ok();
        assert!(user.actctl(&["tail", "again"]).ok().stdout.ends_with('\n'));
        user.wait_phase("again", "stored");
        let _ = user.actctl(&["get", "again"]).ok();
    }
    user.write("terms", "j77 7\n");
    let get = user.actctl(&["get", "-i", "terms", "--json"]).ok();
    assert_eq!(get.json()["unknown"], serde_json::json!(["j77"]), "{get}");
    assert_eq!(get.json()["missing"], serde_json::json!([7]), "{get}");
    assert!(get.stderr.contains("no such job: j77"), "{get}");
}

#[test]
fn names_of_jobs_cannot_draw_on_the_terminal() {
    let world = World::ready();
    let rows = serde_json::json!({"count": 1, "arcstate": "running", "state": "Running", "name": "a\u{1b}[2J\n9 b"});
    assert_eq!(world.sandbox.synthetic(&rows).len(), 1);
    world.user.wait_arcstate("1", "running");
    let kill = world.user.actctl(&["kill", "-i", "1", "--dry-run"]).ok();
    assert!(kill.stderr.contains("a\\x1b[2J\\n9 b"), "{kill:?}");
}

#[test]
fn jobs_of_another_machine_are_shown_and_left_alone_until_adopted() {
    let world = World::ready();
    let (laptop, cluster) = (&world.user, world.machine("cluster", &[]));
    let _ = cluster.actctl(&["proxy"]).ok();
    // The cluster's daemon does nothing by itself: what it leaves on the server is for the laptop to leave alone.
    cluster.write("job.xrsl", xrsl::shell("elsewhere", "echo theirs"));
    let _ = cluster.actctl(&["sub", "--no-download", "job.xrsl"]).ok();
    let seen = laptop.wait_arcstate("1", "done");
    assert_eq!(act_tests::user::word(&seen.origin), "foreign");
    assert!(laptop.actctl(&["stat"]).ok().stdout.contains("elsewhere"));
    assert_eq!(world.sandbox.jobs().len(), 1);

    let _ = laptop.actctl(&["adopt", "-i", "1"]).ok();
    let job = laptop.wait_phase("1", "stored");
    assert_eq!(act_tests::user::word(&job.origin), "adopted");
    assert_eq!(std::fs::read_to_string(format!("{}/out.txt", job.results.unwrap())).unwrap(), "theirs\n");
    world.sandbox.wait_empty();
    // The other machine learns that the job is gone, and runs nothing again.
    cluster.wait_job("j1", "known to be gone", |job| job.outcome.as_deref() == Some("gone"));
    assert_eq!(world.sandbox.runs_of("elsewhere"), 1);
}

#[test]
fn a_row_that_another_client_gives_up_is_waited_for_no_longer() {
    let world = World::ready();
    let user = &world.user;
    let jobs = format!("{}/jobs", world.sandbox.info().server.trim_end_matches('/'));
    let curl = |request: &str| {
        let token = user.token().display().to_string();
        user.shell(&format!("curl -sS -f -H \"Authorization: Bearer $(cat {token})\" {request}")).ok()
    };
    // As an `act sub` makes it that is still uploading.
    let row = format!(
        "-X POST -H 'Content-Type: application/json' -d '[{{\"clusterlist\":[\"{}\"]}}]' {jobs}",
        world.sandbox.info().clusters[0]
    );
    let id = curl(&row).json()[0]["id"].as_u64().expect("an id");
    wait_for("the row to be listed", LONG, || match user.jobs().len() {
        1 => Ok(()),
        n => Err(format!("{n} jobs")),
    });
    let mut command = user.command("bash");
    command.args(["-c", "exec actctl -v wait 2> wait.err"]);
    let mut wait = command.spawn().unwrap();
    wait_for("the list of what to wait for", LONG, || {
        let err = std::fs::read_to_string(user.work().join("wait.err")).unwrap_or_default();
        if err.contains("jobs.list") { Ok(()) } else { Err(err) }
    });
    let _ = curl(&format!("-X PATCH '{jobs}?id={id}&action=cancel'"));
    let end = wait_for("the end of wait", LONG, || match wait.try_wait() {
        Ok(Some(end)) => Ok(end),
        other => Err(format!("{other:?}")),
    });
    let err = user.read("wait.err");
    assert!(end.success() && err.contains(&format!("job {id} is no more")), "{end:?}: {err}");
}

#[test]
fn log_events_and_history_tell_what_happened() {
    let world = World::ready();
    let user = &world.user;
    user.write("job.xrsl", xrsl::shell("told", "true"));
    let _ = user.actctl(&["sub", "job.xrsl"]).ok();
    user.wait_phase("1", "stored");
    let _ = user.actctl(&["get"]).ok();
    user.wait_phase("j1", "closed");

    let events = user.actctl(&["events", "--since", "0", "--no-follow", "--json"]).ok();
    let events: Vec<Value> = events.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let phases: Vec<&str> = events.iter().filter_map(|event| event["after"]["phase"].as_str()).collect();
    for phase in ["queued", "active", "stored", "closed"] {
        assert!(phases.contains(&phase), "{phase} in {phases:?}");
    }
    let states: Vec<&str> = events.iter().filter_map(|event| event["after"]["arcstate"].as_str()).collect();
    assert!(states.contains(&"done"), "{states:?}");

    let log = user.actctl(&["log", "j1"]).ok();
    assert!(log.lines().len() >= 4, "{log}");
    let history = user.actctl(&["history", "--json"]).ok().json();
    assert_eq!(history["items"][0]["name"], "told");
    assert_eq!(history["items"][0]["outcome"], "collected");
    for selector in ["last", "last:5", "told"] {
        let ran = user.actctl(&["history", selector]).ok();
        assert!(ran.stdout.contains("told") && !ran.stderr.contains("no such job"), "{ran}");
    }
    let _ = user.actctl(&["history", "told,nosuch"]).ok().says(&["no such job: nosuch"]);

    // Numbers go on after a restart: a reader who comes back misses nothing.
    let last = *numbers.last().unwrap();
    user.kill_daemon();
    user.write("next.xrsl", xrsl::shell("later", "true"));
    let _ = user.actctl(&["sub", "next.xrsl"]).ok();
    let more = user.actctl(&["events", "--since", &last.to_string(), "--no-follow", "--json"]).ok();
    let first: Value = serde_json::from_str(more.lines()[0]).unwrap();
    assert!(first["seq"].as_u64().unwrap() > last, "{more}");
}

#[test]
fn json_is_one_value_also_for_errors() {
    let world = World::ready();
    let user = &world.user;
    let stat = user.actctl(&["stat", "--json"]).ok().json();
    assert_eq!(stat["schema"], "act.jobs/1");
    assert_eq!(stat["items"], json!([]));
    let error = user.actctl(&["stat", "--json", "-i", "abc"]);
    assert_ne!(error.code, Some(0), "{error}");
    assert_eq!(error.json()["schema"], "act.error/1");
    user.write("good.xrsl", xrsl::shell("good", "true"));
    user.write("bad.xrsl", "&(executable=");
    for args in [
        &["check", "good.xrsl", "missing.xrsl"][..],
        &["check", "--canonical", "bad.xrsl"],
        &["check", "--canonical", "good.xrsl"],
        &["fmt", "--check", "good.xrsl", "bad.xrsl"],
        &["wait"],
        &["get"],
        &["cat", "--fail-empty", "nosuch"],
        &["tail", "nosuch"],
        &["kill", "-a"],
        &["history", "nosuch"],
        &["why"],
        &["stat", "--format", "{id}"],
        &["dir", "list"],
        &["daemon", "status"],
        &["daemon", "stop"],
        &["daemon", "stop"],
    ] {
        let ran = user.actctl(&[&["--json"], args].concat());
        let value = ran.json();
        let schema = value["schema"].as_str().is_some_and(|s| s.starts_with("act."));
        assert!(schema || value.is_array(), "{ran}");
    }
    // The one that cannot be read is told in the one value, too.
    let check = user.actctl(&["--json", "check", "good.xrsl", "missing.xrsl"]).exits(6).json();
    assert_eq!(check["items"][1]["path"], "missing.xrsl");
    user.write("long.xrsl", xrsl::endless("long"));
    let script = "actctl sub long.xrsl > sub.out\n\
                  actctl --json -v wait > wait.json 2> wait.err & pid=$!\n\
                  for i in $(seq 600); do ! grep -q jobs.list wait.err || break; sleep 0.1; done\n\
                  kill -INT $pid; code=0; wait $pid || code=$?; echo $code";
    assert_eq!(user.shell(script).ok().stdout, "130\n");
    let interrupted: Value = serde_json::from_str(&user.read("wait.json")).unwrap();
    assert_eq!(interrupted["error"]["exit"], 130);
}

#[test]
fn stat_that_watches_says_nothing_twice() {
    let world = World::ready();
    let user = &world.user;
    user.write("job.xrsl", xrsl::shell("still", "true"));
    let _ = user.actctl(&["sub", "job.xrsl"]).ok();
    user.wait_phase("still", "stored");
    let script = "actctl stat --watch > seen & pid=$!\n\
                  for i in $(seq 600); do ! grep -q still seen || break; sleep 0.1; done\n\
                  for i in 1 2 3 4 5 6 7 8 9 10; do actctl stat > again; done\n\
                  kill -INT $pid; code=0; wait $pid || code=$?; echo $code";
    assert_eq!(user.shell(script).ok().stdout, "130\n");
    assert_eq!(user.read("seen"), user.read("again"));
}

#[test]
fn stat_watches_until_ctrl_c() {
    let world = World::ready();
    let user = &world.user;
    user.write("job.xrsl", xrsl::shell("seen", "true"));
    let script = "actctl stat --watch > seen & pid=$!\n\
                  actctl sub job.xrsl\n\
                  for i in $(seq 600); do ! grep -q ' done' seen || break; sleep 0.1; done\n\
                  kill -INT $pid; code=0; wait $pid || code=$?; echo $code";
    let ran = user.shell(script).ok();
    assert_eq!(ran.stdout, "Inserted job seen with ID 1\n130\n");
    let seen = user.read("seen");
    assert!(seen.contains("seen") && seen.contains(" done") && !seen.contains('\x1b'), "{seen}");
}
