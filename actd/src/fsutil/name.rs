//! Names that come from a server, a description or a listing, and whether they may become paths below a directory.
//! Lexical only: what is on disk is the business of [`super::dir`].

use std::fmt;

/// Longest name of one file or directory (Linux).
pub const MAX_SEGMENT: usize = 255;
/// Longest relative path accepted; with a base directory before it, it stays under Linux's 4,096.
pub const MAX_PATH: usize = 3_000;
/// Deepest nesting accepted.
pub const MAX_DEPTH: usize = 100;

/// Why a name may not become a path. `Display` shows the name escaped and cut, fit for a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameError {
    name: String,
    reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Empty,
    Absolute,
    Dots,
    Nul,
    SegmentTooLong,
    PathTooLong,
    TooDeep,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            Reason::Empty => "it is empty or has an empty part",
            Reason::Absolute => "it is absolute",
            Reason::Dots => "it has a part `.` or `..`",
            Reason::Nul => "it contains a NUL byte",
            Reason::SegmentTooLong => "a part of it is longer than 255 bytes",
            Reason::PathTooLong => "it is longer than 3000 bytes",
            Reason::TooDeep => "it is nested deeper than 100 directories",
        };
        write!(f, "unsafe file name \"{}\": {reason}", self.name)
    }
}

impl std::error::Error for NameError {}

/// A relative path, checked: no empty, `.` or `..` part, no NUL, bounded length and depth.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelPath(String);

impl RelPath {
    /// Checks "dir/file" as a server names it.
    pub fn new(path: &str) -> Result<Self, NameError> {
        let error = |reason| {
            let name: String = path.chars().take(80).flat_map(char::escape_debug).collect();
            Err(NameError { name, reason })
        };
        if path.is_empty() {
            return error(Reason::Empty);
        }
        if path.starts_with('/') {
            return error(Reason::Absolute);
        }
        if path.len() > MAX_PATH {
            return error(Reason::PathTooLong);
        }
        let mut depth = 0;
        for segment in path.split('/') {
            depth += 1;
            match segment {
                "" => return error(Reason::Empty),
                "." | ".." => return error(Reason::Dots),
                s if s.contains('\0') => return error(Reason::Nul),
                s if s.len() > MAX_SEGMENT => return error(Reason::SegmentTooLong),
                _ => {}
            }
        }
        if depth > MAX_DEPTH {
            return error(Reason::TooDeep);
        }
        Ok(Self(path.to_owned()))
    }

    /// This directory's entry `name`: a single part, as a listing gives it. A slash in it is an error.
    pub fn child(&self, name: &str) -> Result<Self, NameError> {
        single(name)?;
        Self::new(&format!("{}/{name}", self.0))
    }

    /// An entry at the top: a single part, as a listing gives it. A slash in it is an error.
    pub fn top(name: &str) -> Result<Self, NameError> {
        single(name)?;
        Self::new(name)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Everything but the last part, and the last part.
    pub(super) fn split_last(&self) -> (Option<&str>, &str) {
        match self.0.rsplit_once('/') {
            Some((parent, name)) => (Some(parent), name),
            None => (None, &self.0),
        }
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_debug())
    }
}

fn single(name: &str) -> Result<(), NameError> {
    if !name.contains('/') {
        return Ok(());
    }
    let reason = if name.starts_with('/') { Reason::Absolute } else { Reason::Dots };
    Err(NameError { name: name.chars().take(80).flat_map(char::escape_debug).collect(), reason })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_names() {
        let long = "x".repeat(256);
        let deep = vec!["d"; 101].join("/");
        let huge = "y".repeat(64 * 1024);
        for bad in ["", ".", "..", "/etc/passwd", "a/../b", "a//b", "a/", "../x", "a\0b", &long, &deep, &huge, "./a"] {
            assert!(RelPath::new(bad).is_err(), "{:?}", &bad[..bad.len().min(40)]);
        }
        for good in [
            "a",
            "a b",
            "q?x=1#%41",
            "smørbrød",
            "..a",
            "a..",
            ".hidden",
            "x.part",
            "CON",
            "\u{1b}[31m",
            &"x".repeat(255),
        ] {
            assert_eq!(RelPath::new(good).map(|p| p.as_str().to_owned()).as_deref(), Ok(good));
        }
        assert!(RelPath::top("a/b").is_err() && RelPath::top("a").is_ok_and(|a| a.child("../b").is_err()));
        let error = RelPath::new("../\u{1b}[31m\n").expect_err("unsafe").to_string();
        assert!(!error.contains('\u{1b}') && !error.contains('\n'), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_accepted_stays_below_the_base(name in "[a./\\x00]{0,12}|\\PC{0,30}") {
            if let Ok(path) = RelPath::new(&name).map(|path| Path::new("/base").join(path.as_str())) {
                prop_assert!(path.starts_with("/base") && path != Path::new("/base"));
                prop_assert!(path.components().all(|c| !matches!(c, std::path::Component::ParentDir | std::path::Component::CurDir)));
            }
        }
    }
}
