//! A user at a machine: a home of their own, act's config file, `actctl`, and the daemon that it starts.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use act_proto::jobs::{Filter, Job, ListParams};
use act_proto::method::{JobsHistory, JobsList};
use act_proto::start::read_lock;
use act_proto::{ApiError, Client, Method};

use crate::bins;
use crate::ran::Ran;
use crate::sandbox::Info;
use crate::wait::{LONG, wait_for};

/// How long a command may take unless a test says more.
const COMMAND: Duration = Duration::from_secs(120);

/// A user at a machine.
pub struct User {
    root: PathBuf,
    info: Info,
    env: Vec<(String, String)>,
    count: AtomicU32,
}

impl User {
    /// Makes the directories below `root` and a config file with an `actd:` section of `settings`, one `key: value` each.
    ///
    /// # Panics
    /// The directories cannot be made.
    #[must_use]
    pub fn new(root: &Path, info: &Info, settings: &[&str]) -> Self {
        for dir in ["home", "config/act-client", "data", "state", "cache", "work", "ran"] {
            fs::create_dir_all(root.join(dir)).expect("a directory can be made");
        }
        fs::DirBuilder::new().mode(0o700).create(root.join("run")).expect("a directory can be made");
        let user = Self { root: root.to_owned(), info: info.clone(), env: Vec::new(), count: AtomicU32::new(0) };
        user.configure(settings);
        user
    }

    /// Writes the config file: the sandbox as the server, fast polling, and `settings` of `actd:`, which override those.
    pub fn configure(&self, settings: &[&str]) {
        let info = &self.info;
        let mut text = format!(
            "server: {}\nclusters:\n  default:\n    - {}\n  down:\n    - {}\nproxy: {}\nwebdav: {}\nactd:\n",
            info.server,
            info.clusters[0],
            info.clusters[1],
            info.proxy.display(),
            info.webdav,
        );
        let key = |setting: &str| setting.split(':').next().unwrap_or_default().to_owned();
        let usual = ["poll_min: 100ms", "poll_max: 500ms", "min_free_disk: 1MB"];
        let usual = usual.iter().filter(|setting| settings.iter().all(|own| key(own) != key(setting)));
        for setting in usual.chain(settings) {
            text.push_str(&format!("  {setting}\n"));
        }
        self.write_config(&text);
    }

    /// Lets everything go through these addresses instead of the sandbox's own: the server's and the WebDAV store's.
    ///
    /// # Panics
    /// The config file cannot be written.
    pub fn reroute(&self, server: &str, webdav: &str) {
        let text = fs::read_to_string(self.config()).expect("the config file can be read");
        let text = text.replace(&format!("server: {}\n", self.info.server), &format!("server: {server}\n"));
        self.write_config(&text.replace(&format!("webdav: {}\n", self.info.webdav), &format!("webdav: {webdav}\n")));
    }

