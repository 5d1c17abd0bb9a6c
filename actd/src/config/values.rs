//! The small languages of single config values: durations, sizes, paths, lists of clusters. Each is read by a visitor, so
//! that the YAML reader can say in which line and column a bad one stands. Nothing here knows a key.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use act_proto::paths::expand;
use jiff::{Span, SpanRelativeTo};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use crate::engine::dir_name::DirName;

/// Longest duration that makes sense anywhere here.
const MAX_DURATION: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Reads `14d`, `90 min`, `1h 30m`, `500ms`: numbers with units. A month is no fixed time and is refused.
///
/// # Errors
/// A sentence that says what is wrong and how to write it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is no duration: write a number with a unit, such as 14d, 12h, 30m, 5s or 500ms");
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() || text.starts_with(['P', 'p', '-', '+']) {
        return Err(bad());
    }
    let span: Span = text.parse().map_err(|_| bad())?;
    if span.get_months() != 0 || span.get_years() != 0 {
        return Err(format!("`{text}`: months and years have no fixed length; write days, such as 30d"));
    }
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| bad())?;
    let duration = Duration::try_from(signed).map_err(|_| bad())?;
    if duration > MAX_DURATION {
        return Err(format!("`{text}` is more than a hundred years"));
    }
    Ok(duration)
}

/// The shortest way to write a duration that [`duration`] reads back.
#[must_use]
pub fn show_duration(d: Duration) -> String {
    let (secs, ms) = (d.as_secs(), d.subsec_millis());
    if secs == 0 && ms > 0 {
        return format!("{ms}ms");
    }
    let parts = [(secs / 86_400, "d"), (secs / 3600 % 24, "h"), (secs / 60 % 60, "m"), (secs % 60, "s")];
    let words: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if words.is_empty() { "0s".to_owned() } else { words.join(" ") }
}

const UNITS: [(&str, u64); 10] = [
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("", 1),
];

/// Reads `2 GiB`, `500MB`, `1.5 GiB`, or a plain number of bytes, in any case.
///
/// # Errors
/// A sentence that says what is wrong and how to write it.
pub fn size(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is no size: write a number with a unit, such as 500 MB or 2 GiB");
    let trimmed = text.trim().to_ascii_lowercase();
    let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let unit = unit.trim();
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, f)| *f).ok_or_else(bad)?;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(bad);
    }
    // Only fractions come here, and they are for people: f64 is exact enough.
    let fraction: f64 = number.parse().map_err(|_| bad())?;
    let bytes = fraction * factor as f64;
    if !bytes.is_finite() || !(0.0..1e18).contains(&bytes) {
        return Err(bad());
    }
    Ok(bytes as u64)
}

/// Bytes with the largest unit that keeps them whole.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes != 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} B")
}

/// Makes a type that is read from one YAML scalar by a function from text.
macro_rules! scalar {
    ($(#[$doc:meta])* $name:ident($inner:ty) = $read:expr, $expecting:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(pub $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: Error>(self, text: &str) -> Result<$name, E> {
                        let read: fn(&str) -> Result<$inner, String> = $read;
                        read(text).map($name).map_err(E::custom)
                    }
                }
                d.deserialize_str(Text)
            }
        }
    };
}

scalar!(
    /// A duration.
    Time(Duration) = duration, "a duration such as 14d or 30s"
);
scalar!(
    /// A size in bytes.
    Bytes(u64) = size, "a size such as 2 GiB"
);
scalar!(
    /// A path, expanded.
    PathText(PathBuf) = expand, "a path"
);
scalar!(
    /// What results' directories are named after.
    NameText(DirName) = |text| text.parse(), "a name such as \"{name}-{id}\", in quotes"
);
scalar!(
    /// URL of an aCT server, as written.
    ServerText(String) = |text| {
        act_proto::instance::server_url(text, None, None).map_err(|e| e.message).map(|_| text.to_owned())
    }, "a URL such as https://act.example.org"
);
scalar!(
    /// URL of a WebDAV directory, without a slash at its end.
    WebdavText(String) = webdav_base, "a URL such as https://dav.example.org/user"
);

