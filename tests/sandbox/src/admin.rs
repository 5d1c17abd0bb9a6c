//! The tests' own door: plain JSON over HTTP on a loopback port of its own, never journaled and never broken by a
//! fault. It must not be needed for anything that a real server does.
//!
//! | request | meaning |
//! |---|---|
//! | `GET /` | addresses and paths, as `serve --json` prints them |
//! | `GET /journal?since=N&method=M&path=GLOB` | requests to the REST API, oldest first |
//! | `DELETE /journal` | forget them |
//! | `GET /violations` | what a well-behaved client would not have done |
//! | `GET /faults`, `POST /faults`, `DELETE /faults[/ID]` | list, add, remove faults |
//! | `GET /jobs[/ID]` | rows as the server holds them |
//! | `POST /jobs/ID/state` | set a job's state by force |
//! | `POST /synthetic` | add many jobs that never ran |
//! | `GET /runs` | how often each job was really executed |
//! | `GET /stats` | connections and requests |
//! | `POST /broken` | `true`: every API request answers 500, `false`: heal |
//! | `GET`, `DELETE /ce/journal`, `/webdav/journal` | the same for the CE and the WebDAV store |
//! | `GET /webdav/contents` | what lies in the store |
//! | `POST`, `DELETE /ce/faults`, `/webdav/faults` | their faults (another list, see [`crate::front::Fault`]) |
//! | `POST /shutdown` | stop the sandbox |

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, atomic::Ordering},
};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, Query, State},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    ce::Ce,
    fault::{Fault, glob},
    front::{self, Front},
    run,
    sandbox::Info,
    shared::{Shared, now},
    state::{Job, State as Rows, new_ce_id},
    synthetic::{self, Synthetic},
    webdav::WebDav,
};

#[derive(Clone)]
struct Admin {
    shared: Arc<Shared>,
    info: Arc<Info>,
    webdav: Arc<WebDav>,
}

/// The admin API as a router.
pub(crate) fn router(shared: Arc<Shared>, info: Arc<Info>, ce: &Ce, webdav: Arc<WebDav>) -> Router {
    Router::new()
        .route("/", get(|State(admin): State<Admin>| async move { Json((*admin.info).clone()) }))
        .route("/journal", get(journal).delete(forget))
        .route("/violations", get(|State(admin): State<Admin>| async move { Json(admin.shared.journal.violations()) }))
        .route("/faults", get(faults).post(add_fault).delete(remove_faults))
        .route("/faults/{id}", delete(remove_fault))
        .route("/jobs", get(jobs))
        .route("/jobs/{id}", get(job))
        .route("/jobs/{id}/state", post(force))
        .route("/synthetic", post(add_synthetic))
        .route("/runs", get(runs))
        .route("/stats", get(stats))
        .route("/broken", post(set_broken))
        .route("/shutdown", post(shutdown))
        .route("/webdav/contents", get(contents))
        .nest("/ce", front_router(ce.front()))
        .nest("/webdav", front_router(webdav.front()))
        // A fault may hold a large answer.
        .layer(DefaultBodyLimit::max(128 << 20))
        .with_state(Admin { shared, info, webdav })
}

fn front_router(front: &Front) -> Router<Admin> {
    let (list, forget, add, heal) = (front.clone(), front.clone(), front.clone(), front.clone());
    let journal = get(|| async move { Json(list.journal()) }).delete(|| async move {
        forget.clear_journal();
        StatusCode::NO_CONTENT
    });
    let faults = post(|Json(fault): Json<front::Fault>| async move {
        add.add_fault(fault);
        StatusCode::NO_CONTENT
    });
    let faults = faults.delete(|| async move {
        heal.clear_faults();
        StatusCode::NO_CONTENT
    });
    Router::new().route("/journal", journal).route("/faults", faults)
}

async fn contents(State(admin): State<Admin>) -> Response {
    match admin.webdav.contents() {
        Ok(names) => Json(names).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[derive(Deserialize)]
struct Filter {
    since: Option<u64>,
    method: Option<String>,
    path: Option<String>,
}

async fn journal(State(admin): State<Admin>, Query(filter): Query<Filter>) -> Response {
    let entries = admin.shared.journal.entries(filter.since.unwrap_or(0), |entry| {
        filter.method.as_ref().is_none_or(|method| *method == entry.method)
            && filter.path.as_ref().is_none_or(|pattern| glob(pattern, &entry.path))
    });
    Json(entries).into_response()
}

async fn forget(State(admin): State<Admin>) -> StatusCode {
    admin.shared.journal.clear();
    StatusCode::NO_CONTENT
}

async fn faults(State(admin): State<Admin>) -> Json<Vec<Fault>> {
    Json(admin.shared.faults.list())
}

async fn add_fault(State(admin): State<Admin>, Json(fault): Json<Fault>) -> Json<Value> {
    Json(json!({ "id": admin.shared.faults.add(fault) }))
}

async fn remove_faults(State(admin): State<Admin>) -> StatusCode {
    admin.shared.faults.remove(None);
    StatusCode::NO_CONTENT
}

async fn remove_fault(State(admin): State<Admin>, Path(id): Path<u64>) -> StatusCode {
    admin.shared.faults.remove(Some(id));
    StatusCode::NO_CONTENT
}

/// A row for tests.
#[derive(Serialize)]
struct Row {
    id: i64,
    proxyid: i64,
    name: Option<String>,
    clusterlist: String,
    arcstate: Option<String>,
    state: Option<String>,
    job_id: Option<String>,
    error: Option<String>,
    exit_code: Option<i64>,
    runs: u32,
    results: Option<std::path::PathBuf>,
    session: Option<std::path::PathBuf>,
}

fn row(shared: &Shared, state: &Rows, job: &Job) -> Row {
    let arc = job.arc.as_ref();
    Row {
        id: job.id,
        proxyid: job.proxyid,
        name: job.name.clone(),
        clusterlist: job.clusterlist.clone(),
        arcstate: job.arcstate().map(str::to_owned),
        state: arc.and_then(|arc| arc.state.clone()),
        job_id: arc.and_then(|arc| arc.job_id.clone()),
        error: arc.and_then(|arc| arc.error.clone()),
        exit_code: arc.and_then(|arc| arc.exit_code),
        runs: state.runs_by_job.get(&job.id).copied().unwrap_or(0),
        results: job.results.clone(),
        session: arc.and_then(|arc| arc.id_from_endpoint.as_ref()).map(|id| shared.dirs.session(id)),
    }
}

async fn jobs(State(admin): State<Admin>) -> Response {
    let rows: Vec<_> =
        admin.shared.read(|state| state.jobs.values().map(|job| row(&admin.shared, state, job)).collect());
    Json(rows).into_response()
}

async fn job(State(admin): State<Admin>, Path(id): Path<i64>) -> Response {
    match admin.shared.read(|state| state.jobs.get(&id).map(|job| row(&admin.shared, state, job))) {
        Some(row) => Json(row).into_response(),
        None => no_such_job(id),
    }
}

fn no_such_job(id: i64) -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "msg": format!("no job {id}") }))).into_response()
}

