//! Failures of the edge put into the core's classes. It decides nothing else.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

use crate::fsutil;
use crate::job::InputFile;
use crate::job::fault::{Cause, Class, Fault};
use crate::remote::{ErrorClass, RemoteError, UNREADABLE};

/// What a repetition of a request that may have been executed would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Nothing new: reads, uploads, descriptions, kills.
    Harmless,
    /// Something new: rows, runs.
    Counts,
}

/// A failed request as the core sees it.
pub(super) fn remote(error: &RemoteError, repeat: Repeat) -> Fault {
    if error.is_no_such_job() {
        return fault(Class::NoRow, error);
    }
    match error.class() {
        ErrorClass::Transient { retry_after } => {
            Fault { retry_after_ms: retry_after.map(millis), ..fault(Class::Transient, error) }
        }
        ErrorClass::Auth { .. } => fault(Class::Auth, error),
        ErrorClass::Ambiguous => fault(Class::Ambiguous, error),
        ErrorClass::Server if repeat == Repeat::Counts && error.may_have_run() => fault(Class::Ambiguous, error),
        ErrorClass::Server => fault(Class::Transient, error),
        // A refusal that does not come from the application (a gateway's page, a redirect) says nothing about the job.
        // Nor does one that looks like an older server's: a gateway before a server that starts answers so, too.
        ErrorClass::Rejected { .. } if !error.is_from_application() => fault(Class::Transient, error),
        ErrorClass::Dialect => fault(Class::Transient, error),
        ErrorClass::Rejected { .. } => fault(Class::Rejected, error),
        ErrorClass::Local => fault(Class::Local, error),
    }
}

/// A failed request to a WebDAV store. It never concerns other jobs; a certificate that the store refuses is tried again
/// from time to time, as everything else that may be mended there.
pub(super) fn store(error: &RemoteError) -> Fault {
    match error.class() {
        ErrorClass::Transient { retry_after } => {
            Fault { retry_after_ms: retry_after.map(millis), ..fault(Class::Transient, error) }
        }
        ErrorClass::Ambiguous => fault(Class::Ambiguous, error),
        ErrorClass::Auth { .. } | ErrorClass::Server => fault(Class::Transient, error),
        ErrorClass::Rejected { .. } | ErrorClass::Dialect => fault(Class::Rejected, error),
        ErrorClass::Local => fault(Class::Local, error),
    }
}

/// What the server says of one element of a request, in words only: it has no codes. (Seen on a real server.)
pub(super) fn refused(message: String) -> Fault {
    let about = if message.starts_with("Unknown cluster ") || message == "No clusters given" {
        Some(Cause::Clusters)
    } else if message == "Invalid job description" || message == "No job description given" {
        Some(Cause::Description)
    } else {
        None
    };
    Fault { refused: about, ..Fault::new(Class::Rejected, message) }
}

/// A failure to read an input. That it cannot be read at all is known of its file system only if that answers.
pub(super) fn input(error: &io::Error, path: &Path) -> Fault {
    let fault = local(error, path);
    let passes = fault.class == Class::Transient || error.raw_os_error() == Some(Errno::IO.raw_os_error());
    Fault { class: if passes { Class::Transient } else { Class::Local }, ..fault }
}

/// An input that could not be sent as it was recorded.
pub(super) fn input_sent(error: &RemoteError, input: &InputFile) -> Fault {
    let why = error.detail();
    if why.contains("grew") || why.contains("shrank") {
        return Fault::new(Class::Local, format!("input changed since submission: {}", input.path.display()));
    }
    let class = if why.starts_with(UNREADABLE) { Class::Transient } else { Class::Local };
    Fault::new(class, format!("{}: {why}", input.path.display()))
}

fn fault(class: Class, error: &RemoteError) -> Fault {
    let why = match error.hint() {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    };
    Fault::new(class, why)
}

fn millis(pause: Duration) -> i64 {
    i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)
}

/// Whether a failure is one of the exchange with the aCT server, which stops more than one job.
pub(super) fn stops_all(fault: &Fault) -> bool {
    matches!(fault.class, Class::Transient | Class::Ambiguous | Class::Auth | Class::DiskFull)
}

/// A failure on this machine's disk.
pub(super) fn local(error: &io::Error, path: &Path) -> Fault {
    let why = error.to_string();
    let at = path.display().to_string();
    // Errors of `fsutil` name their path already.
    let why = if why.contains(&at) { why } else { format!("{at}: {why}") };
    if fsutil::is_disk_full(error) {
        Fault::new(Class::DiskFull, format!("no room on the disk: {why}"))
    } else if passes(error) {
        Fault::new(Class::Transient, why)
    } else {
        Fault::new(Class::Local, why)
    }
}

/// Whether the same may well succeed later: a network file system that is away, too many open files.
fn passes(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    let errno = |errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
    matches!(error.kind(), Kind::Interrupted | Kind::TimedOut | Kind::StaleNetworkFileHandle | Kind::NotConnected)
        || matches!(error.kind(), Kind::OutOfMemory | Kind::HostUnreachable | Kind::NetworkUnreachable)
        || [Errno::HOSTDOWN, Errno::MFILE, Errno::NFILE].into_iter().any(errno)
}

/// Work was told to end.
pub(super) fn stopped() -> Fault {
    Fault::new(Class::Transient, "stopped; it goes on from where it was")
}

/// Work was told to end while a request was out.
pub(super) fn interrupted() -> Fault {
    Fault::new(Class::Ambiguous, "stopped while a request was under way; it goes on later")
}

/// Runs blocking work on the pool for it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Fault::new(Class::Local, format!("a task of the daemon failed: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_refuses_is_in_its_words() {
        for (words, cause) in [
            ("Unknown cluster https://proxy/token", Cause::Clusters),
            ("No clusters given", Cause::Clusters),
            ("Invalid job description", Cause::Description),
            ("No job description given", Cause::Description),
            ("Input file /home/me/Unknown cluster /x missing", Cause::Server),
            ("Server error", Cause::Server),
        ] {
            let fault = refused(words.to_owned());
            assert_eq!((fault.class, fault.cause(), fault.why.as_str()), (Class::Rejected, cause, words));
        }
        let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
        assert_eq!(input(&gone, Path::new("/home/me/proxy/token")).cause(), Cause::Local);
    }

    #[test]
    fn a_file_system_that_is_away_for_a_moment_ends_no_job() {
        let of = |errno: Errno| input(&io::Error::from(errno), Path::new("/nfs/me/in")).class;
        for errno in [Errno::STALE, Errno::TIMEDOUT, Errno::IO, Errno::NOTCONN, Errno::HOSTDOWN, Errno::MFILE] {
            assert_eq!(of(errno), Class::Transient, "{errno}");
        }
        for errno in [Errno::NOENT, Errno::ACCESS, Errno::ISDIR, Errno::NOSPC] {
            assert_eq!(of(errno), Class::Local, "{errno}");
        }
    }
}
