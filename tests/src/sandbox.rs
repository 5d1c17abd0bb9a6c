//! A running `act-sandbox serve` and its admin port: what was asked of the server, what ran, what shall go wrong.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::bins;
use crate::http::request;
use crate::wait::{LONG, wait_for};

/// Addresses and paths, as `serve --json` prints them.
#[derive(Debug, Clone, Deserialize)]
pub struct Info {
    /// The REST API.
    pub server: String,
    /// The admin port.
    pub admin: String,
    /// The computing element.
    pub ce: String,
    /// The user's directory in the WebDAV store.
    pub webdav: String,
    /// Cluster URLs; the first one works, the second is down.
    pub clusters: Vec<String>,
    /// A proxy with a VOMS attribute.
    pub proxy: PathBuf,
    /// Hashed directory of the CA.
    pub ca_dir: PathBuf,
    /// The CA as one file.
    pub ca_file: PathBuf,
    /// Everything lies here.
    pub dir: PathBuf,
}

/// A job as the server holds it.
#[derive(Debug, Clone, Deserialize)]
pub struct Row {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: Option<String>,
    /// aCT's state.
    pub arcstate: Option<String>,
    /// ARC's state.
    pub state: Option<String>,
    /// ARC's URL of it.
    pub job_id: Option<String>,
    /// How often it was executed.
    pub runs: u32,
}

/// A request to the REST API.
#[derive(Debug, Clone, Deserialize)]
pub struct Entry {
    /// Its number.
    pub seq: u64,
    /// Method.
    pub method: String,
    /// Path, percent-encoded.
    pub path: String,
    /// Query without `?`.
    pub query: String,
    /// Bytes of the body.
    pub body_len: u64,
    /// A JSON body's text.
    pub body: Option<String>,
    /// Whether it was carried out.
    pub executed: bool,
    /// Status of the answer.
    pub status: Option<u16>,
    /// The fault that was applied.
    pub fault: Option<String>,
}

/// How often jobs were really executed.
#[derive(Debug, Clone, Deserialize)]
pub struct Runs {
    /// By the server's id, the rows that are still there.
    pub jobs: BTreeMap<String, u32>,
    /// By the job's name and command line, `NAME: EXECUTABLE ARGUMENTS`, all since the start.
    pub descriptions: BTreeMap<String, u32>,
}

/// A sandbox in a process of its own.
pub struct Sandbox {
    dir: PathBuf,
    args: Vec<String>,
    child: Option<Child>,
    info: Info,
}

