//! `daemon.doctor`: looks at everything that the daemon needs, each with its remedy. It changes nothing but a directory
//! of its own in the WebDAV store, which it removes again.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use act_proto::daemon::{Check, CheckState, Checkup};
use notify::Watcher as _;
use url::Url;

use super::Api;
use crate::auth::report::{remote_error, trust};
use crate::auth::tls::{Survey, survey};
use crate::config::Config;
use crate::fsutil::{FsKind, fs_kind, space};
use crate::job::Phase;
use crate::remote::InputFile;
use crate::remote::act::ActClient;
use crate::remote::file::FileRange;
use crate::remote::webdav::{Made, Start, WebdavClient, below};
use crate::remote::{ErrorClass, RemoteError};

/// How long the server may take for all questions, and the WebDAV store, side by side.
const BOUND: Duration = Duration::from_secs(5);
/// How long a daemon that has just started may take to find its credential before that is judged.
const SETTLE: Duration = Duration::from_secs(2);
/// A clock that is off by so much is told of: bodies of proxies are valid from five minutes before they were made.
const SKEW: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(240));
/// A credential that ends within this is told of.
const SOON: Duration = Duration::from_secs(6 * 3600);
/// What is put into the WebDAV store.
const PROBE: &[u8] = b"actctl doctor was here, and will remove this.\n";

use CheckState::{Fail, Ok as Well, Skip, Warn};

/// Looks at everything.
pub(super) async fn checkup(api: &Arc<Api>) -> Checkup {
    let config = api.config.get();
    let mut checks = vec![configuration(&config)];
    let local = {
        let config = config.clone();
        tokio::task::spawn_blocking(move || vec![state(&config), disk(&config), inotify(&config), authorities(&config)])
    };
    let server = async {
        let _ = tokio::time::timeout(SETTLE, api.auth.problem()).await;
        server(api).await
    };
    let (server, webdav) = tokio::join!(server, webdav(api, &config));
    checks.extend(local.await.unwrap_or_default());
    checks.extend(proxy(api));
    checks.push(token(api));
    checks.extend(server);
    checks.extend(webdav);
    checks.extend(directories(api).await);
    checks.extend(jobs(api));
    Checkup { checks }
}

fn configuration(config: &Config) -> Check {
    let file = config.instance.config.display();
    match config.warnings() {
        [] => Check::new("config", Well, format!("{file} is in force")),
        all => Check::new("config", Warn, format!("{file}: {}", all.join("; "))).hint("correct or remove these keys"),
    }
}

fn state(config: &Config) -> Check {
    let dir = config.state.display();
    match fs_kind(&config.state) {
        Ok(FsKind::Local) => Check::new("state", Well, format!("{dir} is on a disk of this machine")),
        Ok(FsKind::Nfs) => Check::new("state", Fail, format!("{dir} is on NFS"))
            .hint("put `state: DIRECTORY` on a local disk under `actd:`"),
        Ok(FsKind::Afs) => Check::new("state", Fail, format!("{dir} is on AFS"))
            .hint("put `state: DIRECTORY` on a local disk under `actd:`"),
        Ok(FsKind::Network(kind)) => Check::new("state", Warn, format!("{dir} is on {kind}"))
            .hint("a disk of this machine is safer: `actd.state`"),
        Err(e) => {
            Check::new("state", Fail, format!("{dir}: {e}")).hint("make it readable, or choose another: `actd.state`")
        }
    }
}

