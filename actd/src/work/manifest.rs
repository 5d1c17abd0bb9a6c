//! `.actd-manifest.json`: what a directory of results is, and the size and SHA-256 of each of its files. By it a directory
//! is known again after a crash, and known to be whole. Blocking; call it from a blocking task.
//!
//! A job may have a file of that very name: then the job's stays, and ours lies in the daemon's state directory.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use openssl::sha::Sha256;
use serde::{Deserialize, Serialize};

use crate::fsutil::{Dir, RelPath, write_atomic};
use crate::job::{Key, ServerId};

/// Its name in a directory of results.
pub(super) const NAME: &str = ".actd-manifest.json";
/// Largest manifest that is read.
const MAX_SIZE: u64 = 128 << 20;
/// The facts lie within so many bytes from its start.
const HEAD: usize = 16 * 1024;

/// The content. The facts come first, so that they can be found without reading all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub schema: String,
    /// The daemon that brought them.
    pub instance: String,
    /// Its name of the job.
    pub key: String,
    /// The aCT server.
    pub server: String,
    /// The server's number of the job.
    pub id: ServerId,
    /// The job's name.
    pub name: Option<String>,
    /// ARC's URL of the run whose results these are.
    pub run: String,
    /// Whether all results of the run are here, but for the excluded ones.
    pub complete: bool,
    /// When the last of it came, RFC 3339.
    pub retrieved: String,
    /// Path prefixes that were not brought, as asked for.
    pub exclude: Vec<String>,
    /// Where the directory is, if this manifest is not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// What could not be brought, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
    /// The files, by path.
    pub files: Vec<FileEntry>,
}

/// A file of the results.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileEntry {
    /// Relative path with slashes.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Hexadecimal.
    pub sha256: String,
}

/// A result that is not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Its name as the server gives it, made printable.
    pub name: String,
    /// Why.
    pub why: String,
}

/// The format that this code writes.
pub(super) const SCHEMA: &str = "act.results/1";

impl Manifest {
    /// Whether it cannot be in its directory: the job has a file of that name.
    pub(super) fn is_displaced(&self) -> bool {
        self.files.iter().any(|f| f.path == NAME || f.path.starts_with(&format!("{NAME}/")))
    }

    /// Writes it into `dir`, whose name is not final: [`seal`] makes it durable with all else that is there.
    pub(super) fn write_into(&mut self, dir: &Path) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        self.dir = None;
        let mut file = File::create(dir.join(NAME))?;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        file.write_all(&self.to_json()?)
    }

    /// Writes it into the state directory, as that of `lies_at`. Durable when it returns.
    pub(super) fn write_apart(&mut self, state_dir: &Path, lies_at: &Path) -> io::Result<()> {
        self.dir = Some(lies_at.to_owned());
        fs::create_dir_all(displaced_dir(state_dir))?;
        write_atomic(&displaced(state_dir, &self.key), &self.to_json()?, 0o600)
    }

    fn to_json(&self) -> io::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// The manifest of `dir`: its own, or the one kept for it in the state directory under `key`. None if there is none
    /// that can be read; a file of the job that happens to have the name is none.
    #[must_use]
    pub fn of(dir: &Path, state_dir: &Path, key: Key) -> Option<Self> {
        let own = Self::read(&dir.join(NAME)).filter(|m| m.key == key.to_string());
        own.or_else(|| Self::read(&displaced(state_dir, &key.to_string())).filter(|m| m.dir.as_deref() == Some(dir)))
    }

    /// The manifest in `dir` if it is one of this job, without reading much of others.
    pub(super) fn if_of(dir: &Path, state_dir: &Path, instance: &str, key: Key) -> Option<Self> {
        let own = mentions(&dir.join(NAME), &[instance, &key.to_string()]);
        let is_ours = |m: &Self| m.instance == instance && m.key == key.to_string();
        let own = if own { Self::read(&dir.join(NAME)).filter(is_ours) } else { None };
        own.or_else(|| {
            let path = displaced(state_dir, &key.to_string());
            Self::read(&path).filter(|m| is_ours(m) && m.dir.as_deref() == Some(dir))
        })
    }

    /// Whether the directory holds results that this daemon has brought, by the manifest in it.
    pub(super) fn is_by(dir: &Path, instance: &str) -> bool {
        let path = dir.join(NAME);
        mentions(&path, &[instance]) && Self::read(&path).is_some_and(|m| m.instance == instance)
    }

    fn read(path: &Path) -> Option<Self> {
        let file = open_plain(path)?;
        if file.metadata().ok()?.len() > MAX_SIZE {
            return None;
        }
        let mut text = Vec::new();
        file.take(MAX_SIZE).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok().filter(|m: &Self| m.schema == SCHEMA)
    }

    /// Whether every file is in `dir` with its size and content. The first that is not.
    pub(super) fn check(&self, dir: &Path) -> Result<(), String> {
        let root = Dir::open(dir).map_err(|e| e.to_string())?;
        for file in &self.files {
            let path = RelPath::new(&file.path).map_err(|e| e.to_string())?;
            let mut handle = root.read(&path).map_err(|e| e.to_string())?;
            let size = handle.metadata().map_err(|e| e.to_string())?.len();
            if size != file.size {
                return Err(format!("{path} has {size} bytes and not {}", file.size));
            }
            let digest = hash(&mut handle, size).map_err(|e| format!("{path}: {e}"))?;
            if hex(&digest) != file.sha256 {
                return Err(format!("{path} has another content than was downloaded"));
            }
        }
        Ok(())
    }

    /// Whether `dir` holds these files as they were brought, and nothing that somebody has put beside them: then it may be
    /// removed once they are elsewhere. What is in the way, otherwise.
    pub(super) fn is_all_of(&self, dir: &Path) -> Result<(), String> {
        self.check(dir)?;
        let known: HashSet<&Path> = self.files.iter().map(|f| Path::new(&f.path)).chain([Path::new(NAME)]).collect();
        let mut todo = vec![dir.to_owned()];
        while let Some(at) = todo.pop() {
            for entry in fs::read_dir(&at).map_err(|e| format!("{}: {e}", at.display()))? {
                let entry = entry.map_err(|e| format!("{}: {e}", at.display()))?;
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    todo.push(path);
                } else if !path.strip_prefix(dir).is_ok_and(|inside| known.contains(inside)) {
                    return Err(format!("{} was not downloaded", path.display()));
                }
            }
        }
        Ok(())
    }

    /// The sum of the files' sizes.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.size).sum()
    }
}

