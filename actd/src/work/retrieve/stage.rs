//! The directory in which a job's results are put together, beside their final place and on the same file system:
//! `.actd-INSTANCE-KEY.part/` holds the finished files and becomes the job's directory. Once there is something worth going
//! on with, `.actd-INSTANCE-KEY.parts/` beside it says whose it is, keeps a ledger of the finished files, and takes the
//! unfinished ones. Few small files need none of that: after a crash they are brought again, and bringing them makes no file
//! that is removed soon after. Only their owner may enter these directories. Blocking; call it from a blocking task.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use openssl::sha::Sha256;
use serde::{Deserialize, Serialize};

use crate::fsutil::transfer::remove_tree;
use crate::fsutil::{RelPath, begin_writeback, make_dirs};
use crate::job::{Key, ServerId};
use crate::work::manifest::{FileEntry, hasher_after, hex};

/// Largest ledger that is read.
const MAX_LEDGER: u64 = 128 << 20;
/// Largest note that is read.
const MAX_NOTE: u64 = 64 * 1024;

/// Whose results they are. What an earlier attempt left is used only if all of it is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) instance: String,
    pub(super) key: String,
    pub(super) id: ServerId,
    pub(super) run: String,
}

/// How far a file is, and of which version of it. The digest proves that what lies on the disk is what was received,
/// whatever happened to the machine meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Checkpoint {
    path: String,
    validator: String,
    total: u64,
    len: u64,
    sha256: String,
}

/// So many finished files, or so many bytes of them, are worth going on with.
const WORTH_FILES: usize = 64;
const WORTH_BYTES: u64 = 4 << 20;

/// The directory.
#[derive(Debug)]
pub(super) struct Stage {
    tree: PathBuf,
    about: About,
    umask: u32,
    /// It was made for this attempt: nothing is left in it from an earlier one.
    is_new: bool,
    done: Mutex<Finished>,
}

/// Files that have come whole.
#[derive(Debug, Default)]
struct Finished {
    files: HashMap<String, FileEntry>,
    bytes: u64,
    /// Where they are noted; none: a later attempt is to begin anew.
    ledger: Option<File>,
}

impl Finished {
    /// One write per line, under the lock: lines do not mix, and a line cut short by a crash is not read.
    fn note(&mut self, entry: &FileEntry) -> io::Result<()> {
        let Some(ledger) = &mut self.ledger else { return Ok(()) };
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        ledger.write_all(&line)
    }
}

/// Name of a job's staging directory. Two daemons may share a directory of results.
pub(in crate::work) fn stage_name(instance: &str, key: Key) -> String {
    format!("{}{key}.part", prefix(instance))
}

/// Name of a directory that is being removed.
pub(in crate::work) fn gone_name(instance: &str, key: Key) -> String {
    format!("{}{key}.gone", prefix(instance))
}

/// The job of such a name, if this daemon made it.
pub(super) fn key_of(instance: &str, name: &str) -> Option<Key> {
    let rest = name.strip_prefix(&prefix(instance))?;
    let key = [".part", ".parts", ".gone"].iter().find_map(|suffix| rest.strip_suffix(suffix))?;
    key.parse().ok()
}

/// Where the ledger and the unfinished files of a staging directory are.
fn side_of(tree: &Path) -> PathBuf {
    let mut name = tree.as_os_str().to_owned();
    name.push("s");
    name.into()
}

/// Removes a staging directory with all that belongs to it; none is success.
pub(in crate::work) fn remove_stage(tree: &Path) -> io::Result<()> {
    // Whose it is goes first: what is left by a crash between the two is never gone on with.
    remove_tree(&side_of(tree))?;
    remove_tree(tree)
}

fn prefix(instance: &str) -> String {
    let digest = openssl::sha::sha256(instance.as_bytes());
    format!(".actd-{}-", hex(&digest[..4]))
}

