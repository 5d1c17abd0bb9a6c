//! JSON-RPC 2.0, rule by rule, in every framing: the same messages must have the same answers wherever they are sent.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::daemon::Home;

/// One connection, or one for each message.
enum Wire {
    Http,
    WebSocket(Box<WebSocket<UnixStream>>),
    Lines(BufReader<UnixStream>),
    Heads(BufReader<UnixStream>),
}

fn connect(home: &Home) -> UnixStream {
    let stream = UnixStream::connect(home.socket()).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("timeout");
    stream
}

impl Wire {
    fn all(home: &Home) -> BTreeMap<&'static str, Self> {
        let (socket, _) = tungstenite::client("ws://localhost/rpc", connect(home)).expect("a WebSocket");
        BTreeMap::from([
            ("http", Self::Http),
            ("websocket", Self::WebSocket(Box::new(socket))),
            ("lines", Self::Lines(BufReader::new(connect(home)))),
            ("heads", Self::Heads(BufReader::new(connect(home)))),
        ])
    }

    /// Sends a message and returns the answer's text; none: HTTP says that there is none. (Elsewhere silence is seen by
    /// the next answer being that of the next call.)
    fn ask(&mut self, home: &Home, text: &[u8]) -> Option<String> {
        match self {
            Self::Http => {
                let mut stream = connect(home);
                let head = format!(
                    "POST /rpc HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
                     Content-Length: {}\r\n\r\n",
                    text.len()
                );
                stream.write_all(&[head.as_bytes(), text].concat()).expect("send");
                let mut answer = String::new();
                stream.read_to_string(&mut answer).expect("answer");
                let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
                let status = head.split(' ').nth(1).expect("a status");
                assert_eq!(status, if body.is_empty() { "204" } else { "200" }, "{answer}");
                (!body.is_empty()).then(|| body.to_owned())
            }
            Self::WebSocket(socket) => {
                let message = match std::str::from_utf8(text) {
                    Ok(text) => Message::text(text),
                    Err(_) => Message::binary(text.to_vec()),
                };
                socket.send(message).expect("send");
                Some(socket.read().expect("answer").into_text().expect("text").to_string())
            }
            Self::Lines(reader) => {
                let stream = reader.get_mut();
                stream.write_all(&[text, b"\n"].concat()).expect("send");
                let mut line = String::new();
                reader.read_line(&mut line).expect("answer");
                Some(line)
            }
            Self::Heads(reader) => {
                let head = format!("Content-Length: {}\r\n\r\n", text.len());
                reader.get_mut().write_all(&[head.as_bytes(), text].concat()).expect("send");
                let mut length = 0;
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).expect("a head");
                    match line.trim_end().split_once(": ") {
                        Some(("Content-Length", n)) => length = n.parse().expect("a length"),
                        Some(_) => {}
                        None => break,
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).expect("a body");
                Some(String::from_utf8(body).expect("UTF-8"))
            }
        }
    }
}

/// A call that works, with this id as it stands.
fn with_id(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"proxy.status"}}"#)
}

#[test]
fn every_id_comes_back_as_it_was() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    for (framing, mut wire) in Wire::all(&home) {
        for id in ["0", "7", "-1", "1.5", "1e3", "18446744073709551616", "null", r#""""#, r#""x""#, r#""é \" \\""#] {
            let answer = wire.ask(&home, with_id(id).as_bytes()).expect("an answer");
            let want = format!(r#""id":{id}"#);
            assert!(answer.contains(&want), "{framing} {id}: {answer}");
            let answer: Value = serde_json::from_str(&answer).expect("JSON");
            let members: Vec<&str> = answer.as_object().expect("an object").keys().map(String::as_str).collect();
            assert_eq!(members, ["id", "jsonrpc", "result"], "{framing} {id}: exactly these");
            assert_eq!(answer["jsonrpc"], "2.0");
            let unknown = wire.ask(&home, with_id(id).replace("proxy.", "prxy.").as_bytes()).expect("an answer");
            assert!(unknown.contains(&want), "{framing} {id}: {unknown}");
        }
        for id in ["true", "[]", "{}", "[1]"] {
            let answer: Value =
                serde_json::from_str(&wire.ask(&home, with_id(id).as_bytes()).expect("an answer")).expect("JSON");
            assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32600), &Value::Null), "{framing} {id}");
        }
    }
}

