//! The program without a daemon: what it says, where, and with which exit code.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn actctl(home: &Path, args: &[&str]) -> Output {
    command(home, args).output().unwrap()
}

fn command(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_actctl"));
    command
        .args(args)
        .env_clear()
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home.join("run"))
        .env("ACTD_BIN", "/nonexistent/actd")
        .stdin(Stdio::null());
    std::fs::create_dir_all(home.join("run")).unwrap();
    command
}

fn stdout(o: &Output) -> String {
    String::from_utf8(o.stdout.clone()).unwrap()
}

fn stderr(o: &Output) -> String {
    String::from_utf8(o.stderr.clone()).unwrap()
}

#[test]
fn bad_ids_are_told_in_acts_words_and_nothing_is_started() {
    let home = tempfile::tempdir().unwrap();
    for (id, message) in [
        ("abc", "Invalid ID: abc"),
        ("1-2-3", "Invalid ID range: 1-2-3"),
        ("1-", "Invalid ID range end: "),
        ("5-3", "Invalid ID range: 5-3"),
        ("", "Invalid ID: "),
    ] {
        for verb in ["stat", "get", "kill", "clean", "fetch", "resub", "cat"] {
            let o = actctl(home.path(), &[verb, "-i", id]);
            assert_eq!(o.status.code(), Some(2), "{verb} -i {id}");
            assert_eq!(stdout(&o), "", "{verb} -i {id}");
            assert!(stderr(&o).starts_with(&format!("error: {message}")), "{verb} -i {id}: {}", stderr(&o));
        }
    }
    assert!(!home.path().join(".local/state/actd").exists(), "no daemon was to be started");
}

#[test]
fn ctrl_c_ends_what_waits_for_its_input() {
    use std::os::unix::process::ExitStatusExt;
    let home = tempfile::tempdir().unwrap();
    // Which of two things is looked at first must not be a matter of luck.
    for _ in 0..6 {
        for args in [&["check", "-"][..], &["fmt", "-"], &["stat", "-i", "-"], &["sub", "-"]] {
            let mut child = command(home.path(), args).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            // It has taken what there was, so it waits for more.
            let stdin = child.stdin.as_mut().unwrap();
            stdin.write_all(b"1").unwrap();
            let since = std::time::Instant::now();
            while rustix::io::ioctl_fionread(&*stdin).unwrap() > 0 {
                assert!(since.elapsed() < std::time::Duration::from_secs(60), "{args:?} does not read");
                std::thread::yield_now();
            }
            let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
            let end = child.wait().unwrap();
            assert!(
                end.signal() == Some(rustix::process::Signal::INT.as_raw()) || end.code() == Some(130),
                "{args:?}: {end:?}"
            );
        }
    }
}

#[test]
fn a_bare_kill_needs_consent() {
    let home = tempfile::tempdir().unwrap();
    // A script whose list of jobs is empty means none, also if it said that nobody is to be asked.
    for args in [&["kill"][..], &["kill", "-y"], &["adopt"], &["adopt", "--yes"]] {
        let o = actctl(home.path(), args);
        assert_eq!(o.status.code(), Some(2), "{args:?}: {}", stderr(&o));
        let hint = format!("hint: name the jobs, or say `{} --all`", args[0]);
        assert!(stderr(&o).contains(&hint), "{args:?}: {}", stderr(&o));
    }
}

#[test]
fn a_daemon_that_cannot_be_started_is_exit_8() {
    let home = tempfile::tempdir().unwrap();
    let o = actctl(home.path(), &["stat"]);
    assert_eq!(o.status.code(), Some(8), "{}", stderr(&o));
    assert!(stderr(&o).starts_with("error: cannot start /nonexistent/actd"), "{}", stderr(&o));
    assert_eq!(stdout(&o), "");
    let o = actctl(home.path(), &["daemon", "status"]);
    assert_eq!(o.status.code(), Some(8));
    assert!(stderr(&o).contains("does not run"), "{}", stderr(&o));
}

