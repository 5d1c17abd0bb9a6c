//! What is spoken on the socket, by clients that are not ours: curl, Python's standard library, and bytes by hand.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::daemon::Home;

fn curl(home: &Home, args: &[&str]) -> Output {
    let socket = home.socket();
    Command::new("curl")
        .args(["-sS", "--max-time", "30", "--unix-socket"])
        .arg(socket)
        .args(args)
        .output()
        .expect("curl is needed for this test")
}

#[test]
fn curl_posts_calls_and_batches() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let post = |body: &str| {
        let out = curl(&home, &["-H", "content-type: application/json", "-d", body, "http://x/rpc"]);
        assert!(out.status.success(), "{out:?}");
        serde_json::from_slice::<Value>(&out.stdout).unwrap_or_else(|e| panic!("{out:?}: {e}"))
    };
    let hello = r#"{"jsonrpc":"2.0","id":7,"method":"daemon.hello","params":{"client":"curl","protocol":1}}"#;
    let reply = post(hello);
    assert_eq!((&reply["id"], &reply["result"]["pid"]), (&json!(7), &json!(daemon.child.id())));
    let batch = post(&format!(r#"[{hello},{{"jsonrpc":"2.0","id":8,"method":"no.such"}}]"#));
    assert_eq!(batch[1]["error"]["code"], -32601, "{batch}");
    let wrong = post(r#"{"jsonrpc":"2.0","id":1,"method":"daemon.hello","params":{"client":"x","protocol":9}}"#);
    assert_eq!(wrong["error"]["data"]["kind"], "wrong_protocol");
    let unknown = post(r#"{"jsonrpc":"2.0","id":1,"method":"jobs.list","params":{"fliter":{}}}"#);
    assert_eq!(unknown["error"]["code"], -32602);
    assert!(unknown["error"]["message"].as_str().is_some_and(|m| m.contains("fliter")), "{unknown}");
    let positional = post(r#"{"jsonrpc":"2.0","id":1,"method":"jobs.list","params":[1]}"#);
    assert_eq!(positional["error"]["code"], -32602);
    let subscribe = post(r#"{"jsonrpc":"2.0","id":1,"method":"events.subscribe"}"#);
    assert_eq!(subscribe["error"]["code"], -32600, "{subscribe}");
    let status = |args: &[&str]| {
        let out = curl(&home, &[&["-o", "/dev/null", "-w", "%{http_code}"], args].concat());
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let notification = r#"{"jsonrpc":"2.0","method":"daemon.status"}"#;
    assert_eq!(status(&["-H", "content-type: application/json", "-d", notification, "http://x/rpc"]), "204");
    assert_eq!(status(&["-H", "content-type: text/plain", "-d", notification, "http://x/rpc"]), "415");
    assert_eq!(status(&["http://x/nothing"]), "404");
    assert!(String::from_utf8_lossy(&curl(&home, &["http://x/healthz"]).stdout).contains("ok"));
    let metrics = String::from_utf8_lossy(&curl(&home, &["http://x/metrics"]).stdout).into_owned();
    assert!(metrics.contains("actd_blocked{reason=\"credential\"} 1\n"), "{metrics}");
}

#[test]
fn python_speaks_lines_with_its_standard_library() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let script = r#"
import json, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
f = s.makefile("rw", encoding="utf-8", newline="\n")
def call(i, method, **params):
    f.write(json.dumps({"jsonrpc": "2.0", "id": i, "method": method, "params": params}) + "\n"); f.flush()
    return json.loads(f.readline())
assert call(1, "daemon.hello", client="python", protocol=1)["result"]["protocol"] == 1
names = [m["name"] for m in call(2, "rpc.discover")["result"]["methods"]]
assert "jobs.submit" in names and "events.subscribe" in names, names
print(call(3, "daemon.status")["result"]["pid"])
"#;
    let mut python = Command::new("python3")
        .arg("-")
        .arg(home.socket())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is needed for this test");
    python.stdin.take().expect("stdin").write_all(script.as_bytes()).expect("script");
    let out = python.wait_with_output().expect("python3");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), daemon.child.id().to_string());
}

#[test]
fn content_length_framing_as_language_servers_have_it() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let mut stream = UnixStream::connect(home.socket()).expect("connect");
    stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).expect("timeout");
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"daemon.hello","params":{"client":"x","protocol":1}}"#;
    // In pieces, and with another header, as real clients send it.
    for piece in ["Content-Len", "gth: ", &body.len().to_string(), "\r\nContent-Type: x\r\n", "\r\n", body] {
        stream.write_all(piece.as_bytes()).expect("send");
        stream.flush().expect("flush");
    }
    stream.shutdown(std::net::Shutdown::Write).expect("shutdown");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answer");
    let (head, reply) = answer.split_once("\r\n\r\n").expect("a head");
    assert_eq!(head, format!("Content-Length: {}", reply.len()));
    let reply: Value = serde_json::from_str(reply).expect("JSON");
    assert_eq!(reply["result"]["protocol"], 1);
}

