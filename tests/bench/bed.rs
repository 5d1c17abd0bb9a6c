//! A sandbox with a user, the programs that are compared, and how each is run.

use std::process::Command;

use act_proto::Client;
use act_proto::jobs::ListParams;
use act_proto::method::JobsList;
use act_tests::act::Act;
use act_tests::{World, bins};
use serde_json::{Value, json};

use crate::measure::{Cost, Process, run};
use crate::raw::Raw;

/// How the server works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    /// One request at a time, as the real one usually is set up.
    OneWorker,
    /// As many as come.
    ManyWorkers,
    /// One, as slow as a real server's.
    SlowWorker,
    /// Many, each as slow.
    SlowWorkers,
}

/// What a real server of one worker was seen to take for a request, milliseconds: 50 of `GET /info` in 0.21 to 0.25 s.
const REQUEST_MS: &str = "5";

impl Server {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::OneWorker => "one worker",
            Self::ManyWorkers => "many workers",
            Self::SlowWorker => "one worker, 5 ms a request",
            Self::SlowWorkers => "many workers, 5 ms a request",
        }
    }

    /// Whether requests are worked on one after the other.
    pub(crate) fn is_serial(self) -> bool {
        matches!(self, Self::OneWorker | Self::SlowWorker)
    }

    fn arguments(self) -> Vec<&'static str> {
        let mut arguments = vec!["--workers", if self.is_serial() { "1" } else { "many" }];
        if matches!(self, Self::SlowWorker | Self::SlowWorkers) {
            arguments.extend(["--request-time", REQUEST_MS]);
        }
        arguments
    }
}

/// A server and a user, whose daemon has the settings that users have, but for automatic downloads.
pub(crate) struct Bed {
    pub(crate) world: World,
    pub(crate) runtime: tokio::runtime::Runtime,
}

impl Bed {
    /// Jobs that are submitted to it stay as they are: nothing runs on the machine but what is measured.
    pub(crate) fn new(server: Server) -> Self {
        Self::with(server, &[])
    }

    /// The same with more settings.
    pub(crate) fn with(server: Server, settings: &[&str]) -> Self {
        let mut all = vec!["download: manual", "poll_min: 5s", "poll_max: 60s"];
        all.extend(settings);
        let mut arguments = server.arguments();
        arguments.extend(["--delays", "handover=86400000"]);
        let world = World::ready_with(&arguments, &all);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { world, runtime }
    }

    /// Jobs that never ran.
    pub(crate) fn seed(&self, wish: &Value) -> Vec<u64> {
        // In pieces: an answer of the admin port takes no longer than it waits for one.
        let count = wish["count"].as_u64().unwrap_or(0);
        let mut ids = Vec::new();
        for first in (0..count).step_by(10_000) {
            let mut piece = wish.clone();
            piece["count"] = json!((count - first).min(10_000));
            ids.extend(self.world.sandbox.synthetic(&piece));
        }
        ids
    }

    /// So many jobs that run and do not end.
    pub(crate) fn seed_running(&self, count: usize) -> Vec<u64> {
        self.seed(&json!({"count": count, "arcstate": "running", "state": "Running", "name": "run"}))
    }

    pub(crate) fn daemon(&self) -> Process {
        Process(self.world.user.daemon_pid().expect("a daemon runs"))
    }

    /// Requests that the server has had: it closes the connection after each.
    pub(crate) fn requests(&self) -> f64 {
        self.world.sandbox.admin("GET", "/stats", None)["connections"].as_f64().unwrap_or_default()
    }

    /// Bytes of the daemon's state directory.
    pub(crate) fn disk_mib(&self) -> f64 {
        fn size(dir: &std::path::Path) -> u64 {
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            let of = |e: std::fs::DirEntry| match e.metadata() {
                Ok(meta) if meta.is_dir() => size(&e.path()),
                Ok(meta) => std::os::unix::fs::MetadataExt::blocks(&meta) * 512,
                Err(_) => 0,
            };
            entries.map(of).sum()
        }
        size(&self.world.user.state()) as f64 / 1_048_576.0
    }

    fn counted(&self, work: impl FnOnce() -> Cost) -> Cost {
        let before = self.requests();
        let mut cost = work();
        cost.requests = self.requests() - before;
        cost
    }

    /// `actctl`, with what the daemon does for it.
    pub(crate) fn actctl(&self, args: &[&str]) -> Cost {
        self.counted(|| {
            let daemon = self.daemon();
            daemon.reset_peak();
            let before = daemon.cpu_ms();
            let mut command = self.world.user.command(bins::program("actctl"));
            command.args(args);
            let mut cost = run(command);
            cost.cpu_ms += daemon.cpu_ms() - before;
            cost.peak_mib = cost.peak_mib.max(daemon.peak_mib().unwrap_or_default());
            cost
        })
    }

    /// The Python client.
    pub(crate) fn act(&self, act: &Act<'_>, args: &[&str]) -> Cost {
        self.counted(|| run(act.command(args)))
    }

    pub(crate) fn python(&self) -> Act<'_> {
        Act::new(&self.world.user, &self.world.sandbox.info().proxy)
    }

    /// Waits until the daemon has a list that was asked for after this call.
    pub(crate) fn list_anew(&self) {
        let fresh = ListParams { max_age_ms: Some(0), limit: Some(1), ..ListParams::default() };
        self.runtime.block_on(self.client().call::<JobsList>(&fresh)).expect("an answer");
    }

    /// What the last program said: so many lines of results.
    pub(crate) fn expect_results(&self, jobs: usize) {
        let said = std::fs::read_to_string(self.world.user.work().join("../bench.out")).expect("its output");
        let found = said.lines().filter(|line| line.starts_with("Results for job")).count();
        assert_eq!(found, jobs, "{said}");
    }

    /// Any other program.
    pub(crate) fn other(&self, command: Command) -> Cost {
        self.counted(|| run(command))
    }

    /// The bare client with the user's token.
    pub(crate) fn raw(&self) -> Raw {
        let token = std::fs::read_to_string(self.world.user.token()).expect("a token");
        Raw::new(&self.world.sandbox.info().server, token.trim())
    }

    /// Work of the bare client.
    pub(crate) fn raw_cost(&self, work: impl Future<Output = ()>) -> Cost {
        self.counted(|| {
            let start = std::time::Instant::now();
            self.runtime.block_on(work);
            Cost { ms: start.elapsed().as_secs_f64() * 1e3, ..Cost::default() }
        })
    }

    /// A connection to the daemon.
    pub(crate) fn client(&self) -> Client {
        self.runtime.block_on(Client::connect(&self.world.user.socket(), "bench")).expect("a daemon runs")
    }
}
