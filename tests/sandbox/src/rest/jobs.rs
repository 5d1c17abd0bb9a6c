//! `/info` and `/jobs`: create, confirm, list, act on and clean jobs, with the bodies and the per-element errors of
//! the real server.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};
use url::Url;

use super::reply;
use crate::{
    desc, run,
    shared::{Shared, now},
    state::{
        columns,
        select::{SelectError, Selection},
    },
};

/// The query's parameters; of a repeated one the first counts.
pub(super) struct Query(HashMap<String, String>);

impl Query {
    pub(super) fn of(query: &str) -> Self {
        let mut values = HashMap::new();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            values.entry(key.into_owned()).or_insert_with(|| value.into_owned());
        }
        Self(values)
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    #[expect(clippy::result_large_err, reason = "the error is the answer")]
    fn select(&self, shared: &Shared) -> Result<Selection, Response> {
        Selection::parse(self.get("id"), self.get("name"), self.get("state")).map_err(|error| match error {
            SelectError::Invalid(msg) => reply::message(StatusCode::BAD_REQUEST, msg),
            SelectError::TooMany => {
                shared.change(|state| state.broken = true);
                reply::server_error()
            }
        })
    }
}

/// GET /info.
pub(super) fn info(shared: &Shared) -> Response {
    let clusters: Vec<_> = shared.clusters.iter().map(|cluster| cluster.url.as_str()).collect();
    let answer = json!({ "arc": &columns::ARC[..], "client": columns::CLIENT, "clusters": clusters });
    reply::json(StatusCode::OK, &answer)
}

/// GET /jobs.
pub(super) fn list(shared: &Shared, proxyid: i64, query: &Query) -> Response {
    // (key in the answer, is it an ARC column, column)
    let mut wanted: Vec<(String, bool, &str)> = Vec::new();
    for (parameter, known, prefix) in [("client", &columns::CLIENT[..], "c_"), ("arc", &columns::ARC[..], "a_")] {
        let Some(list) = query.get(parameter).filter(|list| !list.is_empty()) else { continue };
        for column in list.split(',') {
            if !known.contains(&column) {
                return reply::message(StatusCode::BAD_REQUEST, format!("Invalid column \"{column}\""));
            }
            wanted.push((format!("{prefix}{column}"), prefix == "a_", column));
        }
    }
    wanted.sort();
    wanted.dedup();
    let selection = match query.select(shared) {
        Ok(selection) => selection,
        Err(answer) => return answer,
    };
    if wanted.is_empty() {
        return reply::json(StatusCode::OK, &json!([]));
    }
    // Built as text: ten thousand rows are an everyday answer.
    let mut text = String::from("[");
    shared.read(|state| {
        let proxy = state.proxies.get(&proxyid);
        for job in selection.jobs(state, proxyid).filter(|job| selection.in_state(job)) {
            text.push_str(if text.len() > 1 { ",{" } else { "{" });
            for (index, (key, is_arc, column)) in wanted.iter().enumerate() {
                let value = if *is_arc { columns::arc(job, proxy, column) } else { columns::client(job, column) };
                text.push_str(if index > 0 { ",\"" } else { "\"" });
                text.push_str(key);
                text.push_str("\":");
                value.write(&mut text);
            }
            text.push('}');
        }
    });
    text.push_str("]\n");
    reply::body(StatusCode::OK, "application/json", text)
}

/// POST /jobs: one half-submitted row per element.
pub(super) fn create(shared: &Shared, proxyid: i64, body: &Value) -> Response {
    let elements: Vec<Value> = match body {
        Value::Null => Vec::new(),
        Value::Array(list) => list.clone(),
        // The server iterates whatever it got: the characters of a string, the keys of an object.
        Value::String(text) => text.chars().map(|letter| Value::String(letter.into())).collect(),
        Value::Object(map) if map.is_empty() => Vec::new(),
        Value::Object(map) => {
            let broken: Vec<_> = map.keys().map(|_| json!({ "msg": "Server error" })).collect();
            return reply::json(StatusCode::OK, &broken);
        }
        _ => return reply::html(StatusCode::INTERNAL_SERVER_ERROR),
    };
    let answers: Vec<Value> = elements
        .iter()
        .map(|element| match clusterlist(shared, element) {
            Ok(clusters) => json!({ "id": shared.change(|state| state.create(proxyid, clusters, now())) }),
            Err(msg) => json!({ "msg": msg }),
        })
        .collect();
    reply::json(StatusCode::OK, &answers)
}

