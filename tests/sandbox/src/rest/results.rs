//! GET /jobs/ID/results/PATH: listings of one directory, and files with ETag, ranges and conditions.

use std::{
    fs::{File, Metadata},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use httpdate::{fmt_http_date, parse_http_date};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::{data::inside, reply};
use crate::shared::Shared;

/// The largest piece of a file that is read at once. Tens of thousands of small files are an everyday download.
const SMALL: u64 = 64 << 10;

/// Answers one request for a listing (path empty or ending in `/`) or a file. Blocks.
pub(super) fn get(shared: &Shared, proxyid: i64, id: i64, name: &[u8], headers: &HeaderMap) -> Response {
    let not_found = |msg: &str| reply::message(StatusCode::NOT_FOUND, msg);
    let results: Option<PathBuf> = shared.read(|state| {
        let job = state.own(proxyid, id)?;
        matches!(job.arcstate(), Some("done" | "donefailed")).then(|| job.results.clone().unwrap_or_default())
    });
    let Some(base) = results else { return not_found("No results in current job state") };
    if !base.is_dir() {
        return not_found("Job has no results");
    }
    let place = inside(&base, name);
    if name.is_empty() || name.ends_with(b"/") {
        return match place.map(|dir| listing(&dir)) {
            Some(Ok((dir, file))) => reply::json(StatusCode::OK, &json!({ "dir": dir, "file": file })),
            _ => not_found("Output directory does not exist"),
        };
    }
    match place.map(|path| file(&path, headers)) {
        Some(Ok(response)) => response,
        _ => not_found("Output file does not exist"),
    }
}

/// Names of sub-directories and of files, unordered; a dangling link is in neither.
fn listing(dir: &Path) -> io::Result<(Vec<String>, Vec<String>)> {
    let (mut dirs, mut files) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        match std::fs::metadata(entry.path()) {
            Ok(meta) if meta.is_dir() => dirs.push(name),
            Ok(meta) if meta.is_file() => files.push(name),
            _ => {}
        }
    }
    Ok((dirs, files))
}

