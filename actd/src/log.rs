//! What the daemon says of itself, on standard error: whoever starts it leads that to a terminal, a file or the journal.
//! Secrets never reach this: their types print nothing.

use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

use crate::job::Time;

/// The environment variable that says what is logged: `info`, `debug`, `actd::remote=trace,info`.
pub const ENV: &str = "ACTD_LOG";

/// What is logged when nobody says otherwise. Libraries speak only of trouble.
const DEFAULT: &str = "warn,actd=info";

/// Times in the log, as everywhere else.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        w.write_str(&Time::now().rfc3339())
    }
}

/// Puts another filter in force; none if the environment's is: that wins.
type Change = Box<dyn Fn(EnvFilter) -> io::Result<()> + Send + Sync>;
static CHANGE: OnceLock<Change> = OnceLock::new();

/// Logs what this filter of the config file says from now on.
///
/// # Errors
/// It is none; then nothing has changed.
pub fn change(config: Option<&str>) -> io::Result<()> {
    let text = config.unwrap_or(DEFAULT);
    let filter = EnvFilter::try_new(text).map_err(|e| io::Error::other(format!("{text}: {e}")))?;
    CHANGE.get().map_or(Ok(()), |change| change(filter))
}

/// Whether standard error is the journal. The variable alone does not say that: what a service's child starts has it, too.
fn is_journal() -> bool {
    let Ok(journal) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(io::stderr()).is_ok_and(|meta| journal == format!("{}:{}", meta.st_dev, meta.st_ino))
}

/// Begins logging. `config`: the filter of the config file; the environment's wins.
///
/// # Errors
/// The environment's filter is none.
pub fn start(config: Option<&str>) -> io::Result<()> {
    let from_env = std::env::var(ENV).ok().filter(|f| !f.is_empty());
    let text = from_env.as_deref().or(config).unwrap_or(DEFAULT);
    let filter = EnvFilter::try_new(text).map_err(|e| io::Error::other(format!("{ENV}={text}: {e}")))?;
    let (filter, handle) = reload::Layer::<EnvFilter, Registry>::new(filter);
    let words = if is_journal() {
        // The journal has its own clock.
        fmt::layer().with_ansi(false).without_time().with_writer(io::stderr).boxed()
    } else {
        fmt::layer().with_timer(Clock).with_ansi(io::stderr().is_terminal()).with_writer(io::stderr).boxed()
    };
    tracing_subscriber::registry().with(filter).with(words).try_init().map_err(|e| io::Error::other(e.to_string()))?;
    if from_env.is_none() {
        let change = move |filter| handle.reload(filter).map_err(|e| io::Error::other(e.to_string()));
        // Only the first log of a process is the daemon's.
        let _ = CHANGE.set(Box::new(change));
    }
    Ok(())
}
