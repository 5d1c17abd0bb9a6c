//! Where the daemon's own words go: standard error under a service manager or in a terminal, a file when the command line
//! started it. Secrets never reach this: their types print nothing.

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
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

/// A log file that has grown beyond this at start is put aside as `NAME.old`, in bytes.
const ROTATE: u64 = 16 << 20;

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

/// Begins logging. `config`: the filter of the config file; the environment's wins.
///
/// # Errors
/// The log file cannot be opened, or the environment's filter is none.
pub fn start(file: Option<&Path>, config: Option<&str>) -> io::Result<()> {
    let from_env = std::env::var(ENV).ok().filter(|f| !f.is_empty());
    let text = from_env.as_deref().or(config).unwrap_or(DEFAULT);
    let filter = EnvFilter::try_new(text).map_err(|e| io::Error::other(format!("{ENV}={text}: {e}")))?;
    let (filter, handle) = reload::Layer::<EnvFilter, Registry>::new(filter);
    let words = match file {
        Some(path) => fmt::layer().with_timer(Clock).with_ansi(false).with_writer(open(path)?).boxed(),
        // The journal has its own clock.
        None if std::env::var_os("JOURNAL_STREAM").is_some() => {
            fmt::layer().with_ansi(false).without_time().with_writer(io::stderr).boxed()
        }
        None => {
            let terminal = io::stderr().is_terminal();
            fmt::layer().with_timer(Clock).with_ansi(terminal).with_writer(io::stderr).boxed()
        }
    };
    tracing_subscriber::registry().with(filter).with(words).try_init().map_err(|e| io::Error::other(e.to_string()))?;
    if from_env.is_none() {
        let change = move |filter| handle.reload(filter).map_err(|e| io::Error::other(e.to_string()));
        // Only the first log of a process is the daemon's.
        let _ = CHANGE.set(Box::new(change));
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|m| m.len() > ROTATE) {
        let mut old = path.as_os_str().to_owned();
        old.push(".old");
        fs::rename(path, old)?;
    }
    let file = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    Ok(file)
}
