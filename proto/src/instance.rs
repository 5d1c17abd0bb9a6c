//! Which daemon a command line means, and where its socket, state, config and token are.
//!
//! Both `actctl` and `actd` resolve the same flags here, so they cannot disagree. Only the keys `server`, `port` and
//! `actd.state` of the config are read; everything else in it is the daemon's business.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use url::Url;

use crate::error::{ApiError, Kind};

/// The largest config file, in bytes.
const MAX_CONFIG: u64 = 1 << 20;

/// The flags that choose an instance.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// `--conf`.
    pub conf: Option<PathBuf>,
    /// `--server`.
    pub server: Option<String>,
    /// `--port`.
    pub port: Option<u16>,
}

/// One daemon: a server and a config.
#[derive(Debug, Clone)]
pub struct Instance {
    /// `default`, or a name made of the server (and of the config file, if it is not the usual one).
    pub name: String,
    /// The config file; it may not exist.
    pub config: PathBuf,
    /// The server's URL as written (config or flag), for messages; nothing: none configured.
    pub server: Option<String>,
    /// The same with the port in force.
    pub url: Option<Url>,
    /// Whether the server is the one that the config file names: then act's token file belongs to this instance.
    pub is_config_server: bool,
    /// The flags it came from, to start a daemon with.
    pub selection: Selection,
    /// The state directory that the config file names, for all its instances.
    configured_state: Option<PathBuf>,
}

/// Where an instance's files are.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The socket.
    pub socket: PathBuf,
    /// The state directory.
    pub state: PathBuf,
}

#[derive(Deserialize, Default)]
struct Keys {
    server: Option<String>,
    port: Option<u16>,
    /// Of any kind: only the daemon judges what stands below it.
    #[serde(default)]
    actd: serde_yaml::Value,
}

impl Instance {
    /// Finds the instance that the flags mean.
    ///
    /// # Errors
    /// A config file that cannot be read as YAML or whose `server` or `port` is no such thing ([`Kind::BadConfig`]). A
    /// file that does not exist is no error here.
    pub fn resolve(selection: &Selection) -> Result<Self, ApiError> {
        let usual = config_home().join("act-client/config.yaml");
        let config = selection.conf.clone().unwrap_or_else(|| usual.clone());
        let config = std::path::absolute(&config).unwrap_or(config);
        let keys = read_keys(&config)?;
        let in_file = keys.server.as_deref().map(|s| server_url(s, None, keys.port)).transpose()?;
        let server = selection.server.clone().or(keys.server);
        let url = server.as_deref().map(|s| server_url(s, selection.port, keys.port)).transpose()?;
        let is_config_server = url.is_none() || url == in_file;
        let usual_config = same_file(&config, &usual);
        let name = match &url {
            Some(url) if !(usual_config && is_config_server) => {
                let mut name = slug(url);
                if !usual_config {
                    name.push_str(&format!("-{:08x}", fnv(config.as_os_str().as_encoded_bytes())));
                }
                name
            }
            None if !usual_config => format!("config-{:08x}", fnv(config.as_os_str().as_encoded_bytes())),
            _ => "default".to_owned(),
        };
        // A relative path is one beside the config file. The daemon says what is wrong with one that cannot be read.
        let state = keys.actd.get("state").and_then(|v| v.as_str()).and_then(|text| crate::paths::expand(text).ok());
        let configured_state = state.map(|dir| config.parent().unwrap_or(Path::new("/")).join(dir));
        Ok(Self { name, config, server, url, is_config_server, selection: selection.clone(), configured_state })
    }

    /// The instance of the usual config file, whatever is wrong with that file; `None`: flags choose another one.
    #[must_use]
    pub fn usual(selection: &Selection) -> Option<Self> {
        let Selection { conf: None, server: None, port: None } = selection else { return None };
        Some(Self {
            name: "default".to_owned(),
            config: config_home().join("act-client/config.yaml"),
            server: None,
            url: None,
            is_config_server: true,
            selection: selection.clone(),
            configured_state: None,
        })
    }

