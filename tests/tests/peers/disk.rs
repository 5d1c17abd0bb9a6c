//! A disk that is full: results are neither lost nor cleaned away, it is said, and it goes on when there is room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use act_proto::jobs::ListParams;
use act_proto::method::JobsList;
use act_tests::{LONG, World, wait_for, xrsl};

/// A small file system, unmounted at the end.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: &Path, size: &str) -> Self {
        fs::create_dir_all(path).unwrap();
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(path).status();
        assert!(status.unwrap().success(), "mounting needs root");
        Self(path.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the daemon may still stand in it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn results_wait_for_room() {
    let world = World::ready();
    let user = &world.user;
    let disk = Disk::mount(&user.results(), "4m");
    let ballast = disk.0.join("ballast");
    fs::write(&ballast, vec![1; 3 << 20]).unwrap();
    user.write("job.xrsl", xrsl::with("big", "head -c 2500000 /dev/zero > big", "(outputfiles=(\"big\" \"\"))"));
    let _ = user.actctl(&["sub", "job.xrsl"]).ok();
    let job = user.wait_job("1", "waits for the disk", |job| job.waiting.as_ref().is_some_and(|w| w.reason == "disk"));
    let waiting = job.waiting.unwrap();
    assert!(!waiting.message.is_empty() && waiting.hint.is_some(), "{waiting:?}");
    let status = user.actctl(&["daemon", "status"]).ok();
    assert!(status.stdout.contains(&waiting.message), "{status}");
    assert_eq!(world.sandbox.jobs().len(), 1, "nothing was cleaned");

    fs::remove_file(&ballast).unwrap();
    let job = user.wait_phase("1", "stored");
    assert_eq!(fs::metadata(Path::new(&job.results.unwrap()).join("big")).unwrap().len(), 2_500_000);
    world.sandbox.wait_empty();
}

/// More results wait for room on one disk than are tried at a time: what goes to another disk does not wait with them.
#[test]
fn a_full_disk_holds_up_no_other() {
    const JOBS: usize = 8;
    let world = World::ready_with(&["--workers", "4"], &["transfers: 1"]);
    let user = &world.user;
    let disk = Disk::mount(&user.results(), "2m");
    fs::write(disk.0.join("ballast"), vec![1; 1_500_000]).unwrap();
    let files: Vec<String> = (1..=JOBS).map(|n| format!("{n}.xrsl")).collect();
    for file in &files {
        user.write(file, xrsl::shell(file, "echo x"));
    }
    let args = ["sub", "--detach"].into_iter().chain(files.iter().map(String::as_str));
    let _ = user.actctl(&args.collect::<Vec<_>>()).ok();
    let wait_all = |jobs: usize| {
        wait_for("all to wait for the disk", LONG, || {
            let held = |job: &act_proto::jobs::Job| {
                job.waiting.as_ref().is_some_and(|w| w.reason == "disk" && w.message.contains("free"))
            };
            let all = user.jobs();
            if all.iter().filter(|job| held(job)).count() == jobs { Ok(()) } else { Err(format!("{all:?}")) }
        });
    };
    wait_all(JOBS);
    // The last in the order of the tries; and the first, which was tried.
    for (n, file) in [(JOBS, files.last()), (1, files.first())] {
        let get = user.actctl(&["get", &n.to_string()]).ok();
        assert!(get.stdout.starts_with(&format!("Results for job {} stored", file.unwrap())), "{get}");
    }
    wait_all(JOBS - 2);
    assert_eq!(fs::read_dir(user.work()).unwrap().flatten().filter(|e| e.path().join("out.txt").exists()).count(), 2);
}

#[test]
fn a_full_state_directory_loses_no_job() {
    let world = World::new();
    let user = &world.user;
    let disk = Disk::mount(&user.root().join("state"), "3m");
    let _ = user.actctl(&["proxy"]).ok();
    user.write("job.xrsl", xrsl::shell("first", "true"));
    let _ = user.actctl(&["sub", "--no-download", "job.xrsl"]).ok();
    let ballast = disk.0.join("ballast");
    // Fill it to the last block.
    let _ = fs::write(&ballast, vec![1; 4 << 20]);
    for _ in 0..20 {
        let sub = user.actctl(&["sub", "job.xrsl"]);
        if sub.code != Some(0) {
            assert_eq!(sub.code, Some(6), "{sub}");
            assert!(sub.stderr.contains("hint:"), "{sub}");
            // The daemon ends, and takes its leave: nobody is to wait at its socket.
            wait_for("the end of the daemon", LONG, || match user.daemon_pid() {
                Some(pid) => Err(format!("pid {pid}")),
                None => Ok(()),
            });
            assert!(!user.socket().exists());
            break;
        }
    }
    fs::remove_file(&ballast).unwrap();
    let jobs = wait_for("the daemon to answer again", LONG, || {
        let stat = user.actctl(&["stat", "--json"]);
        if stat.code == Some(0) { Ok(stat.json()) } else { Err(stat.to_string()) }
    });
    let on_server = world.sandbox.jobs();
    let known = jobs["items"].as_array().unwrap();
    for row in on_server {
        assert!(known.iter().any(|job| job["id"] == row.id), "{row:?} is unknown to {known:?}");
    }
}

/// The disk of the state directory is full again and again while jobs are submitted, run and come home.
#[test]
fn a_state_directory_that_fills_up_in_the_middle() {
    let world = World::with(&["--workers", "4"], &["orphans: 1s"]);
    let user = &world.user;
    let disk = Disk::mount(&user.root().join("state"), "8m");
    let _ = user.actctl(&["proxy"]).ok();
    let ballast = disk.0.join("ballast");
    let (mut taken, mut number) = (Vec::new(), 0);
    for _ in 0..3 {
        // To the last block, while the jobs of before are on their way. What sled has in its file it can still fill.
        let _ = fs::write(&ballast, vec![1; 10 << 20]);
        wait_for("the disk to be full", LONG, || {
            number += 1;
            let (name, input) = (format!("job-{number}"), format!("in-{number}.txt"));
            user.write(&input, format!("{name}\n").repeat(500));
            user.write("job.xrsl", xrsl::cat(&name, &input));
            let sub = user.actctl(&["sub", "--detach", "job.xrsl"]);
            match sub.code {
                Some(0) => taken.push(name),
                // With a reason, and what to do; or the daemon has just ended.
                Some(6 | 8) if sub.stderr.contains("hint:") => return Ok(()),
                _ => panic!("{sub}"),
            }
            Err(sub.to_string())
        });
        fs::remove_file(&ballast).unwrap();
        // The next command starts the daemon again, as a service manager would.
        wait_for("the daemon to answer again", LONG, || {
            let stat = user.actctl(&["stat"]);
            if stat.code == Some(0) { Ok(()) } else { Err(stat.to_string()) }
        });
    }
    println!("{} of {number} taken", taken.len());
    let jobs = wait_for("all jobs to be stored", LONG * 2, || {
        // The daemon that answered the last command may have been about to end: whoever looks again has it started again.
        let stat = user.actctl(&["stat"]);
        if stat.code != Some(0) {
            return Err(stat.to_string());
        }
        let jobs = user.try_call::<JobsList>(&ListParams::default())?.map_err(|e| e.to_string())?.items;
        let stored = jobs.iter().filter(|job| act_tests::user::word(&job.phase) == "stored").count();
        if stored == jobs.len() { Ok(jobs) } else { Err(format!("{stored} of {jobs:?}")) }
    });
    world.sandbox.wait_empty();
    let names: Vec<&str> = jobs.iter().filter_map(|job| job.name.as_deref()).collect();
    for name in &taken {
        assert!(names.contains(&name.as_str()), "{name} was taken, and is not there");
    }
    for (job, name) in jobs.iter().zip(&names) {
        assert_eq!(world.sandbox.runs_of(name), 1, "{name}");
        let out = fs::read_to_string(Path::new(job.results.as_deref().unwrap()).join("out.txt")).unwrap();
        assert_eq!(out, format!("{name}\n").repeat(500));
    }
    world.sandbox.assert_no_violations();
}

/// Files are put into a watched directory on another disk while that of the state directory is full: a file that is
/// accepted is a job.
#[test]
fn a_watched_file_is_not_accepted_without_its_job() {
    let world = World::new();
    let user = &world.user;
    let dir = user.work().join("in");
    fs::create_dir(&dir).unwrap();
    user.configure(&[&format!("dirs: [{{path: \"{}\", settle: 300ms}}]", dir.display())]);
    let disk = Disk::mount(&user.root().join("state"), "3m");
    let _ = user.actctl(&["proxy"]).ok();
    let ballast = disk.0.join("ballast");
    let _ = fs::write(&ballast, vec![1; 4 << 20]);
    let pid = user.daemon_pid().expect("a daemon");
    let accepted = |number: usize| dir.join(format!("accepted/{number}.xrsl")).exists();
    let mut number = 0;
    // What sled has in its file it can still fill.
    wait_for("the daemon to end for want of room", LONG, || {
        if number == 0 || accepted(number) {
            number += 1;
            // So much to keep that taking it is the first thing that finds no room.
            let text = xrsl::shell(&format!("job-{number}"), &format!(": {}", "x".repeat(200_000)));
            fs::write(dir.join(format!("{number}.xrsl")), text).unwrap();
        }
        if user.daemon_pid() == Some(pid) { Err(format!("{number} files")) } else { Ok(()) }
    });
    fs::remove_file(&ballast).unwrap();
    wait_for("all files to be accepted", LONG, || {
        // It has the daemon started again, as a service manager would.
        let stat = user.actctl(&["stat"]);
        if (1..=number).all(accepted) { Ok(()) } else { Err(stat.to_string()) }
    });
    for number in 1..=number {
        let name = format!("job-{number}");
        wait_for(&name, LONG, || {
            let jobs = user.jobs().into_iter().chain(user.history()).collect::<Vec<_>>();
            if jobs.iter().any(|job| job.name.as_deref() == Some(&name)) { Ok(()) } else { Err(format!("{jobs:?}")) }
        });
    }
}

/// Home, state and results on a disk of 50 MB, and twice as much to come.
#[test]
fn everything_on_a_disk_of_fifty_megabytes() {
    const JOBS: usize = 30;
    const SIZE: usize = 3_000_000;
    let world = World::with(&["--workers", "4"], &["orphans: 1s", "min_free_disk: 2MB"]);
    let user = &world.user;
    let _home = Disk::mount(&user.root().join("home"), "50m");
    let _ = user.actctl(&["proxy"]).ok();
    for n in 0..JOBS {
        // Bytes that differ from job to job and from place to place.
        let (first, last) = ((n + 1) * 1_000_000, (n + 1) * 1_000_000 + 999_999);
        let script = format!("seq {first} {last} | head -c {SIZE} > big");
        user.write(&format!("{n}.xrsl"), xrsl::with(&format!("big{n}"), &script, "(outputfiles=(\"big\" \"\"))"));
    }
    let files: Vec<String> = (0..JOBS).map(|n| format!("{n}.xrsl")).collect();
    let mut args = vec!["sub", "--detach"];
    args.extend(files.iter().map(String::as_str));
    let _ = user.actctl(&args).ok();
    let phase = |job: &act_proto::jobs::Job, word: &str| act_tests::user::word(&job.phase) == word;
    let held = |job: &act_proto::jobs::Job| job.waiting.as_ref().is_some_and(|w| w.reason == "disk");
    let mut collected = 0;
    while collected < JOBS {
        wait_for("results that fit, and the rest to wait", LONG * 3, || {
            let jobs = user.jobs();
            let stored = jobs.iter().filter(|job| phase(job, "stored")).count();
            let full = jobs.iter().any(held) || collected + stored == JOBS;
            if stored > 0 && full { Ok(()) } else { Err(format!("{stored} stored, {collected} collected; {jobs:?}")) }
        });
        user.kill_daemon();
        // Onto another disk.
        let get = user.actctl(&["get"]).ok();
        collected += get.stdout.lines().filter(|line| line.starts_with("Results for job ")).count();
    }
    assert_eq!(collected, JOBS, "each once");
    world.sandbox.wait_empty();
    let mut seen = std::collections::BTreeSet::new();
    for entry in fs::read_dir(user.work()).unwrap().flatten().filter(|entry| entry.path().join("big").exists()) {
        let big = fs::read(entry.path().join("big")).unwrap();
        let text = String::from_utf8_lossy(&big[..12]).into_owned();
        let first: usize = text.lines().next().and_then(|line| line.parse().ok()).expect("a number");
        let n = first / 1_000_000 - 1;
        let whole: String = (first..).take(SIZE / 7).map(|i| format!("{i}\n")).collect();
        assert!(big == whole.as_bytes()[..SIZE], "big{n} is damaged");
        assert!(seen.insert(n), "big{n} came twice");
        assert_eq!(world.sandbox.runs_of(&format!("big{n}")), 1);
    }
    assert_eq!(seen.len(), JOBS);
    world.sandbox.assert_no_violations();
}
