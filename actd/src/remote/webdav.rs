//! Staging of input files on a WebDAV store (RFC 4918): make a directory, put files, check them, delete.
//! It must not keep a list of what it made (the store of jobs does), and must not show the token to anyone: it has none.
//!
//! Stores come in two kinds. A plain one takes the bytes of a PUT itself. A dCache-like one answers 307 with the address
//! of a pool and does not read the body: so the body is held back until the server asks for it (`Expect: 100-continue`),
//! and sent to the pool, which sees our certificate only if it is the same host or the caller allows it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use openssl::ssl::SslConnectorBuilder;
use url::Url;

use super::body::{InputFile, Progress};
use super::error::{ErrorClass, RemoteError};
use super::file::{FileRange, range_headers};
use super::http::{Answer, Call, MAX_ERROR, Reuse, SendData, Timeouts, Transport};
use super::path;

/// How long a store may think before the body is sent without having been asked for.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a PROPFIND asks: size and kind of one resource.
const PROPERTIES: &str = concat!(
    r#"<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:">"#,
    "<D:prop><D:getcontentlength/><D:resourcetype/></D:prop></D:propfind>"
);

/// How the client behaves.
#[derive(Debug, Clone, Copy, Default)]
pub struct WebdavOptions {
    /// Allow plain http to other machines, for the store itself and for the pools that it names.
    pub allow_http: bool,
    /// Present the certificate also to another host that the store redirects an upload to.
    pub certificate_to_pools: bool,
    /// Limits on silence.
    pub timeouts: Timeouts,
}

/// What is at a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Size in bytes, of a file.
    pub size: Option<u64>,
    /// `None` if the server does not tell.
    pub is_dir: Option<bool>,
}

/// What [`WebdavClient::mkcol`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    Created,
    Existed,
}

/// What [`WebdavClient::delete`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    Deleted,
    WasAbsent,
}

/// Client of WebDAV stores with one identity. Cheap to clone. Make a new one when the proxy is renewed.
#[derive(Debug, Clone)]
pub struct WebdavClient {
    known: Transport,
    /// Without our certificate, for hosts that a store redirects to.
    stranger: Transport,
    options: WebdavOptions,
}

/// URL of `relative` ("ID" or "ID/dir/file") below a base URL; `None` if the path is not plain (`..`, empty parts).
pub fn below(base: &Url, relative: &str) -> Option<Url> {
    Url::parse(&path::join(base, &path::encode_path(relative)?)).ok()
}

/// What a store gives of a file of which a part was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// That part.
    Part(Bytes),
    /// All of it.
    Whole(Bytes),
    /// The name of another server that has it, as dCache does.
    Elsewhere,
}

impl WebdavClient {
    /// `identity` presents the proxy, `anonymous` does not (see `auth::tls`). Opens no connection.
    pub fn new(
        identity: SslConnectorBuilder,
        anonymous: SslConnectorBuilder,
        options: WebdavOptions,
    ) -> Result<Self, RemoteError> {
        let transport = |tls| {
            Transport::new(tls, options.timeouts)
                .map_err(|e| RemoteError::new(ErrorClass::Local, "WebDAV", format!("cannot set up TLS: {e}")))
        };
        Ok(Self { known: transport(identity)?, stranger: transport(anonymous)?, options })
    }

    /// Makes a directory; its parent must exist (`Rejected` with 409 otherwise). One that exists already is fine,
    /// something else of that name is `Rejected`.
    pub async fn mkcol(&self, url: &Url) -> Result<Made, RemoteError> {
        let answer = self.send(method("MKCOL"), url, SendData::Empty).await?;
        match answer.status() {
            StatusCode::CREATED => Ok(Made::Created),
            // By RFC 4918 section 9.3.1 something is there already; or the server does not know MKCOL.
            StatusCode::METHOD_NOT_ALLOWED => match self.stat(url).await? {
                Some(Stat { is_dir: Some(true) | None, .. }) => Ok(Made::Existed),
                Some(_) => {
                    let msg = "there is a file of that name".to_owned();
                    Err(answer.error(ErrorClass::Rejected { status: 405, msg: msg.clone() }, msg))
                }
                None => Err(answer.refusal().await),
            },
            status if status.is_success() => Ok(Made::Created),
            _ => Err(answer.refusal().await),
        }
    }

