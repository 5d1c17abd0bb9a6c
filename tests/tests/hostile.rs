//! A server that means harm, or has lost its mind: whatever it answers, the daemon stays small and answers its user, nothing
//! is written outside, nothing is cleaned that is not here, and when the server is well again everything goes on.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;

use act_proto::daemon::NoParams;
use act_proto::method::DaemonStatus;
use act_tests::{LONG, World, wait_for, xrsl};
use serde_json::{Value, json};

/// The most memory that the daemon may ever have had, bytes.
const MEMORY: u64 = 512 << 20;

/// A job that is done on the server and waits there to be downloaded.
fn done() -> World {
    let world = World::ready_with(&["--workers", "many"], &["download: manual"]);
    let user = &world.user;
    user.write("job.xrsl", xrsl::with("victim", "echo good; echo x > x", "(outputfiles=(\"x\" \"\"))"));
    let _ = user.actctl(&["sub", "job.xrsl"]).ok();
    user.wait_arcstate("1", "done");
    world
}

/// The peak of the daemon's memory, bytes.
fn peak(world: &World) -> u64 {
    let pid = world.user.daemon_pid().expect("the daemon is alive");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
}

/// Whether a case is left to a long run: tens of megabytes, or a wait.
fn is_left_out(what: &str) -> bool {
    let heavy = ["without end", "huge", "million", "very many", "does not come", "deep", "string", "null", "web page"];
    std::env::var_os("ACT_TESTS_FULL").is_none() && heavy.iter().any(|word| what.contains(word))
}

/// The server is well again: the results come, and it is cleaned.
fn brought(world: &World) {
    wait_for("the results", LONG, || {
        let ran = world.user.actctl(&["get", "victim"]);
        if world.sandbox.jobs().is_empty() { Ok(()) } else { Err(ran.to_string()) }
    });
}

/// What the daemon says is wrong with the server.
fn server_error(world: &World) -> Option<String> {
    world.user.call::<DaemonStatus>(&NoParams {}).expect("a status").server_error
}

/// The daemon finds by itself that the server is well again. Each failure in a row makes it wait twice as long before it looks.
fn well_again(world: &World) {
    wait_for("the daemon to see a server that is well", LONG, || server_error(world).map_or(Ok(()), Err));
}

/// Applies a fault; the daemon must go on answering; after it everything is as if nothing had been.
fn survives(world: &World, what: &str, fault: &Value, act: impl Fn(&World)) {
    let (pid, begin) = (world.user.daemon_pid(), std::time::Instant::now());
    world.sandbox.fault(fault);
    act(world);
    let _ = world.user.actctl(&["stat"]).ok();
    assert!(world.sandbox.faults_applied() > 0, "{what} was not met");
    assert_eq!(world.user.daemon_pid(), pid, "{what}: the daemon has died");
    assert!(peak(world) < MEMORY, "{what}: {} MB", peak(world) >> 20);
    world.sandbox.heal();
    assert_eq!(world.sandbox.jobs().len(), 1, "{what}: cleaned without having the results");
    well_again(world);
    println!("{what}: {:?}, peak {} MB", begin.elapsed(), peak(world) >> 20);
}

/// Waits until the daemon has met the fault so often.
fn met(world: &World, times: u64) {
    let _ = world.user.actctl(&["info"]);
    wait_for("the fault to be met", LONG, || {
        let applied = world.sandbox.faults_applied();
        if applied >= times { Ok(()) } else { Err(applied.to_string()) }
    });
}

