//! Candidates for the shell while a word is being typed: jobs, batches, clusters and directories, as the running daemon
//! knows them. It starts no daemon, says nothing, and gives up after a moment: a prompt must not wait.

use std::ffi::OsStr;
use std::time::Duration;

use act_proto::instance::Selection;
use act_proto::jobs::{Filter, ListParams};
use act_proto::method::{DaemonConfig, DirsList, JobsList};
use act_proto::{Client, Instance, Method};
use clap_complete::engine::CompletionCandidate as Candidate;

/// How long the daemon may take.
const BOUND: Duration = Duration::from_millis(80);
/// The newest jobs are offered.
const JOBS: &str = "last:300";
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

/// Asks the daemon of the usual instance, if it runs.
fn ask<M: Method>(params: &M::Params) -> Option<M::Reply> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let asked = tokio::time::timeout(BOUND, async {
            let instance = Instance::resolve(&Selection::default()).ok()?;
            let client = Client::connect(&instance.paths().socket, "actctl completion").await.ok()?;
            client.call::<M>(params).await.ok()
        });
        asked.await.ok()?
    })
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
    let filter = Filter { select: vec![JOBS.to_owned()], ..Filter::default() };
    let mut jobs =
        ask::<JobsList>(&ListParams { filter, ..ListParams::default() }).map(|l| l.items).unwrap_or_default();
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
    let filter = Filter { select: vec![JOBS.to_owned()], ..Filter::default() };
    let jobs = ask::<JobsList>(&ListParams { filter, ..ListParams::default() }).map(|l| l.items).unwrap_or_default();
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
    fn only_what_begins_so_and_each_once() {
        let all = ["12", "123", "4", "12"].map(|w| (w.to_owned(), String::new()));
        let words: Vec<_> = fitting(OsStr::new("12"), all).iter().map(|c| c.get_value().to_owned()).collect();
        assert_eq!(words, ["12", "123"]);
    }
}
