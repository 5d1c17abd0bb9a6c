//! Events that programs can rely on: a hundred subscribers, stuck ones among them; replay across a restart; calls that
//! finish although nobody waits for them.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::Message;

use crate::daemon::{Daemon, Home, Lines, eventually};

/// Each round submits so many jobs and kills them: twice as many events.
const JOBS: usize = 500;
const ROUNDS: usize = 4;
const LIVE: usize = 90;
const STUCK: usize = 10;

pub(crate) fn descriptions(n: usize) -> Value {
    let text = "&(executable=/bin/true)(walltime=1)(jobname=x)";
    vec![json!({"text": text, "base_dir": "/"}); n].into()
}

/// Memory of the daemon, in MB.
fn resident(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).expect("status");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).expect("a number") / 1024
}

/// Reads events until the number `last`; they must come in order, none twice, none missing.
fn follow(mut next: impl FnMut() -> Value, first: u64, last: u64) -> usize {
    let mut expected = first;
    let mut count = 0;
    while expected <= last {
        let event = next()["params"]["result"].clone();
        assert_eq!(event["seq"], expected, "in order, none missing: {event}");
        expected += 1;
        count += 1;
    }
    count
}

#[test]
fn a_hundred_subscribers_some_of_them_stuck() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let mut client = home.connect();
    let first = client.call("events.list", &json!({"limit": 1}))["result"]["last"].as_u64().expect("a number") + 1;
    let subscribe = r#"{"jsonrpc":"2.0","id":1,"method":"events.subscribe","params":{}}"#;
    let stuck: Vec<Lines> = (0..STUCK)
        .map(|_| {
            let mut stuck = home.connect();
            stuck.send(subscribe);
            assert!(stuck.next().expect("an answer")["result"].is_number());
            stuck
        })
        .collect();
    // The number of the last event, as soon as it is known.
    let last = Arc::new(Mutex::new(None::<u64>));
    let readers: Vec<_> = (0..LIVE)
        .map(|n| {
            let stream = UnixStream::connect(home.socket()).expect("connect");
            stream.set_read_timeout(Some(Duration::from_secs(120))).expect("timeout");
            let last = last.clone();
            let (ready_in, ready) = std::sync::mpsc::channel();
            let thread = std::thread::spawn(move || {
                // All the jobs' events come before anybody knows how many there are: read as they come, judge at the end.
                let mut seen: Vec<u64> = Vec::new();
                let mut take = |message: &Value| {
                    seen.push(message["params"]["result"]["seq"].as_u64().unwrap_or_default());
                    last.lock().expect("lock").is_some_and(|last| seen.last() >= Some(&last))
                };
                if n % 2 == 0 {
                    let mut lines = Lines::new(stream);
                    lines.send(subscribe);
                    assert!(lines.next().expect("an answer")["result"].is_number());
                    ready_in.send(()).expect("ready");
                    while !take(&lines.next().expect("an event")) {}
                } else {
                    let (mut socket, _) = tungstenite::client("ws://localhost/rpc", stream).expect("a WebSocket");
                    socket.send(Message::text(subscribe)).expect("send");
                    socket.read().expect("an answer");
                    ready_in.send(()).expect("ready");
                    let read = |m: Message| serde_json::from_str::<Value>(m.to_text().expect("text")).expect("JSON");
                    while !take(&read(socket.read().expect("an event"))) {}
                }
                seen
            });
            ready.recv().expect("a subscriber");
            thread
        })
        .collect();
    let before = resident(&daemon);
    let began = Instant::now();
    for round in 0..ROUNDS {
        let reply =
            client.call("jobs.submit", &json!({"descriptions": descriptions(JOBS), "client_ref": format!("r{round}")}));
        assert_eq!(reply["result"]["items"].as_array().map(Vec::len), Some(JOBS));
        let keys: Vec<Value> =
            reply["result"]["items"].as_array().expect("items").iter().map(|i| i["key"].clone()).collect();
        let killed = client.call("jobs.kill", &json!({"filter": {"select": keys}}));
        assert_eq!(killed["result"]["ok"].as_array().map(Vec::len), Some(JOBS), "{killed}");
    }
    // One more, by which each subscriber knows the end: all have the number before it is there.
    let so_far = client.call("events.list", &json!({"limit": 1}))["result"]["last"].as_u64().expect("a number");
    *last.lock().expect("lock") = Some(so_far + 1);
    client.call("jobs.submit", &json!({"descriptions": descriptions(1), "client_ref": "last"}));
    for reader in readers {
        let seen = reader.join().expect("a live subscriber has got everything");
        let want: Vec<u64> = (first..=so_far + 1).collect();
        assert!(seen.len() >= want.len() && seen[..want.len()] == want, "{} of {} events", seen.len(), want.len());
    }
    let events = so_far + 1 - first;
    assert!(events >= (2 * JOBS * ROUNDS) as u64, "{events} events");
    let after = resident(&daemon);
    println!("{events} events to {LIVE} subscribers in {:?}; {before} MB before, {after} MB after", began.elapsed());
    assert!(after < before + 100, "{before} MB before, {after} MB after");
    // The stuck ones are cut off; what they had not read yet is lost with the connection, and can be asked for again.
    let cut = || daemon.log().matches("a client that takes nothing is cut off").count();
    assert!(eventually(Duration::from_secs(90), || cut() >= STUCK), "{} of {STUCK} are cut off", cut());
    for mut lines in stuck {
        let mut next = first;
        while let Some(event) = lines.try_next() {
            assert_eq!(event["params"]["result"]["seq"], next, "what arrives, arrives in order");
            next += 1;
        }
        assert!(next < so_far, "nobody can have buffered {events} events");
        let mut again = home.connect();
        again.send(&subscribe.replace("{}", &format!("{{\"since\":{}}}", next - 1)));
        again.next().expect("an answer");
        assert_eq!(follow(|| again.next().expect("an event"), next, so_far) as u64, so_far + 1 - next);
    }
}