#[test]
fn answers_without_end_sense_or_measure() {
    let world = done();
    let list = |fault: Value| json!({"method": "GET", "path": "/jobs", "fault": fault});
    let body = |text: String| list(json!({"kind": "body", "body": text}));
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let million = format!("[{}]", vec![r#"{"c_id":0,"c_jobname":"x"}"#; 1_000_000].join(","));
    for (what, fault) in [
        ("a list without end", list(json!({"kind": "endless"}))),
        ("a list that is said to be huge", list(json!({"kind": "endless", "content_length": 1_u64 << 50}))),
        ("a list of a million rows", body(million)),
        ("a list that is very deep", body(deep)),
        ("an object", body("{}".into())),
        ("a string", body("\"gone\"".into())),
        ("null", body("null".into())),
        (
            "rows of the wrong types",
            body(r#"[1, null, "x", [], {"c_id": {}}, {"c_id": "one", "a_arcstate": 7}]"#.into()),
        ),
        ("half a list", list(json!({"kind": "truncate", "bytes": 9}))),
        ("a web page", list(json!({"kind": "body", "body": "<html>", "content_type": "text/html"}))),
    ] {
        if !is_left_out(what) {
            survives(&world, what, &fault, |world| {
                met(world, 1);
                wait_for("the list to be refused", LONG, || server_error(world).map(|_| ()).ok_or_else(String::new));
            });
        }
    }
    assert!(world.user.job("victim").is_some(), "no such list makes it gone");
    brought(&world);
}

#[test]
fn results_that_are_traps() {
    let world = done();
    let user = &world.user;
    let get = |world: &World| {
        // It fails, or waits for a server that stalls: then the user goes away.
        let _ = world.user.shell("timeout 8 actctl get victim || true");
        // The daemon goes on by itself; here it is not to.
        let _ = world.user.shell("timeout 20 actctl daemon restart || true");
    };
    let results = |fault: Value| json!({"method": "GET", "path": "/jobs/*/results/", "fault": fault});
    let names: Vec<String> = (0..300_000).map(|n| format!("file-{n}-{}", "x".repeat(40))).collect();
    let tricks = json!({"kind": "listing", "file": ["../up", "/etc/passwd-of-ours", "..", ".", "", "a\u{0}b", "x/", "CON",
        "x".repeat(65_536), "X", "-rf", ".actd-manifest.json/x"], "dir": ["..", "x", "../../tmp"]});
    for (what, fault) in [
        ("names that lead elsewhere", results(tricks)),
        (
            "a listing of very many",
            results(json!({"kind": "body", "body": json!({"file": names, "dir": []}).to_string()})),
        ),
        ("a listing without end", results(json!({"kind": "endless"}))),
        (
            "levels that never end",
            json!({"method": "GET", "path": "/jobs/*/results/*",
            "fault": {"kind": "body", "body": json!({"dir": ["down"], "file": []}).to_string()}}),
        ),
        (
            "a file without end",
            json!({"method": "GET", "path": "/jobs/*/results/x", "fault": {"kind": "endless",
            "content_length": 1_u64 << 50}}),
        ),
        (
            "a file that does not come",
            json!({"method": "GET", "path": "/jobs/*/results/x", "fault": {"kind": "truncate",
            "bytes": 1, "stall": true}}),
        ),
    ] {
        if is_left_out(what) {
            continue;
        }
        let begin = std::time::Instant::now();
        world.sandbox.fault(&fault);
        get(&world);
        assert!(world.sandbox.faults_applied() > 0, "{what} was not met");
        let _ = user.actctl(&["stat"]).ok();
        assert!(peak(&world) < MEMORY, "{what}: {} MB", peak(&world) >> 20);
        world.sandbox.heal();
        assert_eq!(world.sandbox.jobs().len(), 1, "{what}: cleaned without having the results");
        println!("{what}: {:?}, peak {} MB", begin.elapsed(), peak(&world) >> 20);
    }
    for path in ["up", "passwd-of-ours"] {
        let found = user.shell(&format!("find {} -name {path}", world.scratch.path().display())).ok();
        assert_eq!(found.stdout, "", "{path} was written");
    }
    assert!(!Path::new("/etc/passwd-of-ours").exists());
    brought(&world);
}

/// Ten megabytes of nothing, packed; as often as one likes one behind the other is again a packed file.
fn bomb(world: &World) -> String {
    world.user.shell("head -c 10000000 /dev/zero | gzip -9 | base64 -w0").ok().stdout
}

/// Nothing is unpacked: what is 1 MB on the way would be 1 GB here.
#[test]
fn compressed_bombs() {
    let world = done();
    let body = bomb(&world);
    for (coding, path) in
        [("gzip", "/jobs"), ("br", "/info"), ("deflate", "/jobs/*/results/"), ("zstd", "/jobs/*/results/x")]
    {
        let is_full = std::env::var_os("ACT_TESTS_FULL").is_some();
        if coding != "gzip" && !is_full {
            continue;
        }
        let what = format!("a bomb of {coding} at {path}");
        let fault = json!({"method": "GET", "path": path, "fault": {"kind": "encoded", "coding": coding,
            "body": body, "times": 100}});
        survives(&world, &what, &fault, |world| match path {
            "/jobs" | "/info" => met(world, 1),
            _ => {
                let _ = world.user.shell("timeout 4 actctl get victim || true");
            }
        });
        if is_full {
            let _ = world.user.shell("timeout 20 actctl daemon restart || true");
        }
    }
    brought(&world);
    let dir = world.user.job("victim").and_then(|job| job.results).expect("results");
    assert_eq!(fs::read_to_string(Path::new(&dir).join("out.txt")).expect("out.txt"), "good\n");
}

/// Many clients that say nothing, half a request, or one byte now and then: there is an end to how many there can be, the
/// daemon stays small, and afterwards it serves as before.
#[test]
fn ten_thousand_connections() {
    let is_full = std::env::var_os("ACT_TESTS_FULL").is_some();
    let number = if is_full { 10_000 } else { 1_000 };
    let world = World::ready();
    let user = &world.user;
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).expect("descriptors");
    let mut open = Vec::new();
    for n in 0..number {
        let mut stream = UnixStream::connect(user.socket()).expect("connect");
        let word: &[u8] = match n % 4 {
            0 => b"",
            1 => b"{\"jsonrpc\":",
            2 => b"POST /rpc HTTP/1.1\r\nHost: x\r\nContent-Le",
            _ => b"Content-Length: 1000\r\n\r\n{",
        };
        // It may have hung up already.
        let _ = stream.write_all(word);
        open.push(stream);
    }
    let refused = user.actctl(&["stat"]);
    assert_ne!(refused.code, Some(0), "{refused}");
    assert!(refused.stderr.contains("503") || refused.stderr.contains("too many"), "{refused}");
    if !is_full {
        open.clear();
    }
    // In a long run nobody closes anything: those who do not come to an end are hung up on.
    let mut drip = 0;
    wait_for("the daemon to serve again", LONG * 2, || {
        for stream in &mut open {
            let _ = stream.write_all(b" ");
        }
        drip += 1;
        let ran = user.actctl(&["stat"]);
        if ran.code == Some(0) { Ok(()) } else { Err(format!("after {drip} drops: {ran}")) }
    });
    assert!(peak(&world) < MEMORY, "{} MB", peak(&world) >> 20);
}

#[test]
fn a_link_planted_where_results_go() {
    let world = done();
    let user = &world.user;
    let job = user.job("victim").expect("a job");
    let hash = job.job_id.as_deref().and_then(|url| url.rsplit('/').next()).expect("a URL").to_owned();
    let precious = user.root().join("precious");
    fs::create_dir(&precious).expect("mkdir");
    fs::write(precious.join("out.txt"), "precious").expect("write");
    symlink(&precious, user.work().join(&hash)).expect("symlink");
    let get = user.actctl(&["get", "victim"]).ok();
    assert!(get.stdout.contains(&format!("{hash}_1")), "{get}");
    assert_eq!(fs::read_to_string(precious.join("out.txt")).expect("read"), "precious");
    assert_eq!(fs::read_dir(&precious).expect("list").count(), 1);
    assert_eq!(user.read(format!("{hash}_1/out.txt")), "good\n");
    world.sandbox.wait_empty();
}
