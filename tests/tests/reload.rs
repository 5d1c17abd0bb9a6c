//! Another configuration while the daemon runs: every setting but the server and the state directory takes effect, and one
//! mistake keeps all of it as it was.

use std::fs;

use act_tests::wait::{LONG, wait_for};
use act_tests::world::World;
use act_tests::xrsl;

/// All that the daemon has logged.
fn log(world: &World) -> String {
    world.user.actctl(&["daemon", "logs", "--lines", "100000"]).ok().stdout
}

fn setting(world: &World, key: &str) -> serde_json::Value {
    let shown = world.user.actctl(&["config", "show", "--json"]).ok().json();
    let settings = shown["settings"].as_array().unwrap_or_else(|| panic!("{shown}")).clone();
    settings.into_iter().find(|s| s["key"] == key).unwrap_or_else(|| panic!("{key}: {shown}"))["value"].clone()
}

#[test]
fn settings_take_effect_without_a_restart() {
    let world = World::ready_with(&[], &["download: manual"]);
    let user = &world.user;
    let pid = user.daemon_pid();
    user.write("in.txt", "x");
    user.write("job.xrsl", xrsl::cat("waits", "in.txt"));
    let _ = user.actctl(&["sub", "job.xrsl"]).ok();
    user.wait_arcstate("1", "done");
    assert!(!log(&world).contains("DEBUG"));

    user.configure(&[
        "log: debug",
        "download: auto",
        "results: ~/other",
        "requests: 2",
        "transfers: 1",
        "rate_limit: 10 MiB",
        "poll_min: 150ms",
        "keep: 3d",
    ]);
    let _ = user.actctl(&["daemon", "reload"]).ok();
    // What has been waiting on the server since is downloaded: the engine goes by the new policy.
    let job = user.wait_phase("1", "stored");
    assert!(job.results.is_some(), "{job:?}");
    wait_for("a word that only `log: debug` lets through", LONG, || {
        if log(&world).contains("DEBUG") { Ok(()) } else { Err("none".into()) }
    });
    user.write("job2.xrsl", xrsl::cat("next", "in.txt"));
    let _ = user.actctl(&["sub", "job2.xrsl"]).ok();
    let job = user.wait_phase("2", "stored");
    let dir = job.results.unwrap_or_default();
    assert!(dir.starts_with(&user.root().join("home/other").display().to_string()), "{dir}");
    assert_eq!(user.daemon_pid(), pid, "it was restarted");
}

#[test]
fn whom_to_trust_and_how_fast_to_download() {
    let mut world = World::with(&["--tls", "--workers", "many"], &[]);
    // The variable would win over the file.
    world.user.set_env("X509_CERT_DIR", "");
    let (user, authorities) = (&world.user, &world.sandbox.info().ca_dir);
    user.configure(&["download: manual", &format!("ca_dir: {}", authorities.display())]);
    let _ = user.actctl(&["proxy"]).ok();
    user.write("job.xrsl", xrsl::shell("large", "head -c 3000000 /dev/zero"));
    let _ = user.actctl(&["sub", "job.xrsl"]).ok();
    user.wait_arcstate("1", "done");
    let nobody = user.root().join("no-authorities");
    fs::create_dir(&nobody).unwrap();
    user.configure(&["download: manual", &format!("ca_dir: {}", nobody.display())]);
    let _ = user.actctl(&["daemon", "reload"]).ok();
    let _ = user.actctl(&["info"]).exits(5).says(&["no CA that is known here"]);
    // The directory named is not another, what is in it is.
    for file in fs::read_dir(authorities).unwrap().flatten() {
        fs::copy(file.path(), nobody.join(file.file_name())).unwrap();
    }
    let _ = user.actctl(&["daemon", "reload"]).ok();
    let _ = user.actctl(&["info"]).ok();
    // A second and a half at least, from its beginning to its end.
    user.configure(&["download: manual", "rate_limit: 1 MB", &format!("ca_dir: {}", authorities.display())]);
    let _ = user.actctl(&["daemon", "reload"]).ok();
    let begun = std::time::Instant::now();
    let _ = user.actctl(&["get", "1"]).ok();
    let took = begun.elapsed();
    assert!(took.as_millis() >= 1_500, "3 MB at 1 MB a second took {took:?}");
}

#[test]
fn more_and_fewer_places_for_transfers() {
    let world = World::ready_with(&[], &["transfers: 1"]);
    let user = &world.user;
    user.write("in.txt", "x");
    for (n, transfers) in [64, 1, 3].into_iter().enumerate() {
        user.configure(&[&format!("transfers: {transfers}"), "download: auto"]);
        let _ = user.actctl(&["daemon", "reload"]).ok();
        let name = format!("job{n}");
        user.write(&format!("{name}.xrsl"), xrsl::cat(&name, "in.txt"));
        let _ = user.actctl(&["sub", &format!("{name}.xrsl")]).ok();
        user.wait_phase(&(n + 1).to_string(), "stored");
    }
}