/// The normalised, comma-separated clusters of an element, or the message for it.
fn clusterlist(shared: &Shared, element: &Value) -> Result<String, String> {
    let given: Vec<String> = match element.get("clusterlist") {
        Some(Value::Array(list)) => {
            list.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect()
        }
        Some(Value::String(text)) => text.chars().map(String::from).collect(),
        _ => Vec::new(),
    };
    if given.is_empty() {
        return Err("No clusters given".to_owned());
    }
    let known: Vec<_> = shared.clusters.iter().filter_map(|cluster| normal(&cluster.url).ok()).collect();
    let mut clusters = Vec::new();
    for cluster in given {
        let Ok(normalised) = normal(&cluster) else { return Err("Server error".to_owned()) };
        if !known.contains(&normalised) {
            return Err(format!("Unknown cluster {cluster}"));
        }
        clusters.push(normalised);
    }
    Ok(clusters.join(","))
}

/// `https://host:port/path` with the default port filled in and the host in lower case. An error for a port that is
/// no number.
fn normal(cluster: &str) -> Result<String, ()> {
    let full = if cluster.starts_with("//") { format!("https:{cluster}") } else { cluster.to_owned() };
    match Url::parse(&full) {
        Ok(url) if url.scheme() == "https" => {
            let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(443));
            Ok(format!("https://{host}:{port}{}", url.path()))
        }
        Err(url::ParseError::InvalidPort) => Err(()),
        _ => Ok(full),
    }
}

/// PUT /jobs: confirms rows with their descriptions.
pub(super) fn confirm(shared: &Arc<Shared>, proxyid: i64, body: &Value) -> Response {
    let Value::Array(elements) = body else {
        return reply::message(StatusCode::BAD_REQUEST, "Input JSON is not a list: {submissions}");
    };
    let answers: Vec<Value> = elements
        .iter()
        .map(|element| match element {
            Value::Object(fields) => {
                let mut answer = fields.clone();
                match confirm_one(shared, proxyid, fields, &mut answer) {
                    Ok(()) => {
                        answer.remove("desc");
                    }
                    Err(msg) => {
                        answer.insert("msg".to_owned(), Value::String(msg));
                    }
                }
                Value::Object(answer)
            }
            other => json!({ "msg": format!("Job element is not an object: {}", python(other)) }),
        })
        .collect();
    reply::json(StatusCode::OK, &answers)
}

/// `str()` of a JSON value in Python.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn confirm_one(
    shared: &Arc<Shared>,
    proxyid: i64,
    fields: &Map<String, Value>,
    answer: &mut Map<String, Value>,
) -> Result<(), String> {
    let id = fields.get("id").ok_or("No job ID given")?;
    let own = id.as_i64().filter(|id| shared.read(|state| state.own(proxyid, *id).is_some()));
    let id = own.ok_or_else(|| format!("Job ID {} does not exist", python(id)))?;
    let text = fields.get("desc").ok_or("No job description given")?;
    let parsed = text.as_str().and_then(|text| desc::parse(text).ok()).ok_or("Invalid job description")?;
    let description = parsed.description.clone();
    answer.insert("name".to_owned(), Value::String(description.name.clone()));
    let data = shared.dirs.data(id);
    for input in description.inputs.iter().filter(|input| input.is_local()) {
        let uploaded = super::data::inside(&data, input.name.as_bytes()).is_some_and(|path| path.is_file());
        if !uploaded {
            let place = if input.source.is_empty() { &input.name } else { &input.source };
            // Joining an absolute path replaces the server's own directory, as in the real server's message.
            let shown = shared.dirs.act().join(place.trim_start_matches("file:"));
            return Err(format!("Input file {} missing", shown.display()));
        }
    }
    if description.name.chars().count() > 255 || !description.name.chars().all(in_database_charset) {
        return Err("Server error".to_owned());
    }
    let stored = parsed.stored_text(&data.to_string_lossy());
    let begin = shared.change(|state| {
        let job = state.jobs.get_mut(&id)?;
        let first = job.jobdesc.is_none();
        job.name = Some(description.name.clone());
        job.jobdesc = Some(stored);
        job.modified = now();
        job.description = Some(Arc::new(description));
        Some(first)
    });
    if begin == Some(true) {
        run::start(shared, id);
    }
    Ok(())
}

