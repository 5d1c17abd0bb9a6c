//! Proxy and token: delegated, renewed, refused, replaced by others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use act_proto::Kind;
use act_proto::daemon::NoParams;
use act_proto::method::{DaemonDoctor, ProxyStatus, ServerInfo};
use act_proto::proxy::Status;
use act_proto::server::InfoParams;
use act_tests::user::User;
use act_tests::wait::{LONG, wait_for};
use act_tests::world::World;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

fn status(user: &User) -> Status {
    user.call::<ProxyStatus>(&NoParams {}).expect("proxy.status answers")
}

fn wait_status(user: &User, what: &str, fits: impl Fn(&Status) -> bool) -> Status {
    wait_for(what, LONG, || {
        let status = status(user);
        if fits(&status) { Ok(status) } else { Err(format!("{status:?}")) }
    })
}

/// Puts a token there that nobody signed: what it claims is read, and the server refuses it.
fn plant(path: &Path, proxyid: i64, expires: i64) {
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(serde_json::json!({"alg": "HS256", "typ": "JWT"}));
    let claims = part(serde_json::json!({"proxyid": proxyid, "exp": expires}));
    fs::write(path, format!("{head}.{claims}.{}", URL_SAFE_NO_PAD.encode([7; 32]))).expect("a token can be written");
}

const FAR: i64 = 4_000_000_000;

#[test]
fn a_new_daemon_delegates_by_itself_to_the_server_of_the_config() {
    let world = World::new();
    let _ = world.user.actctl(&["info"]).ok();
    let status = wait_status(&world.user, "a credential", |s| s.state == "ok");
    assert_eq!(status.proxyid, Some(1));
    assert!(status.token_expires.is_some() && status.voms.len() == 1, "{status:?}");
    let token = fs::read(world.user.token()).expect("the token file");
    assert!(!token.ends_with(b"\n"), "act dies on a newline there");
    let mode = fs::metadata(world.user.token()).expect("the token file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(world.sandbox.journal("POST", "/proxies").len(), 1);
    assert_eq!(world.sandbox.journal("PUT", "/proxies").len(), 1);
    assert!(world.sandbox.journal("DELETE", "/proxies").is_empty());
}

#[test]
fn a_restart_does_not_delegate_again() {
    let world = World::ready();
    let before = world.sandbox.journal("POST", "/proxies").len();
    world.user.kill_daemon();
    let _ = world.user.actctl(&["stat"]).ok();
    assert_eq!(status(&world.user).state, "ok");
    assert_eq!(world.sandbox.journal("POST", "/proxies").len(), before);
}

#[test]
fn a_delegation_that_was_cut_off_is_done_again_from_the_start() {
    let world = World::new();
    let cut = serde_json::json!({"method": "PUT", "path": "/proxies", "count": 1, "fault": {"kind": "reset"}});
    world.sandbox.fault(&cut);
    // The daemon's own attempt at its start is cut off, or this one is: then the next one is not.
    let first = world.user.actctl(&["proxy"]);
    if first.code != Some(0) {
        let _ = world.user.actctl(&["proxy"]).ok();
    }
    assert_eq!(status(&world.user).state, "ok");
    let (posts, puts) = (world.sandbox.journal("POST", "/proxies"), world.sandbox.journal("PUT", "/proxies"));
    assert_eq!(posts.len(), puts.len(), "never a PUT without its own POST");
    assert!(posts.len() >= 2);
}

#[test]
fn a_token_that_the_server_refuses_is_replaced_once() {
    let world = World::ready();
    let before = world.sandbox.journal("POST", "/proxies").len();
    plant(&world.user.token(), 1, FAR);
    wait_for("a new delegation", LONG, || {
        let _ = world.user.actctl(&["stat"]);
        match world.sandbox.journal("POST", "/proxies").len() {
            n if n == before + 1 => Ok(()),
            n => Err(format!("{n} delegations, {before} before")),
        }
    });
    wait_status(&world.user, "a credential", |s| s.state == "ok");
    assert_eq!(world.sandbox.journal("POST", "/proxies").len(), before + 1);
}

#[test]
fn another_identity_s_token_is_not_taken_while_there_are_jobs() {
    let world = World::ready_with(&["--delays", "submitting=600000"], &[]);
    world.user.write("a.xrsl", "&(executable=/bin/true)(jobname=a)(walltime=1)");
    let _ = world.user.actctl(&["sub", "a.xrsl"]).ok();
    let good = fs::read(world.user.token()).expect("the token file");
    let before = world.sandbox.journal("POST", "/proxies").len();
    plant(&world.user.token(), 77, FAR);
    let parked = wait_status(&world.user, "the other identity", |s| s.state == "other_identity");
    assert!(parked.hint.is_some_and(|h| h.contains("--switch-identity")));
    let e = world.user.call::<ServerInfo>(&InfoParams::default()).expect_err("parked");
    assert_eq!(e.data.kind, Kind::OtherIdentity);
    assert_eq!(world.user.jobs().len(), 1, "the job is not gone");
    assert_eq!(world.sandbox.journal("POST", "/proxies").len(), before, "nothing is delegated over it");
    fs::write(world.user.token(), good).expect("a token can be written");
    wait_status(&world.user, "the old identity", |s| s.state == "ok");
}

/// The sandbox's proxy under another name.
fn copy_of_the_proxy(world: &World, name: &str) -> std::path::PathBuf {
    let copy = world.user.root().join(name);
    let pem = fs::read(&world.sandbox.info().proxy).expect("the sandbox's proxy");
    fs::write(&copy, pem).expect("a file can be written");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).expect("chmod");
    copy
}

