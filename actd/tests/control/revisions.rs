//! Revisions and numbers of events, as clients go by them that ask again and again while jobs come and go: what happens
//! between two calls, or while there is no connection, is told, and told once.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::{Home, Lines, eventually};
use crate::subscribers::descriptions;

/// Each submits so many jobs, and kills the first of them.
const JOBS: usize = 4;
const ROUNDS: usize = 40;

/// Jobs come and go as fast as the daemon takes them. Gives the keys of all, and of those that were killed.
fn traffic(mut client: Lines) -> JoinHandle<(BTreeSet<String>, BTreeSet<String>)> {
    thread::spawn(move || {
        let (mut all, mut killed) = (BTreeSet::new(), BTreeSet::new());
        for round in 0..ROUNDS {
            let submission = json!({"descriptions": descriptions(JOBS), "client_ref": format!("r{round}")});
            let reply = client.call("jobs.submit", &submission);
            let items = reply["result"]["items"].as_array().expect("items");
            let keys: Vec<String> = items.iter().map(|i| i["key"].as_str().expect("a key").to_owned()).collect();
            let reply = client.call("jobs.kill", &json!({"filter": {"select": [keys[0]]}}));
            assert_eq!(reply["result"]["ok"].as_array().map(Vec::len), Some(1), "{reply}");
            killed.insert(keys[0].clone());
            all.extend(keys);
        }
        (all, killed)
    })
}

fn keys(list: &Value) -> Vec<String> {
    let items = list["result"]["items"].as_array().unwrap_or_else(|| panic!("{list}"));
    items.iter().map(|job| job["key"].as_str().expect("a key").to_owned()).collect()
}

#[test]
fn what_happens_between_two_calls_is_told_once() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let mut client = home.connect();
    // There is no credential. From when on that is known, all that is still to be sent would be told of again.
    client.call("jobs.submit", &json!({"descriptions": descriptions(1), "client_ref": "first"}));
    let is_held = |list: Value| list["result"]["items"][0]["waiting"]["reason"] == "credential";
    assert!(eventually(Duration::from_secs(20), || is_held(client.call("jobs.list", &json!({})))));
    let start = client.call("jobs.list", &json!({}))["result"]["rev"].clone();
    let traffic = traffic(home.connect());
    // Nothing happens to those that are not killed: each has one revision.
    let (mut listed, mut changed) = (BTreeMap::<String, u32>::new(), BTreeMap::<String, u32>::new());
    let (mut list_rev, mut changes_rev, mut closed_rev) = (start.clone(), start.clone(), start);
    let mut closed = BTreeMap::<String, u32>::new();
    loop {
        let is_over = traffic.is_finished();
        let list = client.call("jobs.list", &json!({"since_rev": list_rev}));
        list_rev = list["result"]["rev"].clone();
        keys(&list).into_iter().for_each(|key| *listed.entry(key).or_default() += 1);
        let changes = client.call("jobs.changes", &json!({"since_rev": changes_rev, "timeout_ms": 50}));
        changes_rev = changes["result"]["rev"].clone();
        assert!(changes["result"]["next"].is_null(), "one page: {changes}");
        keys(&changes).into_iter().for_each(|key| *changed.entry(key).or_default() += 1);
        // Those that close are told of to whoever names them.
        let known: Vec<&str> = changed.keys().map(String::as_str).chain(["j1"]).collect();
        let ends = client.call("jobs.changes", &json!({"keys": known, "since_rev": closed_rev}));
        closed_rev = ends["result"]["rev"].clone();
        for job in ends["result"]["items"].as_array().expect("items").iter().filter(|job| job["phase"] == "closed") {
            *closed.entry(job["key"].as_str().expect("a key").to_owned()).or_default() += 1;
        }
        if is_over {
            break;
        }
    }
    let (all, killed) = traffic.join().expect("all calls are answered");
    let stay: BTreeSet<&String> = all.difference(&killed).collect();
    for (what, told) in [("jobs.list", &listed), ("jobs.changes", &changed)] {
        let lost: Vec<&&String> = stay.iter().filter(|key| !told.contains_key(**key)).collect();
        assert!(lost.is_empty(), "{what} has not told of {lost:?}");
        let twice: Vec<_> = told.iter().filter(|(key, times)| **times > 1 && stay.contains(key)).collect();
        assert!(twice.is_empty(), "{what} has told of {twice:?}");
    }
    // Some came and went between two looks; of those that were known before, each end is told once.
    let wrong: Vec<_> =
        killed.iter().filter(|key| changed.contains_key(*key) && closed.get(*key) != Some(&1)).collect();
    assert!(wrong.is_empty(), "the ends of {wrong:?}: {closed:?}");
    let late = client.call("jobs.list", &json!({"since_rev": list_rev}));
    assert_eq!(keys(&late), Vec::<String>::new(), "nothing has happened since");
}

