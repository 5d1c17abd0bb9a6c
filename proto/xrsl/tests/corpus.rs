//! Agreement with ARC on the corpus: `NNN-slug.xrsl` is an input, `NNN-slug.json` what ARC 6.17 made of it.
//! Differences on purpose stand in one table here, each with its reason.

use serde_json::Value;
use std::path::{Path, PathBuf};

/// Corpus inputs that we judge differently from ARC: (file, why). Every entry is checked to be a real difference.
const DIFFERENCES: &[(&str, &str)] = &[];

fn corpus() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("the corpus is there")
        .map(|e| e.expect("readable").path())
        .filter(|p| p.extension().is_some_and(|e| e == "xrsl"))
        .collect();
    files.sort();
    files
}

fn expected(xrsl: &Path) -> Value {
    let json = std::fs::read(xrsl.with_extension("json")).expect("every input has its JSON");
    serde_json::from_slice(&json).expect("valid JSON")
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a name").to_string_lossy().into_owned()
}

#[test]
fn verdict_and_canonical_print_agree_with_arc() {
    let files = corpus();
    assert!(files.len() > 190, "only {} corpus files", files.len());
    let mut wrong = Vec::new();
    for path in &files {
        let json = expected(path);
        let parsed = xrsl::parse_bytes(&std::fs::read(path).expect("readable"));
        let ours: Vec<&str> = parsed.jobs().iter().map(xrsl::JobDescription::canonical).collect();
        let theirs: Vec<&str> = json["jobs"]
            .as_array()
            .map(|jobs| jobs.iter().map(|j| j["canonical_rsl"].as_str().unwrap_or_default()).collect())
            .unwrap_or_default();
        let agree = parsed.accepted() == (json["ok"] == true) && ours == theirs;
        let listed = DIFFERENCES.iter().any(|(name, _)| *name == stem(path));
        if agree == listed {
            wrong.push(format!(
                "{}: {ours:?} {:?}\n  ARC: {theirs:?} {}",
                stem(path),
                parsed.diagnostics(),
                json["error"]
            ));
        }
    }
    assert!(wrong.is_empty(), "{} disagree:\n{}", wrong.len(), wrong.join("\n"));
}

/// The highest value of a range, where ARC writes -1 for unset.
fn top(range: &Value) -> Option<i64> {
    range[1].as_i64().filter(|n| *n != -1)
}

fn set(value: &Value) -> Option<i64> {
    value.as_i64().filter(|n| *n != -1)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|s| !s.is_empty()).map(str::to_owned)
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|s| s.as_str().unwrap_or_default().to_owned()).collect()
}

