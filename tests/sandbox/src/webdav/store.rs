//! Files and directories below one root, named by the paths of requests.
//!
//! Disk only: no HTTP. A path from a client never leads out of the root, and an upload appears whole or not at all.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use tokio::fs;

/// What there is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Nothing,
    File,
    Directory,
}

/// A tree on disk.
pub(super) struct Store {
    files: PathBuf,
    parts: PathBuf,
}

/// An upload under way: a file of its own until it is put in place, removed if that never happens.
pub(super) struct Upload {
    pub(super) file: fs::File,
    part: tempfile::TempPath,
}

impl Store {
    /// The tree in `dir`, made if missing.
    pub(super) fn open(dir: &Path) -> io::Result<Store> {
        let store = Store { files: dir.join("files"), parts: dir.join("parts") };
        std::fs::create_dir_all(&store.files)?;
        std::fs::create_dir_all(&store.parts)?;
        Ok(store)
    }

    /// Where a percent-encoded path below the root lies on disk; `None` if it is not a path to serve.
    pub(super) fn locate(&self, path: &str) -> Option<PathBuf> {
        let mut place = self.files.clone();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            let name: Vec<u8> = percent_decode_str(segment).collect();
            if name == b"." || name == b".." || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
                return None;
            }
            place.push(OsStr::from_bytes(&name));
        }
        Some(place)
    }

    pub(super) fn is_root(&self, place: &Path) -> bool {
        place == self.files
    }

    pub(super) async fn kind(&self, place: &Path) -> io::Result<Kind> {
        use io::ErrorKind::{NotADirectory, NotFound};
        match fs::symlink_metadata(place).await {
            Ok(meta) if meta.is_dir() => Ok(Kind::Directory),
            Ok(_) => Ok(Kind::File),
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(Kind::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Whether the directory that would hold this place exists.
    pub(super) async fn has_parent(&self, place: &Path) -> io::Result<bool> {
        match place.parent() {
            Some(parent) if !self.is_root(place) => Ok(self.kind(parent).await? == Kind::Directory),
            _ => Ok(true),
        }
    }

    pub(super) async fn upload(&self) -> io::Result<Upload> {
        let (file, part) = tempfile::NamedTempFile::new_in(&self.parts)?.into_parts();
        Ok(Upload { file: fs::File::from_std(file), part })
    }

    /// Puts a finished upload in its place.
    pub(super) async fn publish(&self, upload: Upload, place: &Path) -> io::Result<()> {
        upload.part.persist(place).map_err(|error| error.error)
    }

    /// Removes a file, or a directory with all in it.
    pub(super) async fn remove(&self, place: &Path) -> io::Result<()> {
        match self.kind(place).await? {
            Kind::Directory => fs::remove_dir_all(place).await,
            _ => fs::remove_file(place).await,
        }
    }

    /// All below the root, sorted: files by their path, directories with a slash at the end.
    pub(super) fn list(&self) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        let mut todo = vec![self.files.clone()];
        while let Some(dir) = todo.pop() {
            for entry in std::fs::read_dir(&dir)? {
                let entry = entry?;
                let path = entry.path();
                let name = path.strip_prefix(&self.files).unwrap_or(&path).to_string_lossy().into_owned();
                if entry.file_type()?.is_dir() {
                    found.push(name + "/");
                    todo.push(path);
                } else {
                    found.push(name);
                }
            }
        }
        found.sort();
        Ok(found)
    }
}
