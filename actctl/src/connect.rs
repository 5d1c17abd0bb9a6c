//! Finding the daemon of an instance, and starting one if none runs. Two command lines that start at once start one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use act_proto::instance::check_runtime_dir;
use act_proto::start::{StartError, StartReport, log_path, read_lock};
use act_proto::{ApiError, Client, ConnectError, Instance, Kind};
use rustix::fs::{FlockOperation, flock};
use rustix::io::{FdFlags, fcntl_setfd};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;

use crate::ctx::Ctx;
use crate::failure::Failure;
use crate::service;

/// What this program calls itself.
const NAME: &str = concat!("actctl/", env!("CARGO_PKG_VERSION"));
/// How long a daemon may take to answer the first call.
const HELLO: Duration = Duration::from_secs(10);
/// How long a daemon that ends may still hold its socket.
const ENDING: Duration = Duration::from_secs(2);
/// How long a daemon may take to notice that its socket's path has vanished, with some room.
const REBIND: Duration = Duration::from_secs(8);
/// How long a daemon may take to start: it may have to read 100,000 jobs.
const START: Duration = Duration::from_secs(120);
/// The log of a self-started daemon is put aside when it has grown to so many bytes.
const MAX_LOG: u64 = 10 << 20;

/// What kind of daemon to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// One that ends when it has been without jobs and clients for half an hour.
    Transient,
    /// One that stays.
    Lasting,
}

