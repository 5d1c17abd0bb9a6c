//! `actd.dirs`: the watched directories, as they stand in the config file and as the daemon takes them.

use std::fmt;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::values::{PathText, Time, webdav_base};

/// A directory that is to be watched. Also what is kept on disk of one that was added while the daemon ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirSettings {
    /// Absolute.
    pub path: PathBuf,
    /// A group of the config, or URLs separated by commas; nothing: the group `default`.
    #[serde(default)]
    pub clusterlist: Option<String>,
    /// Stage local inputs through WebDAV: `""` takes the config's URL.
    #[serde(default)]
    pub webdav: Option<String>,
    /// Where results go instead of `PATH/results`; absolute.
    #[serde(default)]
    pub results: Option<PathBuf>,
    /// How long a file must have stayed as it is, milliseconds; nothing: 1000.
    #[serde(default)]
    pub settle_ms: Option<u64>,
    /// Remove what has been in `accepted` and `failed` for so long, seconds; nothing: never.
    #[serde(default)]
    pub sweep_s: Option<u64>,
    /// Look every two seconds instead of waiting for events.
    #[serde(default)]
    pub poll: bool,
}

/// The keys of an entry of `actd.dirs`.
pub(super) const KEYS: &[&str] = &["path", "clusters", "webdav", "results", "settle", "sweep", "poll"];

/// An entry of `actd.dirs`: a path, or a path with settings.
#[derive(Debug)]
pub(super) struct Entry {
    path: PathText,
    clusters: Option<ClusterText>,
    webdav: Option<Webdav>,
    results: Option<PathText>,
    settle: Option<Time>,
    sweep: Option<Time>,
    poll: bool,
}

impl Entry {
    /// As the daemon takes it; `absolute` fixes relative paths.
    pub(super) fn settings(self, mut absolute: impl FnMut(&str, PathText) -> PathBuf) -> DirSettings {
        let whole = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);
        DirSettings {
            path: absolute("actd.dirs", self.path),
            clusterlist: self.clusters.map(|c| c.0),
            webdav: self.webdav.and_then(|w| w.0),
            results: self.results.map(|p| absolute("actd.dirs: results", p)),
            settle_ms: self.settle.map(|t| whole(t.0.as_millis())),
            sweep_s: self.sweep.map(|t| t.0.as_secs()),
            poll: self.poll,
        }
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Map {
            path: PathText,
            clusters: Option<ClusterText>,
            webdav: Option<Webdav>,
            results: Option<PathText>,
            settle: Option<Time>,
            sweep: Option<Time>,
            #[serde(default)]
            poll: bool,
        }
        struct PathOrMap;
        impl<'de> Visitor<'de> for PathOrMap {
            type Value = Entry;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the path of a directory, or `path:` with settings")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Entry, E> {
                let path = super::values::expand(text).map(PathText).map_err(E::custom)?;
                Ok(Entry { path, clusters: None, webdav: None, results: None, settle: None, sweep: None, poll: false })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                let Map { path, clusters, webdav, results, settle, sweep, poll } =
                    Map::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Entry { path, clusters, webdav, results, settle, sweep, poll })
            }
        }
        d.deserialize_any(PathOrMap)
    }
}

/// A group's name, URLs separated by commas, or a list of URLs.
#[derive(Debug)]
struct ClusterText(String);

impl<'de> Deserialize<'de> for ClusterText {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = ClusterText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a group of clusters, or a list of URLs")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<ClusterText, E> {
                Ok(ClusterText(text.to_owned()))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<ClusterText, A::Error> {
                let mut list: Vec<String> = Vec::new();
                while let Some(url) = seq.next_element()? {
                    list.push(url);
                }
                Ok(ClusterText(list.join(",")))
            }
        }
        d.deserialize_any(OneOrMany)
    }
}

/// `true`: the config's URL; `false`: none; else the URL.
#[derive(Debug)]
struct Webdav(Option<String>);

impl<'de> Deserialize<'de> for Webdav {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct YesOrUrl;
        impl Visitor<'_> for YesOrUrl {
            type Value = Webdav;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, or the URL of a WebDAV directory")
            }
            fn visit_bool<E: Error>(self, yes: bool) -> Result<Webdav, E> {
                Ok(Webdav(yes.then(String::new)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Webdav, E> {
                webdav_base(text).map(|url| Webdav(Some(url))).map_err(E::custom)
            }
        }
        d.deserialize_any(YesOrUrl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<DirSettings>, serde_yaml::Error> {
        let entries: Vec<Entry> = serde_yaml::from_str(text)?;
        Ok(entries.into_iter().map(|entry| entry.settings(|_, path| path.0)).collect())
    }

    #[test]
    fn a_path_alone_or_with_settings() {
        let text = "- /in\n- path: /sweeps\n  clusters: [https://a/q, https://b/q]\n  webdav: true\n  results: /r\n  settle: 2s\n  sweep: 30d\n  poll: true\n";
        let all = read(text).expect("read");
        assert_eq!(all[0], DirSettings { path: "/in".into(), ..DirSettings::default() });
        let full = DirSettings {
            path: "/sweeps".into(),
            clusterlist: Some("https://a/q,https://b/q".into()),
            webdav: Some(String::new()),
            results: Some("/r".into()),
            settle_ms: Some(2_000),
            sweep_s: Some(30 * 86_400),
            poll: true,
        };
        assert_eq!(all[1], full);
        assert_eq!(
            read("- {path: /in, webdav: false, clusters: fast}").expect("read")[0].clusterlist.as_deref(),
            Some("fast")
        );
    }

    #[test]
    fn mistakes_have_a_line() {
        for (text, line) in
            [("- /in\n- 5", 2), ("- path: /in\n  settle: soon", 2), ("- path: /in\n  webdav: ftp://x", 2)]
        {
            let error = read(text).expect_err(text);
            assert_eq!(error.location().map(|at| at.line()), Some(line), "{error}");
        }
        assert!(read("- {settle: 1s}").expect_err("no path").to_string().contains("path"));
    }
}
