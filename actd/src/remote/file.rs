//! Reading a remote file, or a part of it, with its length verified: what the aCT server and a CE have in common.
//! It must not write to disk, and must not resume by itself: the caller decides what to ask for.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::act::Entry;
use super::error::{ErrorClass, RemoteError};
use super::http::Answer;
use super::limit::Place;
use super::wire::Directory;

/// Most entries of one directory; a longer listing is an error.
const MAX_ENTRIES: usize = 200_000;
/// Largest listing of one directory, in bytes.
pub(crate) const MAX_LISTING: usize = 16 << 20;

/// What to read of a file.
#[derive(Debug, Clone, Default)]
pub struct FileRange {
    /// First byte.
    pub offset: u64,
    /// Most bytes; `None` for the rest of the file.
    pub len: Option<u64>,
    /// Send the range only if the file is still the one that this names; otherwise the whole file comes.
    pub validator: Option<Validator>,
}

/// Names one version of a file: a strong ETag, or its time of last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Validator {
    /// With its quotes.
    ETag(String),
    /// As sent (an HTTP date).
    LastModified(String),
}

impl Validator {
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok()).map(str::to_owned);
        // A weak tag may name different bytes (RFC 9110 section 13.1.5).
        let etag = text(header::ETAG).filter(|tag| tag.starts_with('"') && tag.len() < 500);
        etag.map(Self::ETag).or_else(|| {
            text(header::LAST_MODIFIED).filter(|d| httpdate::parse_http_date(d).is_ok()).map(Self::LastModified)
        })
    }

    /// Value of an If-Range header, and form in which to store it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::ETag(text) | Self::LastModified(text) => text,
        }
    }

    /// The reverse of [`Validator::as_str`].
    pub fn from_text(text: &str) -> Option<Self> {
        if text.starts_with('"') {
            Some(Self::ETag(text.to_owned()))
        } else {
            httpdate::parse_http_date(text).ok().map(|_| Self::LastModified(text.to_owned()))
        }
    }
}

/// A file, or a part of it, on its way. Holds a place of the client's limit until dropped.
#[derive(Debug)]
pub struct RemoteFile {
    answer: Answer,
    _place: Option<Place>,
    offset: u64,
    total: u64,
    left: u64,
    validator: Option<Validator>,
}

impl RemoteFile {
    /// Size of the whole file in bytes.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Position of the first byte that comes: what was asked for, or 0 if the server sends the whole file (it does not
    /// know ranges, or the file has changed): then what was kept from before is worthless.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The version of the file, to resume with; `None` if the server names none, then a broken download starts over.
    pub fn validator(&self) -> Option<&Validator> {
        self.validator.as_ref()
    }

    /// The next bytes; `None` only after exactly the announced number of them. Otherwise `Transient`.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, RemoteError> {
        match self.answer.chunk().await? {
            Some(chunk) if chunk.len() as u64 > self.left => {
                Err(self.answer.error(ErrorClass::Server, "more bytes than announced"))
            }
            Some(chunk) => {
                self.left -= chunk.len() as u64;
                Ok(Some(chunk))
            }
            None if self.left > 0 => {
                let detail = format!("the file ended {} bytes early", self.left);
                Err(self.answer.error(ErrorClass::Transient { retry_after: None }, detail))
            }
            None => Ok(None),
        }
    }

    /// Reads the head of a 200 or 206 answer to a request for `range`.
    pub(crate) async fn from_answer(
        mut answer: Answer,
        place: Option<Place>,
        range: &FileRange,
    ) -> Result<Self, RemoteError> {
        let mut length = answer.length();
        if length.is_none()
            && answer.status() == StatusCode::OK
            && is_chunked(&answer)
            && answer.chunk().await?.is_none()
        {
            // Observed on a real A-REX 6: an empty file comes without length, as an empty chunked body.
            length = Some(0);
        }
        let broken = |detail: &str| answer.error(ErrorClass::Server, detail);
        if answer.is_encoded() {
            return Err(broken("a compressed answer, which was not asked for"));
        }
        let length = length.ok_or_else(|| broken("a file without its length: a truncated one could not be told"))?;
        let (offset, total) = match answer.status().as_u16() {
            206 => {
                let (first, last, total) = answer
                    .header(header::CONTENT_RANGE)
                    .and_then(content_range)
                    .ok_or_else(|| broken("a part of a file without a readable Content-Range"))?;
                let expected_last =
                    range.len.map_or(total - 1, |len| (total - 1).min(range.offset.saturating_add(len.max(1) - 1)));
                if first != range.offset || last != expected_last || last - first + 1 != length {
                    return Err(broken("another part of the file than was asked for"));
                }
                (first, total)
            }
            200 => (0, length),
            other => return Err(broken(&format!("unexpected status {other} for a file"))),
        };
        let validator = Validator::of(answer.headers());
        Ok(Self { answer, _place: place, offset, total, left: length, validator })
    }
}

