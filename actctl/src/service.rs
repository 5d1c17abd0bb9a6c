//! The user's service manager, as far as actctl needs it: whether there is one, which units it has, whether it outlives a
//! logout. Everything is asked of `systemctl` and `loginctl`, as a person would.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use act_proto::Instance;
use act_proto::instance::config_home;
use tokio::process::Command;

use crate::connect::is_held;

/// The service.
pub const SERVICE: &str = "actd.service";
/// Its socket.
pub const SOCKET: &str = "actd.socket";
const SERVICE_TEXT: &str = include_str!("../../systemd/actd.service");
const SOCKET_TEXT: &str = include_str!("../../systemd/actd.socket");
/// What `ExecStart` is in the units as they are shipped.
const SHIPPED: &str = "/usr/bin/actd";
/// Where packages put their units.
const PACKAGED: [&str; 3] = ["/etc/systemd/user", "/usr/lib/systemd/user", "/usr/local/lib/systemd/user"];
/// What a service does not see of the shell and needs to find the same files.
const CARRIED: [&str; 5] = ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "X509_USER_PROXY", "X509_CERT_DIR"];
/// How long a question to the manager may take; stopping a service that drains takes longest.
const BOUND: Duration = Duration::from_secs(90);

/// Why the manager cannot be used, or what it refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The sentence.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Refusal {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }
}

/// Runs a program to its end.
async fn output(program: &str, args: &[&str]) -> io::Result<Output> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let ran = tokio::time::timeout(BOUND, command.output()).await;
    ran.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it does not end")))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// Asks `systemctl --user` for something; gives its stdout.
///
/// # Errors
/// It cannot be run, or says no.
pub async fn systemctl(args: &[&str]) -> Result<String, Refusal> {
    let mut all = vec!["--user", "--no-pager"];
    all.extend(args);
    match output("systemctl", &all).await {
        Ok(ran) if ran.status.success() => Ok(text(&ran.stdout)),
        Ok(ran) => {
            let said = [text(&ran.stderr), text(&ran.stdout)].into_iter().find(|t| !t.is_empty()).unwrap_or_default();
            Err(Refusal::new(format!("`systemctl --user {}`: {said}", args.join(" "))))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Refusal::new("there is no systemd on this machine")),
        Err(e) => Err(Refusal::new(format!("`systemctl --user {}`: {e}", args.join(" ")))),
    }
}

/// Makes sure that this user has a service manager that answers.
///
/// # Errors
/// None does, with what to do about it.
pub async fn manager() -> Result<(), Refusal> {
    let Err(refusal) = systemctl(&["show", "--property=Version", "--value"]).await else { return Ok(()) };
    let hint = if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        "this shell belongs to no login session (XDG_RUNTIME_DIR is not set): log in with ssh or at the console, not with `su` or `sudo`"
    } else {
        "no service manager of yours runs here; actctl starts the daemon by itself whenever it is needed"
    };
    Err(Refusal { hint: Some(hint.to_owned()), ..refusal })
}

/// A property of a unit; empty: the manager knows none.
pub async fn property(unit: &str, name: &str) -> String {
    systemctl(&["show", unit, &format!("--property={name}"), "--value"]).await.unwrap_or_default()
}

/// Whether the service manager keeps this socket or service, whatever it is doing at the moment.
pub async fn is_enabled(unit: &str) -> bool {
    systemctl(&["is-enabled", unit]).await.is_ok()
}

/// Whether a unit is active.
pub async fn is_active(unit: &str) -> bool {
    systemctl(&["is-active", unit]).await.is_ok()
}

/// Whether the instance is the service manager's and its daemon does not run: connecting would start it.
pub async fn is_idle(instance: &Instance) -> bool {
    instance.name == "default"
        && instance.paths().socket.exists()
        && !is_held(&instance.paths().state)
        && is_active(SOCKET).await
        && matches!(property(SERVICE, "ActiveState").await.as_str(), "inactive" | "failed")
}

