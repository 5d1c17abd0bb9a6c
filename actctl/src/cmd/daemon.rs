//! `daemon`: starts, stops and shows the daemon.

use std::time::{Duration, Instant};

use act_proto::daemon::Status;
use act_proto::method::{DaemonReload, DaemonStatus, DaemonStop};
use act_proto::start::{lock_path, mark_stopped, read_lock};
use rustix::process::Signal;
use serde_json::json;

use crate::cli::{Daemon, Stop};
use crate::cmd::{daemon_logs, daemon_service};
use crate::connect::{self, Start, is_alive};
use crate::ctx::{Ctx, Session};
use crate::failure::{DAEMON, Failure, OK, Outcome};
use crate::pick::duration;
use crate::{service, table};

/// How long a daemon may take to end before more is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grace {
    /// When it was asked to.
    asked: Duration,
    /// By a signal.
    signal: Duration,
}

impl Default for Grace {
    fn default() -> Self {
        Self { asked: Duration::from_secs(60), signal: Duration::from_secs(20) }
    }
}

impl Grace {
    fn of(args: &Stop) -> Result<Self, Failure> {
        let Some(text) = &args.timeout else { return Ok(Self::default()) };
        let time = duration(text)?;
        Ok(Self { asked: time, signal: time })
    }
}

/// Runs the verb.
///
/// # Errors
/// The daemon's.
pub async fn run(ctx: &Ctx, args: &Daemon) -> Outcome {
    match args {
        Daemon::Install => daemon_service::install(ctx).await,
        Daemon::Uninstall => daemon_service::uninstall(ctx).await,
        Daemon::Start => start(ctx).await,
        Daemon::Stop(args) => {
            let stopped = stop(ctx, Grace::of(args)?).await?;
            if !stopped {
                ctx.out.note("No daemon runs.");
            }
            if ctx.out.json {
                ctx.out.value(&json!({ "schema": "act.daemon/1", "stopped": stopped }))?;
            }
            Ok(OK)
        }
        Daemon::Restart(args) => {
            stop(ctx, Grace::of(args)?).await?;
            start(ctx).await
        }
        Daemon::Reload => reload(ctx).await,
        Daemon::Status => status(ctx).await,
        Daemon::List => list(ctx).await,
        Daemon::Logs { follow, lines, request } => daemon_logs::run(ctx, *follow, *lines, request.as_deref()).await,
    }
}

/// A session with a daemon that runs. Connecting to a socket of the service manager's would start one.
async fn running(ctx: &Ctx) -> Result<Option<Session<'_>>, Failure> {
    if service::is_idle(&ctx.instance()?).await { Ok(None) } else { ctx.running().await }
}

async fn start(ctx: &Ctx) -> Outcome {
    let instance = ctx.instance()?;
    let client = connect::connect(ctx, &instance, Start::Lasting).await?;
    let hello = client.hello();
    if ctx.out.json {
        ctx.out.value(
            &json!({ "schema": "act.daemon/1", "instance": hello.instance, "pid": hello.pid, "server": hello.server }),
        )?;
    } else {
        ctx.out.note(&format!("The daemon {} runs (pid {}) for {}.", hello.instance, hello.pid, hello.server));
    }
    Ok(OK)
}

/// Stops it and waits until it has ended; `false`: none ran. One that cannot be talked to, or does not end, is ended by a
/// signal.
pub(super) async fn stop(ctx: &Ctx, grace: Grace) -> Result<bool, Failure> {
    let mut session = match running(ctx).await {
        Ok(Some(session)) => session,
        Ok(None) => return Ok(false),
        Err(failure) if failure.exit == DAEMON => return end(ctx, failure, grace).await,
        Err(failure) => return Err(failure),
    };
    let running = session.pid();
    let pid = match session.call::<DaemonStop>(&Default::default()).await {
        Ok(reply) => reply.pid,
        // It may end before its answer is out.
        Err(failure) if failure.exit == DAEMON => running,
        Err(failure) => return Err(failure),
    };
    if !ends(pid, grace.asked).await {
        let seconds = grace.asked.as_secs();
        let why = Failure::daemon(format!("the daemon (pid {pid}) has not ended within {seconds} s"))
            .hint("`actctl daemon logs` tells what it is waiting for");
        return end(ctx, why, grace).await;
    }
    ctx.out.note(&format!("The daemon (pid {pid}) has stopped."));
    Ok(true)
}

/// Ends the daemon that the lock file names; it loses nothing by that. `why`: it hangs, or is of another version.
async fn end(ctx: &Ctx, why: Failure, grace: Grace) -> Result<bool, Failure> {
    let state = ctx.instance()?.paths().state;
    let here = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let lock = read_lock(&state).ok().flatten().filter(|lock| lock.host == here && is_alive(lock.pid));
    let Some(lock) = lock.filter(|_| connect::is_held(&state)) else { return Err(why) };
    let pid = i32::try_from(lock.pid).ok().and_then(rustix::process::Pid::from_raw);
    let Some(pid) = pid else { return Err(why) };
    ctx.out.warn(&format!("{}; it is ended by a signal", why.message));
    // It may not come to do that itself, and commands that lose it would start another one.
    if let Err(e) = mark_stopped(&state) {
        ctx.out.warn(&format!("{}: {e}", lock_path(&state).display()));
    }
    for signal in [Signal::TERM, Signal::KILL] {
        match rustix::process::kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(e) => return Err(Failure::local(format!("the daemon (pid {}) cannot be ended: {e}", lock.pid))),
        }
        if ends(lock.pid, grace.signal).await {
            ctx.out.note(&format!("The daemon (pid {}) has been ended.", lock.pid));
            return Ok(true);
        }
    }
    Err(why)
}