#[test]
fn a_proxy_that_the_server_refuses_does_not_come_into_force() {
    let world = World::ready();
    let before = status(&world.user).proxy_path;
    let other = copy_of_the_proxy(&world, "other-proxy");
    let refuse = serde_json::json!({"method": "POST", "path": "/proxies", "count": 1, "fault": {"kind": "status", "status": 400}});
    world.sandbox.fault(&refuse);
    let _ = world.user.actctl(&["proxy", "--file", other.to_str().expect("a path")]).exits(5);
    // The daemon has gone on since: a second word is answered after the first one's end.
    let _ = world.user.actctl(&["daemon", "reload"]).ok();
    assert_eq!(status(&world.user).proxy_path, before);
    world.user.kill_daemon();
    let _ = world.user.actctl(&["stat"]).ok();
    assert_eq!(status(&world.user).proxy_path, before);
}

#[test]
fn the_proxy_named_last_is_in_force() {
    let world = World::ready();
    let [named, configured] = ["named", "configured"].map(|name| copy_of_the_proxy(&world, name));
    let _ = world.user.actctl(&["proxy", "--file", named.to_str().expect("a path")]).ok();
    let in_force = || status(&world.user).proxy_path;
    assert_eq!(in_force(), named.display().to_string());
    world.user.kill_daemon();
    let _ = world.user.actctl(&["stat"]).ok();
    assert_eq!(in_force(), named.display().to_string());
    // The config file is changed, first while the daemon runs, then while it does not.
    let text = fs::read_to_string(world.user.config()).expect("the config file");
    let usual = world.sandbox.info().proxy.display().to_string();
    let changed = text.replace(&format!("proxy: {usual}\n"), &format!("proxy: {}\n", configured.display()));
    assert_ne!(changed, text);
    world.user.write_config(&changed);
    let _ = world.user.actctl(&["daemon", "reload"]).ok();
    assert_eq!(in_force(), configured.display().to_string());
    let _ = world.user.actctl(&["proxy", "--file", named.to_str().expect("a path")]).ok();
    world.user.kill_daemon();
    world.user.write_config(&text);
    let _ = world.user.actctl(&["stat"]).ok();
    assert_eq!(in_force(), usual);
}

#[test]
fn a_proxy_that_comes_later_is_picked_up() {
    let mut world = World::new();
    let late = world.user.root().join("late-proxy");
    world.user.set_env("X509_USER_PROXY", late.to_str().expect("a path"));
    let ran = world.user.actctl(&["stat"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let missing = status(&world.user);
    assert_eq!((missing.state.as_str(), missing.proxyid), ("missing", None), "{missing:?}");
    let pem = fs::read(&world.sandbox.info().proxy).expect("the sandbox's proxy");
    let part = late.with_extension("part");
    fs::write(&part, pem).expect("a file can be written");
    fs::set_permissions(&part, fs::Permissions::from_mode(0o600)).expect("chmod");
    fs::rename(&part, &late).expect("rename");
    wait_status(&world.user, "a credential", |s| s.state == "ok");
}

#[test]
fn the_proxy_s_mode_and_another_path_are_noticed() {
    let world = World::ready();
    let user = &world.user;
    let proxy = &world.sandbox.info().proxy;
    let warned = |expected: bool| {
        wait_for("the doctor's word about the mode", LONG, || {
            let checks = user.call::<DaemonDoctor>(&NoParams {}).expect("the doctor answers").checks;
            let warned = checks.iter().any(|check| format!("{check:?}").contains("can be read by others"));
            if warned == expected { Ok(()) } else { Err(format!("{checks:?}")) }
        });
    };
    fs::set_permissions(proxy, fs::Permissions::from_mode(0o644)).expect("chmod");
    warned(true);
    fs::set_permissions(proxy, fs::Permissions::from_mode(0o600)).expect("chmod");
    warned(false);
    // Neither of these files is there.
    fs::remove_file(user.token()).expect("the token file can be removed");
    let text = fs::read_to_string(user.config()).expect("the config file");
    for name in ["nowhere", "nowhere-else"] {
        let path = user.root().join(name).display().to_string();
        user.write_config(&text.replace(&format!("proxy: {}\n", proxy.display()), &format!("proxy: {path}\n")));
        let _ = user.actctl(&["daemon", "reload"]).ok();
        let status = status(user);
        assert_eq!((status.state.as_str(), status.proxy_path.as_str()), ("missing", path.as_str()), "{status:?}");
        assert!(status.message.contains(&path), "{status:?}");
    }
}
