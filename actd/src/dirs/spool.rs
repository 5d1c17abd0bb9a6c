//! Moving a claimed file on: to `accepted/` with a receipt, or to `failed/` with a note. Each step can be done again after
//! a crash and then has the same outcome. Nothing is overwritten.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::claim::Claim;
use super::files;

/// Where submitted descriptions go.
pub(super) const ACCEPTED: &str = "accepted";
/// Where those go that cannot be submitted.
pub(super) const FAILED: &str = "failed";

/// So many files of one name are kept beside each other.
const MAX_SUFFIX: u32 = 100_000;
/// Of a file beside a description, so much is read to see whose it is, bytes.
const MAX_SIDECAR: u64 = 4 << 20;

/// A file that is written beside the description before that is moved, so that whoever sees one finds the other.
pub(super) struct Sidecar<'a> {
    /// What is appended to the description's name.
    pub(super) extension: &'static str,
    /// Its content, given the description's new name. Holds the claim's id.
    pub(super) content: &'a dyn Fn(&str) -> Vec<u8>,
}

/// Moves the claimed file `name` into `to`, as `NAME`, or as `STEM_1.xrsl`... if that is taken. `chosen` learns the new
/// name before the move. Gives the new name.
pub(super) fn place(
    claim: &Claim,
    name: &OsStr,
    to: &Path,
    sidecar: &Sidecar<'_>,
    chosen: &mut dyn FnMut(&str) -> io::Result<()>,
) -> io::Result<String> {
    let from = claim.path(name);
    // What is no text becomes longer when it is made one: it is cut after that.
    let text = name.to_string_lossy();
    for n in 0..MAX_SUFFIX {
        let target = files::numbered(OsStr::new(&*text), n, sidecar.extension.len()).to_string_lossy().into_owned();
        let beside = format!("{target}{}", sidecar.extension);
        let place = to.join(&target);
        if let Some(there) = files::lstat(&place)? {
            // Without an atomic rename, a crash leaves the file under both names.
            if is_same(&from, &there)? && is_of(claim, &to.join(&beside))? {
                chosen(&target)?;
                fs::remove_file(&from)?;
                return Ok(target);
            }
            continue;
        }
        let content = (sidecar.content)(&target);
        match files::create_new(to, OsStr::new(&beside), &content) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                if !is_of(claim, &to.join(&beside))? {
                    continue;
                }
                files::replace(to, OsStr::new(&beside), &content)?;
            }
            Err(e) => return Err(e),
        }
        crate::failpoint!("dirs.place.sidecar");
        chosen(&target)?;
        match files::rename_new(&from, &place) {
            Ok(()) => {
                crate::failpoint!("dirs.place.moved");
                return Ok(target);
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => fs::remove_file(to.join(&beside))?,
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::other(format!("{} holds too many files of the name {}", to.display(), name.display())))
}

/// Puts a claimed file back where it came from, beside what has its name now.
pub(super) fn release(claim: &Claim, name: &OsStr, dir: &Path) -> io::Result<()> {
    for n in 0..MAX_SUFFIX {
        match files::rename_new(&claim.path(name), &dir.join(files::numbered(name, n, 0))) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => break,
            Err(e) => return Err(e),
            Ok(()) => break,
        }
    }
    claim.close()
}

