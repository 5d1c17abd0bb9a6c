//! The computing element's session files over TLS: `/arex/rest/1.0/jobs/ID/session/PATH`, read only.
//!
//! It answers as a real A-REX 6.17 was observed to: no ETag, no date, single ranges without suffixes, 404 for whoever is not
//! the job's owner, listings in HTML, XML or JSON. Other than A-REX it does not follow links out of the session directory,
//! and does not hang on a pipe. Which jobs there are is told by the part that runs them.

use std::io::{self, SeekFrom};
use std::net::Ipv4Addr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::fs;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::net::TcpListener;
use tokio_util::io::ReaderStream;

use crate::front::Front;
use crate::pki::{Pki, ServerCert};
use crate::tls::{ClientCert, Peer, Server, acceptor};

const JOBS: &str = "/arex/rest/1.0/jobs/";

/// One job as its computing element sees it.
#[derive(Clone, Debug)]
pub struct Session {
    /// The session directory; it may be gone.
    pub dir: PathBuf,
    /// The owner's DN without the names that proxies add: `/DC=org/.../CN=Test User`.
    pub owner: String,
}

/// What the CE may know of the jobs.
pub trait SessionView: Send + Sync + 'static {
    /// The job with this id at the CE, which is the last part of its `JobID`.
    fn session(&self, id: &str) -> Option<Session>;
}

/// What kind of CE to start.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Port on 127.0.0.1, 0 for a free one.
    pub port: u16,
    pub server_cert: ServerCert,
}

/// A running CE.
pub struct Ce {
    server: Server,
    front: Front,
}

impl Ce {
    pub async fn start(options: &Options, pki: &Pki, jobs: Arc<dyn SessionView>) -> io::Result<Ce> {
        let front = Front::default();
        let router = front.before("ce", Router::new().fallback(serve).with_state(jobs));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        // A-REX lets everyone in and shows them nothing.
        let tls = acceptor(pki, options.server_cert, ClientCert::Optional).map_err(io::Error::other)?;
        let server = Server::on(listener, router, Some(tls))?;
        Ok(Ce { server, front })
    }

    /// The service's URL, `https://localhost:PORT/arex`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}/arex", self.server.addr().port())
    }

    /// The journal and the faults; the server is called `ce` there.
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// Stops listening and drops all connections.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

async fn serve(State(jobs): State<Arc<dyn SessionView>>, request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return StatusCode::NOT_IMPLEMENTED.into_response();
    }
    let Some((dir, inside)) = wanted(jobs.as_ref(), &request) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let answered = answer(request.method(), request.headers(), &dir, &inside).await;
    answered.unwrap_or_else(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => {
            StatusCode::NOT_FOUND.into_response()
        }
        _ => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    })
}

/// The session directory and the path in it, if the job is the client's.
fn wanted(jobs: &dyn SessionView, request: &Request) -> Option<(PathBuf, PathBuf)> {
    let path = percent_decode_str(request.uri().path()).decode_utf8_lossy();
    let (id, rest) = path.strip_prefix(JOBS)?.split_once('/')?;
    let inside = rest.strip_prefix("session").filter(|inside| inside.is_empty() || inside.starts_with('/'))?;
    let inside = PathBuf::from(inside.trim_matches('/'));
    if path.contains('\0') || inside.components().any(|part| matches!(part, Component::ParentDir)) {
        return None;
    }
    let dn = request.extensions().get::<Peer>()?.dn.as_deref()?;
    let session = jobs.session(id).filter(|session| session.owner == dn)?;
    Some((session.dir, inside))
}

