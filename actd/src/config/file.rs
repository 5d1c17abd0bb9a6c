//! The config file as it is written: act's own keys, and `actd:` with the daemon's. It is read here and nowhere else;
//! what a missing key means is not decided here.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use act_proto::error::{ApiError, Kind};
use serde::Deserialize;
use serde_yaml::Value;

use super::dirs::{self, Entry};
use super::values::{Bytes, Clusters, CommandLine, NameText, PathText, ServerText, Time, WebdavText};

/// Largest config file that is read.
const MAX_FILE: u64 = 1 << 20;

/// Everything that may stand in the file.
#[derive(Debug, Default, Deserialize)]
#[serde(expecting = "lines of the form `key: value`")]
pub(super) struct File {
    pub(super) server: Option<ServerText>,
    pub(super) port: Option<u16>,
    pub(super) clusters: Option<BTreeMap<String, Clusters>>,
    pub(super) token: Option<PathText>,
    pub(super) proxy: Option<PathText>,
    pub(super) webdav: Option<WebdavText>,
    pub(super) actd: Option<Actd>,
}

/// The daemon's own keys.
#[derive(Debug, Default, Deserialize)]
#[serde(expecting = "indented lines of the form `key: value`")]
pub(super) struct Actd {
    pub(super) results: Option<PathText>,
    pub(super) results_name: Option<NameText>,
    pub(super) download: Option<Download>,
    pub(super) use_jobname: Option<bool>,
    pub(super) keep: Option<Time>,
    pub(super) keep_failed: Option<Time>,
    pub(super) orphans: Option<Time>,
    pub(super) history: Option<Time>,
    pub(super) fetch_failed: Option<bool>,
    pub(super) state: Option<PathText>,
    pub(super) poll_min: Option<Time>,
    pub(super) poll_max: Option<Time>,
    pub(super) requests: Option<usize>,
    pub(super) transfers: Option<usize>,
    pub(super) rate_limit: Option<Bytes>,
    pub(super) min_free_disk: Option<Bytes>,
    pub(super) dirs: Option<Vec<Entry>>,
    pub(super) allow_http: Option<bool>,
    pub(super) ca_dir: Option<PathText>,
    pub(super) log: Option<String>,
    pub(super) renew: Option<CommandLine>,
    pub(super) on_done: Option<CommandLine>,
    pub(super) on_failed: Option<CommandLine>,
    pub(super) on_batch_done: Option<CommandLine>,
    pub(super) on_credential_low: Option<CommandLine>,
    pub(super) hook_timeout: Option<Time>,
    pub(super) notify: Option<Notify>,
}

/// When to show notifications on the desktop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Notify {
    /// Never.
    Off,
    /// When a batch has come to rest, or the credential is about to end.
    Batch,
    /// When a job has ended, too.
    Job,
}

/// What happens to results by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Download {
    /// They are downloaded as soon as a job is done.
    Auto,
    /// They stay on the server until somebody gets them.
    Manual,
}

const TOP: &[&str] = &["server", "port", "clusters", "token", "proxy", "webdav", "actd"];
const ACTD: &[&str] = &[
    "results",
    "results_name",
    "download",
    "use_jobname",
    "keep",
    "keep_failed",
    "orphans",
    "history",
    "fetch_failed",
    "state",
    "poll_min",
    "poll_max",
    "requests",
    "transfers",
    "rate_limit",
    "min_free_disk",
    "dirs",
    "allow_http",
    "ca_dir",
    "log",
    "renew",
    "on_done",
    "on_failed",
    "on_batch_done",
    "on_credential_low",
    "hook_timeout",
    "notify",
];
/// Reads a config file. No file is the same as an empty one. With it: warnings about keys that nobody reads.
///
/// # Errors
/// [`Kind::BadConfig`], with line and column: not readable, no YAML, a value that does not fit its key.
pub(super) fn read(path: &Path) -> Result<(File, Vec<String>), ApiError> {
    let shown = path.display();
    let bad = |why: String| ApiError::new(Kind::BadConfig, why);
    let text = match text(path) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok((File::default(), Vec::new())),
        Err(e) => return Err(bad(format!("config file {shown} cannot be read: {e}"))),
    };
    let located = |e: &serde_yaml::Error| {
        let Some(at) = e.location() else { return bad(format!("config file {shown}: {e}")) };
        // The library appends the place to its sentence; it belongs in front, where editors and people look for it.
        let sentence = e.to_string();
        let sentence = sentence.rsplit_once(" at line ").map_or(sentence.as_str(), |(s, _)| s);
        let sentence = sentence.replace("expected u16", "expected a number up to 65535");
        let sentence = sentence.replace("expected usize", "expected a number");
        bad(format!("{shown}:{}:{}: {sentence}", at.line(), at.column()))
            .hint(format!("correct line {} of the config file; `actctl config show` tells what is in force", at.line()))
    };
    let file: Option<File> = serde_yaml::from_str(&text).map_err(|e| located(&e))?;
    let tree: Value = serde_yaml::from_str(&text).map_err(|e| located(&e))?;
    let mut warnings = Vec::new();
    look_for_strangers(&tree, "", TOP, &text, &mut warnings);
    if let Some(actd) = tree.get("actd") {
        look_for_strangers(actd, "actd.", ACTD, &text, &mut warnings);
        for dir in actd.get("dirs").and_then(Value::as_sequence).into_iter().flatten() {
            look_for_strangers(dir, "actd.dirs.", dirs::KEYS, &text, &mut warnings);
        }
    }
    Ok((file.unwrap_or_default(), warnings))
}

fn text(path: &Path) -> io::Result<Option<String>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(Some(text))
}

fn look_for_strangers(tree: &Value, prefix: &str, known: &[&str], text: &str, warnings: &mut Vec<String>) {
    let Some(map) = tree.as_mapping() else { return };
    for key in map.keys() {
        let Some(key) = key.as_str() else {
            warnings.push(format!("a key of `{}` is no word and is ignored", prefix.trim_end_matches('.')));
            continue;
        };
        if known.contains(&key) {
            continue;
        }
        let line = line_of(text, key).map(|n| format!("line {n}: ")).unwrap_or_default();
        warnings.push(if prefix.is_empty() && ACTD.contains(&key) {
            format!("{line}unknown key `{key}` is ignored; did you mean `actd.{key}` (below `actd:`)?")
        } else {
            let near = nearest(key, known).map(|k| format!("; did you mean `{prefix}{k}`?")).unwrap_or_default();
            format!("{line}unknown key `{prefix}{key}` is ignored{near}")
        });
    }
}

/// The tree has no places, so the line is looked up in the text: the first that begins with this key.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let is_it = |line: &str| {
        let line = line.trim_start().trim_start_matches(['"', '\'', '{']).trim_start();
        line.strip_prefix(key).is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':'))
    };
    text.lines().position(is_it).map(|n| n + 1)
}

/// The word that was probably meant.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let (best, score) =
        known.iter().map(|k| (*k, strsim::damerau_levenshtein(word, k))).min_by_key(|(_, distance)| *distance)?;
    (score <= 1 + word.chars().count() / 4).then_some(best)
}
