//! Where the daemon's own words go: standard error under a service manager or in a terminal, a file when the command line
//! started it. Secrets never reach this: their types print nothing.

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

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

/// Begins logging. `config`: the filter of the config file; the environment's wins.
///
/// # Errors
/// The log file cannot be opened, or the environment's filter is none.
pub fn start(file: Option<&Path>, config: Option<&str>) -> io::Result<()> {
    let from_env = std::env::var(ENV).ok().filter(|f| !f.is_empty());
    let text = from_env.as_deref().or(config).unwrap_or(DEFAULT);
    let filter = EnvFilter::try_new(text).map_err(|e| io::Error::other(format!("{ENV}={text}: {e}")))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_timer(Clock);
    let begun = match file {
        Some(path) => builder.with_ansi(false).with_writer(open(path)?).try_init(),
        // The journal has its own clock.
        None if std::env::var_os("JOURNAL_STREAM").is_some() => {
            builder.with_ansi(false).without_time().with_writer(io::stderr).try_init()
        }
        None => builder.with_ansi(io::stderr().is_terminal()).with_writer(io::stderr).try_init(),
    };
    begun.map_err(|e| io::Error::other(e.to_string()))
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
