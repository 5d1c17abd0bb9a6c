//! Candidates for the shell while a word is being typed: jobs, batches, clusters and directories, as the running daemon
//! knows them. It starts no daemon, says nothing, and gives up after a moment: a prompt must not wait.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use act_proto::instance::Selection;
use act_proto::jobs::{Filter, Job, ListParams};
use act_proto::method::{DaemonConfig, DirsList, JobsList};
use act_proto::{Client, Instance, Method};
use clap_complete::engine::CompletionCandidate as Candidate;

use crate::connect::{is_held, is_stopped};

/// How long the daemon may take.
const BOUND: Duration = Duration::from_millis(80);
/// Most jobs that are offered: the newest.
const JOBS: usize = 300;
/// Most jobs among which they are chosen: ten thousand would take longer than a prompt may.
const LOOKED_AT: usize = 1_000;
/// States that `-s` takes.
const STATES: [&str; 13] = [
    "tosubmit",
    "submitting",
    "submitted",
    "running",
    "finishing",
    "finished",
    "done",
    "donefailed",
    "failed",
    "tocancel",
    "cancelling",
    "cancelled",
    "lost",
];

/// The flags of the command line that is being typed: they choose the daemon.
static TYPED: OnceLock<Selection> = OnceLock::new();

/// Notes which instance the words of a command line mean, before anything is asked. `words`: all that the shell hands over.
pub fn typed(words: &[OsString]) {
    // Set once: a process completes one word.
    let _ = TYPED.set(selection(words));
}

/// What `--conf`, `--server` and `--port` say among these words.
fn selection(words: &[OsString]) -> Selection {
    let value = |flag: &str| {
        let mut words = words.iter();
        let mut found = None;
        while let Some(word) = words.next() {
            match word.to_str().and_then(|w| w.strip_prefix(flag)) {
                Some("") => found = words.next().cloned(),
                Some(rest) if rest.starts_with('=') => found = Some(OsString::from(&rest[1..])),
                _ => {}
            }
        }
        found
    };
    Selection {
        conf: value("--conf").map(PathBuf::from),
        server: value("--server").and_then(|v| v.into_string().ok()),
        port: value("--port").and_then(|v| v.to_str()?.parse().ok()),
    }
}

/// A connection to the daemon, if it runs. Without looking first, a service manager would start it.
async fn connect() -> Option<Client> {
    let instance = Instance::resolve(TYPED.get().unwrap_or(&Selection::default())).ok()?;
    let paths = instance.paths();
    if !is_held(&paths.state) || is_stopped(&paths.state) {
        return None;
    }
    Client::connect(&paths.socket, "actctl completion").await.ok()
}

/// Asks the daemon, if it runs.
fn ask<M: Method>(params: &M::Params) -> Option<M::Reply> {
    within(async { connect().await?.call::<M>(params).await.ok() })
}

fn within<T>(asking: impl Future<Output = Option<T>>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async { tokio::time::timeout(BOUND, asking).await.ok()? })
}

/// The newest jobs that may be meant by what has been typed: those submitted here; if these are few, others, too.
fn newest(typed: &OsStr) -> Vec<Job> {
    let mut jobs = Vec::new();
    let typed = typed.to_str().unwrap_or_default();
    let _ = within(async {
        let client = connect().await?;
        let list = async |filter| {
            let params = ListParams { filter, limit: Some(LOOKED_AT), ..ListParams::default() };
            client.call::<JobsList>(&params).await.ok().map(|list| list.items)
        };
        jobs = list(Filter { select: vec![format!("last:{JOBS}")], ..Filter::default() }).await?;
        if jobs.len() < JOBS {
            // A name is looked for there; what else may have been begun, here.
            let name = typed.starts_with(char::is_alphabetic).then(|| typed.to_owned());
            let mut others = list(Filter { name, ..Filter::default() }).await?;
            others.retain(|job| {
                let id = job.id.map_or_else(|| job.key.clone(), |id| id.to_string());
                let batch = typed.strip_prefix('@').zip(job.batch.as_deref()).is_some_and(|(t, b)| b.starts_with(t));
                batch || id.starts_with(typed) || job.name.as_deref().is_some_and(|name| name.starts_with(typed))
            });
            others.drain(..others.len().saturating_sub(JOBS));
            // Ours are the last, as the newest are. Each word is offered once.
            others.append(&mut jobs);
            jobs = others;
        }
        Some(())
    });
    jobs
}

