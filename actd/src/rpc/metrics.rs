//! `GET /metrics`: the daemon in numbers, in Prometheus's text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Api;
use super::daemon::{calls, phase_word};
use crate::job::Time;

/// All of it.
pub(super) fn render(api: &Api) -> String {
    let (phases, states, as_of, gates, transferring, orphans) = {
        let jobs = api.engine.board.read();
        let mut phases: BTreeMap<String, u64> = BTreeMap::new();
        let mut states: BTreeMap<String, u64> = BTreeMap::new();
        for job in jobs.by_key.values() {
            *phases.entry(phase_word(job)).or_default() += 1;
            *states.entry(job.arcstate().word().unwrap_or("none").to_owned()).or_default() += 1;
        }
        let gates = [
            ("credential", jobs.gates.credential.is_some()),
            ("server", jobs.gates.server.is_some()),
            ("disk", !jobs.gates.disks.is_empty()),
        ];
        let bytes: u64 = jobs.progress.values().map(|(_, p)| p.bytes).sum();
        (phases, states, jobs.as_of, gates, (jobs.progress.len(), bytes), jobs.orphans.len())
    };
    let mut page = Page(String::new());
    page.family("actd_info", "gauge", "The daemon's version.");
    page.sample("actd_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    page.family("actd_start_time_seconds", "gauge", "When the daemon started.");
    page.sample("actd_start_time_seconds", &[], api.started.0 as f64 / 1000.0);
    page.family("actd_jobs", "gauge", "Jobs by the daemon's phase.");
    for (phase, n) in &phases {
        page.sample("actd_jobs", &[("phase", phase)], *n as f64);
    }
    page.family("actd_jobs_arcstate", "gauge", "Jobs by the server's state.");
    for (state, n) in &states {
        page.sample("actd_jobs_arcstate", &[("arcstate", state)], *n as f64);
    }
    page.family("actd_blocked", "gauge", "Whether work waits for this.");
    for (gate, closed) in gates {
        page.sample("actd_blocked", &[("reason", gate)], f64::from(u8::from(closed)));
    }
    page.family("actd_requests_total", "counter", "Requests to the aCT server.");
    page.sample("actd_requests_total", &[], api.hands.act().requests() as f64);
    page.family("actd_rpc_requests_total", "counter", "HTTP requests of clients to the control API.");
    page.sample("actd_rpc_requests_total", &[], calls(api) as f64);
    page.family("actd_clients", "gauge", "Connections of clients.");
    page.sample("actd_clients", &[], *api.clients.watch().borrow() as f64);
    page.family("actd_transfers", "gauge", "Jobs whose files are being moved.");
    page.sample("actd_transfers", &[], transferring.0 as f64);
    page.family("actd_transfer_bytes", "gauge", "Bytes moved so far by the transfers under way.");
    page.sample("actd_transfer_bytes", &[], transferring.1 as f64);
    page.family("actd_orphans", "gauge", "Rows on the server that look like leftovers of lost requests.");
    page.sample("actd_orphans", &[], orphans as f64);
    page.family("actd_last_event", "counter", "Number of the newest event.");
    page.sample("actd_last_event", &[], api.engine.last_event() as f64);
    if let Some(t) = as_of {
        page.family("actd_list_age_seconds", "gauge", "Age of the server's list of jobs.");
        page.sample("actd_list_age_seconds", &[], Time::now().since(t).max(0) as f64 / 1000.0);
    }
    page.0
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(k, v)| format!("{k}=\"{}\"", v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")))
            .collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}
