//! `actd.renew`: has the user's command make a new proxy before the old one ends. It runs one at a time, waits longer
//! after each failure, and judges by the proxy that is there afterwards, not by what the command says.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinHandle;

use crate::config::Config;
use crate::hooks::run::{Ended, Run};

/// First and longest pause after a run, whatever came of it.
const PAUSE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));
/// A new proxy must live so much longer than the old one to be one.
const LONGER: Duration = Duration::from_secs(60);

/// The renewal of the proxy.
#[derive(Debug)]
pub(super) struct Renewal {
    running: Option<(JoinHandle<Ended>, Option<SystemTime>)>,
    next: Instant,
    pause: Duration,
    /// The last run has not brought a new proxy.
    failed: bool,
}

impl Default for Renewal {
    fn default() -> Self {
        Self { running: None, next: Instant::now(), pause: PAUSE.0, failed: false }
    }
}

impl Renewal {
    /// Whether it can be relied upon: a command is there, and has not failed.
    pub(super) fn is_trusted(&self, config: &Config) -> bool {
        config.renew.is_some() && !self.failed
    }

    /// Runs the command if the proxy that ends at `end` (none: there is no usable one) ends within `lead`.
    pub(super) fn consider(&mut self, config: &Config, path: &Path, end: Option<SystemTime>, lead: Duration) {
        let Some(command) = &config.renew else { return };
        if self.running.is_some() || Instant::now() < self.next {
            return;
        }
        if end.is_some_and(|end| SystemTime::now() + lead < end) {
            return;
        }
        let shown = path.display().to_string();
        tracing::info!("renewing the proxy {shown}");
        let run = Run {
            what: "renew",
            about: "proxy".into(),
            command: command.clone(),
            // Where arcproxy and voms-proxy-init write to.
            facts: vec![("X509_USER_PROXY", shown.clone()), ("ACTD_PROXY", shown)],
            dir: std::env::var_os("HOME").map(PathBuf::from).filter(|h| h.is_dir()).unwrap_or_else(|| "/".into()),
            limit: config.hooks.timeout,
            // What it makes is a private key.
            umask: None,
        };
        let logs = config.state.join("hooks");
        self.running = Some((tokio::spawn(async move { run.run(&logs).await }), end));
    }

    /// Returns when the command has ended: with the end of the proxy of before.
    pub(super) async fn ended(&mut self) -> Option<SystemTime> {
        let Some((task, before)) = &mut self.running else { return std::future::pending().await };
        let before = *before;
        // A run that panicked has made no proxy.
        let _ = task.await;
        self.running = None;
        before
    }

    /// Judges a run by the proxy that is there now.
    pub(super) fn judge(&mut self, before: Option<SystemTime>, now: Option<SystemTime>) {
        let floor = before.unwrap_or_else(SystemTime::now);
        self.failed = now.is_none_or(|now| now < floor + LONGER);
        if self.failed {
            tracing::warn!("`actd.renew` has brought no longer-lived proxy; it is run again in {:?}", self.pause);
        } else {
            tracing::info!("the proxy was renewed");
            self.pause = PAUSE.0;
        }
        // After a success, too: proxies that live for seconds must not lead to a loop.
        self.next = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(PAUSE.1);
    }

    /// Another configuration: another command may be tried at once.
    pub(super) fn reset(&mut self) {
        self.next = Instant::now();
        self.pause = PAUSE.0;
    }
}
