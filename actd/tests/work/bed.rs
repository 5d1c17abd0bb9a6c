//! A sandbox process and hands that work on it. Nothing here asserts anything about the hands.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actd::auth::{Proxy, Trust, delegate};
use actd::job::apply::{Input, Row};
use actd::job::fault::Fault;
use actd::job::{InputFile, Key, ServerId, Spec};
use actd::remote::Timeouts;
use actd::remote::act::ActOptions;
use actd::remote::webdav::WebdavOptions;
use actd::work::{Done, Hands, HandsConfig, ProgressSink, Retrieve, Work};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Whose all jobs are.
pub(crate) const OWNER: i64 = 1;

/// Longest wait for anything.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) struct Bed {
    child: Child,
    info: Value,
    pub(crate) dir: TempDir,
    pub(crate) config: HandsConfig,
    pub(crate) hands: Hands,
}

impl Drop for Bed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bed {
    pub(crate) async fn start(args: &[&str]) -> Self {
        Self::with(args, |_| ()).await
    }

    /// A sandbox with these arguments, and hands with a delegated proxy and the configuration changed so.
    pub(crate) async fn with(args: &[&str], change: impl FnOnce(&mut HandsConfig)) -> Self {
        let dir = tempfile::Builder::new().prefix("work-").tempdir().expect("dir");
        let mut child = Command::new(crate::sandbox_program::path())
            .args(["serve", "--json", "--dir"])
            .arg(dir.path().join("sandbox"))
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("act-sandbox");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("ready line");
        let info: Value = serde_json::from_str(&line).expect("addresses");
        let mut config = configuration(&info, &dir.path().join("state"));
        change(&mut config);
        let hands = hands(&info, config.clone()).await;
        Self { child, info, dir, config, hands }
    }

    /// What others need to have hands on the same sandbox.
    pub(crate) fn addresses(&self) -> &Value {
        &self.info
    }

    pub(crate) fn info(&self, name: &str) -> String {
        self.info[name].as_str().expect(name).to_owned()
    }

    pub(crate) fn cluster(&self) -> String {
        self.info["clusters"][0].as_str().expect("cluster").to_owned()
    }

