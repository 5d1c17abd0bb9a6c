//! `daemon install` and `uninstall`: the daemon as a service of the user's own manager.

use act_proto::Instance;
use serde_json::json;

use crate::cmd::daemon;
use crate::connect;
use crate::ctx::Ctx;
use crate::failure::{Failure, OK, Outcome};
use crate::service::{self, LINGER, Refusal, SERVICE, SOCKET};

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let failure = Self::local(refusal.message);
        match refusal.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// The units serve the instance of the usual config file and of no other.
fn usual(ctx: &Ctx) -> Result<Instance, Failure> {
    let instance = ctx.instance()?;
    if instance.name == "default" {
        return Ok(instance);
    }
    Err(Failure::usage(format!("the service is for the usual config file and its server, not for {}", instance.name))
        .hint("leave --conf, --server and --port out, or keep such a daemon with `actctl daemon start`"))
}

/// Installs, enables and starts the service; a daemon that runs already makes way for it.
///
/// # Errors
/// There is no service manager, it refuses, or the service does not start.
pub async fn install(ctx: &Ctx) -> Outcome {
    let instance = usual(ctx)?;
    let program = connect::find_actd()?;
    service::manager().await.map_err(|refusal| no_manager(&program, refusal))?;
    // The manager's own: it is started again below, with the program of now.
    if service::is_active(SERVICE).await {
        service::systemctl(&["stop", SERVICE]).await?;
    } else if daemon::stop(ctx, daemon::Grace::default()).await? {
        ctx.out.note("The service takes its place.");
    }
    let units = service::write_units(&program).map_err(|e| Failure::local(format!("cannot write the units: {e}")))?;
    service::systemctl(&["daemon-reload"]).await?;
    // Left behind by an earlier failure.
    let _ = service::systemctl(&["reset-failed", SERVICE, SOCKET]).await;
    // The socket for whoever asks first; the service itself because directories are to be watched before anybody asks.
    service::systemctl(&["enable", SOCKET, SERVICE]).await?;
    service::systemctl(&["restart", SOCKET]).await?;
    let configured = instance.config.exists();
    let mut pid = None;
    if configured {
        let client = connect::existing(ctx, &instance).await?;
        pid = client.map(|client| client.hello().pid);
        if pid.is_none() {
            return Err(Failure::daemon("the service is installed, and its daemon does not answer")
                .hint(format!("see `systemctl --user status {SERVICE}`")));
        }
    }
    let lingers = service::lingers().await;
    if ctx.out.json {
        ctx.out.value(&json!({
            "schema": "act.service/1", "installed": true, "units": units, "program": program, "pid": pid, "lingers": lingers,
        }))?;
        return Ok(OK);
    }
    ctx.out.note(&format!(
        "{SOCKET} and {SERVICE} in {} are enabled; they run {}.",
        units.display(),
        program.display()
    ));
    match pid {
        Some(pid) => ctx.out.note(&format!("The daemon runs (pid {pid}).")),
        None => ctx.out.note(&format!(
            "The daemon starts with the first command, once {} has a line `server: https://HOST`.",
            instance.config.display()
        )),
    }
    if lingers != Some(true) {
        ctx.out.note(&format!("It ends when you log out, unless you type once: {LINGER}"));
    }
    Ok(OK)
}

fn no_manager(program: &std::path::Path, refusal: Refusal) -> Failure {
    let why = refusal.hint.map(|hint| format!("{hint}. ")).unwrap_or_default();
    Failure::local(format!("no service can be installed: {}", refusal.message)).hint(format!(
        "{why}Without one, `actctl daemon start` keeps the daemon until the machine is switched off, and the line \
         `@reboot {} daemon start` in `crontab -e` starts it again",
        program.with_file_name("actctl").display()
    ))
}

/// Ends the service and removes its units.
///
/// # Errors
/// The service manager refuses, or the units cannot be removed.
pub async fn uninstall(ctx: &Ctx) -> Outcome {
    usual(ctx)?;
    let enabled = match service::manager().await {
        Ok(()) => {
            let enabled = service::is_enabled(SOCKET).await || service::is_enabled(SERVICE).await;
            if enabled || service::is_active(SERVICE).await {
                service::systemctl(&["disable", "--now", SOCKET, SERVICE]).await?;
            }
            enabled
        }
        // Units of a manager that does not run can be removed, too.
        Err(_) => false,
    };
    let removed = service::remove_units().map_err(|e| Failure::local(format!("cannot remove the units: {e}")))?;
    if removed && service::manager().await.is_ok() {
        service::systemctl(&["daemon-reload"]).await?;
    }
    if ctx.out.json {
        ctx.out.value(&json!({ "schema": "act.service/1", "installed": false, "removed": removed || enabled }))?;
    } else if removed || enabled {
        ctx.out.note(
            "The service is gone. Jobs, results and the daemon's state stay; actctl starts a daemon when it needs one.",
        );
    } else {
        ctx.out.note("No service is installed.");
    }
    Ok(OK)
}
