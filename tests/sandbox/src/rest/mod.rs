//! The REST API: takes a request through the HTTP server's own limits, the journal, the faults, the routes and the
//! token to its endpoint. The endpoints live in the files below; what a fault does to an answer in `mangle`.

mod breach;
pub(crate) mod data;
mod jobs;
mod mangle;
mod proxies;
pub(crate) mod reply;
mod results;
mod route;
mod token;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Extension, Request, State},
    response::Response,
};
use http::{HeaderValue, Method, StatusCode, header, request::Parts};
use serde_json::Value;

use self::{jobs::Query, route::Route, token::Refusal};
use crate::{
    fault::Kind,
    listen::Connection,
    shared::{Shared, now},
};

/// Longest JSON body that is read.
const MAX_JSON: usize = 64 << 20;
/// JSON bodies up to this length are kept in the journal.
const MAX_JOURNAL_BODY: usize = 16 << 10;
/// Limits of the real server's HTTP front (observed).
const MAX_REQUEST_LINE: usize = 4094;
const MAX_HEADER: usize = 8190;

/// The API as a router. It has one route: the real server routes on decoded paths, which a router does not.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(handle).with_state(shared)
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    Extension(connection): Extension<Connection>,
    request: Request,
) -> Response {
    let begin = Instant::now();
    let (parts, body) = request.into_parts();
    let seq = shared.journal.begin(connection.id, &parts.method, &parts.uri, &parts.headers);
    let fault = shared.faults.take(parts.method.as_str(), parts.uri.path(), parts.uri.query().unwrap_or_default());
    if let Some(kind) = &fault {
        let name = kind.name();
        shared.journal.note(seq, |entry| entry.fault = Some(name));
    }
    let call = Call { shared: shared.clone(), seq, parts, body, limit: None };
    let mut response = match refused_by_front(&call.parts) {
        Some(response) => response,
        None => match fault {
            None => call.run().await,
            Some(kind) => mangle::apply(kind, call, &connection).await,
        },
    };
    finish(&shared, &mut response);
    shared.journal.answered(seq, response.status().as_u16(), begin);
    response
}

/// Headers and reason phrase as the real server sends them.
fn finish(shared: &Shared, response: &mut Response) {
    let own = std::mem::take(response.headers_mut());
    let headers = response.headers_mut();
    headers.insert(header::SERVER, HeaderValue::from_static("gunicorn"));
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(std::time::SystemTime::now())) {
        headers.insert(header::DATE, date);
    }
    if !shared.options.keep_alive {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers.extend(own);
    let status = response.status();
    // The front's own pages keep the usual spelling.
    if !matches!(status, StatusCode::URI_TOO_LONG | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) {
        let reason = match status {
            StatusCode::RANGE_NOT_SATISFIABLE => "REQUESTED RANGE NOT SATISFIABLE".to_owned(),
            _ => status.canonical_reason().unwrap_or("UNKNOWN").to_ascii_uppercase(),
        };
        if let Ok(reason) = hyper::ext::ReasonPhrase::try_from(reason) {
            response.extensions_mut().insert(reason);
        }
    }
}

/// What the HTTP server in front of the application refuses by itself.
fn refused_by_front(parts: &Parts) -> Option<Response> {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let line = parts.method.as_str().len() + target + " ".len() + " HTTP/1.1".len();
    if line > MAX_REQUEST_LINE {
        let detail = format!("Request Line is too large ({} &gt; {MAX_REQUEST_LINE})", line.min(8192));
        return Some(reply::gateway_page(StatusCode::URI_TOO_LONG, "URI Too Long", &detail));
    }
    let longest = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).max();
    if longest.unwrap_or(0) > MAX_HEADER {
        let detail = "Error parsing headers: &#x27;limit request headers fields size&#x27;";
        let title = "Request Header Fields Too Large";
        return Some(reply::gateway_page(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, title, detail));
    }
    None
}

/// One request on its way to its endpoint.
struct Call {
    shared: Arc<Shared>,
    seq: u64,
    parts: Parts,
    body: Body,
    /// Take only this many bytes of an upload.
    limit: Option<u64>,
}

impl Call {
    /// Carries the request out in a task of its own: as on the real server it goes on when the client has left.
    async fn run(self) -> Response {
        tokio::spawn(self.execute()).await.unwrap_or_else(|_| reply::html(StatusCode::INTERNAL_SERVER_ERROR))
    }

