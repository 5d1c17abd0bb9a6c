//! What `actd` does with a state directory while no daemon runs on it: export, import, recover. It holds the daemon's lock
//! meanwhile, and sends nothing anywhere.

use std::fs::OpenOptions;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use act_proto::error::{ApiError, Kind};

use crate::args::Command;
use crate::config::Config;
use crate::daemon::lock::{Lock, prepare_state};
use crate::daemon::store_error;
use crate::store::{Store, recover};

/// Does it. Without a command: recover.
pub(crate) fn run(config: &Config, command: Option<&Command>) -> Result<(), ApiError> {
    prepare_state(&config.state)?;
    let _lock = Lock::take(&config.state)?;
    match command {
        Some(Command::Export { file }) => export(config, file.as_deref()),
        Some(Command::Import { file }) => import(config, file.as_deref()),
        // Needs neither configuration nor state: done before.
        Some(Command::Man { .. }) => Ok(()),
        None => mend(config),
    }
}

fn local(what: &Path) -> impl Fn(io::Error) -> ApiError {
    move |e| ApiError::new(Kind::LocalFile, format!("{}: {e}", what.display()))
}

/// One line for people. A reader that has gone needs none.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn export(config: &Config, file: Option<&Path>) -> Result<(), ApiError> {
    let store = Store::open(&config.state).map_err(|e| store_error(&e))?;
    let lines = match file {
        None => store.export(&mut BufWriter::new(io::stdout().lock())).map_err(|e| store_error(&e))?,
        Some(path) => {
            let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(local(path))?;
            let mut out = BufWriter::new(opened);
            let lines = store.export(&mut out).map_err(|e| store_error(&e))?;
            out.into_inner().map_err(|e| local(path)(e.into_error()))?.sync_all().map_err(local(path))?;
            lines
        }
    };
    say(&format!("{lines} lines written"));
    Ok(())
}

fn import(config: &Config, file: Option<&Path>) -> Result<(), ApiError> {
    let store = Store::open(&config.state).map_err(|e| store_error(&e))?;
    if !store.is_new().map_err(|e| store_error(&e))? {
        let what = format!("the state directory {} holds jobs already", config.state.display());
        return Err(ApiError::new(Kind::LocalFile, what)
            .hint("import into an empty one (`--state DIR`), or put this one aside first"));
    }
    let lines = match file {
        None => store.import(&mut io::stdin().lock()),
        Some(path) => {
            let file = OpenOptions::new().read(true).open(path).map_err(local(path))?;
            store.import(&mut BufReader::new(file))
        }
    };
    say(&format!("{} lines taken", lines.map_err(|e| store_error(&e))?));
    Ok(())
}

fn mend(config: &Config) -> Result<(), ApiError> {
    let done = recover::recover(&config.state).map_err(|e| store_error(&e))?;
    for lost in &done.lost {
        say(&format!("cannot be read: {lost}"));
    }
    say(&match done.aside {
        None => format!("the job cache is whole: {} records, nothing was changed", done.kept),
        Some(old) => format!(
            "{} records were kept, {} could not be read; the old cache is in {}",
            done.kept,
            done.lost.len(),
            old.display()
        ),
    });
    if !done.lost.is_empty() {
        say(
            "jobs that are missing now but still on the server are shown by `actctl stat`; `actctl adopt` makes them yours",
        );
    }
    Ok(())
}
