//! What the sandbox's own tests share: a sandbox in a temporary directory, requests written byte by byte, and waits
//! with a bound.

#![allow(dead_code, reason = "each test program uses its part")]

use std::{
    fs::File,
    future::Future,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use act_sandbox::{Options, Sandbox, pki};
use openssl::{
    asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time},
    bn::BigNum,
    hash::MessageDigest,
    nid::Nid,
    pkey::PKey,
    x509::{X509, X509Builder, X509Extension, X509NameBuilder, X509Req, extension::KeyUsage},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Longest wait for anything.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A sandbox of one test.
pub(crate) struct Bed {
    pub(crate) sandbox: Sandbox,
    pub(crate) dir: TempDir,
    /// Token of the user, once `delegate` was called.
    pub(crate) token: String,
}

impl Bed {
    /// Starts a sandbox with `change` applied to the default options.
    pub(crate) async fn start(change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::Builder::new().prefix("act-sandbox-").tempdir().unwrap();
        let sandbox = start(&dir, change).await;
        Self { sandbox, dir, token: String::new() }
    }

    /// The same, with the user's proxy delegated.
    pub(crate) async fn ready(change: impl FnOnce(&mut Options)) -> Self {
        let mut bed = Self::start(change).await;
        bed.delegate().await;
        bed
    }

    /// Stops and starts again in the same directory.
    pub(crate) async fn restart(self, change: impl FnOnce(&mut Options)) -> Self {
        let Self { sandbox, dir, token } = self;
        sandbox.shutdown().await;
        Self { sandbox: start(&dir, change).await, dir, token }
    }

    /// POST and PUT /proxies with the user's proxy; keeps the token.
    pub(crate) async fn delegate(&mut self) {
        let pem = std::fs::read(&self.sandbox.info().proxy).unwrap();
        let certs = X509::stack_from_pem(&pem).unwrap();
        let chain = text(certs[1..].iter().flat_map(|cert| cert.to_pem().unwrap()).collect());
        let body = json!({ "cert": text(certs[0].to_pem().unwrap()), "chain": chain });
        let answer = self.send(&Ask::new("POST", "/proxies").json(&body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        self.token = answer.json()["token"].as_str().unwrap().to_owned();
        let signed = sign(answer.json()["csr"].as_str().unwrap(), &pem);
        let body =
            json!({ "cert": signed, "chain": text(certs.iter().flat_map(|cert| cert.to_pem().unwrap()).collect()) });
        let answer = self.ask(Ask::new("PUT", "/proxies").json(&body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        self.token = answer.json()["token"].as_str().unwrap().to_owned();
    }

    /// Sends a request with the user's token.
    pub(crate) async fn ask(&self, ask: Ask) -> Answer {
        let value = format!("Bearer {}", self.token);
        self.send(&ask.header("Authorization", &value)).await
    }

    /// GET with the user's token.
    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.ask(Ask::new("GET", target)).await
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, ask: &Ask) -> Answer {
        exchange(&self.sandbox.info().server, ask).await.unwrap()
    }

    /// Sends a request to the admin port.
    pub(crate) async fn admin(&self, ask: Ask) -> Answer {
        exchange(&self.sandbox.info().admin, &ask).await.unwrap()
    }

    /// Creates and confirms one job; returns its id.
    pub(crate) async fn submit(&self, description: &str) -> i64 {
        self.submit_with(description, &[]).await
    }

    /// The same, with uploads in between.
    pub(crate) async fn submit_with(&self, description: &str, files: &[(&str, &str)]) -> i64 {
        let cluster = &self.sandbox.info().clusters[0];
        let answer = self.ask(Ask::new("POST", "/jobs").json(&json!([{ "clusterlist": [cluster] }]))).await;
        let id = answer.json()[0]["id"].as_i64().unwrap();
        for (name, content) in files {
            let put = Ask::new("PUT", &format!("/jobs/{id}/data/{name}")).body(content.as_bytes());
            assert_eq!(self.ask(put).await.status, 204);
        }
        let answer = self.ask(Ask::new("PUT", "/jobs").json(&json!([{ "id": id, "desc": description }]))).await;
        assert!(answer.json()[0].get("msg").is_none(), "{answer:?}");
        id
    }

    /// `arcstate`, `State`, `JobID`, `Error`, `ExitCode` of a job; null if it is gone.
    pub(crate) async fn row(&self, id: i64) -> Value {
        let target = format!("/jobs?id={id}&client=id,jobname&arc=arcstate,State,JobID,Error,ExitCode");
        self.get(&target).await.json()[0].clone()
    }

    /// Waits until the job is in `arcstate`.
    pub(crate) async fn until(&self, id: i64, arcstate: &str) -> Value {
        wait(&format!("job {id} to be {arcstate}"), || async {
            let row = self.row(id).await;
            if row["a_arcstate"] == arcstate { Ok(row) } else { Err(row.to_string()) }
        })
        .await
    }

    /// Adds a fault given as JSON.
    pub(crate) fn fault(&self, fault: Value) {
        self.sandbox.add_fault(serde_json::from_value(fault).unwrap());
    }
}

/// The PKI that all tests share: its keys take long to make. While the lock is held, nobody else makes it.
pub(crate) fn shared_pki() -> (PathBuf, File) {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let lock = File::create(dir.join("pki.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    (dir.join("pki"), lock)
}

async fn start(dir: &TempDir, change: impl FnOnce(&mut Options)) -> Sandbox {
    let (pki, _lock) = tokio::task::spawn_blocking(shared_pki).await.unwrap();
    let mut options = Options::new(dir.path().join("d"));
    options.pki_dir = Some(pki);
    change(&mut options);
    Sandbox::start(options).await.unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// Waits until `check` gives Ok; panics with its last Err.
pub(crate) async fn wait<T, F: Future<Output = Result<T, String>>>(what: &str, mut check: impl FnMut() -> F) -> T {
    let begin = Instant::now();
    loop {
        match check().await {
            Ok(value) => return value,
            Err(last) if begin.elapsed() > LONG => panic!("waited {LONG:?} for {what}; last: {last}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// A request.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

impl Ask {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: None }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: &[u8]) -> Self {
        self.body = Some(body.to_owned());
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string().as_bytes())
    }

    /// The bytes to send.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: 127.0.0.1:18080\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend(self.body.iter().flatten());
        bytes
    }
}

/// An answer, read until the server closed the connection.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Reads status line, headers and body.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or("no complete head")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap_or_default().splitn(3, ' ').skip(1);
        let status = first.next().and_then(|status| status.parse().ok()).ok_or("no status")?;
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers: Vec<_> = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut answer = Self {
            status,
            reason: first.next().unwrap_or_default().to_owned(),
            headers,
            body: bytes[end + 4..].to_vec(),
        };
        if answer.header("Transfer-Encoding") == Some("chunked") {
            answer.body = unchunk(&answer.body);
        }
        Ok(answer)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(&String::from_utf8_lossy(&bytes[..end]), 16).unwrap_or(0);
        if size == 0 || bytes.len() < end + 2 + size {
            break;
        }
        body.extend(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[(end + 4 + size).min(bytes.len())..];
    }
    body
}

/// Address of `http://HOST:PORT`.
pub(crate) fn address(url: &str) -> &str {
    url.trim_start_matches("http://")
}

/// One request on a connection of its own.
pub(crate) async fn exchange(url: &str, ask: &Ask) -> Result<Answer, String> {
    // The admin port keeps connections, the API does not.
    let ask = ask.clone().header("Connection", "close");
    raw(url, &ask.bytes()).await
}

/// Sends bytes and reads until the end of the connection.
pub(crate) async fn raw(url: &str, bytes: &[u8]) -> Result<Answer, String> {
    let talk = async {
        let mut stream = TcpStream::connect(address(url)).await?;
        stream.write_all(bytes).await?;
        let mut answer = Vec::new();
        // A reset after the answer does not make the answer worse.
        let end = stream.read_to_end(&mut answer).await;
        if answer.is_empty() {
            end?;
        }
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(LONG, talk).await.map_err(|_| "no answer in time".to_owned())?;
    Answer::parse(&answer.map_err(|error| error.to_string())?)
}

/// Signs a certificate request with a proxy, as RFC 3820 wants it.
pub(crate) fn sign(csr: &str, proxy: &[u8]) -> String {
    let csr = X509Req::from_pem(csr.as_bytes()).unwrap();
    let issuer = X509::from_pem(proxy).unwrap();
    let key = PKey::private_key_from_pem(proxy).unwrap();
    let serial = fastrand::u32(1..);
    let mut subject = X509NameBuilder::new().unwrap();
    for entry in issuer.subject_name().entries() {
        subject.append_entry(entry).unwrap();
    }
    subject.append_entry_by_nid(Nid::COMMONNAME, &serial.to_string()).unwrap();
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    let number = Asn1Integer::from_bn(&BigNum::from_u32(serial).unwrap()).unwrap();
    builder.set_serial_number(&number).unwrap();
    builder.set_subject_name(&subject.build()).unwrap();
    builder.set_issuer_name(issuer.subject_name()).unwrap();
    builder.set_pubkey(&csr.public_key().unwrap()).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(issuer.not_after()).unwrap();
    let usage = KeyUsage::new().critical().digital_signature().key_encipherment().build().unwrap();
    builder.append_extension(usage).unwrap();
    let oid = Asn1Object::from_str("1.3.6.1.5.5.7.1.14").unwrap();
    let inherit_all = b"\x30\x0c\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x15\x01";
    let content = Asn1OctetString::new_from_bytes(inherit_all).unwrap();
    builder.append_extension(X509Extension::new_from_der(&oid, true, &content).unwrap()).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    let signed = builder.build();
    assert!(pki::is_proxy(&signed));
    text(signed.to_pem().unwrap())
}
