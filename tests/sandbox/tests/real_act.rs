//! The Python client `act` 1.0.0 from PyPI does its whole day's work against the sandbox. If this fails, the sandbox
//! has drifted from the real server. Uses ACT_PY_BIN, or installs the client under target/.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use act_sandbox::webdav::Behaviour;
use common::{Ask, Bed, wait};
use serde_json::Value;

/// The client with a home of its own.
struct Act {
    program: PathBuf,
    config: PathBuf,
    ca_file: PathBuf,
    home: PathBuf,
    signing_proxy: PathBuf,
}

impl Act {
    fn new(bed: &Bed) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/act-venv.sh");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("act-venv");
        let found = Command::new(script).arg(target).output().unwrap();
        assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
        let program = String::from_utf8(found.stdout).unwrap().trim().into();

        // The client signs with /tmp/x509up_uUID whatever its configuration says. It is made to believe in a uid that
        // nobody has, so that no file of a person is used or harmed.
        let uid = 3_000_000_000 + u64::from(std::process::id()) * 100 + fastrand::u64(..100);
        let home = bed.dir.path().join("home");
        let site = home.join("site");
        fs::create_dir_all(&site).unwrap();
        fs::write(site.join("sitecustomize.py"), format!("import os\nos.getuid = lambda: {uid}\n")).unwrap();
        let signing_proxy = PathBuf::from(format!("/tmp/x509up_u{uid}"));
        fs::copy(&bed.sandbox.info().proxy, &signing_proxy).unwrap();
        let info = bed.sandbox.info();
        Self { program, config: info.config.clone(), ca_file: info.ca_file.clone(), home, signing_proxy }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.home.join(name), text).unwrap();
    }

    /// Runs a command that must end with `code`; returns its stdout.
    async fn run(&self, args: &[&str], code: i32) -> String {
        let mut command = tokio::process::Command::new(&self.program);
        command.arg("--conf").arg(&self.config).args(args).current_dir(&self.home);
        command.env("HOME", &self.home).env("PYTHONPATH", self.home.join("site")).env_remove("XDG_DATA_HOME");
        // It verifies no certificate but that of a pool to which an upload is redirected.
        command.env("SSL_CERT_FILE", &self.ca_file);
        let done = tokio::time::timeout(common::LONG, command.output()).await.unwrap().unwrap();
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert_eq!(done.status.code(), Some(code), "act {args:?}\n{out}{err}");
        out.into_owned()
    }

    async fn ok(&self, args: &[&str]) -> String {
        self.run(args, 0).await
    }

    /// Waits until `act stat` shows a job in a state.
    async fn until(&self, id: &str, arcstate: &str) -> String {
        wait(&format!("job {id} to be {arcstate}"), || async {
            let out = self.ok(&["stat", "-i", id]).await;
            let last = out.lines().last().unwrap_or_default().trim_end().to_owned();
            if last.ends_with(&format!(" {arcstate}")) { Ok(out) } else { Err(out) }
        })
        .await
    }
}

impl Drop for Act {
    fn drop(&mut self) {
        // Nothing to report to from here.
        let _ = fs::remove_file(&self.signing_proxy);
    }
}

const HELLO: &str = "&(executable=\"/bin/sh\")(arguments=\"-c\" \"cat in.txt; mkdir -p sub/deep; echo nested > \
                     sub/deep/x.txt; : > empty.txt\")(inputfiles=(\"in.txt\" \"in.txt\"))(outputfiles=(\"/\" \"\"))\
                     (stdout=\"stdout.txt\")(stderr=\"stderr.txt\")(gmlog=\"gmlog\")(jobname=\"hello\")(cputime=\"60\")";
const FAIL: &str =
    "&(executable=\"/bin/sh\")(arguments=\"-c\" \"echo boo >&2; exit 3\")(stderr=\"err\")(jobname=\"fail\")";
const LONG_JOB: &str =
    "&(executable=\"/bin/sh\")(arguments=\"-c\" \"echo begun; sleep 600\")(stdout=\"out\")(jobname=\"long\")";

