//! Start and end: reports, the lock, the socket file, signals.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;

use crate::daemon::{Home, eventually};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_second_daemon_is_told_who_is_first() {
    let home = Home::new();
    let first = home.serve(&[]);
    let mut second = home.start(&[]);
    assert_eq!(second.report["error"]["kind"], "busy", "{}", second.report);
    let message = second.report["error"]["message"].as_str().expect("message");
    assert!(message.contains(&format!("pid {}", first.child.id())), "{message}");
    assert!(message.contains("default.sock"), "{message}");
    assert!(second.report["error"]["hint"].is_string());
    assert_eq!(second.ended(SOON).code(), Some(8));
    assert_eq!(home.connect().call("daemon.status", &json!({}))["result"]["pid"], first.child.id());
}

#[test]
fn only_the_user_can_reach_the_socket_and_the_state() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let mode = |sub: &str| std::fs::metadata(home.path(sub)).expect("stat").permissions().mode() & 0o777;
    assert_eq!(mode("run/actd"), 0o700);
    assert_eq!(mode("run/actd/default.sock"), 0o600);
    assert_eq!(mode("state/actd/default"), 0o700);
    assert_eq!(mode("state/actd/default/actd.lock"), 0o600);
}

#[test]
fn a_config_that_cannot_be_used_says_where() {
    let home = Home::with_config("server: http://127.0.0.1:1\nactd:\n  keep: soon\n");
    let mut daemon = home.start(&[]);
    assert_eq!(daemon.report["error"]["kind"], "bad_config");
    let message = daemon.report["error"]["message"].as_str().expect("message").to_owned();
    assert!(message.contains("config.yaml:3:9:"), "{message}");
    assert_eq!(daemon.ended(SOON).code(), Some(2));
    assert!(daemon.log().contains("config.yaml:3:9:") && daemon.log().contains("hint:"), "{}", daemon.log());
}

#[test]
fn a_killed_daemon_leaves_nothing_in_the_way() {
    let home = Home::new();
    let mut daemon = home.serve(&[]);
    daemon.signal("KILL");
    daemon.ended(SOON);
    assert!(home.socket().exists(), "SIGKILL leaves the socket file");
    let again = home.serve(&[]);
    assert_eq!(home.connect().call("daemon.status", &json!({}))["result"]["pid"], again.child.id());
}

#[test]
fn sigterm_ends_subscriptions_with_a_word_and_removes_the_socket() {
    let home = Home::new();
    let mut daemon = home.serve(&[]);
    let mut client = home.connect();
    let reply = client.call("events.subscribe", &json!({"types": ["end"]}));
    assert!(reply["result"].is_number(), "{reply}");
    daemon.signal("TERM");
    let last = client.next().expect("a last word");
    assert_eq!(last["params"]["result"]["type"], "end", "{last}");
    assert_eq!(client.next(), None);
    assert_eq!(daemon.ended(SOON).code(), Some(0));
    assert!(!home.socket().exists());
}

#[test]
fn a_client_may_ask_it_to_stop() {
    let home = Home::new();
    let mut daemon = home.serve(&[]);
    let reply = home.connect().call("daemon.stop", &json!({}));
    assert_eq!(reply["result"]["pid"], daemon.child.id(), "{reply}");
    assert_eq!(daemon.ended(SOON).code(), Some(0));
}

#[test]
fn the_socket_comes_back_when_a_logout_has_removed_its_directory() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    std::fs::remove_dir_all(home.path("run/actd")).expect("remove");
    assert!(eventually(SOON, || home.socket().exists()), "the socket does not come back");
    assert!(home.connect().call("daemon.status", &json!({}))["result"].is_object());
}

#[test]
fn a_daemon_without_jobs_and_clients_ends_by_itself() {
    let home = Home::new();
    let mut daemon = home.serve(&["--idle-exit", "1s"]);
    assert_eq!(daemon.ended(SOON).code(), Some(0));
    assert!(daemon.log().contains("nothing to do"), "{}", daemon.log());
}