    /// Uploads a file, replacing what is there, and checks its size on the store afterwards: `Ok` means that all of it
    /// is there. After an error the place may hold nothing, a part, or all; put again.
    pub async fn put(&self, url: &Url, file: &InputFile, progress: Option<Progress>) -> Result<(), RemoteError> {
        let size = file.size();
        match self.put_once(url, file, progress.clone()).await {
            Ok(()) => {}
            // A store that does not overwrite, and holds what a broken attempt has left.
            Err(error) if matches!(error.status(), Some(403 | 405 | 409 | 412)) => {
                match self.stat(url).await {
                    Ok(Some(Stat { is_dir: Some(false) | None, .. })) => self.delete(url).await?,
                    _ => return Err(error),
                };
                self.put_once(url, file, progress).await?;
            }
            Err(error) => return Err(error),
        }
        let what = format!("PUT {} on {}", url.path(), url.origin().ascii_serialization());
        let failed = |class, detail: String| Err(RemoteError::new(class, &what, detail).mutating(true));
        match self.stat(url).await?.map(|stat| stat.size) {
            Some(Some(stored)) if stored == size => Ok(()),
            Some(Some(stored)) => failed(
                ErrorClass::Transient { retry_after: None },
                format!("the store holds {stored} of {size} bytes after the upload"),
            ),
            Some(None) => failed(ErrorClass::Server, "the store does not tell the size of the uploaded file".into()),
            None => failed(
                ErrorClass::Transient { retry_after: None },
                "the store does not have the file after the upload".into(),
            ),
        }
    }

    async fn put_once(&self, url: &Url, file: &InputFile, progress: Option<Progress>) -> Result<(), RemoteError> {
        let mut call = self.call(Method::PUT, url)?;
        call.data = self.data(url, file, progress.clone()).await?;
        // Without a body there is nothing to wait for (RFC 9110 section 10.1.1).
        call.expect = (file.size() > 0).then_some(PATIENCE);
        let mut answer = self.known.send(call).await?;
        if matches!(answer.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
            let pool = self.pool(url, &answer)?;
            drop(answer);
            let known = self.options.certificate_to_pools || pool.host_str() == url.host_str();
            let mut call = self.call(Method::PUT, &pool)?;
            call.data = self.data(&pool, file, progress).await?;
            answer = if known { &self.known } else { &self.stranger }.send(call).await?;
        }
        match answer.status() {
            StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT => {
                // The body is of no interest, but its end shows that the server was done.
                answer.bytes(MAX_ERROR).await.map(drop)
            }
            _ => Err(answer.refusal().await),
        }
    }

