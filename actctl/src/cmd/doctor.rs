//! `doctor`: everything that the daemon and this command line need, one line each, with what to do about it. The daemon
//! looks at what is its own; here is what only the user's shell shows.

use std::path::PathBuf;
use std::time::Duration;

use act_proto::daemon::{Check, CheckState};
use act_proto::instance::{check_runtime_dir, runtime_dir};
use act_proto::method::{DaemonDoctor, ProxyStatus};
use serde_json::json;
use tokio::time::Instant;

use crate::connect;
use crate::ctx::{Ctx, Session};
use crate::failure::{Failure, OK, Outcome, SOME_FAILED};
use crate::service::{self, LINGER, SERVICE, SOCKET};

/// How long the daemon may take in all, its start included: it bounds each of its own questions.
const DAEMON: Duration = Duration::from_secs(8);
/// How long the service manager may take.
const MANAGER: Duration = Duration::from_secs(3);

use CheckState::{Fail, Ok as Well, Skip, Warn};

/// Runs the verb.
///
/// # Errors
/// The reader of stdout has gone.
pub async fn run(ctx: &Ctx) -> Outcome {
    let mut checks = vec![programs()];
    checks.push(runtime());
    let manager = tokio::spawn(tokio::time::timeout(MANAGER, manager()));
    let until = Instant::now() + DAEMON;
    match tokio::time::timeout_at(until, ctx.session()).await {
        Ok(Ok(session)) => checks.extend(daemon(session, until).await),
        // A bad configuration, mostly: the daemon's own words.
        Ok(Err(f)) => checks.push(refused(f)),
        Err(_) => checks.push(silent()),
    }
    let position = 2.min(checks.len());
    let found = match manager.await {
        Ok(Ok(found)) => found,
        _ => vec![Check::new("service", Warn, "the service manager does not answer")],
    };
    checks.splice(position..position, found);
    let failed = checks.iter().any(|c| c.state == Fail);
    if ctx.out.json {
        ctx.out.value(&json!({ "schema": "act.doctor/1", "well": !failed, "checks": checks }))?;
    } else {
        ctx.out.text(&lines(&checks))?;
    }
    Ok(if failed { SOME_FAILED } else { OK })
}

/// A line for each, and what to do below it.
fn lines(checks: &[Check]) -> String {
    let word = |state| match state {
        Well => "ok",
        Warn => "warn",
        Fail => "FAIL",
        Skip => "-",
    };
    let mut text = String::new();
    for check in checks {
        text.push_str(&format!("{:<5} {:<12} {}\n", word(check.state), check.name, check.message));
        if let Some(hint) = &check.hint {
            text.push_str(&format!("{:<18} fix: {hint}\n", ""));
        }
    }
    text
}

fn refused(f: Failure) -> Check {
    let name = if f.kind == act_proto::Kind::BadConfig.word() { "config" } else { "daemon" };
    let check = Check::new(name, Fail, f.message);
    match f.hint {
        Some(hint) => check.hint(hint),
        None => check,
    }
}

fn silent() -> Check {
    Check::new("daemon", Fail, "the daemon does not answer")
        .hint("`actctl daemon logs`; if it hangs: `actctl daemon restart`")
}

fn programs() -> Check {
    match connect::find_actd() {
        Ok(path) => Check::new("programs", Well, format!("actctl {}, {}", env!("CARGO_PKG_VERSION"), path.display())),
        Err(f) => refused(f),
    }
}

fn runtime() -> Check {
    let dir = runtime_dir();
    match check_runtime_dir(&dir, true) {
        Ok(()) if std::env::var_os("XDG_RUNTIME_DIR").is_none() => {
            Check::new("runtime", Warn, format!("{} is used, because XDG_RUNTIME_DIR is not set", dir.display()))
                .hint("log in with ssh or at the console rather than with `su`: a service has its socket elsewhere")
        }
        Ok(()) => Check::new("runtime", Well, format!("{} is yours alone", dir.display())),
        Err(e) => {
            Check::new("runtime", Fail, format!("the directory of the socket, {}, cannot be used: {e}", dir.display()))
                .hint("set XDG_RUNTIME_DIR to a directory of your own with mode 0700")
        }
    }
}

/// The service manager: whether the daemon is its own, and whether it outlives a logout.
async fn manager() -> Vec<Check> {
    if let Err(refusal) = service::manager().await {
        let text = format!("no service manager of yours: {}", refusal.message);
        return vec![Check::new("service", Skip, text).hint(refusal.hint.unwrap_or_else(|| {
            "`actctl daemon start` keeps the daemon until the machine is switched off".to_owned()
        }))];
    }
    let (socket, enabled) = (service::is_enabled(SOCKET).await, service::is_enabled(SERVICE).await);
    if !socket {
        return vec![
            Check::new("service", Warn, "the daemon is no service: it ends half an hour after there is nothing to do")
                .hint("actctl daemon install"),
        ];
    }
    let mut checks = vec![if enabled {
        Check::new("service", Well, "the daemon is a service, started when you log in and by every command")
    } else {
        Check::new("service", Warn, "the daemon is started by commands only, not when you log in")
            .hint("actctl daemon install")
    }];
    checks.push(match service::lingers().await {
        Some(true) => Check::new("lingering", Well, "the service goes on when you log out"),
        Some(false) => Check::new("lingering", Warn, "the service ends when you log out").hint(LINGER),
        None => Check::new("lingering", Skip, "nobody knows whether the service goes on when you log out").hint(LINGER),
    });
    for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "X509_CERT_DIR"] {
        if let Some((mine, theirs)) = service::differs(name).await {
            let theirs = theirs.unwrap_or_else(|| "nothing".to_owned());
            checks.push(
                Check::new("environment", Warn, format!("{name} is {mine} here and {theirs} for the service"))
                    .hint("actctl daemon install"),
            );
        }
    }
    checks
}

async fn daemon(mut session: Session<'_>, until: Instant) -> Vec<Check> {
    let hello = session.client().hello();
    let (version, pid) = (hello.version.clone(), hello.pid);
    let mut checks = vec![if version == env!("CARGO_PKG_VERSION") {
        Check::new("daemon", Well, format!("actd {version} answers (pid {pid})"))
    } else {
        Check::new(
            "daemon",
            Warn,
            format!("actd {version} runs (pid {pid}), this is actctl {}", env!("CARGO_PKG_VERSION")),
        )
        .hint("actctl daemon restart")
    }];
    match tokio::time::timeout_at(until, session.call::<DaemonDoctor>(&Default::default())).await {
        Ok(Ok(found)) => checks.extend(found.checks),
        Ok(Err(f)) => checks.push(refused(f)),
        Err(_) => checks.push(silent()),
    }
    let mine = std::env::var_os("X509_USER_PROXY").filter(|p| !p.is_empty()).map(PathBuf::from);
    if let Some(mine) = mine
        && let Ok(status) = session.call::<ProxyStatus>(&Default::default()).await
        && std::path::Path::new(&status.proxy_path) != mine
    {
        let text = format!("X509_USER_PROXY is {} here, the daemon uses {}", mine.display(), status.proxy_path);
        checks.push(Check::new("environment", Warn, text).hint("actctl proxy"));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_is_a_line_with_its_fix_below() {
        let checks = [Check::new("a", Well, "good"), Check::new("b", Fail, "bad").hint("mend")];
        assert_eq!(lines(&checks), "ok    a            good\nFAIL  b            bad\n                   fix: mend\n");
    }
}