#[test]
fn the_configuration_is_read_again_whole_or_not_at_all() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let config = home.path("config/act-client/config.yaml");
    let mut client = home.connect();
    let set = |text: &str| std::fs::write(&config, format!("server: http://127.0.0.1:1\n{text}")).expect("write");
    let results = |reply: &serde_json::Value| {
        let settings = reply["result"]["settings"].as_array().expect("settings").clone();
        settings.into_iter().find(|s| s["key"] == "actd.results").expect("actd.results")
    };
    set("actd:\n  results: /somewhere/else\n");
    let reply = client.call("daemon.reload", &json!({}));
    assert_eq!(results(&reply)["value"], "/somewhere/else", "{reply}");
    assert_eq!(results(&reply)["origin"], "file");
    for bad in ["actd:\n  results: /third\n  keep: x\n", "actd:\n  results: /third\n  state: /somewhere\n"] {
        set(bad);
        let reply = client.call("daemon.reload", &json!({}));
        assert_eq!(reply["error"]["data"]["kind"], "bad_config", "{reply}");
        let wrong = if bad.contains("keep") { "keep" } else { "actd.state" };
        assert!(reply["error"]["message"].as_str().is_some_and(|m| m.contains(wrong)), "not by name: {reply}");
        assert_eq!(results(&client.call("daemon.config", &json!({})))["value"], "/somewhere/else");
    }
}

#[test]
fn no_proxy_is_one_clear_error() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let mut client = home.connect();
    for method in ["server.info", "jobs.stat"] {
        let reply = client.call(method, &json!({}));
        assert_eq!(reply["error"]["data"]["kind"], "no_proxy", "{method}: {reply}");
        assert_eq!(reply["error"]["code"], 301);
        assert!(reply["error"]["data"]["hint"].as_str().is_some_and(|h| h.contains("arcproxy")), "{reply}");
    }
    assert_eq!(client.call("proxy.submit", &json!({}))["error"]["data"]["kind"], "no_proxy");
    assert_eq!(client.call("proxy.status", &json!({}))["result"]["state"], "missing");
}

#[test]
fn jobs_are_taken_and_wait_while_the_server_is_away() {
    let home = Home::new();
    std::fs::write(home.path("run.sh"), "#!/bin/sh\n").expect("write");
    let description = json!({
        "text": "&(executable=run.sh)(inputfiles=(run.sh \"\"))(jobname=waits)(walltime=5)",
        "base_dir": home.dir.path(), "path": "a.xrsl",
    });
    let submit = json!({"descriptions": [description], "client_ref": "once", "batch": "b1"});
    let mut daemon = home.serve(&[]);
    let first = home.connect().call("jobs.submit", &submit);
    assert_eq!(first["result"]["items"][0]["key"], "j1", "{first}");
    assert_eq!(first["result"]["batch"], "b1", "{first}");
    daemon.signal("KILL");
    daemon.ended(SOON);

    let _again = home.serve(&[]);
    let mut client = home.connect();
    // Whatever stands there by now.
    let changed = json!({"text": "&(executable=/bin/true)(jobname=other)(walltime=5)", "base_dir": "/"});
    let submit = json!({"descriptions": [changed], "client_ref": "once"});
    let second = client.call("jobs.submit", &submit);
    let item = &second["result"]["items"][0];
    assert_eq!(item["key"], "j1", "the same name is the same job: {second}");
    assert_eq!((&item["name"], &second["result"]["batch"]), (&json!("waits"), &json!("b1")), "{second}");
    let list = client.call("jobs.list", &json!({"filter": {"select": ["@b1"]}}));
    let job = &list["result"]["items"][0];
    assert_eq!((&job["phase"], &job["name"]), (&json!("queued"), &json!("waits")), "{list}");
    assert_eq!(job["description"], "a.xrsl");
    assert_eq!(job["waiting"]["reason"], "credential", "{list}");
    let stat = client.call("jobs.stat", &json!({"client": ["id", "jobname"], "arc": ["arcstate"]}));
    assert_eq!(stat["result"]["rows"], json!([[null, "waits", null]]), "{stat}");
    let killed = client.call("jobs.kill", &json!({"filter": {"select": ["j1"]}}));
    assert_eq!(killed["result"]["ok"][0]["key"], "j1", "{killed}");
    let history = client.call("jobs.history", &json!({}));
    assert_eq!(history["result"]["items"][0]["outcome"], "killed", "{history}");
    let log = client.call("jobs.log", &json!({"job": "j1"}));
    assert!(log["result"]["entries"].as_array().is_some_and(|e| e.len() >= 2), "{log}");
}
