//! A bar on stderr for work that takes its time. Shows nothing where stderr is no terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;
use crate::out::Out;

/// A bar over a number of jobs.
pub struct Progress<'a> {
    out: &'a Out,
    bar: Option<ProgressBar>,
    said: String,
}

impl<'a> Progress<'a> {
    /// A bar over `total` jobs.
    #[must_use]
    pub fn new(out: &'a Out, total: u64, what: &'static str) -> Self {
        let bar = out.progress.then(|| {
            let bar = ProgressBar::new(total);
            let template = "{prefix} [{bar:24}] {pos}/{len} {wide_msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(what);
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { out, bar, said: String::new() }
    }

    /// So many are done; `message` is about the rest.
    pub fn set(&self, done: u64, message: String) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(message);
        }
    }

    /// Of so many in all.
    pub fn total(&self, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
        }
    }

    /// Why it does not go on: in the bar, or as a line where there is none, once.
    pub fn waiting(&mut self, message: &str) {
        if self.said == message {
            return;
        }
        if let Some(bar) = &self.bar {
            bar.set_message(message.to_owned());
        } else if !message.is_empty() {
            self.out.note(&format!("waiting: {message}"));
        }
        message.clone_into(&mut self.said);
    }

    /// A line on stdout, without tearing the bar.
    ///
    /// # Errors
    /// The reader of stdout has gone.
    pub fn line(&self, text: &str) -> Result<(), Failure> {
        self.aside(|| self.out.line(text))
    }

    /// Does something that prints.
    pub fn aside<R>(&self, print: impl FnOnce() -> R) -> R {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.end();
    }
}