    /// Kills the server, as a machine that is away.
    pub(crate) fn end_server(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// A request to the sandbox's own door.
    pub(crate) fn admin(&self, method: &str, target: &str, body: &Value) -> Value {
        let address = self.info("admin");
        let host = address.strip_prefix("http://").expect("address");
        let mut stream = TcpStream::connect(host).expect("connect");
        stream.set_read_timeout(Some(LONG)).expect("timeout");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("send");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("answer");
        let answer = String::from_utf8(answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        assert!(head.starts_with("HTTP/1.1 2"), "{method} {target}: {answer}");
        let body =
            if head.to_ascii_lowercase().contains("transfer-encoding: chunked") { unchunk(body) } else { body.into() };
        serde_json::from_str(&body).unwrap_or(Value::Null)
    }

    pub(crate) fn fault(&self, fault: &Value) {
        self.admin("POST", "/faults", fault);
    }

    pub(crate) fn heal(&self) {
        self.admin("DELETE", "/faults", &Value::Null);
    }

    /// Requests to the REST server so far, as (method, path, headers, query).
    pub(crate) fn journal(&self) -> Vec<Value> {
        let journal = self.admin("GET", "/journal", &Value::Null);
        journal.as_array().expect("journal").clone()
    }

    /// Requests of this method whose path starts so.
    pub(crate) fn sent(&self, method: &str, path: &str) -> Vec<Value> {
        let is =
            |entry: &Value| entry["method"] == method && entry["path"].as_str().is_some_and(|p| p.starts_with(path));
        self.journal().into_iter().filter(is).collect()
    }

    /// Jobs that are done and have these result files.
    pub(crate) fn done_jobs(&self, count: u32, files: &Value) -> Vec<ServerId> {
        let made = self.admin("POST", "/synthetic", &json!({ "count": count, "files": files }));
        made["ids"].as_array().expect("ids").iter().map(|id| id.as_u64().expect("id")).collect()
    }

    pub(crate) async fn run(&self, work: Work) -> Done {
        self.hands.run(work, OWNER, ProgressSink::none(), CancellationToken::new()).await
    }

    /// The inputs of a piece of work, and the failure of the exchange.
    pub(crate) async fn jobs(&self, work: Work) -> (HashMap<Key, Input>, Option<Fault>) {
        let Done::Jobs { inputs, fault } = self.run(work).await else { panic!("a listing") };
        // Columns come besides what became of a job.
        let inputs: Vec<_> = inputs.into_iter().filter(|(_, input)| !matches!(input, Input::Columns(_))).collect();
        let count = inputs.len();
        let inputs: HashMap<Key, Input> = inputs.into_iter().collect();
        assert_eq!(inputs.len(), count, "each job appears once");
        (inputs, fault)
    }

    /// The only input.
    pub(crate) async fn one(&self, work: Work) -> (Input, Option<Fault>) {
        let (inputs, fault) = self.jobs(work).await;
        assert_eq!(inputs.len(), 1);
        (inputs.into_values().next().expect("an input"), fault)
    }

    pub(crate) async fn rows(&self) -> HashMap<ServerId, Row> {
        match self.run(Work::List).await {
            Done::Listed(Ok(listing)) => listing.rows,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn row(&self, id: ServerId) -> Option<Row> {
        self.rows().await.remove(&id)
    }

    pub(crate) async fn run_of(&self, id: ServerId) -> Box<str> {
        self.row(id).await.and_then(|row| row.run).expect("a run").into()
    }

    /// Waits until the job is in that state.
    pub(crate) async fn until(&self, id: ServerId, arcstate: &str) -> Row {
        let begin = Instant::now();
        loop {
            let row = self.row(id).await;
            match row {
                Some(row) if row.arcstate.word() == Some(arcstate) => return row,
                last if begin.elapsed() > LONG => panic!("waited for job {id} to be {arcstate}; it is {last:?}"),
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Creates a row for each of the specs.
    pub(crate) async fn create(&self, specs: &[(Key, Arc<Spec>)]) -> Vec<ServerId> {
        let (inputs, fault) = self.jobs(Work::Create(specs.to_vec())).await;
        assert_eq!(fault, None);
        let id = |key| match &inputs[key] {
            Input::Created(Ok(id)) => *id,
            other => panic!("{other:?}"),
        };
        specs.iter().map(|(key, _)| id(key)).collect()
    }

    pub(crate) fn spec(&self, text: &str, files: &[(&str, &[u8])]) -> Arc<Spec> {
        let base = self.dir.path().join("inputs");
        let inputs = files.iter().map(|(name, content)| {
            let path = base.join(name);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
            std::fs::write(&path, content).expect("write");
            InputFile::stat((*name).to_owned(), path).expect("stat")
        });
        Arc::new(Spec {
            text: text.to_owned(),
            clusters: vec![self.cluster()],
            inputs: inputs.collect(),
            webdav: None,
            results: self.dir.path().join("results"),
            source: None,
            base_dir: base,
            staged: Vec::new(),
        })
    }

    pub(crate) fn results(&self) -> PathBuf {
        self.dir.path().join("results")
    }

    /// A download of everything but the logs, as a daemon would ask for it.
    pub(crate) async fn retrieve(&self, key: Key, id: ServerId) -> Retrieve {
        Retrieve {
            key,
            id,
            run: self.run_of(id).await,
            job_name: Some("name".into()),
            parent: self.results(),
            name: format!("job{id}"),
            exclude: vec!["gmlog/".to_owned()],
        }
    }

    /// Downloads a job that must succeed.
    pub(crate) async fn retrieved(&self, job: Retrieve) -> PathBuf {
        match self.one(Work::Retrieve(job)).await {
            (Input::Retrieved(Ok(Some(dir))), None) => dir,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn configuration(info: &Value, state_dir: &Path) -> HandsConfig {
    let text = |name: &str| info[name].as_str().expect(name).to_owned();
    let second = Duration::from_secs(1);
    let timeouts = Timeouts { connect: 5 * second, head: 10 * second, idle: 10 * second, total: 60 * second };
    HandsConfig {
        url: text("server").parse().expect("url"),
        server: text("server"),
        instance: "0192f0c1-test".into(),
        state_dir: state_dir.to_owned(),
        trust: Trust::new(Some(text("ca_dir").into())),
        act: ActOptions { timeouts, ..ActOptions::default() },
        webdav: WebdavOptions { timeouts, ..WebdavOptions::default() },
        ce: timeouts,
        uploads: 4,
        downloads: 4,
        files_per_job: 4,
        rate: None,
        min_free: 1 << 20,
        umask: 0o022,
    }
}

/// Hands with the sandbox's user's proxy, delegated.
pub(crate) async fn hands(info: &Value, config: HandsConfig) -> Hands {
    let client = config.client().expect("a client");
    let hands = Hands::new(config, client);
    let proxy = Proxy::load(Path::new(info["proxy"].as_str().expect("proxy"))).expect("proxy");
    let token = delegate(&hands.act(), &proxy).await.expect("delegate");
    hands.equip(Some((token.secret().clone(), OWNER)), Some(&Arc::new(proxy)));
    hands
}

fn unchunk(text: &str) -> String {
    let (mut rest, mut body) = (text, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size");
        if size == 0 {
            break;
        }
        body.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
    }
    body
}

/// Everything below a directory: path to content; directories end with a slash.
pub(crate) fn tree(root: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut all = std::collections::BTreeMap::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(root.join(&dir)).expect("list") {
            let entry = entry.expect("entry");
            let path = dir.join(entry.file_name());
            if entry.file_type().expect("type").is_dir() {
                all.insert(format!("{}/", path.display()), Vec::new());
                todo.push(path);
            } else {
                all.insert(path.display().to_string(), std::fs::read(entry.path()).expect("read"));
            }
        }
    }
    all
}
