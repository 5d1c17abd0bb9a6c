//! The daemon's jobs as the editor shows them: which description they came from, how they stand, in words and numbers.
//! No conversation: `link` keeps it up to date.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use act_proto::jobs::{Job, Phase};
use act_proto::proxy;
use serde::Serialize;
use serde_json::{Value, json};

use super::link::number;
use crate::standing::Standing;

/// What is kept of a job.
#[derive(Debug, Clone, Serialize)]
pub struct Brief {
    /// The daemon's key.
    pub key: String,
    /// The server's id.
    pub id: Option<u64>,
    /// Its name.
    pub name: Option<String>,
    /// How it stands.
    pub standing: Standing,
    /// Its batch.
    pub batch: Option<String>,
    /// The file that described it.
    pub description: Option<String>,
    /// Where its results are.
    pub results: Option<String>,
    /// What went wrong, or what it waits for.
    pub error: Option<String>,
    /// Finished with.
    pub closed: bool,
}

impl Brief {
    fn new(job: Job) -> Self {
        let standing = Standing::of(&job);
        let closed = job.phase == Phase::Closed;
        let error = job.error.or(job.waiting.map(|w| w.message));
        let Job { key, id, name, batch, description, results, .. } = job;
        Self { key, id, name, standing, batch, description, results, error, closed }
    }
}

/// What is known from the daemon that completion can offer.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Groups of clusters in the config.
    pub groups: BTreeMap<String, Vec<String>>,
    /// The server's clusters.
    pub server_clusters: Vec<String>,
    /// Runtime environments in descriptions of known jobs.
    pub environments: BTreeSet<String>,
}

impl Known {
    /// All clusters, each once.
    #[must_use]
    pub fn clusters(&self) -> BTreeSet<String> {
        self.groups.values().flatten().chain(&self.server_clusters).cloned().collect()
    }

    /// Queues, and the cluster that has each: the last part of a cluster's URL.
    #[must_use]
    pub fn queues(&self) -> BTreeMap<String, String> {
        let mut queues = BTreeMap::new();
        for cluster in self.clusters() {
            let path = cluster.split_once("://").map_or(cluster.as_str(), |(_, rest)| rest);
            if let Some((_, queue)) = path.trim_end_matches('/').rsplit_once('/')
                && !queue.is_empty()
            {
                queues.entry(queue.to_owned()).or_insert_with(|| cluster.clone());
            }
        }
        queues
    }
}

/// The jobs of one file that were submitted last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// Their keys.
    pub keys: Vec<String>,
    /// How many stand how.
    pub counts: BTreeMap<Standing, usize>,
}

impl Last {
    /// `3 running, 997 done, 2 failed`
    #[must_use]
    pub fn text(&self) -> String {
        words(&self.counts)
    }

    /// Some go on by themselves.
    #[must_use]
    pub fn is_going_on(&self) -> bool {
        self.counts.keys().any(|s| !s.is_ended())
    }
}

fn words(counts: &BTreeMap<Standing, usize>) -> String {
    let parts: Vec<String> = counts.iter().map(|(s, n)| format!("{n} {}", s.word())).collect();
    parts.join(", ")
}

/// All jobs that the daemon told of.
#[derive(Debug, Default)]
pub struct Jobs {
    /// A daemon is connected.
    pub connected: bool,
    /// For completion.
    pub known: Known,
    /// The credential.
    pub proxy: Option<proxy::Status>,
    /// By the number in their key.
    by_number: BTreeMap<u64, Brief>,
    by_file: HashMap<String, BTreeSet<u64>>,
}

/// The file of a description: a sweep's is told as `job.xrsl (row 3)`.
fn file(description: &str) -> &str {
    match description.strip_suffix(')').and_then(|d| d.rsplit_once(" (row ")) {
        Some((file, row)) if row.bytes().all(|b| b.is_ascii_digit()) => file,
        _ => description,
    }
}

impl Jobs {
    /// Forgets all jobs.
    pub fn clear(&mut self) {
        self.by_number.clear();
        self.by_file.clear();
    }

