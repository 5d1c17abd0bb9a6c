//! A file as the answer to GET or HEAD, whole or in part (RFC 9110 section 14), for the WebDAV store and the CE.
//!
//! It sends what is in the file; whether the client may have it was decided before.

use std::io::{self, SeekFrom};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, Method, StatusCode};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

/// What a Range header asks of a file of some length.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    /// From this byte, this many.
    Bytes(u64, u64),
    Unsatisfiable,
}

/// The file's content; the caller has made sure that it is a regular file.
pub(crate) async fn answer(method: &Method, headers: &HeaderMap, path: &Path) -> io::Result<Response> {
    let mut file = File::open(path).await?;
    let meta = file.metadata().await?;
    let (length, modified) = (meta.len(), meta.modified()?);
    let tag = etag(length, modified);
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    // A client that holds an older version must get the whole file.
    let current = text(IF_RANGE).is_none_or(|seen| seen == tag || seen == httpdate::fmt_http_date(modified));
    let part = text(RANGE).filter(|_| current).map_or(Part::Whole, |range| part(range, length));
    let (status, from, count) = match part {
        Part::Whole => (StatusCode::OK, 0, length),
        Part::Bytes(from, count) => (StatusCode::PARTIAL_CONTENT, from, count),
        Part::Unsatisfiable => {
            let head = [(CONTENT_RANGE, format!("bytes */{length}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, head).into_response());
        }
    };
    let head = [
        (CONTENT_LENGTH, count.to_string()),
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (ACCEPT_RANGES, "bytes".to_owned()),
        (ETAG, tag),
        (LAST_MODIFIED, httpdate::fmt_http_date(modified)),
    ];
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        file.seek(SeekFrom::Start(from)).await?;
        Body::from_stream(ReaderStream::with_capacity(file.take(count), 64 * 1024))
    };
    let mut response = (status, head, body).into_response();
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(range) = format!("bytes {from}-{}/{length}", from + count - 1).parse()
    {
        response.headers_mut().insert(CONTENT_RANGE, range);
    }
    Ok(response)
}

/// A strong validator of a file that is only ever replaced as a whole.
pub(crate) fn etag(length: u64, modified: SystemTime) -> String {
    let nanos = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("\"{length:x}-{nanos:x}\"")
}

/// One range is understood; several, or nonsense, are answered with the whole file, as RFC 9110 allows.
fn part(range: &str, length: u64) -> Part {
    let Some((from, to)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Part::Whole;
    };
    match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), Ok(to)) if from <= to && from < length => Part::Bytes(from, to.min(length - 1) - from + 1),
        (Ok(from), Ok(to)) if from > to => Part::Whole,
        (Ok(from), Err(_)) if to.is_empty() && from < length => Part::Bytes(from, length - from),
        (Ok(_), Ok(_)) => Part::Unsatisfiable,
        (Ok(_), Err(_)) if to.is_empty() => Part::Unsatisfiable,
        (Err(_), Ok(last)) if from.is_empty() && last > 0 && length > 0 => {
            let count = last.min(length);
            Part::Bytes(length - count, count)
        }
        (Err(_), Ok(_)) if from.is_empty() => Part::Unsatisfiable,
        _ => Part::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_file() {
        for (range, length, want) in [
            ("bytes=0-3", 10, Part::Bytes(0, 4)),
            ("bytes=8-", 10, Part::Bytes(8, 2)),
            ("bytes=8-99", 10, Part::Bytes(8, 2)),
            ("bytes=-3", 10, Part::Bytes(7, 3)),
            ("bytes=-99", 10, Part::Bytes(0, 10)),
            ("bytes=10-", 10, Part::Unsatisfiable),
            ("bytes=10-12", 10, Part::Unsatisfiable),
            ("bytes=-0", 10, Part::Unsatisfiable),
            ("bytes=0-", 0, Part::Unsatisfiable),
            ("bytes=-1", 0, Part::Unsatisfiable),
            ("bytes=5-2", 10, Part::Whole),
            ("bytes=0-1,3-4", 10, Part::Whole),
            ("lines=1-2", 10, Part::Whole),
        ] {
            assert_eq!(part(range, length), want, "{range} of {length}");
        }
    }
}