    async fn execute(self) -> Response {
        let shared = self.shared.clone();
        let seq = self.seq;
        shared.journal.note(seq, |entry| entry.executed = true);
        let route = Route::of(self.parts.uri.path());
        let method = self.parts.method.clone();
        let host = self.parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        match &route {
            Route::Unknown => return reply::html(StatusCode::NOT_FOUND),
            Route::Redirect(path) => return reply::redirect(host, path),
            _ => {}
        }
        if method == Method::OPTIONS {
            let mut response = reply::body(StatusCode::OK, "text/html; charset=utf-8", Body::empty());
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(route.allow()));
            return response;
        }
        if !allowed(&route, &method) {
            return reply::not_allowed(route.allow());
        }
        if shared.read(|state| state.broken) {
            return reply::server_error();
        }
        self.endpoint(route, &method).await.unwrap_or_else(|response| response)
    }

    /// Errors are answers too.
    async fn endpoint(self, route: Route, method: &Method) -> Result<Response, Response> {
        let Self { shared, seq, parts, body, limit } = self;
        let query = Query::of(parts.uri.query().unwrap_or_default());
        if route == Route::Proxies && method == Method::POST {
            let body = json_body(&shared, seq, &parts, body).await?;
            return Ok(blocking(move || proxies::post(&shared, &body)).await);
        }
        let html = matches!(&route, Route::Results { .. })
            || (route == Route::Jobs && (method == Method::DELETE || method == Method::PATCH));
        let proxyid = token::check(&shared, &parts.headers, now()).map_err(|refusal: Refusal| refusal.answer(html))?;
        shared.journal.note(seq, |entry| entry.proxyid = Some(proxyid));
        Ok(match (route, method.as_str()) {
            (Route::Info, _) => jobs::info(&shared),
            (Route::Jobs, "GET" | "HEAD") => blocking(move || jobs::list(&shared, proxyid, &query)).await,
            (Route::Jobs, "POST") => {
                let body = json_body(&shared, seq, &parts, body).await?;
                blocking(move || jobs::create(&shared, proxyid, &body)).await
            }
            (Route::Jobs, "PUT") => {
                let body = json_body(&shared, seq, &parts, body).await?;
                blocking(move || jobs::confirm(&shared, proxyid, &body)).await
            }
            (Route::Jobs, "PATCH") => blocking(move || jobs::act(&shared, proxyid, &query)).await,
            (Route::Jobs, _) => blocking(move || jobs::clean(&shared, proxyid, &query)).await,
            (Route::Proxies, "PUT") => {
                let body = json_body(&shared, seq, &parts, body).await?;
                proxies::put(&shared, proxyid, seq, &body)
            }
            (Route::Proxies, _) => proxies::delete(&shared, proxyid),
            (Route::Data { id, path }, _) => {
                let (response, received) = data::put(&shared, proxyid, id, &path, body, limit).await;
                shared.journal.note(seq, |entry| entry.body_len = received);
                response
            }
            (Route::Results { id, path }, _) => {
                blocking(move || results::get(&shared, proxyid, id, &path, &parts.headers)).await
            }
            (Route::Redirect(_) | Route::Unknown, _) => reply::html(StatusCode::NOT_FOUND),
        })
    }
}

fn allowed(route: &Route, method: &Method) -> bool {
    let methods: &[&str] = match route {
        Route::Jobs => &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        Route::Proxies => &["POST", "PUT", "DELETE"],
        Route::Data { .. } => &["PUT"],
        _ => &["GET", "HEAD"],
    };
    methods.contains(&method.as_str())
}

/// Runs something that may take a while (a large listing, many files to remove, a key to make) off the event loop.
async fn blocking(work: impl FnOnce() -> Response + Send + 'static) -> Response {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| reply::html(StatusCode::INTERNAL_SERVER_ERROR))
}

/// The body as JSON, or the real server's answer to a body that is none.
async fn json_body(shared: &Shared, seq: u64, parts: &Parts, body: Body) -> Result<Value, Response> {
    let mime = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mime = mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let refuse = |msg: &str| reply::message(StatusCode::BAD_REQUEST, msg);
    let bytes = to_bytes(body, MAX_JSON).await.map_err(|_| refuse(BAD_JSON))?;
    shared.journal.note(seq, |entry| {
        entry.body_len = bytes.len() as u64;
        entry.body = (bytes.len() <= MAX_JOURNAL_BODY).then(|| String::from_utf8_lossy(&bytes).into_owned());
    });
    if mime != "application/json" && !(mime.starts_with("application/") && mime.ends_with("+json")) {
        return Err(refuse(
            "415 Unsupported Media Type: Did not attempt to load JSON data because the request Content-Type was not \
             'application/json'.",
        ));
    }
    serde_json::from_slice(&bytes).map_err(|_| refuse(BAD_JSON))
}

const BAD_JSON: &str = "400 Bad Request: The browser (or proxy) sent a request that this server could not understand.";

/// How long a late execution waits at most for its client to leave.
const MAX_WAIT: Duration = Duration::from_secs(600);

impl Kind {
    /// Whether the request reaches its endpoint before the fault shows.
    fn executes(&self) -> bool {
        match self {
            Self::Stall { execute } | Self::Status { execute, .. } | Self::Body { execute, .. } => *execute,
            Self::Reset { execute, after_bytes } => *execute || after_bytes.is_some(),
            Self::Late { .. } | Self::Encoded { .. } | Self::Endless { .. } => false,
            Self::Delay { .. } | Self::Truncate { .. } | Self::WrongLength { .. } | Self::Listing { .. } => true,
        }
    }
}