/// A state set by hand.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Force {
    arcstate: String,
    state: Option<String>,
    error: Option<String>,
    exit_code: Option<i64>,
    /// Let the state machine go on from there.
    #[serde(default)]
    drive: bool,
    /// Results to put in place: name -> text.
    results: Option<BTreeMap<String, String>>,
}

async fn force(State(admin): State<Admin>, Path(id): Path<i64>, Json(force): Json<Force>) -> Response {
    let shared = &admin.shared;
    let drive = force.drive;
    let results = force.results.clone();
    let placed = shared.change(|state: &mut Rows| {
        let now = now();
        if state.jobs.get(&id)?.arc.is_none() {
            state.hand_over(id, now);
        }
        let job = state.jobs.get_mut(&id)?;
        job.generation += 1;
        job.pinned = !drive;
        job.enter(&force.arcstate, now);
        if let Some(state) = &force.state {
            job.report(state, now);
        }
        let description = job.submitted.clone().unwrap_or_default();
        if let Some(arc) = &mut job.arc {
            // A state at the CE means that the job is there.
            if force.state.is_some() && arc.job_id.is_none() {
                let cluster = job.clusterlist.split(',').next().unwrap_or_default();
                arc.accepted(&shared.ce_url, &new_ce_id(), cluster, now);
                arc.check(&description);
                arc.local_id = Some(id.to_string());
            }
            if force.state.as_deref() == Some("Finished") {
                arc.end_time = Some(now);
            }
            arc.error = force.error.clone().or(arc.error.take());
            arc.exit_code = force.exit_code.or(arc.exit_code);
        }
        let dir = results.as_ref().map(|_| {
            let ce_id = job.arc.as_ref().and_then(|arc| arc.id_from_endpoint.clone());
            shared.dirs.results(&ce_id.unwrap_or_else(|| format!("forced-{id}")))
        });
        job.results = dir.clone().or(job.results.take());
        // Woken only now, so that the old driver sees the new generation.
        job.wake.notify_one();
        Some(dir)
    });
    let Some(dir) = placed else { return no_such_job(id) };
    if let (Some(dir), Some(files)) = (dir, results)
        && let Err(error) = synthetic::write_files(&dir, &files, id)
    {
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "msg": error.to_string() }))).into_response();
    }
    if drive {
        run::start(shared, id);
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn add_synthetic(State(admin): State<Admin>, Json(wish): Json<Synthetic>) -> Response {
    let shared = admin.shared.clone();
    let made = tokio::task::spawn_blocking(move || synthetic::add(&shared, &wish)).await.map_err(io::Error::other);
    match made.and_then(|made| made) {
        Ok(ids) => Json(json!({ "ids": ids })).into_response(),
        Err(error) => (StatusCode::CONFLICT, Json(json!({ "msg": error.to_string() }))).into_response(),
    }
}

async fn runs(State(admin): State<Admin>) -> Json<Value> {
    Json(admin.shared.read(|state| json!({ "jobs": state.runs_by_job, "descriptions": state.runs_by_description })))
}

async fn stats(State(admin): State<Admin>) -> Json<Value> {
    let shared = &admin.shared;
    let (rows, running) = shared
        .read(|state| (state.jobs.len(), state.jobs.values().filter(|job| job.arcstate() == Some("running")).count()));
    Json(json!({
        "connections_open": shared.open_connections.load(Ordering::Relaxed),
        "connections": shared.last_connection.load(Ordering::Relaxed),
        "jobs": rows,
        "running": running,
    }))
}

async fn set_broken(State(admin): State<Admin>, Json(broken): Json<bool>) -> StatusCode {
    admin.shared.change(|state| state.broken = broken);
    StatusCode::NO_CONTENT
}

async fn shutdown(State(admin): State<Admin>) -> StatusCode {
    admin.shared.stop.cancel();
    StatusCode::ACCEPTED
}
