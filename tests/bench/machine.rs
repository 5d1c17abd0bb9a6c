//! On what it was measured.

use std::fs;

/// One line: processor, cores, memory, system, how busy it was with other things at the start.
pub(crate) fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let field = |name: &str| cpu.lines().find(|l| l.starts_with(name)).and_then(|l| l.split(": ").nth(1));
    let model = field("model name").unwrap_or("unknown processor").to_owned();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = read("/proc/meminfo");
    let kib: u64 = memory.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    let system = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    format!(
        "{cores} cores of {model}, {} GiB of memory, Linux {}, all on one machine over loopback; load average at the start {}",
        kib / (1 << 20),
        system.trim(),
        load.join(" ")
    )
}
