//! Which files of a session directory are outputs, and their way into the server's results.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Component, Path, PathBuf},
};

use super::stage::make_parent;
use crate::{desc::Description, rest::data::inside};

/// Files and directories (relative to the session) that the description asks to keep. What the job did not make is
/// not in it.
pub(super) fn outputs(description: &Description, session: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let streams = [&description.stdout, &description.stderr].into_iter().flatten().map(String::as_str);
    let kept = description.outputs.iter().filter(|output| output.target.is_empty()).map(|output| output.name.as_str());
    for name in streams.chain(kept) {
        if let Some(path) = inside(session, name.as_bytes()) {
            add(session, &path, &mut found);
        }
    }
    found
}

/// Adds a file, or everything under a directory. Links count as what they point to, if that lies in the session.
fn add(session: &Path, path: &Path, found: &mut BTreeSet<PathBuf>) {
    let Ok(real) = path.canonicalize() else { return };
    let Ok(relative) = path.strip_prefix(session) else { return };
    if !real.starts_with(session) || relative.components().count() > 64 {
        return;
    }
    if relative.components().next().is_some() && !found.insert(relative.to_owned()) {
        return;
    }
    if real.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            add(session, &entry.path(), found);
        }
    }
}

/// Whether the real server can fetch a file of this name from the CE: it does not quote names in URLs (observed:
/// space, non-ASCII, `?` and `%` leave the job in `finished` for good).
pub(super) fn can_be_moved(path: &Path) -> bool {
    path.components().all(|part| match part {
        Component::Normal(name) => name
            .to_str()
            .is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'%')),
        _ => true,
    })
}

/// Puts the files into `results`, which is made anew. Hard links: a job that has ended changes nothing any more.
pub(super) fn deliver(session: &Path, paths: &BTreeSet<PathBuf>, results: &Path) -> io::Result<()> {
    match fs::remove_dir_all(results) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir_all(results)?,
    }
    for relative in paths {
        let (from, to) = (session.join(relative), results.join(relative));
        make_parent(&to)?;
        let real = from.canonicalize()?;
        if real.is_dir() {
            fs::create_dir_all(&to)?;
        } else if real.is_file() {
            fs::hard_link(&real, &to).or_else(|_| fs::copy(&real, &to).map(|_| ()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desc::Output;

    #[test]
    fn collects_what_was_asked_for_and_nothing_outside() {
        let dir = tempfile::tempdir().unwrap();
        let session = dir.path().canonicalize().unwrap().join("s");
        fs::create_dir_all(session.join("sub/deep")).unwrap();
        fs::create_dir_all(session.join("empty")).unwrap();
        fs::write(session.join("sub/deep/x"), "x").unwrap();
        fs::write(session.join("out"), "o").unwrap();
        fs::write(dir.path().join("secret"), "s").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", session.join("link")).unwrap();
        std::os::unix::fs::symlink("out", session.join("inner")).unwrap();
        let ask = |name: &str| {
            let output = Output { name: name.into(), target: String::new() };
            let description = Description { outputs: vec![output], ..Description::default() };
            let found = outputs(&description, &session);
            found.into_iter().map(|path| path.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(ask("/"), ["empty", "inner", "out", "sub", "sub/deep", "sub/deep/x"]);
        assert_eq!(ask("sub/"), ["sub", "sub/deep", "sub/deep/x"]);
        assert_eq!(ask("../secret"), Vec::<String>::new());
        assert_eq!(ask("missing"), Vec::<String>::new());
        let target = dir.path().join("results");
        let everything =
            Description { outputs: vec![Output { name: "/".into(), target: String::new() }], ..Description::default() };
        deliver(&session, &outputs(&everything, &session), &target).unwrap();
        assert_eq!(fs::read_to_string(target.join("sub/deep/x")).unwrap(), "x");
        assert!(target.join("empty").is_dir());
        assert_eq!(fs::read_to_string(target.join("inner")).unwrap(), "o");
    }

    #[test]
    fn some_names_cannot_be_moved() {
        for (name, want) in [
            ("a/b.txt", true),
            ("h#1", true),
            ("a+b", true),
            ("a b", false),
            ("q?", false),
            ("p%", false),
            ("\u{f8}", false),
        ] {
            assert_eq!(can_be_moved(Path::new(name)), want, "{name}");
        }
    }
}