#[test]
fn events_are_replayed_across_a_restart_and_numbers_are_never_used_again() {
    let home = Home::new();
    let mut daemon = home.serve(&[]);
    let mut client = home.connect();
    client.call("jobs.submit", &json!({"descriptions": descriptions(20), "client_ref": "a"}));
    let all = |home: &Home| -> Vec<Value> {
        let list = home.connect().call("events.list", &json!({"since": 0, "types": ["job"]}));
        list["result"]["items"].as_array().expect("events").clone()
    };
    let before = all(&home);
    assert!(before.len() >= 20);
    daemon.signal("KILL");
    daemon.ended(Duration::from_secs(20));
    let _again = home.serve(&[]);
    assert_eq!(all(&home)[..before.len()], before[..], "the same events, word for word");
    let middle = before[9]["seq"].as_u64().expect("a number");
    let mut late = home.connect();
    late.call("events.subscribe", &json!({"since": middle, "types": ["job"]}));
    for event in &before[10..] {
        assert_eq!(&late.next().expect("an event")["params"]["result"], event);
    }
    home.connect().call("jobs.submit", &json!({"descriptions": descriptions(1), "client_ref": "b"}));
    let newest = late.next().expect("an event")["params"]["result"]["seq"].as_u64().expect("a number");
    assert!(before.iter().all(|e| e["seq"].as_u64() < Some(newest)));
    // A number that was never given, of another state directory: a gap, and then what is new.
    let since = json!({"since": newest + 1_000_000});
    let gap = home.connect().call("events.list", &since);
    assert_eq!((&gap["result"]["gap"], &gap["result"]["last"]), (&json!(true), &json!(newest)), "{gap}");
    let mut other = home.connect();
    other.call("events.subscribe", &since);
    assert_eq!(other.next().expect("an event")["params"]["result"]["type"], "gap");
    home.connect().call("jobs.submit", &json!({"descriptions": descriptions(1), "client_ref": "c"}));
    assert_eq!(other.next().expect("an event")["params"]["result"]["seq"], newest + 1);
}

#[test]
fn one_reference_is_one_submission_however_often_and_from_wherever() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let threads: Vec<_> = (0..20)
        .map(|_| {
            let mut client = home.connect();
            std::thread::spawn(move || {
                let params = json!({"descriptions": descriptions(5), "client_ref": "the same"});
                let reply = client.call("jobs.submit", &params);
                let keys = reply["result"]["items"].as_array().expect("items").iter().map(|i| i["key"].to_string());
                keys.chain([reply["result"]["batch"].to_string()]).collect()
            })
        })
        .collect();
    let answers: BTreeSet<Vec<String>> = threads.into_iter().map(|t| t.join().expect("an answer")).collect();
    assert_eq!(answers.len(), 1, "everybody is told of the same jobs: {answers:?}");
    let list = home.connect().call("jobs.list", &json!({}));
    assert_eq!(list["result"]["items"].as_array().map(Vec::len), Some(5));
}

#[test]
fn submissions_at_the_same_moment_are_batches_of_their_own() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let threads: Vec<_> = (0..20)
        .map(|_| {
            let mut client = home.connect();
            std::thread::spawn(move || {
                let reply = client.call("jobs.submit", &json!({"descriptions": descriptions(1)}));
                reply["result"]["batch"].as_str().map(str::to_owned).expect("a batch")
            })
        })
        .collect();
    let batches: BTreeSet<String> = threads.into_iter().map(|t| t.join().expect("an answer")).collect();
    assert_eq!(batches.len(), 20, "{batches:?}");
    for batch in batches {
        let list = home.connect().call("jobs.list", &json!({"filter": {"select": [format!("@{batch}")]}}));
        assert_eq!(list["result"]["items"].as_array().map(Vec::len), Some(1), "{list}");
    }
}

#[test]
fn a_call_that_changes_something_finishes_although_its_caller_hangs_up() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let body = |name: &str| {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "jobs.submit",
                          "params": {"descriptions": descriptions(200), "batch": name}});
        call.to_string()
    };
    let connect = || UnixStream::connect(home.socket()).expect("connect");
    let text = body("lines");
    connect().write_all(format!("{text}\n").as_bytes()).expect("send");
    let text = body("heads");
    connect().write_all(format!("Content-Length: {}\r\n\r\n{text}", text.len()).as_bytes()).expect("send");
    let text = body("http");
    let head = format!(
        "POST /rpc HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        text.len()
    );
    connect().write_all(format!("{head}{text}").as_bytes()).expect("send");
    let (mut socket, _) = tungstenite::client("ws://localhost/rpc", connect()).expect("a WebSocket");
    socket.send(Message::text(body("websocket"))).expect("send");
    drop(socket);
    let mut client = home.connect();
    for framing in ["lines", "heads", "http", "websocket"] {
        let mut there = 0;
        let done = eventually(Duration::from_secs(30), || {
            let list = client.call("jobs.list", &json!({"filter": {"select": [format!("@{framing}")]}}));
            there = list["result"]["items"].as_array().map_or(0, Vec::len);
            there == 200
        });
        assert!(done, "{framing}: {there} of 200 jobs");
    }
}
