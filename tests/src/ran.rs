//! A program that was run to its end: what it printed and how it ended.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::wait::wait_for;

/// The end of a program.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The command line.
    pub command: String,
    /// Its exit code; none: a signal ended it.
    pub code: Option<i32>,
    /// Its stdout; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// Its stderr.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Ran {
    /// Runs `command` with its output in files `NAME.out` and `NAME.err` of `dir`. (Pipes would be held open by a daemon
    /// that inherits them; files remain for a look.)
    ///
    /// # Panics
    /// It cannot be started, or has not ended within `bound` (it is killed then).
    #[track_caller]
    pub fn run(mut command: Command, dir: &Path, name: &str, bound: Duration) -> Self {
        let shown = show(&command);
        let (out, err) = (dir.join(format!("{name}.out")), dir.join(format!("{name}.err")));
        let file = |path: &Path| File::create(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let begin = Instant::now();
        command.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err));
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot run {shown}: {e}"));
        let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let mut late = false;
        let status = wait_for(&format!("the end of `{shown}`"), bound + Duration::from_secs(10), || {
            if !late && begin.elapsed() > bound {
                late = true;
                child.kill().map_err(|e| e.to_string())?;
            }
            child.try_wait().map_err(|e| e.to_string())?.ok_or_else(|| "it runs".to_owned())
        });
        let ran =
            Self { command: shown, code: status.code(), stdout: text(&out), stderr: text(&err), took: begin.elapsed() };
        assert!(!late, "killed after {bound:?}: {ran}");
        ran
    }

    /// Asserts exit code 0.
    #[track_caller]
    #[must_use = "use `ok()` on a statement of its own only through `let _`"]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Asserts an exit code.
    #[track_caller]
    #[must_use = "look at what it said"]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Asserts that stderr holds all these texts.
    #[track_caller]
    #[must_use = "look at what it said"]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "stderr lacks `{text}`: {self}");
        }
        self
    }

    /// Stdout as one JSON value.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("stdout is no JSON ({e}): {self}"))
    }

    /// The lines of stdout.
    #[must_use]
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }

    /// The lines of stdout, sorted: for output in any order.
    #[must_use]
    pub fn sorted(&self) -> Vec<&str> {
        let mut lines = self.lines();
        lines.sort_unstable();
        lines
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, code, stdout, stderr, took } = self;
        write!(f, "`{command}` ended with {code:?} after {took:.1?}\n--- stdout\n{stdout}--- stderr\n{stderr}---")
    }
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(std::ffi::OsStr::to_string_lossy).collect();
    words.join(" ")
}
