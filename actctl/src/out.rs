//! The two streams. Data goes to stdout, everything said about it to stderr. The only place that prints.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::cli::{Color, Global};
use crate::failure::{BROKEN_PIPE, Failure};

/// How to talk to the user.
#[derive(Debug, Clone)]
pub struct Out {
    /// One JSON value on stdout instead of words.
    pub json: bool,
    /// Neither progress nor warnings nor notes.
    pub quiet: bool,
    /// `-v`, counted.
    pub verbose: u8,
    /// Progress bars may be shown.
    pub progress: bool,
    color: bool,
    clean: bool,
    /// Something was written to stdout.
    wrote: Arc<AtomicBool>,
}

impl Out {
    /// From the flags, the environment and what the streams are.
    #[must_use]
    pub fn new(global: &Global) -> Self {
        let terminal = io::stderr().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        Self {
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose,
            progress: terminal && !dumb && !global.quiet && !global.no_progress,
            color: match global.color {
                Color::Always => true,
                Color::Never => false,
                Color::Auto => terminal && !dumb && !no_color,
            },
            clean: io::stdout().is_terminal(),
            wrote: Arc::default(),
        }
    }

    /// Writes a line to stdout.
    ///
    /// # Errors
    /// Exit code 141 if the reader has gone.
    pub fn line(&self, text: &str) -> Result<(), Failure> {
        let mut line = self.printable(text);
        line.push('\n');
        self.bytes(line.as_bytes())
    }

    /// Writes text that already ends its lines.
    ///
    /// # Errors
    /// See [`Out::line`].
    pub fn text(&self, text: &str) -> Result<(), Failure> {
        self.bytes(self.printable(text).as_bytes())
    }

    /// Whether text on stdout may hold colours.
    #[must_use]
    pub fn paints(&self) -> bool {
        self.color && self.clean
    }

    /// Begins the screen anew, where stdout is one; elsewhere what follows comes after what was.
    ///
    /// # Errors
    /// See [`Out::line`].
    pub fn clear_screen(&self) -> Result<(), Failure> {
        if self.clean && !self.json { self.bytes(b"\x1b[H\x1b[2J") } else { Ok(()) }
    }

    /// Whether anything was written to stdout.
    #[must_use]
    pub fn has_written(&self) -> bool {
        self.wrote.load(Ordering::Relaxed)
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// See [`Out::line`].
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.wrote.store(true, Ordering::Relaxed);
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|e| Failure::stdout(&e))
    }

    /// Writes a value as one line of JSON.
    ///
    /// # Errors
    /// See [`Out::line`].
    pub fn value<T: Serialize>(&self, value: &T) -> Result<(), Failure> {
        let mut text = serde_json::to_vec(value).map_err(|e| Failure::local(format!("cannot write JSON: {e}")))?;
        text.push(b'\n');
        self.bytes(&text)
    }

    /// Something that the user should know.
    pub fn warn(&self, text: &str) {
        if !self.quiet {
            self.say("33", "warning:", text);
        }
    }

    /// Something that the user may like to know.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.stderr(&printable(text));
        }
    }

    /// With `-v`.
    pub fn debug(&self, text: &str) {
        if self.verbose > 0 {
            self.say("2", "debug:", text);
        }
    }

    /// An error that is not the end: one of several items failed.
    pub fn error(&self, text: &str, hint: Option<&str>) {
        self.say("1;31", "error:", text);
        if let Some(hint) = hint {
            self.say("36", "hint:", hint);
        }
    }

    /// The end of a verb that failed. With `--json` it is the value on stdout.
    pub fn failure(&self, failure: &Failure) {
        if failure.message.is_empty() {
            return;
        }
        if self.json && failure.exit != BROKEN_PIPE && self.value(&failure.json()).is_ok() {
            return;
        }
        self.error(&failure.message, failure.hint.as_deref());
        if let Some(id) = &failure.request {
            self.request(id);
        }
    }

    /// Under which id the daemon's log tells what it did for this command: for whoever reports a failure.
    pub fn request(&self, id: &str) {
        if !self.quiet && !self.json {
            self.say("2", "request:", &format!("{id} (what the daemon did: actctl daemon logs --request {id})"));
        }
    }

    /// A question, without a line's end.
    pub fn ask(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        drop(write!(stderr, "{} ", printable(text)).and_then(|()| stderr.flush()));
    }

    fn say(&self, color: &str, label: &str, text: &str) {
        if self.color {
            self.stderr(&format!("\x1b[{color}m{label}\x1b[0m {}", printable(text)));
        } else {
            self.stderr(&format!("{label} {}", printable(text)));
        }
    }

    /// Nobody may read stderr: that is no error.
    fn stderr(&self, line: &str) {
        drop(writeln!(io::stderr().lock(), "{line}"));
    }

    /// Names come from other people: on a terminal their control characters must not act.
    fn printable(&self, text: &str) -> String {
        if self.clean { printable(text) } else { text.to_owned() }
    }
}

/// The text with control characters (but line ends and tabs) made visible.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' && c != '\t' {
            out.push_str(&format!("\\x{:02x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\tc\n"), "a\\x1b[2Jb\tc\n");
        assert_eq!(printable("é čž"), "é čž");
    }
}
