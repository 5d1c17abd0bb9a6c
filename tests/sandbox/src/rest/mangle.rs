//! Carries a fault out: withholds, replaces, cuts or spoils the answer to one request. It must not decide whether a
//! fault applies.

use std::{convert::Infallible, future::pending, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::{sync::oneshot, time::sleep};

use super::{Call, MAX_JSON, MAX_WAIT, reply};
use crate::{fault::Kind, listen::Connection};

/// What `endless` repeats.
const FILLER: &[u8] = &[b' '; 16 * 1024];

/// Time for the bytes before a cut to leave.
const FLUSH: Duration = Duration::from_millis(50);

pub(super) async fn apply(kind: Kind, mut call: Call, connection: &Connection) -> Response {
    if let Kind::Delay { ms, execute } = kind {
        let ms = Duration::from_millis(ms);
        if execute {
            let answer = call.run().await;
            sleep(ms).await;
            return answer;
        }
        // Spawned, so that it is carried out even if the client leaves during the delay.
        let delayed = tokio::spawn(async move {
            sleep(ms).await;
            call.execute().await
        });
        return delayed.await.unwrap_or_else(|_| reply::server_error());
    }
    if let Kind::Late { ms, reset } = kind {
        return late(call, connection, ms, reset).await;
    }
    if let Kind::Reset { after_bytes, .. } = kind {
        call.limit = after_bytes;
    }
    let answer = if kind.executes() { Some(call.run().await) } else { None };
    let right = answer.unwrap_or_else(reply::no_content);
    match kind {
        Kind::Stall { .. } => pending().await,
        Kind::Reset { .. } => {
            connection.reset();
            pending().await
        }
        Kind::Status { status, html, msg, retry_after, .. } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = if html {
                reply::html(status)
            } else {
                reply::message(status, msg.unwrap_or_else(|| "Server error".to_owned()))
            };
            if let Some(seconds) = retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            response
        }
        Kind::Body { status, content_type, body, .. } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            typed(status, &content_type, Body::from(body))
        }
        Kind::Truncate { bytes, stall } => truncate(right, bytes, stall).await,
        Kind::WrongLength { delta } => wrong_length(right, delta).await,
        Kind::Listing { file, dir } => listing(right, &file, &dir).await,
        Kind::Encoded { coding, body, times } => {
            let bytes = STANDARD.decode(body).unwrap_or_default().repeat(times);
            let mut response = typed(StatusCode::OK, "application/json", Body::from(bytes));
            if let Ok(value) = HeaderValue::try_from(coding) {
                response.headers_mut().insert(header::CONTENT_ENCODING, value);
            }
            response
        }
        Kind::Endless { content_length, content_type } => {
            let filler = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(FILLER)));
            let mut response = typed(StatusCode::OK, &content_type, Body::from_stream(filler));
            if let Some(length) = content_length {
                response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
            response
        }
        Kind::Delay { .. } | Kind::Late { .. } => right,
    }
}

fn typed(status: StatusCode, content_type: &str, body: Body) -> Response {
    let mut response = reply::body(status, "application/octet-stream", body);
    if let Ok(value) = HeaderValue::try_from(content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

/// The request is read whole, the client gets nothing, and some time after its connection has ended the request is
/// carried out after all.
async fn late(mut call: Call, connection: &Connection, ms: u64, reset: bool) -> Response {
    let Ok(bytes) = to_bytes(std::mem::take(&mut call.body), MAX_JSON).await else { pending().await };
    call.body = Body::from(bytes);
    // Dropped together with this future, that is when the connection ends.
    let (held, gone) = oneshot::channel::<()>();
    tokio::spawn(async move {
        // Either the sender was dropped or the wait was long enough; both mean: go on.
        let _ = tokio::time::timeout(MAX_WAIT, gone).await;
        sleep(Duration::from_millis(ms)).await;
        call.execute().await
    });
    if reset {
        connection.reset();
    }
    let _held = held;
    pending().await
}

/// The length of the whole body; bodies of unknown length are read for it.
async fn measured(response: Response) -> (Response, u64) {
    let known = response.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if let Some(length) = known {
        return (response, length);
    }
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let length = bytes.len() as u64;
    (Response::from_parts(parts, Body::from(bytes)), length)
}

async fn truncate(response: Response, keep: u64, stall: bool) -> Response {
    let (response, length) = measured(response).await;
    let (mut parts, body) = response.into_parts();
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let mut left = keep;
    let head = body.into_data_stream().map(move |chunk| {
        let chunk = chunk.unwrap_or_default();
        let take = left.min(chunk.len() as u64);
        left -= take;
        chunk.slice(..usize::try_from(take).unwrap_or(0))
    });
    let head = head.take_while(|chunk| std::future::ready(!chunk.is_empty())).map(Ok::<_, std::io::Error>);
    let body =
        if stall { Body::from_stream(head.chain(stream::pending())) } else { Body::from_stream(head.chain(cut())) };
    Response::from_parts(parts, body)
}

/// Ends the connection, after the bytes before it have left.
fn cut() -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send {
    stream::once(async {
        // An error throws away what is not yet on its way: leave time for that.
        sleep(FLUSH).await;
        Err(std::io::Error::other("cut off on demand"))
    })
}

async fn wrong_length(response: Response, delta: i64) -> Response {
    let (response, length) = measured(response).await;
    let (mut parts, body) = response.into_parts();
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length.saturating_add_signed(delta)));
    // As a stream the body has no length of its own that could contradict the header.
    let bytes = body.into_data_stream().map(|chunk| chunk.map_err(std::io::Error::other));
    Response::from_parts(parts, Body::from_stream(bytes.chain(cut())))
}

async fn listing(response: Response, file: &[String], dir: &[String]) -> Response {
    if response.status() != StatusCode::OK {
        return response;
    }
    let bytes = to_bytes(response.into_body(), MAX_JSON).await.unwrap_or_default();
    let mut value: Value = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!({ "dir": [], "file": [] }));
    for (key, names) in [("file", file), ("dir", dir)] {
        if let Some(list) = value[key].as_array_mut() {
            list.extend(names.iter().map(|name| json!(name)));
        }
    }
    reply::json(StatusCode::OK, &value)
}