#[test]
fn one_mistake_keeps_everything_and_what_cannot_change_is_named() {
    let world = World::ready_with(&[], &["keep: 5d"]);
    let user = &world.user;
    let before = setting(&world, "actd.keep");
    let good = fs::read_to_string(user.config()).unwrap();
    for (bad, says) in [
        (good.replace("keep: 5d", "keep: 6d\n  transfers: 0"), "actd.transfers"),
        (good.replace("keep: 5d", "keep: 6d\n  log: 'actd=nonsense=x'"), "actd.log"),
        (good.replace("keep: 5d", "keep: 6d\n  state: /tmp/elsewhere"), "actd.state"),
        (good.replace("server: http", "server: http://other.example:1 #"), "server"),
    ] {
        user.write_config(&bad);
        let ran = user.actctl(&["daemon", "reload"]).exits(2).says(&[says]);
        assert!(!ran.stderr.contains("actd.keep"), "{ran}");
        assert_eq!(setting(&world, "actd.keep"), before, "after {bad}");
    }
    user.write_config(&good.replace("keep: 5d", "keep: 6d"));
    let _ = user.actctl(&["daemon", "reload"]).ok();
    assert_ne!(setting(&world, "actd.keep"), before);
}

#[test]
fn a_reload_that_is_asked_for_while_it_stops_does_not_cut_that_short() {
    use rustix::process::{Pid, Signal, kill_process};
    let mut world = World::new();
    // As in a terminal that a service of the desktop has started; the log is a file nevertheless.
    world.user.set_env("JOURNAL_STREAM", "1:2");
    let user = &world.user;
    let _ = user.actctl(&["proxy"]).ok();
    let slow = serde_json::json!({"method": "PUT", "path": "/jobs", "fault": {"kind": "delay", "ms": 4_000}});
    world.sandbox.fault(&slow);
    user.write("job.xrsl", xrsl::shell("slow", "true"));
    let _ = user.actctl(&["sub", "--detach", "job.xrsl"]).ok();
    user.wait_phase("j1", "confirming");
    let pid = user.daemon_pid().and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("a daemon runs");
    let log = || fs::read_to_string(user.state().join("actd.log")).unwrap_or_default();
    let says = |words: &str| wait_for(words, LONG, || if log().contains(words) { Ok(()) } else { Err(log()) });
    kill_process(pid, Signal::TERM).expect("it is there");
    says("actd::daemon: stopping");
    // It may have come to its end on a machine that is slow.
    let _ = kill_process(pid, Signal::HUP);
    wait_for("its end", LONG, || match user.daemon_pid() {
        Some(pid) => Err(format!("pid {pid}")),
        None => Ok(()),
    });
    let log = log();
    assert!(log.contains("actd::daemon: stopped") && !log.contains("at once"), "{log}");
    assert!(log.lines().all(|line| line.starts_with("20")), "each line has its time: {log}");
}

/// Puts the authority's list into `dir`, after `before` has been done with `ca`: `openssl ca`.
fn publish_list(world: &World, dir: &std::path::Path, before: &str, times: &str) {
    let pki = world.sandbox.info().dir.join("pki");
    let script = format!(
        "cd {pki}/authority && touch index && test -e number || printf 01 >number && \
         printf '[ca]\\ndefault_ca=a\\n[a]\\ndatabase=index\\ncrlnumber=number\\ndefault_md=sha256\\n' >cnf && \
         ca() {{ openssl ca -config cnf -cert cert.pem -keyfile key.pem \"$@\" 2>&1; }} && {before} && \
         ca -gencrl {times} -out {dir}/$(openssl x509 -hash -noout -in cert.pem).r0",
        pki = pki.display(),
        dir = dir.display()
    );
    let ran = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}

#[test]
fn what_a_revocation_list_names_is_refused() {
    let mut world = World::with(&["--tls", "--workers", "many"], &[]);
    let dir = world.user.root().join("authorities");
    fs::create_dir(&dir).unwrap();
    for file in fs::read_dir(&world.sandbox.info().ca_dir).unwrap().flatten() {
        fs::copy(file.path(), dir.join(file.file_name())).unwrap();
    }
    world.user.set_env("X509_CERT_DIR", &dir.display().to_string());
    publish_list(&world, &dir, "true", "-crldays 1");
    let user = &world.user;
    let _ = user.actctl(&["proxy"]).ok();
    user.write("in.txt", "listed\n");
    user.write("job.xrsl", xrsl::cat("listed", "in.txt"));
    let _ = user.actctl(&["sub", "job.xrsl"]).ok();
    let job = user.wait_phase("1", "stored");
    let results = std::path::PathBuf::from(job.results.expect("results"));
    assert_eq!(fs::read_to_string(results.join("out.txt")).unwrap(), "listed\n");
    world.sandbox.wait_empty();

    let reload = || user.actctl(&["daemon", "reload"]).ok();
    // A list that is out of date names nobody: other clients of the server would ask none at all.
    publish_list(&world, &dir, "true", "-crl_lastupdate 20200101000000Z -crl_nextupdate 20200102000000Z");
    let _ = reload();
    let _ = user.actctl(&["info"]).ok();
    publish_list(&world, &dir, "ca -revoke ../host/cert.pem", "-crldays 1");
    let _ = reload();
    let _ = user.actctl(&["info"]).exits(5).says(&["its CA has revoked it", "nothing was sent"]);
}
