//! The demo's story, step by step. Each step shows and checks.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use act_sandbox::Info;
use serde_json::Value;

use super::{
    home::Home,
    jobs::{self, File},
    title,
};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(300);

/// Tells it.
pub(crate) fn tell(home: &Home, info: &Info) -> Result<(), String> {
    configure(home, info)?;
    title("Delegating a proxy to the server");
    home.types("actctl proxy")?.exits(0)?;
    home.types("actctl info")?.exits(0)?;
    submit(home)?;
    title("Watching: actd asks the server, and fetches by itself what is done");
    watch(home)?;
    home.types("actctl stat")?.exits(0)?;
    results(home)?;
    clean(info)?;
    failure(home)?;
    deliver(home)?;
    title("Everything was as it should be");
    println!("Next: point act's config file at your own server, and type `actctl proxy`.");
    Ok(())
}

fn configure(home: &Home, info: &Info) -> Result<(), String> {
    let text = format!(
        "server: {}\nclusters:\n  default:\n    - {}\nproxy: {}\nwebdav: {}\nactd:\n  poll_min: 300ms\n  poll_max: 1s\n  \
         min_free_disk: 10MB\n",
        info.server,
        info.clusters[0],
        info.proxy.display(),
        info.webdav
    );
    let config = home.config();
    fs::write(&config, text).map_err(|e| format!("{}: {e}", config.display()))?;
    println!("The user has a config file as the Python client `act` reads it; only the part `actd:` is new:");
    home.types("cat ~/.config/act-client/config.yaml")?.exits(0)?;
    Ok(())
}

fn submit(home: &Home) -> Result<(), String> {
    title("Submitting jobs with input files");
    for File { name, content } in [jobs::NUMBERS, jobs::SUM, jobs::TREE_SH, jobs::TREE, jobs::FAILS, jobs::STAGED] {
        home.write(name, content)?;
    }
    let events: String = (1..=jobs::EVENTS).map(|number| format!("event {number}\n")).collect();
    home.write("events.dat", &events)?;
    home.types("cat sum.xrsl")?.exits(0)?;
    home.types("cat fails.xrsl")?.exits(0)?;
    let out = home.types("actctl sub sum.xrsl tree.xrsl fails.xrsl")?.exits(0)?;
    inserted(&out, &["sum", "tree", "fails"])?;
    println!("The next one stages its input through WebDAV, under the user's own proxy:");
    let out = home.types("actctl sub --webdav staged.xrsl")?.exits(0)?;
    inserted(&out, &["staged"])
}

fn inserted(out: &str, names: &[&str]) -> Result<(), String> {
    for name in names {
        if !out.contains(&format!("Inserted job {name} with ID ")) {
            return Err(format!("the job {name} was not inserted"));
        }
    }
    Ok(())
}

/// Shows each change of state until the good jobs are stored and the bad one has failed.
fn watch(home: &Home) -> Result<(), String> {
    println!("$ actctl stat        (again and again; here only what changes)");
    let begin = Instant::now();
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let jobs = home.jobs()?;
        for job in &jobs {
            let now = format!("{:<12} {:<10} actd: {}", text(job, "arcstate"), text(job, "state"), text(job, "phase"));
            let name = text(job, "name").to_owned();
            if seen.get(&name) != Some(&now) {
                println!("  {:>5.1} s  {name:<7} {now}", begin.elapsed().as_secs_f32());
                seen.insert(name, now);
            }
        }
        let ended = |job: &&Value| match job["name"].as_str() {
            Some("fails") => job["arcstate"] == "failed",
            _ => job["phase"] == "stored",
        };
        if jobs.len() == 4 && jobs.iter().filter(ended).count() == 4 {
            return Ok(());
        }
        if begin.elapsed() > PATIENCE {
            return Err(format!("the jobs have not ended in {PATIENCE:?}: {jobs:?}"));
        }
        thread::sleep(LOOK);
    }
}

/// Shows the files that actd has brought, and checks each against its manifest and against what it must hold.
fn results(home: &Home) -> Result<(), String> {
    title("The results are here, complete and verified");
    home.types("cd ~/act-results && find . -type f -not -path '*/gmlog/*' | sort")?.exits(0)?;
    let jobs = home.jobs()?;
    let place = |name: &str| -> Result<PathBuf, String> {
        let job = jobs.iter().find(|job| job["name"] == name).ok_or(format!("{name} is not listed"))?;
        job["results"].as_str().map(PathBuf::from).ok_or(format!("{name} has no results"))
    };
    for (name, file, want) in jobs::RESULTS {
        let dir = place(name)?;
        holds(&dir, file, want)?;
        let hash = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        println!("$ cat ~/act-results/{hash:.8}.../{file}");
        print!("{want}");
    }
    let mut checked = 0;
    for name in ["sum", "tree", "staged"] {
        checked += verified(&place(name)?)?;
    }
    println!("({checked} files agree in size and SHA-256 with the manifests that actd has written beside them)");
    Ok(())
}