    /// Replaces the config file.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write_config(&self, text: &str) {
        fs::write(self.config(), text).expect("the config file can be written");
    }

    /// act's config file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("config/act-client/config.yaml")
    }

    /// Sets an environment variable of everything that is run from now on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// The directory of everything.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory in which commands are run.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// Where automatic downloads go.
    #[must_use]
    pub fn results(&self) -> PathBuf {
        self.root.join("home/act-results")
    }

    /// The daemon's state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root.join("state/actd/default")
    }

    /// The daemon's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.root.join("run/actd/default.sock")
    }

    /// The token file that act uses, too.
    #[must_use]
    pub fn token(&self) -> PathBuf {
        self.root.join("data/act-client/token")
    }

    /// Writes a file in the working directory, making its directories.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().expect("a file lies in a directory")).expect("a directory can be made");
        fs::write(&path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Reads a file of the working directory.
    ///
    /// # Panics
    /// It cannot be read.
    #[track_caller]
    #[must_use]
    pub fn read(&self, name: impl AsRef<Path>) -> String {
        let path = self.work().join(name);
        let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A program with this user's environment and nothing else, in the working directory.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.work());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut paths = vec![bins::dir().to_owned()];
        paths.extend(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(paths).expect("paths without a colon"));
        command.env("HOME", self.root.join("home")).env("LANG", "C.UTF-8");
        for (name, dir) in [
            ("CONFIG_HOME", "config"),
            ("DATA_HOME", "data"),
            ("STATE_HOME", "state"),
            ("CACHE_HOME", "cache"),
            ("RUNTIME_DIR", "run"),
        ] {
            command.env(format!("XDG_{name}"), self.root.join(dir));
        }
        command.env("X509_CERT_DIR", &self.info.ca_dir);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a prepared command to its end.
    #[track_caller]
    #[must_use = "look at how it ended"]
    pub fn run(&self, command: Command, bound: Duration) -> Ran {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let verb = command.get_args().next().unwrap_or_default().to_string_lossy().replace('/', "_");
        Ran::run(command, &self.root.join("ran"), &format!("{number:03}-{name}-{verb:.20}"), bound)
    }

    /// Runs `actctl`.
    #[track_caller]
    #[must_use = "look at how it ended"]
    pub fn actctl(&self, args: &[&str]) -> Ran {
        self.actctl_within(args, COMMAND)
    }

    /// Runs `actctl`, which may take this long.
    #[track_caller]
    #[must_use = "look at how it ended"]
    pub fn actctl_within(&self, args: &[&str], bound: Duration) -> Ran {
        let mut command = self.command(bins::program("actctl"));
        command.args(args);
        self.run(command, bound)
    }

    /// Runs a shell script; `actctl` is on its PATH.
    #[track_caller]
    #[must_use = "look at how it ended"]
    pub fn shell(&self, script: &str) -> Ran {
        let mut command = self.command("bash");
        command.args(["-euo", "pipefail", "-c", script]);
        self.run(command, COMMAND)
    }

    /// Calls a method of the daemon.
    ///
    /// # Errors
    /// The daemon's.
    ///
    /// # Panics
    /// No daemon runs.
    #[track_caller]
    pub fn call<M: Method>(&self, params: &M::Params) -> Result<M::Reply, ApiError> {
        self.try_call::<M>(params).unwrap_or_else(|e| panic!("no daemon to call {}: {e}", M::NAME))
    }

    /// The same where a daemon may be missing, or die meanwhile.
    ///
    /// # Errors
    /// Why there is no daemon to call.
    ///
    /// # Panics
    /// No runtime can be made.
    pub fn try_call<M: Method>(&self, params: &M::Params) -> Result<Result<M::Reply, ApiError>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = Client::connect(&self.socket(), "act-tests").await.map_err(|e| e.to_string())?;
            Ok(client.call::<M>(params).await)
        })
    }

    /// All jobs that are not closed.
    ///
    /// # Panics
    /// The daemon does not tell.
    #[track_caller]
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        self.call::<JobsList>(&ListParams::default()).expect("jobs.list answers").items
    }

    /// All jobs in the history.
    ///
    /// # Panics
    /// The daemon does not tell.
    #[track_caller]
    #[must_use]
    pub fn history(&self) -> Vec<Job> {
        self.call::<JobsHistory>(&act_proto::jobs::HistoryParams::default()).expect("jobs.history answers").items
    }

    /// The job that a selector names, closed or not.
    ///
    /// # Panics
    /// The daemon does not tell.
    #[track_caller]
    #[must_use]
    pub fn job(&self, selector: &str) -> Option<Job> {
        let filter = Filter { select: vec![selector.to_owned()], ..Filter::default() };
        let params = ListParams { filter, closed: true, ..ListParams::default() };
        self.call::<JobsList>(&params).expect("jobs.list answers").items.pop()
    }

    /// Waits until a job is in a phase (`stored`, `closed`, ...).
    #[track_caller]
    pub fn wait_phase(&self, selector: &str, phase: &str) -> Job {
        self.wait_job(selector, &format!("phase {phase}"), |job| word(&job.phase) == phase)
    }

    /// Waits until the server's state of a job is known to be this.
    #[track_caller]
    pub fn wait_arcstate(&self, selector: &str, arcstate: &str) -> Job {
        self.wait_job(selector, &format!("arcstate {arcstate}"), |job| job.arcstate.as_deref() == Some(arcstate))
    }

    /// Waits until a job fits.
    #[track_caller]
    pub fn wait_job(&self, selector: &str, what: &str, fits: impl Fn(&Job) -> bool) -> Job {
        wait_for(&format!("job {selector}: {what}"), LONG, || match self.job(selector) {
            Some(job) if fits(&job) => Ok(job),
            other => Err(format!("{other:?}")),
        })
    }

    /// Process id of the running daemon.
    #[must_use]
    pub fn daemon_pid(&self) -> Option<u32> {
        let lock = read_lock(&self.state()).ok()??;
        self.owns(lock.pid).then_some(lock.pid)
    }

    /// Kills the daemon at once, as a power cut would, and waits until it is gone.
    ///
    /// # Panics
    /// None runs.
    #[track_caller]
    pub fn kill_daemon(&self) {
        let pid = self.daemon_pid().expect("a daemon runs");
        kill(pid);
        // Its memory goes first, its sockets and its lock with its last thread.
        let is_there = || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
            let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
            !(state.is_empty() || state.starts_with(['Z', 'X']) && threads <= 1)
        };
        wait_for("the end of the killed daemon", LONG, || if is_there() { Err(format!("pid {pid}")) } else { Ok(()) });
    }

    /// Whether a process is alive and runs with this user's home.
    fn owns(&self, pid: u32) -> bool {
        let home = format!("HOME={}", self.root.join("home").display());
        // Empty for a process that has ended and was not waited for yet.
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|entry| entry == home.as_bytes())
    }

    fn processes(&self) -> io::Result<Vec<u32>> {
        let pids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Ok(pids.filter(|pid| self.owns(*pid)).collect())
    }
}

impl Drop for User {
    fn drop(&mut self) {
        for pid in self.processes().unwrap_or_default() {
            kill(pid);
        }
    }
}

fn kill(pid: u32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()) {
        // It may have ended meanwhile.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// The word of a value on the wire.
pub fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