    /// Where a 307 leads: http(s), without user name, and no downgrade to plain http.
    fn pool(&self, from: &Url, answer: &Answer) -> Result<Url, RemoteError> {
        let location = answer.header(header::LOCATION).unwrap_or_default();
        // A key to the pool may be in the query.
        let place = location.split('?').next().unwrap_or_default();
        let refused = |why: &str, advice: &'static str| {
            let msg = super::error::clean(&format!("it redirects the upload to {place}, {why}"));
            let class = ErrorClass::Rejected { status: answer.status().as_u16(), msg: msg.clone() };
            Err(answer.error(class, msg).advise(Some(advice)))
        };
        let broken = "tell the administrator of the WebDAV store";
        let Ok(pool) = from.join(location) else { return refused("which is no URL", broken) };
        if !matches!(pool.scheme(), "http" | "https") || pool.host().is_none() || !pool.username().is_empty() {
            return refused("where uploads cannot go", broken);
        }
        if pool.scheme() == "http" && !self.http_allowed(&pool) {
            let advice = "if inputs may travel unencrypted, set `allow_http: true` under `actd:` and submit again";
            return refused("in clear text; nothing was sent there", advice);
        }
        Ok(pool)
    }

    /// Deletes a file or a directory with all that is in it. What is not there counts as deleted.
    pub async fn delete(&self, url: &Url) -> Result<Deleted, RemoteError> {
        let answer = self.send(Method::DELETE, url, SendData::Empty).await?;
        match answer.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Deleted::WasAbsent),
            // Some members were not deleted (RFC 4918 section 9.6.1).
            StatusCode::MULTI_STATUS => {
                Err(answer.error(ErrorClass::Transient { retry_after: None }, "not everything could be deleted"))
            }
            status if status.is_success() => Ok(Deleted::Deleted),
            _ => Err(answer.refusal().await),
        }
    }

    /// What is at the URL; `None` if nothing is. Asks by PROPFIND, and by HEAD where that is not known.
    pub async fn stat(&self, url: &Url) -> Result<Option<Stat>, RemoteError> {
        let mut call = self.call(method("PROPFIND"), url)?;
        call.headers.insert(HeaderName::from_static("depth"), HeaderValue::from_static("0"));
        call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        call.data = SendData::Bytes(Bytes::from_static(PROPERTIES.as_bytes()));
        let mut answer = self.known.send(call).await?;
        match answer.status() {
            StatusCode::MULTI_STATUS => {
                let body = answer.bytes(MAX_ERROR).await?;
                let stat = read_properties(&String::from_utf8_lossy(&body));
                if stat.size.is_some() || stat.is_dir == Some(true) {
                    return Ok(Some(stat));
                }
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED | StatusCode::BAD_REQUEST => {}
            _ => return Err(answer.refusal().await),
        }
        let answer = self.send(Method::HEAD, url, SendData::Empty).await?;
        match answer.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            status if status.is_success() => Ok(Some(Stat { size: answer.length(), is_dir: None })),
            _ => Err(answer.refusal().await),
        }
    }

    /// Reads a part of a small file: its first `len` bytes, asked for as a range.
    pub async fn get_start(&self, url: &Url, len: u64) -> Result<Start, RemoteError> {
        let mut call = self.call(Method::GET, url)?;
        call.headers = range_headers(&FileRange { len: Some(len), ..FileRange::default() });
        let mut answer = self.known.send(call).await?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => Ok(Start::Part(answer.bytes(MAX_ERROR).await?)),
            status if status.is_success() => Ok(Start::Whole(answer.bytes(MAX_ERROR).await?)),
            // 304 is an answer to a condition, of which there is none.
            status if status.is_redirection() && status != StatusCode::NOT_MODIFIED => Ok(Start::Elsewhere),
            _ => Err(answer.refusal().await),
        }
    }

    async fn send(&self, method: Method, url: &Url, data: SendData) -> Result<Answer, RemoteError> {
        let mut call = self.call(method, url)?;
        call.data = data;
        call.reuse = Reuse::Yes;
        self.known.send(call).await
    }

    fn call(&self, method: Method, url: &Url) -> Result<Call, RemoteError> {
        if url.scheme() != "https" && !(url.scheme() == "http" && self.http_allowed(url)) {
            let what = format!("{method} on {}", url.origin().ascii_serialization());
            let detail =
                "the WebDAV URL must start with https:// (plain http to other machines must be allowed in the config)";
            return Err(RemoteError::new(ErrorClass::Local, what, detail));
        }
        Ok(Call::new(method, url.to_string()))
    }

    fn http_allowed(&self, url: &Url) -> bool {
        self.options.allow_http || path::is_loopback(url)
    }

    async fn data(&self, url: &Url, file: &InputFile, progress: Option<Progress>) -> Result<SendData, RemoteError> {
        let body = async { file.again().await?.into_body(progress).await };
        body.await.map(SendData::File).map_err(|e| {
            let what = format!("PUT {} on {}", url.path(), url.origin().ascii_serialization());
            RemoteError::new(ErrorClass::Local, what, format!("cannot read the input file: {e}"))
        })
    }
}

