//! What the tests that drive a server with curl share: a PKI in a temporary directory and one call of curl.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Output, Stdio};

use act_sandbox::pki::{Pki, Proxy, ProxyOptions};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A PKI and the proxy of its usual user.
pub(crate) struct Grid {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) pki: Pki,
    pub(crate) proxy: Proxy,
}

impl Grid {
    pub(crate) fn new() -> Grid {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let pki = Pki::create(&dir.path().join("pki")).expect("a PKI");
        let proxy = pki.proxy(&ProxyOptions::default()).expect("a proxy");
        Grid { dir, pki, proxy }
    }

    /// curl that trusts our authority and shows the usual proxy.
    pub(crate) fn curl(&self) -> Curl {
        Curl::new().args(["--cacert", text(&self.pki.ca_file())]).args(["--cert", text(&self.proxy.path)])
    }

    /// curl that trusts our authority and has no certificate of its own.
    pub(crate) fn anonymous_curl(&self) -> Curl {
        Curl::new().args(["--cacert", text(&self.pki.ca_file())])
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

/// One call of curl, to be given arguments and run.
pub(crate) struct Curl(Command);

/// What came of it.
#[derive(Debug)]
pub(crate) struct Answer {
    /// curl's exit code: 0 when there was a whole answer of any status.
    pub(crate) code: i32,
    /// The status of the last answer, 0 without one.
    pub(crate) status: u16,
    /// Heads of all answers, interim ones too, with `\n` line ends.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Curl {
    pub(crate) fn new() -> Curl {
        let mut command = Command::new("curl");
        // No configuration file, and no proxy from the environment of whoever runs the tests.
        command.args(["-q", "-sS", "--noproxy", "*", "--max-time", "60"]);
        Curl(command)
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Curl {
        self.0.args(args);
        self
    }

    pub(crate) async fn get(self, url: &str) -> Answer {
        self.args([url]).run(b"").await
    }

    pub(crate) async fn method(self, method: &str, url: &str) -> Answer {
        self.args(["-X", method, url]).run(b"").await
    }

    pub(crate) async fn head(self, url: &str) -> Answer {
        self.args(["-I", url]).run(b"").await
    }

    /// PUTs the body, of known length.
    pub(crate) async fn put(self, url: &str, body: &[u8]) -> Answer {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), body).expect("written");
        self.args(["-T", text(file.path()), url]).run(b"").await
    }

    /// PUTs the body in chunks, of unknown length.
    pub(crate) async fn put_chunked(self, url: &str, body: &[u8]) -> Answer {
        self.args(["-T", "-", url]).run(body).await
    }

    async fn run(mut self, stdin: &[u8]) -> Answer {
        let heads = tempfile::NamedTempFile::new().expect("a temporary file");
        let body = tempfile::NamedTempFile::new().expect("a temporary file");
        self.0.args(["-D", text(heads.path()), "-o", text(body.path()), "-w", "%{http_code}"]);
        self.0.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.0.spawn().expect("curl is installed");
        let mut pipe = child.stdin.take().expect("a pipe");
        // curl may end without reading all of it; the answer tells.
        let _ = pipe.write_all(stdin).await;
        drop(pipe);
        let Output { status, stdout, stderr } = child.wait_with_output().await.expect("curl ends");
        if !status.success() {
            eprintln!("curl: {}", String::from_utf8_lossy(&stderr).trim());
        }
        Answer {
            code: status.code().expect("an exit code"),
            status: String::from_utf8_lossy(&stdout).trim().parse().expect("a status"),
            head: std::fs::read_to_string(heads.path()).expect("heads").replace("\r\n", "\n"),
            body: std::fs::read(body.path()).expect("a body"),
        }
    }
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header of the last answer.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let last = self.head.trim_end().rsplit("\n\n").next()?;
        last.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}