async fn answer(method: &Method, headers: &HeaderMap, dir: &Path, inside: &Path) -> io::Result<Response> {
    let root = fs::canonicalize(dir).await?;
    let place = &fs::canonicalize(root.join(inside)).await?;
    if !place.starts_with(&root) {
        return Ok(StatusCode::NOT_FOUND.into_response());
    }
    let meta = fs::metadata(place).await?;
    if meta.is_dir() {
        return list(headers, place).await;
    }
    if !meta.is_file() {
        return Ok(StatusCode::NOT_FOUND.into_response());
    }
    let length = meta.len();
    let kind = (CONTENT_TYPE, "application/octet-stream");
    if method == Method::HEAD {
        return Ok(([kind], [(CONTENT_LENGTH, length)], ()).into_response());
    }
    let range = headers.get(RANGE).and_then(|range| range.to_str().ok()).and_then(first_range);
    let (from, to) = match range.filter(|_| length > 0) {
        None => (0, length),
        Some((from, to)) => (from, to.map_or(length, |to| to.saturating_add(1)).min(length)),
    };
    if range.is_some() && length > 0 && from >= to {
        let head = [(CONTENT_RANGE, format!("bytes */{length}"))];
        return Ok((StatusCode::RANGE_NOT_SATISFIABLE, [kind], head).into_response());
    }
    let mut file = fs::File::open(place).await?;
    file.seek(SeekFrom::Start(from)).await?;
    // A running job may append, or truncate, meanwhile: never more than was announced.
    let body = Body::from_stream(ReaderStream::with_capacity(file.take(to - from), 64 * 1024));
    let mut response = ([kind], body).into_response();
    if length > 0 {
        response.headers_mut().insert(CONTENT_LENGTH, (to - from).into());
    }
    if range.is_some()
        && length > 0
        && let Ok(value) = format!("bytes {from}-{}/{length}", to - 1).parse()
    {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    Ok(response)
}

/// The first range of the header, as first and last byte; one that counts from the end is not understood.
fn first_range(header: &str) -> Option<(u64, Option<u64>)> {
    let first = header.strip_prefix("bytes=")?.split(',').next()?;
    let (from, to) = first.trim().split_once('-')?;
    let to = if to.is_empty() { None } else { Some(to.parse().ok()?) };
    Some((from.parse().ok()?, to))
}

/// A directory's entries, in the form the client accepts. Only files and directories are shown.
async fn list(headers: &HeaderMap, place: &Path) -> io::Result<Response> {
    let mut files = Vec::new();
    let mut dirs = Vec::new();
    let mut entries = fs::read_dir(place).await?;
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name().to_string_lossy().into_owned();
        let meta = entry.metadata().await?;
        if meta.is_dir() {
            dirs.push(name);
        } else if meta.is_file() {
            files.push((name, meta.len()));
        }
    }
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let first = accept.split([',', ';']).next().unwrap_or_default().trim();
    let (kind, text) = match first {
        "application/json" => (Some("application/json"), json(&files, &dirs)),
        "application/xml" | "text/xml" => (Some("application/xml"), xml(&files, &dirs)),
        "text/html" => (Some("text/html"), html(&files, &dirs)),
        _ => (None, html(&files, &dirs)),
    };
    let mut response = Body::from(text).into_response();
    if let Some(kind) = kind {
        response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    }
    Ok(response)
}

/// `{"file":["a","b"],"dir":"c"}`: made from XML by the real one, so a single name is not in a list, none is no key, and
/// nothing at all is no text at all.
fn json(files: &[(String, u64)], dirs: &[String]) -> String {
    let files: Vec<&String> = files.iter().map(|(name, _)| name).collect();
    let dirs: Vec<&String> = dirs.iter().collect();
    let pairs: Vec<String> = [("file", files), ("dir", dirs)]
        .into_iter()
        .filter_map(|(key, names)| match &names[..] {
            [] => None,
            [one] => Some(format!("\"{key}\":{}", serde_json::json!(one))),
            all => Some(format!("\"{key}\":{}", serde_json::json!(all))),
        })
        .collect();
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}

fn xml(files: &[(String, u64)], dirs: &[String]) -> String {
    if files.is_empty() && dirs.is_empty() {
        return "<list/>".into();
    }
    let mut text = String::from("<list>\n");
    for (name, size) in files {
        text.push_str(&format!("  <file size=\"{size}\">{}</file>\n", escaped(name)));
    }
    for name in dirs {
        text.push_str(&format!("  <dir>{}</dir>\n", escaped(name)));
    }
    text + "</list>\n"
}

/// Names are not escaped here; the real one does not either.
fn html(files: &[(String, u64)], dirs: &[String]) -> String {
    let rows: String = files
        .iter()
        .map(|(name, _)| ("file", name))
        .chain(dirs.iter().map(|name| ("dir", name)))
        .map(|(kind, name)| format!("<tr><td>{kind}</td><td>{name}</td></tr>"))
        .collect();
    let table = if rows.is_empty() { rows } else { format!("<table border=\"1\">{rows}</table>") };
    format!("<HTML><HEAD>list</HEAD><BODY>{table}</BODY></HTML>")
}

fn escaped(name: &str) -> String {
    name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
