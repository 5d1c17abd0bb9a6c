//! Compares a typed job with what ARC says of it, for the tests that ask ARC or its recorded answers.

use serde_json::Value;

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

/// Everything that both sides know about a job and do not agree on.
pub(crate) fn compare(job: &xrsl::JobDescription, facts: &Value) -> Vec<String> {
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
        ("delegationid", &job.delegation_id.clone().filter(|d| !d.is_empty())),
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
        Some(true) => 1,
        Some(false) => 2,
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
            // Without a source ARC takes the name for one, be it a URL; we say it is meant as a file and refuse to send it.
            let place = match &i.source {
                _ if i.written.is_empty() => "any",
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
        .enumerate()
        .map(|(n, i)| {
            let source = &i["sources"][0];
            let host = source["host"].as_str().unwrap_or_default();
            let ours = job.inputs.get(n).filter(|ours| ours.written.is_empty());
            let place = match source["proto"].as_str().unwrap_or_default() {
                _ if ours.is_some() => "any",
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
