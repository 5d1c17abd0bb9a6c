//! `/jobs/ID/results/`: listings and files of finished jobs.
//! Names in listings are hostile until `fsutil` has accepted them; nothing here writes to disk.

use http::Method;

use super::super::error::{ErrorClass, RemoteError};
use super::super::file::{FileRange, MAX_LISTING, RemoteFile, entries_of, range_headers};
use super::super::http::SendData;
use super::super::limit::Lane;
use super::super::{path, wire};
use super::jobs::{old_dialect, parse};
use super::{ActClient, Plan};

/// One name in a results directory, exactly as the server sent it: not checked, not safe to use as a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub is_dir: bool,
}

/// Why there are no results to give: the server's 404 answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoResults {
    /// Not done (or no such job, or another user's): look at the job again.
    NotInState,
    /// The job is done and has no results directory: complete, with zero files. Cleaning is all that is left.
    Gone,
    /// The job has results, but not this file or directory.
    NoSuchPath,
}

impl ActClient {
    /// Lists one directory of a done job's results, not recursively. `dir` is "" for the top, else a relative path as
    /// found by earlier listings. The outer error is a failed request; the inner one the server's word on the results.
    pub async fn results_list(&self, id: u64, dir: &str) -> Result<Result<Vec<Entry>, NoResults>, RemoteError> {
        let encoded = self.results_path(id, dir, true)?;
        let (mut answer, _place) = match self.request(Method::GET, &encoded, Plan::read()).await {
            Ok(answer) => answer,
            Err(error) => return no_results(error).map(Err),
        };
        let body = answer.bytes(MAX_LISTING).await?;
        let directory: wire::Directory = parse(&answer, &body)?;
        entries_of(directory, &answer).map(Ok)
    }

    /// Starts reading a file of a done job's results. `file` is a relative path as found by listings.
    ///
    /// With a range, the answer may still be the whole file: see [`RemoteFile::offset`]. A range that begins at or
    /// after the end of the file is asked again without range.
    pub async fn results_file(
        &self,
        id: u64,
        file: &str,
        range: &FileRange,
    ) -> Result<Result<RemoteFile, NoResults>, RemoteError> {
        let encoded = self.results_path(id, file, false)?;
        let whole = FileRange::default();
        let mut attempt = range;
        loop {
            let plan = Plan { lane: Lane::Transfer, data: SendData::Empty, json: false, sample: true };
            match self.request_with(Method::GET, &encoded, plan, range_headers(attempt)).await {
                Ok((answer, place)) => {
                    let file = RemoteFile::from_answer(answer, Some(place), attempt).await?;
                    // A server that ignores If-Range must not splice two versions of a file.
                    if file.offset() > 0
                        && attempt.validator.is_some()
                        && file.validator() != attempt.validator.as_ref()
                    {
                        attempt = &whole;
                        continue;
                    }
                    return Ok(Ok(file));
                }
                Err(error) if error.status() == Some(416) && attempt.offset > 0 => attempt = &whole,
                // An empty file satisfies no range at all.
                Err(error) if error.status() == Some(416) && attempt.len.is_some() => attempt = &whole,
                Err(error) => return no_results(error).map(Err),
            }
        }
    }

    fn results_path(&self, id: u64, path: &str, is_dir: bool) -> Result<String, RemoteError> {
        if path.is_empty() && is_dir {
            return Ok(format!("jobs/{id}/results/"));
        }
        let slash = if is_dir { "/" } else { "" };
        path::encode_path(path).map(|path| format!("jobs/{id}/results/{path}{slash}")).ok_or_else(|| {
            let what = format!("GET /jobs/{id}/results on {}", self.origin());
            RemoteError::new(ErrorClass::Local, what, "a name that is not a plain relative path")
        })
    }
}

/// Sorts the 404 answers of the results by their message.
fn no_results(error: RemoteError) -> Result<NoResults, RemoteError> {
    if error.status() != Some(404) {
        return Err(error);
    }
    if !error.is_from_application() {
        return Err(old_dialect(error));
    }
    let text = error.detail().to_ascii_lowercase();
    if text.contains("job has no results") {
        Ok(NoResults::Gone)
    } else if text.contains("no results in current") {
        Ok(NoResults::NotInState)
    } else if text.contains("does not exist") {
        Ok(NoResults::NoSuchPath)
    } else {
        Err(error)
    }
}
