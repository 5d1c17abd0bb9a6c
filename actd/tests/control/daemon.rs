//! A real actd in a home of its own. Its aCT server is a port where nobody listens.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A temporary home, and what was started in it.
pub(crate) struct Home {
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) struct Daemon {
    pub(crate) child: Child,
    /// The line that it wrote to `--ready-fd`.
    pub(crate) report: Value,
    log: PathBuf,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self::with_config("server: http://127.0.0.1:1\nclusters:\n  default: https://ce.example.org/q\n")
    }

    pub(crate) fn with_config(text: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("actd-").tempdir().expect("temporary directory");
        for sub in ["run", "config/act-client"] {
            std::fs::create_dir_all(dir.path().join(sub)).expect("mkdir");
        }
        std::fs::write(dir.path().join("config/act-client/config.yaml"), text).expect("config");
        Self { dir }
    }

    pub(crate) fn path(&self, sub: &str) -> PathBuf {
        self.dir.path().join(sub)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("run/actd/default.sock")
    }

    /// Starts actd and waits until it reports.
    pub(crate) fn start(&self, args: &[&str]) -> Daemon {
        let log = self.path("log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).expect("log");
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec \"$0\" --ready-fd 3 \"$@\" 3>&1 1>/dev/null", env!("CARGO_BIN_EXE_actd")])
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_DATA_HOME", self.path("data"))
            .env("X509_USER_PROXY", self.path("no-proxy"))
            .env("ACTD_LOG", "debug")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .process_group(0);
        let mut child = command.spawn().expect("actd");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("report");
        let report = serde_json::from_str(&line).unwrap_or_else(|e| panic!("report {line:?}: {e}\n{}", read(&log)));
        Daemon { child, report, log }
    }

    /// The same, and it must be serving.
    pub(crate) fn serve(&self, args: &[&str]) -> Daemon {
        let daemon = self.start(args);
        assert_eq!(daemon.report["ready"], true, "{}\n{}", daemon.report, daemon.log());
        daemon
    }

    pub(crate) fn connect(&self) -> Lines {
        Lines::new(UnixStream::connect(self.socket()).expect("connect"))
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

impl Daemon {
    pub(crate) fn log(&self) -> String {
        read(&self.log)
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill").success());
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self, within: Duration) -> ExitStatus {
        let child = &mut self.child;
        let mut status = None;
        let ended = eventually(within, || {
            status = child.try_wait().expect("wait");
            status.is_some()
        });
        assert!(ended, "actd does not end within {within:?}\n{}", read(&self.log));
        status.expect("status")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of actd\n{}", self.log());
        }
    }
}

/// Looks again and again until it is so, or the time is over.
pub(crate) fn eventually(within: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + within;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A client that speaks one JSON value per line.
pub(crate) struct Lines {
    pub(crate) stream: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Lines {
    pub(crate) fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("timeout");
        stream.set_write_timeout(Some(Duration::from_secs(30))).expect("timeout");
        let reader = BufReader::new(stream.try_clone().expect("clone"));
        Self { stream, reader }
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).and_then(|()| self.stream.write_all(b"\n")).expect("send");
    }

    /// The next message; none: the daemon hung up.
    pub(crate) fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}"))),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(e) => panic!("no answer: {e}"),
        }
    }

    /// The next message of a daemon that may hang up in the middle of one.
    pub(crate) fn try_next(&mut self) -> Option<Value> {
        let mut line = String::new();
        let whole = self.reader.read_line(&mut line).is_ok_and(|_| line.ends_with('\n'));
        whole.then(|| serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}")))
    }

    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Value {
        self.send(&serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string());
        loop {
            let message = self.next().expect("an answer");
            if message.get("id").is_some() {
                return message;
            }
        }
    }

    pub(crate) fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.reader.read_to_end(&mut rest);
        rest
    }
}
