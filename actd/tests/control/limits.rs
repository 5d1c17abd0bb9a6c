//! What a client may not do, and that the daemon lives on.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use serde_json::json;

use crate::daemon::{Daemon, Home, Lines};
use crate::subscribers::descriptions;

fn lives(home: &Home) {
    assert!(home.connect().call("daemon.status", &json!({}))["result"].is_object());
}

#[test]
fn a_message_that_is_too_large_is_refused() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let mut client = home.connect();
    let huge = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{}\"}}", "x".repeat(17 << 20));
    // The daemon may hang up before all of it is sent.
    let _ = client.stream.write_all(huge.as_bytes());
    let reply = client.next().expect("a word before it hangs up");
    assert_eq!(reply["error"]["code"], -32600, "{reply}");
    assert_eq!(client.next(), None);

    let mut framed = Lines::new(UnixStream::connect(home.socket()).expect("connect"));
    framed.send("Content-Length: 99999999999\r\n\r");
    assert!(String::from_utf8_lossy(&framed.rest()).contains("-32600"));
    lives(&home);
}

#[test]
fn batches_subscriptions_and_selectors_are_bounded() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let mut client = home.connect();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"proxy.status"}"#;
    client.send(&format!("[{}]", vec![call; 1001].join(",")));
    assert_eq!(client.next().expect("answer")["error"]["code"], -32600);
    client.send(&format!("[{}]", vec![call; 1000].join(",")));
    assert_eq!(client.next().expect("answer").as_array().map(Vec::len), Some(1000));
    for n in 1..=33 {
        let reply = client.call("events.subscribe", &json!({"types": ["end"]}));
        assert_eq!(reply["error"].is_null(), n <= 32, "subscription {n}: {reply}");
    }
    let many: Vec<String> = (0..1001).map(|n| n.to_string()).collect();
    let reply = client.call("jobs.kill", &json!({"filter": {"select": many}}));
    assert_eq!(reply["error"]["data"]["kind"], "too_many", "{reply}");
}

/// The peak of the daemon's memory, in KiB.
fn peak(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn replies_of_a_batch_that_go_beyond_a_message_are_not_kept_and_its_calls_are_carried_out() {
    let home = Home::new();
    let daemon = home.serve(&[]);
    let mut client = home.connect();
    let one = client.call("rpc.discover", &json!({})).to_string().len();
    let before = peak(&daemon);
    let discover = r#"{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}"#;
    let submit = json!({"jsonrpc": "2.0", "id": 1, "method": "jobs.submit",
        "params": {"descriptions": descriptions(1), "client_ref": "last"}});
    client.send(&format!("[{},{submit}]", vec![discover; 999].join(",")));
    let reply = client.next().expect("an answer");
    assert_eq!(reply["error"]["data"]["kind"], "too_many", "{reply}");
    let grown = peak(&daemon) - before;
    assert!(grown < 48 << 10, "by {grown} KiB for {} KiB of replies", (one * 999) >> 10);
    let list = client.call("jobs.list", &json!({}));
    assert_eq!(list["result"]["items"].as_array().map(Vec::len), Some(1), "{list}");
}

#[test]
fn what_would_mean_every_job_is_asked_back() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let mut client = home.connect();
    for method in ["jobs.kill", "jobs.clean", "jobs.fetch", "jobs.resubmit", "jobs.adopt"] {
        assert_eq!(client.call(method, &json!({}))["error"]["data"]["kind"], "all_not_meant", "{method}");
        let reversed = client.call(method, &json!({"filter": {"select": ["5-3"]}}));
        assert_eq!(reversed["error"]["data"]["kind"], "bad_selector", "{method}: {reversed}");
    }
    let reply = client.call("jobs.kill", &json!({"filter": {"all": true}}));
    // Nothing was ever read from the server: "no such job" would be a guess.
    assert_eq!(reply["error"]["data"]["kind"], "no_proxy", "{reply}");
}

#[test]
fn connections_are_bounded_and_come_free_again() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let mut open: Vec<Lines> = Vec::new();
    for _ in 0..256 {
        let mut client = home.connect();
        assert!(client.call("proxy.status", &json!({}))["result"].is_object());
        open.push(client);
    }
    let mut one_too_many = home.connect();
    let _ = one_too_many.stream.write_all(b"{}\n");
    let word = String::from_utf8_lossy(&one_too_many.rest()).into_owned();
    assert!(word.starts_with("HTTP/1.1 503 ") && word.contains("too many clients"), "{word}");
    open.clear();
    let free = crate::daemon::eventually(std::time::Duration::from_secs(20), || {
        let mut client = home.connect();
        let _ = client.stream.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"proxy.status\"}\n");
        let _ = client.stream.shutdown(std::net::Shutdown::Write);
        String::from_utf8_lossy(&client.rest()).contains("\"result\"")
    });
    assert!(free, "closed connections keep their places");
}

#[test]
fn garbage_does_no_harm() {
    let home = Home::new();
    let _daemon = home.serve(&[]);
    let deep = "[".repeat(100_000);
    for garbage in [
        "\0\0\0",
        "GET / HTTP/1.1\r\n\r\n",
        "{\n",
        "\u{feff}{}\n",
        "Content-Length: -1\r\n\r\n",
        "Content-Length\r\n",
        &deep,
    ] {
        let mut stream = UnixStream::connect(home.socket()).expect("connect");
        let _ = stream.write_all(garbage.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        Lines::new(stream).rest();
    }
    lives(&home);
}

/// Only root can become somebody else; elsewhere the socket's mode is all there is to test.
#[test]
fn another_user_is_refused_even_if_the_socket_is_open_to_all() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: nobody else to connect as");
        return;
    }
    let home = Home::new();
    let daemon = home.serve(&[]);
    for (sub, mode) in [("", 0o755), ("run", 0o755), ("run/actd", 0o755), ("run/actd/default.sock", 0o666)] {
        std::fs::set_permissions(home.path(sub), std::fs::Permissions::from_mode(mode)).expect("chmod");
    }
    let script = "import socket,sys\ns=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n\
                  try:\n  s.sendall(b'{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"daemon.status\"}\\n'); d=s.recv(100)\n\
                  except OSError: d=b''\nprint(len(d))";
    let python = |user: &[&str]| {
        let python = std::path::Path::new("/usr/bin/python3");
        let python = if python.exists() { python } else { std::path::Path::new("python3") };
        let mut all: Vec<&std::ffi::OsStr> = user.iter().map(std::ffi::OsStr::new).collect();
        let socket = home.socket();
        all.extend([python.as_os_str(), "-c".as_ref(), script.as_ref(), socket.as_os_str()]);
        let out = Command::new(all[0]).args(&all[1..]).output().expect("setpriv and python3 are needed");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    assert_ne!(python(&["env"]), "0", "the user themselves");
    assert_eq!(python(&["setpriv", "--reuid=65534", "--clear-groups"]), "0", "nobody");
    assert!(daemon.log().contains("uid 65534"), "{}", daemon.log());
}