#[tokio::test(flavor = "multi_thread")]
async fn act_does_its_whole_cycle() {
    let bed = Bed::start(|_| ()).await;
    let act = Act::new(&bed);
    act.write("in.txt", "input data\n");
    act.write("hello.xrsl", HELLO);
    act.write("fail.xrsl", FAIL);
    act.write("long.xrsl", LONG_JOB);

    assert!(act.run(&["info"], 1).await.starts_with("Error reading token file"));
    assert!(act.ok(&["proxy"]).await.starts_with("Successfully inserted proxy."));
    let info = act.ok(&["info"]).await;
    let server = &bed.sandbox.info().server;
    let clusters = bed.sandbox.info().clusters.join("\n");
    assert_eq!(info, format!("aCT server URL: {server}\nClusters:\n{clusters}\n"));

    let out = act.ok(&["sub", "hello.xrsl", "fail.xrsl", "long.xrsl"]).await;
    assert_eq!(
        out,
        "Submitting batch of 100 jobs ...\nInserted job hello with ID 1\nInserted job fail with ID 2\nInserted job long \
         with ID 3\n"
    );
    let table = act.until("1", "done").await;
    let mut lines = table.lines();
    assert!(lines.next().unwrap().starts_with("id jobname JobID "), "{table}");
    assert!(table.contains("Finished done"), "{table}");
    act.until("2", "failed").await;
    act.until("3", "running").await;
    let error = act.ok(&["stat", "-i", "2", "--arc", "Error,ExitCode"]).await;
    assert!(error.contains("LRMS error: (3) Job finished with wrong exit code - 3 != 0 ''"), "{error}");

    // cat goes to the CE, also while the job runs.
    let begun = wait("the running job's first line", || async {
        let out = act.ok(&["cat", "-i", "3"]).await;
        if out == "begun\n" { Ok(out) } else { Err(out) }
    })
    .await;
    assert_eq!(begun, "begun\n");
    assert_eq!(act.ok(&["cat", "-i", "1"]).await, "input data\n");
    assert_eq!(act.ok(&["cat", "-i", "2", "-e"]).await, "boo\n");

    let out = act.ok(&["get", "-i", "1"]).await;
    // With a `webdav:` in the configuration the client cleans there too, and says so on lines of their own.
    let dir = out.lines().find_map(|line| line.strip_prefix("Results for job hello stored in "));
    let dir = dir.unwrap_or_else(|| panic!("{out}"));
    let results = act.home.join(dir);
    assert_eq!(fs::read_to_string(results.join("stdout.txt")).unwrap(), "input data\n");
    assert_eq!(fs::read_to_string(results.join("sub/deep/x.txt")).unwrap(), "nested\n");
    assert_eq!(fs::read_to_string(results.join("empty.txt")).unwrap(), "");
    assert_eq!(fs::read_dir(results.join("gmlog")).unwrap().count(), 10);
    assert_eq!(act.ok(&["stat", "-i", "1"]).await, "", "get cleans what it has fetched");

    assert_eq!(act.ok(&["fetch", "-i", "2"]).await, "Will fetch 1 jobs\n");
    act.until("2", "donefailed").await;
    assert_eq!(act.ok(&["fetch", "-i", "2"]).await, "Will fetch 0 jobs\n");
    let before = bed.admin(Ask::new("GET", "/jobs/2")).await.json()["job_id"].clone();
    assert_eq!(act.ok(&["resub", "-i", "2"]).await, "Will resubmit 1 jobs\n");
    act.until("2", "failed").await;
    let after: Value = bed.admin(Ask::new("GET", "/jobs/2")).await.json();
    assert_ne!(before, after["job_id"], "a resubmitted job has a new JobID");
    assert_eq!(after["runs"], 2);

    assert_eq!(act.ok(&["kill", "-i", "3"]).await, "Will kill 1 jobs\n");
    act.until("3", "cancelled").await;
    assert_eq!(act.ok(&["kill", "-i", "3"]).await, "Will kill 0 jobs\n");
    assert!(act.ok(&["clean"]).await.starts_with("Cleaned 2 jobs\n"));
    assert_eq!(act.ok(&["stat"]).await, "");

    let violations = bed.sandbox.violations();
    assert!(violations.is_empty(), "{violations:?}");
    let journal = bed.sandbox.journal();
    assert!(journal.iter().all(|entry| entry.headers.iter().all(|(name, _)| name != "authorization")));
    bed.sandbox.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn act_submits_over_webdav() {
    for behaviour in [Behaviour::Plain, Behaviour::Dcache { pool_tls: true }] {
        let bed = Bed::start(|options| options.webdav = behaviour).await;
        let act = Act::new(&bed);
        act.write("in.txt", "input data\n");
        act.write("hello.xrsl", HELLO);
        act.ok(&["proxy"]).await;
        let out = act.ok(&["sub", "hello.xrsl", "--webdav"]).await;
        assert_eq!(out, "Submitting batch of 100 jobs ...\nInserted job hello with ID 1\n", "{behaviour:?}");
        let uploads = bed.sandbox.journal().into_iter().filter(|entry| entry.path.contains("/data/")).count();
        assert_eq!(uploads, 0, "the input went to the store, not to the server");
        assert_eq!(bed.sandbox.webdav().contents().unwrap(), ["1/", "1/in.txt"]);
        act.until("1", "done").await;
        assert_eq!(act.ok(&["cat", "-i", "1"]).await, "input data\n");
        let out = act.ok(&["get", "--webdav"]).await;
        assert!(out.contains("Results for job hello stored in "), "{out}");
        assert!(bed.sandbox.webdav().contents().unwrap().is_empty(), "get removes the inputs");
        bed.sandbox.shutdown().await;
    }
}
