//! What a sandbox can be told at its start.

use std::{path::PathBuf, str::FromStr, time::Duration};

use crate::{pki::ServerCert, webdav::Behaviour};

/// How many requests the REST server works on at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// This many; with one, an idle connection blocks everybody, as observed on a real aCT server.
    Limited(usize),
    /// As many as there are connections.
    Many,
}

impl FromStr for Workers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "many" => Ok(Self::Many),
            _ => match text.parse() {
                Ok(count) if count > 0 => Ok(Self::Limited(count)),
                _ => Err(format!("`{text}` is neither a positive number nor `many`")),
            },
        }
    }
}

/// How long a job stays in each state before the server or the CE moves it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delays {
    /// Confirmed by the client -> `tosubmit`.
    pub handover: Duration,
    /// `tosubmit` -> `submitting`; also each flap of an unreachable cluster.
    pub tosubmit: Duration,
    /// `submitting` -> `submitted`.
    pub submitting: Duration,
    /// `submitted/Accepted` until the first status check.
    pub accepted: Duration,
    /// Least time in `running` and in `finished/Finished` or before `failed`: a status check.
    pub status: Duration,
    /// `finished` -> `done`, `tofetch` -> `donefailed`.
    pub fetching: Duration,
    /// `tocancel` -> `cancelling` and `cancelling` -> `cancelled`.
    pub cancel: Duration,
    /// `toresubmit` -> `tosubmit`.
    pub resubmit: Duration,
}

impl Delays {
    /// Every delay the same.
    pub fn all(delay: Duration) -> Self {
        Self {
            handover: delay,
            tosubmit: delay,
            submitting: delay,
            accepted: delay,
            status: delay,
            fetching: delay,
            cancel: delay,
            resubmit: delay,
        }
    }

    /// What a real server with its usual settings takes (observed), divided by `factor`.
    pub fn real(factor: f64) -> Self {
        let seconds = |seconds: f64| Duration::from_secs_f64(seconds / factor.max(0.001));
        Self {
            handover: seconds(6.0),
            tosubmit: seconds(10.0),
            submitting: seconds(1.0),
            accepted: seconds(20.0),
            status: seconds(20.0),
            fetching: seconds(3.0),
            cancel: seconds(10.0),
            resubmit: seconds(3.0),
        }
    }

    /// Changes single delays: `tosubmit=500,cancel=2000` in milliseconds.
    ///
    /// # Errors
    /// Names the part that is not `name=milliseconds`.
    pub fn change(&mut self, list: &str) -> Result<(), String> {
        for part in list.split(',').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is not NAME=MILLISECONDS"))?;
            let value = value.parse().map_err(|_| format!("`{value}` is not a number of milliseconds"))?;
            *self.named(name.trim()).ok_or_else(|| format!("no delay is called `{name}`"))? =
                Duration::from_millis(value);
        }
        Ok(())
    }

    fn named(&mut self, name: &str) -> Option<&mut Duration> {
        Some(match name {
            "handover" => &mut self.handover,
            "tosubmit" => &mut self.tosubmit,
            "submitting" => &mut self.submitting,
            "accepted" => &mut self.accepted,
            "status" => &mut self.status,
            "fetching" => &mut self.fetching,
            "cancel" => &mut self.cancel,
            "resubmit" => &mut self.resubmit,
            _ => return None,
        })
    }
}

impl Default for Delays {
    fn default() -> Self {
        Self::all(Duration::from_millis(20))
    }
}

/// Settings of one sandbox.
#[derive(Debug, Clone)]
pub struct Options {
    /// Everything lives here; made if missing. A second start with the same directory keeps jobs, keys and ports.
    pub dir: PathBuf,
    /// Directory of the test PKI; `pki` in `dir` if absent. Sharing one saves making its keys anew.
    pub pki_dir: Option<PathBuf>,
    /// Port of the REST API on 127.0.0.1; 0 means the one used before in this directory, else a free one.
    pub port: u16,
    /// Requests worked on at a time.
    pub workers: Workers,
    /// How long a worker takes for a request, beside what the sandbox really has to do.
    pub request_time: Duration,
    /// Whether a client may keep its connection; a real server closes it after each answer.
    pub keep_alive: bool,
    /// Serve the REST API over TLS, with a certificate in this condition; plain HTTP if absent.
    pub tls: Option<ServerCert>,
    /// Speed of the state machine.
    pub delays: Delays,
    /// Jobs that run at a time.
    pub slots: usize,
    /// Deliver outputs whose names the real server cannot move (space, non-ASCII, `?`, `%`).
    pub deliver_any_name: bool,
    /// How long the user's proxy is valid.
    pub proxy_validity: Duration,
    /// How the WebDAV store takes uploads.
    pub webdav: Behaviour,
    /// The condition of the WebDAV store's certificate.
    pub webdav_cert: ServerCert,
}

impl Options {
    /// The defaults, with everything under `dir`: one blocking worker, fast states.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            pki_dir: None,
            port: 0,
            workers: Workers::Limited(1),
            request_time: Duration::ZERO,
            keep_alive: false,
            tls: None,
            delays: Delays::default(),
            slots: 8,
            deliver_any_name: false,
            proxy_validity: Duration::from_secs(24 * 3600),
            webdav: Behaviour::Plain,
            webdav_cert: ServerCert::Good,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_and_workers_are_read() {
        let mut delays = Delays::default();
        delays.change("tosubmit=500,cancel=2000").unwrap();
        assert_eq!(
            (delays.tosubmit.as_millis(), delays.cancel.as_millis(), delays.status.as_millis()),
            (500, 2000, 20)
        );
        assert!(delays.change("nosuch=1").is_err());
        assert!(delays.change("tosubmit").is_err());
        assert_eq!("many".parse(), Ok(Workers::Many));
        assert_eq!("3".parse(), Ok(Workers::Limited(3)));
        assert!("0".parse::<Workers>().is_err());
    }
}