impl Sandbox {
    /// Starts one in `dir`, with more arguments for `act-sandbox serve`.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(dir: &Path, args: &[&str]) -> Self {
        let args: Vec<_> = args.iter().map(|&arg| arg.to_owned()).collect();
        let (child, info) = spawn(dir, &args);
        Self { dir: dir.to_owned(), args, child: Some(child), info }
    }

    /// Addresses and paths.
    #[must_use]
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Stops it; the address then refuses connections.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if let Some(pid) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        for _ in 0..400 {
            if matches!(child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Starts it again after [`Sandbox::stop`]: same directory, jobs and ports.
    ///
    /// # Panics
    /// It does not start, or not at the same address.
    pub fn start_again(&mut self) {
        let (child, info) = spawn(&self.dir, &self.args);
        self.child = Some(child);
        assert_eq!(info.server, self.info.server, "the sandbox must come back at its address");
        self.info = info;
    }

    /// Stops it, and starts it again with other arguments.
    ///
    /// # Panics
    /// See [`Sandbox::start_again`].
    pub fn restart_with(&mut self, args: &[&str]) {
        self.stop();
        self.args = args.iter().map(|&arg| arg.to_owned()).collect();
        self.start_again();
    }

    /// A request to the admin port: the JSON of its answer (null if there is none).
    ///
    /// # Panics
    /// It is refused.
    #[track_caller]
    pub fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let url = format!("{}{path}", self.info.admin);
        let (status, body) = request(method, &url, body).unwrap_or_else(|e| panic!("admin port: {e}"));
        assert!((200..300).contains(&status), "{method} {path}: {status} {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap_or(Value::Null)
    }

    /// The jobs on the server, by id.
    #[must_use]
    pub fn jobs(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = read(&self.admin("GET", "/jobs", None));
        rows.sort_by_key(|row| row.id);
        rows
    }

    /// What really ran.
    #[must_use]
    pub fn runs(&self) -> Runs {
        read(&self.admin("GET", "/runs", None))
    }

    /// How often jobs of this name were executed, also those that the server has forgotten.
    #[must_use]
    pub fn runs_of(&self, name: &str) -> u32 {
        let start = format!("{name}: ");
        self.runs().descriptions.iter().filter(|(text, _)| text.starts_with(&start)).map(|(_, n)| n).sum()
    }

    /// Requests so far whose method is `method` and whose path fits `path` (`*` is any text).
    #[must_use]
    pub fn journal(&self, method: &str, path: &str) -> Vec<Entry> {
        read(&self.admin("GET", &format!("/journal?method={method}&path={path}"), None))
    }

    /// Adds a fault of the REST server: `{"method":"POST","path":"/jobs","count":1,"fault":{"kind":"reset"}}`.
    pub fn fault(&self, fault: &Value) {
        self.admin("POST", "/faults", Some(fault));
    }

    /// Removes all faults of the REST server.
    pub fn heal(&self) {
        self.admin("DELETE", "/faults", None);
    }

    /// How often faults were applied in all.
    #[must_use]
    pub fn faults_applied(&self) -> u64 {
        let list = self.admin("GET", "/faults", None);
        list.as_array().into_iter().flatten().filter_map(|fault| fault["applied"].as_u64()).sum()
    }

    /// Sets a job's state by force; see the sandbox's admin API.
    pub fn force(&self, id: u64, state: &Value) {
        self.admin("POST", &format!("/jobs/{id}/state"), Some(state));
    }

    /// Adds jobs that never ran; returns their ids.
    #[must_use]
    pub fn synthetic(&self, wish: &Value) -> Vec<u64> {
        read(&self.admin("POST", "/synthetic", Some(wish))["ids"])
    }

    /// Names in the WebDAV store; directories end in `/`.
    #[must_use]
    pub fn webdav_contents(&self) -> Vec<String> {
        read(&self.admin("GET", "/webdav/contents", None))
    }

    /// Makes every request answer 500, or heals that.
    pub fn broken(&self, broken: bool) {
        self.admin("POST", "/broken", Some(&json!(broken)));
    }

    /// Asserts that the client did nothing that a well-behaved client must not do.
    ///
    /// # Panics
    /// It did.
    #[track_caller]
    pub fn assert_no_violations(&self) {
        let violations = self.admin("GET", "/violations", None);
        assert_eq!(violations, json!([]), "breaches of good manners at the server");
    }

    /// Asserts that neither jobs nor files are left.
    ///
    /// # Panics
    /// Something is.
    #[track_caller]
    pub fn wait_empty(&self) {
        wait_for("an empty server and an empty WebDAV store", LONG, || {
            let (jobs, files) = (self.jobs(), self.webdav_contents());
            if jobs.is_empty() && files.is_empty() { Ok(()) } else { Err(format!("{jobs:?}\n{files:?}")) }
        });
    }

    /// Waits until the server has a job in that state.
    #[track_caller]
    pub fn wait_state(&self, id: u64, arcstate: &str) -> Row {
        wait_for(&format!("job {id} to be {arcstate} on the server"), LONG, || {
            let jobs = self.jobs();
            let found = jobs.iter().find(|row| row.id == id && row.arcstate.as_deref() == Some(arcstate));
            found.cloned().ok_or_else(|| format!("{jobs:?}"))
        })
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop();
    }
}

#[track_caller]
fn read<T: for<'de> Deserialize<'de>>(value: &Value) -> T {
    T::deserialize(value).unwrap_or_else(|e| panic!("{e} in {value}"))
}

fn spawn(dir: &Path, args: &[String]) -> (Child, Info) {
    std::fs::create_dir_all(dir).expect("the sandbox's directory can be made");
    let log = File::options().create(true).append(true).open(dir.join("sandbox.log")).expect("a log file");
    let mut child = Command::new(bins::program("act-sandbox"))
        .args(["serve", "--json", "--dir"])
        .arg(dir)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("act-sandbox can be run");
    let mut line = String::new();
    let out = child.stdout.take().expect("it is a pipe");
    // It prints its line when it is ready, or ends.
    BufReader::new(out).read_line(&mut line).expect("its stdout can be read");
    match serde_json::from_str(&line) {
        Ok(info) => (child, info),
        Err(e) => {
            let _ = child.kill();
            let end = child.wait();
            panic!("act-sandbox did not start ({end:?}, {e}): `{line}`; see {}", dir.join("sandbox.log").display());
        }
    }
}
