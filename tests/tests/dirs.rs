//! Watched directories: real editors and copying programs, crashes, a directory that comes and goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use act_proto::daemon::NoParams;
use act_proto::dirs::Dir;
use act_proto::jobs::{ListParams, Origin};
use act_proto::method::{DirsList, JobsList};
use act_tests::{LONG, User, World, wait_for, xrsl};
use serde_json::Value;

/// A user with a watched directory `work/in`, whose files settle fast.
fn watched(settings: &[&str]) -> (World, PathBuf) {
    let world = World::with(&[], &[]);
    let dir = world.user.work().join("in");
    fs::create_dir(&dir).expect("a directory can be made");
    let entry = format!("dirs: [{{path: \"{}\", settle: 300ms{}}}]", dir.display(), settings.concat());
    world.user.configure(&[&entry]);
    let _ = world.user.actctl(&["proxy"]).ok();
    (world, dir)
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn wait_exists(path: &Path) {
    wait_for(&format!("{}", path.display()), LONG, || {
        if path.exists() { Ok(()) } else { Err(format!("{:?}", path.parent().map(names))) }
    });
}

fn receipt(dir: &Path, name: &str) -> Value {
    let text = fs::read(dir.join("accepted").join(format!("{name}.json"))).expect("a receipt");
    serde_json::from_slice(&text).expect("a receipt is JSON")
}

fn one(user: &User) -> Dir {
    user.call::<DirsList>(&NoParams {}).expect("dirs.list answers").items.pop().expect("a directory is watched")
}

fn wait_dir(user: &User, what: &str, fits: impl Fn(&Dir) -> bool) -> Dir {
    wait_for(what, LONG, || {
        let dir = one(user);
        if fits(&dir) { Ok(dir) } else { Err(format!("{dir:?}")) }
    })
}

/// Names of all jobs that this user ever submitted, each as often as it was. (Rows that a killed daemon has asked for and
/// not used are none: they never run.)
fn made(user: &User) -> Vec<String> {
    // One that is closed while something of it is still to be tidied up is not in the history yet.
    let params = ListParams { closed: true, ..ListParams::default() };
    let live = user.call::<JobsList>(&params).expect("jobs.list answers").items;
    let all = live.into_iter().chain(user.history()).filter(|job| job.origin == Origin::Submitted);
    // One may have moved to the history in between.
    let by_key: BTreeMap<String, String> = all.map(|job| (job.key, job.name.unwrap_or_default())).collect();
    let mut names: Vec<String> = by_key.into_values().collect();
    names.sort();
    names
}

#[test]
fn from_a_file_to_its_results() {
    let (world, dir) = watched(&[]);
    let user = &world.user;
    fs::write(dir.join("in.txt"), "hello\n").expect("write");
    fs::write(dir.join("job.xrsl"), xrsl::cat("first", "in.txt")).expect("write");
    wait_exists(&dir.join("accepted/job.xrsl"));
    let line = wait_for("the receipt's end", LONG, || {
        let line = receipt(&dir, "job.xrsl")["jobs"][0].clone();
        if line["outcome"] == "collected" { Ok(line) } else { Err(line.to_string()) }
    });
    assert!(line["id"].is_u64() && line["state"] == "done", "{line}");
    let results = PathBuf::from(line["results"].as_str().expect("a path"));
    assert!(results.starts_with(dir.join("results")), "{line}");
    assert_eq!(fs::read_to_string(results.join("out.txt")).expect("a result"), "hello\n");
    wait_for("the claim's end", LONG, || {
        let own = names(&dir.join(".actd"));
        if own.iter().eq(["lock"]) { Ok(()) } else { Err(format!("{own:?}")) }
    });
    assert_eq!(world.sandbox.runs_of("first"), 1);
    world.sandbox.wait_empty();
    world.sandbox.assert_no_violations();

    fs::write(dir.join("bad.xrsl"), "&(executable=").expect("write");
    wait_exists(&dir.join("failed/bad.xrsl"));
    let note = fs::read_to_string(dir.join("failed/bad.xrsl.error")).expect("a note");
    assert!(note.contains("bad.xrsl was not submitted") && note.contains("1:"), "{note}");
    let list = user.actctl(&["dir", "list"]).ok();
    assert!(list.stdout.contains("watching") && list.stdout.contains("/in"), "{}", list.stdout);
}

#[test]
fn the_verbs_of_actctl() {
    let world = World::ready();
    let user = &world.user;
    fs::create_dir(user.work().join("box")).expect("mkdir");
    let add = user.actctl(&["dir", "add", "box", "--settle", "1s", "--sweep", "30d"]).ok();
    assert!(add.stdout.ends_with("/box is watched\n"), "{}", add.stdout);
    let _ = user.actctl(&["dir", "pause", "box"]).ok();
    user.write("box/a.xrsl", xrsl::shell("paused", "true"));
    user.kill_daemon();
    let json = user.actctl(&["--json", "dir", "list"]).ok();
    let list: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(list["items"][0]["state"], "paused", "{list}");
    assert_eq!(list["items"][0]["sweep_s"], 30 * 86_400);
    assert!(user.work().join("box/a.xrsl").exists());
    let _ = user.actctl(&["dir", "resume", "box"]).ok();
    wait_exists(&user.work().join("box/accepted/a.xrsl"));
    let _ = user.actctl(&["dir", "rm", "box"]).ok();
    assert_eq!(user.actctl(&["dir", "rm", "box"]).code, Some(1));
    assert_eq!(user.actctl(&["dir", "add", "absent"]).code, Some(6));
    // Nobody can make anything there.
    let add = user.actctl(&["dir", "add", "/proc"]).ok();
    assert!(add.stderr.contains("it is paused: "), "{add}");
    let _ = user.actctl(&["dir", "rm", "/proc"]).ok();
}

#[test]
fn programs_that_write_in_their_own_ways() {
    let (world, dir) = watched(&[]);
    let user = &world.user;
    let job = |name: &str| xrsl::shell(name, "true");
    // What emacs does: the old file becomes a backup, a lock is a dangling link, autosaves have hashes round them.
    // What rsync does: a hidden file of another name, renamed. A writer in pieces, slower than the quiet time. A name
    // without a directory entry that appears whole. A copy through `.part`.
    fs::write(user.work().join("job"), job("slow")).expect("write");
    fs::write(user.work().join("emacs"), job("emacs")).expect("write");
    fs::write(user.work().join("rsync"), job("rsync")).expect("write");
    fs::write(user.work().join("part"), job("part")).expect("write");
    fs::write(user.work().join("mv"), job("mv")).expect("write");
    let script = r##"
        cd in
        ln -s user@host.1234:5 .#emacs.xrsl
        printf 'half of it' > '#emacs.xrsl#'
        printf '&(executable=' > emacs.xrsl && mv emacs.xrsl emacs.xrsl~ && cat ../emacs > emacs.xrsl
        rm -f '.#emacs.xrsl' '#emacs.xrsl#'
        head -c 9 ../rsync > .rsync.xrsl.Xa31fQ; tail -c +10 ../rsync >> .rsync.xrsl.Xa31fQ; mv .rsync.xrsl.Xa31fQ rsync.xrsl
        cat ../part > part.xrsl.part; mv part.xrsl.part part.xrsl
        mv ../mv mv.xrsl
        { head -c 9 ../job; sleep 1.5; tail -c +10 ../job; } > slow.xrsl
    "##;
    let _ = user.shell(script).ok();
    for name in ["emacs", "rsync", "part", "mv", "slow"] {
        wait_exists(&dir.join(format!("accepted/{name}.xrsl")));
    }
    assert_eq!(made(user), ["emacs", "mv", "part", "rsync", "slow"]);
    assert!(names(&dir.join("failed")).is_empty(), "{:?}", names(&dir.join("failed")));
    assert!(dir.join("emacs.xrsl~").exists());
}

#[test]
fn vim_saves_atomically() {
    let (world, dir) = watched(&[]);
    let user = &world.user;
    let mut job = xrsl::shell("vim", "true");
    job.truncate(job.trim_end().len());
    for (backup, name) in [("yes", "copied"), ("no", "renamed")] {
        let text = job.replace("vim", name);
        let put = format!("call setline(1, '{}')", text.replace('\'', "''"));
        let mut vim = user.command("vim");
        vim.args(["-Nu", "NONE", "-es", "-c", &format!("set backupcopy={backup} writebackup backup")]);
        vim.args(["-c", "edit in/job.xrsl", "-c", &put, "-c", "write", "-c", "write!", "-c", "quitall!"]);
        let _ = user.run(vim, LONG).ok();
        wait_for("the job", LONG, || {
            if made(user).contains(&name.to_owned()) { Ok(()) } else { Err(format!("{:?}", names(&dir))) }
        });
    }
    wait_exists(&dir.join("accepted/job_1.xrsl"));
    assert_eq!(made(user), ["copied", "renamed"]);
    assert!(names(&dir.join("failed")).is_empty());
}

#[test]
fn a_server_or_a_credential_that_is_away_holds_jobs_back_not_files() {
    let (mut world, dir) = watched(&[]);
    world.sandbox.stop();
    fs::write(dir.join("a.xrsl"), xrsl::shell("later", "true")).expect("write");
    wait_exists(&dir.join("accepted/a.xrsl"));
    assert_eq!(receipt(&dir, "a.xrsl")["jobs"][0]["id"], Value::Null);
    world.sandbox.start_again();
    wait_for("the id", LONG, || {
        let line = receipt(&dir, "a.xrsl")["jobs"][0].clone();
        if line["id"].is_u64() { Ok(()) } else { Err(line.to_string()) }
    });
}

#[test]
fn a_directory_is_removed_and_made_again_and_files_arrive_while_nobody_is_there() {
    let (world, dir) = watched(&[]);
    let user = &world.user;
    wait_dir(user, "the watch", |dir| dir.state == "watching");
    fs::remove_dir_all(&dir).expect("remove");
    wait_dir(user, "the pause", |dir| dir.state == "paused");
    fs::create_dir(&dir).expect("mkdir");
    fs::write(dir.join("again.xrsl"), xrsl::shell("again", "true")).expect("write");
    wait_exists(&dir.join("accepted/again.xrsl"));
    user.kill_daemon();
    for n in 0..20 {
        fs::write(dir.join(format!("{n}.xrsl")), xrsl::shell(&format!("down{n}"), "true")).expect("write");
    }
    let _ = user.actctl(&["daemon", "start"]).ok();
    wait_dir(user, "all", |dir| dir.accepted == 20);
    assert_eq!(made(user).len(), 21);
}

#[test]
fn killed_at_random_each_file_is_submitted_once() {
    let (world, dir) = watched(&[", poll: false"]);
    let user = &world.user;
    const N: usize = 150;
    for n in 0..N {
        fs::write(dir.join(format!("{n}.xrsl")), xrsl::shell(&format!("job{n}"), "true")).expect("write");
        if n % 15 == 14 {
            // Wherever it is just then: how many are claimed or accepted differs from round to round.
            user.kill_daemon();
            let _ = user.actctl(&["daemon", "start"]).ok();
            let wanted = n / 15 * 7;
            wait_for("progress", LONG, || {
                let there = names(&dir.join("accepted")).iter().filter(|name| name.ends_with(".xrsl")).count();
                if there >= wanted { Ok(()) } else { Err(format!("{there} of {wanted}")) }
            });
        }
    }
    wait_for("all files", LONG * 2, || {
        let there = names(&dir.join("accepted")).iter().filter(|name| name.ends_with(".xrsl")).count();
        if there == N { Ok(()) } else { Err(format!("{there}")) }
    });
    let made = made(user);
    let distinct: BTreeSet<&String> = made.iter().collect();
    assert_eq!((made.len(), distinct.len()), (N, N), "each file is one job");
    assert!(names(&dir.join("failed")).is_empty());
    wait_for("all runs", LONG * 3, || {
        let runs = world.sandbox.runs().descriptions;
        let twice: Vec<_> = runs.iter().filter(|(_, n)| **n != 1).collect();
        assert!(twice.is_empty(), "ran more than once: {twice:?}");
        if runs.len() == N { Ok(()) } else { Err(format!("{} of {N}", runs.len())) }
    });
}

#[test]
fn five_thousand_files_at_once_and_more_events_than_the_queue_holds() {
    let (world, dir) = watched(&[]);
    let user = &world.user;
    wait_dir(user, "the watch", |dir| dir.state == "watching");
    // The jobs are not what this is about: nothing is sent to a server that is broken.
    world.sandbox.broken(true);
    // While the daemon is stopped nobody empties the queue: four events a file are more than its 16,384.
    let pid = user.daemon_pid().expect("a daemon runs");
    let script = format!(
        r#"
        cd in
        kill -STOP {pid}
        for n in $(seq 5000); do
            printf '&(executable="/bin/true")(jobname="job%s")(stdout="o")(walltime="5")\n' $n > .t; mv .t $n.xrsl
        done
        kill -CONT {pid}
    "#
    );
    let _ = user.shell(&script).ok();
    let bound = Duration::from_secs(300);
    wait_for("all files", bound, || {
        let now = one(user);
        if now.accepted >= 5_000 && now.waiting == 0 { Ok(()) } else { Err(format!("{now:?}")) }
    });
    let accepted = names(&dir.join("accepted"));
    assert_eq!(accepted.iter().filter(|name| name.ends_with(".xrsl")).count(), 5_000);
    assert_eq!(accepted.iter().filter(|name| name.ends_with(".json")).count(), 5_000);
    assert_eq!(one(user).accepted, 5_000);
    assert_eq!(one(user).failed, 0);
}

#[test]
fn polling_finds_the_same_files() {
    let (world, dir) = watched(&[", poll: true"]);
    fs::write(dir.join("a.xrsl"), xrsl::shell("polled", "true")).expect("write");
    fs::hard_link(dir.join("a.xrsl"), dir.join("b.xrsl")).expect("link");
    wait_exists(&dir.join("accepted/a.xrsl"));
    wait_exists(&dir.join("accepted/b.xrsl"));
    assert_eq!(one(&world.user).state, "polling");
    assert_eq!(receipt(&dir, "b.xrsl")["same_file_as"], serde_json::json!(["a.xrsl"]));
    assert_eq!(made(&world.user), ["polled", "polled"]);
}

/// Needs root, to be another user.
#[cfg(feature = "peers")]
#[test]
fn a_directory_that_cannot_be_written_pauses_and_resumes_by_itself() {
    use std::os::unix::fs::PermissionsExt as _;
    const NOBODY: u32 = 65_534;
    let world = World::with(&[], &[]);
    let user = &world.user;
    let dir = user.work().join("in");
    fs::create_dir(&dir).expect("mkdir");
    user.configure(&[&format!("dirs: [\"{}\"]", dir.display())]);
    let open = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    let _ = user.shell(&format!("chown -R {NOBODY}:{NOBODY} .. && chown 0:0 in")).ok();
    open(world.scratch.path(), 0o755);
    fs::write(dir.join("a.xrsl"), xrsl::shell("other", "true")).expect("write");
    let state = |what: &str, fits: &dyn Fn(&Value) -> bool| {
        wait_for(what, LONG, || {
            let mut list = user.command("setpriv");
            list.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups", "actctl"]);
            list.args(["--json", "dir", "list"]);
            let out = user.run(list, LONG).ok();
            let dir = serde_json::from_str::<Value>(&out.stdout).expect("JSON")["items"][0].clone();
            if fits(&dir) { Ok(()) } else { Err(dir.to_string()) }
        });
    };
    state("the pause", &|dir| dir["state"] == "paused" && dir["reason"].to_string().contains("cannot be written"));
    assert!(dir.join("a.xrsl").exists());
    let _ = user.shell(&format!("chown {NOBODY}:{NOBODY} in")).ok();
    wait_exists(&dir.join("accepted/a.xrsl"));
    state("the watch", &|dir| dir["state"] == "watching");
    // Back to ours, for the tidying up.
    let _ = user.shell("chown -R 0:0 ..").ok();
}