/// Connects to the instance's daemon; starts one if none runs.
///
/// # Errors
/// The daemon's own words on why it cannot start; or it does not answer.
pub async fn connect(ctx: &Ctx, instance: &Instance, start: Start) -> Result<Client, Failure> {
    if let Some(client) = existing(ctx, instance).await? {
        return Ok(client);
    }
    let runtime = act_proto::instance::runtime_dir();
    check_runtime_dir(&runtime, true).map_err(|e| {
        Failure::local(format!("the directory of the daemon's socket cannot be used: {e}"))
            .hint("set XDG_RUNTIME_DIR to a directory of your own")
    })?;
    if service::calls_back_socket(instance).await
        && let Some(client) = existing(ctx, instance).await?
    {
        return Ok(client);
    }
    let _starting = start_lock(&runtime.join(format!("{}.start", instance.name))).await?;
    // Another command line may have started it while this one waited for the lock.
    if let Some(client) = existing(ctx, instance).await? {
        return Ok(client);
    }
    let refused = spawn(ctx, instance, start).await.err();
    // One whose state directory only its config knows may be listening anew.
    let since = Instant::now();
    while refused.as_ref().is_some_and(|f| f.kind == Kind::Busy.word()) && since.elapsed() < REBIND {
        if let Some(client) = at(ctx, &instance.paths().socket).await? {
            return Ok(client);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    if let Some(refused) = refused {
        return Err(refused);
    }
    existing(ctx, instance).await?.ok_or_else(|| {
        Failure::daemon("the daemon has started, and is not to be found").hint("see `actctl daemon logs`")
    })
}

/// Connects to the instance's daemon if it runs.
///
/// # Errors
/// It runs, but does not answer, or speaks another protocol.
pub async fn existing(ctx: &Ctx, instance: &Instance) -> Result<Option<Client>, Failure> {
    let paths = instance.paths();
    if let Some(dir) = paths.socket.parent()
        && let Err(e) = check_runtime_dir(dir, false)
        && e.kind() != io::ErrorKind::NotFound
    {
        return Err(Failure::local(format!("the directory of the daemon's socket cannot be used: {e}")));
    }
    if let Some(client) = at(ctx, &paths.socket).await? {
        return Ok(Some(client));
    }
    // The socket's path may have vanished, as at logout, or the environment be another: the lock file tells. Where its holder
    // has not written yet who it is, it is just being started.
    let since = Instant::now();
    while is_held(&paths.state) {
        let lock = read_lock(&paths.state).ok().flatten().filter(|lock| is_alive(lock.pid));
        // One that was asked to end lets what is under way come to rest first.
        let limit = if lock.as_ref().is_some_and(|lock| !lock.stopped) { REBIND } else { START };
        let socket = lock.map_or_else(|| paths.socket.clone(), |lock| lock.socket);
        if let Some(client) = at(ctx, &socket).await? {
            return Ok(Some(client));
        }
        if since.elapsed() >= limit {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(None)
}

/// Whether a daemon holds the lock of a state directory.
#[must_use]
pub fn is_held(state: &Path) -> bool {
    // Only asked for: the descriptor's end gives a lock back at once.
    File::open(act_proto::start::lock_path(state))
        .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK))
}

/// Whether the last daemon of a state directory ends, or has ended, because somebody asked for that. It is so until the next
/// one serves.
#[must_use]
pub fn is_stopped(state: &Path) -> bool {
    read_lock(state).ok().flatten().is_some_and(|lock| lock.stopped)
}

/// The daemon was stopped on purpose, and nobody has started it again.
#[must_use]
pub fn stopped() -> Failure {
    Failure::daemon("the daemon was stopped, and nobody has started it again")
        .hint("`actctl daemon start` starts it; nothing is lost, and the same command can be typed again")
}

/// Connects to the instance's daemon if it runs and is not about to end. Nothing is started, not even by a service manager
/// that holds the socket.
pub async fn live(ctx: &Ctx, instance: &Instance) -> Option<Client> {
    let state = instance.paths().state;
    let lock = read_lock(&state).ok().flatten().filter(|lock| !lock.stopped && is_held(&state))?;
    let client = tokio::time::timeout(HELLO, Client::connect(&lock.socket, NAME)).await.ok()?.ok()?;
    ctx.connected(client.hello());
    Some(client)
}

/// Connects to a socket; `None`: nobody listens there.
///
/// # Errors
/// Somebody does, but does not answer as a daemon.
pub async fn at(ctx: &Ctx, socket: &Path) -> Result<Option<Client>, Failure> {
    let began = Instant::now();
    let result = loop {
        let Ok(result) = tokio::time::timeout(HELLO, Client::connect(socket, NAME)).await else {
            return Err(Failure::daemon(format!("the daemon at {} does not answer", socket.display()))
                .hint("`actctl daemon restart` ends it if it hangs; `actctl daemon logs` may tell more"));
        };
        // A daemon that is just ending takes connections that it will never answer: soon nobody listens there.
        match result {
            Err(ConnectError::Broken { .. }) if began.elapsed() < ENDING => {
                // Or a service manager holds the socket, and what it has started has ended at once.
                if let Some(report) = refusal(ctx).await {
                    return Err(ApiError { message: report.message, data: report.data }.into());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            result => break result,
        }
    };
    match result {
        Ok(client) => {
            let hello = client.hello();
            let (socket, took) = (socket.display(), began.elapsed());
            let (pid, request) = (hello.pid, &hello.request);
            ctx.out.debug(&format!("connected to {socket} (pid {pid}) in {took:.1?}; request {request}"));
            ctx.connected(hello);
            Ok(Some(client))
        }
        Err(ConnectError::Absent { source, .. }) => match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
            _ => Err(Failure::local(format!("cannot connect to {}: {source}", socket.display()))),
        },
        Err(e @ ConnectError::Broken { .. }) => Err(Failure::daemon(e.to_string())
            .hint("restart it: `actctl daemon restart`; `actctl daemon logs` may tell more")),
        Err(ConnectError::Protocol(e)) => Err(e.into()),
    }
}

/// A bare connection, without a hello, to the instance's daemon. It must have been seen to run.
///
/// # Errors
/// It cannot be reached any more.
pub async fn stream(ctx: &Ctx, instance: &Instance) -> Result<UnixStream, Failure> {
    let paths = instance.paths();
    let elsewhere = match read_lock(&paths.state) {
        Ok(Some(lock)) if is_alive(lock.pid) => Some(lock.socket),
        _ => None,
    };
    for socket in std::iter::once(paths.socket).chain(elsewhere) {
        match UnixStream::connect(&socket).await {
            Ok(stream) => return Ok(stream),
            Err(e) => ctx.out.debug(&format!("{}: {e}", socket.display())),
        }
    }
    Err(Failure::daemon("the daemon cannot be reached any more").hint("see `actctl daemon logs`"))
}

/// Whether a process of that id runs: one that has ended, and that its parent has not asked about yet, does not. (It may be
/// another one by now: then the connection fails, nothing worse.)
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    let there = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .is_some_and(|pid| !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH)));
    // After the name in parentheses, which may hold anything, stands the state. Where there is no /proc, nobody knows.
    let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.iter().rposition(|b| *b == b')').and_then(|at| stat.get(at + 2));
    there && !matches!(state, Some(b'Z' | b'X'))
}