#[test]
fn the_specification_s_own_examples() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let mut client = home.connect();
    let one = |client: &mut crate::daemon::Lines, text: &str| {
        client.send(text);
        client.next().expect("an answer")
    };
    let reply = one(&mut client, r#"{"jsonrpc": "2.0", "method": "foobar", "id": "1"}"#);
    assert_eq!((&reply["error"]["code"], &reply["id"]), (&json!(-32601), &json!("1")));
    let reply = one(&mut client, r#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#);
    assert_eq!((&reply["error"]["code"], &reply["id"]), (&json!(-32700), &json!(null)));
    let reply = one(&mut client, r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#);
    assert_eq!((&reply["error"]["code"], &reply["id"]), (&json!(-32600), &json!(null)));
    let reply = one(&mut client, r#"[{"jsonrpc": "2.0", "method": "sum", "id": "1"},{"jsonrpc": "2.0", "method""#);
    assert_eq!(reply["error"]["code"], -32700);
    let reply = one(&mut client, "[]");
    assert_eq!(reply["error"]["code"], -32600);
    let reply = one(&mut client, "[1,2,3]");
    assert_eq!(reply.as_array().map(Vec::len), Some(3));
    assert!(reply[2]["error"]["code"] == -32600 && reply[2]["id"].is_null(), "{reply}");
    // Notifications are carried out and not answered; a batch of them is not answered at all.
    client.send(r#"{"jsonrpc": "2.0", "method": "daemon.status"}"#);
    client.send(r#"[{"jsonrpc": "2.0", "method": "daemon.status"}, {"jsonrpc": "2.0", "method": "no.such"}]"#);
    let reply = one(&mut client, r#"{"jsonrpc": "2.0", "method": "daemon.config", "id": null}"#);
    assert!(reply["id"].is_null() && reply["result"].is_object(), "{reply}");
}

#[test]
fn events_of_two_connections_do_not_mix() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let (mut a, mut b) = (home.connect(), home.connect());
    let id = a.call("events.subscribe", &json!({"types": ["job"]}))["result"].clone();
    assert!(id.is_number());
    assert_eq!(b.call("events.unsubscribe", &json!([id]))["result"], false, "another connection's subscription");
    let text = "&(executable=/bin/true)(jobname=x)(walltime=1)";
    let submit = json!({"descriptions": [{"text": text, "base_dir": "/"}]});
    assert_eq!(b.call("jobs.submit", &submit)["result"]["items"][0]["key"], "j1");
    let event = a.next().expect("an event");
    assert_eq!(
        (&event["method"], &event["params"]["result"]["key"]),
        (&json!("events.event"), &json!("j1")),
        "{event}"
    );
    assert_eq!(a.call("events.unsubscribe", &json!([id]))["result"], true);
    // Replay: the same event for whoever comes later.
    let since = b.call("events.list", &json!({"since": 0, "types": ["job"]}));
    assert_eq!(since["result"]["items"][0], event["params"]["result"], "{since}");
}
