//! The API from outside: programs and libraries that we did not write, and the examples for people who write clients.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use act_tests::{Editor, User, World, bins, xrsl};
use serde_json::{Value, json};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/examples");
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");
const SOON: Duration = Duration::from_secs(120);

/// npm packages, installed into the target directory once.
fn node_modules() -> PathBuf {
    let target = bins::dir().parent().expect("target/PROFILE").join("tmp/node-peers");
    let found = Command::new(Path::new(PEERS).join("node-modules.sh")).arg(target).output().expect("a shell");
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    String::from_utf8_lossy(&found.stdout).trim().into()
}

fn example(user: &User, program: &str, args: &[&str]) -> act_tests::Ran {
    let mut command = user.command(program);
    let (file, rest) = args.split_first().expect("a file");
    command.arg(Path::new(EXAMPLES).join(file)).args(rest);
    if program == "node" {
        command.env("NODE_PATH", node_modules());
    }
    user.run(command, SOON)
}

#[test]
fn the_examples_submit_wait_and_list() {
    let world = World::ready();
    let user = &world.user;
    let one = xrsl::shell("good", "echo hello");
    user.write("job.xrsl", &one);
    user.write("two.xrsl", format!("+({})({})", one.trim(), xrsl::fail("bad", 3).trim()));
    user.write("broken.xrsl", "&(executabel=x)");
    let all = [("python3", "jobs.py"), ("sh", "jobs.sh"), ("node", "jobs.js"), ("lua5.4", "jobs.lua")];
    for (program, file) in all {
        let ran = example(user, program, &[file, "job.xrsl"]).ok();
        let lines = ran.lines();
        assert!(lines[0].ends_with(" good done"), "{ran}");
        assert!(lines.contains(&"  out.txt 6"), "{ran}");
        let ran = example(user, program, &[file, "two.xrsl"]).exits(1);
        assert!(ran.stdout.contains(" good done\n") && ran.stdout.contains(" bad failed\n"), "{ran}");
        let ran = example(user, program, &[file, "broken.xrsl"]).exits(1);
        assert!(ran.stdout.is_empty() && ran.stderr.contains("executa"), "{ran}");
    }
    let _ = user.actctl(&["daemon", "stop"]).ok();
    let ran = example(user, "node", &["jobs.js", "--stdio", "job.xrsl"]).ok();
    assert!(ran.stdout.contains(" good done\n"), "the bridge has started the daemon: {ran}");
}

#[test]
fn websockets_of_another_library() {
    let world = World::ready();
    let mut node = world.user.command("node");
    node.arg(Path::new(PEERS).join("ws.js")).arg(world.user.socket()).env("NODE_PATH", node_modules());
    let told = world.user.run(node, SOON).ok().json();
    let hint = "did you mean `jobs.list`? `rpc.discover` lists all methods";
    let want = json!({"protocol": 1, "kind": "no_such_method", "hint": hint, "batch": 1, "subscribed": "number", "event": "credential"});
    assert_eq!(told, want);
}

#[test]
fn socat_and_the_bridge_end_with_the_last_answer() {
    let world = World::ready();
    let user = &world.user;
    let calls = r#"printf '%s\n' '{"jsonrpc":"2.0","id":1,"method":"daemon.hello","params":{"client":"x","protocol":1}}' \
                   '{"jsonrpc":"2.0","id":2,"method":"no.such"}' '{"jsonrpc":"2.0","method":"proxy.status"}'"#;
    let socket = user.socket().display().to_string();
    for to in [format!("socat -t30 - UNIX-CONNECT:{socket}"), "actctl rpc --stdio".to_owned()] {
        let ran = user.shell(&format!("{calls} | {to}")).ok();
        let mut answers: Vec<Value> =
            ran.lines().iter().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l}: {e}"))).collect();
        answers.sort_by_key(|a| a["id"].as_i64());
        assert_eq!(answers.len(), 2, "{ran}");
        assert_eq!((&answers[0]["result"]["protocol"], &answers[1]["error"]["code"]), (&json!(1), &json!(-32601)));
    }
    // HTTP goes through the bridge, too, and nothing at all is an end.
    let http = "printf 'GET /healthz HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' | actctl rpc --stdio";
    assert!(user.shell(http).ok().stdout.ends_with("ok\n"));
    assert_eq!(user.shell("actctl rpc --stdio </dev/null").ok().stdout, "");
}

#[test]
fn the_bridge_waits_for_its_first_word_and_tells_when_the_daemon_goes() {
    let world = World::ready();
    let user = &world.user;
    let _ = user.actctl(&["daemon", "stop"]).ok();
    let mut bridge = Editor::start(user, &["rpc", "--stdio"]);
    let pid = bridge.result("daemon.status", &json!({}))["pid"].as_u64();
    assert_eq!(pid, user.daemon_pid().map(u64::from), "it was started");
    bridge.result("events.subscribe", &json!({"types": ["end"]}));
    bridge.result("daemon.stop", &json!({}));
    assert_eq!(bridge.notified("events.event")["result"]["type"], "end");
    assert_eq!(bridge.ended().code(), Some(8));
}