/// For when nobody is found at the socket of a service that is not running, or just about to be started again: somebody
/// has removed the socket's path, which the service manager does not notice. Has it listen there anew; gives whether it does.
pub async fn calls_back_socket(instance: &Instance) -> bool {
    instance.name == "default"
        && is_active(SOCKET).await
        && !is_active(SERVICE).await
        && systemctl(&["restart", SOCKET]).await.is_ok()
}

/// Whether what this user's manager runs goes on after the last logout; nothing: nobody knows.
pub async fn lingers() -> Option<bool> {
    let uid = rustix::process::getuid().as_raw().to_string();
    if let Ok(ran) = output("loginctl", &["show-user", &uid, "--property=Linger", "--value"]).await
        && ran.status.success()
    {
        return Some(text(&ran.stdout) == "yes");
    }
    // Somebody who is not logged in is not known to loginctl; this is where it keeps what `enable-linger` said.
    let name = output("id", &["-un"]).await.ok().filter(|ran| ran.status.success())?;
    let dir = Path::new("/var/lib/systemd/linger");
    dir.is_dir().then(|| dir.join(text(&name.stdout)).exists())
}

/// What to type so that the daemon outlives a logout.
pub const LINGER: &str = "loginctl enable-linger (where that is denied: sudo loginctl enable-linger \"$USER\")";

/// Where units of this user's own are.
#[must_use]
pub fn unit_dir() -> PathBuf {
    config_home().join("systemd/user")
}

fn drop_in() -> PathBuf {
    unit_dir().join(format!("{SERVICE}.d/environment.conf"))
}

/// Units of a package that start just this program: copies of them would only go stale.
#[must_use]
pub fn packaged(program: &Path) -> Option<PathBuf> {
    let starts = format!("ExecStart={}", program.display());
    PACKAGED.iter().map(PathBuf::from).find(|dir| {
        dir.join(SOCKET).is_file()
            && fs::read_to_string(dir.join(SERVICE)).is_ok_and(|text| text.lines().any(|line| line.trim() == starts))
    })
}

/// Quotes a word for `ExecStart=` or `Environment=`.
fn quote(word: &str) -> String {
    // `%` begins a specifier, `$` a variable.
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if escaped.chars().all(plain) { escaped } else { format!("\"{escaped}\"") }
}

/// Writes the units for a program, and with what environment the service finds what this shell finds. Gives the directory
/// that the units are in.
///
/// # Errors
/// They cannot be written, or the path is none that a unit can hold.
pub fn write_units(program: &Path) -> io::Result<PathBuf> {
    let path = program.to_str().filter(|p| !p.contains(|c: char| c.is_control()));
    let path = path.ok_or_else(|| io::Error::other("the path of actd is no plain text"))?;
    let dir = unit_dir();
    let carried: Vec<(&str, String)> = CARRIED
        .iter()
        .filter_map(|name| Some((*name, std::env::var(name).ok()?)))
        .filter(|(_, value)| !value.is_empty() && !value.contains(|c: char| c.is_control()))
        .collect();
    let units = match packaged(program) {
        Some(packaged) => {
            // An older copy would win over the package's units.
            remove(&[dir.join(SERVICE), dir.join(SOCKET)])?;
            packaged
        }
        None => {
            let service = SERVICE_TEXT.replace(&format!("ExecStart={SHIPPED}"), &format!("ExecStart={}", quote(path)));
            write(&dir.join(SERVICE), &service)?;
            write(&dir.join(SOCKET), SOCKET_TEXT)?;
            dir
        }
    };
    if carried.is_empty() {
        remove(&[drop_in()])?;
    } else {
        let lines = carried.iter().map(|(name, value)| format!("Environment={}\n", quote_pair(name, value)));
        let head = "# Written by `actctl daemon install`: what was set in the shell that it was typed in.\n[Service]\n";
        write(&drop_in(), &(head.to_owned() + &lines.collect::<String>()))?;
    }
    Ok(units)
}