fn disk(config: &Config) -> Check {
    // Results may not have been made yet: what counts is where they would be made.
    let there = config.results.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let may = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    let usable = if there.is_dir() { rustix::fs::access(there, may) } else { Err(rustix::io::Errno::NOTDIR) };
    if let Err(e) = usable {
        let what = format!("results cannot be stored in {}: {}: {e}", config.results.display(), there.display());
        return Check::new("disk", Fail, what).hint(
            "make that directory yours, or set `actd.results` to another; `actctl get` elsewhere works meanwhile",
        );
    }
    let mut worst: Option<Check> = None;
    for (dir, what) in [(there, "results"), (config.state.as_path(), "state")] {
        let found = match space(dir) {
            Ok(room) if room.free <= config.min_free_disk => {
                Check::new("disk", Fail, format!("{} free for {what} in {}", size(room.free), dir.display()))
                    .hint("make room, or lower `actd.min_free_disk`: downloads wait for it")
            }
            Ok(room) if room.free < config.min_free_disk.saturating_mul(2) => {
                Check::new("disk", Warn, format!("{} free for {what} in {}", size(room.free), dir.display()))
                    .hint("make room soon: downloads wait when less than `actd.min_free_disk` is free")
            }
            Ok(room) => Check::new("disk", Well, format!("{} free in {}", size(room.free), dir.display())),
            Err(e) => Check::new("disk", Fail, e.to_string()).hint("see whether the disk is there"),
        };
        let rank = |check: &Check| [Well, Skip, Warn, Fail].iter().position(|s| *s == check.state);
        if worst.as_ref().is_none_or(|worst| rank(&found) > rank(worst)) {
            worst = Some(found);
        }
    }
    worst.unwrap_or_else(|| Check::new("disk", Skip, "not looked at"))
}

fn size(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{bytes} B"),
        0x10_0000..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

fn inotify(config: &Config) -> Check {
    let limit = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).unwrap_or_default();
        text.trim().to_owned()
    };
    let (instances, watches) = (limit("max_user_instances"), limit("max_user_watches"));
    let tried = notify::recommended_watcher(|_| {})
        .and_then(|mut watcher| watcher.watch(&config.state, notify::RecursiveMode::NonRecursive));
    match tried {
        Ok(()) => Check::new("inotify", Well, format!("events can be had (at most {instances} instances, {watches} watches)")),
        Err(e) => Check::new("inotify", Warn, format!("no more events can be had ({instances} instances, {watches} watches): {e}"))
            .hint("directories are looked at every two seconds instead; raise fs.inotify.max_user_instances and max_user_watches with sysctl"),
    }
}

fn authorities(config: &Config) -> Check {
    let trust = trust(config);
    let Some(dir) = trust.ca_dir() else {
        return Check::new("ca", Warn, "there is no directory of grid CAs; only the system's are trusted")
            .hint("install the IGTF CAs, or name their directory: X509_CERT_DIR or `actd.ca_dir`");
    };
    match survey(dir) {
        Ok(Survey { authorities: 0, misnamed: 0, .. }) => {
            Check::new("ca", Warn, format!("no CA is in {}", dir.display()))
                .hint("its files must be named HASH.0, as `openssl rehash` names them")
        }
        Ok(Survey { authorities: 0, .. }) => {
            Check::new("ca", Warn, format!("the CAs in {} have names that OpenSSL does not look for", dir.display()))
                .hint("run `openssl rehash` on it, or install the IGTF CAs anew")
        }
        Ok(found) if !found.stale.is_empty() => {
            let text = format!("revocation lists in {} are out of date: {}", dir.display(), found.stale.join(", "));
            Check::new("ca", Warn, text)
                .hint("run `fetch-crl`, or remove them: until then WebDAV stores and computing elements of these CAs are refused")
        }
        Ok(found) => Check::new(
            "ca",
            Well,
            format!("{} CAs and {} revocation lists in {}", found.authorities, found.lists, dir.display()),
        ),
        Err(e) => Check::new("ca", Warn, format!("{}: {e}", dir.display()))
            .hint("install the IGTF CAs, or name their directory: X509_CERT_DIR or `actd.ca_dir`"),
    }
}

/// A moment as time left.
fn left(at: SystemTime) -> Option<Duration> {
    at.duration_since(SystemTime::now()).ok()
}

