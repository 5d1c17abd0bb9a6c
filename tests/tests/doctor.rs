//! `doctor`: what is well, what is not, and what to do about it.

use std::fs;
use std::time::{Duration, Instant};

use act_tests::ran::Ran;
use act_tests::wait::{LONG, wait_for};
use act_tests::world::World;
use act_tests::xrsl;
use serde_json::{Value, json};

/// The state and the words of a check.
#[track_caller]
fn check<'a>(report: &'a Value, name: &str) -> (&'a str, String) {
    let all = report["checks"].as_array().expect("a list of checks");
    let found = all.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no check {name}: {report:#}"));
    let word = |key: &str| found[key].as_str().unwrap_or_default();
    (word("state"), format!("{} fix: {}", word("message"), word("hint")))
}

fn doctor(world: &World) -> (Ran, Value) {
    let begun = Instant::now();
    let ran = world.user.actctl(&["doctor", "--json"]);
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {}", ran.stdout));
    assert_eq!(report["schema"], "act.doctor/1");
    (ran, report)
}

#[test]
fn a_healthy_setup() {
    let world = World::ready();
    world.user.write("a.xrsl", xrsl::shell("a", "echo some output"));
    let _ = world.user.actctl(&["sub", "--no-download", "a.xrsl"]).ok();
    world.user.wait_arcstate("a", "done");
    let (ran, report) = doctor(&world);
    assert_eq!((ran.code, &report["well"]), (Some(0), &json!(true)), "{report:#}");
    for name in ["programs", "runtime", "daemon", "config", "state", "disk", "inotify", "ca", "proxy", "voms", "token"]
    {
        assert_eq!(check(&report, name).0, "ok", "{name}: {report:#}");
    }
    for name in ["server", "clock", "range", "webdav"] {
        assert_eq!(check(&report, name).0, "ok", "{name}: {report:#}");
    }
    assert!(world.sandbox.webdav_contents().is_empty(), "the probe is left in the store");
    // A store whose door names another server for what is to be read, as dCache's does.
    let elsewhere = json!({"method": "GET", "count": 1, "fault": {"kind": "status", "status": 302}});
    world.sandbox.admin("POST", "/webdav/faults", Some(&elsewhere));
    let (_, report) = doctor(&world);
    let (state, words) = check(&report, "webdav");
    assert!(state == "ok" && words.contains("names other servers"), "{words}");
    let token = fs::read_to_string(world.user.token()).expect("a token");
    assert!(!ran.stdout.contains(&token) && !ran.stdout.contains("PRIVATE KEY"));
    // For people: a line each, and what to do.
    let people = world.user.actctl(&["doctor"]).ok();
    assert!(people.stdout.lines().any(|l| l.starts_with("ok    server")), "{}", people.stdout);
    world.sandbox.assert_no_violations();
    // Results that nobody can store.
    world.user.configure(&["results: /dev/null/results"]);
    let _ = world.user.actctl(&["daemon", "reload"]).ok();
    let (ran, report) = doctor(&world);
    let (state, words) = check(&report, "disk");
    assert!(ran.code == Some(1) && state == "fail" && words.contains("/dev/null"), "{words}");
}

#[test]
fn what_is_wrong_is_named_with_its_remedy() {
    let mut world = World::with(&[], &["dirs: [~/nowhere]", "min_free_disk: 900TB"]);
    world.user.set_env("X509_USER_PROXY", "/nonexistent/proxy");
    let authorities = world.user.root().join("authorities");
    fs::create_dir(&authorities).unwrap();
    world.user.set_env("X509_CERT_DIR", &authorities.display().to_string());
    let (ran, report) = doctor(&world);
    assert_eq!(ran.code, Some(1));
    let (state, words) = check(&report, "proxy");
    assert!(state == "fail" && words.contains("arcproxy"), "{words}");
    assert_eq!(check(&report, "token").0, "fail");
    assert_eq!(check(&report, "webdav").0, "skip");
    let (state, words) = check(&report, "dir");
    assert!(state == "warn" && words.contains("nowhere"), "{words}");
    let (state, words) = check(&report, "disk");
    assert!(state == "fail" && words.contains("actd.min_free_disk"), "{words}");
    let (state, words) = check(&report, "ca");
    assert!(state == "warn" && words.contains("no CA is in") && words.contains("openssl rehash"), "{words}");
    // The right CA under a name that nobody looks for; and with a revocation list that is out of date.
    let sandbox = world.sandbox.info().dir.join("pki/authority");
    let (cert, key) = (sandbox.join("cert.pem"), sandbox.join("key.pem"));
    fs::copy(&cert, authorities.join("00000000.0")).unwrap();
    let (_, report) = doctor(&world);
    let (state, words) = check(&report, "ca");
    assert!(state == "warn" && words.contains("have names that OpenSSL does not look for"), "{words}");
    let script = format!(
        "h=$(openssl x509 -hash -noout -in {cert}) && cp {cert} $h.0 && touch index && printf 01 >number && \
         printf '[ca]\\ndefault_ca=a\\n[a]\\ndatabase=index\\ncrlnumber=number\\ndefault_md=sha256\\n' >cnf && \
         openssl ca -gencrl -config cnf -cert {cert} -keyfile {key} -crlsec 1 -out $h.r0 2>&1",
        cert = cert.display(),
        key = key.display()
    );
    let ran = std::process::Command::new("sh").args(["-c", &script]).current_dir(&authorities).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    wait_for("a list out of date", LONG, || {
        let (_, report) = doctor(&world);
        let (state, words) = check(&report, "ca");
        let told = state == "warn" && words.contains(".r0") && words.contains("fetch-crl");
        if told { Ok(()) } else { Err(words) }
    });
}

#[test]
fn a_server_and_a_store_that_are_away_or_hang() {
    let mut world = World::ready();
    world
        .sandbox
        .fault(&json!({"method": "GET", "path": "/info", "count": 9, "fault": {"kind": "delay", "ms": 20_000}}));
    let (ran, report) = doctor(&world);
    assert_eq!(ran.code, Some(1));
    assert_eq!(check(&report, "server").0, "fail", "{report:#}");
    world.sandbox.heal();
    world.sandbox.stop();
    let (ran, report) = doctor(&world);
    assert_eq!(ran.code, Some(1));
    let (state, words) = check(&report, "server");
    assert!(state == "fail" && words.contains("network"), "{words}");
    let (state, words) = check(&report, "webdav");
    assert!(state == "fail" && words.contains("MKCOL"), "{words}");
}

#[test]
fn a_configuration_with_a_mistake_and_one_without_a_server() {
    let world = World::new();
    let good = fs::read_to_string(world.user.config()).expect("a config file");
    world.user.write_config(&format!("{good}  poll_min: soon\n").replace("  poll_min: 100ms\n", ""));
    let (ran, report) = doctor(&world);
    assert_eq!(ran.code, Some(1));
    let (state, words) = check(&report, "config");
    assert!(state == "fail" && words.contains("config.yaml:") && words.contains("soon"), "{words}");
    world.user.write_config("clusters: {}\n");
    let (_, report) = doctor(&world);
    let (state, words) = check(&report, "config");
    assert!(state == "fail" && words.contains("server: https://HOST"), "{words}");
    // Unknown keys are told of, too.
    world.user.write_config(&good.replace("actd:\n", "actd:\n  resluts: /tmp\n"));
    let (_, report) = doctor(&world);
    let (state, words) = check(&report, "config");
    assert!(state == "warn" && words.contains("actd.results"), "{words}");
}
