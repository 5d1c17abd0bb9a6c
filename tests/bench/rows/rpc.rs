//! The API on the socket: a trivial call, a long list, many events to many subscribers.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use act_proto::daemon::HelloParams;
use act_proto::jobs::ListParams;
use act_proto::method::{DaemonHello, JobsList};
use serde_json::json;

use crate::bed::{Bed, Server};
use crate::measure::{Cost, median, percentile};
use crate::report::{Report, Row};
use crate::rows::Size;

const SUBSCRIBERS: usize = 10;

pub(crate) fn run(size: &Size, report: &mut Report) {
    let jobs = size.thousand * 10;
    let bed = Bed::new(Server::OneWorker);
    let client = bed.client();
    let hello = HelloParams { client: "bench".into(), protocol: act_proto::PROTOCOL };
    let calls = |count: usize| -> Vec<f64> {
        let one = |_| {
            let start = Instant::now();
            bed.runtime.block_on(client.call::<DaemonHello>(&hello)).expect("an answer");
            start.elapsed().as_secs_f64() * 1e3
        };
        (0..count).map(one).collect()
    };
    calls(size.thousand / 10);
    let times = calls(size.thousand * 5);
    let (p50, p99) = (median(times.clone()), percentile(times, 99));
    report.row(Row {
        work: "a trivial call, p50 and p99".into(),
        target: "under 0.2 and 2 ms".into(),
        met: Some(p50 < 0.2 && p99 < 2.0),
        note: format!("{p50:.3} and {p99:.2} ms"),
        ..Row::default()
    });

    events(&bed, jobs, report);

    let list = ListParams { limit: Some(10_000), ..ListParams::default() };
    let times: Vec<f64> = (0..size.rounds * 4)
        .map(|_| {
            let start = Instant::now();
            let answer = bed.runtime.block_on(client.call::<JobsList>(&list)).expect("an answer");
            assert_eq!(answer.items.len(), jobs.min(10_000), "all of them");
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    let typed = median(times);
    let socket = bed.world.user.socket();
    let times: Vec<f64> = (0..size.rounds * 4)
        .map(|_| {
            let mut lines = connect(&socket);
            let call = json!({"jsonrpc": "2.0", "id": 1, "method": "jobs.list", "params": {"limit": 10_000}});
            let start = Instant::now();
            lines.get_ref().write_all(format!("{call}\n").as_bytes()).expect("it takes calls");
            let mut reply = Vec::new();
            lines.read_until(b'\n', &mut reply).expect("a reply");
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    let ms = median(times);
    report.row(Row {
        work: format!("`jobs.list` of {jobs}"),
        target: "under 60 ms".into(),
        met: Some(ms < 60.0),
        ours: Some(Cost { ms, ..Cost::default() }),
        note: format!("read and decoded into types over a WebSocket {typed:.0} ms"),
        ..Row::default()
    });
}

fn connect(socket: &Path) -> BufReader<UnixStream> {
    let stream = UnixStream::connect(socket).expect("a daemon runs");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket takes a timeout");
    BufReader::with_capacity(1 << 20, stream)
}

/// Ten subscribers, and a list on which all jobs are new. They read lines off the socket, as a script would.
fn events(bed: &Bed, jobs: usize, report: &mut Report) {
    let socket = bed.world.user.socket();
    let mut subscribers: Vec<BufReader<UnixStream>> = (0..SUBSCRIBERS).map(|_| subscribe(&socket)).collect();
    bed.seed(&json!({"count": jobs, "arcstate": "running", "state": "Running", "name": "run"}));
    let start = Instant::now();
    let readers: Vec<_> = subscribers
        .drain(..)
        .map(|mut lines| {
            std::thread::spawn(move || {
                let (mut seen, mut line) = (0, String::new());
                while seen < jobs {
                    line.clear();
                    match lines.read_line(&mut line) {
                        Ok(n) if n > 0 => seen += usize::from(line.contains("\"type\":\"job\"")),
                        _ => break,
                    }
                }
                seen
            })
        })
        .collect();
    bed.list_anew();
    let counts: Vec<usize> = readers.into_iter().map(|r| r.join().expect("a reader")).collect();
    let ms = start.elapsed().as_secs_f64() * 1e3;
    let least = counts.iter().copied().min().unwrap_or(0);
    report.row(Row {
        work: format!(
            "{jobs} events to {SUBSCRIBERS} subscribers, from the list that tells of them to the last one read"
        ),
        target: "no loss".into(),
        met: Some(least == jobs),
        ours: Some(Cost { ms, ..Cost::default() }),
        note: format!("the least that one got: {least}"),
        ..Row::default()
    });
}

/// A connection that gets events of jobs from now on.
fn subscribe(socket: &Path) -> BufReader<UnixStream> {
    let mut lines = connect(socket);
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "events.subscribe", "params": {"types": ["job"]}});
    lines.get_ref().write_all(format!("{call}\n").as_bytes()).expect("it takes calls");
    let mut reply = String::new();
    lines.read_line(&mut reply).expect("a reply");
    assert!(reply.contains("\"result\""), "{reply}");
    lines
}
