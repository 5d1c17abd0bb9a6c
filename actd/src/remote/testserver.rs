//! A scripted HTTP server for unit tests: every answer is the raw bytes that the test says, over TCP or TLS, and every
//! request is kept. It is not a model of any real server; those are tested against elsewhere.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use openssl::ssl::{Ssl, SslAcceptor};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use url::Url;

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Subject of the client's certificate.
    pub(crate) peer: Option<String>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What to do with a request.
pub(crate) enum Reply {
    /// Send these bytes and close.
    Raw(Vec<u8>),
    /// Say nothing and keep the connection open until the client leaves.
    Silence,
    /// Send these bytes, then say nothing more until the client leaves.
    Stall(Vec<u8>),
    /// Close without a word.
    Drop,
}

/// Called with the head of a request (body still empty), before its body is read, if it has `Expect`: `None` sends
/// `100 Continue` and goes on; and then (or at once) with the whole request, where `None` is not allowed.
type Script = dyn Fn(&Seen, bool) -> Option<Reply> + Send + Sync;

pub(crate) struct TestServer {
    pub(crate) url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn json(status: &str, body: &str) -> Reply {
    Reply::Raw(raw(status, "Content-Type: application/json\r\nConnection: close\r\n", body))
}

/// An answer with its Content-Length.
pub(crate) fn raw(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nServer: test\r\nDate: Sun, 22 Nov 2026 07:49:37 GMT\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl TestServer {
    pub(crate) async fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(None, move |seen, whole| whole.then(|| script(seen))).await
    }

    pub(crate) async fn tls(
        acceptor: SslAcceptor,
        script: impl Fn(&Seen, bool) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        Self::with(Some(acceptor), script).await
    }

    async fn with(
        acceptor: Option<SslAcceptor>,
        script: impl Fn(&Seen, bool) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let (scheme, host) = if acceptor.is_some() { ("https", "localhost") } else { ("http", "127.0.0.1") };
        let url = Url::parse(&format!("{scheme}://{host}:{port}")).expect("url");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, record): (Arc<Script>, _) = (Arc::new(script), seen.clone());
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (script, record, acceptor) = (script.clone(), record.clone(), acceptor.clone());
                connections.spawn(async move {
                    let Some(acceptor) = acceptor else { return serve(tcp, None, &*script, &record).await };
                    let ssl = Ssl::new(acceptor.context()).expect("ssl");
                    let mut tls = tokio_openssl::SslStream::new(ssl, tcp).expect("stream");
                    if std::pin::Pin::new(&mut tls).accept().await.is_ok() {
                        let peer = tls.ssl().peer_certificate();
                        let peer = peer.map(|cert| format!("{:?}", cert.subject_name()));
                        serve(tls, peer, &*script, &record).await;
                    } else {
                        // Closing with unread bytes would reset the connection and lose the alert.
                        let tcp = tls.get_mut();
                        let _ = tcp.shutdown().await;
                        drain(tcp).await;
                    }
                });
            }
        });
        Self { url, seen, task }
    }

    /// All requests so far, in the order of their end.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("lock").clone()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    peer: Option<String>,
    script: &Script,
    record: &Mutex<Vec<Seen>>,
) {
    let mut buffer = Vec::new();
    let end = loop {
        if let Some(end) = find(&buffer, b"\r\n\r\n") {
            break end;
        }
        if fill(&mut stream, &mut buffer).await.is_none() {
            return;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let mut seen = Seen {
        method: first.next().unwrap_or_default(),
        target: first.next().unwrap_or_default(),
        headers: lines
            .filter_map(|l| l.split_once(':').map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())))
            .collect(),
        body: Vec::new(),
        peer,
    };
    let mut reply = None;
    if seen.header("expect").is_some() {
        reply = script(&seen, false);
        if reply.is_none() {
            let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
        }
    }
    if reply.is_none() {
        let length = seen.header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0usize);
        while buffer.len() < length && fill(&mut stream, &mut buffer).await.is_some() {}
        let rest = buffer.split_off(length.min(buffer.len()));
        seen.body = std::mem::replace(&mut buffer, rest);
        if seen.body.len() < length {
            seen.method.push_str(" (cut)");
        }
        reply = script(&seen, true);
    }
    record.lock().expect("lock").push(seen);
    match reply.expect("the script answers whole requests") {
        Reply::Raw(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            // Closing with unread bytes would reset the connection and lose the answer.
            drain(&mut stream).await;
        }
        Reply::Silence => while fill(&mut stream, &mut buffer).await.is_some() {},
        Reply::Stall(bytes) => {
            let _ = stream.write_all(&bytes).await;
            while fill(&mut stream, &mut buffer).await.is_some() {}
        }
        Reply::Drop => {}
    }
}

async fn fill<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 16 * 1024];
    match stream.read(&mut chunk).await {
        Ok(n) if n > 0 => {
            buffer.extend_from_slice(&chunk[..n]);
            Some(())
        }
        _ => None,
    }
}

async fn drain<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut rest = Vec::new();
    let read = async {
        while fill(stream, &mut rest).await.is_some() {
            rest.clear();
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), read).await;
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}