/// Names in `accepted/` of the file with this inode.
pub(super) fn names_of(accepted: &Path, dev_ino: (u64, u64)) -> io::Result<Vec<String>> {
    use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
    let mut names = Vec::new();
    for entry in fs::read_dir(accepted)? {
        let entry = entry?;
        if entry.ino() == dev_ino.1 && entry.metadata()?.dev() == dev_ino.0 {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Removes descriptions with their sidecars that have been in `dir` since before `age` ago. `keep` are still needed.
/// Gives how many.
pub(super) fn sweep(
    dir: &Path,
    extension: &str,
    age: std::time::Duration,
    keep: &dyn Fn(&str) -> bool,
) -> io::Result<usize> {
    let Some(before) = std::time::SystemTime::now().checked_sub(age) else { return Ok(0) };
    let mut swept = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some(description) = name.strip_suffix(extension) else { continue };
        // The sidecar's time: it is written when the description is placed, and again when its jobs have ended.
        if description.is_empty() || keep(description) || entry.metadata()?.modified()? > before {
            continue;
        }
        let description: PathBuf = dir.join(description);
        if files::lstat(&description)?.is_some_and(|meta| meta.is_file()) {
            fs::remove_file(description)?;
            fs::remove_file(entry.path())?;
            swept += 1;
        }
    }
    Ok(swept)
}

fn is_same(path: &Path, other: &fs::Metadata) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(files::lstat(path)?.is_some_and(|meta| (meta.dev(), meta.ino()) == (other.dev(), other.ino())))
}

/// Whether a sidecar belongs to this claim.
fn is_of(claim: &Claim, sidecar: &Path) -> io::Result<bool> {
    let file = match files::open(sidecar) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    let content = files::read(&file, MAX_SIDECAR)?;
    Ok(content.windows(claim.id.len()).any(|part| part == claim.id.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(tempfile::TempDir);

    impl Dir {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("dir");
            for sub in [".actd", ACCEPTED] {
                fs::create_dir(dir.path().join(sub)).expect("mkdir");
            }
            Self(dir)
        }

        fn claim(&self, text: &str) -> Claim {
            let claim = Claim::new(&self.0.path().join(".actd"), "instance").expect("claim");
            fs::write(claim.path(OsStr::new("a.xrsl")), text).expect("write");
            claim
        }

        fn accepted(&self) -> PathBuf {
            self.0.path().join(ACCEPTED)
        }

        fn place(&self, claim: &Claim, stop: bool) -> io::Result<String> {
            let content = |name: &str| format!("{name} {}", claim.id).into_bytes();
            place(
                claim,
                OsStr::new("a.xrsl"),
                &self.accepted(),
                &Sidecar { extension: ".json", content: &content },
                &mut |_| if stop { Err(io::Error::other("crash")) } else { Ok(()) },
            )
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.accepted()).expect("list");
            let mut names: Vec<_> =
                entries.map(|e| e.expect("entry").file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        }
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = Dir::new();
        fs::write(dir.accepted().join("a_1.xrsl.json"), "somebody's own").expect("write");
        let names = ["1", "2", "3"].map(|text| dir.place(&dir.claim(text), false).expect("place"));
        assert_eq!(names, ["a.xrsl", "a_2.xrsl", "a_3.xrsl"]);
        for (name, text) in names.iter().zip(["1", "2", "3"]) {
            assert_eq!(fs::read_to_string(dir.accepted().join(name)).expect("read"), text);
            let beside = fs::read_to_string(dir.accepted().join(format!("{name}.json"))).expect("read");
            assert!(beside.starts_with(name.as_str()), "{beside}");
        }
        assert_eq!(fs::read_to_string(dir.accepted().join("a_1.xrsl.json")).expect("read"), "somebody's own");
    }

    #[test]
    fn a_crash_between_the_steps_changes_nothing() {
        let dir = Dir::new();
        let claim = dir.claim("1");
        assert!(dir.place(&claim, true).is_err());
        assert_eq!(dir.names(), ["a.xrsl.json"]);
        assert_eq!(dir.place(&claim, false).expect("again"), "a.xrsl");
        // As a rename made of link and unlink leaves it when it is cut off.
        fs::hard_link(dir.accepted().join("a.xrsl"), claim.path(OsStr::new("a.xrsl"))).expect("link");
        assert_eq!(dir.place(&claim, false).expect("once more"), "a.xrsl");
        assert_eq!(dir.names(), ["a.xrsl", "a.xrsl.json"]);
        claim.close().expect("close");
        assert!(Claim::all(&dir.0.path().join(".actd")).expect("all").is_empty());
    }

    #[test]
    fn a_name_that_is_no_text_finds_a_place() {
        use std::os::unix::ffi::OsStrExt as _;
        let dir = Dir::new();
        let claim = Claim::new(&dir.0.path().join(".actd"), "instance").expect("claim");
        let name = [vec![0xff; 250], b".xrsl".to_vec()].concat();
        let name = OsStr::from_bytes(&name);
        fs::write(claim.path(name), "x").expect("write");
        let sidecar = Sidecar { extension: ".json", content: &|_| claim.id.clone().into_bytes() };
        let placed = place(&claim, name, &dir.accepted(), &sidecar, &mut |_| Ok(())).expect("place");
        assert!(placed.ends_with(".xrsl") && dir.accepted().join(&placed).exists(), "{placed}");
    }

    #[test]
    fn a_claim_can_be_given_back() {
        let dir = Dir::new();
        let claim = dir.claim("old");
        fs::write(dir.0.path().join("a.xrsl"), "new").expect("write");
        release(&claim, OsStr::new("a.xrsl"), dir.0.path()).expect("release");
        assert_eq!(fs::read_to_string(dir.0.path().join("a_1.xrsl")).expect("read"), "old");
        assert_eq!(fs::read_to_string(dir.0.path().join("a.xrsl")).expect("read"), "new");
    }

    #[test]
    fn sweeping_takes_only_what_was_placed_here_and_is_old() {
        let dir = Dir::new();
        dir.place(&dir.claim("1"), false).expect("place");
        dir.place(&dir.claim("2"), false).expect("place");
        fs::write(dir.accepted().join("mine.txt"), "").expect("write");
        fs::write(dir.accepted().join("alone.json"), "").expect("write");
        let keep = |name: &str| name == "a_1.xrsl";
        let hour = std::time::Duration::from_secs(3_600);
        assert_eq!(sweep(&dir.accepted(), ".json", hour, &keep).expect("sweep"), 0);
        assert_eq!(sweep(&dir.accepted(), ".json", std::time::Duration::ZERO, &keep).expect("sweep"), 1);
        assert_eq!(dir.names(), ["a_1.xrsl", "a_1.xrsl.json", "alone.json", "mine.txt"]);
    }

    #[test]
    fn other_names_of_a_file_are_found() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = Dir::new();
        dir.place(&dir.claim("1"), false).expect("place");
        let meta = fs::metadata(dir.accepted().join("a.xrsl")).expect("stat");
        assert_eq!(names_of(&dir.accepted(), (meta.dev(), meta.ino())).expect("names"), ["a.xrsl"]);
    }
}
