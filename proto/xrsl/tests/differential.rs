//! Random descriptions, judged by this crate and by ARC itself; every disagreement is a failure.
//!
//! Needs Debian's python3-nordugrid-arc; `cargo test -p xrsl --features oracle --test differential`.
//! `XRSL_DIFF_CASES` sets how many (default 4000), `XRSL_DIFF_SEED` which; a failure prints both.

mod common;
mod generator;

use generator::Generator;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use xrsl::differences::ArcDoes;

/// ARC in a child process, which some inputs kill.
struct Oracle {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Oracle {
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle.py");
        let mut child = Command::new("/usr/bin/python3")
            .args([script, "--batch"])
            .current_dir(std::env::temp_dir())
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("/usr/bin/python3 runs");
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, stdin, stdout }
    }

    /// ARC's answer, or None if it died of the question.
    fn ask(&mut self, text: &str) -> Option<Value> {
        let question = serde_json::to_string(text).expect("a string");
        let mut line = String::new();
        let sent = writeln!(self.stdin, "{question}").and_then(|()| self.stdin.flush());
        if sent.is_err() || self.stdout.read_line(&mut line).unwrap_or(0) == 0 {
            self.child.wait().expect("the oracle can be waited for");
            *self = Self::start();
            return None;
        }
        Some(serde_json::from_str(&line).expect("the oracle writes JSON"))
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |v| v.parse().unwrap_or_else(|_| panic!("{name}={v} is no number")))
}

/// How we and ARC disagree about a text; None if we do not.
fn disagreement(text: &str, answer: Option<&Value>) -> Option<String> {
    let parsed = xrsl::parse(text);
    let Some(answer) = answer else {
        // Where ARC crashes, we refuse.
        return parsed.accepted().then(|| "ARC crashes, we accept".to_owned());
    };
    let theirs = answer["ok"] == true;
    // See the table of differences: what ARC does here is undefined.
    let undefined = |d: &xrsl::Diagnostic| d.code == "E46" && d.message.contains("empty rule");
    if theirs && !parsed.accepted() && parsed.diagnostics().iter().all(undefined) {
        return None;
    }
    if parsed.accepted() != theirs {
        return Some(format!("accepted: ours {}, ARC {theirs}; {:?}", parsed.accepted(), parsed.diagnostics()));
    }
    let jobs = answer["jobs"].as_array().expect("a list");
    if parsed.jobs().len() != jobs.len() {
        return Some(format!("jobs: ours {}, ARC {}", parsed.jobs().len(), jobs.len()));
    }
    for (job, facts) in parsed.jobs().iter().zip(jobs) {
        let canonical = facts["canonical_rsl"].as_str().unwrap_or_default();
        let cut = job.canonical().contains('\u{fffd}') || text.contains('^');
        if job.canonical() != canonical && (!cut || canonical.is_ascii()) {
            return Some(format!("canonical: ours {}\n     ARC {canonical}", job.canonical()));
        }
        let mut wrong = if cut { Vec::new() } else { common::compare(job, facts) };
        for (alternative, facts) in job.alternatives.iter().zip(facts["alt_facts"].as_array().into_iter().flatten()) {
            wrong.extend(common::compare(alternative, facts).into_iter().filter(|w| !w.starts_with("alternatives")));
        }
        if !wrong.is_empty() {
            return Some(wrong.join("\n"));
        }
    }
    None
}

#[test]
fn random_descriptions_are_judged_as_arc_judges_them() {
    let (cases, seed) = (number("XRSL_DIFF_CASES", 4000), number("XRSL_DIFF_SEED", 1));
    let mut oracle = Oracle::start();
    let alive = oracle.ask("&(executable=/bin/true)");
    assert!(
        alive.is_some_and(|a| a["ok"] == true),
        "ARC does not answer: install Debian's python3-nordugrid-arc, or leave out the feature `oracle`"
    );
    for difference in xrsl::differences::DIFFERENCES {
        let answer = match difference.arc {
            ArcDoes::Accepts | ArcDoes::Crashes => oracle.ask(&(difference.example)()),
            ArcDoes::Undefined | ArcDoes::Untried => continue,
        };
        let does = match answer {
            None => ArcDoes::Crashes,
            Some(answer) => {
                assert!(answer["ok"] == true, "ARC refuses it as we do: {}", difference.what);
                ArcDoes::Accepts
            }
        };
        assert_eq!(does, difference.arc, "{}", difference.what);
    }
    let mut generator = Generator::new(seed);
    let (mut accepted, mut crashed, mut wrong) = (0_u64, 0_u64, Vec::new());
    for case in 0..cases {
        let text = generator.text();
        let answer = oracle.ask(&text);
        crashed += u64::from(answer.is_none());
        accepted += u64::from(answer.as_ref().is_some_and(|a| a["ok"] == true));
        if let Some(how) = disagreement(&text, answer.as_ref()) {
            wrong.push(format!("case {case}: {text:?}\n  {how}"));
            if wrong.len() >= 20 {
                break;
            }
        }
    }
    println!("seed {seed}: {cases} cases, ARC accepts {accepted}, dies of {crashed}");
    assert!(wrong.is_empty(), "seed {seed}, {} disagree:\n{}", wrong.len(), wrong.join("\n"));
    // A generator that only makes rubbish, or never any, tests nothing.
    assert!(cases < 1000 || (accepted > cases / 10 && accepted < cases * 9 / 10), "ARC accepts {accepted} of {cases}");
}