fn holds(dir: &Path, file: &str, want: &str) -> Result<(), String> {
    let path = dir.join(file);
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    if text == want { Ok(()) } else { Err(format!("{} holds {text:?} instead of {want:?}", path.display())) }
}

/// Checks a directory of results against its manifest; returns the number of files.
fn verified(dir: &Path) -> Result<usize, String> {
    let text = fs::read_to_string(dir.join(".actd-manifest.json")).map_err(|e| format!("{}: {e}", dir.display()))?;
    let manifest: Value = serde_json::from_str(&text).map_err(|e| format!("the manifest: {e}"))?;
    let files = manifest["files"].as_array().ok_or("a manifest without files")?;
    for file in files {
        let name = file["path"].as_str().ok_or("a file without a path")?;
        let bytes = fs::read(dir.join(name)).map_err(|e| format!("{name}: {e}"))?;
        let sum: String = openssl::sha::sha256(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if file["size"].as_u64() != Some(bytes.len() as u64) || file["sha256"].as_str() != Some(&sum) {
            return Err(format!("{name} is not what its manifest says"));
        }
    }
    let there = count(dir).map_err(|e| format!("{}: {e}", dir.display()))? - 1;
    if there == files.len() { Ok(there) } else { Err(format!("{there} files, {} in the manifest", files.len())) }
}

fn count(dir: &Path) -> io::Result<usize> {
    let mut files = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        files += if entry.file_type()?.is_dir() { count(&entry.path())? } else { 1 };
    }
    Ok(files)
}

/// The server and the WebDAV store hold nothing of the jobs that are done.
fn clean(info: &Info) -> Result<(), String> {
    title("What is left on the server and in the WebDAV store");
    let begin = Instant::now();
    loop {
        let (rows, files) = (ask(info, "/jobs")?, ask(info, "/webdav/contents")?);
        let left: Vec<String> = rows
            .as_array()
            .into_iter()
            .flatten()
            .map(|row| format!("{} ({})", text(row, "name"), text(row, "arcstate")))
            .collect();
        let files = files.as_array().map_or(0, Vec::len);
        if left == ["fails (failed)"] && files == 0 {
            println!("on the server: {}; on WebDAV: {files} files", left.join(", "));
            return Ok(());
        }
        if begin.elapsed() > PATIENCE {
            return Err(format!("the server is not clean: {left:?}, {files} files on WebDAV"));
        }
        thread::sleep(LOOK);
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("-")
}

/// Asks the sandbox's admin port.
fn ask(info: &Info, path: &str) -> Result<Value, String> {
    let host = info.admin.trim_start_matches("http://");
    let talk = || -> io::Result<String> {
        let mut stream = TcpStream::connect(host)?;
        // HTTP/1.0: the body ends with the connection.
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = talk().map_err(|e| format!("the sandbox's admin port: {e}"))?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).ok_or("the admin port speaks no HTTP")?;
    serde_json::from_str(body).map_err(|e| format!("the admin port: {e}"))
}

fn failure(home: &Home) -> Result<(), String> {
    title("One job has failed. Why?");
    let why = home.types("actctl why")?.exits(0)?;
    if !why.contains("exit code") {
        return Err("`why` does not name the exit code".to_owned());
    }
    let err = home.types("actctl cat --stderr fails")?.exits(0)?;
    if err != "no such calibration: run 4711\n" {
        return Err(format!("its stderr is {err:?}"));
    }
    home.types("actctl fetch fails")?.exits(0)?;
    home.types("actctl wait fails")?.exits(1)?;
    Ok(())
}

fn deliver(home: &Home) -> Result<(), String> {
    title("Collecting: the results go to the current directory, the jobs to the history");
    let begin = Instant::now();
    while home.jobs()?.iter().any(|job| job["name"] == "fails" && job["arcstate"] != "donefailed") {
        if begin.elapsed() > PATIENCE {
            return Err("the failed job's results do not come to the server".to_owned());
        }
        thread::sleep(LOOK);
    }
    let got = home.types("actctl get")?.exits(0)?;
    for name in ["sum", "tree", "fails", "staged"] {
        if !got.contains(&format!("Results for job {name} stored in ")) {
            return Err(format!("`get` has not delivered {name}"));
        }
    }
    home.types("ls")?.exits(0)?;
    let rest = home.types("actctl stat")?.exits(0)?;
    if !rest.is_empty() {
        return Err("`stat` still shows jobs".to_owned());
    }
    let history = home.types("actctl history")?.exits(0)?;
    if ["sum", "tree", "fails", "staged"].iter().any(|name| !history.contains(name)) {
        return Err("the history lacks a job".to_owned());
    }
    Ok(())
}
