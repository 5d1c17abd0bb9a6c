//! Notifications on the user's desktop, through the session bus, where there is one. They are sent by a program of the
//! system's (`busctl`, or `notify-send` where that is missing): the daemon itself speaks no D-Bus.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::run::{Ended, Run};
use crate::config::values::CommandLine;

/// How long a notification stays to be seen, in milliseconds.
const SHOWN: &str = "10000";
/// How long sending one may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Shows a notification, if there is anybody to show it.
pub(super) async fn show(title: &str, text: &str, logs: &Path) {
    let Some(command) = command(title, text) else { return };
    let run = Run {
        what: "notify",
        about: "desktop".into(),
        command: CommandLine(command),
        facts: Vec::new(),
        dir: PathBuf::from("/"),
        limit: LIMIT,
        umask: None,
    };
    if run.run(logs).await != Ended::Well {
        tracing::debug!("no notification was shown: {title}");
    }
}

/// Whether there is a session bus.
fn has_bus() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
    set("DBUS_SESSION_BUS_ADDRESS").is_some()
        || set("XDG_RUNTIME_DIR").is_some_and(|dir| Path::new(&dir).join("bus").exists())
}

fn command(title: &str, text: &str) -> Option<Vec<String>> {
    if !has_bus() {
        return None;
    }
    let found = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
    };
    let name = "org.freedesktop.Notifications";
    let path = "/org/freedesktop/Notifications";
    let words: Vec<&str> = if found("busctl") {
        vec![
            "busctl",
            "--user",
            "--timeout=5",
            "--",
            "call",
            name,
            path,
            name,
            "Notify",
            "susssasa{sv}i",
            "actd",
            "0",
            "",
            title,
            text,
            "0",
            "0",
            SHOWN,
        ]
    } else if found("notify-send") {
        vec!["notify-send", "--app-name=actd", "--", title, text]
    } else {
        return None;
    };
    Some(words.into_iter().map(|word| word.replace('\0', "")).collect())
}
