//! Session files of a job on its computing element, through A-REX's REST interface, authenticated by the proxy.
//! Read only: it must never create, kill or clean a job there; that is the aCT server's business.

use http::{HeaderValue, Method, header};
use openssl::ssl::SslConnectorBuilder;
use url::Url;

use super::act::Entry;
use super::error::{ErrorClass, RemoteError};
use super::file::{FileRange, MAX_LISTING, RemoteFile, entries_of, range_headers};
use super::http::{Call, Reuse, Timeouts, Transport};
use super::{path, wire};

/// Address of a job on its CE: `https://HOST[:PORT]/arex/rest/1.0/jobs/ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArexJob(Url);

impl ArexJob {
    /// From the ARC job id as the aCT server tells it (column `JobID`). `None` unless it is an https URL of A-REX's
    /// REST interface without anything unusual: the proxy is presented there.
    pub fn from_job_id(job_id: &str) -> Option<Self> {
        let url = Url::parse(job_id).ok()?;
        let segments: Vec<&str> = url.path_segments()?.collect();
        let plain = url.scheme() == "https"
            && url.host().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        // Any prefix, then rest/VERSION/jobs/ID.
        let [.., "rest", _, "jobs", id] = segments.as_slice() else { return None };
        (plain && !id.is_empty()).then_some(Self(url))
    }

    /// From a cluster's URL (`https://HOST[:PORT]/...`) and the job's id there (column `IDFromEndpoint`).
    pub fn new(cluster: &Url, id: &str) -> Option<Self> {
        let id = path::encode_path(id).filter(|id| !id.contains('/'))?;
        let host = cluster.host_str()?;
        let port = cluster.port().map(|port| format!(":{port}")).unwrap_or_default();
        Self::from_job_id(&format!("https://{host}{port}/arex/rest/1.0/jobs/{id}"))
    }

    /// The job's id on the CE: last part of the URL.
    pub fn id(&self) -> &str {
        self.0.path().rsplit('/').next().unwrap_or_default()
    }
}

/// Client of computing elements with one identity. Cheap to clone. Make a new one when the proxy is renewed.
#[derive(Debug, Clone)]
pub struct ArexClient {
    transport: Transport,
}

impl ArexClient {
    /// `identity` presents the proxy (see `auth::tls`). Opens no connection.
    pub fn new(identity: SslConnectorBuilder, timeouts: Timeouts) -> Result<Self, RemoteError> {
        let transport = Transport::new(identity, timeouts)
            .map_err(|e| RemoteError::new(ErrorClass::Local, "A-REX", format!("cannot set up TLS: {e}")))?;
        Ok(Self { transport })
    }

    /// Starts reading a file of the session directory; `None` if it does not exist (yet, or any more), or if nothing
    /// lies at or beyond `range.offset` (yet): a file that is followed while it grows.
    pub async fn file(&self, job: &ArexJob, file: &str, range: &FileRange) -> Result<Option<RemoteFile>, RemoteError> {
        let mut call = self.call(job, file, false)?;
        call.headers = range_headers(range);
        let answer = self.transport.send(call).await?;
        match answer.status().as_u16() {
            200 | 206 => RemoteFile::from_answer(answer, None, range).await.map(Some),
            404 | 410 | 416 => Ok(None),
            _ => Err(answer.refusal().await),
        }
    }

    /// Lists a directory of the session, "" for its top; not recursively. `None` if it does not exist.
    pub async fn list(&self, job: &ArexJob, dir: &str) -> Result<Option<Vec<Entry>>, RemoteError> {
        let mut call = self.call(job, dir, true)?;
        call.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let mut answer = self.transport.send(call).await?;
        match answer.status().as_u16() {
            200 => {
                let body = answer.bytes(MAX_LISTING).await?;
                // Observed on a real A-REX 6: an empty directory has an empty body.
                let listing = if body.is_empty() {
                    wire::Directory::default()
                } else {
                    serde_json::from_slice(&body)
                        .map_err(|e| answer.nonsense(format!("the listing is not the JSON of A-REX ({e})")))?
                };
                let mut entries = entries_of(listing, &answer)?;
                for entry in &mut entries {
                    entry.name = bytes_as_chars(std::mem::take(&mut entry.name));
                }
                Ok(Some(entries))
            }
            404 | 410 => Ok(None),
            _ => Err(answer.refusal().await),
        }
    }

    fn call(&self, job: &ArexJob, path: &str, is_dir: bool) -> Result<Call, RemoteError> {
        let encoded = match path {
            "" if is_dir => Some(String::new()),
            path => path::encode_path(path),
        };
        let Some(mut encoded) = encoded else {
            let what = format!("GET session of {}", job.0);
            return Err(RemoteError::new(ErrorClass::Local, what, "a name that is not a plain relative path"));
        };
        if is_dir && !encoded.is_empty() {
            encoded.push('/');
        }
        let mut call = Call::new(Method::GET, path::join(&job.0, &format!("session/{encoded}")));
        call.reuse = Reuse::Yes;
        Ok(call)
    }
}

/// The name behind one in which every byte has become a character: a real A-REX 6 writes the UTF-8 of `ø` as `\u00C3\u00B8`.
fn bytes_as_chars(name: String) -> String {
    let bytes: Result<Vec<u8>, _> = name.chars().map(|c| u8::try_from(u32::from(c))).collect();
    bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_a_real_ce_writes_them() {
        for (written, meant) in [("plain", "plain"), ("Ã¸.txt", "ø.txt"), ("ø.txt", "ø.txt"), ("č", "č")] {
            assert_eq!(bytes_as_chars(written.into()), meant);
        }
    }

    #[test]
    fn addresses() {
        let job = ArexJob::from_job_id("https://ce.example.org:8443/arex/rest/1.0/jobs/a1b2").expect("job");
        assert_eq!(job.id(), "a1b2");
        let cluster = Url::parse("https://ce.example.org:8443/fork").expect("url");
        assert_eq!(ArexJob::new(&cluster, "a1b2"), Some(job));
        for bad in [
            "http://ce/arex/rest/1.0/jobs/x",
            "https://ce/arex/rest/1.0/jobs/",
            "https://ce/arex/rest/1.0/jobs/x?y",
            "https://u@ce/arex/rest/1.0/jobs/x",
            "https://ce/other/x",
            "gsiftp://ce/jobs/x",
            "",
        ] {
            assert_eq!(ArexJob::from_job_id(bad), None, "{bad}");
        }
        assert_eq!(ArexJob::new(&cluster, "../x"), None);
    }
}
