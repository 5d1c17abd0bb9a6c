//! `proxy`: delegates the proxy to the server, or shows how things stand.

use act_proto::method::{ProxyStatus, ProxySubmit};
use act_proto::proxy::{Status, SubmitParams};
use serde_json::json;

use crate::cli::Proxy;
use crate::ctx::Ctx;
use crate::failure::{CREDENTIAL, Failure, OK, Outcome};
use crate::submit::absolute;

/// Runs the verb.
///
/// # Errors
/// The daemon's.
pub async fn run(ctx: &Ctx, args: &Proxy) -> Outcome {
    let mut session = ctx.session().await?;
    if args.status {
        let status = session.call::<ProxyStatus>(&Default::default()).await?;
        if ctx.out.json {
            ctx.out.value(&json!({ "schema": "act.proxy/1", "status": status }))?;
        } else {
            ctx.out.text(&describe(&status))?;
            if let Some(hint) = &status.hint {
                ctx.out.note(&format!("hint: {hint}"));
            }
        }
        return Ok(if status.state == "ok" { OK } else { CREDENTIAL });
    }
    // A daemon that runs as a service does not see this shell's choice.
    let env = std::env::var_os("X509_USER_PROXY").filter(|p| !p.is_empty()).map(std::path::PathBuf::from);
    let path = args.file.clone().or(env).as_deref().map(absolute).transpose()?;
    let params = SubmitParams { path, switch_identity: args.switch_identity };
    let done = session.call::<ProxySubmit>(&params).await.map_err(other_identity)?;
    if ctx.out.json {
        ctx.out.value(&json!({ "schema": "act.proxy/1", "token_path": done.token_path, "status": done.status }))?;
    } else {
        ctx.out.line(&format!("Successfully inserted proxy. Access token stored in {}", done.token_path))?;
    }
    Ok(OK)
}

fn other_identity(f: Failure) -> Failure {
    if f.kind == act_proto::Kind::OtherIdentity.word() && f.hint.is_none() {
        return f.hint("if you mean it, run `actctl proxy --switch-identity`");
    }
    f
}

fn describe(status: &Status) -> String {
    let left = |at: &Option<String>| at.as_deref().map(|at| format!("{at} ({})", remaining(at)));
    let proxyid = status.proxyid.map(|n| n.to_string());
    let lines = [
        ("state", Some(format!("{}: {}", status.state, status.message))),
        ("proxy", Some(status.proxy_path.clone())),
        ("identity", status.dn.clone()),
        ("attributes", Some(status.voms.join(" ")).filter(|v| !v.is_empty())),
        ("proxy ends", left(&status.proxy_expires)),
        ("attributes end", left(&status.voms_expires)),
        ("token", Some(status.token_path.clone())),
        ("token ends", left(&status.token_expires)),
        ("proxyid", proxyid),
        ("needed by", needed(status)),
    ];
    lines.into_iter().filter_map(|(name, value)| value.map(|v| format!("{:<15} {v}\n", format!("{name}:")))).collect()
}

/// Which jobs need the credential, and until when.
fn needed(status: &Status) -> Option<String> {
    if status.jobs == 0 {
        return None;
    }
    let jobs = if status.jobs == 1 { "1 job".to_owned() } else { format!("{} jobs", status.jobs) };
    let until = status.needed_until.as_deref().map(|at| format!(", by their walltimes until {at}")).unwrap_or_default();
    let short = match status.outlived_by {
        0 => String::new(),
        n => format!("; {n} may run longer than it lives"),
    };
    Some(format!("{jobs}{until}{short}"))
}

/// The line below `stat`: how long everything lives that jobs need.
#[must_use]
pub fn footer(status: &Status) -> String {
    let parts =
        [("proxy", &status.proxy_expires), ("attributes", &status.voms_expires), ("token", &status.token_expires)];
    let mut text: Vec<String> =
        parts.iter().filter_map(|(name, at)| Some(format!("{name}: {}", remaining(at.as_deref()?)))).collect();
    if status.state != "ok" {
        text.insert(0, status.message.clone());
    }
    if let Some(needed) = needed(status) {
        text.push(format!("needed by {needed}"));
    }
    text.join(", ")
}

/// How long it is until a moment.
fn remaining(at: &str) -> String {
    let Ok(at) = at.parse::<jiff::Timestamp>() else { return "?".into() };
    let seconds = at.as_second() - jiff::Timestamp::now().as_second();
    match seconds {
        ..=0 => "has ended".into(),
        1..3_600 => format!("{} min left", seconds / 60),
        3_600..172_800 => format!("{} h {} min left", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} days left", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::remaining;

    #[test]
    fn time_left() {
        assert_eq!(remaining("2001-01-01T00:00:00Z"), "has ended");
        assert!(remaining("2999-01-01T00:00:00Z").ends_with("days left"));
        assert_eq!(remaining("x"), "?");
    }
}
