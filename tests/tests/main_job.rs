//! The main job: submit with inputs, run, automatic download, verification, a clean server, `get`, history.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use act_tests::{LONG, World, wait_for, xrsl};
use serde_json::{Value, json};

/// The last part of a job's URL, by which its results are named.
fn hash(job: &act_proto::jobs::Job) -> String {
    job.job_id.as_deref().and_then(|url| url.rsplit('/').next()).expect("a job that ran has a URL").to_owned()
}

/// Checks a directory of results against the manifest in it; returns the files it names.
fn verified(dir: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(dir.join(".actd-manifest.json")).expect("there is a manifest");
    let manifest: Value = serde_json::from_str(&text).expect("the manifest is JSON");
    let files = manifest["files"].as_array().expect("it names files");
    for file in files {
        let path = dir.join(file["path"].as_str().unwrap());
        assert_eq!(file["size"], fs::metadata(&path).unwrap().len(), "{}", path.display());
        assert_eq!(file["sha256"].as_str().map(str::len), Some(64), "{file}");
    }
    files.iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_job_goes_from_description_to_results() {
    let world = World::ready();
    let user = &world.user;
    user.write("in.txt", "the input\n");
    user.write("job.xrsl", xrsl::cat("first", "in.txt"));

    let sub = user.actctl(&["sub", "job.xrsl"]).ok();
    assert_eq!(sub.stdout, "Inserted job first with ID 1\n");

    let job = user.wait_phase("1", "stored");
    let results = job.results.clone().expect("a stored job has results");
    assert_eq!(Path::new(&results), user.results().join(hash(&job)));
    assert_eq!(fs::read_to_string(format!("{results}/out.txt")).unwrap(), "the input\n");
    let mut files = verified(Path::new(&results));
    files.retain(|name| !name.starts_with("gmlog/"));
    assert_eq!(files, BTreeSet::from(["out.txt", "err.txt"].map(str::to_owned)));
    world.sandbox.wait_empty();
    assert_eq!(world.sandbox.runs_of("first"), 1);

    // The job stays visible, as act would show it, until somebody collects it.
    let stat = user.actctl(&["stat"]).ok();
    assert!(stat.stdout.lines().nth(2).is_some_and(|line| line.trim_end().ends_with("Finished done")), "{stat}");

    let get = user.actctl(&["get"]).ok();
    assert_eq!(get.stdout, format!("Results for job first stored in {}\n", hash(&job)));
    assert_eq!(user.read(format!("{}/out.txt", hash(&job))), "the input\n");
    assert!(!Path::new(&results).exists(), "the results were moved, not copied");
    assert_eq!(user.actctl(&["stat"]).ok().stdout, "");
    let history = user.history();
    assert_eq!(history.len(), 1, "{history:?}");
    assert_eq!(history[0].outcome.as_deref(), Some("collected"));
    world.sandbox.assert_no_violations();
}

#[test]
fn without_automatic_download_results_wait_on_the_server() {
    let world = World::ready_with(&[], &["download: manual"]);
    let user = &world.user;
    user.write("job.xrsl", xrsl::shell("waits", "echo hello"));
    let _ = user.actctl(&["sub", "job.xrsl"]).ok();
    let job = user.wait_arcstate("1", "done");
    // Two more lists of the server, in which it could have been touched.
    let lists = || world.sandbox.journal("GET", "/jobs").len();
    let seen = lists();
    wait_for("two more lists", LONG, || if lists() >= seen + 2 { Ok(()) } else { Err(lists().to_string()) });
    assert_eq!(world.sandbox.jobs().len(), 1);
    assert!(!user.results().join(hash(&job)).exists());

    assert_eq!(user.actctl(&["get"]).ok().stdout, format!("Results for job waits stored in {}\n", hash(&job)));
    assert_eq!(user.read(format!("{}/out.txt", hash(&job))), "hello\n");
    world.sandbox.wait_empty();
    assert_eq!(user.history()[0].outcome.as_deref(), Some("collected"));
}

#[test]
fn no_download_is_a_choice_of_one_submission() {
    let world = World::ready();
    let user = &world.user;
    user.write("job.xrsl", xrsl::shell("stays", "true"));
    user.write("other.xrsl", xrsl::shell("comes", "true"));
    let _ = user.actctl(&["sub", "--no-download", "job.xrsl"]).ok();
    let _ = user.actctl(&["sub", "other.xrsl"]).ok();
    user.wait_phase("comes", "stored");
    user.wait_arcstate("stays", "done");
    assert_eq!(world.sandbox.jobs().len(), 1, "only the one that stays is on the server");
}

#[test]
fn nested_and_empty_outputs_arrive_whole() {
    let world = World::ready();
    let user = &world.user;
    let script = "mkdir -p a/b c/empty; echo deep > a/b/deep.txt; : > a/nothing; head -c 3000000 /dev/zero > c/big";
    user.write("job.xrsl", xrsl::with("nest", script, "(outputfiles=(\"/\" \"\"))(gmlog=\"gmlog\")"));
    let _ = user.actctl(&["sub", "job.xrsl"]).ok();
    let job = user.wait_phase("1", "stored");
    let dir = user.results().join(hash(&job));
    let files = verified(&dir);
    for name in ["a/b/deep.txt", "a/nothing", "c/big", "out.txt"] {
        assert!(files.contains(name), "{name} in {files:?}");
    }
    assert_eq!(files.iter().filter(|name| name.starts_with("gmlog/")).count(), 10, "{files:?}");
    assert_eq!(fs::read_to_string(dir.join("a/b/deep.txt")).unwrap(), "deep\n");
    assert_eq!(fs::metadata(dir.join("a/nothing")).unwrap().len(), 0);
    assert_eq!(fs::read(dir.join("c/big")).unwrap(), vec![0; 3_000_000]);
    world.sandbox.wait_empty();
}

#[test]
fn one_file_may_describe_several_jobs() {
    let world = World::ready();
    let user = &world.user;
    let (one, two) = (xrsl::shell("one", "echo 1"), xrsl::shell("two", "echo 2"));
    user.write("both.xrsl", format!("+({})({})", one.trim(), two.trim()));
    user.write("three.xrsl", xrsl::shell("three", "echo 3"));
    let sub = user.actctl(&["sub", "both.xrsl", "three.xrsl"]).ok();
    let names: BTreeSet<_> =
        sub.lines().iter().filter_map(|line| line.strip_prefix("Inserted job ")?.split(' ').next()).collect();
    assert_eq!(names, BTreeSet::from(["one", "three", "two"]), "{sub}");
    for (name, text) in [("one", "1\n"), ("two", "2\n"), ("three", "3\n")] {
        let job = user.wait_phase(name, "stored");
        assert_eq!(fs::read_to_string(user.results().join(hash(&job)).join("out.txt")).unwrap(), text);
        assert_eq!(world.sandbox.runs_of(name), 1);
    }
}

#[test]
fn a_failed_job_is_fetched_and_delivered() {
    let world = World::ready();
    let user = &world.user;
    user.write("fail.xrsl", xrsl::fail("bad", 3));
    let _ = user.actctl(&["sub", "fail.xrsl"]).ok();
    let told = |job: &act_proto::jobs::Job| job.error.as_deref().is_some_and(|error| error.contains("exit code"));
    let job = user.wait_job("bad", "failed, and why", |job| job.arcstate.as_deref() == Some("failed") && told(job));
    assert_eq!(user.actctl(&["wait", "bad"]).exits(1).stdout, "");
    assert_eq!(user.actctl(&["cat", "-e", "-i", "1"]).ok().stdout, "this goes wrong\n");

    assert_eq!(user.actctl(&["fetch", "-i", "1"]).ok().stdout, "Will fetch 1 jobs\n");
    user.wait_arcstate("bad", "donefailed");
    let get = user.actctl(&["get", "-i", "1"]).ok();
    assert_eq!(get.stdout, format!("Results for job bad stored in {}\n", hash(&job)));
    assert_eq!(user.read(format!("{}/err.txt", hash(&job))), "this goes wrong\n");
    world.sandbox.wait_empty();
    assert_eq!(world.sandbox.runs_of("bad"), 1);
}

#[test]
fn a_failed_job_runs_again_when_resubmitted() {
    let world = World::ready();
    let user = &world.user;
    // The second run finds what the first one has left beside the home directory.
    let mark = user.root().join("mark").display().to_string();
    let script = format!("test -e {mark} && echo well || {{ touch {mark}; exit 1; }}");
    user.write("job.xrsl", xrsl::shell("again", &script));
    let _ = user.actctl(&["sub", "job.xrsl"]).ok();
    let first = user.wait_arcstate("again", "failed");
    assert_eq!(user.actctl(&["resub", "-i", "1"]).ok().stdout, "Will resubmit 1 jobs\n");
    let job = user.wait_phase("again", "stored");
    assert_ne!(first.job_id, job.job_id, "a new run has a new URL");
    assert_eq!(fs::read_to_string(user.results().join(hash(&job)).join("out.txt")).unwrap(), "well\n");
    assert_eq!(world.sandbox.runs_of("again"), 2);
    world.sandbox.wait_empty();
}

#[test]
fn results_named_after_jobs_never_share_a_directory() {
    let world = World::ready();
    let user = &world.user;
    for number in 1..=3 {
        user.write(&format!("{number}.xrsl"), xrsl::shell("same", &format!("echo {number}")));
    }
    let _ = user.actctl(&["sub", "1.xrsl", "2.xrsl", "3.xrsl"]).ok();
    for id in ["1", "2", "3"] {
        user.wait_phase(id, "stored");
    }
    let get = user.actctl(&["get", "--use-jobname"]).ok();
    assert_eq!(
        get.sorted(),
        [
            "Results for job same stored in same",
            "Results for job same stored in same_1",
            "Results for job same stored in same_2"
        ]
    );
    let texts: BTreeSet<String> =
        ["same", "same_1", "same_2"].iter().map(|dir| user.read(format!("{dir}/out.txt"))).collect();
    assert_eq!(texts, BTreeSet::from(["1\n", "2\n", "3\n"].map(str::to_owned)));
}

/// Whatever is downloaded by itself, from a watched directory too; what is got, is named as act names it.
#[test]
fn results_named_by_a_pattern() {
    let world = World::with(&[], &[]);
    let user = &world.user;
    let inbox = user.work().join("in");
    fs::create_dir(&inbox).unwrap();
    let dirs = format!("dirs: [{{path: \"{}\", settle: 300ms}}]", inbox.display());
    let configure = |pattern: &str| user.configure(&[&format!("results_name: {pattern}"), &dirs]);
    configure("\"of {name}\"");
    let _ = user.actctl(&["proxy"]).ok();
    user.write("a.xrsl", xrsl::shell("same", "echo a"));
    user.write("b.xrsl", xrsl::shell("same", "echo b"));
    user.write("c.xrsl", xrsl::shell("../../up", "echo c"));
    let _ = user.actctl(&["sub", "a.xrsl", "b.xrsl", "c.xrsl"]).ok();
    let _ = user.actctl(&["sub", "--use-jobname", "a.xrsl"]).ok();
    fs::write(inbox.join("job.xrsl"), xrsl::shell("watched", "echo w")).unwrap();
    let place = |id: &str| user.wait_phase(id, "stored").results.map(std::path::PathBuf::from).expect("results");
    let names: BTreeSet<_> = ["1", "2"].into_iter().map(place).collect();
    assert_eq!(names, ["of same", "of same_1"].map(|name| user.results().join(name)).into());
    // With `..` and slashes its name cannot be used.
    let job = user.wait_phase("3", "stored");
    assert_eq!(Path::new(job.results.as_deref().unwrap_or_default()), user.results().join(hash(&job)));
    assert_eq!(place("4"), user.results().join("same"));
    wait_for("results of the watched directory", LONG, || {
        let name = inbox.join("results/of watched/out.txt");
        if name.exists() { Ok(()) } else { Err(format!("no {}: {:?}", name.display(), user.jobs())) }
    });
    let get = user.actctl(&["get", "3", "4"]).ok();
    assert!(get.lines().iter().all(|line| !line.contains("of ")), "{get}");

    configure("'{name}-{no}'");
    let _ = user.actctl(&["daemon", "reload"]).exits(2).says(&["config.yaml:", "{hash}, {name}, {id}"]);
    configure("\"{id}\"");
    let _ = user.actctl(&["daemon", "reload"]).ok();
    let shown = user.actctl(&["config", "show", "--origin"]).ok();
    assert!(shown.stdout.lines().any(|line| line.contains("actd.results_name") && line.contains("{id}")), "{shown}");
    let _ = user.actctl(&["sub", "b.xrsl"]).ok();
    let job = user.wait_job("last", "its results", |job| job.results.is_some());
    assert_eq!(job.results.map(std::path::PathBuf::from), Some(user.results().join(job.id.unwrap().to_string())));
}

#[test]
fn noclean_leaves_everything_and_get_may_be_repeated() {
    let world = World::ready_with(&[], &["download: manual"]);
    let user = &world.user;
    user.write("job.xrsl", xrsl::shell("kept", "echo k"));
    let _ = user.actctl(&["sub", "job.xrsl"]).ok();
    let job = user.wait_arcstate("1", "done");
    let get = user.actctl(&["get", "--noclean"]).ok();
    assert_eq!(get.stdout, format!("Results for job kept stored in {}\n", hash(&job)));
    assert_eq!(world.sandbox.jobs().len(), 1);
    assert!(world.sandbox.journal("DELETE", "*").is_empty());
    // The same results are known again: act would make a second directory.
    let get = user.actctl(&["get"]).ok();
    assert_eq!(get.stdout, format!("Results for job kept stored in {}\n", hash(&job)));
    assert_eq!(user.read(format!("{}/out.txt", hash(&job))), "k\n");
    world.sandbox.wait_empty();
}

#[test]
fn webdav_inputs_are_staged_and_removed() {
    let world = World::ready();
    let user = &world.user;
    user.write("in.txt", "over webdav\n");
    user.write("job.xrsl", xrsl::cat("dav", "in.txt"));
    let sub = user.actctl(&["sub", "--webdav", "job.xrsl"]).ok();
    assert_eq!(sub.stdout, "Inserted job dav with ID 1\n");
    assert!(world.sandbox.journal("PUT", "/jobs/*/data/*").is_empty(), "nothing was uploaded to the server");
    let job = user.wait_phase("1", "stored");
    assert_eq!(fs::read_to_string(user.results().join(hash(&job)).join("out.txt")).unwrap(), "over webdav\n");
    world.sandbox.wait_empty();
    let dav = world.sandbox.admin("GET", "/webdav/journal", None);
    let told = dav.as_array().unwrap().iter().filter(|entry| entry["authorization"] == json!(true)).count();
    assert_eq!(told, 0, "the token went to the WebDAV store: {dav}");
}

#[test]
fn the_server_is_asked_gently() {
    let world = World::ready();
    let user = &world.user;
    for number in 0..20 {
        user.write(&format!("in{number}"), format!("{number}\n"));
        user.write(&format!("{number:02}.xrsl"), xrsl::cat(&format!("n{number}"), &format!("in{number}")));
    }
    let names: Vec<String> = (0..20).map(|number| format!("{number:02}.xrsl")).collect();
    let mut args = vec!["sub"];
    args.extend(names.iter().map(String::as_str));
    assert_eq!(user.actctl(&args).ok().lines().len(), 20);
    let posts = world.sandbox.journal("POST", "/jobs");
    let puts = world.sandbox.journal("PUT", "/jobs");
    assert!(posts.len() <= 2 && puts.len() <= 3, "{} POSTs and {} PUTs for 20 jobs", posts.len(), puts.len());
    for number in 1..=20 {
        user.wait_phase(&number.to_string(), "stored");
    }
    world.sandbox.wait_empty();
    let bare: Vec<_> = ["PATCH", "DELETE"]
        .iter()
        .flat_map(|method| world.sandbox.journal(method, "/jobs"))
        .filter(|entry| !entry.query.contains("id=") || entry.query.contains("id=&"))
        .collect();
    assert!(bare.is_empty(), "a change without explicit ids: {bare:?}");
    // The list is read from time to time; in between, nothing is open: an idle connection blocks a real server.
    wait_for("no open connection", LONG, || {
        let open = &world.sandbox.admin("GET", "/stats", None)["connections_open"];
        if *open == json!(0) { Ok(()) } else { Err(open.to_string()) }
    });
    world.sandbox.assert_no_violations();
}

/// The daemon has the results and is about to clean the server, or is still bringing them: `get` delivers all the same.
#[test]
fn get_at_any_moment_of_an_automatic_download_delivers() {
    let world = World::ready();
    let user = &world.user;
    let slow = |method: &str, path: &str| {
        world.sandbox.fault(&json!({"method": method, "path": path, "fault": {"kind": "delay", "ms": 700}}));
    };
    for (name, phase, method, path) in
        [("bring", "retrieving", "GET", "/jobs/*/results*"), ("clean", "cleaning", "DELETE", "/jobs*")]
    {
        slow(method, path);
        user.write("job.xrsl", xrsl::shell(name, &format!("echo {name}")));
        let id = user.actctl(&["sub", "--json", "job.xrsl"]).ok().json()["items"][0]["id"].to_string();
        user.wait_phase(&id, phase);
        let get = user.actctl(&["get", "-i", &id]).ok();
        let dir = get.stdout.trim_end().rsplit(' ').next().unwrap();
        assert_eq!(user.read(format!("{dir}/out.txt")), format!("{name}\n"), "{get}");
        assert!(dir.len() > 10 && !dir.contains('/'), "it lies in the directory that `get` was typed in: {get}");
        world.sandbox.heal();
    }
    world.sandbox.wait_empty();
    let stored = fs::read_dir(user.results()).map_or(0, |dir| dir.filter(|e| !dot(e)).count());
    assert_eq!(stored, 0, "delivered results are not kept twice");
    world.sandbox.assert_no_violations();
}

fn dot(entry: &std::io::Result<fs::DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|e| e.file_name().as_encoded_bytes().starts_with(b"."))
}

