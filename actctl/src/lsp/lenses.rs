//! Code lenses: what can be done with a description, and how the jobs of its last submission stand.

use std::path::Path;

use gen_lsp_types::{CodeLens, Command, Position, Range};
use serde_json::{Value, json};

use super::document::Document;
use super::jobs::Jobs;
use crate::standing::Standing;

/// Groups of clusters that get a lens of their own.
const MAX_GROUPS: usize = 6;

/// Submits a description: `{uri, group}`.
pub const SUBMIT: &str = "actd.submit";
/// Kills jobs: `{uri}` for a file's last submission, or `{keys}`.
pub const KILL: &str = "actd.kill";
/// Gets results into the description's directory: the same.
pub const FETCH: &str = "actd.fetch";
/// Opens a job's output: the same, or `{keys, file}` with another file than `stdout`.
pub const OUTPUT: &str = "actd.openStdout";
/// Says how jobs stand, and what went wrong: the same.
pub const JOBS: &str = "actd.showJobs";

/// All commands.
pub const COMMANDS: [&str; 5] = [SUBMIT, KILL, FETCH, OUTPUT, JOBS];

/// The name of a file as the daemon is told it.
#[must_use]
pub fn told(path: &Path) -> String {
    path.display().to_string()
}

/// The lenses of a document, at its first line.
#[must_use]
pub fn lenses(document: &Document, jobs: &Jobs) -> Vec<CodeLens> {
    let Some(path) = document.path.as_deref() else { return Vec::new() };
    if document.text.as_str().trim().is_empty() {
        return Vec::new();
    }
    let start = document.parsed.tree().map_or(0, |t| t.span().start as usize);
    let line = document.text.position(start).line;
    let start = Position { line, character: 0 };
    let range = Range { start, end: start };
    let uri = document.uri.as_str();
    let lens = |title: String, command: &str, argument: Value| CodeLens {
        range,
        command: Some(Command { title, tooltip: None, command: command.to_owned(), arguments: Some(vec![argument]) }),
        data: None,
    };
    let mut lenses = Vec::new();
    let many = match document.parsed.jobs().len() {
        0 | 1 => String::new(),
        n => format!("{n} jobs "),
    };
    let mut groups: Vec<&str> = jobs.known.groups.keys().map(String::as_str).collect();
    if groups.is_empty() {
        groups.push("default");
    }
    // `default` first: it is meant when nothing is said.
    groups.sort_by_key(|g| (*g != "default", *g));
    for group in groups.iter().take(MAX_GROUPS) {
        lenses.push(lens(format!("Submit {many}to {group}"), SUBMIT, json!({ "uri": uri, "group": group })));
    }
    let Some(last) = jobs.last(&told(path)) else { return lenses };
    lenses.push(lens(format!("Last: {}", last.text()), JOBS, json!({ "uri": uri })));
    if last.is_going_on() {
        lenses.push(lens("Kill".to_owned(), KILL, json!({ "uri": uri })));
    }
    if last.counts.contains_key(&Standing::Done) && last.keys.iter().filter_map(|k| jobs.get(k)).any(|j| !j.closed) {
        lenses.push(lens("Get results".to_owned(), FETCH, json!({ "uri": uri })));
    }
    if last.counts.keys().any(|s| !matches!(s, Standing::Submitting | Standing::Queued)) {
        lenses.push(lens("Open stdout".to_owned(), OUTPUT, json!({ "uri": uri })));
    }
    lenses
}
