//! Places where a test can make the daemon die or dawdle. Without the cargo feature `failpoints` nothing of it exists.
//! It must not be used for anything but crashes and delays: the code never asks whether a fail point is set.
//!
//! `ACTD_FAILPOINTS` holds comma-separated settings: `NAME=crash` kills the process as SIGKILL does when it first comes
//! there, `NAME=crash@3` when it comes there for the third time, `NAME=delay:250` sleeps 250 ms each time.
//! `ACTD_FAILPOINTS_LOG` names a file to which every passage is appended, one name a line: so a test learns them all.

/// Marks a step boundary: `failpoint!("create.sent")`.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::hit($name);
    };
}

#[cfg(feature = "failpoints")]
mod on {
    use std::collections::HashMap;
    use std::io::Write as _;
    use std::sync::{LazyLock, Mutex, PoisonError};
    use std::time::Duration;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum What {
        Crash { at: u64 },
        Delay(Duration),
    }

    pub(super) fn parse(text: &str) -> Result<HashMap<String, What>, String> {
        let mut points = HashMap::new();
        for setting in text.split(',').map(str::trim).filter(|s| !s.is_empty()) {
            let what = setting.split_once('=').and_then(|(_, what)| {
                if let Some(ms) = what.strip_prefix("delay:") {
                    return ms.parse().ok().map(|ms| What::Delay(Duration::from_millis(ms)));
                }
                match what.strip_prefix("crash")?.strip_prefix('@') {
                    Some(at) => at.parse().ok().filter(|at| *at > 0).map(|at| What::Crash { at }),
                    None => (what == "crash").then_some(What::Crash { at: 1 }),
                }
            });
            let name = setting.split('=').next().unwrap_or_default();
            points.insert(name.to_owned(), what.ok_or_else(|| format!("cannot read the fail point `{setting}`"))?);
        }
        Ok(points)
    }

    static POINTS: LazyLock<HashMap<String, What>> = LazyLock::new(|| {
        let text = std::env::var("ACTD_FAILPOINTS").unwrap_or_default();
        parse(&text).unwrap_or_else(|error| panic!("ACTD_FAILPOINTS: {error}"))
    });
    static PASSED: LazyLock<Mutex<HashMap<&'static str, u64>>> = LazyLock::new(Mutex::default);

    /// The daemon has come to this point.
    ///
    /// # Panics
    /// The variable cannot be read: a test that means something else must not pass.
    pub fn hit(name: &'static str) {
        let passed = {
            let mut all = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
            let passed = all.entry(name).or_default();
            *passed += 1;
            *passed
        };
        if let Some(log) = std::env::var_os("ACTD_FAILPOINTS_LOG") {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
            if let Ok(mut file) = file {
                // One write call: lines of several threads do not mix.
                drop(file.write_all(format!("{name}\n").as_bytes()));
            }
        }
        match POINTS.get(name) {
            Some(What::Crash { at }) if *at == passed => {
                // As `kill -9`: no destructor runs, nothing is flushed.
                let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
                loop {
                    std::thread::park();
                }
            }
            Some(What::Delay(pause)) => std::thread::sleep(*pause),
            _ => {}
        }
    }
}

#[cfg(feature = "failpoints")]
pub use on::hit;

#[cfg(all(test, feature = "failpoints"))]
mod tests {
    use super::on::{What, parse};
    use std::time::Duration;

    #[test]
    fn settings() {
        let points = parse("a=crash, b.c=crash@3,d=delay:250,").expect("parse");
        assert_eq!(points["a"], What::Crash { at: 1 });
        assert_eq!(points["b.c"], What::Crash { at: 3 });
        assert_eq!(points["d"], What::Delay(Duration::from_millis(250)));
        for bad in ["a", "a=crush", "a=crash@0", "a=crash@x", "a=delay:", "a=crashed"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
