//! Another user of the machine, even root's own processes under another uid, has no business with the daemon.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

use act_tests::{LONG, World};

/// Debian's `nobody`.
const NOBODY: u32 = 65_534;

#[test]
fn another_uid_is_refused_even_where_the_file_modes_would_let_it_in() {
    let world = World::ready();
    let user = &world.user;
    // Somebody opens everything by mistake: the daemon itself still asks who calls.
    for path in
        [user.socket(), user.socket().parent().unwrap().to_owned(), user.root().join("run"), user.root().to_owned()]
    {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::set_permissions(world.scratch.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"jobs.list","params":{}}"#;
    let script = format!(
        "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('{}')\ntry:\n    s.sendall(b'{call}\\n')\n    s.settimeout(20)\n    \
         print(s.recv(65536).decode())\nexcept (ConnectionResetError, BrokenPipeError):\n    print('cut off')\n",
        user.socket().display()
    );
    let ask = |uid: u32| {
        let mut command = Command::new("setpriv");
        let uid = uid.to_string();
        command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "/usr/bin/python3", "-c", &script]);
        user.run(command, LONG)
    };
    let own = ask(0).ok();
    assert!(own.stdout.contains("\"result\""), "{own}");
    let other = ask(NOBODY).ok();
    assert!(!other.stdout.contains("\"result\""), "another uid was served: {other}");
}

#[test]
fn an_ordinary_users_daemon_cannot_be_looked_into() {
    let world = World::new();
    let user = &world.user;
    // Everything becomes the ordinary user's, who must also be able to reach the programs.
    let own = Command::new("chown").args(["-R", "65534:65534"]).arg(user.root()).status().unwrap();
    assert!(own.success());
    for dir in [world.scratch.path(), &world.sandbox.info().dir] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let bin = user.root().join("bin");
    fs::create_dir(&bin).unwrap();
    for name in ["actd", "actctl"] {
        fs::copy(act_tests::bins::program(name), bin.join(name)).unwrap();
    }
    let proxy = user.root().join("proxy");
    fs::copy(&world.sandbox.info().proxy, &proxy).unwrap();
    chown(&proxy, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::set_permissions(&proxy, fs::Permissions::from_mode(0o600)).unwrap();

    let mut command = user.command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(bin.join("actctl")).arg("proxy");
    command.env("X509_USER_PROXY", &proxy);
    let _ = user.run(command, LONG).ok();
    let pid = user.daemon_pid().expect("a daemon runs");
    assert_eq!(
        fs::metadata(format!("/proc/{pid}/fd")).unwrap().uid(),
        0,
        "not dumpable: the kernel gives what lies in /proc/PID to root"
    );
    assert_eq!(fs::metadata(user.socket()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(user.token()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(user.token()).unwrap().uid(), NOBODY);
}
