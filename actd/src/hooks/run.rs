//! Runs one command of the user's to its end: without a shell, with facts in the environment, for a limited time, its
//! output in a log of its own. It knows nothing of jobs.

use std::fmt::Write as _;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;

use crate::config::values::CommandLine;
use crate::job::Time;

/// Most of a command's output that is kept, in bytes.
const MAX_OUTPUT: usize = 256 << 10;
/// How long what a command has left running may hold its output open.
const LEFTOVERS: Duration = Duration::from_millis(500);
/// How long a command that was asked to end may take.
const GRACE: Duration = Duration::from_secs(5);
/// Logs that are kept.
const LOGS: usize = 200;
/// What belongs to the daemon alone: a child that spoke to the service manager would speak in its name.
const OURS: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// Facts for a command, as variables of its environment.
pub type Facts = Vec<(&'static str, String)>;

/// A command that is to be run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Why it is run: the key of the config, `on_done`.
    pub what: &'static str,
    /// What it is about, for the log's name: `j12`.
    pub about: String,
    /// Program and arguments.
    pub command: CommandLine,
    /// The facts.
    pub facts: Facts,
    /// Where it runs.
    pub dir: PathBuf,
    /// How long it may take.
    pub limit: Duration,
    /// The mask for the modes of what it makes; none: the daemon's own, with which nobody else can read it.
    pub umask: Option<u32>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With code 0.
    Well,
    /// With another code, by a signal, or it could not be started.
    Badly,
    /// It was stopped because its time was over.
    TooLong,
}

impl Run {
    /// Runs it. `logs`: the directory of the logs.
    pub async fn run(self, logs: &Path) -> Ended {
        let began = Time::now();
        let mut log = format!("{} {}\nat {}\nin {}\n", self.what, self.about, began.rfc3339(), self.dir.display());
        let _ = writeln!(log, "command {:?}", self.command.0);
        for (name, value) in &self.facts {
            let _ = writeln!(log, "{name}={}", value.replace('\n', " "));
        }
        let (ended, output) = self.carry_out(&mut log).await;
        log.push_str("--\n");
        log.push_str(&String::from_utf8_lossy(&output));
        let seconds = Time::now().since(began) as f64 / 1000.0;
        let _ = writeln!(log, "\n-- {ended:?} after {seconds:.1} s");
        let path = logs.join(format!("{}-{}-{}.log", began.rfc3339().replace(':', ""), self.what, self.about));
        let kept = path.clone();
        let written = tokio::task::spawn_blocking(move || keep(&kept, &log)).await;
        match ended {
            Ended::Well => tracing::info!(about = self.about, "{} ran", self.what),
            _ => tracing::warn!(about = self.about, log = %path.display(), "{}: {ended:?}", self.what),
        }
        if let Ok(Err(e)) = written {
            tracing::warn!("the log {} cannot be written: {e}", path.display());
        }
        ended
    }

    async fn carry_out(&self, log: &mut String) -> (Ended, Vec<u8>) {
        match self.spawn() {
            Ok((mut child, pipe)) => {
                let pid = child.id();
                let mut output = Vec::new();
                let ended = {
                    let reading = read(pipe, &mut output);
                    tokio::pin!(reading);
                    let waiting = async {
                        let ended = tokio::select! {
                            status = child.wait() => judge(status, log),
                            () = tokio::time::sleep(self.limit) => {
                                signal(pid, rustix::process::Signal::TERM);
                                if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
                                    signal(pid, rustix::process::Signal::KILL);
                                    let _ = child.wait().await;
                                }
                                Ended::TooLong
                            }
                        };
                        // What it has started in its own process group goes with it, if it was stopped.
                        if ended == Ended::TooLong {
                            signal(pid, rustix::process::Signal::KILL);
                        }
                        ended
                    };
                    tokio::pin!(waiting);
                    let mut read_all = false;
                    let ended = loop {
                        tokio::select! {
                            ended = &mut waiting => break ended,
                            () = &mut reading, if !read_all => read_all = true,
                        }
                    };
                    if !read_all {
                        let _ = tokio::time::timeout(LEFTOVERS, &mut reading).await;
                    }
                    ended
                };
                (ended, output)
            }
            Err(e) => {
                let _ = writeln!(log, "it cannot be started: {e}");
                (Ended::Badly, Vec::new())
            }
        }
    }

    fn spawn(&self) -> io::Result<(tokio::process::Child, Receiver)> {
        let (program, arguments) =
            self.command.0.split_first().ok_or_else(|| io::Error::other("the command is empty"))?;
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.dir).stdin(Stdio::null());
        command.stdout(writer.try_clone()?).stderr(writer).process_group(0).kill_on_drop(true);
        for name in OURS {
            command.env_remove(name);
        }
        if let Some(umask) = self.umask {
            let umask = rustix::fs::Mode::from_raw_mode(umask);
            // SAFETY: umask(2) may be called between fork and exec, cannot fail, and allocates nothing.
            unsafe {
                command.pre_exec(move || {
                    rustix::process::umask(umask);
                    Ok(())
                });
            }
        }
        command.envs(self.facts.iter().map(|(name, value)| (*name, value.replace('\0', ""))));
        let child = command.spawn()?;
        // The command holds the other end; so does this value until it is dropped here.
        drop(command);
        Ok((child, Receiver::from_owned_fd(OwnedFd::from(reader))?))
    }
}