    /// Takes jobs as they are now.
    pub fn update(&mut self, jobs: Vec<Job>) {
        for job in jobs {
            let number = number(&job.key);
            let brief = Brief::new(job);
            if let Some(description) = &brief.description {
                self.by_file.entry(file(description).to_owned()).or_default().insert(number);
            }
            self.by_number.insert(number, brief);
        }
    }

    /// A job.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Brief> {
        self.by_number.get(&number(key))
    }

    /// The jobs of a file's last submission.
    #[must_use]
    pub fn last(&self, path: &str) -> Option<Last> {
        let numbers = self.by_file.get(path)?;
        let newest = self.by_number.get(numbers.last()?)?;
        let mut last = Last { keys: Vec::new(), counts: BTreeMap::new() };
        for job in numbers.iter().filter_map(|n| self.by_number.get(n)).filter(|j| j.batch == newest.batch) {
            last.keys.push(job.key.clone());
            *last.counts.entry(job.standing).or_default() += 1;
        }
        Some(last)
    }

    /// What the editor's own views show: `limit` newest jobs, the counts of all that are not finished with, the proxy.
    #[must_use]
    pub fn view(&self, limit: usize) -> Value {
        let mut counts: BTreeMap<&str, usize> = Standing::ALL.iter().map(|s| (s.word(), 0)).collect();
        for job in self.by_number.values().filter(|j| !j.closed) {
            *counts.entry(job.standing.word()).or_default() += 1;
        }
        let items: Vec<&Brief> = self.by_number.values().rev().take(limit).collect();
        let groups: Vec<&String> = self.known.groups.keys().collect();
        json!({
            "connected": self.connected,
            "counts": counts,
            "items": items,
            "groups": groups,
            "proxy": self.proxy.as_ref().map(|p| json!({
                "state": p.state, "message": p.message, "expires": p.proxy_expires, "hint": p.hint,
            })),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(key: &str, batch: &str, file: &str, phase: &str, arcstate: Option<&str>, state: Option<&str>) -> Job {
        serde_json::from_value(json!({
            "key": key, "batch": batch, "description": file, "phase": phase, "arcstate": arcstate, "state": state,
            "origin": "submitted", "submitted": "", "changed": "", "rev": 1,
        }))
        .expect("a job")
    }

    #[test]
    fn the_last_submission_of_a_file() {
        let mut jobs = Jobs::default();
        jobs.update(vec![
            job("j1", "a", "/w/a.xrsl", "active", Some("running"), Some("Running")),
            job("j2", "b", "/w/a.xrsl (row 1)", "active", Some("running"), Some("Running")),
            job("j3", "b", "/w/a.xrsl (row 2)", "stored", Some("done"), Some("Finished")),
            job("j4", "b", "/w/b.xrsl", "queued", None, None),
            job("j10", "b", "/w/a.xrsl (row 3)", "active", Some("failed"), Some("Failed")),
        ]);
        let last = jobs.last("/w/a.xrsl").expect("jobs");
        assert_eq!((last.text().as_str(), last.is_going_on()), ("1 running, 1 done, 1 failed", true));
        assert_eq!(last.keys, ["j2", "j3", "j10"]);
        jobs.update(vec![job("j2", "b", "/w/a.xrsl (row 1)", "closed", Some("done"), None)]);
        assert_eq!(jobs.last("/w/a.xrsl").expect("jobs").text(), "2 done, 1 failed");
        assert_eq!(jobs.last("/w/c.xrsl"), None);
        assert_eq!(jobs.view(1)["counts"]["done"], 1);
        assert_eq!(jobs.view(1)["items"][0]["key"], "j10");
    }

    #[test]
    fn queues_are_the_ends_of_clusters() {
        let mut known = Known::default();
        known
            .groups
            .insert("default".into(), vec!["https://ce.example.org/long".into(), "https://b.example.org".into()]);
        assert_eq!(known.queues().into_keys().collect::<Vec<_>>(), ["long"]);
    }
}
