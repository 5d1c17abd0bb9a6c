//! One job's process: in its own group, in its session directory, with the environment a CE would give it.

use std::{
    fs::File,
    io,
    path::Path,
    process::{ExitStatus, Stdio},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};
use tokio::process::{Child, Command};

use super::stage::{make_parent, place};
use crate::desc::Description;

/// A started job, or one that had nothing to start.
pub(super) struct Process {
    child: Option<Child>,
    group: Option<Pid>,
}

impl Process {
    /// Starts the executable. A description without one runs nothing and ends well, as observed.
    ///
    /// # Errors
    /// The executable cannot be started, or stdin cannot be opened.
    pub(super) fn start(description: &Description, session: &Path, ce_id: &str, url: &str) -> io::Result<Self> {
        let stdout = output(session, description.stdout.as_deref())?;
        let stderr = match (&description.stderr, description.join) {
            (None, true) => stdout.as_ref().map(File::try_clone).transpose()?,
            (stderr, _) if *stderr == description.stdout => stdout.as_ref().map(File::try_clone).transpose()?,
            (stderr, _) => output(session, stderr.as_deref())?,
        };
        let Some(executable) = description.executable.as_deref().filter(|path| !path.is_empty()) else {
            return Ok(Self { child: None, group: None });
        };
        let stdin = match description.stdin.as_deref().filter(|name| !name.is_empty()) {
            None => Stdio::null(),
            Some(path) if path.starts_with('/') => File::open(path)?.into(),
            Some(name) => File::open(place(session, name)?)?.into(),
        };
        let program = if executable.starts_with('/') { executable.into() } else { place(session, executable)? };
        let mut command = Command::new(program);
        command
            .args(&description.arguments)
            .current_dir(session)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", session)
            .env("LANG", "C.UTF-8")
            .env("GRID_GLOBAL_JOBID", ce_id)
            .env("GRID_GLOBAL_JOBURL", url)
            .envs(description.environment.iter().map(|(name, value)| (name, value)))
            .stdin(stdin)
            .stdout(stdout.map_or_else(Stdio::null, Stdio::from))
            .stderr(stderr.map_or_else(Stdio::null, Stdio::from))
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(seconds) = description.cputime.filter(|seconds| *seconds > 0) {
            let limit = Rlimit { current: Some(seconds), maximum: Some(seconds) };
            // A job that has ended already needs no limit.
            let _ = prlimit(group, Resource::Cpu, limit);
        }
        Ok(Self { child: Some(child), group })
    }

    /// The process id, 0 without a process.
    pub(super) fn id(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).unwrap_or(0)
    }

    /// The exit code; 128 + N after signal N.
    pub(super) async fn wait(&mut self) -> i32 {
        match &mut self.child {
            None => 0,
            Some(child) => child.wait().await.map_or(-1, code),
        }
    }

    /// Kills the whole group and waits for the end of its leader.
    pub(super) async fn kill(&mut self) {
        self.kill_group();
        self.wait().await;
    }

    fn kill_group(&self) {
        if let Some(group) = self.group {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Process {
    /// Whatever the job left behind ends with it, also when the sandbox stops.
    fn drop(&mut self) {
        self.kill_group();
    }
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

fn output(session: &Path, name: Option<&str>) -> io::Result<Option<File>> {
    let Some(name) = name.filter(|name| !name.is_empty() && *name != "/dev/null") else { return Ok(None) };
    let path = place(session, name)?;
    make_parent(&path)?;
    File::create(path).map(Some)
}