/// Held while a daemon is being started. The file stays: removing it would race with others that wait for it.
async fn start_lock(path: &Path) -> Result<File, Failure> {
    let bad = |e: io::Error| Failure::local(format!("cannot lock {}: {e}", path.display()));
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(bad)?;
    let since = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if since.elapsed() < START => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(Failure::daemon("another command has been starting the daemon for two minutes")
                    .hint("see `actctl daemon logs`"));
            }
            Err(e) => return Err(bad(e.into())),
        }
    }
}

/// Starts the daemon and waits for its word that it serves.
async fn spawn(ctx: &Ctx, instance: &Instance, start: Start) -> Result<(), Failure> {
    let program = find_actd()?;
    let state = instance.paths().state;
    let log_file = log_path(&state);
    let log = open_log(&state, &log_file)?;
    let cannot = |e: io::Error| {
        Failure::daemon(format!("cannot start {}: {e}", program.display()))
            .hint("install it beside actctl or on the PATH, or set ACTD_BIN to it")
    };
    let (reader, writer) = io::pipe().map_err(cannot)?;
    // Only this end is for the child. No other child is started meanwhile.
    fcntl_setfd(&writer, FdFlags::empty()).map_err(|e| cannot(e.into()))?;
    let mut command = Command::new(&program);
    arguments(&mut command, instance, start, writer.as_raw_fd());
    let err = log.try_clone().map_err(cannot)?;
    command.current_dir("/").stdin(Stdio::null()).stdout(log).stderr(err);
    // SAFETY: between fork and exec only setsid(2) is called, which is async-signal-safe and touches no memory.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(drop).map_err(Into::into));
    }
    ctx.out.debug(&format!("starting {command:?}, log in {}", log_file.display()));
    let mut child = command.spawn().map_err(cannot)?;
    drop(writer);
    let receiver = Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(cannot)?;
    let mut line = String::new();
    // A report is a line; whatever is longer is none.
    let mut report = BufReader::new(receiver.take(1 << 16));
    match tokio::time::timeout(START, report.read_line(&mut line)).await {
        Err(_) => Err(Failure::daemon(format!("the daemon (pid {}) does not get ready", child.id()))
            .hint(format!("see {}", log_file.display()))),
        Ok(Err(e)) => Err(cannot(e)),
        Ok(Ok(_)) => judge(&line, &mut child, &log_file),
    }
}

/// Why a daemon with these flags would not even start.
async fn refusal(ctx: &Ctx) -> Option<StartError> {
    let program = find_actd().ok()?;
    let instance = ctx.instance().ok()?;
    let mut command = tokio::process::Command::new(program);
    select(command.as_std_mut(), &instance);
    command.arg("--check").stdin(Stdio::null()).kill_on_drop(true);
    let ran = tokio::time::timeout(HELLO, command.output()).await.ok()?.ok()?;
    serde_json::from_slice::<StartReport>(&ran.stdout).ok()?.error
}

