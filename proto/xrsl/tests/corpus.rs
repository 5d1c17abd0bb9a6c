//! Agreement with ARC on the corpus: `NNN-slug.xrsl` is an input, `NNN-slug.json` what ARC 6.17 made of it.
//! No input of the corpus is judged differently; [`xrsl::differences`] lists what would be.

mod common;

use common::compare;
use serde_json::Value;
use std::path::{Path, PathBuf};

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
        if !agree {
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

#[test]
fn corrections_leave_accepted_what_arc_accepts() {
    let mut wrong = Vec::new();
    for path in corpus() {
        let text = xrsl::decode(&std::fs::read(&path).expect("readable")).into_owned();
        if !xrsl::parse(&text).accepted() {
            continue;
        }
        let (fixed, _) = xrsl::apply_fixes(&text, &xrsl::check(&text, &xrsl::LintContext::default()));
        if !xrsl::parse(&fixed).accepted() {
            wrong.push(format!("{}: {fixed}", stem(&path)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