/// The database's "latin1" is Windows-1252.
fn in_database_charset(letter: char) -> bool {
    const HIGH: &str = "\u{20ac}\u{201a}\u{192}\u{201e}\u{2026}\u{2020}\u{2021}\u{2c6}\u{2030}\u{160}\u{2039}\u{152}\
                        \u{17d}\u{2018}\u{2019}\u{201c}\u{201d}\u{2022}\u{2013}\u{2014}\u{2dc}\u{2122}\u{161}\u{203a}\
                        \u{153}\u{17e}\u{178}";
    u32::from(letter) < 0x100 || HIGH.contains(letter)
}

/// PATCH /jobs?action=...
pub(super) fn act(shared: &Arc<Shared>, proxyid: i64, query: &Query) -> Response {
    let Some(action) = query.get("action") else {
        return reply::message(StatusCode::BAD_REQUEST, "Request has no action parameter");
    };
    if !["fetch", "cancel", "resubmit"].contains(&action) {
        return reply::message(StatusCode::BAD_REQUEST, format!("Invalid action \"{action}\""));
    }
    let selection = match query.select(shared) {
        Ok(selection) => selection,
        Err(answer) => return answer,
    };
    let ids = shared.read(|state| selection.ids(state, proxyid));
    if action == "cancel" {
        let (cancelled, data_gone) = shared.change(|state| state.cancel(&ids, selection.state(), now()));
        remove_dirs(data_gone.iter().map(|id| shared.dirs.data(*id)).collect());
        let answer: Vec<_> = cancelled
            .iter()
            .map(|one| json!({ "a_arcstate": one.arcstate, "a_id": one.a_id, "c_id": one.c_id }))
            .collect();
        return reply::json(StatusCode::OK, &answer);
    }
    let moved = shared.change(|state| match action {
        "fetch" => state.fetch(&ids, now()),
        _ => state.resubmit(&ids, now()),
    });
    moved.iter().for_each(|id| run::start(shared, *id));
    reply::json(StatusCode::OK, &moved)
}

/// DELETE /jobs.
pub(super) fn clean(shared: &Shared, proxyid: i64, query: &Query) -> Response {
    let selection = match query.select(shared) {
        Ok(selection) => selection,
        Err(answer) => return answer,
    };
    let ids = shared.read(|state| selection.ids(state, proxyid));
    let cleaned = shared.change(|state| state.clean(&ids, selection.state()));
    let mut dirs = Vec::new();
    for job in &cleaned {
        dirs.push(shared.dirs.data(job.id));
        dirs.extend(job.results.clone());
        dirs.extend(job.arc.as_ref().and_then(|arc| arc.id_from_endpoint.as_ref()).map(|id| shared.dirs.session(id)));
    }
    remove_dirs(dirs);
    let ids: Vec<_> = cleaned.iter().map(|job| job.id).collect();
    reply::json(StatusCode::OK, &ids)
}

/// Removes directories that no row leads to any more. In a thread of its own, which ends with the process: on some
/// file systems this takes milliseconds a file, and the answer should not wait for it.
fn remove_dirs(dirs: Vec<PathBuf>) {
    if dirs.is_empty() {
        return;
    }
    std::thread::spawn(move || {
        for dir in dirs {
            match std::fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(%error, dir = %dir.display(), "a job's directory was not removed");
                }
                _ => {}
            }
        }
    });
}