#[test]
fn what_is_wrong_is_said_in_the_same_way_everywhere() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    // What is sent, code, kind, id of the answer.
    let cases: &[(&[u8], i64, &str, Value)] = &[
        (br#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#, -32700, "no_json", Value::Null),
        (
            br#"[{"jsonrpc": "2.0", "method": "sum", "id": "1"},{"jsonrpc": "2.0", "method""#,
            -32700,
            "no_json",
            Value::Null,
        ),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", -32700, "no_json", Value::Null),
        (br#"{"jsonrpc":"2.0","id":1,"method":"proxy.status"} x"#, -32700, "no_json", Value::Null),
        (br#"{"jsonrpc":"2.0","id":1,"method":"proxy.status",}"#, -32700, "no_json", Value::Null),
        (b"[]", -32600, "bad_request", Value::Null),
        (b"{}", -32600, "bad_request", Value::Null),
        (br#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#, -32600, "bad_request", Value::Null),
        (br#"{"jsonrpc": "2.0", "method": 1, "id": 5}"#, -32600, "bad_request", json!(5)),
        (br#"{"jsonrpc": "2.0", "id": 5}"#, -32600, "bad_request", json!(5)),
        (br#"{"method": "proxy.status", "id": 5}"#, -32600, "bad_request", json!(5)),
        (br#"{"jsonrpc": "1.0", "method": "proxy.status", "id": 5}"#, -32600, "bad_request", json!(5)),
        (br#"{"jsonrpc": 2.0, "method": "proxy.status", "id": 5}"#, -32600, "bad_request", json!(5)),
        (br#"{"jsonrpc": "2.0", "method": "proxy.status", "params": "x", "id": 5}"#, -32600, "bad_request", json!(5)),
        (br#"{"jsonrpc": "2.0", "method": "proxy.status", "params": 1, "id": "a"}"#, -32600, "bad_request", json!("a")),
        (br#"{"jsonrpc": "2.0", "method": "foobar", "id": "1"}"#, -32601, "no_such_method", json!("1")),
        (br#"{"jsonrpc": "2.0", "method": "", "id": 1}"#, -32601, "no_such_method", json!(1)),
        (br#"{"jsonrpc": "2.0", "method": "rpc.nothing", "id": 1}"#, -32601, "no_such_method", json!(1)),
        (br#"{"jsonrpc": "2.0", "method": "Proxy.Status", "id": 1}"#, -32601, "no_such_method", json!(1)),
        (br#"{"jsonrpc": "2.0", "method": "jobs.list", "params": [1], "id": 1}"#, -32602, "bad_params", json!(1)),
        (
            br#"{"jsonrpc": "2.0", "method": "jobs.list", "params": {"fliter": {}}, "id": 1}"#,
            -32602,
            "bad_params",
            json!(1),
        ),
        (
            br#"{"jsonrpc": "2.0", "method": "jobs.list", "params": {"limit": "x"}, "id": 1}"#,
            -32602,
            "bad_params",
            json!(1),
        ),
        (br#"{"jsonrpc": "2.0", "method": "jobs.log", "id": 1}"#, -32602, "bad_params", json!(1)),
    ];
    for (framing, mut wire) in Wire::all(&home) {
        for (sent, code, kind, id) in cases {
            let shown = String::from_utf8_lossy(sent);
            let answer = wire.ask(&home, sent).unwrap_or_else(|| panic!("{framing}: no answer to {shown}"));
            let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{framing}: {answer}: {e}"));
            let error = &answer["error"];
            assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(code), &json!(kind)), "{framing}: {shown}");
            assert_eq!(&answer["id"], id, "{framing}: {shown}: {answer}");
            assert!(error["message"].as_str().is_some_and(|m| !m.is_empty()), "{framing}: {answer}");
            assert!(answer.get("result").is_none(), "{framing}: either a result or an error: {answer}");
        }
        // And it goes on after all that.
        let answer = wire.ask(&home, with_id("1").as_bytes()).expect("an answer");
        assert!(answer.contains("result"), "{framing}: {answer}");
    }
}

#[test]
fn what_is_unusual_but_right_is_taken() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    for (framing, mut wire) in Wire::all(&home) {
        for sent in [
            r#"{"jsonrpc":"2.0","id":1,"method":"proxy.status","params":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"proxy.status","params":[]}"#,
            r#"{"id":1,"extra":{"a":[1]},"params":{},"method":"proxy.status","jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"proxy.st\u0061tus"}"#,
            " \t{ \"jsonrpc\" : \"2.0\" , \"id\" : 1 , \"method\" : \"proxy.status\" } \r",
            r#"{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}"#,
        ] {
            let answer: Value =
                serde_json::from_str(&wire.ask(&home, sent.as_bytes()).expect("an answer")).expect("JSON");
            assert!(answer["result"].is_object(), "{framing} {sent}: {answer}");
        }
    }
}

#[test]
fn notifications_and_batches() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let submit = |name: &str| {
        let text = format!("&(executable=/bin/true)(walltime=1)(jobname={name})");
        json!({"jsonrpc": "2.0", "method": "jobs.submit", "params":
               {"descriptions": [{"text": text, "base_dir": "/"}], "client_ref": name}})
    };
    for (framing, mut wire) in Wire::all(&home) {
        // Carried out, and nothing said: neither to a good one nor to a bad one, alone or in a batch.
        let silent = [
            submit(framing).to_string(),
            r#"{"jsonrpc":"2.0","method":"no.such"}"#.to_owned(),
            r#"{"jsonrpc":"2.0","method":"jobs.list","params":[1]}"#.to_owned(),
            r#"[{"jsonrpc":"2.0","method":"proxy.status"},{"jsonrpc":"2.0","method":"no.such"}]"#.to_owned(),
        ];
        for (n, text) in silent.iter().enumerate() {
            if framing == "http" {
                assert_eq!(wire.ask(&home, text.as_bytes()), None);
                continue;
            }
            // The first thing that is heard is the answer to the call after it.
            let answer = match &mut wire {
                Wire::WebSocket(socket) => {
                    socket.send(Message::text(text.as_str())).expect("send");
                    wire.ask(&home, with_id(&n.to_string()).as_bytes())
                }
                Wire::Lines(reader) => {
                    writeln!(reader.get_mut(), "{text}").expect("send");
                    wire.ask(&home, with_id(&n.to_string()).as_bytes())
                }
                Wire::Heads(reader) => {
                    write!(reader.get_mut(), "Content-Length: {}\r\n\r\n{text}", text.len()).expect("send");
                    wire.ask(&home, with_id(&n.to_string()).as_bytes())
                }
                Wire::Http => unreachable!("above"),
            };
            let answer: Value = serde_json::from_str(&answer.expect("an answer")).expect("JSON");
            assert_eq!((&answer["id"], answer["result"].is_object()), (&json!(n), true), "{framing}: {answer}");
        }
        let done = crate::daemon::eventually(Duration::from_secs(20), || {
            let list = home.connect().call("jobs.list", &json!({"filter": {"name": framing}}));
            list["result"]["items"].as_array().is_some_and(|items| items.len() == 1)
        });
        assert!(done, "{framing}: a notification is carried out");
        // A batch: an array with one answer for each call, none for notifications, errors in their places.
        let batch = r#"[{"jsonrpc":"2.0","method":"proxy.status","id":"1"},{"jsonrpc":"2.0","method":"proxy.status"},
            {"foo":"boo"},1,[],{"jsonrpc":"2.0","method":"foo.get","params":{"name":"myself"},"id":"5"},
            {"jsonrpc":"2.0","method":"daemon.status","id":-9},{"jsonrpc":"2.0","method":"events.subscribe","id":10}]"#
            .replace('\n', " ");
        let answer = wire.ask(&home, batch.as_bytes()).expect("an answer");
        let answers: Vec<Value> = serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{framing}: {answer}: {e}"));
        let mut seen: Vec<(String, i64)> =
            answers.iter().map(|a| (a["id"].to_string(), a["error"]["code"].as_i64().unwrap_or_default())).collect();
        seen.sort();
        let want: Vec<(String, i64)> = [
            ("\"1\"", 0),
            ("\"5\"", -32601),
            ("-9", 0),
            ("10", -32600),
            ("null", -32600),
            ("null", -32600),
            ("null", -32600),
        ]
        .map(|(id, code)| (id.to_owned(), code))
        .to_vec();
        assert_eq!(seen, want, "{framing}");
        let answer: Value = serde_json::from_str(&wire.ask(&home, b"[1]").expect("an answer")).expect("JSON");
        assert_eq!(answer.as_array().map(Vec::len), Some(1), "{framing}: a batch of one is answered by a batch");
    }
}

#[test]
fn a_websocket_is_bounded_and_says_so() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let (mut socket, _) = tungstenite::client("ws://localhost/rpc", connect(&home)).expect("a WebSocket");
    let huge = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{}\"}}", "x".repeat(17 << 20));
    let _ = socket.send(Message::text(huge));
    let answer: Value = serde_json::from_str(socket.read().expect("a word").to_text().expect("text")).expect("JSON");
    assert_eq!(answer["error"]["code"], -32600, "{answer}");
    assert!(!socket.read().is_ok_and(|m| m.is_text()), "and then it hangs up");
    // Pings are answered, and a connection that has become a WebSocket counts as one.
    let (mut socket, _) = tungstenite::client("ws://localhost/", connect(&home)).expect("a WebSocket");
    socket.send(Message::Ping("x".into())).expect("send");
    assert!(matches!(socket.read(), Ok(Message::Pong(_))));
    socket.close(None).expect("close");
    assert!(matches!(socket.read(), Ok(Message::Close(_)) | Err(_)));
}
