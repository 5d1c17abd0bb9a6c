//! Reads for people: the server's columns and clusters, files of running jobs at their computing elements, files of stored
//! results. Nothing here changes anything anywhere.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use url::Url;

use super::Hands;
use super::manifest::{FileEntry, Manifest};
use super::trouble::{self, Repeat, blocking};
use crate::fsutil::{Dir, RelPath};
use crate::job::fault::{Class, Fault};
use crate::job::{Key, ServerId};
use crate::remote::act::Info;
use crate::remote::arex::{ArexClient, ArexJob};
use crate::remote::{FileRange, Ids, RemoteError};

/// Most bytes of one [`Piece`].
pub const MAX_PIECE: u64 = 4 << 20;
/// Most files that are listed of one job.
const MAX_FILES: usize = 100_000;
/// Most directories that are listed of one running job: each is a request.
const MAX_SESSION_DIRS: usize = 200;

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The bytes, from the offset asked for.
    pub bytes: Vec<u8>,
    /// Size of the whole file as far as known now; a running job's file may grow.
    pub total: u64,
}

/// A file of a job that is at its computing element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionFile {
    /// Relative path with slashes, as the computing element names it: not checked, for showing only.
    pub path: String,
    /// A directory.
    pub is_dir: bool,
}

impl Hands {
    /// The server's columns and clusters.
    ///
    /// # Errors
    /// The server did not answer so.
    pub async fn info(&self) -> Result<Info, RemoteError> {
        self.act().info().await
    }

    /// Columns of these jobs, by the server's names of them, in batches of explicit ids; without ids, of all jobs of the
    /// identity in one listing. Jobs that are not on the server are missing. Keys as the server sends them (`c_`, `a_`).
    ///
    /// # Errors
    /// The server did not answer so; an unknown column is `Rejected`.
    pub async fn columns(
        &self,
        ids: &[ServerId],
        client: &[&str],
        arc: &[&str],
    ) -> Result<Vec<Map<String, Value>>, RemoteError> {
        let act = self.act();
        if ids.is_empty() {
            let all = act.details_of_all(client, arc).await?;
            return Ok(all.into_iter().map(|row| row.columns).collect());
        }
        let mut rows = Vec::with_capacity(ids.len());
        for batch in Ids::batches(ids.iter().copied()) {
            rows.extend(act.details(&batch, client, arc).await?.into_iter().map(|row| row.columns));
        }
        Ok(rows)
    }

    /// A piece of a session file of a running job; none if there is no such file, or nothing at that offset yet.
    /// `run` is the job's ARC id (`JobID`), or `cluster` and `id` name it (`cluster`, `IDFromEndpoint`).
    ///
    /// # Errors
    /// There is no proxy, or the computing element does not give it.
    pub async fn cat(&self, job: &SessionJob, file: &str, offset: u64, length: u64) -> Result<Option<Piece>, Fault> {
        let (client, address) = self.session(job)?;
        let range = FileRange { offset, len: Some(length.clamp(1, MAX_PIECE)), validator: None };
        let failed = |e: RemoteError| trouble::remote(&e, Repeat::Harmless);
        let Some(mut answer) = client.file(&address, file, &range).await.map_err(failed)? else { return Ok(None) };
        // A server that knows no ranges sends the whole file.
        let mut skip = offset.saturating_sub(answer.offset());
        let want = usize::try_from(length.min(MAX_PIECE)).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        while bytes.len() < want {
            let Some(chunk) = answer.chunk().await.map_err(failed)? else { break };
            let from = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
            skip -= from as u64;
            let piece = &chunk[from..];
            bytes.extend_from_slice(&piece[..piece.len().min(want - bytes.len())]);
        }
        Ok(Some(Piece { bytes, total: answer.total() }))
    }

