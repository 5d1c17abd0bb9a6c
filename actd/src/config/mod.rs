//! The configuration in force: flag over environment over file over default, with the origin of each value. Paths are
//! absolute and expanded here; nothing behind this reads the environment or the file again.

mod dirs;
mod file;
pub mod values;

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use act_proto::daemon::{ConfigReply, Setting};
use act_proto::error::{ApiError, Kind};
use act_proto::instance::{self, Instance, Selection};
use serde_json::{Value, json};
use url::Url;

pub use dirs::DirSettings;
pub(crate) use file::nearest;
pub use file::{Download, Notify};
use values::{CommandLine, show_duration, show_size};

use crate::engine::dir_name::DirName;
use crate::job::next::Policy;

const DAY: u64 = 86_400;

/// What the command line says, besides what chooses the instance.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--conf --server --port`.
    pub selection: Selection,
    /// `--state`.
    pub state: Option<PathBuf>,
}

/// The configuration in force.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which daemon this is.
    pub instance: Instance,
    /// The aCT server.
    pub server: Url,
    /// Groups of clusters.
    pub clusters: BTreeMap<String, Vec<String>>,
    /// The token file: act's own if the server is the one that the file names, else one in the state directory.
    pub token: PathBuf,
    /// The proxy file.
    pub proxy: PathBuf,
    /// The CA directory that was asked for; nothing: the usual places.
    pub ca_dir: Option<PathBuf>,
    /// Base of the WebDAV store that `--webdav` without a URL means.
    pub webdav: Option<String>,
    /// The state directory.
    pub state: PathBuf,
    /// Where results are downloaded to.
    pub results: PathBuf,
    /// What their directories are named after there.
    pub results_name: DirName,
    /// Whether they are downloaded without being asked for.
    pub download: Download,
    /// How long results that were downloaded wait to be collected.
    pub keep: Duration,
    /// How long failed jobs are kept on the server.
    pub keep_failed: Duration,
    /// How long unused rows of lost requests are left alone on the server.
    pub orphans: Duration,
    /// How long finished jobs stay in the history.
    pub history: Duration,
    /// Bring the logs of failed jobs.
    pub fetch_failed: bool,
    /// Shortest time between two lists from the server.
    pub poll_min: Duration,
    /// Longest time between two lists from the server.
    pub poll_max: Duration,
    /// Most requests to the aCT server at a time.
    pub requests: usize,
    /// Most jobs whose files are moved at a time.
    pub transfers: usize,
    /// Bytes per second of all downloads together.
    pub rate_limit: Option<u64>,
    /// Room that is left free on the disk, in bytes.
    pub min_free_disk: u64,
    /// Directories that are watched: none but for the server that the file names.
    pub dirs: Vec<DirSettings>,
    /// Plain http to another machine.
    pub allow_http: bool,
    /// What is logged, as `tracing` filters are written.
    pub log: Option<String>,
    /// Makes a new proxy before the old one ends.
    pub renew: Option<CommandLine>,
    /// Commands to run when something has happened.
    pub hooks: Hooks,
    /// When to show notifications on the desktop.
    pub notify: Notify,
    /// What the file was when it was read.
    pub stamp: crate::fsutil::Stamp,
    settings: Vec<Setting>,
    warnings: Vec<String>,
}

/// Commands to run when something has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hooks {
    /// A job is done and its results are here.
    pub on_done: Option<CommandLine>,
    /// A job has failed.
    pub on_failed: Option<CommandLine>,
    /// All jobs of a batch have ended.
    pub on_batch_done: Option<CommandLine>,
    /// The credential is about to end.
    pub on_credential_low: Option<CommandLine>,
    /// How long each of them may take.
    pub timeout: Duration,
}

impl Hooks {
    /// Whether there is any that is about jobs.
    #[must_use]
    pub fn any(&self) -> bool {
        self.on_done.is_some() || self.on_failed.is_some() || self.on_batch_done.is_some()
    }
}

/// Where a value comes from.
#[derive(Clone, Copy)]
enum Origin {
    Flag,
    Environment,
    File,
    Default,
}

impl Origin {
    fn word(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        }
    }
}

/// Collects values with their origins.
#[derive(Default)]
struct Origins(Vec<Setting>);

impl Origins {
    fn note(&mut self, key: &str, value: Value, origin: Origin) {
        self.0.push(Setting { key: key.to_owned(), value, origin: origin.word().to_owned() });
    }

    /// The file's value or the default.
    fn pick<T>(&mut self, key: &str, file: Option<T>, default: T, show: impl FnOnce(&T) -> Value) -> T {
        let origin = if file.is_some() { Origin::File } else { Origin::Default };
        let value = file.unwrap_or(default);
        self.note(key, show(&value), origin);
        value
    }

