//! Another user of the machine, even root's own processes under another uid, has no business with the daemon.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

use act_tests::{LONG, World, wait_for, xrsl};
use openssl::pkey::PKey;

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
    // A process of the same user: that of an ordinary program it may look into, the daemon's memory it may not.
    let script = r#"
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for name in ("environ", "mem", "maps", "auxv"):
    try:
        open(f"/proc/{sys.argv[1]}/{name}", "rb").read(1)
        print(name, "read")
    except OSError as e:
        print(name, "refused")
print("ptrace", "done" if libc.ptrace(16, int(sys.argv[1]), 0, 0) == 0 else "refused")
"#;
    let as_nobody = |of: u32| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "/usr/bin/python3", "-c", script]);
        user.run(
            {
                command.arg(of.to_string());
                command
            },
            LONG,
        )
        .ok()
        .stdout
    };
    assert_eq!(as_nobody(pid), "environ refused\nmem refused\nmaps refused\nauxv refused\nptrace refused\n");
    let mut other = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "/bin/sleep", "600"])
        .spawn()
        .unwrap();
    wait_for("an ordinary program that can be looked into", LONG, || {
        let said = as_nobody(other.id());
        if said.starts_with("environ read\n") { Ok(()) } else { Err(said) }
    });
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(fs::metadata(user.socket()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(user.token()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(user.token()).unwrap().uid(), NOBODY);
}

/// Dies as by a fault of its own, with leave to write a core file.
#[test]
fn no_core_file_is_written() {
    let world = World::ready();
    let user = &world.user;
    user.kill_daemon();
    let script = r#"
import os, resource, signal, subprocess, sys, time
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
def dies(args, ready):
    pid = os.posix_spawn(args[0], args, os.environ)
    end = time.time() + 60
    while not ready(pid) and time.time() < end:
        time.sleep(0.05)
    os.kill(pid, signal.SIGABRT)
    status = os.waitpid(pid, 0)[1]
    print("core" if os.WCOREDUMP(status) else "no core", os.WTERMSIG(status))
dies([sys.argv[1]], lambda pid: os.path.exists(sys.argv[2]))
"#;
    fs::remove_file(user.socket()).unwrap();
    let mut command = user.command("python3");
    command.args(["-c", script]).arg(act_tests::bins::program("actd")).arg(user.socket());
    let ran = user.run(command, LONG).ok();
    assert_eq!(ran.stdout, "no core 6\n", "{ran}");
}

/// The key is held as the numbers that OpenSSL works with, since the daemon shows itself with it, and in no other form: the
/// file's text is wiped after it was read. (The token must be sent with each request, and buffers that the HTTP
/// clients have freed may still hold it.)
#[test]
fn the_text_of_the_key_is_not_left_in_memory() {
    let world = World::ready();
    let user = &world.user;
    user.write("in.txt", "x");
    user.write("job.xrsl", xrsl::cat("stages", "in.txt"));
    let _ = user.actctl(&["sub", "--webdav", "job.xrsl"]).ok();
    user.wait_phase("stages", "stored");
    let _ = user.actctl(&["proxy"]).ok();

    let pem = fs::read_to_string(&world.sandbox.info().proxy).unwrap();
    let key = PKey::private_key_from_pem(pem.as_bytes()).unwrap();
    let prime = key.rsa().unwrap().p().unwrap().to_vec();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let reversed: Vec<u8> = prime.iter().rev().copied().collect();
    let text = pem.split("PRIVATE KEY-----").nth(1).expect("a key");
    let lines = text.lines().filter(|line| line.len() == 64).map(str::as_bytes);
    let wanted: Vec<String> = [reversed.as_slice(), &prime].into_iter().chain(lines).map(hex).collect();
    assert!(wanted.len() > 10, "{} parts to look for", wanted.len());
    // How many of the mappings hold each of them. Some of the kernel's own cannot be read.
    let script = r#"
import sys
wanted = [bytes.fromhex(w) for w in sys.argv[2:]]
found = [0] * len(wanted)
with open(f"/proc/{sys.argv[1]}/mem", "rb", 0) as memory:
    for line in open(f"/proc/{sys.argv[1]}/maps"):
        where, mode = line.split()[:2]
        start, end = (int(x, 16) for x in where.split("-"))
        try:
            memory.seek(start)
            part = memory.read(end - start) if mode[0] == "r" else b""
        except (OSError, OverflowError):
            continue
        for n, what in enumerate(wanted):
            found[n] += what in part
print(*found)
"#;
    let mut command = Command::new("python3");
    command.args(["-c", script, &user.daemon_pid().expect("a daemon runs").to_string()]).args(&wanted);
    let ran = user.run(command, LONG).ok();
    let found: Vec<u32> = ran.stdout.split_whitespace().map(|n| n.parse().unwrap()).collect();
    assert_eq!(found.len(), wanted.len(), "{ran}");
    assert!(found[0] > 0, "a key that is in use is in memory: the search does not work");
    assert_eq!(found[1..].iter().sum::<u32>(), 0, "the key as it is in its file is in memory: {found:?}");
}
