//! Watched directories with the real engine and store, without a server: there is no credential, so all jobs stay queued.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;

use act_proto::dirs::Dir;
use serde_json::Value;
use std::time::Instant;
use tokio::sync::{mpsc, watch};

use super::*;
use crate::engine::{self, Credential, EngineConfig};
use crate::job::next::Policy;
use crate::store::Store;

pub(super) const JOB: &str = "&(executable=\"/bin/true\")(jobname=\"one\")\n";

/// A daemon's life: engine and watched directories on a state directory.
pub(super) struct Life {
    pub(super) engine: EngineHandle,
    pub(super) dirs: DirsHandle,
    // The engine ends when nobody can tell it of a credential any more.
    _credential: watch::Sender<Credential>,
    _rejected: mpsc::Receiver<u64>,
}

impl Life {
    pub(super) async fn begin(root: &Path, instance: Option<&str>, configured: Vec<Settings>) -> Self {
        let state = root.join("state");
        fs::create_dir_all(&state).expect("state");
        // The engine of the life before may still be on its way out.
        let open = || async { Store::open(&state).map_err(|e| e.to_string()) };
        let store = until("the store", open).await;
        let own = store.instance_id().to_owned();
        let loaded = store.load().expect("load");
        let problem = Credential { problem: Some("no token".into()), ..Credential::default() };
        let (credential, current) = watch::channel(problem);
        let (rejected, rejections) = mpsc::channel(4);
        let config = EngineConfig {
            policy: Policy { download: true, fetch_failed: false, keep_ms: 1, keep_failed_ms: 1 },
            results: root.join("results"),
            results_name: engine::dir_name::DirName::default(),
            poll: (Duration::from_secs(1), Duration::from_secs(2)),
            uploads: 1,
            downloads: 1,
            history_ms: i64::MAX / 4,
            orphans_ms: i64::MAX / 4,
        };
        let run: engine::Run = Arc::new(|_, _, _, _| Box::pin(std::future::pending()));
        let engine = engine::start(config, store, loaded, run, current, rejected).expect("engine");
        let terms = Box::new(|settings: &Settings| match settings.clusterlist.as_deref() {
            Some("none") => Err(ApiError::new(Kind::UnknownClusters, "`none` is no group")),
            _ => Ok(Terms {
                clusters: vec!["https://ce/q".into()],
                webdav: None,
                dedupe: None,
                results: settings.results(),
                options: Options { collected: true, ..Options::default() },
                batch: "in".into(),
                client_ref: None,
                force: false,
                lifetime: None,
            }),
        });
        let dirs = start(engine.clone(), instance.unwrap_or(&own), &state, configured, terms).await.expect("dirs");
        Self { engine, dirs, _credential: credential, _rejected: rejections }
    }

    pub(super) async fn end(self) {
        self.dirs.stop(Duration::from_secs(30)).await;
        self.engine.stop(Duration::from_secs(30)).await;
        self.engine.ended().await;
    }

    pub(super) fn jobs(&self) -> usize {
        self.engine.board.read().by_key.len()
    }

    pub(super) async fn dir(&self) -> Dir {
        self.dirs.list().await.into_iter().next().expect("a directory is watched")
    }
}