    fn duration(&mut self, key: &str, file: Option<values::Time>, default: Duration) -> Duration {
        self.pick(key, file.map(|t| t.0), default, |d| json!(show_duration(*d)))
    }
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// [`Kind::BadConfig`]: the file is not readable, is no YAML, a value does not fit (with line and column), or there is
    /// no server in it and none on the command line.
    pub fn load(flags: &Flags) -> Result<Self, ApiError> {
        let usual = instance::config_home().join("act-client/config.yaml");
        let path = flags.selection.conf.clone().unwrap_or(usual);
        let stamp = crate::fsutil::stamp(&path);
        // First, because its complaints about the file have line and column.
        let (file, mut warnings) = file::read(&path)?;
        let instance = Instance::resolve(&flags.selection)?;
        let path = instance.config.clone();
        let missing = !path.exists();
        let Some(server) = instance.url.clone() else {
            let (what, hint) = if missing {
                (format!("there is no config file {}", path.display()), "make it with a line `server: https://HOST`")
            } else {
                (format!("config key `server` is missing in {}", path.display()), "add a line `server: https://HOST`")
            };
            return Err(ApiError::new(Kind::BadConfig, what).hint(format!("{hint}, or give --server URL")));
        };
        if missing && flags.selection.conf.is_some() {
            return Err(ApiError::new(Kind::BadConfig, format!("there is no config file {}", path.display())));
        }

        let mut set = Origins::default();
        let from = if file.server.is_some() && flags.selection.server.is_none() { Origin::File } else { Origin::Flag };
        set.note("server", json!(server.as_str().trim_end_matches('/')), from);
        if let Some(port) = server.port_or_known_default() {
            let from = match (flags.selection.port, file.port) {
                (Some(_), _) => Origin::Flag,
                (None, Some(p)) if p == port => Origin::File,
                _ if flags.selection.server.is_some() => Origin::Flag,
                _ => Origin::Default,
            };
            set.note("port", json!(port), from);
        }
        let clusters: BTreeMap<String, Vec<String>> = set.pick(
            "clusters",
            file.clusters.map(|c| c.into_iter().map(|(k, v)| (k, v.0)).collect()),
            BTreeMap::new(),
            |c| json!(c),
        );

        let actd = file.actd.unwrap_or_default();
        let home = path.parent().unwrap_or(Path::new("/"));
        // A relative path would depend on where the daemon happened to be started.
        let mut absolute = |key: &str, p: values::PathText| {
            if p.0.is_absolute() {
                return p.0;
            }
            let fixed = home.join(&p.0);
            warnings.push(format!("`{key}`: the relative path is taken as {}", fixed.display()));
            fixed
        };
        let state = match (&flags.state, actd.state) {
            (Some(dir), _) => {
                let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
                set.note("actd.state", json!(dir), Origin::Flag);
                dir
            }
            (None, Some(dir)) => {
                let dir = absolute("actd.state", dir);
                // Several instances may share one config file, never one state directory.
                let dir = if instance.name == "default" { dir } else { dir.join(&instance.name) };
                set.note("actd.state", json!(dir), Origin::File);
                dir
            }
            (None, None) => {
                let dir = instance.paths().state;
                set.note("actd.state", json!(dir), Origin::Default);
                dir
            }
        };
        let token = if instance.is_config_server {
            let file = file.token.map(|p| absolute("token", p));
            set.pick("token", file, instance::data_home().join("act-client/token"), |p| json!(p))
        } else {
            let own = state.join("token");
            set.note("token", json!(own), Origin::Default);
            own
        };
        let proxy = match env_path("X509_USER_PROXY") {
            Some(path) => {
                set.note("proxy", json!(path), Origin::Environment);
                path
            }
            None => {
                let file = file.proxy.map(|p| absolute("proxy", p));
                let uid = rustix::process::getuid().as_raw();
                set.pick("proxy", file, PathBuf::from(format!("/tmp/x509up_u{uid}")), |p| json!(p))
            }
        };
        let ca_dir = match env_path("X509_CERT_DIR") {
            Some(path) => {
                set.note("actd.ca_dir", json!(path), Origin::Environment);
                Some(path)
            }
            None => {
                let file = actd.ca_dir.map(|p| Some(absolute("actd.ca_dir", p)));
                set.pick("actd.ca_dir", file, None, |p| json!(p))
            }
        };
        let webdav = set.pick("webdav", file.webdav.map(|w| Some(w.0)), None, |w| json!(w));
        let mut dirs: Option<Vec<DirSettings>> =
            actd.dirs.map(|all| all.into_iter().map(|dir| dir.settings(&mut absolute)).collect());
        // A file that is put there is meant for one server.
        let not_watched = !instance.is_config_server && dirs.take().is_some_and(|dirs| !dirs.is_empty());
        let dirs = set.pick("actd.dirs", dirs, Vec::new(), |d| json!(d));
        let results = actd.results.map(|p| absolute("actd.results", p));
        let default_results = env_path("HOME").unwrap_or_else(|| PathBuf::from("/")).join("act-results");
        let results = set.pick("actd.results", results, default_results, |p| json!(p));
        let use_jobname = set.pick("actd.use_jobname", actd.use_jobname, false, |b| json!(b));
        if use_jobname && actd.results_name.is_some() {
            let (file, both) = (path.display(), "`actd.results_name` and `actd.use_jobname`");
            return Err(ApiError::new(
                Kind::BadConfig,
                format!("{file}: {both} both say what results are named after"),
            )
            .hint("leave out `use_jobname`: it means `results_name: \"{name}\"`"));
        }
        let results_name = actd.results_name.map(|n| n.0);
        let results_name =
            set.pick("actd.results_name", results_name, DirName::of_act(use_jobname), |n| json!(n.to_string()));
        if not_watched {
            warnings.push("`actd.dirs` is for the server that this file names, and not for this one".into());
        }
        let download = set.pick("actd.download", actd.download, Download::Auto, |d| {
            json!(match d {
                Download::Auto => "auto",
                Download::Manual => "manual",
            })
        });
        let yes_no = |b: &bool| json!(b);
        let number = |n: &usize| json!(n);
        let command = |set: &mut Origins, key: &str, file: Option<CommandLine>| {
            set.pick(key, file.map(Some), None, |c| c.as_ref().map_or(Value::Null, |c| json!(c)))
        };
        let renew = command(&mut set, "actd.renew", actd.renew);
        let hooks = Hooks {
            on_done: command(&mut set, "actd.on_done", actd.on_done),
            on_failed: command(&mut set, "actd.on_failed", actd.on_failed),
            on_batch_done: command(&mut set, "actd.on_batch_done", actd.on_batch_done),
            on_credential_low: command(&mut set, "actd.on_credential_low", actd.on_credential_low),
            timeout: set.duration("actd.hook_timeout", actd.hook_timeout, crate::hooks::TIMEOUT),
        };
        let config = Self {
            server,
            clusters,
            token,
            proxy,
            ca_dir,
            webdav,
            state,
            results,
            results_name,
            download,
            keep: set.duration("actd.keep", actd.keep, Duration::from_secs(14 * DAY)),
            keep_failed: set.duration("actd.keep_failed", actd.keep_failed, Duration::from_secs(14 * DAY)),
            orphans: set.duration("actd.orphans", actd.orphans, Duration::from_secs(DAY)),
            history: set.duration("actd.history", actd.history, Duration::from_secs(90 * DAY)),
            fetch_failed: set.pick("actd.fetch_failed", actd.fetch_failed, false, yes_no),
            poll_min: set.duration("actd.poll_min", actd.poll_min, Duration::from_secs(5)),
            poll_max: set.duration("actd.poll_max", actd.poll_max, Duration::from_secs(60)),
            requests: set.pick("actd.requests", actd.requests, 33, number),
            transfers: set.pick("actd.transfers", actd.transfers, 32, number),
            rate_limit: set.pick("actd.rate_limit", actd.rate_limit.map(|b| Some(b.0)), None, |r| {
                r.map_or(Value::Null, |r| json!(show_size(r)))
            }),
            min_free_disk: set
                .pick("actd.min_free_disk", actd.min_free_disk.map(|b| b.0), 1 << 30, |b| json!(show_size(*b))),
            dirs,
            allow_http: set.pick("actd.allow_http", actd.allow_http, false, yes_no),
            renew,
            hooks,
            notify: set.pick("actd.notify", actd.notify, Notify::Off, |n| json!(n)),
            log: set.pick("actd.log", actd.log.map(Some), None, |l| json!(l)),
            instance,
            stamp,
            settings: Vec::new(),
            warnings: Vec::new(),
        };
        config.check()?;
        Ok(Self { settings: set.0, warnings, ..config })
    }