impl Stage {
    /// Opens the job's staging directory in `parent`, which is made if need be. What is there of another run is removed.
    pub(super) fn open(parent: &Path, key: Key, about: &About, umask: u32) -> io::Result<Self> {
        make_dirs(parent, umask)?;
        let tree = parent.join(stage_name(&about.instance, key));
        let side = side_of(&tree);
        let there = [&tree, &side].into_iter().map(|dir| is_own_dir(dir)).collect::<io::Result<Vec<bool>>>()?;
        let same =
            there == [true, true] && read_json::<About>(&side.join("about"), MAX_NOTE).is_some_and(|a| a == *about);
        let mut done = Finished::default();
        if same {
            for dir in [&tree, &side] {
                fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
            }
            let path = side.join("ledger");
            done.files = read_ledger(&path).into_iter().map(|entry| (entry.path.clone(), entry)).collect();
            done.ledger = Some(OpenOptions::new().create(true).append(true).mode(0o600).open(path)?);
        } else {
            if there.contains(&true) {
                remove_stage(&tree)?;
            }
            DirBuilder::new().mode(0o700).create(&tree)?;
        }
        Ok(Self { tree, about: about.clone(), umask, is_new: !same, done: Mutex::new(done) })
    }

    /// From now on a later attempt finds what is here.
    fn keep(&self, done: &mut Finished) -> io::Result<()> {
        if done.ledger.is_some() {
            return Ok(());
        }
        let side = side_of(&self.tree);
        DirBuilder::new().mode(0o700).create(&side)?;
        let open = OpenOptions::new().create_new(true).append(true).mode(0o600).open(side.join("ledger"));
        done.ledger = Some(open?);
        for entry in done.files.values().cloned().collect::<Vec<_>>() {
            done.note(&entry)?;
        }
        // Last: without it the directory counts as somebody else's.
        write_note(&side.join("about"), &self.about)
    }

    /// Whether there is nothing in it from an earlier attempt.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Where the finished files are: what will be the job's directory.
    pub(super) fn tree(&self) -> &Path {
        &self.tree
    }

    /// The file, if it was finished before and is still whole.
    pub(super) fn finished(&self, path: &RelPath) -> Option<FileEntry> {
        let entry = self.lock().files.get(path.as_str()).cloned()?;
        let mut file = File::open(self.tree.join(path.as_str())).ok()?;
        let whole = file.metadata().ok()?.len() == entry.size
            && hasher_after(&mut file, entry.size).is_ok_and(|h| hex(&h.finish()) == entry.sha256);
        whole.then_some(entry)
    }

    /// What an earlier attempt received of a file.
    pub(super) fn resume(&self, path: &RelPath) -> Option<Partial> {
        let at = self.part(path);
        let note: Checkpoint = read_json(&note_of(&at), MAX_NOTE)?;
        if note.path != path.as_str() || note.len == 0 || note.len > note.total {
            return None;
        }
        let mut file = OpenOptions::new().read(true).write(true).open(&at).ok()?;
        let hasher = hasher_after(&mut file, note.len).ok()?;
        if hex(&hasher.clone().finish()) != note.sha256 {
            return None;
        }
        file.set_len(note.len).ok()?;
        file.seek(io::SeekFrom::Start(note.len)).ok()?;
        let (len, version) = (note.len, Some((note.validator, note.total)));
        Some(Partial { at, file, hasher, len, noted: len, written_back: len, version })
    }

