//! The token and the private key stay where they belong: not in a log, an event, a reply or a file of others; the socket
//! is ours alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use act_proto::daemon::NoParams;
use act_proto::method::{DaemonConfig, DaemonStatus, ProxyStatus};
use act_tests::{World, xrsl};

/// All files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o777
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// A line from the middle of a PEM block of this kind.
fn line_of(pem: &str, kind: &str) -> String {
    let body = pem.split(&format!("{kind}-----")).nth(1).unwrap_or_else(|| panic!("no {kind} in the proxy"));
    body.lines().find(|line| line.len() == 64).expect("a full line of base64").to_owned()
}

#[test]
fn no_secret_is_told() {
    let mut world = World::with(&[], &["log: trace"]);
    world.user.set_env("ACTD_LOG", "trace");
    let user = &world.user;
    let proxy = user.actctl(&["-vv", "proxy"]).ok();
    user.write("in.txt", "x");
    user.write("job.xrsl", xrsl::cat("secret", "in.txt"));
    user.write("dav.xrsl", xrsl::cat("davsecret", "in.txt"));
    let mut told = vec![
        proxy,
        user.actctl(&["-vv", "sub", "job.xrsl"]).ok(),
        user.actctl(&["-vv", "sub", "--webdav", "dav.xrsl"]).ok(),
    ];
    user.wait_phase("1", "stored");
    user.wait_phase("2", "stored");
    for args in [
        &["-vv", "proxy", "--status"][..],
        &["--json", "proxy", "--status"],
        &["config", "show", "--origin"],
        &["daemon", "status"],
        &["events", "--since", "0", "--no-follow", "--json"],
        &["-vv", "cat", "-i", "1"],
        &["log", "1"],
        &["stat", "--json"],
        &["daemon", "logs", "--lines", "100000"],
    ] {
        told.push(user.actctl(args).ok());
    }
    let token = fs::read_to_string(user.token()).unwrap();
    let key = line_of(&fs::read_to_string(&world.sandbox.info().proxy).unwrap(), "PRIVATE KEY");
    assert!(token.len() > 40 && !token.ends_with('\n'), "act dies of a newline in its token file");
    // The token in whole, and the part that makes it valid.
    let signature = token.rsplit('.').next().unwrap();
    let secrets = [token.as_str(), signature, &key];

    for ran in &told {
        for secret in secrets {
            assert!(
                !holds(ran.stdout.as_bytes(), secret) && !holds(ran.stderr.as_bytes(), secret),
                "told by {}",
                ran.command
            );
        }
    }
    let replies = [
        serde_json::to_string(&user.call::<DaemonStatus>(&NoParams {}).unwrap()).unwrap(),
        serde_json::to_string(&user.call::<DaemonConfig>(&NoParams {}).unwrap()).unwrap(),
        serde_json::to_string(&user.call::<ProxyStatus>(&NoParams {}).unwrap()).unwrap(),
    ];
    for reply in &replies {
        assert!(secrets.iter().all(|secret| !holds(reply.as_bytes(), secret)), "{reply}");
    }
    // Everything that the user's programs have written: logs, the job cache, results.
    let all = files(user.root());
    assert!(all.iter().any(|path| path.ends_with("actd.log")), "{all:?}");
    for path in all.iter().filter(|path| **path != user.token()) {
        let bytes = fs::read(path).unwrap();
        for secret in secrets {
            assert!(!holds(&bytes, secret), "a secret is in {}", path.display());
        }
    }
    let dav = world.sandbox.admin("GET", "/webdav/journal", None).to_string();
    assert!(secrets.iter().all(|secret| !dav.contains(secret)), "the token went to WebDAV");
}

#[test]
fn files_and_socket_are_ours_alone() {
    let world = World::ready();
    let user = &world.user;
    assert_eq!(mode(&user.token()), 0o600);
    assert_eq!(mode(&user.socket()), 0o600);
    assert_eq!(mode(user.socket().parent().unwrap()), 0o700);
    assert_eq!(mode(&user.state()), 0o700);
    for path in files(&user.state()) {
        assert_eq!(mode(&path) & 0o077, 0, "{} is open to others", path.display());
    }
}