    /// Relations between values, which no single value shows.
    fn check(&self) -> Result<(), ApiError> {
        let bad = |key: &str, why: String| {
            Err(ApiError::new(Kind::BadConfig, format!("{}: `{key}` {why}", self.instance.config.display())))
        };
        if self.poll_min < Duration::from_millis(100) {
            return bad("actd.poll_min", "is shorter than 100ms".into());
        }
        if self.poll_max < self.poll_min {
            return bad("actd.poll_max", format!("is shorter than `actd.poll_min` ({})", show_duration(self.poll_min)));
        }
        for (key, n) in [("actd.requests", self.requests), ("actd.transfers", self.transfers)] {
            if !(1..=64).contains(&n) {
                return bad(key, format!("is {n}; it must be between 1 and 64"));
            }
        }
        for dir in &self.dirs {
            if let Some(outer) = self.dirs.iter().find(|outer| crate::dirs::owns(&outer.path, &dir.path)) {
                let (dir, outer) = (dir.path.display(), outer.path.display());
                return bad("actd.dirs", format!("names {dir}, which belongs to the watched directory {outer}"));
            }
        }
        if self.rate_limit == Some(0) {
            return bad("actd.rate_limit", "is 0: nothing would ever arrive; leave it out for no limit".into());
        }
        if let Some(log) = &self.log
            && let Err(e) = log.parse::<tracing_subscriber::filter::EnvFilter>()
        {
            return bad("actd.log", format!("is no log filter: {e}"));
        }
        Ok(())
    }

