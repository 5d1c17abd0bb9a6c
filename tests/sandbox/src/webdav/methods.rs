//! The methods of the store: OPTIONS, GET, HEAD, PUT, DELETE, MKCOL and PROPFIND of RFC 4918, as far as clients that stage
//! job inputs use them.
//!
//! Every client with a valid certificate may read and write everything; that it has one was checked in the handshake.

use std::io;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use http::StatusCode;
use http::header::{ALLOW, EXPECT, LOCATION};
use tokio::io::AsyncWriteExt;

use super::pool::Keys;
use super::store::{Kind, Store};
use super::{PREFIX, propfind};
use crate::front::StorePart;
use crate::ranged;

const ALLOWED: &str = "OPTIONS, GET, HEAD, PUT, DELETE, MKCOL, PROPFIND";

/// What PUT answers.
pub(super) enum Uploads {
    /// 201 always.
    Created,
    /// 201 for a new file, 204 for one that was replaced.
    CreatedOrReplaced,
    /// Those that expect 100-continue go to the pool with this base URL; 201 for others.
    Redirected { pool: String, keys: Arc<Keys> },
}

/// The store as its clients meet it.
pub(super) struct Door {
    pub(super) store: Arc<Store>,
    pub(super) uploads: Uploads,
}

pub(super) fn router(door: Door) -> Router {
    Router::new().fallback(serve).with_state(Arc::new(door))
}

async fn serve(State(door): State<Arc<Door>>, request: Request) -> Response {
    let answered = match request.method().as_str() {
        "OPTIONS" => Ok(([("DAV", "1"), (ALLOW.as_str(), ALLOWED)], ()).into_response()),
        "GET" | "HEAD" | "PUT" | "DELETE" | "MKCOL" | "PROPFIND" => {
            let path = request.uri().path().to_owned();
            let below = path.strip_prefix(PREFIX).filter(|rest| rest.is_empty() || rest.starts_with('/'));
            let Some(below) = below else {
                return StatusCode::NOT_FOUND.into_response();
            };
            match door.store.locate(below) {
                Some(place) => on_place(&door, request, &path, &place).await,
                None => Ok(StatusCode::BAD_REQUEST.into_response()),
            }
        }
        _ => Ok((StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, ALLOWED)]).into_response()),
    };
    answered.unwrap_or_else(|error| failed(&error))
}

async fn on_place(door: &Door, request: Request, path: &str, place: &Path) -> io::Result<Response> {
    let store = &door.store;
    let kind = store.kind(place).await?;
    let status = match (request.method().as_str(), kind) {
        ("PUT", Kind::Directory) => StatusCode::CONFLICT,
        ("PUT", _) if !store.has_parent(place).await? => StatusCode::CONFLICT,
        ("PUT", _) => return put(door, request, path, place, kind).await,
        ("MKCOL", Kind::Nothing) if !store.has_parent(place).await? => StatusCode::CONFLICT,
        ("MKCOL", Kind::Nothing) => {
            tokio::fs::create_dir(place).await?;
            StatusCode::CREATED
        }
        ("MKCOL", _) => StatusCode::METHOD_NOT_ALLOWED,
        (_, Kind::Nothing) => StatusCode::NOT_FOUND,
        ("GET" | "HEAD", Kind::File) => return ranged::answer(request.method(), request.headers(), place).await,
        ("DELETE", _) if store.is_root(place) => StatusCode::FORBIDDEN,
        ("DELETE", _) => {
            store.remove(place).await?;
            StatusCode::NO_CONTENT
        }
        ("PROPFIND", _) => match request.headers().get("depth").map(http::HeaderValue::as_bytes) {
            Some(b"0") => return propfind::answer(path, place, false).await,
            Some(b"1") => return propfind::answer(path, place, true).await,
            _ => StatusCode::FORBIDDEN, // infinity, which is also the default
        },
        // GET of a collection: there is no page to show.
        _ => StatusCode::FORBIDDEN,
    };
    Ok(status.into_response())
}

async fn put(door: &Door, request: Request, path: &str, place: &Path, before: Kind) -> io::Result<Response> {
    if let Uploads::Redirected { pool, keys } = &door.uploads
        && request.headers().get(EXPECT).is_some_and(|value| value == "100-continue")
    {
        // The body is not touched, so the client is not told to continue.
        let url = format!("{pool}{path}?{}", keys.issue(place.to_owned()));
        return Ok((StatusCode::TEMPORARY_REDIRECT, [(LOCATION, url)]).into_response());
    }
    receive(&door.store, request, place).await?;
    let replaced = matches!(door.uploads, Uploads::CreatedOrReplaced) && before == Kind::File;
    let status = if replaced { StatusCode::NO_CONTENT } else { StatusCode::CREATED };
    Ok(status.into_response())
}

/// Stores a request's body at this place, or leaves what was there if the body breaks off.
pub(super) async fn receive(store: &Store, request: Request, place: &Path) -> io::Result<u64> {
    let limit = request.extensions().get::<StorePart>().map_or(u64::MAX, |part| part.0);
    let mut upload = store.upload().await?;
    let mut body = request.into_body().into_data_stream();
    let mut stored = 0;
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(|error| io::Error::new(io::ErrorKind::UnexpectedEof, error))?;
        chunk.truncate(usize::try_from(limit - stored).unwrap_or(usize::MAX));
        upload.file.write_all(&chunk).await?;
        stored += chunk.len() as u64;
    }
    upload.file.flush().await?;
    store.publish(upload, place).await?;
    Ok(stored)
}

/// The answer when the disk or the client's connection fails.
pub(super) fn failed(error: &io::Error) -> Response {
    let status = match error.kind() {
        io::ErrorKind::UnexpectedEof => StatusCode::BAD_REQUEST,
        // Another request removed the directory, or made it, meanwhile.
        io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists | io::ErrorKind::IsADirectory => StatusCode::CONFLICT,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StatusCode::INSUFFICIENT_STORAGE,
        io::ErrorKind::InvalidFilename => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, format!("{error}\n")).into_response()
}