fn displaced_dir(state_dir: &Path) -> PathBuf {
    state_dir.join("manifests")
}

fn displaced(state_dir: &Path, key: &str) -> PathBuf {
    displaced_dir(state_dir).join(format!("{key}.json"))
}

/// Forgets the manifest that is kept for a job in the state directory, if there is one.
pub(super) fn forget_displaced(state_dir: &Path, key: Key) {
    // It only helps to find results again: a leftover does no harm.
    drop(fs::remove_file(displaced(state_dir, &key.to_string())));
}

fn open_plain(path: &Path) -> Option<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).ok()?;
    let file = File::options().read(true).custom_flags(flags).open(path).ok()?;
    file.metadata().is_ok_and(|m| m.is_file()).then_some(file)
}

fn mentions(path: &Path, words: &[&str]) -> bool {
    let Some(file) = open_plain(path) else { return false };
    let mut head = Vec::with_capacity(HEAD);
    if file.take(HEAD as u64).read_to_end(&mut head).is_err() {
        return false;
    }
    let head = String::from_utf8_lossy(&head);
    words.iter().all(|word| serde_json::to_string(word).is_ok_and(|quoted| head.contains(&quoted)))
}

/// SHA-256 of the first `len` bytes of a file, from where it is positioned; an error if there are fewer.
pub(super) fn hash(file: &mut File, len: u64) -> io::Result<[u8; 32]> {
    hasher_after(file, len).map(Sha256::finish)
}

/// The state of a SHA-256 after the first `len` bytes of a file.
pub(super) fn hasher_after(file: &mut File, len: u64) -> io::Result<Sha256> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut left = len;
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        match file.read(&mut buffer[..want])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                hasher.update(&buffer[..n]);
                left -= n as u64;
            }
        }
    }
    Ok(hasher)
}

pub(super) fn hex(digest: &[u8]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::with_capacity(digest.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Makes all files below `tree` durable, a manifest too, checks their sizes and that no two of them are one file (names
/// that differ only in case are, on some file systems), and gives directories their mode.
pub(super) fn seal(tree: &Path, files: &[FileEntry], dirs: &[RelPath], umask: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let mut seen = HashSet::with_capacity(files.len());
    for file in files {
        let path = tree.join(&file.path);
        let handle = File::open(&path)?;
        let meta = handle.metadata()?;
        if meta.len() != file.size {
            return Err(invalid(format!("{} has {} bytes on disk and not {}", path.display(), meta.len(), file.size)));
        }
        if !seen.insert((meta.dev(), meta.ino())) {
            return Err(invalid(format!(
                "{}: this file system takes two names of the job's files for one",
                path.display()
            )));
        }
        handle.sync_all()?;
    }
    match File::open(tree.join(NAME)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        manifest => manifest?.sync_all()?,
    }
    let mut all: HashSet<&str> = dirs.iter().map(RelPath::as_str).collect();
    for path in files.iter().map(|f| f.path.as_str()).chain(dirs.iter().map(RelPath::as_str)) {
        let mut path = path;
        while let Some((parent, _)) = path.rsplit_once('/') {
            all.insert(parent);
            path = parent;
        }
    }
    for dir in all.into_iter().map(|d| tree.join(d)).chain([tree.to_owned()]) {
        let handle = File::open(&dir)?;
        handle.set_permissions(fs::Permissions::from_mode(0o777 & !umask))?;
        handle.sync_all()?;
    }
    Ok(())
}
