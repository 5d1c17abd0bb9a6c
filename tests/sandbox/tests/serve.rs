//! The command `act-sandbox serve`, alone: what it prints, what it writes, how it ends.

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
};

use act_sandbox::Info;
use common::{Ask, exchange};
use rustix::process::{Pid, Signal, kill_process};

fn serve(dir: &std::path::Path, more: &[&str]) -> (Child, Info) {
    let (pki, _lock) = common::shared_pki();
    let mut command = Command::new(env!("CARGO_BIN_EXE_act-sandbox"));
    command.arg("serve").arg("--dir").arg(dir).arg("--pki").arg(pki).arg("--json").args(more);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let info = serde_json::from_str(&line).unwrap_or_else(|error| {
        let mut text = String::new();
        child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        panic!("{error}: {line:?}\n{text}")
    });
    (child, info)
}

fn end(mut child: Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{signal:?}");
}

#[tokio::test]
async fn serve_prints_one_line_and_ends_on_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let (child, first) = serve(dir.path(), &[]);
    let config = fs::read_to_string(&first.config).unwrap();
    for line in [format!("server: {}", first.server), format!("webdav: {}", first.webdav)] {
        assert!(config.lines().any(|own| own == line), "{config}");
    }
    assert!(fs::read_to_string(&first.proxy).unwrap().contains("PRIVATE KEY"));
    let answer = exchange(&first.server, &Ask::new("GET", "/info")).await.unwrap();
    assert_eq!((answer.status, answer.reason.as_str()), (401, "UNAUTHORIZED"));
    end(child, Signal::TERM);

    fs::write(&first.config, format!("{config}actd:\n  keep: 1d\n")).unwrap();
    let (child, second) = serve(dir.path(), &["--workers", "many", "--keep-alive", "--delays", "cancel=1"]);
    assert_eq!((&first.server, &first.ce, &first.webdav), (&second.server, &second.ce, &second.webdav));
    assert!(fs::read_to_string(&second.config).unwrap().contains("keep: 1d"), "a configuration with additions is kept");
    end(child, Signal::INT);

    let wrong = Command::new(env!("CARGO_BIN_EXE_act-sandbox")).args(["serve", "--dir", "/proc/no"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).starts_with("error: cannot use /proc/no"), "{wrong:?}");
}

#[tokio::test]
async fn serve_can_speak_tls() {
    let dir = tempfile::tempdir().unwrap();
    let (child, info) = serve(dir.path(), &["--tls"]);
    assert!(info.server.starts_with("https://localhost:"));
    let curl = |ca: &std::path::Path| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "20", "--cacert"]).arg(ca);
        command.arg(format!("{}/info", info.server)).output().unwrap()
    };
    let good = curl(&info.ca_file);
    assert_eq!(String::from_utf8_lossy(&good.stdout), "{\"msg\":\"Auth token is missing\"}\n", "{good:?}");
    let system = std::path::Path::new("/etc/ssl/certs/ca-certificates.crt");
    if system.exists() {
        assert!(!curl(system).status.success(), "the test CA is not a public one");
    }
    end(child, Signal::TERM);
}