/// Somebody who asks for the results of a job that another machine submitted, and is cut off, while that machine takes them:
/// what had begun to come is not left lying about.
#[test]
fn a_download_that_another_machine_has_made_needless_leaves_nothing() {
    let world = World::ready_with(&["--workers", "many"], &["download: manual"]);
    let other = world.machine("other", &["download: manual"]);
    let _ = other.actctl(&["proxy"]).ok();
    let user = &world.user;
    user.write("job.xrsl", xrsl::with("taken", "echo good; seq 100000 > x", "(outputfiles=(\"x\" \"\"))"));
    let _ = user.actctl(&["sub", "job.xrsl"]).ok();
    user.wait_arcstate("taken", "done");
    let cut = json!({"kind": "truncate", "bytes": 1000});
    world.sandbox.fault(&json!({"method": "GET", "path": "/jobs/*/results/x", "fault": cut}));
    let begun = || {
        let names = fs::read_dir(other.work()).expect("a directory").flatten().map(|entry| entry.file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .filter(|name| name.starts_with(".actd-"))
            .collect::<Vec<_>>()
    };
    let _ = other.shell("timeout 100 actctl get taken >get.log 2>&1 &").ok();
    wait_for("the download to have begun", LONG, || if begun().is_empty() { Err(String::new()) } else { Ok(()) });
    other.kill_daemon();
    world.sandbox.heal();
    let _ = user.actctl(&["get", "taken"]).ok();
    world.sandbox.wait_empty();
    let _ = other.actctl(&["daemon", "start"]).ok();
    wait_for(
        "nothing to be left of it",
        LONG,
        || if begun().is_empty() { Ok(()) } else { Err(format!("{:?}", begun())) },
    );
}