    /// What the core must know of it.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        Policy {
            download: self.download == Download::Auto,
            fetch_failed: self.fetch_failed,
            keep_ms: ms(self.keep),
            keep_failed_ms: ms(self.keep_failed),
        }
    }

    /// Things to tell whoever wrote the file.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Every value with its origin. No secret is among them: tokens and proxies are named by their paths.
    #[must_use]
    pub fn reply(&self) -> ConfigReply {
        ConfigReply {
            file: self.instance.config.display().to_string(),
            settings: self.settings.clone(),
            warnings: self.warnings.clone(),
        }
    }

    /// Keys whose values differ and cannot change while the daemon runs.
    #[must_use]
    pub fn fixed_differences(&self, new: &Config) -> Vec<&'static str> {
        [
            ("server", self.server == new.server && self.instance.name == new.instance.name),
            ("actd.state", self.state == new.state),
        ]
        .into_iter()
        .filter(|(_, same)| !same)
        .map(|(key, _)| key)
        .collect()
    }

    /// The clusters that a `--clusterlist` means: a group of the config, else URLs separated by commas; nothing: the group
    /// `default`.
    ///
    /// # Errors
    /// [`Kind::UnknownClusters`].
    pub fn clusterlist(&self, text: Option<&str>) -> Result<Vec<String>, ApiError> {
        let groups: Vec<&str> = self.clusters.keys().map(String::as_str).collect();
        let known = if groups.is_empty() {
            format!("there are no groups in {}", self.instance.config.display())
        } else {
            format!("known groups: {}", groups.join(", "))
        };
        let Some(text) = text else {
            return self.clusters.get("default").cloned().ok_or_else(|| {
                ApiError::new(Kind::UnknownClusters, "no clusters are given, and the config has no group `default`")
                    .hint(format!("give --clusterlist with a group or with URLs ({known})"))
            });
        };
        if let Some(group) = self.clusters.get(text) {
            return Ok(group.clone());
        }
        let urls: Vec<&str> = text.split(',').map(str::trim).filter(|u| !u.is_empty()).collect();
        if urls.is_empty() {
            return Err(ApiError::new(Kind::UnknownClusters, "the list of clusters is empty").hint(known));
        }
        urls.into_iter()
            .map(|url| {
                values::cluster_url(url).map_err(|why| {
                    let near =
                        nearest(url, &groups).map(|g| format!("did you mean the group `{g}`? ")).unwrap_or_default();
                    let what =
                        if url.contains(':') { why } else { format!("`{url}` is no group of the config and no URL") };
                    ApiError::new(Kind::UnknownClusters, what).hint(format!("{near}{known}"))
                })
            })
            .collect()
    }

    /// The WebDAV base that a `--webdav` means: the config's if it is empty.
    ///
    /// # Errors
    /// [`Kind::BadParams`]: no URL. [`Kind::BadConfig`]: none in the config.
    pub fn webdav_base(&self, text: &str) -> Result<String, ApiError> {
        if !text.is_empty() {
            let hint = "write it as https://HOST/DIR; without a URL, the config's is taken";
            return values::webdav_base(text).map_err(|why| ApiError::new(Kind::BadParams, why).hint(hint));
        }
        self.webdav.clone().ok_or_else(|| {
            ApiError::new(Kind::BadConfig, "--webdav without a URL needs a line `webdav:` in the config file")
                .hint(format!("add it to {}, or give --webdav=URL", self.instance.config.display()))
        })
    }
}

fn env_path(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests;