#[test]
fn errors_are_json_too() {
    let home = tempfile::tempdir().unwrap();
    for (args, code) in
        [(&["--json", "stat", "-i", "x"][..], 2), (&["stat", "--json", "--nosuch"], 2), (&["stat", "--json"], 8)]
    {
        let o = actctl(home.path(), args);
        assert_eq!(o.status.code(), Some(code), "{args:?}");
        assert_eq!(stderr(&o), "", "{args:?}");
        let value: serde_json::Value = serde_json::from_str(&stdout(&o)).unwrap();
        assert_eq!(value["schema"], "act.error/1");
        assert_eq!(value["error"]["exit"], code);
    }
}

#[test]
fn a_bad_config_is_exit_2_and_named() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("c.yaml");
    std::fs::write(&config, ": : [\n").unwrap();
    let o = actctl(home.path(), &["--conf", config.to_str().unwrap(), "stat"]);
    assert_eq!(o.status.code(), Some(2), "{}", stderr(&o));
    assert!(stderr(&o).contains("c.yaml"), "{}", stderr(&o));
}

#[test]
fn usage_shows_the_name_it_was_called_by() {
    let home = tempfile::tempdir().unwrap();
    let link = home.path().join("act");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_actctl"), &link).unwrap();
    let o = Command::new(&link).arg("--help").output().unwrap();
    assert!(stdout(&o).contains("Usage: act ["), "{}", stdout(&o));
    let o = actctl(home.path(), &[]);
    assert_eq!(o.status.code(), Some(0));
    assert!(stdout(&o).contains("Usage: actctl ["), "{}", stdout(&o));
    let o = actctl(home.path(), &["sub"]);
    assert_eq!((o.status.code(), stdout(&o).as_str()), (Some(2), ""));
}

#[test]
fn colour_only_when_wanted() {
    let home = tempfile::tempdir().unwrap();
    let o = actctl(home.path(), &["--color", "always", "stat", "-i", "x"]);
    assert!(stderr(&o).contains("\x1b[1;31merror:\x1b[0m"), "{}", stderr(&o));
    let o = actctl(home.path(), &["stat", "-i", "x"]);
    assert!(!stderr(&o).contains('\x1b'));
}

#[test]
fn a_closed_pipe_is_141_and_quiet() {
    let home = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let o = command(home.path(), &["completions", "bash"]).stdout(writer).output().unwrap();
    assert_eq!((o.status.code(), stderr(&o).as_str()), (Some(141), ""));
}

#[test]
fn completions_and_manual_pages() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let o = actctl(home.path(), &["completions", shell]);
        // It asks the program while one types.
        assert!(o.status.success() && stdout(&o).contains("COMPLETE"), "{shell}: {}", stdout(&o));
    }
    let dir = home.path().join("man");
    let o = actctl(home.path(), &["man", "--dir", dir.to_str().unwrap()]);
    assert!(o.status.success(), "{}", stderr(&o));
    assert!(std::fs::read_to_string(dir.join("actctl-sub.1")).unwrap().contains("clusterlist"));
}

#[test]
fn the_config_path_needs_no_daemon() {
    let home = tempfile::tempdir().unwrap();
    let o = actctl(home.path(), &["config", "path"]);
    assert_eq!(stdout(&o), format!("{}/.config/act-client/config.yaml\n", home.path().display()));
}

#[test]
fn one_start_error_is_told_from_the_daemons_own_report() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let fake = home.path().join("actd");
    // What stands between the two programs is the report on the descriptor; this one says that its config is bad.
    let script = "#!/bin/sh\nwhile [ \"$1\" != --ready-fd ]; do shift; done\n\
        echo '{\"ready\":false,\"error\":{\"message\":\"line 3: no\",\"kind\":\"bad_config\",\"hint\":\"mend it\",\"retryable\":false}}' > /dev/fd/$2\n";
    std::fs::write(&fake, script).unwrap();
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    let o = command(home.path(), &["stat"]).env("ACTD_BIN", &fake).env("PATH", "/bin").output().unwrap();
    assert_eq!(o.status.code(), Some(2));
    assert_eq!(stderr(&o), "error: line 3: no\nhint: mend it\n");
    std::fs::write(&fake, "#!/bin/sh\necho broken >&2\nexit 3\n").unwrap();
    let o = command(home.path(), &["stat"]).env("ACTD_BIN", &fake).env("PATH", "/bin").output().unwrap();
    assert_eq!(o.status.code(), Some(8));
    assert!(
        stderr(&o).starts_with("error: the daemon ended while it started (exit status: 3): broken\n"),
        "{}",
        stderr(&o)
    );
}