fn method(name: &'static str) -> Method {
    // The names used are valid tokens.
    Method::from_bytes(name.as_bytes()).unwrap_or(Method::GET)
}

/// Size and kind out of a PROPFIND answer of depth 0. A scan, not an XML parser: two elements are looked for, whatever
/// their namespace prefix, and anything odd gives "not told".
fn read_properties(xml: &str) -> Stat {
    let size = content_of(xml, "getcontentlength").and_then(|text| text.trim().parse().ok());
    let is_dir = content_of(xml, "resourcetype").map(|text| text.contains("collection"));
    // A collection's size is meaningless.
    Stat { size: size.filter(|_| is_dir != Some(true)), is_dir }
}

/// What is between `<p:name ...>` and `</p:name>`; empty for `<p:name/>`.
fn content_of<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = xml;
    while let Some(at) = rest.find(name) {
        let before = &rest[..at];
        let after = &rest[at + name.len()..];
        let tag_start = before.rfind('<')?;
        let prefix = &before[tag_start + 1..];
        let is_open = prefix.is_empty() || (prefix.ends_with(':') && !prefix.starts_with('/') && !prefix.contains(' '));
        let end = after.find('>')?;
        if is_open && after.starts_with(['>', '/', ' ', '\t', '\n', '\r']) {
            if after[..end].ends_with('/') {
                return Some("");
            }
            let inner = &after[end + 1..];
            let close = inner.find(&format!("{name}>"))?;
            let close = inner[..close].rfind("</")?;
            return Some(&inner[..close]);
        }
        rest = after;
    }
    None
}

/// See [`super::fuzz_answers`].
#[cfg(fuzzing)]
pub(super) fn fuzz(data: &[u8]) {
    read_properties(&String::from_utf8_lossy(data));
}

#[cfg(test)]
mod unit {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn properties_of_two_servers() {
        let apache = r#"<?xml version="1.0" encoding="utf-8"?>
<D:multistatus xmlns:D="DAV:" xmlns:ns0="DAV:">
<D:response xmlns:lp1="DAV:" xmlns:lp2="http://apache.org/dav/props/">
<D:href>/dav/x</D:href><D:propstat><D:prop>
<lp1:getcontentlength>12</lp1:getcontentlength><lp1:resourcetype/></D:prop></D:propstat></D:response></D:multistatus>"#;
        assert_eq!(read_properties(apache), Stat { size: Some(12), is_dir: Some(false) });
        let dir = r#"<d:multistatus xmlns:d="DAV:"><d:response><d:propstat><d:prop><d:resourcetype><d:collection/></d:resourcetype>
<d:getcontentlength>0</d:getcontentlength></d:prop></d:propstat></d:response></d:multistatus>"#;
        assert_eq!(read_properties(dir), Stat { size: None, is_dir: Some(true) });
        assert_eq!(read_properties("<html>"), Stat { size: None, is_dir: None });
    }

    #[test]
    fn below_the_base_only() {
        let base = Url::parse("https://dav.example.org:2880/home/me/").expect("url");
        let url = |relative| below(&base, relative).map(String::from);
        assert_eq!(url("12/a b").as_deref(), Some("https://dav.example.org:2880/home/me/12/a%20b"));
        assert_eq!(url("../other"), None);
        assert_eq!(url(""), None);
    }

    proptest! {
        #[test]
        fn odd_xml_is_no_panic(xml in "([<>/: a-zé]|getcontentlength|resourcetype|</|/>){0,40}") {
            let _ = read_properties(&xml);
        }
    }
}