    /// Where its files are. Makes no directory.
    #[must_use]
    pub fn paths(&self) -> Paths {
        let state = match &self.configured_state {
            None => state_home().join("actd").join(&self.name),
            Some(dir) if self.name == "default" => dir.clone(),
            // Several instances may share one config file, never one state directory.
            Some(dir) => dir.join(&self.name),
        };
        Paths { socket: runtime_dir().join(format!("{}.sock", self.name)), state }
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    a == b || matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}

fn read_keys(config: &Path) -> Result<Keys, ApiError> {
    let bad = |why: String| ApiError::new(Kind::BadConfig, format!("config file {}: {why}", config.display()));
    let mut text = String::new();
    let read = fs::File::open(config).and_then(|file| file.take(MAX_CONFIG + 1).read_to_string(&mut text));
    match read {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Keys::default()),
        Err(e) => return Err(bad(format!("cannot be read: {e}"))),
    }
    if text.len() as u64 > MAX_CONFIG {
        return Err(bad("is larger than 1 MiB".into()));
    }
    serde_yaml::from_str::<Option<Keys>>(&text).map(Option::unwrap_or_default).map_err(|e| {
        let place = e.location().map_or_else(String::new, |at| format!(":{}:{}", at.line(), at.column()));
        ApiError::new(Kind::BadConfig, format!("{}{place}: {e}", config.display()))
            .hint("the config file must be YAML, as in `server: https://HOST`")
    })
}

/// A server's URL with the port in force: `--port`, else the port in the URL, else the config's `port`, else the scheme's.
///
/// # Errors
/// What is no http or https URL with a host ([`Kind::BadConfig`]).
pub fn server_url(server: &str, flag: Option<u16>, config: Option<u16>) -> Result<Url, ApiError> {
    let bad = |why: &str| {
        ApiError::new(Kind::BadConfig, format!("`{server}` is not the URL of a server: {why}"))
            .hint("write it as https://HOST or https://HOST:PORT")
    };
    let mut url = Url::parse(server).map_err(|e| bad(&e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad("it must begin with https:// or http://"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad("it has no host"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(bad("only scheme, host, port and path belong there"));
    }
    let written = explicit_port(server);
    if let Some(port) = flag.or(written).or(config) {
        url.set_port(Some(port)).map_err(|()| bad("its port cannot be set"))?;
    }
    Ok(url)
}

/// The port that stands in the text; `Url` drops one that is the scheme's default.
fn explicit_port(server: &str) -> Option<u16> {
    let rest = server.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
}

fn slug(url: &Url) -> String {
    let host: String = url
        .host_str()
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' })
        .collect();
    let path = url.path().trim_matches('/');
    let port = url.port_or_known_default().unwrap_or_default();
    // Socket paths are limited to about 100 bytes.
    let host: String = host.chars().take(40).collect();
    if path.is_empty() { format!("{host}-{port}") } else { format!("{host}-{port}-{:08x}", fnv(path.as_bytes())) }
}

/// FNV-1a: a short, stable name for a text. Nothing secret hangs on it.
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193))
}

fn home() -> PathBuf {
    env::var_os("HOME").filter(|h| !h.is_empty()).map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

fn xdg(var: &str, below_home: &str) -> PathBuf {
    // The XDG specification: a relative path is to be ignored.
    env::var_os(var).map(PathBuf::from).filter(|p| p.is_absolute()).unwrap_or_else(|| home().join(below_home))
}

/// `$XDG_CONFIG_HOME`, or `~/.config`.
#[must_use]
pub fn config_home() -> PathBuf {
    xdg("XDG_CONFIG_HOME", ".config")
}

/// `$XDG_DATA_HOME`, or `~/.local/share`.
#[must_use]
pub fn data_home() -> PathBuf {
    xdg("XDG_DATA_HOME", ".local/share")
}

/// `$XDG_STATE_HOME`, or `~/.local/state`.
#[must_use]
pub fn state_home() -> PathBuf {
    xdg("XDG_STATE_HOME", ".local/state")
}

/// The directory of the sockets: `$XDG_RUNTIME_DIR/actd`, or [`sessionless_runtime_dir`] where there is none.
#[must_use]
pub fn runtime_dir() -> PathBuf {
    match env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|p| p.is_absolute()) {
        Some(dir) => dir.join("actd"),
        None => sessionless_runtime_dir(),
    }
}

