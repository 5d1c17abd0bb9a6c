//! What a program costs: time on the clock, processor time, memory. And medians.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use std::fs::{self, File};

/// What was seen of one run, or the medians of several.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// On the clock, milliseconds.
    pub(crate) ms: f64,
    /// Of the processor, milliseconds: the program and the daemon behind it.
    pub(crate) cpu_ms: f64,
    /// Most memory, MiB: of the larger of the two.
    pub(crate) peak_mib: f64,
    /// Requests that the server saw.
    pub(crate) requests: f64,
}

/// Runs a program to its end; its output goes to files `bench.out` and `bench.err` in its directory.
pub(crate) fn run(mut command: Command) -> Cost {
    let shown = format!("{command:?}");
    let dir = command.get_current_dir().map(ToOwned::to_owned).unwrap_or_default();
    let file = |name: &str| File::create(dir.join(name)).expect("a file for its output");
    command.stdin(Stdio::null()).stdout(file("../bench.out")).stderr(file("../bench.err"));
    let before = children();
    let start = Instant::now();
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{shown}: {e}"));
    let pid = child.id();
    let watch = std::thread::spawn(move || {
        let mut most = 0.0_f64;
        // It has gone when its files have.
        while let Some(peak) = Process(pid).peak_mib() {
            most = most.max(peak);
            std::thread::sleep(Duration::from_millis(2));
        }
        most
    });
    let status = child.wait().expect("a child can be waited for");
    let ms = start.elapsed().as_secs_f64() * 1e3;
    let cpu_ms = children() - before;
    let said = || fs::read_to_string(dir.join("../bench.err")).unwrap_or_default();
    assert!(status.success(), "{shown}: {status}\n{}", said());
    Cost { ms, cpu_ms, peak_mib: watch.join().unwrap_or_default(), requests: 0.0 }
}

/// Processor time of all children that have ended, milliseconds.
fn children() -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a whole rusage, which the call fills in or leaves zeroed; all zeroes are a valid one.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    let ms = |t: libc::timeval| t.tv_sec as f64 * 1e3 + t.tv_usec as f64 / 1e3;
    ms(usage.ru_utime) + ms(usage.ru_stime)
}

/// A running process, by its id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    fn field(self, name: &str) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = status.lines().find(|l| l.starts_with(name))?;
        let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib / 1024.0)
    }

    /// The most memory it has had, MiB; none: it is gone.
    pub(crate) fn peak_mib(self) -> Option<f64> {
        self.field("VmHWM:")
    }

    /// The memory it has, MiB.
    pub(crate) fn rss_mib(self) -> f64 {
        self.field("VmRSS:").unwrap_or_default()
    }

    /// From here on its peak is counted anew.
    pub(crate) fn reset_peak(self) {
        // Where the kernel does not let us, the peak is that of its whole life: higher, not lower.
        let _ = fs::write(format!("/proc/{}/clear_refs", self.0), "5");
    }

    /// Processor time so far, milliseconds, in steps of 10.
    pub(crate) fn cpu_ms(self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).unwrap_or_default();
        // utime and stime; a hundred ticks a second on every Linux that runs this.
        (ticks(11) + ticks(12)) * 10.0
    }
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    match n {
        0 => f64::NAN,
        _ if n % 2 == 1 => values[n / 2],
        _ => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// The value that so many percent are not above.
pub(crate) fn percentile(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len() * percent / 100).min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Medians of each figure.
pub(crate) fn medians(costs: &[Cost]) -> Cost {
    let of = |get: fn(&Cost) -> f64| median(costs.iter().map(get).collect());
    Cost { ms: of(|c| c.ms), cpu_ms: of(|c| c.cpu_ms), peak_mib: of(|c| c.peak_mib), requests: of(|c| c.requests) }
}
