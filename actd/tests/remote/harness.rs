//! The sandbox as a process of its own, clients for it, and the steps that several tests take.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use actd::auth::{Proxy, Trust, delegate};
use actd::remote::act::{ActClient, ActOptions, Column};
use actd::remote::{InputFile, Timeouts};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use url::Url;

pub(crate) struct Sandbox {
    pub(crate) info: Value,
    dir: tempfile::TempDir,
    _child: Child,
}

impl Sandbox {
    pub(crate) async fn start(args: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("remote-").tempdir().expect("dir");
        let mut child = Command::new(crate::sandbox_program::path())
            .args(["serve", "--json", "--dir"])
            .arg(dir.path().join("sandbox"))
            .args(args)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("sandbox");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await;
        let line = line.expect("the sandbox is ready in time").expect("read").expect("a line");
        Self { info: serde_json::from_str(&line).expect("json"), dir, _child: child }
    }

    pub(crate) fn text(&self, key: &str) -> &str {
        self.info[key].as_str().unwrap_or_else(|| panic!("no {key} in {}", self.info))
    }

    pub(crate) fn proxy(&self) -> Proxy {
        Proxy::load(Path::new(self.text("proxy"))).expect("proxy")
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::new(Some(self.text("ca_dir").into()))
    }

    pub(crate) fn cluster(&self) -> Vec<String> {
        vec![self.info["clusters"][0].as_str().expect("cluster").to_owned()]
    }

    /// A client without a token. It is patient: on a busy machine the sandbox takes its time for making a key.
    pub(crate) fn client(&self) -> ActClient {
        self.client_within(30)
    }

    fn client_within(&self, seconds: u64) -> ActClient {
        let s = Duration::from_secs;
        let timeouts = Timeouts { connect: s(seconds), head: s(seconds), idle: s(seconds), total: s(60) };
        let tls = self.trust().rest().expect("tls");
        let options = ActOptions { timeouts, ..ActOptions::default() };
        ActClient::new(Url::parse(self.text("server")).expect("url"), None, tls, options).expect("client")
    }

    pub(crate) async fn user(&self) -> ActClient {
        self.users().await.0
    }

    /// The same user twice: one that is patient, and one that gives up soon, for servers that never answer.
    pub(crate) async fn users(&self) -> (ActClient, ActClient) {
        let client = self.client();
        let token = delegate(&client, &self.proxy()).await.expect("delegate");
        let token = || Some(token.secret().clone());
        (client.with_token(token()), self.client_within(2).with_token(token()))
    }

    /// A request to the sandbox's own door, as curl would send it.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: &Value) -> Value {
        let url = Url::parse(self.text("admin")).expect("url");
        let address = (url.host_str().expect("host").to_owned(), url.port().expect("port"));
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("connect");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await.expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        let (head, body) = answer.split_once("\r\n\r\n").expect("head");
        assert!(head.contains(" 20"), "{head}");
        serde_json::from_str(body).unwrap_or(Value::Null)
    }

    pub(crate) async fn fault(&self, fault: Value) {
        self.admin("POST", "/faults", &fault).await;
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

pub(crate) async fn input(path: &Path, content: &[u8]) -> InputFile {
    tokio::fs::write(path, content).await.expect("write");
    InputFile::new(tokio::fs::File::open(path).await.expect("open"), content.len() as u64)
}

/// Waits until the job is in one of these states; the last one seen is in the panic.
pub(crate) async fn wait_for(client: &ActClient, id: u64, states: &[&str]) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut interval = tokio::time::interval(Duration::from_millis(50));
    loop {
        interval.tick().await;
        let listing = client.list(Column::POLL).await.expect("list");
        let row = listing.rows.into_iter().find(|row| row.id == id);
        let state = row.as_ref().and_then(|row| row.arcstate.clone()).unwrap_or_default();
        if states.contains(&state.as_str()) {
            return state;
        }
        assert!(Instant::now() < deadline, "job {id} is {row:?}, not {states:?}");
    }
}

pub(crate) async fn submit(client: &ActClient, sandbox: &Sandbox, xrsl: &str, inputs: &[(&str, &[u8])]) -> u64 {
    let id = *client.create(&[sandbox.cluster()]).await.expect("create")[0].as_ref().expect("id");
    for (name, content) in inputs {
        let path = sandbox.path(&format!("input-{}", name.replace('/', "_")));
        client.upload(id, name, input(&path, content).await, None).await.expect("upload");
    }
    let confirmed = client.confirm(&[(id, xrsl.to_owned())]).await.expect("confirm");
    confirmed[0].as_ref().expect("accepted");
    id
}