fn file(path: &Path, headers: &HeaderMap) -> io::Result<Response> {
    // A pipe is no output, and opening one would block.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut file = File::open(path)?;
    let meta = file.metadata()?;
    let size = meta.len();
    let modified = meta.modified()?;
    let etag = etag(path, &meta)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();

    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let unchanged = match text(header::IF_NONE_MATCH) {
        Some(tags) => tags == "*" || tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag),
        None => text(header::IF_MODIFIED_SINCE)
            .and_then(|date| parse_http_date(date).ok())
            .is_some_and(|date| whole_seconds(modified) <= date),
    };
    let mut response = Response::new(Body::empty());
    let out = response.headers_mut();
    insert(out, header::CONTENT_DISPOSITION, disposition(&name));
    insert(out, header::CACHE_CONTROL, "no-cache".to_owned());
    insert(out, header::ETAG, etag.clone());
    insert(out, header::ACCEPT_RANGES, "bytes".to_owned());
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    insert(out, header::CONTENT_TYPE, content_type(&name).to_owned());
    insert(out, header::LAST_MODIFIED, fmt_http_date(modified));

    let range = text(header::RANGE).filter(|_| match text(header::IF_RANGE) {
        None => true,
        Some(tag) if tag.starts_with('"') => tag == etag,
        Some(date) => parse_http_date(date).is_ok_and(|date| whole_seconds(modified) <= date),
    });
    let (start, length) = match range.map(|range| parse_range(range, size)) {
        None | Some(Range::Ignored) => (0, size),
        Some(Range::Part { start, length }) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let shown = format!("bytes {start}-{}/{size}", start + length - 1);
            insert(response.headers_mut(), header::CONTENT_RANGE, shown);
            (start, length)
        }
        Some(Range::Unsatisfiable) => {
            let mut refused = reply::html(StatusCode::RANGE_NOT_SATISFIABLE);
            insert(refused.headers_mut(), header::CONTENT_RANGE, format!("bytes */{size}"));
            return Ok(refused);
        }
    };
    insert(response.headers_mut(), header::CONTENT_LENGTH, length.to_string());
    file.seek(SeekFrom::Start(start))?;
    *response.body_mut() = if length <= SMALL {
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes)?;
        Body::from(bytes)
    } else {
        let rest = tokio::fs::File::from_std(file).take(length);
        Body::from_stream(ReaderStream::with_capacity(rest, 64 * 1024))
    };
    Ok(response)
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// `"MTIME-SIZE-CHECKSUM"`, the checksum being of the path.
fn etag(path: &Path, meta: &Metadata) -> io::Result<String> {
    use std::os::unix::ffi::OsStrExt;
    let since = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut low, mut high) = (1_u32, 0_u32);
    for byte in path.as_os_str().as_bytes() {
        low = (low + u32::from(*byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    Ok(format!("\"{}.{:07}-{}-{}\"", since.as_secs(), since.subsec_nanos() / 100, meta.len(), (high << 16) | low))
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// Not a byte range.
    Ignored,
    Unsatisfiable,
    Part {
        start: u64,
        length: u64,
    },
}

/// One range of `bytes=`; several at once are refused, as the real server's framework does.
fn parse_range(text: &str, size: u64) -> Range {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|spec| spec.trim().split_once('-')) else {
        return Range::Ignored;
    };
    if last.contains(',') {
        return Range::Unsatisfiable;
    }
    let (start, end) = match (first.is_empty(), first.parse::<u64>(), last.parse::<u64>()) {
        (true, _, Ok(suffix)) => (size.saturating_sub(suffix), size),
        (false, Ok(start), Ok(last)) if last >= start => (start, size.min(last.saturating_add(1))),
        (false, Ok(start), Err(_)) if last.is_empty() => (start, size),
        _ => return Range::Ignored,
    };
    if start >= end { Range::Unsatisfiable } else { Range::Part { start, length: end - start } }
}

fn disposition(name: &str) -> String {
    let plain = |text: &str| {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if text.bytes().all(token) && !text.is_empty() {
            text.to_owned()
        } else {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
    };
    if name.is_ascii() {
        return format!("inline; filename={}", plain(name));
    }
    let ascii: String = name.chars().filter(char::is_ascii).collect();
    const KEEP: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~');
    let encoded = percent_encoding::utf8_percent_encode(name, KEEP);
    format!("inline; filename={}; filename*=UTF-8''{encoded}", plain(&ascii))
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "txt" | "log" | "c" | "h" => "text/plain; charset=utf-8",
        "html" | "htm" => "text/html; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "py" => "text/x-python; charset=utf-8",
        "xml" => "text/xml; charset=utf-8",
        "json" => "application/json",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "sh" => "application/x-sh",
        "tar" => "application/x-tar",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(parse_range("bytes=1-2", 4), Range::Part { start: 1, length: 2 });
        assert_eq!(parse_range("bytes=1-", 4), Range::Part { start: 1, length: 3 });
        assert_eq!(parse_range("bytes=-1", 4), Range::Part { start: 3, length: 1 });
        assert_eq!(parse_range("bytes=2-99", 4), Range::Part { start: 2, length: 2 });
        assert_eq!(parse_range("bytes=4-", 4), Range::Unsatisfiable);
        assert_eq!(parse_range("bytes=0-", 0), Range::Unsatisfiable);
        assert_eq!(parse_range("bytes=0-0,2-2", 4), Range::Unsatisfiable);
        assert_eq!(parse_range("lines=1-2", 4), Range::Ignored);
        assert_eq!(parse_range("bytes=3-1", 4), Range::Ignored);
    }

    #[test]
    fn dispositions_are_quoted_as_observed() {
        for (name, want) in [
            ("stdout.txt", "inline; filename=stdout.txt"),
            ("q?x=1.txt", "inline; filename=\"q?x=1.txt\""),
            ("h#1.txt", "inline; filename=h#1.txt"),
            ("p%41.txt", "inline; filename=p%41.txt"),
            ("a file.txt", "inline; filename=\"a file.txt\""),
            ("sm\u{f8}rbr\u{f8}d.txt", "inline; filename=smrbrd.txt; filename*=UTF-8''sm%C3%B8rbr%C3%B8d.txt"),
        ] {
            assert_eq!(disposition(name), want);
        }
    }
}