/// Reads the base URL of a WebDAV store; gives it without a slash at its end.
///
/// # Errors
/// What is no http(s) URL with a host, or holds a query.
pub fn webdav_base(text: &str) -> Result<String, String> {
    let bad = |why: &str| format!("`{text}` is no URL of a WebDAV directory: {why}");
    let url = url::Url::parse(text).map_err(|e| bad(&e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad("it must begin with https:// or http://"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad("it has no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("a user name or password has no place in it"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("a query has no place in it"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Checks the URL of a cluster and of its queue. The server compares it with its own list, so it is kept as written.
///
/// # Errors
/// What is no http(s) URL with a host.
pub fn cluster_url(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|e| format!("`{text}` is no URL of a cluster: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(format!("`{text}` is no URL of a cluster: write it as https://HOST/QUEUE"));
    }
    Ok(text.to_owned())
}

/// A command of the user's: a program with its arguments, run without a shell. Written as a list of words, or as one line
/// in which quotes hold words together. A leading `~/` of a word is the home directory.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CommandLine(pub Vec<String>);

impl CommandLine {
    fn new(words: Vec<String>) -> Result<Self, String> {
        let home = std::env::var("HOME").unwrap_or_default();
        let expand = |word: String| word.strip_prefix("~/").map(|rest| format!("{home}/{rest}")).unwrap_or(word);
        let words: Vec<String> = words.into_iter().map(expand).collect();
        match words.first() {
            Some(program) if !program.is_empty() && !words.iter().any(|w| w.contains('\0')) => Ok(Self(words)),
            _ => Err("a command without a program".to_owned()),
        }
    }
}

impl<'de> Deserialize<'de> for CommandLine {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct LineOrWords;
        impl<'de> Visitor<'de> for LineOrWords {
            type Value = CommandLine;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command: a line, or a list of words")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<CommandLine, E> {
                let words =
                    shlex::split(text).ok_or_else(|| E::custom(format!("`{text}`: a quote without its end")))?;
                CommandLine::new(words).map_err(E::custom)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<CommandLine, A::Error> {
                let mut words: Vec<String> = Vec::new();
                while let Some(word) = seq.next_element()? {
                    words.push(word);
                }
                CommandLine::new(words).map_err(A::Error::custom)
            }
        }
        d.deserialize_any(LineOrWords)
    }
}

/// The clusters of a group: a list, or a single one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clusters(pub Vec<String>);

impl<'de> Deserialize<'de> for Clusters {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Clusters;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the URL of a cluster, or a list of them")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Clusters, E> {
                cluster_url(text).map(|url| Clusters(vec![url])).map_err(E::custom)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Clusters, A::Error> {
                let mut list = Vec::new();
                while let Some(Cluster(url)) = seq.next_element()? {
                    list.push(url);
                }
                if list.is_empty() {
                    return Err(A::Error::custom("a group without clusters"));
                }
                Ok(Clusters(list))
            }
        }
        d.deserialize_any(OneOrMany)
    }
}

scalar!(
    /// One cluster of a list.
    Cluster(String) = cluster_url, "the URL of a cluster"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("14d"), Ok(Duration::from_secs(14 * 86_400)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("30 min"), Ok(Duration::from_secs(1800)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for bad in ["", "5", "soon", "-5s", "P1D", "2 months", "99999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for secs in [1, 59, 60, 3600, 90_061, 86_400 * 14] {
            let d = Duration::from_secs(secs);
            assert_eq!(duration(&show_duration(d)), Ok(d));
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("2 GiB"), Ok(2 << 30));
        assert_eq!(size("500MB"), Ok(500_000_000));
        assert_eq!(size("1.5 kib"), Ok(1536));
        assert_eq!(size("17"), Ok(17));
        for bad in ["", "GiB", "2 GX", "-1", "1..2 MB", "99999999 TiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        for n in [0, 1, 1024, 3 << 30, 1_000_000] {
            assert_eq!(size(&show_size(n)), Ok(n));
        }
    }

    #[test]
    fn paths() {
        let home = std::env::var("HOME").unwrap();
        assert_eq!(expand("~/x"), Ok(PathBuf::from(format!("{home}/x"))));
        assert_eq!(expand("${HOME}/x"), Ok(PathBuf::from(format!("{home}/x"))));
        assert_eq!(expand("$HOME"), Ok(PathBuf::from(&home)));
        assert_eq!(expand("/a$/b"), Ok(PathBuf::from("/a$/b")));
        assert!(expand("~other/x").is_err());
        assert!(expand("$ACTD_SURELY_NOT_SET/x").unwrap_err().contains("ACTD_SURELY_NOT_SET"));
    }
}