    /// A file from its beginning.
    pub(super) fn start(&self, path: &RelPath) -> io::Result<Partial> {
        self.keep(&mut self.lock())?;
        let at = self.part(path);
        drop(fs::remove_file(note_of(&at)));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&at)?;
        Ok(Partial { at, file, hasher: Sha256::new(), len: 0, noted: 0, written_back: 0, version: None })
    }

    /// Takes a file of which all is in memory. A crash in the middle leaves one that is not in the ledger.
    pub(super) fn put(&self, path: &RelPath, content: &[u8]) -> io::Result<FileEntry> {
        let at = self.tree.join(path.as_str());
        let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&at);
        let mut file = match create() {
            Ok(file) => file,
            // No directory yet, or something of an earlier attempt.
            Err(_) => {
                self.clear_way(path)?;
                if let Err(e) = fs::remove_file(&at)
                    && e.kind() != io::ErrorKind::NotFound
                {
                    return Err(e);
                }
                create()?
            }
        };
        file.write_all(content)?;
        file.set_permissions(fs::Permissions::from_mode(0o666 & !self.umask))?;
        let sha256 = hex(&openssl::sha::sha256(content));
        self.done(FileEntry { path: path.as_str().to_owned(), size: content.len() as u64, sha256 })
    }

    /// Takes a file that has come whole.
    pub(super) fn finish(&self, path: &RelPath, partial: Partial) -> io::Result<FileEntry> {
        let Partial { at, file, hasher, len, .. } = partial;
        let on_disk = file.metadata()?.len();
        if on_disk != len {
            let text = format!("{path} has {on_disk} bytes on the disk, but {len} were written");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        file.set_permissions(fs::Permissions::from_mode(0o666 & !self.umask))?;
        self.clear_way(path)?;
        fs::rename(&at, self.tree.join(path.as_str()))?;
        drop(fs::remove_file(note_of(&at)));
        self.done(FileEntry { path: path.as_str().to_owned(), size: len, sha256: hex(&hasher.finish()) })
    }

    fn done(&self, entry: FileEntry) -> io::Result<FileEntry> {
        let mut done = self.lock();
        done.note(&entry)?;
        done.bytes += entry.size;
        done.files.insert(entry.path.clone(), entry.clone());
        if done.files.len() >= WORTH_FILES || done.bytes >= WORTH_BYTES {
            self.keep(&mut done)?;
        }
        Ok(entry)
    }

    /// Makes the directories that a file is in. What an earlier attempt left there of another kind (a file where there is
    /// a directory now, or the other way round) gives way.
    fn clear_way(&self, path: &RelPath) -> io::Result<()> {
        let tree = &self.tree;
        for (at, _) in path.as_str().match_indices('/') {
            let dir = tree.join(&path.as_str()[..at]);
            if fs::symlink_metadata(&dir).is_ok_and(|meta| !meta.is_dir()) {
                fs::remove_file(&dir)?;
            }
        }
        let to = tree.join(path.as_str());
        if fs::symlink_metadata(&to).is_ok_and(|meta| meta.is_dir()) {
            remove_tree(&to)?;
        }
        match to.parent() {
            Some(dir) => DirBuilder::new().recursive(true).mode(0o700).create(dir),
            None => Ok(()),
        }
    }

    /// Removes finished files and directories that are not among these: the server dropped them between two attempts.
    pub(super) fn keep_only(&self, files: &[FileEntry], dirs: &[RelPath]) -> io::Result<()> {
        let mut keep: HashSet<&str> = files.iter().map(|f| f.path.as_str()).collect();
        keep.extend(dirs.iter().map(RelPath::as_str));
        for path in keep.clone() {
            keep.extend(path.match_indices('/').map(|(at, _)| &path[..at]));
        }
        let root = &self.tree;
        let mut todo = vec![String::new()];
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(root.join(&dir))? {
                let entry = entry?;
                let name = entry.file_name();
                let at = if dir.is_empty() { PathBuf::from(&name) } else { Path::new(&dir).join(&name) };
                match at.to_str().filter(|path| keep.contains(path)) {
                    Some(path) if entry.file_type()?.is_dir() => todo.push(path.to_owned()),
                    Some(_) => {}
                    None if entry.file_type()?.is_dir() => remove_tree(&entry.path())?,
                    None => fs::remove_file(entry.path())?,
                }
            }
        }
        Ok(())
    }

    /// Makes a directory that is part of the results.
    pub(super) fn make_dir(&self, path: &RelPath) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(self.tree.join(path.as_str()))
    }

    /// Removes all of it: it is published, or worthless.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove_stage(&self.tree)
    }

    fn part(&self, path: &RelPath) -> PathBuf {
        let digest = openssl::sha::sha256(path.as_str().as_bytes());
        side_of(&self.tree).join(hex(&digest[..16]))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Finished> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes between two checkpoints.
const NOTE_EVERY: u64 = 4 << 20;

/// After so many bytes the disk is set to work: the fsync at the end then has little left to wait for.
const WRITE_BACK_EVERY: u64 = 8 << 20;

/// An unfinished file, positioned at its end.
pub(super) struct Partial {
    at: PathBuf,
    file: File,
    hasher: Sha256,
    len: u64,
    noted: u64,
    /// The disk has been set to work on what is before it.
    written_back: u64,
    /// Validator and size of the version that it is of; none: the server tells no version, and a broken transfer goes on after
    /// what is here, which can only be checked by its length.
    version: Option<(String, u64)>,
}

impl Partial {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn version(&self) -> Option<&(String, u64)> {
        self.version.as_ref()
    }

    /// Whether all of its version is here.
    pub(super) fn is_whole(&self) -> bool {
        self.version.as_ref().is_some_and(|(_, total)| *total == self.len)
    }

    pub(super) fn is_of(&mut self, version: Option<(String, u64)>) {
        self.version = version;
    }

    /// Begins again: the file on the server is another one.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        drop(fs::remove_file(note_of(&self.at)));
        self.file.set_len(0)?;
        self.file.rewind()?;
        (self.hasher, self.len, self.noted, self.written_back, self.version) = (Sha256::new(), 0, 0, 0, None);
        Ok(())
    }

    pub(super) fn write(&mut self, path: &RelPath, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        if self.len - self.written_back >= WRITE_BACK_EVERY {
            begin_writeback(&self.file, self.written_back, self.len - self.written_back);
            self.written_back = self.len;
        }
        if self.len - self.noted >= NOTE_EVERY { self.note(path) } else { Ok(()) }
    }

    /// Remembers how far it is, if it can be gone on from.
    pub(super) fn note(&mut self, path: &RelPath) -> io::Result<()> {
        let Some((validator, total)) = &self.version else { return Ok(()) };
        if self.len == self.noted {
            return Ok(());
        }
        let note = Checkpoint {
            path: path.as_str().to_owned(),
            validator: validator.clone(),
            total: *total,
            len: self.len,
            sha256: hex(&self.hasher.clone().finish()),
        };
        write_note(&note_of(&self.at), &note)?;
        self.noted = self.len;
        Ok(())
    }
}

