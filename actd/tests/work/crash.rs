//! The hands die at every step boundary of a download and of a delivery, and another process does the same work again:
//! there is one result, it is whole, and nothing else is left. Needs the feature `failpoints`.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use actd::job::apply::Input;
use actd::job::{Key, ServerId};
use actd::work::{Done, ProgressSink, Retrieve, Work};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::bed::{Bed, OWNER, configuration, hands, tree};

/// Holds the work of the process that is to die.
const ORDER: &str = "WORK_TEST_ORDER";

/// The process that dies. Without an order there is nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let order: Value = serde_json::from_str(&order).expect("order");
    let path = |name: &str| PathBuf::from(order[name].as_str().expect(name));
    let key = Key(order["key"].as_u64().expect("key"));
    let work = if order["from"].is_null() {
        Work::Retrieve(Retrieve {
            key,
            id: order["id"].as_u64().expect("id"),
            run: order["run"].as_str().expect("run").into(),
            job_name: None,
            parent: path("parent"),
            name: "results".into(),
            exclude: Vec::new(),
        })
    } else {
        let copy = order["copy"] == true;
        Work::Deliver { key, from: path("from"), parent: path("parent"), name: "results".into(), copy }
    };
    let hands = hands(&order["info"], configuration(&order["info"], &path("state"))).await;
    let done = hands.run(work, OWNER, ProgressSink::none(), CancellationToken::new()).await;
    let Done::Jobs { inputs, .. } = done else { panic!("a listing") };
    let dir = match &inputs[0].1 {
        Input::Retrieved(Ok(Some(dir))) | Input::Delivered(Ok(dir)) => dir,
        other => panic!("{other:?}"),
    };
    std::fs::write(path("answer"), dir.to_str().expect("text")).expect("answer");
}

/// Does the work of an order in a process of its own, which may die at a fail point.
fn process(order: &Value, failpoint: &str, log: &Path) -> ExitStatus {
    let test = std::env::current_exe().expect("own path");
    let output = Command::new(test)
        .args(["--exact", "crash::child", "--nocapture"])
        .env(ORDER, order.to_string())
        .env("ACTD_FAILPOINTS", failpoint)
        .env("ACTD_FAILPOINTS_LOG", log)
        .output()
        .expect("a process");
    let died = output.status.signal() == Some(9);
    assert!(output.status.success() || died, "{failpoint}: {}", String::from_utf8_lossy(&output.stderr));
    output.status
}

/// How often each fail point was passed.
fn passed(log: &Path) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(log).expect("log");
    text.lines().fold(BTreeMap::new(), |mut all, name| {
        *all.entry(name.to_owned()).or_default() += 1;
        all
    })
}

struct Trial {
    bed: Bed,
    number: u64,
}

impl Trial {
    fn place(&mut self, name: &str) -> PathBuf {
        self.number += 1;
        let place = self.bed.dir.path().join(format!("{name}-{}", self.number));
        std::fs::create_dir(&place).expect("mkdir");
        place
    }

    async fn order(&mut self, id: ServerId) -> Value {
        let parent = self.place("parent");
        json!({
            "info": self.bed.addresses(),
            "key": self.number,
            "id": id,
            "run": self.bed.run_of(id).await.as_ref(),
            "parent": parent,
            "state": self.bed.dir.path().join("state"),
            "answer": parent.with_extension("answer"),
        })
    }

    /// Dies at every point, the first and the last time it is passed, and does the same again.
    fn every_point(&mut self, start: &str, order: impl Fn(&mut Self) -> Value, check: impl Fn(&Value, &Path)) {
        self.number += 1;
        let log = self.bed.dir.path().join(format!("log-{}", self.number));
        let clean = order(self);
        assert!(process(&clean, "", &log).success());
        check(&clean, &answer(&clean));
        let points: BTreeMap<String, u64> =
            passed(&log).into_iter().filter(|(name, _)| name.starts_with(start)).collect();
        assert!(!points.is_empty());
        for (name, times) in points {
            // How many pieces a file comes in is not the same each time; two there always are.
            let last = if name.ends_with(".chunk") { times.min(2) } else { times };
            for at in if last == 1 { vec![1] } else { vec![1, last] } {
                let order = order(self);
                let point = format!("{name}=crash@{at}");
                assert!(!process(&order, &point, &log).success(), "{point} was not reached");
                assert!(process(&order, "", &log).success());
                println!("{point}: {}", answer(&order).display());
                check(&order, &answer(&order));
            }
        }
    }
}

fn answer(order: &Value) -> PathBuf {
    std::fs::read_to_string(order["answer"].as_str().expect("answer")).expect("an answer").into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_survives_death_anywhere() {
    let bed = Bed::start(&["--workers", "many"]).await;
    let files = json!({"out": "x".repeat(300_000), "sub/deep": "y", "empty": ""});
    let [id] = bed.done_jobs(1, &files)[..] else { panic!("ids") };
    let mut trial = Trial { bed, number: 0 };
    let template = trial.order(id).await;
    trial.every_point(
        "retrieve.",
        |trial| {
            let parent = trial.place("parent");
            let mut order = template.clone();
            order["key"] = json!(trial.number);
            order["answer"] = json!(parent.with_extension("answer"));
            order["parent"] = json!(parent);
            order
        },
        |order, dir| {
            let parent = Path::new(order["parent"].as_str().expect("parent"));
            assert_eq!(dir, parent.join("results"));
            let mut all = tree(parent);
            assert!(all.remove("results/.actd-manifest.json").is_some());
            let all: Vec<(&str, usize)> = all.iter().map(|(path, bytes)| (path.as_str(), bytes.len())).collect();
            let expected = [
                ("results/", 0),
                ("results/empty", 0),
                ("results/out", 300_000),
                ("results/sub/", 0),
                ("results/sub/deep", 1),
            ];
            assert_eq!(all, expected);
        },
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_survives_death_anywhere() {
    let bed = Bed::start(&["--workers", "many"]).await;
    let [id] = bed.done_jobs(1, &json!({"out": "x", "sub/deep": "y"}))[..] else { panic!("ids") };
    let shm = tempfile::Builder::new().prefix("work-").tempdir_in("/dev/shm").expect("another file system");
    let mut trial = Trial { bed, number: 0 };
    let template = trial.order(id).await;
    let log = trial.bed.dir.path().join("log");
    for other_disk in [false, true] {
        let shm = shm.path().to_owned();
        trial.every_point(
            "deliver.",
            |trial| {
                let store = trial.place("store");
                let mut order = template.clone();
                order["key"] = json!(trial.number);
                order["answer"] = json!(store.with_extension("answer"));
                order["parent"] = json!(store);
                assert!(process(&order, "", &log).success());
                order["from"] = json!(answer(&order));
                let to = if other_disk { shm.join(format!("{}", trial.number)) } else { trial.place("to") };
                order["parent"] = json!(to);
                order["copy"] = json!(false);
                order
            },
            |order, dir| {
                let parent = Path::new(order["parent"].as_str().expect("parent"));
                assert_eq!(dir, parent.join("results"));
                let mut all = tree(parent);
                assert!(all.remove("results/.actd-manifest.json").is_some());
                let names: Vec<&str> = all.keys().map(String::as_str).collect();
                assert_eq!(names, ["results/", "results/out", "results/sub/", "results/sub/deep"]);
                let store = Path::new(order["from"].as_str().expect("from")).parent().expect("store");
                assert!(tree(store).is_empty(), "{:?}", tree(store).keys());
            },
        );
    }
}
