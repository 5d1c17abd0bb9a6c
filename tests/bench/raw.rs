//! A bare HTTP client that makes the requests which a piece of work needs, and nothing else: no records, no checks, no
//! promises. It is the physical limit. As many requests at a time as the daemon makes by default, from the first.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Requests at a time.
const AT_ONCE: usize = 32;
/// Jobs in one request that is about many.
const BATCH: usize = 100;

/// The client. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Raw {
    client: Client,
    server: String,
    token: String,
}

impl Raw {
    pub(crate) fn new(server: &str, token: &str) -> Self {
        // The server closes each connection after its answer.
        let client = Client::builder().pool_max_idle_per_host(0).no_proxy().build().expect("a client");
        Self { client, server: server.trim_end_matches('/').to_owned(), token: token.to_owned() }
    }

    async fn send(&self, method: Method, path: &str, body: Option<(Vec<u8>, &str)>) -> Response {
        let mut request =
            self.client.request(method.clone(), format!("{}{path}", self.server)).bearer_auth(&self.token);
        if let Some((bytes, kind)) = body {
            request = request.header("content-type", kind).body(bytes);
        }
        let answer = request.send().await.unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        assert!(answer.status().is_success(), "{method} {path}: {}", answer.status());
        answer
    }

    async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let body = body.map(|b| (b.to_string().into_bytes(), "application/json"));
        let bytes = self.send(method, path, body).await.bytes().await.expect("a body");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    /// The list that `stat` shows.
    pub(crate) async fn stat(&self) {
        self.json(Method::GET, "/jobs?client=id%2Cjobname&arc=JobID%2CState%2Carcstate", None).await;
    }

    /// Submits descriptions, each with one input file.
    pub(crate) async fn submit(&self, cluster: &str, jobs: &[(String, PathBuf)]) {
        for batch in jobs.chunks(BATCH) {
            let wanted: Vec<Value> = batch.iter().map(|_| json!({"clusterlist": [cluster]})).collect();
            let made = self.json(Method::POST, "/jobs", Some(&json!(wanted))).await;
            let ids: Vec<u64> = made.as_array().expect("rows").iter().filter_map(|row| row["id"].as_u64()).collect();
            let uploads = ids.iter().zip(batch).map(|(id, (_, input))| {
                let (raw, input, path) = (self.clone(), input.clone(), format!("/jobs/{id}/data/in.txt"));
                async move {
                    let bytes = tokio::fs::read(&input).await.expect("an input");
                    raw.send(Method::PUT, &path, Some((bytes, "application/octet-stream"))).await;
                }
            });
            at_once(uploads).await;
            let descriptions: Vec<Value> =
                ids.iter().zip(batch).map(|(id, (text, _))| json!({"id": id, "desc": text})).collect();
            self.json(Method::PUT, "/jobs", Some(&json!(descriptions))).await;
        }
    }

    /// Downloads the results of all done jobs whose name contains `name` into `dir`, then drops the jobs.
    pub(crate) async fn get(&self, name: &str, dir: &Path) {
        let path = format!("/jobs?name={name}&state=done&client=id%2Cjobname&arc=JobID%2CState%2Carcstate");
        let rows = self.json(Method::GET, &path, None).await;
        let ids: Vec<u64> = rows.as_array().expect("rows").iter().filter_map(|row| row["c_id"].as_u64()).collect();
        let gate = Arc::new(Semaphore::new(AT_ONCE));
        let jobs = ids.iter().map(|id| {
            let (raw, dir, gate, id) = (self.clone(), dir.join(id.to_string()), gate.clone(), *id);
            async move { raw.get_one(id, dir, &gate).await }
        });
        join_all(jobs).await;
        for batch in ids.chunks(BATCH) {
            let list: Vec<String> = batch.iter().map(ToString::to_string).collect();
            self.json(Method::DELETE, &format!("/jobs?id={}", list.join("%2C")), None).await;
        }
    }

    async fn get_one(&self, id: u64, dir: PathBuf, gate: &Arc<Semaphore>) {
        let mut dirs = vec![String::new()];
        while let Some(below) = dirs.pop() {
            let listing = {
                let _place = gate.acquire().await.expect("open");
                self.json(Method::GET, &format!("/jobs/{id}/results/{below}"), None).await
            };
            tokio::fs::create_dir_all(dir.join(&below)).await.expect("a directory");
            let names = |kind: &str| -> Vec<String> {
                let list = listing[kind].as_array().into_iter().flatten();
                list.filter_map(|n| n.as_str().map(str::to_owned)).collect()
            };
            let files = names("file").into_iter().map(|name| {
                let (raw, gate, to) = (self.clone(), gate.clone(), dir.join(&below).join(&name));
                let path = format!("/jobs/{id}/results/{below}{name}");
                async move {
                    let _place = gate.acquire().await.expect("open");
                    let mut answer = raw.send(Method::GET, &path, None).await;
                    let mut file = tokio::fs::File::create(&to).await.expect("a file");
                    while let Some(piece) = answer.chunk().await.expect("a body") {
                        file.write_all(&piece).await.expect("room");
                    }
                    file.flush().await.expect("room");
                }
            });
            join_all(files).await;
            dirs.extend(names("dir").into_iter().map(|name| format!("{below}{}/", name.trim_end_matches('/'))));
        }
    }
}

async fn at_once(work: impl Iterator<Item = impl Future<Output = ()> + Send + 'static>) {
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    join_all(work.map(|one| {
        let gate = gate.clone();
        async move {
            let _place = gate.acquire().await.expect("open");
            one.await;
        }
    }))
    .await;
}

async fn join_all(work: impl Iterator<Item = impl Future<Output = ()> + Send + 'static>) {
    let mut tasks = JoinSet::new();
    for one in work {
        tasks.spawn(one);
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a request");
    }
}