#[test]
fn what_happens_while_a_subscriber_is_away_is_told_once() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let mut client = home.connect();
    let mut last = 0;
    let traffic = traffic(home.connect());
    let mut subscriptions = 0;
    loop {
        let is_over = traffic.is_finished();
        // When there is something to read, so that nobody waits for what does not come.
        let news = client.call("events.list", &json!({"since": last, "timeout_ms": 1_000}))["result"]["last"].as_u64();
        if news.is_none_or(|news| news <= last) {
            if is_over {
                break;
            }
            continue;
        }
        let mut subscriber = home.connect();
        let answer = subscriber.call("events.subscribe", &json!({"since": last}));
        assert!(answer["result"].is_number(), "{answer}");
        subscriptions += 1;
        // A few, and away again in the middle of them.
        for _ in 0..3 {
            let event = subscriber.next().expect("an event")["params"]["result"].take();
            assert_eq!(event["seq"], last + 1, "{event}");
            last += 1;
            if Some(last) >= news {
                break;
            }
        }
    }
    traffic.join().expect("all calls are answered");
    assert!(last >= (ROUNDS * (JOBS + 1)) as u64, "{last} events");
    assert!(subscriptions > ROUNDS, "{subscriptions} subscriptions");
}

#[test]
fn who_submits_again_because_an_answer_was_lost_is_told_what_has_become_of_the_jobs() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let mut client = home.connect();
    let submission = json!({"descriptions": descriptions(2), "client_ref": "lost"});
    let lost = client.call("jobs.submit", &submission);
    client.call("jobs.kill", &json!({"filter": {"select": [lost["result"]["items"][0]["key"]]}}));
    let again = client.call("jobs.submit", &submission)["result"].take();
    let keys: Vec<&Value> = again["items"].as_array().expect("items").iter().map(|item| &item["key"]).collect();
    let changes = client.call("jobs.changes", &json!({"keys": keys, "since_rev": again["rev"]}));
    let phases: Vec<&Value> =
        changes["result"]["items"].as_array().expect("items").iter().map(|job| &job["phase"]).collect();
    assert_eq!(phases, ["closed", "queued"], "{changes}");
}

/// What a client knows is of another daemon than the one it asks, and by then that one may have counted as far.
#[test]
fn who_asks_with_a_revision_from_before_a_restart_is_told_of_every_job() {
    let home = Home::new();
    let mut daemon = home.serve(&[]);
    let mut client = home.connect();
    let submit = |client: &mut Lines, number: usize| {
        client.call("jobs.submit", &json!({"descriptions": descriptions(1), "client_ref": format!("r{number}")}));
    };
    (0..5).for_each(|number| submit(&mut client, number));
    let old = client.call("jobs.list", &json!({}))["result"]["rev"].as_u64().expect("a revision");
    daemon.signal("KILL");
    daemon.ended(Duration::from_secs(20));
    let _again = home.serve(&[]);
    let mut client = home.connect();
    // The count goes on for longer than the old one did.
    (5..50).for_each(|number| submit(&mut client, number));
    let list = client.call("jobs.list", &json!({"since_rev": old}));
    assert!(list["result"]["rev"].as_u64() > Some(old), "{old}: {list}");
    let all: BTreeSet<String> = (1..=50).map(|number| format!("j{number}")).collect();
    assert_eq!(keys(&list).into_iter().collect::<BTreeSet<_>>(), all, "jobs.list");
    let changes = client.call("jobs.changes", &json!({"since_rev": old, "settled": true}));
    assert_eq!(keys(&changes).into_iter().collect::<BTreeSet<_>>(), all, "jobs.changes");
    // And it is told once: from here on nothing is new.
    let now = changes["result"]["rev"].clone();
    let late = client.call("jobs.list", &json!({"since_rev": now}));
    assert_eq!(keys(&late), Vec::<String>::new(), "{late}");
}

#[test]
fn pages_of_closed_jobs_hold_each_once_and_tell_of_names_that_none_has() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let mut client = home.connect();
    let (all, _) = traffic(home.connect()).join().expect("all calls are answered");
    // From the third on they are closed: most of the history lies behind the first page, and two live ones before it.
    let select: Vec<&String> = all.iter().filter(|key| !["j1", "j2", "j3"].contains(&key.as_str())).collect();
    client.call("jobs.kill", &json!({"filter": {"select": select}}));
    for filter in [json!({}), json!({"select": ["x", "nosuch", "j2", "j150", "j999"]})] {
        let (mut seen, mut missing, mut after) = (Vec::new(), Vec::new(), Value::Null);
        loop {
            let page = client.call("jobs.list", &json!({"closed": true, "limit": 7, "filter": filter, "after": after}));
            let page = page["result"].as_object().unwrap_or_else(|| panic!("{page}")).clone();
            missing.extend(page["missing"].as_array().expect("missing").iter().cloned());
            let items = page["items"].as_array().expect("items");
            assert!(items.len() <= 7);
            seen.extend(
                items.iter().map(|job| job["key"].as_str().expect("a key")[1..].parse::<u64>().expect("a key")),
            );
            after = page["next"].clone();
            if after.is_null() {
                break;
            }
        }
        assert!(seen.is_sorted_by(|a, b| a < b), "each once, in order: {seen:?}");
        assert_eq!(seen.len(), all.len());
        let asked = if filter == json!({}) { vec![] } else { vec!["nosuch", "j999"] };
        assert_eq!(missing, asked, "told once");
    }
}