/// Asks until `check` holds; fails with the last answer.
pub(super) async fn until<T, F: Future<Output = Result<T, String>>>(what: &str, mut check: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match check().await {
            Ok(value) => return value,
            Err(last) if Instant::now() > deadline => panic!("waited for {what}; last seen: {last}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

pub(super) async fn exists(path: &Path) {
    until(&format!("{}", path.display()), || async { path.exists().then_some(()).ok_or_else(|| tree(path.parent())) })
        .await;
}

fn tree(dir: Option<&Path>) -> String {
    let entries = dir.and_then(|dir| fs::read_dir(dir).ok()).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

pub(super) fn settings(root: &Path) -> Settings {
    let path = root.join("in");
    fs::create_dir_all(&path).expect("mkdir");
    Settings { path, settle_ms: Some(50), ..Settings::default() }
}

pub(super) fn root() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("dirs-").tempdir().expect("dir")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_submitted_once_and_gets_a_receipt() {
    let root = root();
    let settings = settings(root.path());
    let dir = settings.path.clone();
    let life = Life::begin(root.path(), None, Vec::new()).await;
    fs::write(dir.join("before.xrsl"), JOB).expect("write");
    life.dirs.add(settings).await.expect("add");
    assert!(life.dirs.is_watching());
    exists(&dir.join("accepted/before.xrsl")).await;
    fs::write(dir.join("after.xrsl"), format!("+({JOB})({JOB})")).expect("write");
    exists(&dir.join("accepted/after.xrsl")).await;
    let receipt: Value =
        serde_json::from_slice(&fs::read(dir.join("accepted/after.xrsl.json")).expect("receipt")).expect("JSON");
    assert_eq!(receipt["schema"], "act.receipt/1");
    assert_eq!(receipt["jobs"].as_array().map(Vec::len), Some(2), "{receipt}");
    assert_eq!(receipt["jobs"][0]["name"], "one");
    assert_eq!(receipt["jobs"][0]["id"], Value::Null);
    assert_eq!(life.jobs(), 3);
    let job = life.engine.board.read().by_key.values().next().cloned().expect("a job");
    let spec = life.engine.spec(job.key).expect("spec");
    assert_eq!((spec.base_dir.as_path(), spec.results.as_path()), (dir.as_path(), dir.join("results").as_path()));
    assert!(job.options.collected);
    // It is counted after it has been moved.
    until("two files are counted", || async {
        let now = life.dir().await;
        ((now.accepted, now.failed) == (2, 0)).then_some(()).ok_or_else(|| format!("{now:?}"))
    })
    .await;
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_gets_a_note_and_of_many_jobs_all_or_none_are_taken() {
    let root = root();
    let settings = settings(root.path());
    let dir = settings.path.clone();
    let life = Life::begin(root.path(), None, vec![settings]).await;
    fs::write(dir.join("bad.xrsl"), "&(executable=\"/bin/true\"").expect("write");
    fs::write(dir.join("half.xrsl"), format!("+({JOB})(&(executable=\"/bin/a\")(inputfiles=(\"x\" \"absent\")))"))
        .expect("write");
    fs::write(dir.join("latin.xrsl"), b"&(executable=\"\xe9\")").expect("write");
    std::os::unix::fs::symlink("/etc/passwd", dir.join("link.xrsl")).expect("symlink");
    for name in ["bad", "half", "latin", "link"] {
        exists(&dir.join(format!("failed/{name}.xrsl"))).await;
    }
    fs::symlink_metadata(dir.join("failed/link.xrsl")).expect("the link itself is moved");
    let note = |name: &str| fs::read_to_string(dir.join(format!("failed/{name}.xrsl.error"))).expect("note");
    assert!(note("bad").starts_with("bad.xrsl was not submitted.\n\n1:"), "{}", note("bad"));
    assert!(note("half").contains("absent"), "{}", note("half"));
    assert!(note("latin").contains("UTF-8") && note("link").contains("symbolic link"));
    assert_eq!(life.jobs(), 0);
    // A claim is closed once its file is where it belongs.
    until("the claims' end", || async {
        let own = tree(Some(&dir.join(".actd")));
        if own == "lock" { Ok(()) } else { Err(own) }
    })
    .await;
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_that_are_unknown_hold_files_back_and_settings_can_be_mended() {
    let root = root();
    let settings = Settings { clusterlist: Some("none".into()), ..settings(root.path()) };
    let dir = settings.path.clone();
    let life = Life::begin(root.path(), None, vec![settings.clone()]).await;
    fs::write(dir.join("a.xrsl"), JOB).expect("write");
    until("the reason", || async {
        let dir = life.dir().await;
        let fits = dir.state == "paused" && dir.reason.as_deref().is_some_and(|why| why.contains("no group"));
        fits.then_some(()).ok_or_else(|| format!("{dir:?}"))
    })
    .await;
    assert!(life.dirs.add(settings.clone()).await.expect_err("bad clusters").message.contains("no group"));
    life.dirs.configure(vec![Settings { clusterlist: None, ..settings }]).await;
    exists(&dir.join("accepted/a.xrsl")).await;
    assert_eq!(life.jobs(), 1);
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pausing_lasts_and_gives_back_what_is_not_submitted() {
    let root = root();
    let settings = Settings { clusterlist: Some("none".into()), ..settings(root.path()) };
    let dir = settings.path.clone();
    let life = Life::begin(root.path(), None, vec![settings.clone()]).await;
    fs::write(dir.join("a.xrsl"), JOB).expect("write");
    let gone = || async { (!dir.join("a.xrsl").exists()).then_some(()).ok_or_else(|| tree(Some(&dir))) };
    until("the claim", gone).await;
    assert_eq!(life.dirs.pause(&dir, true).await.expect("pause").state, "paused");
    exists(&dir.join("a.xrsl")).await;
    life.end().await;

    let mended = Settings { clusterlist: None, ..settings };
    let life = Life::begin(root.path(), None, vec![mended]).await;
    assert_eq!(life.dir().await.reason.as_deref(), Some("paused by the user"));
    life.dirs.pause(&dir, false).await.expect("resume");
    exists(&dir.join("accepted/a.xrsl")).await;
    assert!(life.dirs.rm(&dir).await.expect_err("configured").message.contains("config file"));
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_leaves_is_finished_exactly_once() {
    let root = root();
    let settings = settings(root.path());
    let dir = settings.path.clone();
    let own = dir.join(claim::OWN);
    let store = {
        let state = root.path().join("state");
        fs::create_dir_all(&state).expect("state");
        Store::open(&state).expect("store").instance_id().to_owned()
    };
    for sub in [&own, &dir.join(spool::ACCEPTED), &dir.join(spool::FAILED)] {
        fs::create_dir_all(sub).expect("mkdir");
    }
    let claim = |name: &str, instance: &str| {
        let claim = claim::Claim::new(&own, instance).expect("claim");
        fs::write(claim.path(name.as_ref()), JOB).expect("write");
        claim
    };
    // Claimed and no more; claimed by another state directory; a claim without a file; decided to fail.
    claim("claimed.xrsl", &store);
    claim("other.xrsl", "ffffffff-0000");
    claim::Claim::new(&own, &store).expect("claim");
    let decided = claim("decided.xrsl", &store);
    let ledger = claim::Ledger { error: Some("decided before the crash".into()), ..claim::Ledger::default() };
    decided.write(&ledger).expect("ledger");
    // Submitted, but not moved on; its input is gone meanwhile, and its receipt is there already.
    let life = Life::begin(root.path(), None, Vec::new()).await;
    let submitted = claim("submitted.xrsl", &store);
    let params = act_proto::jobs::Description { text: JOB.into(), path: None, base_dir: "/".into() };
    let terms =
        Terms { client_ref: Some(submitted.id.clone()), ..(life.dirs.context.terms)(&settings).expect("terms") };
    let crate::intake::Outcome::New(job) = crate::intake::check(&params, 0, &terms, &|_| None).remove(0).outcome else {
        panic!("a good job")
    };
    life.engine.submit(vec![*job]).await.expect("submit");
    fs::write(submitted.path("submitted.xrsl".as_ref()), "&(executable=\"/bin/true\")(inputfiles=(\"x\" \"gone\"))")
        .expect("write");
    fs::write(dir.join("accepted/submitted.xrsl.json"), format!("{{\"claim\":\"{}\"}}", submitted.id)).expect("write");
    life.end().await;

    for _ in 0..2 {
        let life = Life::begin(root.path(), None, vec![settings.clone()]).await;
        exists(&dir.join("accepted/claimed.xrsl")).await;
        exists(&dir.join("accepted/submitted.xrsl")).await;
        exists(&dir.join("failed/decided.xrsl")).await;
        exists(&dir.join("failed/other.xrsl")).await;
        assert_eq!(life.jobs(), 2);
        life.end().await;
    }
    let text = |name: &str| fs::read_to_string(dir.join(name)).expect(name);
    assert!(text("failed/decided.xrsl.error").contains("decided before the crash"));
    assert!(text("failed/other.xrsl.error").contains("Another actd"));
    let receipt: Value = serde_json::from_str(&text("accepted/submitted.xrsl.json")).expect("JSON");
    assert_eq!(receipt["jobs"][0]["name"], "one", "{receipt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_writer_is_waited_for_and_hard_links_are_two_jobs() {
    let root = root();
    let settings = settings(root.path());
    let dir = settings.path.clone();
    let life = Life::begin(root.path(), None, vec![settings]).await;
    let mut slow = fs::File::create(dir.join("slow.xrsl")).expect("create");
    slow.write_all(b"&(executable=\"/bin/true\")").expect("write");
    // Others come and go meanwhile, many quiet times long.
    fs::write(dir.join("a.xrsl"), JOB).expect("write");
    exists(&dir.join("accepted/a.xrsl")).await;
    fs::hard_link(dir.join("accepted/a.xrsl"), dir.join("b.xrsl")).expect("link");
    exists(&dir.join("accepted/b.xrsl")).await;
    let receipt = fs::read_to_string(dir.join("accepted/b.xrsl.json")).expect("receipt");
    let receipt: Value = serde_json::from_str(&receipt).expect("JSON");
    assert_eq!(receipt["same_file_as"], serde_json::json!(["a.xrsl"]));
    assert!(dir.join("slow.xrsl").exists(), "it is still being written");
    slow.write_all(b"(jobname=\"slow\")\n").expect("write");
    drop(slow);
    exists(&dir.join("accepted/slow.xrsl")).await;
    assert!(fs::read_to_string(dir.join("accepted/slow.xrsl.json")).expect("receipt").contains("\"name\": \"slow\""));
    assert_eq!(life.jobs(), 3);
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_replaced_is_watched_again() {
    let root = root();
    let settings = settings(root.path());
    let dir = settings.path.clone();
    let life = Life::begin(root.path(), None, vec![settings]).await;
    exists(&dir.join("accepted")).await;
    fs::rename(&dir, root.path().join("away")).expect("rename");
    until("the pause", || async {
        let dir = life.dir().await;
        (dir.state == "paused").then_some(()).ok_or_else(|| format!("{dir:?}"))
    })
    .await;
    fs::create_dir(&dir).expect("mkdir");
    fs::write(dir.join("a.xrsl"), JOB).expect("write");
    exists(&dir.join("accepted/a.xrsl")).await;
    assert_eq!(life.dir().await.state, "watching");
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ours_in_a_directory_may_be_removed_alone_or_with_all() {
    let root = root();
    let settings = settings(root.path());
    let dir = settings.path.clone();
    let life = Life::begin(root.path(), None, vec![settings]).await;
    let news = life.engine.last_event();
    fs::write(dir.join("a.xrsl"), JOB).expect("write");
    exists(&dir.join("accepted/a.xrsl.json")).await;
    exists(&dir.join("accepted/a.xrsl")).await;
    fs::remove_dir_all(dir.join(".actd")).expect("remove");
    fs::write(dir.join("b.xrsl"), JOB).expect("write");
    exists(&dir.join("accepted/b.xrsl")).await;
    let events = format!("{:?}", life.engine.events(news, 1_000).0);
    assert!(!events.contains("paused"), "{events}");
    // It is made again before anybody has looked.
    fs::remove_dir_all(&dir).expect("remove");
    fs::create_dir(&dir).expect("mkdir");
    fs::write(dir.join("c.xrsl"), JOB).expect("write");
    exists(&dir.join("accepted/c.xrsl")).await;
    assert_eq!(life.jobs(), 3);
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_works_and_two_daemons_do_not_share_a_directory() {
    let root = root();
    let polled = Settings { poll: true, ..settings(root.path()) };
    let dir = polled.path.clone();
    let life = Life::begin(root.path(), None, vec![polled.clone()]).await;
    fs::write(dir.join("a.xrsl"), JOB).expect("write");
    exists(&dir.join("accepted/a.xrsl")).await;
    assert_eq!(life.dir().await.state, "polling");
    let other = tempfile::tempdir().expect("dir");
    let second = Life::begin(other.path(), Some("another"), vec![polled]).await;
    until("the refusal", || async {
        let dir = second.dir().await;
        let refused = dir.reason.as_deref().is_some_and(|why| why.contains("another actd"));
        refused.then_some(()).ok_or_else(|| format!("{dir:?}"))
    })
    .await;
    life.end().await;
    fs::write(dir.join("b.xrsl"), JOB).expect("write");
    exists(&dir.join("accepted/b.xrsl")).await;
    assert_eq!(second.jobs(), 1);
    second.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_added_lasts_and_what_is_removed_is_left_alone() {
    let root = root();
    let settings = settings(root.path());
    let dir = settings.path.clone();
    let life = Life::begin(root.path(), None, Vec::new()).await;
    life.dirs.add(settings.clone()).await.expect("add");
    life.dirs.add(Settings { sweep_s: Some(9), ..settings.clone() }).await.expect("again");
    exists(&dir.join("accepted")).await;
    for bad in ["relative", "/nowhere/at/all"] {
        assert!(life.dirs.add(Settings { path: bad.into(), ..Settings::default() }).await.is_err(), "{bad}");
    }
    let inner = Settings { path: dir.join("accepted"), ..Settings::default() };
    assert!(life.dirs.add(inner).await.expect_err("own").message.contains("belongs to"));
    life.end().await;
    let life = Life::begin(root.path(), None, Vec::new()).await;
    assert_eq!(life.dir().await.sweep_s, Some(9));
    life.dirs.rm(&dir).await.expect("rm");
    assert!(life.dirs.rm(&dir).await.is_err() && !life.dirs.is_watching());
    fs::write(dir.join("a.xrsl"), JOB).expect("write");
    life.end().await;
    assert!(dir.join("a.xrsl").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_at_once() {
    const N: usize = 1_000;
    let root = root();
    let settings = settings(root.path());
    let dir = settings.path.clone();
    let life = Life::begin(root.path(), None, vec![settings]).await;
    for n in 0..N {
        fs::write(dir.join(format!("{n}.xrsl")), JOB.replace("one", &format!("job{n}"))).expect("write");
    }
    until("all", || async {
        let now = life.dir().await;
        (now.accepted == N as u64 && now.waiting == 0).then_some(()).ok_or_else(|| format!("{now:?}"))
    })
    .await;
    let names: BTreeSet<String> =
        life.engine.board.read().by_key.values().filter_map(|job| job.name.as_deref().map(str::to_owned)).collect();
    assert_eq!((names.len(), life.jobs()), (N, N));
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_our_hands_when_an_error_closes_a_directory_is_given_back() {
    let root = root();
    let settings = Settings { clusterlist: Some("none".into()), ..settings(root.path()) };
    let dir = settings.path.clone();
    let life = Life::begin(root.path(), None, Vec::new()).await;
    let mended = Settings { clusterlist: None, ..settings.clone() };
    life.dirs.add(mended.clone()).await.expect("add");
    exists(&dir.join("accepted")).await;
    life.end().await;
    // Its clusters are unknown meanwhile: it takes files and cannot hand them over.
    let life = Life::begin(root.path(), None, vec![settings]).await;
    fs::write(dir.join("a.xrsl"), JOB).expect("write");
    let gone = || async { (!dir.join("a.xrsl").exists()).then_some(()).ok_or_else(|| tree(Some(&dir))) };
    until("the claim", gone).await;
    let away = root.path().join("away");
    fs::rename(&dir, &away).expect("rename");
    until("the error", || async {
        let dir = life.dir().await;
        let closed = dir.reason.as_deref().is_some_and(|why| !why.contains("no group"));
        closed.then_some(()).ok_or_else(|| format!("{dir:?}"))
    })
    .await;
    fs::rename(&away, &dir).expect("rename");
    let _ = life.dirs.pause(&dir, true).await.expect("pause");
    exists(&dir.join("a.xrsl")).await;
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_dealt_with_holds_up_no_other() {
    let root = root();
    let settings = settings(root.path());
    let dir = settings.path.clone();
    // A directory has the name of its receipt: it is submitted, and cannot be moved on.
    fs::create_dir_all(dir.join("accepted/odd.xrsl.json")).expect("mkdir");
    let life = Life::begin(root.path(), None, vec![settings]).await;
    fs::write(dir.join("odd.xrsl"), JOB).expect("write");
    until("its job", || async { (life.jobs() == 1).then_some(()).ok_or_else(|| tree(Some(&dir))) }).await;
    fs::write(dir.join("a.xrsl"), JOB).expect("write");
    exists(&dir.join("accepted/a.xrsl")).await;
    assert_eq!(life.jobs(), 2);
    fs::remove_dir(dir.join("accepted/odd.xrsl.json")).expect("rmdir");
    exists(&dir.join("accepted/odd.xrsl")).await;
    assert_eq!(life.jobs(), 2);
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_within_another_s_own_is_not_watched_whichever_comes_first() {
    let root = root();
    let settings = settings(root.path());
    let inner = Settings { path: settings.path.join("accepted"), ..settings.clone() };
    fs::create_dir(&inner.path).expect("mkdir");
    let life = Life::begin(root.path(), None, Vec::new()).await;
    life.dirs.add(inner.clone()).await.expect("add");
    let refused = life.dirs.add(settings.clone()).await.expect_err("it holds the other");
    assert!(refused.message.contains("would belong to"), "{refused}");
    // By the config file.
    life.dirs.configure(vec![settings.clone()]).await;
    let all: Vec<String> = life.dirs.list().await.into_iter().map(|dir| dir.path).collect();
    assert_eq!(all, [settings.path.canonicalize().expect("path").display().to_string()]);
    life.end().await;
}

#[tokio::test]
async fn a_file_system_that_does_not_answer_is_not_waited_for() {
    let (answer, wait) = std::sync::mpsc::channel::<()>();
    let asked = in_time(Duration::from_millis(50), move || wait.recv());
    assert!(asked.await.is_none());
    drop(answer);
    assert_eq!(in_time(Duration::from_secs(60), || 5).await, Some(5));
    let missing = PathBuf::from("/nowhere/at/all");
    assert_eq!(real([missing.clone(), "/proc/../".into()]).await, [missing, PathBuf::from("/")]);
}

/// The points at which a life is cut off, in the order in which a file comes to them.
#[cfg(feature = "failpoints")]
const POINTS: &[&str] = &[
    "dirs.claim.made",
    "dirs.claim.renamed",
    "dirs.claim.durable",
    "dirs.take.read",
    "dirs.fail.decided",
    "dirs.submit.before",
    "dirs.submit.after",
    "dirs.place.sidecar",
    "dirs.place.moved",
];

/// Where the process that is to be killed works.
#[cfg(feature = "failpoints")]
const ROOT: &str = "ACTD_TEST_CRASH_ROOT";

#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_each_step_each_file_is_submitted_once() {
    use std::os::unix::process::ExitStatusExt as _;
    if let Some(root) = std::env::var_os(ROOT) {
        // This is the process that is to be killed.
        let _life = Life::begin(Path::new(&root), None, vec![settings(Path::new(&root))]).await;
        // Long enough to come to every point; a point that is passed only once lets it live that long.
        return tokio::time::sleep(Duration::from_secs(8)).await;
    }
    for (point, at) in POINTS.iter().flat_map(|point| [(point, 1), (point, 2)]) {
        let root = root();
        let dir = settings(root.path()).path;
        for name in ["a", "b"] {
            fs::write(dir.join(format!("{name}.xrsl")), format!("+({JOB})({JOB})")).expect("write");
            fs::write(dir.join(format!("bad{name}.xrsl")), "&(executable=").expect("write");
        }
        let child = std::process::Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "dirs::tests::killed_at_each_step_each_file_is_submitted_once"])
            .env(ROOT, root.path())
            .env("ACTD_FAILPOINTS", format!("{point}=crash@{at}"))
            .output();
        let child = child.expect("a child");
        let said = String::from_utf8_lossy(&child.stdout).into_owned();
        // Both files are handed over at once: there may be no second time.
        let once = at == 2 && ["dirs.claim.durable", "dirs.submit.before", "dirs.submit.after"].contains(point);
        assert!(once || child.status.signal() == Some(9), "{point}@{at}: {:?} {said}", child.status);

        let life = Life::begin(root.path(), None, vec![settings(root.path())]).await;
        for name in ["accepted/a.xrsl", "accepted/b.xrsl", "failed/bada.xrsl", "failed/badb.xrsl"] {
            exists(&dir.join(name)).await;
        }
        until("rest", || async {
            let now = life.dir().await;
            (now.waiting == 0).then_some(()).ok_or_else(|| format!("{point}@{at}: {now:?}"))
        })
        .await;
        let all = |sub: &str| fs::read_dir(dir.join(sub)).expect(sub).count();
        assert_eq!((life.jobs(), all("accepted"), all("failed")), (4, 4, 4), "{point}@{at}: {}", tree(Some(&dir)));
        life.end().await;
    }
}