/// The directory of the sockets where there is no `$XDG_RUNTIME_DIR`, and of a daemon that has outlived its session: the last
/// logout removes that directory. `/tmp/actd-UID`.
#[must_use]
pub fn sessionless_runtime_dir() -> PathBuf {
    PathBuf::from(format!("/tmp/actd-{}", rustix::process::getuid().as_raw()))
}

/// Checks that a directory of sockets is ours alone, and makes it (0700) if `create`. A directory in /tmp that somebody
/// else made must never be used: its owner could put a socket of theirs there.
///
/// # Errors
/// It is not there, is no directory, belongs to another user, or others may write to it.
pub fn check_runtime_dir(dir: &Path, create: bool) -> io::Result<()> {
    if create {
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    let meta = fs::symlink_metadata(dir)?;
    let uid = rustix::process::getuid().as_raw();
    if !meta.is_dir() {
        return Err(io::Error::other(format!("{} is not a directory", dir.display())));
    }
    if meta.uid() != uid {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} belongs to uid {}, not to you (uid {uid})", dir.display(), meta.uid()),
        ));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} is open to others (mode {:o}): run `chmod 700` on it", dir.display(), meta.mode() & 0o777),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_precedence_is_flag_url_config_scheme() {
        let port = |s: &str, f, c| server_url(s, f, c).unwrap().port_or_known_default().unwrap();
        assert_eq!(port("https://h:1", Some(3), Some(2)), 3);
        assert_eq!(port("https://h:443", None, Some(2)), 443);
        assert_eq!(port("https://h", None, Some(2)), 2);
        assert_eq!(port("http://h/x", None, None), 80);
        assert!(server_url("h:8080", None, None).is_err());
        assert!(server_url("ftp://h", None, None).is_err());
        assert!(server_url("https://user:pw@h", None, None).is_err());
    }

    #[test]
    fn names_of_instances() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("c.yaml");
        fs::write(&conf, "server: https://act.example.org\nport: 8443\nclusters: {}\n").unwrap();
        let one = Instance::resolve(&Selection { conf: Some(conf.clone()), ..Selection::default() }).unwrap();
        assert!(one.name.starts_with("act.example.org-8443-"), "{}", one.name);
        assert!(one.is_config_server);
        let other = Selection { conf: Some(conf), server: Some("http://127.0.0.1".into()), port: Some(99) };
        let other = Instance::resolve(&other).unwrap();
        assert!(other.name.starts_with("127.0.0.1-99-"), "{}", other.name);
        assert!(!other.is_config_server);
    }

    #[test]
    fn the_config_says_where_the_state_is() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("c.yaml");
        let state = |text: &str| {
            fs::write(&conf, text).unwrap();
            let selection = Selection { conf: Some(conf.clone()), ..Selection::default() };
            let instance = Instance::resolve(&selection).unwrap();
            (instance.paths().state, instance.name)
        };
        let (path, name) = state("server: http://h\nactd:\n  state: /scratch/me\n");
        assert_eq!(path, Path::new("/scratch/me").join(name));
        let (path, name) = state("server: http://h\nactd: {state: beside}\n");
        assert_eq!(path, dir.path().join("beside").join(name));
        for other in
            ["server: http://h\n", "server: http://h\nactd: nonsense\n", "server: http://h\nactd: {state: 7}\n"]
        {
            let (path, name) = state(other);
            assert_eq!(path, state_home().join("actd").join(name), "{other}");
        }
    }

    #[test]
    fn a_config_without_end_is_refused() {
        let selection = Selection { conf: Some("/dev/zero".into()), ..Selection::default() };
        assert!(Instance::resolve(&selection).unwrap_err().message.contains("larger than 1 MiB"));
    }

    #[test]
    fn a_directory_open_to_others_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let sub = dir.path().join("actd");
        check_runtime_dir(&sub, true).unwrap();
        fs::set_permissions(&sub, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(check_runtime_dir(&sub, false).unwrap_err().to_string().contains("chmod 700"));
    }
}
