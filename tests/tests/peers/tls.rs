//! Servers that are not who they should be: nothing is sent to them, neither token nor proxy nor files; it is said what is
//! wrong and what can be done; and when the right one is back everything goes on.

use std::fs;

use act_tests::{World, xrsl};

/// What is wrong with a certificate, and words of the error and of its hint.
const WRONG: [(&str, &str, &str); 3] = [
    ("self-signed", "signed by nobody but itself", "administrator"),
    ("wrong-host", "for another host", "the host name that is in the certificate"),
    ("expired", "expired", "clock"),
];

/// Requests that the aCT server has got since it was started.
fn requests(world: &World) -> usize {
    world.sandbox.admin("GET", "/journal", None).as_array().map_or(0, Vec::len)
}

/// Requests that the WebDAV store has got since it was started.
fn dav_requests(world: &World) -> String {
    world.sandbox.admin("GET", "/webdav/journal", None).to_string()
}

#[test]
fn a_server_with_a_wrong_certificate_gets_nothing() {
    let mut world = World::with(&["--tls", "--workers", "many"], &["download: manual"]);
    assert!(world.sandbox.info().server.starts_with("https://"));
    let _ = world.user.actctl(&["proxy"]).ok();
    world.user.write("job.xrsl", xrsl::shell("kept", "echo kept"));
    let _ = world.user.actctl(&["sub", "job.xrsl"]).ok();
    world.user.wait_arcstate("kept", "done");
    for (wrong, why, remedy) in WRONG {
        world.sandbox.restart_with(&[&format!("--tls={wrong}"), "--workers", "many"]);
        // With a token at hand, and with a proxy to be delegated.
        for args in [&["info"][..], &["proxy"]] {
            let ran = world.user.actctl(args).exits(5);
            assert!(ran.stderr.contains(why) && ran.stderr.contains("nothing was sent"), "{wrong}: {ran}");
            let hint = ran.stderr.lines().find(|line| line.contains("hint:")).unwrap_or_default();
            assert!(hint.contains(remedy), "{wrong}: {ran}");
        }
        assert_eq!(requests(&world), 0, "{wrong}: something was sent");
        assert_eq!(world.sandbox.jobs().len(), 1);
    }
    world.sandbox.restart_with(&["--tls", "--workers", "many"]);
    // The daemon waits for a while after so many failures.
    world.user.kill_daemon();
    let _ = world.user.actctl(&["get", "kept"]).ok();
    world.sandbox.wait_empty();
    assert_eq!(world.sandbox.runs_of("kept"), 1);
}

#[test]
fn a_server_of_an_unknown_authority_gets_nothing() {
    let mut world = World::with(&["--tls"], &[]);
    let empty = world.user.root().join("no-authorities");
    fs::create_dir(&empty).unwrap();
    world.user.set_env("X509_CERT_DIR", &empty.display().to_string());
    let ran = world.user.actctl(&["proxy"]).exits(5);
    assert!(ran.stderr.contains("no CA that is known here"), "{ran}");
    assert!(ran.stderr.contains("hint:") && ran.stderr.contains("X509_CERT_DIR"), "{ran}");
    assert_eq!(requests(&world), 0, "something was sent");
}

#[test]
fn a_store_with_a_wrong_certificate_gets_nothing() {
    let mut world = World::ready_with(&["--workers", "many"], &[]);
    world.user.write("in.txt", "precious\n");
    for (wrong, why, remedy) in WRONG {
        world.sandbox.restart_with(&["--workers", "many", "--webdav-cert", wrong]);
        let file = format!("{wrong}.xrsl");
        world.user.write(&file, xrsl::cat(wrong, "in.txt"));
        let _ = world.user.actctl(&["sub", "--webdav", "--detach", &file]).ok();
        let job = world.user.wait_job(wrong, "waits", |job| job.waiting.as_ref().is_some_and(|w| w.reason == "retry"));
        let message = job.waiting.map(|waiting| waiting.message).unwrap_or_default();
        assert!(message.contains(why) && message.contains(remedy), "{wrong}: {message}");
        assert_eq!(dav_requests(&world), "[]", "{wrong}: something was sent");
    }
    world.sandbox.restart_with(&["--workers", "many"]);
    // It waits long between its tries after so many failures.
    world.user.kill_daemon();
    let _ = world.user.actctl(&["daemon", "start"]).ok();
    for (name, _, _) in WRONG {
        let job = world.user.wait_phase(name, "stored");
        let out = fs::read_to_string(format!("{}/out.txt", job.results.expect("results"))).expect("out.txt");
        assert_eq!(out, "precious\n");
    }
    world.sandbox.wait_empty();
}

/// As many dCache installations have it: the door is asked over TLS, the pool that it names speaks plain HTTP.
#[test]
fn a_pool_in_clear_text_needs_a_word() {
    let world = World::ready_with(&["--webdav", "dcache-http"], &[]);
    world.user.write("in.txt", "for the pool\n");
    world.user.write("job.xrsl", xrsl::cat("pooled", "in.txt"));
    let ran = world.user.actctl(&["sub", "--webdav", "job.xrsl"]);
    assert_ne!(ran.code, Some(0), "{ran}");
    assert!(ran.stdout.contains("in clear text") && ran.stdout.contains("`allow_http: true`"), "{ran}");
    assert!(!dav_requests(&world).contains("\"pool\""), "something was sent to the pool: {}", dav_requests(&world));
    world.sandbox.wait_empty();

    world.user.configure(&["allow_http: true"]);
    let _ = world.user.actctl(&["daemon", "reload"]).ok();
    let ran = world.user.actctl(&["sub", "--webdav", "job.xrsl"]).ok();
    let job = world.user.wait_phase("pooled", "stored");
    let out = fs::read_to_string(format!("{}/out.txt", job.results.expect("results"))).expect("out.txt");
    assert_eq!(out, "for the pool\n", "{ran}");
    let journal = dav_requests(&world);
    assert!(journal.contains("\"pool\""), "{journal}");
    world.sandbox.wait_empty();
}