fn is_chunked(answer: &Answer) -> bool {
    answer.header(header::TRANSFER_ENCODING).is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}

/// The entries of a listing, if it is of a size that can be true and each name is text: one that is not would be a file
/// that is silently not downloaded.
pub(super) fn entries_of(directory: Directory, answer: &Answer) -> Result<Vec<Entry>, RemoteError> {
    let entries = directory.entries().ok_or_else(|| answer.nonsense("a listing with a name that is not text"))?;
    if entries.len() > MAX_ENTRIES {
        let count = entries.len();
        return Err(answer.nonsense(format!("a directory of {count} entries; {MAX_ENTRIES} is the most accepted")));
    }
    Ok(entries)
}

/// `bytes FIRST-LAST/TOTAL` with FIRST <= LAST < TOTAL.
fn content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total) = (first.trim().parse().ok()?, last.trim().parse().ok()?, total.trim().parse().ok()?);
    (first <= last && last < total).then_some((first, last, total))
}

/// Range headers; none for the whole file.
pub(crate) fn range_headers(range: &FileRange) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if range.offset == 0 && range.len.is_none() {
        return headers;
    }
    let text = match range.len {
        // A range of no bytes cannot be said; one byte is asked for instead.
        Some(len) => format!("bytes={}-{}", range.offset, range.offset.saturating_add(len.max(1) - 1)),
        None => format!("bytes={}-", range.offset),
    };
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(header::RANGE, value);
    }
    if let Some(validator) = range.validator.as_ref().and_then(|v| HeaderValue::try_from(v.as_str()).ok()) {
        headers.insert(header::IF_RANGE, validator);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, 9, 10)));
        for bad in ["bytes 5-10/10", "bytes 9-5/10", "bytes */10", "5-9/10", "bytes 5-9/*", "bytes -1-5/10", ""] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
        let header =
            |range: &FileRange| range_headers(range).get(header::RANGE).map(|v| v.to_str().unwrap_or("").to_owned());
        assert_eq!(header(&FileRange::default()), None);
        assert_eq!(header(&FileRange { offset: 5, ..FileRange::default() }).as_deref(), Some("bytes=5-"));
        assert_eq!(header(&FileRange { len: Some(10), ..FileRange::default() }).as_deref(), Some("bytes=0-9"));
        let huge = FileRange { offset: u64::MAX, len: Some(10), validator: None };
        assert!(header(&huge).is_some());
    }

    #[test]
    fn only_strong_validators() {
        let of = |name, value| Validator::of(&HeaderMap::from_iter([(name, HeaderValue::from_static(value))]));
        assert_eq!(of(header::ETAG, "\"1-2\""), Some(Validator::ETag("\"1-2\"".into())));
        assert_eq!(of(header::ETAG, "W/\"1-2\""), None);
        let date = "Sun, 22 Nov 2026 07:40:32 GMT";
        let validator = of(header::LAST_MODIFIED, date).expect("date");
        assert_eq!(Validator::from_text(validator.as_str()), Some(validator));
        assert_eq!(of(header::LAST_MODIFIED, "yesterday"), None);
    }
}
