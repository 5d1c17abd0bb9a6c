//! The thread from a command to what the daemon did for it: `-v` shows the requests to servers, failures carry a request
//! id, and the daemon's log tells of it under that id.

use std::net::TcpListener;

use act_tests::ran::Ran;
use act_tests::world::World;
use act_tests::xrsl;

/// The word after `request` in what a command said.
#[track_caller]
fn request_id(ran: &Ran, before: &str) -> String {
    let text = ran.stderr.split(before).nth(1).unwrap_or_else(|| panic!("no `{before}`: {ran}"));
    text.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
}

#[test]
fn verbose_commands_show_what_is_sent_for_them_and_the_log_knows_it() {
    let world = World::ready_with(&[], &["log: debug"]);
    let (user, server) = (&world.user, &world.sandbox.info().server);
    user.write("in.txt", "x");
    user.write("job.xrsl", xrsl::cat("thread", "in.txt"));
    let ran = user.actctl(&["-v", "sub", "job.xrsl"]).ok();
    // Row, input, description: all of it is sent by the daemon after it has taken the job.
    for sent in [
        format!("POST {server}/jobs -> 200 ("),
        format!("PUT {server}/jobs/1/data/in.txt -> 204 ("),
        format!("PUT {server}/jobs -> 200 ("),
    ] {
        assert!(ran.stderr.contains(&sent), "no `{sent}`: {ran}");
    }
    let id = request_id(&ran, "; request ");
    let log = user.actctl(&["daemon", "logs", "--request", &id]).ok();
    assert!(log.lines().len() >= 3 && log.lines().iter().all(|l| l.contains(&format!("request={id}"))), "{log}");
    for what in ["POST /jobs on", "PUT /jobs/1/data/in.txt on", "PUT /jobs on"] {
        assert!(log.stdout.contains(what), "no {what}: {log}");
    }
    // The job's own log names the call, once.
    let steps = user.actctl(&["log", "thread"]).ok();
    assert!(steps.stdout.lines().take(2).any(|l| l.ends_with(&format!(" (request {id})"))), "{steps}");
    assert_eq!(steps.stdout.matches("(request ").count(), 1, "{steps}");
    // Another command has another id, and its own requests only.
    let other = user.actctl(&["-v", "info"]).ok();
    assert!(other.stderr.contains(&format!("GET {server}/info -> 200 (")) && !other.stderr.contains("POST"), "{other}");
    assert_ne!(request_id(&other, "; request "), id);
}

#[test]
fn a_failure_names_its_request_and_the_log_has_it_without_being_asked() {
    let world = World::ready();
    let user = &world.user;
    let _ = user.actctl(&["stat"]).ok();
    // Nobody listens there.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    user.kill_daemon();
    user.reroute(&nobody, &world.sandbox.info().webdav);
    let ran = user.actctl(&["info"]).exits(5);
    let id = request_id(&ran, "request:");
    let log = user.actctl(&["daemon", "logs", "--request", &id]).ok();
    assert!(log.stdout.contains("info") && log.stdout.contains(nobody.trim_start_matches("http://")), "{ran}{log}");
    let ran = user.actctl(&["info", "--json"]).exits(5);
    assert!(ran.json()["error"]["request"].as_str().is_some_and(|r| r.contains('-')), "{ran}");
    // A mistake of the caller's needs no log.
    let ran = user.actctl(&["kill", "5-3"]).exits(2);
    assert!(!ran.stderr.contains("request:"), "{ran}");
}