/// Everything that both sides know about a job, as pairs that must be equal.
fn compare(job: &xrsl::JobDescription, facts: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            wrong.push(format!("{what}: ours {ours}, ARC {theirs}"));
        }
    };
    for (what, ours) in [
        ("jobname", &job.name),
        ("executable", &job.executable),
        ("stdin", &job.stdin),
        ("stdout", &job.stdout),
        ("stderr", &job.stderr),
        ("gmlog", &job.gmlog),
        ("queue", &job.queue.clone().filter(|q| !q.is_empty())),
        ("architecture", &job.architecture),
        ("delegationid", &job.delegation_id),
    ] {
        check(what, format!("{ours:?}"), format!("{:?}", text(&facts[what])));
    }
    check("arguments", format!("{:?}", job.arguments), format!("{:?}", strings(&facts["arguments"])));
    let environment: Vec<Vec<String>> = facts["environment"].as_array().into_iter().flatten().map(strings).collect();
    let ours: Vec<Vec<String>> = job.environment.iter().map(|(a, b)| vec![a.clone(), b.clone()]).collect();
    check("environment", format!("{ours:?}"), format!("{environment:?}"));
    for (what, ours) in
        [("cputime_s", job.cputime), ("walltime_s", job.walltime), ("memory_mb", job.memory), ("disk_mb", job.disk)]
    {
        check(what, format!("{:?}", ours.map(i64::from).filter(|n| *n != -1)), format!("{:?}", top(&facts[what])));
    }
    for (what, ours) in
        [("count", job.count), ("countpernode", job.countpernode), ("rerun", job.rerun), ("priority", job.priority)]
    {
        check(what, format!("{:?}", ours.map(i64::from).filter(|n| *n != -1)), format!("{:?}", set(&facts[what])));
    }
    check("lifetime", format!("{:?}", job.lifetime.filter(|n| *n != -1)), format!("{:?}", set(&facts["lifetime_s"])));
    check("dryrun", job.dryrun.to_string(), facts["dryrun"].to_string());
    let exclusive = match job.exclusive {
        None => 0,
        Some(true) => 2,
        Some(false) => 1,
    };
    check("exclusive", exclusive.to_string(), facts["exclusive"].to_string());
    let access = i32::from(job.inbound) + 2 * i32::from(job.outbound);
    check("nodeaccess", access.to_string(), facts["nodeaccess"].to_string());
    for (what, ours) in [
        ("runtimeenvironment", &job.runtime_environments),
        ("middleware", &job.middleware),
        ("opsys", &job.operating_systems),
    ] {
        let ours: Vec<String> =
            ours.iter().map(|s| format!("{} {:?} {:?} {:?}", s.op.symbol(), s.name, s.version, s.options)).collect();
        let theirs: Vec<String> = facts[what]
            .as_array()
            .into_iter()
            .flatten()
            .map(|s| {
                let word = |k: &str| s[k].as_str().unwrap_or_default().to_owned();
                format!("{} {:?} {:?} {:?}", word("op"), word("name"), word("version"), strings(&s["options"]))
            })
            .collect();
        check(what, format!("{ours:?}"), format!("{theirs:?}"));
    }
    let notify: Vec<String> = job.notify.iter().map(|n| format!("{} {:?}", n.email, n.states)).collect();
    let theirs: Vec<String> = facts["notify"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|n| format!("{} {:?}", n["email"].as_str().unwrap_or_default(), strings(&n["states"])))
        .collect();
    check("notify", format!("{notify:?}"), format!("{theirs:?}"));
    let inputs: Vec<String> = job
        .inputs
        .iter()
        .map(|i| {
            let place = match &i.source {
                xrsl::Source::Local(_) => "file",
                xrsl::Source::Remote(_) => "remote",
                xrsl::Source::UrlList(_) => "urllist",
            };
            format!("{} {} {place}", i.name, i.executable)
        })
        .collect();
    let theirs: Vec<String> = facts["inputfiles"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|i| {
            let source = &i["sources"][0];
            let host = source["host"].as_str().unwrap_or_default();
            let place = match source["proto"].as_str().unwrap_or_default() {
                "file" if host.is_empty() => "file",
                "urllist" => "urllist",
                _ => "remote",
            };
            format!("{} {} {place}", i["name"].as_str().unwrap_or_default(), i["executable"])
        })
        .collect();
    check("inputfiles", format!("{inputs:?}"), format!("{theirs:?}"));
    let outputs: Vec<String> =
        job.outputs.iter().map(|o| format!("{} {}", o.name, matches!(o.target, xrsl::Target::Remote(_)))).collect();
    let theirs: Vec<String> = facts["outputfiles"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|o| {
            let sent = o["targets"].as_array().is_some_and(|t| !t.is_empty());
            format!("{} {sent}", o["name"].as_str().unwrap_or_default())
        })
        .collect();
    check("outputfiles", format!("{outputs:?}"), format!("{theirs:?}"));
    check("alternatives", job.alternatives.len().to_string(), facts["alternatives"].to_string());
    wrong
}

#[test]
fn the_typed_job_agrees_with_arc() {
    let mut wrong = Vec::new();
    for path in corpus() {
        let json = expected(&path);
        let parsed = xrsl::parse_bytes(&std::fs::read(&path).expect("readable"));
        for (job, facts) in parsed.jobs().iter().zip(json["jobs"].as_array().into_iter().flatten()) {
            let mut found = compare(job, facts);
            for (alternative, facts) in job.alternatives.iter().zip(facts["alt_facts"].as_array().into_iter().flatten())
            {
                found.extend(compare(alternative, facts).into_iter().filter(|f| !f.starts_with("alternatives")));
            }
            wrong.extend(found.into_iter().map(|f| format!("{}: {f}", stem(&path))));
        }
    }
    assert!(wrong.is_empty(), "{} disagree:\n{}", wrong.len(), wrong.join("\n"));
}