fn judge(line: &str, child: &mut Child, log_file: &Path) -> Result<(), Failure> {
    match serde_json::from_str::<StartReport>(line) {
        Ok(StartReport { ready: true, .. }) => Ok(()),
        Ok(StartReport { error: Some(e), .. }) => Err(ApiError { message: e.message, data: e.data }.into()),
        _ => {
            // It has closed the pipe without a word: it has ended, or is about to.
            let end = child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
            let last = last_line(log_file).map(|l| format!(": {l}")).unwrap_or_default();
            Err(Failure::daemon(format!("the daemon ended while it started ({end}){last}"))
                .hint(format!("see {}", log_file.display())))
        }
    }
}

fn arguments(command: &mut Command, instance: &Instance, start: Start, ready_fd: i32) {
    select(command, instance);
    if start == Start::Transient {
        command.args(["--idle-exit", "30m"]);
    }
    command.arg("--ready-fd").arg(ready_fd.to_string());
}

/// The flags that choose the instance.
fn select(command: &mut Command, instance: &Instance) {
    let selection = &instance.selection;
    if selection.conf.is_some() {
        command.arg("--conf").arg(&instance.config);
    }
    if let Some(server) = &selection.server {
        command.arg("--server").arg(server);
    }
    if let Some(port) = selection.port {
        command.arg("--port").arg(port.to_string());
    }
}

/// The daemon's program: `ACTD_BIN`, else beside this one, else on the PATH.
///
/// # Errors
/// There is none.
pub fn find_actd() -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os("ACTD_BIN").filter(|p| !p.is_empty()) {
        return std::path::absolute(&path).map_err(|e| Failure::daemon(format!("ACTD_BIN: {e}")));
    }
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(|dir| dir.join("actd")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join("actd")))
        .find(|program| program.is_file())
        .ok_or_else(|| {
            Failure::daemon("the daemon's program `actd` is not to be found")
                .hint("install it beside actctl or on the PATH, or set ACTD_BIN to it")
        })
}

fn open_log(state: &Path, path: &Path) -> Result<File, Failure> {
    let bad = |e: io::Error| {
        Failure::local(format!("the state directory {} cannot be used: {e}", state.display()))
            .hint("make it writable, or set XDG_STATE_HOME to another place")
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(state).map_err(bad)?;
    if fs::metadata(path).is_ok_and(|m| m.len() > MAX_LOG) {
        fs::rename(path, path.with_extension("log.1")).map_err(bad)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(bad)
}

fn last_line(path: &Path) -> Option<String> {
    let text = crate::cmd::daemon_logs::tail(path, 1).ok()?;
    text.lines().last().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use act_proto::instance::Selection;

    #[test]
    fn the_daemon_gets_the_same_flags() {
        let selection = Selection { conf: Some("/c.yaml".into()), server: Some("http://h".into()), port: Some(80) };
        let instance = Instance::resolve(&selection).unwrap();
        let mut command = Command::new("actd");
        arguments(&mut command, &instance, Start::Transient, 5);
        let args: Vec<_> = command.get_args().map(|a| a.to_str().unwrap()).collect();
        assert_eq!(
            args,
            ["--conf", "/c.yaml", "--server", "http://h", "--port", "80", "--idle-exit", "30m", "--ready-fd", "5"]
        );
        let mut command = Command::new("actd");
        let instance = Instance::resolve(&Selection { conf: Some("/c.yaml".into()), ..Selection::default() }).unwrap();
        arguments(&mut command, &instance, Start::Lasting, 5);
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["--conf", "/c.yaml", "--ready-fd", "5"]);
    }

    #[test]
    fn a_process_is_alive_or_not() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(u32::MAX));
        assert!(!is_alive(0));
        let mut child = Command::new("true").spawn().unwrap();
        let began = Instant::now();
        while is_alive(child.id()) {
            assert!(began.elapsed() < Duration::from_secs(60), "nobody has asked how it ended, but it has");
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }
}