/// Waits until a process has ended.
async fn ends(pid: u32, bound: Duration) -> bool {
    let since = Instant::now();
    while is_alive(pid) {
        if since.elapsed() > bound {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

async fn reload(ctx: &Ctx) -> Outcome {
    let Some(mut session) = running(ctx).await? else { return absent(ctx) };
    let config = session.call::<DaemonReload>(&Default::default()).await?;
    for warning in &config.warnings {
        ctx.out.warn(warning);
    }
    if ctx.out.json {
        ctx.out.value(&json!({ "schema": "act.config/1", "file": config.file, "settings": config.settings, "warnings": config.warnings }))?;
    } else {
        ctx.out.note(&format!("{} has been read.", config.file));
    }
    Ok(OK)
}

fn absent(ctx: &Ctx) -> Outcome {
    let instance = ctx.instance()?;
    if ctx.out.json {
        ctx.out.value(&json!({ "schema": "act.daemon/1", "instance": instance.name, "running": false }))?;
        return Ok(DAEMON);
    }
    Err(Failure::daemon(format!("the daemon {} does not run", instance.name)).hint("`actctl daemon start` starts it"))
}

async fn status(ctx: &Ctx) -> Outcome {
    let Some(mut session) = running(ctx).await? else { return absent(ctx) };
    let status = get_status(&mut session).await?;
    if ctx.out.json {
        ctx.out.value(&json!({ "schema": "act.daemon/1", "running": true, "status": status }))?;
    } else {
        ctx.out.text(&describe(&status))?;
    }
    Ok(OK)
}

async fn get_status(session: &mut Session<'_>) -> Result<Status, Failure> {
    session.call::<DaemonStatus>(&Default::default()).await
}

fn describe(s: &Status) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| text.push_str(&format!("{:<14} {value}\n", format!("{name}:")));
    line("instance", &s.instance);
    line("version", &format!("{} (pid {}, since {})", s.version, s.pid, s.started));
    line("server", &s.server);
    line("config", &s.config);
    line("state", &s.state);
    line("list read", s.as_of.as_deref().unwrap_or("not yet"));
    if let Some(error) = &s.server_error {
        line("server error", error);
    }
    let jobs: Vec<String> = s.phases.iter().map(|(phase, n)| format!("{n} {phase}")).collect();
    line("jobs", if jobs.is_empty() { "none".into() } else { jobs.join(", ") }.as_str());
    for group in s.waiting.iter().chain(&s.stuck) {
        let jobs = if group.jobs == 1 { "1 job".to_owned() } else { format!("{} jobs", group.jobs) };
        line("waiting", &format!("{jobs}: {}", group.message));
        if let Some(hint) = &group.hint {
            line("  hint", hint);
        }
    }
    if s.orphans > 0 {
        line("orphans", &format!("{} rows without a description, perhaps of lost requests of ours", s.orphans));
    }
    line("requests", &s.requests.to_string());
    text
}

/// All state directories of this user, and whether a daemon runs for each.
async fn list(ctx: &Ctx) -> Outcome {
    let root = act_proto::instance::state_home().join("actd");
    let mut names: Vec<String> = match std::fs::read_dir(&root) {
        Ok(entries) => entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(Failure::local(format!("cannot read {}: {e}", root.display()))),
    };
    names.sort();
    // The one that is meant here may keep its state elsewhere.
    let own = ctx.instance().ok();
    if let Some(own) = own.as_ref().filter(|own| own.paths().state.is_dir() && !names.contains(&own.name)) {
        names.push(own.name.clone());
    }
    let mut items = Vec::new();
    for name in names {
        let own = own.as_ref().filter(|own| own.name == name);
        let state = own.map_or_else(|| root.join(&name), |own| own.paths().state);
        // Connecting to a socket of the service manager's would start one.
        let lock = read_lock(&state).ok().flatten().filter(|_| connect::is_held(&state));
        let (client, trouble) = match &lock {
            Some(lock) => match connect::at(ctx, &lock.socket).await {
                Ok(client) => (client, None),
                Err(f) => (None, Some(f.message)),
            },
            None => (None, None),
        };
        let hello = client.as_ref().map(act_proto::Client::hello);
        items.push(json!({
            "instance": name, "running": lock.is_some(), "pid": lock.as_ref().map(|lock| lock.pid),
            "server": hello.map(|h| h.server.clone()), "version": hello.map(|h| h.version.clone()), "error": trouble,
        }));
    }
    if ctx.out.json {
        ctx.out.value(&json!({ "schema": "act.daemons/1", "items": items }))?;
        return Ok(OK);
    }
    let cell = |v: &serde_json::Value| match v {
        serde_json::Value::Null => "-".to_owned(),
        serde_json::Value::Bool(b) => if *b { "yes" } else { "no" }.to_owned(),
        other => table::text(other),
    };
    let heads = ["instance", "running", "pid", "version", "server"];
    let rows: Vec<Vec<String>> = items.iter().map(|i| heads.iter().map(|h| cell(&i[*h])).collect()).collect();
    ctx.out.text(&table::plain(&heads, &rows))?;
    for item in &items {
        if let Some(trouble) = item["error"].as_str() {
            ctx.out.warn(trouble);
        }
    }
    Ok(OK)
}
