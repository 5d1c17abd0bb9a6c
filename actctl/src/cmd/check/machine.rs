//! Findings for programs: JSON, the form that compilers' messages have, SARIF. Builds values; prints nothing.

use std::path::Path;

use serde_json::{Value, json};
use xrsl::{Diagnostic, Fix, Level};

use super::Checked;
use crate::failure::Failure;

/// `act.check/1`; files that cannot be read come last, with an `error`. Positions count from 1, columns in characters; offsets in bytes from 0.
pub(super) fn json(checked: &[Checked], unread: &[(&Path, Failure)]) -> Value {
    let mut items: Vec<Value> = checked
        .iter()
        .map(|c| {
            let findings: Vec<Value> = c.findings.iter().map(|d| finding(c, d)).collect();
            json!({ "path": c.path, "accepted": c.accepted, "jobs": c.jobs, "fixed": c.fixed, "diagnostics": findings })
        })
        .collect();
    let unread =
        unread.iter().map(|(path, f)| json!({ "path": path.display().to_string(), "error": f.json()["error"] }));
    items.extend(unread);
    json!({ "schema": "act.check/1", "items": items })
}

fn place(c: &Checked, offset: u32) -> Value {
    let at = c.index.position(&c.text, offset);
    json!({ "line": at.line, "column": at.column, "offset": offset })
}

fn finding(c: &Checked, d: &Diagnostic) -> Value {
    let edit = |e: &xrsl::Edit| json!({ "start": place(c, e.span.start), "end": place(c, e.span.end), "text": e.text });
    let fix = |f: &Fix| json!({ "title": f.title, "edits": f.edits.iter().map(edit).collect::<Vec<_>>() });
    json!({
        "code": d.code,
        "level": d.level.name(),
        "message": d.message,
        "start": place(c, d.span.start),
        "end": place(c, d.span.end),
        "help": d.help,
        "fix": d.fix.as_ref().map(fix),
        "refused_by_arc": d.rejected,
    })
}

/// One line each, as compilers print them.
pub(super) fn gcc(checked: &[Checked]) -> String {
    let mut out = String::new();
    for c in checked {
        for d in &c.findings {
            let level = if d.level == Level::Hint { "note" } else { d.level.name() };
            let message = d.message.replace(char::is_control, " ");
            out.push_str(&format!(
                "{}:{}: {level}: {message} [{}]\n",
                c.path,
                c.index.position(&c.text, d.span.start),
                d.code
            ));
        }
    }
    out
}

/// The Static Analysis Results Interchange Format, version 2.1.0.
pub(super) fn sarif(checked: &[Checked]) -> Value {
    let rules: Vec<Value> = xrsl::lint::CODES
        .iter()
        .map(|(code, what)| json!({ "id": code, "shortDescription": { "text": what } }))
        .collect();
    let mut results = Vec::new();
    for c in checked {
        for d in &c.findings {
            let level = if d.level == Level::Hint { "note" } else { d.level.name() };
            let text = match &d.help {
                Some(help) => format!("{}; {help}", d.message),
                None => d.message.clone(),
            };
            let file = json!({ "uri": c.path });
            let mut result = json!({
                "ruleId": d.code,
                "level": level,
                "message": { "text": text },
                "locations": [{ "physicalLocation": { "artifactLocation": file, "region": region(c, d.span) } }],
            });
            if let Some(fix) = &d.fix {
                let replacement = |e: &xrsl::Edit| json!({ "deletedRegion": region(c, e.span), "insertedContent": { "text": e.text } });
                let replacements: Vec<Value> = fix.edits.iter().map(replacement).collect();
                let change = json!({ "artifactLocation": file, "replacements": replacements });
                result["fixes"] = json!([{ "description": { "text": fix.title }, "artifactChanges": [change] }]);
            }
            results.push(result);
        }
    }
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "actctl check", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn region(c: &Checked, span: xrsl::Span) -> Value {
    let (start, end) = (c.index.position(&c.text, span.start), c.index.position(&c.text, span.end));
    json!({ "startLine": start.line, "startColumn": start.column, "endLine": end.line, "endColumn": end.column })
}