    /// The files of a running job's session directory, recursively, bounded; none if there is no such directory.
    ///
    /// # Errors
    /// There is no proxy, or the computing element does not tell.
    pub async fn session_files(&self, job: &SessionJob) -> Result<Option<Vec<SessionFile>>, Fault> {
        let (client, address) = self.session(job)?;
        let mut found = Vec::new();
        let mut todo = vec![String::new()];
        let mut listed = 0;
        while let Some(dir) = todo.pop() {
            let entries = client.list(&address, &dir).await.map_err(|e| trouble::remote(&e, Repeat::Harmless))?;
            let Some(entries) = entries else {
                if dir.is_empty() {
                    return Ok(None);
                }
                continue;
            };
            listed += 1;
            for entry in entries {
                let path = if dir.is_empty() { entry.name } else { format!("{dir}/{}", entry.name) };
                if RelPath::new(&path).is_ok() && entry.is_dir && listed + todo.len() < MAX_SESSION_DIRS {
                    todo.push(path.clone());
                }
                if found.len() >= MAX_FILES {
                    return Ok(Some(found));
                }
                found.push(SessionFile { path, is_dir: entry.is_dir });
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Some(found))
    }

    fn session(&self, job: &SessionJob) -> Result<(ArexClient, ArexJob), Fault> {
        let address = match job {
            SessionJob::Run(run) => ArexJob::from_job_id(run),
            SessionJob::At { cluster, id } => Url::parse(cluster).ok().and_then(|url| ArexJob::new(&url, id)),
        };
        let address = address.ok_or_else(|| {
            Fault::new(
                Class::Rejected,
                "the job's address at its computing element is not one of A-REX's REST interface",
            )
        })?;
        let tools = self.0.tools();
        let client = tools
            .ce()
            .ok_or_else(|| Fault::new(Class::Auth, "there is no valid proxy to present to the computing element"))?;
        Ok((client.map_err(|error| trouble::remote(&error, Repeat::Harmless))?.clone(), address))
    }
}

/// Which job at a computing element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionJob {
    /// By its ARC id, a URL.
    Run(String),
    /// By its cluster's URL and its id there.
    At {
        /// The cluster.
        cluster: String,
        /// The id.
        id: String,
    },
}

/// A piece of a file of stored results; none if there is no such file.
///
/// # Errors
/// The name is not one of a file below the directory, or it cannot be read.
pub async fn cat_local(dir: &Path, file: &str, offset: u64, length: u64) -> Result<Option<Piece>, Fault> {
    let (dir, file) = (dir.to_owned(), file.to_owned());
    blocking(move || {
        let path = RelPath::new(&file).map_err(|e| Fault::new(Class::Rejected, e.to_string()))?;
        let opened = Dir::open(&dir).and_then(|dir| dir.read(&path));
        let mut handle = match opened {
            Ok(handle) => handle,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(trouble::local(&e, &dir)),
        };
        let failed = |e: std::io::Error| trouble::local(&e, &dir);
        let total = handle.metadata().map_err(failed)?.len();
        handle.seek(SeekFrom::Start(offset.min(total))).map_err(failed)?;
        let mut bytes = Vec::new();
        handle.take(length.min(MAX_PIECE)).read_to_end(&mut bytes).map_err(failed)?;
        Ok(Some(Piece { bytes, total }))
    })
    .await
}

/// The files of stored results: by their manifest, or, if that is gone, as they lie there (then without digests).
///
/// # Errors
/// The directory cannot be read.
pub async fn list_local(hands: &Hands, key: Key, dir: &Path) -> Result<Vec<FileEntry>, Fault> {
    let (inner, dir) = (hands.0.clone(), dir.to_owned());
    blocking(move || match Manifest::of(&dir, &inner.config().state_dir, key) {
        Some(manifest) => Ok(manifest.files),
        None => lying(&dir).map_err(|e| trouble::local(&e, &dir)),
    })
    .await
}

fn lying(root: &Path) -> std::io::Result<Vec<FileEntry>> {
    let mut files = Vec::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(root.join(&dir))? {
            let entry = entry?;
            let path = dir.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                todo.push(path);
            } else if kind.is_file() && files.len() < MAX_FILES {
                let size = entry.metadata()?.len();
                files.push(FileEntry { path: path.to_string_lossy().into_owned(), size, sha256: String::new() });
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_of_stored_files() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::create_dir(dir.path().join("sub")).expect("mkdir");
        std::fs::write(dir.path().join("sub/out"), "0123456789").expect("write");
        std::os::unix::fs::symlink("/etc/hostname", dir.path().join("link")).expect("symlink");
        let cat = |file: &'static str, offset, length| cat_local(dir.path(), file, offset, length);
        assert_eq!(cat("sub/out", 3, 4).await, Ok(Some(Piece { bytes: b"3456".to_vec(), total: 10 })));
        assert_eq!(cat("sub/out", 30, 4).await, Ok(Some(Piece { bytes: Vec::new(), total: 10 })));
        assert_eq!(cat("none", 0, 1).await, Ok(None));
        assert_eq!(cat("../x", 0, 1).await.expect_err("outside").class, Class::Rejected);
        assert!(cat("link", 0, 1).await.is_err());
        let names: Vec<String> = lying(dir.path()).expect("list").into_iter().map(|f| f.path).collect();
        assert_eq!(names, ["sub/out"]);
    }
}
