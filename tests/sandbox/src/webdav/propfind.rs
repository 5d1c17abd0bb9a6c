//! The answer to PROPFIND (RFC 4918 section 9.1): which resources there are, and of what size.
//!
//! Only the properties that clients of such stores ask for; whatever is asked, all of them are given.

use std::fs::Metadata;
use std::io;
use std::path::Path;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::fs;

use crate::ranged::etag;

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The properties of the resource at `place`, and of its members when `members` is set. `href` is its path as requested.
pub(super) async fn answer(href: &str, place: &Path, members: bool) -> io::Result<Response> {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:multistatus xmlns:D=\"DAV:\">\n");
    let meta = fs::metadata(place).await?;
    let href = href.trim_end_matches('/');
    xml.push_str(&resource(href, &meta)?);
    if members && meta.is_dir() {
        let mut entries = fs::read_dir(place).await?;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name();
            let name = utf8_percent_encode(&name.to_string_lossy(), SEGMENT).to_string();
            xml.push_str(&resource(&format!("{href}/{name}"), &entry.metadata().await?)?);
        }
    }
    xml.push_str("</D:multistatus>\n");
    let head = [(CONTENT_TYPE, "application/xml; charset=utf-8")];
    Ok((StatusCode::MULTI_STATUS, head, xml).into_response())
}

fn resource(href: &str, meta: &Metadata) -> io::Result<String> {
    let modified = meta.modified()?;
    let date = httpdate::fmt_http_date(modified);
    let (slash, kind) = if meta.is_dir() {
        ("/", "<D:resourcetype><D:collection/></D:resourcetype>".to_owned())
    } else {
        let length = meta.len();
        let tag = etag(length, modified);
        let kind =
            format!("<D:resourcetype/><D:getcontentlength>{length}</D:getcontentlength><D:getetag>{tag}</D:getetag>");
        ("", kind)
    };
    // The path came from a request, where `&`, `<` and `>` may stand as they are.
    let href = href.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    Ok(format!(
        "<D:response><D:href>{href}{slash}</D:href><D:propstat><D:prop>{kind}\
         <D:getlastmodified>{date}</D:getlastmodified></D:prop>\
         <D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>\n"
    ))
}