/// Those that begin with what has been typed, each once.
fn fitting(current: &OsStr, all: impl IntoIterator<Item = (String, String)>) -> Vec<Candidate> {
    let Some(typed) = current.to_str() else { return Vec::new() };
    let mut seen = std::collections::BTreeSet::new();
    all.into_iter()
        .filter(|(word, _)| word.starts_with(typed) && seen.insert(word.clone()))
        .map(|(word, help)| Candidate::new(word).help((!help.is_empty()).then(|| help.into())))
        .collect()
}

/// Selectors of jobs: ids (keys of those that have none yet), names, batches.
#[must_use]
pub fn jobs(current: &OsStr) -> Vec<Candidate> {
    let mut jobs = newest(current);
    jobs.reverse();
    let ids = jobs.iter().map(|job| {
        let id = job.id.map_or_else(|| job.key.clone(), |id| id.to_string());
        let name = job.name.clone().unwrap_or_default();
        (id, format!("{name} {}", job.arcstate.as_deref().unwrap_or("new")).trim().to_owned())
    });
    let names = jobs.iter().filter_map(|job| Some((job.name.clone()?, String::new())));
    let batches = jobs.iter().filter_map(|job| Some((format!("@{}", job.batch.as_deref()?), "a batch".to_owned())));
    let fixed = ["last"].map(|word| (word.to_owned(), "the newest".to_owned()));
    fitting(current, ids.chain(batches).chain(names).chain(fixed).collect::<Vec<_>>())
}

/// Ids of jobs.
#[must_use]
pub fn ids(current: &OsStr) -> Vec<Candidate> {
    let all = jobs(current);
    all.into_iter().filter(|c| c.get_value().to_str().is_some_and(|v| v.bytes().all(|b| b.is_ascii_digit()))).collect()
}

/// Groups of clusters in the config.
#[must_use]
pub fn clusters(current: &OsStr) -> Vec<Candidate> {
    let settings = ask::<DaemonConfig>(&Default::default()).map(|c| c.settings).unwrap_or_default();
    let groups = settings.into_iter().find(|s| s.key == "clusters").and_then(|s| s.value.as_object().cloned());
    let show = |urls: &serde_json::Value| match urls.as_array().map(Vec::as_slice) {
        Some([one]) => one.as_str().unwrap_or_default().to_owned(),
        Some(many) => format!("{} clusters", many.len()),
        None => String::new(),
    };
    fitting(
        current,
        groups.unwrap_or_default().iter().map(|(name, urls)| (name.clone(), show(urls))).collect::<Vec<_>>(),
    )
}

/// Batches of jobs.
#[must_use]
pub fn batches(current: &OsStr) -> Vec<Candidate> {
    let jobs = newest(OsStr::new("@"));
    fitting(current, jobs.into_iter().rev().filter_map(|job| Some((job.batch?, String::new()))))
}

/// Watched directories.
#[must_use]
pub fn dirs(current: &OsStr) -> Vec<Candidate> {
    let dirs = ask::<DirsList>(&Default::default()).map(|d| d.items).unwrap_or_default();
    fitting(current, dirs.into_iter().map(|dir| (dir.path, dir.state)))
}

/// The server's states.
#[must_use]
pub fn states(current: &OsStr) -> Vec<Candidate> {
    fitting(current, STATES.map(|state| (state.to_owned(), String::new())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_that_were_typed_choose_the_daemon() {
        let typed = |line: &str| selection(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        let chosen = typed("actctl -- actctl --conf /c.yaml kill --server=http://h:1 --port 2 ");
        assert_eq!(chosen.conf, Some(PathBuf::from("/c.yaml")));
        assert_eq!((chosen.server.as_deref(), chosen.port), (Some("http://h:1"), Some(2)));
        let none = typed("actctl -- actctl kill --confirm --conf");
        assert_eq!((none.conf, none.server, none.port), (None, None, None));
    }

    #[test]
    fn only_what_begins_so_and_each_once() {
        let all = ["12", "123", "4", "12"].map(|w| (w.to_owned(), String::new()));
        let words: Vec<_> = fitting(OsStr::new("12"), all).iter().map(|c| c.get_value().to_owned()).collect();
        assert_eq!(words, ["12", "123"]);
    }
}