/// In `Environment=` a `$` is only itself.
fn quote_pair(name: &str, value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{name}={escaped}\"")
}

/// Removes the units that [`write_units`] wrote; gives whether there were any.
///
/// # Errors
/// They cannot be removed.
pub fn remove_units() -> io::Result<bool> {
    let dir = unit_dir();
    let any = remove(&[dir.join(SERVICE), dir.join(SOCKET), drop_in()])?;
    if let Some(dir) = drop_in().parent() {
        // Not empty: somebody's own settings.
        let _ = fs::remove_dir(dir);
    }
    Ok(any)
}

fn remove(files: &[PathBuf]) -> io::Result<bool> {
    let mut any = false;
    for file in files {
        match fs::remove_file(file) {
            Ok(()) => any = true,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(io::Error::new(e.kind(), format!("{}: {e}", file.display()))),
        }
    }
    Ok(any)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    if let Some(dir) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(named)?;
    }
    // Whole or not at all: the manager may look at any moment.
    let part = path.with_extension("part");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&part).map_err(named)?;
    io::Write::write_all(&mut file, text.as_bytes()).map_err(named)?;
    fs::rename(&part, path).map_err(named)
}

/// Whether this environment variable's value differs between this shell and the manager's services; gives both.
pub async fn differs(name: &str) -> Option<(String, Option<String>)> {
    let mine = std::env::var(name).ok().filter(|v| !v.is_empty())?;
    let manager = systemctl(&["show-environment"]).await.ok()?;
    let prefix = format!("{name}=");
    let of_service = property(SERVICE, "Environment").await;
    let find = |text: &str| words(text).into_iter().find_map(|word| word.strip_prefix(&prefix).map(str::to_owned));
    let theirs = find(&of_service).or_else(|| find(&manager));
    (theirs.as_deref() != Some(mine.as_str())).then_some((mine, theirs))
}

/// The words of what systemctl prints of variables: apart by white space, quoted where they have to be, as for a shell.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '$') if rest.next_if_eq(&'\'').is_some() => quote = Some('\''),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (_, '\\') => {
                let escaped = rest.next().map(|c| match c {
                    'n' if quote == Some('\'') => '\n',
                    't' if quote == Some('\'') => '\t',
                    c => c,
                });
                word.get_or_insert_default().extend(escaped);
                continue;
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
        if quote.is_some() {
            word.get_or_insert_default();
        }
    }
    words.extend(word);
    words
}

/// The arguments of `journalctl` for the service's log.
#[must_use]
pub fn journal_args(follow: bool, lines: usize, request: Option<&str>) -> Vec<String> {
    let mut args: Vec<String> =
        ["--user", "--unit", SERVICE, "--no-pager", "--output=short-iso", "--lines"].map(str::to_owned).to_vec();
    args.push(lines.to_string());
    if follow {
        args.push("--follow".to_owned());
    }
    if let Some(id) = request {
        args.push(format!("--grep={id}\\b"));
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_prints_is_read_with_its_quotes() {
        let shown = words("\"A=my files\" B=x C=\"a \\\"b\" D=$'it\\'s\\n'\nE='' \"F=\\$x\"\n");
        assert_eq!(shown, ["A=my files", "B=x", "C=a \"b", "D=it's\n", "E=", "F=$x"]);
    }

    #[test]
    fn words_of_units_are_quoted() {
        assert_eq!(quote("/usr/local/bin/actd"), "/usr/local/bin/actd");
        assert_eq!(quote("/home/a b/100%/$x\"y/actd"), r#""/home/a b/100%%/$$x\"y/actd""#);
        assert_eq!(quote_pair("A", "x $y \\ %"), r#""A=x $y \\ %%""#);
    }

    #[test]
    fn the_shipped_unit_has_the_line_that_is_replaced() {
        assert_eq!(SERVICE_TEXT.lines().filter(|l| *l == format!("ExecStart={SHIPPED}")).count(), 1);
    }
}