/// Whether there is such a directory; something else of that name, or somebody else's directory, is an error.
fn is_own_dir(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
        Ok(meta) if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() => {
            let text = format!("{} is in the way: remove it", path.display());
            Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
        }
        Ok(_) => Ok(true),
    }
}

fn note_of(part: &Path) -> PathBuf {
    part.with_extension("at")
}

/// Replaces a small file at once. Not made durable: what it says is checked when it is read.
fn write_note<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let temp = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temp)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    fs::rename(&temp, path)
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path, max: u64) -> Option<T> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(max).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// The lines of the ledger; what is not a whole line (the last one, after a crash) is not there.
fn read_ledger(path: &Path) -> Vec<FileEntry> {
    let mut text = Vec::new();
    let Ok(file) = File::open(path) else { return Vec::new() };
    if file.take(MAX_LEDGER).read_to_end(&mut text).is_err() {
        return Vec::new();
    }
    text.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(run: &str) -> About {
        About { instance: "i".into(), key: "j7".into(), id: 5, run: run.into() }
    }

    fn rel(path: &str) -> RelPath {
        RelPath::new(path).expect("path")
    }

    #[test]
    fn a_download_goes_on_where_it_was() {
        let dir = tempfile::tempdir().expect("dir");
        let parent = dir.path().join("results");
        let stage = Stage::open(&parent, Key(7), &about("a"), 0o022).expect("open");
        assert_eq!(fs::metadata(stage.tree()).expect("stat").permissions().mode() & 0o777, 0o700);
        let path = rel("sub/out");
        let mut partial = stage.start(&path).expect("start");
        partial.is_of(Some(("\"v1\"".into(), 10)));
        partial.write(&path, b"hello").expect("write");
        partial.note(&path).expect("note");
        // A crash: more was written than noted.
        partial.write(&path, b"xx").expect("write");
        drop(partial);

        let stage = Stage::open(&parent, Key(7), &about("a"), 0o022).expect("open");
        let mut partial = stage.resume(&path).expect("resume");
        assert_eq!((partial.len(), partial.version()), (5, Some(&("\"v1\"".to_owned(), 10))));
        partial.write(&path, b"world").expect("write");
        let entry = stage.finish(&path, partial).expect("finish");
        assert_eq!((entry.size, entry.sha256), (10, hex(&openssl::sha::sha256(b"helloworld"))));
        fs::OpenOptions::new()
            .append(true)
            .open(side_of(stage.tree()).join("ledger"))
            .and_then(|mut f| f.write_all(b"{\"path\":\"torn"))
            .expect("tear");

        let stage = Stage::open(&parent, Key(7), &about("a"), 0o022).expect("open");
        assert!(stage.resume(&path).is_none());
        assert!(stage.finished(&path).is_some());
        fs::write(stage.tree().join("sub/out"), "helloWorld").expect("damage");
        assert!(stage.finished(&path).is_none(), "what is on the disk must be what was received");

        let stage = Stage::open(&parent, Key(7), &about("b"), 0o022).expect("open");
        assert!(
            stage.finished(&path).is_none() && !stage.tree().join("sub").exists(),
            "another run starts from nothing"
        );
    }

    #[test]
    fn a_damaged_part_starts_over() {
        let dir = tempfile::tempdir().expect("dir");
        let stage = Stage::open(dir.path(), Key(1), &about("a"), 0o022).expect("open");
        let path = rel("x");
        let mut partial = stage.start(&path).expect("start");
        partial.is_of(Some(("\"v\"".into(), 10)));
        partial.write(&path, b"hello").expect("write");
        partial.note(&path).expect("note");
        fs::write(&partial.at, b"hellO").expect("damage");
        assert!(stage.resume(&path).is_none());
        fs::write(&partial.at, b"hel").expect("damage");
        assert!(stage.resume(&path).is_none());
    }

    #[test]
    fn a_file_where_a_directory_was() {
        let dir = tempfile::tempdir().expect("dir");
        let stage = Stage::open(dir.path(), Key(1), &about("a"), 0o022).expect("open");
        let put = |path: &str| {
            let path = rel(path);
            stage.put(&path, b"x").expect("put")
        };
        put("a/b");
        let file = put("a");
        assert!(stage.tree().join("a").is_file() && stage.finished(&rel("a/b")).is_none());
        put("a/b/c");
        let kept = put("a/d");
        assert!(stage.finished(&rel("a")).is_none());
        stage.keep_only(&[kept, file], &[]).expect("keep");
        assert!(stage.tree().join("a/d").exists() && !stage.tree().join("a/b").exists());
    }

    #[test]
    fn few_small_files_leave_nothing_to_remove_and_many_are_gone_on_with() {
        let dir = tempfile::tempdir().expect("dir");
        let open = || Stage::open(dir.path(), Key(1), &about("a"), 0o022).expect("open");
        let stage = open();
        let names: Vec<RelPath> = (0..WORTH_FILES).map(|n| rel(&format!("f{n}"))).collect();
        for name in &names[1..] {
            stage.put(name, b"x").expect("put");
        }
        assert!(!side_of(stage.tree()).exists());
        assert!(open().is_new(), "a few are brought again");
        let stage = open();
        for name in &names {
            stage.put(name, b"x").expect("put");
        }
        let again = open();
        assert!(!again.is_new() && names.iter().all(|name| again.finished(name).is_some()));
        again.remove().expect("remove");
        assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 0);
    }

    #[test]
    fn a_planted_link_is_not_followed() {
        let dir = tempfile::tempdir().expect("dir");
        let victim = dir.path().join("victim");
        fs::create_dir(&victim).expect("mkdir");
        fs::write(victim.join("precious"), "x").expect("write");
        let tree = dir.path().join(stage_name("i", Key(1)));
        for planted in [side_of(&tree), tree] {
            std::os::unix::fs::symlink(&victim, &planted).expect("symlink");
            assert!(Stage::open(dir.path(), Key(1), &about("a"), 0o022).is_err());
            fs::remove_file(planted).expect("it is there");
        }
        assert!(victim.join("precious").exists());
    }
}