fn shown(left: Duration) -> String {
    match left.as_secs() {
        s @ 0..7_200 => format!("{} min", s / 60),
        s @ 7_200..172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

fn ending(name: &str, what: &str, at: SystemTime, remedy: &str) -> Check {
    match left(at) {
        None => Check::new(name, Fail, format!("{what} has ended")).hint(remedy),
        Some(time) if time < SOON => Check::new(name, Warn, format!("{what} ends in {}", shown(time))).hint(remedy),
        Some(time) => Check::new(name, Well, format!("{what} is good for {}", shown(time))),
    }
}

fn proxy(api: &Api) -> Vec<Check> {
    let state = api.auth.state().borrow().clone();
    let Some(proxy) = state.proxy else {
        let (why, hint) =
            state.proxy_problem.map_or_else(|| ("there is no proxy".to_owned(), None), |e| (e.message, e.data.hint));
        return vec![Check::new("proxy", Fail, why).hint(hint.unwrap_or_else(|| "make one with `arcproxy`".into()))];
    };
    let what = format!("the proxy {} of {}", proxy.path().display(), proxy.dn());
    let mut checks = vec![ending("proxy", &what, proxy.expires(), "make a new one (`arcproxy`), or set `actd.renew`")];
    for warning in proxy.warnings() {
        checks.push(Check::new("proxy", Warn, warning.clone()).hint("chmod 600 it"));
    }
    if proxy.is_weak() {
        checks.push(
            Check::new(
                "proxy",
                Warn,
                "it has a short key or a signature with SHA-1, which many servers no longer take",
            )
            .hint("make it with a tool of today, such as arcproxy"),
        );
    }
    if proxy.is_limited() {
        checks.push(
            Check::new("proxy", Warn, "it is a limited proxy, with which most sites start no jobs")
                .hint("make one that is not limited"),
        );
    }
    checks.push(match proxy.voms() {
        None => Check::new("voms", Warn, "the proxy has no VOMS attributes; aCT servers refuse it")
            .hint("make one with them: `arcproxy -S VO`"),
        Some(voms) => {
            let what = format!("the attribute {}", voms.fqans.first().map_or("", String::as_str));
            ending("voms", &what, voms.expires, "make a new proxy: `arcproxy -S VO`")
        }
    });
    checks
}

fn token(api: &Api) -> Check {
    let state = api.auth.state().borrow().clone();
    if let Some(problem) = state.problem {
        let hint = problem.data.hint.clone().unwrap_or_else(|| "run `actctl proxy`".into());
        return Check::new("token", Fail, problem.message).hint(hint);
    }
    match state.token.as_ref().map(crate::auth::Token::expires) {
        None => Check::new("token", Fail, "there is no token").hint("run `actctl proxy`"),
        Some(None) => Check::new("token", Well, "the token does not say when it ends"),
        Some(Some(end)) => {
            ending("token", "the token", end, "make a new proxy (`arcproxy`): it is delegated by itself")
        }
    }
}

/// What a failed request is called here.
fn failed(name: &str, e: &RemoteError) -> Check {
    let api = remote_error(e);
    let remedy = match e.class() {
        ErrorClass::Transient { .. } | ErrorClass::Ambiguous => "check the network and `server:` in the config file",
        ErrorClass::Auth { .. } => "run `actctl proxy`",
        ErrorClass::Dialect => {
            "ask its operator which version of aCT it runs; this client speaks that of act-client 1.0"
        }
        ErrorClass::Rejected { .. } | ErrorClass::Server => "ask its operator",
        ErrorClass::Local => "correct the config file",
    };
    // Another web server, or a network's page where one has to log in first.
    if api.message.contains("is not the JSON of an aCT server") {
        return Check::new(name, Fail, api.message).hint(
            "check `server:` and `port:` in the config file, and with a browser whether this network wants you to log in first",
        );
    }
    Check::new(name, Fail, api.message).hint(api.data.hint.unwrap_or_else(|| remedy.to_owned()))
}

/// Without a token it is seen whether anybody is there, and what time it is there.
async fn without_token(act: &ActClient) -> Vec<Check> {
    let found = match tokio::time::timeout(BOUND, act.reach()).await {
        Ok(Ok(())) => Check::new("server", Well, format!("{} answers, and wants a token", act.origin())),
        Ok(Err(e)) => failed("server", &e),
        Err(_) => silent(act),
    };
    vec![found, clock(act)]
}

fn silent(act: &ActClient) -> Check {
    let what = format!("{} has not answered within {} s", act.origin(), BOUND.as_secs());
    Check::new("server", Fail, what).hint("check the network and `server:` in the config file")
}

async fn server(api: &Api) -> Vec<Check> {
    let act = api.hands.act();
    if !act.has_token() {
        return without_token(&act).await;
    }
    let began = std::time::Instant::now();
    let asked = tokio::time::timeout(BOUND, async {
        let info = act.info().await;
        let range = match &info {
            Ok(_) => range(api, &act).await,
            Err(_) => Check::new("range", Skip, "the server cannot be asked"),
        };
        (info, began.elapsed(), range)
    });
    let Ok((info, _, range)) = asked.await else {
        return vec![silent(&act)];
    };
    let mut checks = vec![match info {
        Ok(info) => Check::new(
            "server",
            Well,
            format!("{} answers in act-client 1.0's dialect and knows {} clusters", act.origin(), info.clusters.len()),
        ),
        Err(e) => failed("server", &e),
    }];
    checks.push(clock(&act));
    checks.push(range);
    checks
}

fn clock(act: &ActClient) -> Check {
    let Some(clock) = act.clock() else { return Check::new("clock", Skip, "the server has not told its time") };
    let skew = clock.date.duration_since(clock.seen).unwrap_or_else(|behind| behind.duration());
    let text = format!("this machine's clock and the server's differ by {} s", skew.as_secs());
    let remedy = "set this machine's clock (`timedatectl set-ntp true`): certificates and tokens depend on it";
    if skew > SKEW.1 {
        Check::new("clock", Fail, text).hint(remedy)
    } else if skew > SKEW.0 {
        Check::new("clock", Warn, text).hint(remedy)
    } else {
        Check::new("clock", Well, text)
    }
}

/// Whether a download that broke off can go on where it was: asked with a job that has results, if there is one.
async fn range(api: &Api, act: &ActClient) -> Check {
    let ids: Vec<u64> = {
        let jobs = api.engine.board.read();
        let has = |j: &&Arc<crate::job::Job>| matches!(j.phase, Phase::Active { .. }) && j.arcstate().has_results();
        jobs.by_key.values().filter(has).filter_map(|j| j.id()).take(5).collect()
    };
    for id in ids {
        let Ok(Ok(entries)) = act.results_list(id, "").await else { continue };
        for entry in entries.iter().filter(|e| !e.is_dir).take(3) {
            let range = FileRange { offset: 1, len: Some(1), ..FileRange::default() };
            match act.results_file(id, &entry.name, &range).await {
                Ok(Ok(file)) if file.total() > 1 => {
                    return if file.offset() == 1 {
                        Check::new("range", Well, "the server sends parts of files: downloads that break off go on")
                    } else {
                        Check::new(
                            "range",
                            Warn,
                            "the server sends files only as a whole: downloads that break off begin again",
                        )
                        .hint("nothing is lost by it; its operator could allow byte ranges")
                    };
                }
                _ => {}
            }
        }
    }
    Check::new("range", Skip, "no job with results is on the server to ask for a part of")
}

async fn webdav(api: &Api, config: &Config) -> Vec<Check> {
    let Some(base) = config.webdav.as_deref() else {
        return vec![Check::new("webdav", Skip, "no `webdav:` is in the config file")];
    };
    let Ok(base) = Url::parse(base) else { return vec![Check::new("webdav", Fail, "`webdav:` is no URL")] };
    let client = match api.hands.webdav() {
        None => {
            let check = Check::new("webdav", Skip, "it cannot be asked without a proxy");
            return vec![check.hint("make one with `arcproxy`")];
        }
        Some(Err(e)) => return vec![Check::new("webdav", Fail, e.to_string())],
        Some(Ok(client)) => client,
    };
    let name = format!("actd-probe-{:016x}", fastrand::u64(..));
    let (Some(dir), Some(file)) = (below(&base, &name), below(&base, &format!("{name}/probe"))) else {
        return vec![Check::new("webdav", Fail, "`webdav:` is no URL of a directory")];
    };
    let origin = base.origin().ascii_serialization();
    match tokio::time::timeout(BOUND, probe(&client, config, &dir, &file)).await {
        Ok(Ok(gives)) => {
            vec![Check::new("webdav", Well, format!("{origin} takes directories and files, {gives}, and deletes them"))]
        }
        Ok(Err((step, e))) => {
            let check = failed("webdav", &e);
            let message = format!("{step} fails: {}", check.message);
            let hint = match e.status() {
                Some(401 | 403) => {
                    "the store does not let this proxy's identity write there: ask its operator, and check `webdav:`"
                }
                Some(404 | 409) => "the directory that `webdav:` names is not there: make it, or correct the URL",
                _ => "check `webdav:` in the config file, the network, and the store's CA",
            };
            tidy(client, dir);
            vec![Check { message, hint: Some(hint.to_owned()), ..check }]
        }
        Err(_) => {
            tidy(client, dir);
            let silent = format!("{origin} has not answered within {} s", BOUND.as_secs());
            vec![Check::new("webdav", Fail, silent).hint("check the network and `webdav:` in the config file")]
        }
    }
}

/// Makes a directory with a file, reads a part of it, deletes both. Tells how it gives files; or the step that failed.
async fn probe(
    client: &WebdavClient,
    config: &Config,
    dir: &Url,
    file: &Url,
) -> Result<&'static str, (&'static str, RemoteError)> {
    let local = |e: std::io::Error| ("PUT", RemoteError::new(ErrorClass::Local, "a file to send", e.to_string()));
    if client.mkcol(dir).await.map_err(|e| ("MKCOL", e))? == Made::Existed {
        return Err((
            "MKCOL",
            RemoteError::new(ErrorClass::Server, "MKCOL", "the store says that a new directory is there already"),
        ));
    }
    let path = config.state.join(format!("probe-{:016x}", fastrand::u64(..)));
    tokio::fs::write(&path, PROBE).await.map_err(local)?;
    let opened = tokio::fs::File::open(&path).await;
    // The open file is enough.
    let _ = tokio::fs::remove_file(&path).await;
    let input = InputFile::new(opened.map_err(local)?, PROBE.len() as u64);
    client.put(file, &input, None).await.map_err(|e| ("PUT", e))?;
    let (gives, is_right) = match client.get_start(file, 6).await.map_err(|e| ("GET", e))? {
        Start::Part(bytes) => ("gives parts of them", bytes == PROBE[..6]),
        Start::Whole(bytes) => ("gives them as a whole", bytes == *PROBE),
        Start::Elsewhere => ("names other servers that give them", true),
    };
    if !is_right {
        return Err(("GET", RemoteError::new(ErrorClass::Server, "GET", "other bytes come back than were sent")));
    }
    client.delete(file).await.map_err(|e| ("DELETE", e))?;
    client.delete(dir).await.map_err(|e| ("DELETE", e))?;
    Ok(gives)
}

/// Removes what a failed probe may have left; nobody waits for it.
fn tidy(client: WebdavClient, dir: Url) {
    tokio::spawn(async move {
        if let Err(e) = client.delete(&dir).await {
            tracing::debug!("the probe's directory {dir} could not be deleted: {e}");
        }
    });
}

async fn directories(api: &Api) -> Vec<Check> {
    let dirs = api.dirs.list().await;
    let check = |dir: act_proto::dirs::Dir| {
        let reason = dir.reason.map(|r| format!(": {r}")).unwrap_or_default();
        match dir.state.as_str() {
            "watching" => Check::new("dir", Well, format!("{} is watched{reason}", dir.path)),
            "polling" => Check::new("dir", Warn, format!("{} is looked at every two seconds{reason}", dir.path)),
            state => Check::new("dir", Warn, format!("{} is {state}{reason}", dir.path))
                .hint("`actctl dir resume DIR`, or put right what the reason says"),
        }
    };
    dirs.into_iter().map(check).collect()
}

/// What waits, and what is stuck.
fn jobs(api: &Arc<Api>) -> Vec<Check> {
    let status = super::daemon::status(api);
    let all = status.waiting.into_iter().map(|g| ("waiting", g)).chain(status.stuck.into_iter().map(|g| ("stuck", g)));
    let mut checks: Vec<Check> = all
        .map(|(name, group)| {
            let jobs = if group.jobs == 1 { "1 job".to_owned() } else { format!("{} jobs", group.jobs) };
            // Running on the server is no complaint.
            Check { hint: group.hint, ..Check::new(name, Warn, format!("{jobs}: {}", group.message)) }
        })
        .collect();
    if status.orphans > 0 {
        let text = format!(
            "{} rows without a description are on the server, perhaps of lost requests of ours",
            status.orphans
        );
        checks.push(
            Check::new("orphans", Warn, text)
                .hint("if no other client of yours is submitting: `actctl kill` them by id"),
        );
    }
    if checks.is_empty() {
        checks.push(Check::new("waiting", Well, "no job waits for anything that you could mend"));
    }
    checks
}
