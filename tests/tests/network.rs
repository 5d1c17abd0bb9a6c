//! A network and a server that fail again and again while jobs are submitted, run and come home: nothing is lost, nothing
//! runs twice, nothing is left.

use std::fs;

use act_proto::jobs::OneParams;
use act_proto::method::JobsLog;
use act_tests::net::Net;
use act_tests::{LONG, World, wait_for, xrsl};
use serde_json::json;

use crate::restart::{check, kill_after, ready, write_job};

/// Jobs of a campaign.
const JOBS: usize = 16;

fn submit_all(world: &World) {
    for half in 0..2 {
        let mut args = vec!["sub".to_owned(), "--detach".to_owned()];
        args.extend((half * JOBS / 2..(half + 1) * JOBS / 2).map(|number| write_job(world, number)));
        args.extend((half == 1).then(|| "--webdav".to_owned()));
        let _ = world.user.actctl(&args.iter().map(String::as_str).collect::<Vec<_>>()).ok();
    }
}

/// Host and port of a URL.
fn origin(url: &str) -> (String, String) {
    let rest = url.split_once("://").expect("a URL").1;
    let place = rest.split('/').next().expect("a host").to_owned();
    (place.rsplit_once(':').expect("a port").0.to_owned(), place)
}

#[test]
fn a_network_that_cuts_delays_and_truncates() {
    let world = ready(&["--workers", "4"]);
    let user = &world.user;
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let (server, webdav) = (&world.sandbox.info().server, &world.sandbox.info().webdav);
    let ((host, to), (dav_host, dav_to)) = (origin(server), origin(webdav));
    // The computing element fetches inputs from the store the same way; what it makes of a bad network is not our concern.
    let (net, dav) = (Net::to(&to, seed), Net::to(&dav_to, seed + 2).only_uploads(6_000));
    user.kill_daemon();
    user.reroute(&net.through(server, &host), &dav.through(webdav, &dav_host));
    // Another origin is another server: its token is handed out anew.
    let _ = user.actctl(&["proxy"]).ok();
    net.be_bad(true);
    dav.be_bad(true);
    submit_all(&world);
    wait_for("much to have gone wrong", LONG * 3, || {
        let (harmed, stored) = (net.harmed() + dav.harmed(), stored(&world));
        if harmed >= 60 || stored == JOBS { Ok(()) } else { Err(format!("{harmed} connections, {stored} jobs")) }
    });
    println!("{} + {} connections harmed, {} jobs stored", net.harmed(), dav.harmed(), stored(&world));
    kill_after(&world, &[0]);
    assert!(net.harmed() + dav.harmed() >= 20, "the campaign met no trouble");
    net.be_bad(false);
    dav.be_bad(false);
    // What was put off for minutes is tried at once by a daemon that is new.
    kill_after(&world, &[0]);
    check(&world, JOBS);
}

fn stored(world: &World) -> usize {
    let phase = |job: &act_proto::jobs::Job| act_tests::user::word(&job.phase);
    world.user.jobs().iter().filter(|job| phase(job) == "stored").count()
}

#[test]
fn a_server_that_answers_500_to_every_third_request() {
    let world = ready(&["--workers", "4"]);
    // Half of them are carried out all the same.
    for (skip, execute) in [(0, false), (1, true)] {
        let fault = json!({"kind": "status", "status": 500, "html": true, "execute": execute});
        world.sandbox.fault(&json!({"every": 6, "skip": skip * 3, "path": "/jobs*", "fault": fault}));
    }
    submit_all(&world);
    check(&world, JOBS);
    assert!(world.sandbox.faults_applied() > 10, "{}", world.sandbox.faults_applied());
    let left = fs::read_dir(world.user.results()).expect("results").flatten();
    let left: Vec<_> = left.filter(|e| e.file_name().to_string_lossy().starts_with(".actd-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_server_that_asks_for_ten_minutes_is_left_alone_for_so_long() {
    let world = World::ready();
    let user = &world.user;
    let busy = json!({"kind": "status", "status": 503, "retry_after": 600});
    world.sandbox.fault(&json!({"path": "/jobs*", "fault": busy}));
    user.write("job.xrsl", act_tests::xrsl::shell("later", "true"));
    let waits = |key: &str| {
        let _ = user.actctl(&["sub", "--detach", "job.xrsl"]).ok();
        user.wait_job(key, "waits", |job| job.waiting.is_some())
    };
    // Whichever request was told so: the second job finds the server closed to all.
    let _ = waits("j1");
    let job = waits("j2");
    assert_eq!(job.waiting.as_ref().unwrap().reason, "server", "{job:?}");
    let until = job.waiting.unwrap().until.expect("it is known");
    // Both in UTC, so they compare as texts.
    let in_five_minutes = user.shell("date -u -d '+5 minutes' +%FT%T").ok().stdout;
    assert!(*until > *in_five_minutes.trim(), "{until} is before {in_five_minutes}");
}

/// A list that was made before a job was told to run again, and comes after: the job has not failed once more.
#[test]
fn a_list_that_comes_late_is_no_news() {
    let world = World::ready_with(&["--workers", "many"], &["download: manual"]);
    let user = &world.user;
    let mark = user.root().join("mark").display().to_string();
    let script = format!("test -e {mark} || {{ touch {mark}; exit 1; }}");
    user.write("job.xrsl", xrsl::shell("again", &script));
    let _ = user.actctl(&["sub", "job.xrsl"]).ok();
    user.wait_job("again", "failed, and why", |job| job.arcstate.as_deref() == Some("failed") && job.error.is_some());
    let log = || user.call::<JobsLog>(&OneParams { job: "1".into() }).expect("jobs.log answers").entries;
    let failures = || log().iter().filter(|entry| entry.text.contains("on the server: failed")).count();
    let before = failures();
    assert!(before > 0, "{:#?}", log());
    let late = json!({"kind": "delay", "ms": 2_000, "execute": true});
    world.sandbox.fault(&json!({"method": "GET", "path": "/jobs", "count": 1, "fault": late}));
    wait_for("a list on its way", LONG, || match world.sandbox.faults_applied() {
        1 => Ok(()),
        n => Err(n.to_string()),
    });
    assert_eq!(user.actctl(&["resub", "-i", "1"]).ok().stdout, "Will resubmit 1 jobs\n");
    user.wait_arcstate("again", "done");
    assert_eq!(failures(), before, "{:#?}", log());
}