fn judge(status: io::Result<ExitStatus>, log: &mut String) -> Ended {
    match status {
        Ok(status) if status.success() => Ended::Well,
        Ok(status) => {
            let _ = writeln!(log, "{status}");
            Ended::Badly
        }
        Err(e) => {
            let _ = writeln!(log, "{e}");
            Ended::Badly
        }
    }
}

/// Reads all there is and keeps the beginning.
async fn read(mut pipe: Receiver, output: &mut Vec<u8>) {
    let mut piece = [0; 8192];
    while let Ok(n @ 1..) = pipe.read(&mut piece).await {
        let room = MAX_OUTPUT.saturating_sub(output.len());
        output.extend_from_slice(&piece[..n.min(room)]);
    }
}

/// To the whole process group of a command.
fn signal(pid: Option<u32>, signal: rustix::process::Signal) {
    if let Some(pid) = pid.and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())) {
        // It may have ended meanwhile.
        let _ = rustix::process::kill_process_group(pid, signal);
    }
}

/// Writes a log and removes the oldest ones.
fn keep(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    let dir = path.parent().unwrap_or(Path::new("/"));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    let mut names: Vec<PathBuf> = std::fs::read_dir(dir)?.flatten().map(|entry| entry.path()).collect();
    // They begin with their time.
    names.sort();
    for old in &names[..names.len().saturating_sub(LOGS)] {
        let _ = std::fs::remove_file(old);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, limit: Duration) -> (Ended, String) {
        let dir = tempfile::tempdir().unwrap();
        let run = Run {
            what: "on_done",
            about: "j1".into(),
            command: CommandLine(["sh", "-c", script].map(str::to_owned).to_vec()),
            facts: vec![("ACTD_JOB_NAME", "a; touch hacked $(id)".into())],
            dir: dir.path().to_owned(),
            limit,
            umask: None,
        };
        let logs = dir.path().join("hooks");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ended = runtime.block_on(run.run(&logs));
        let log = std::fs::read_dir(&logs).unwrap().next().unwrap().unwrap().path();
        assert!(!dir.path().join("hacked").exists());
        (ended, std::fs::read_to_string(log).unwrap())
    }

    #[test]
    fn facts_are_in_the_environment_and_output_in_the_log() {
        let (ended, log) = run("echo \"name: $ACTD_JOB_NAME\"; echo bad >&2", Duration::from_secs(20));
        assert_eq!(ended, Ended::Well);
        assert!(log.contains("name: a; touch hacked $(id)\nbad\n"), "{log}");
        let (ended, log) = run("exit 3", Duration::from_secs(20));
        assert!(ended == Ended::Badly && log.contains("exit status: 3"), "{log}");
    }

    #[test]
    fn a_command_that_takes_too_long_is_stopped_with_all_that_it_has_started() {
        let began = std::time::Instant::now();
        let (ended, _) = run("sleep 60 & sleep 60", Duration::from_millis(200));
        assert_eq!(ended, Ended::TooLong);
        assert!(began.elapsed() < Duration::from_secs(10));
        // One that leaves something behind does not hold anybody up.
        let began = std::time::Instant::now();
        let (ended, _) = run("sleep 5 & exit 0", Duration::from_secs(20));
        assert_eq!(ended, Ended::Well);
        assert!(began.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn much_output_is_cut_and_does_not_block() {
        let (ended, log) = run("head -c 3000000 /dev/zero | tr '\\0' x", Duration::from_secs(20));
        assert_eq!(ended, Ended::Well);
        assert!(log.len() < MAX_OUTPUT + 2_000);
    }
}
