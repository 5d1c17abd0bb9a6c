//! Names of files in a job's directory: which ones can be sent, and which get a job stuck.
//! Judges names only; whether files exist is not asked here.
//!
//! Observed on a real aCT server (act-client 1.0.0's API): an absolute name or `..` reaches the server's own files; a blank
//! in an input name leaves the job stuck in `cancelling`; a blank, a non-ASCII character, `?` or `%` in an output name
//! leaves it in `finished` for a day.

use crate::diagnostic::Diagnostic;
use crate::model::{Input, Output, Source};
use crate::span::Span;
use crate::url::{Place, place};
use std::collections::BTreeMap;

/// The longest name that file systems take.
const MAX_NAME: usize = 255;
/// How many clashes of names are reported.
const MAX_CLASHES: usize = 1000;

/// A name without `.` components and doubled slashes. `..` and a leading `/` stay: they are errors.
#[must_use]
pub fn upload_path(name: &str) -> String {
    let absolute = if name.starts_with('/') { "/" } else { "" };
    let parts: Vec<&str> = name.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    format!("{absolute}{}", parts.join("/"))
}

/// Why a name cannot be used in a job's directory at all.
#[must_use]
pub fn bad_name(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.starts_with('/') {
        return Some("it is absolute");
    }
    if name.ends_with('/') {
        return Some("it ends in /, so it is a directory");
    }
    if name.split('/').any(|p| p == "..") {
        return Some("its .. leaves the job's directory");
    }
    if name.bytes().any(|b| b < b' ' || b == 0x7F) {
        return Some("it holds a control character");
    }
    if name.split('/').any(|p| p.len() > MAX_NAME) || name.len() > 4000 {
        return Some("it is too long");
    }
    None
}

/// What is wrong with the name of an input or its source, for sending the job.
#[must_use]
pub fn check_input_name(input: &Input) -> Option<Diagnostic> {
    let (name, span) = (&input.name, input.name_span);
    if let Some(why) = bad_name(name) {
        let message = format!("the input name \"{}\" cannot be used: {why}", name.escape_debug());
        return Some(Diagnostic::error("E61", span, message).help("names are relative to the job's directory"));
    }
    if let Source::UrlList(_) = input.source {
        let d = Diagnostic::error(
            "E80",
            input.source_span,
            "a source that starts with @ is a list of URLs, which nobody fetches",
        );
        return Some(d.help("for a local file whose name starts with @ write ./@name"));
    }
    if input.written.is_empty() && !matches!(place(name), Place::Local(_)) {
        let message = format!("\"{name}\" looks like a URL but stands as the name of a local file");
        return Some(Diagnostic::error("E61", span, message).help("write the name first and the URL second"));
    }
    if input.written.bytes().all(|b| b.is_ascii_whitespace()) && !input.written.is_empty() {
        let message = "the source is a blank, so it means a file called \" \"";
        let d = Diagnostic::error("E63", input.source_span, message).help("write \"\" for the local file of that name");
        let fix = crate::Fix::one("write \"\"", crate::Edit::replace(input.source_span, "\"\""));
        return Some(d.fix(fix));
    }
    let local = matches!(input.source, Source::Local(_));
    if local { blank(name, span) } else { None }
}

/// What is wrong with the name of a file that is uploaded because `attribute` names it, without being listed.
#[must_use]
pub fn check_unlisted(attribute: &str, value: &str, span: Span) -> Option<Diagnostic> {
    let name = upload_path(value);
    match bad_name(&name) {
        Some(why) => {
            let message = format!("{attribute} \"{}\" cannot be uploaded: {why}", value.escape_debug());
            Some(Diagnostic::error("E61", span, message).help("list it in inputfiles under a plain name"))
        }
        None => blank(&name, span),
    }
}

/// A blank in the name of a file that is uploaded.
pub(crate) fn blank(name: &str, span: Span) -> Option<Diagnostic> {
    if !name.contains(' ') {
        return None;
    }
    let message = format!("a blank in the input name \"{name}\" gets the job stuck on the server");
    Some(Diagnostic::error("E79", span, message).help("give it a name without blanks; the source may keep its own"))
}

/// What is wrong with the name of an output, for sending the job.
#[must_use]
pub fn check_output_name(output: &Output) -> Option<Diagnostic> {
    let name = output.name.strip_prefix('@').unwrap_or(&output.name);
    check_output("output name", name, output.name_span)
}

/// The same for `stdout`, `stderr` and `gmlog`: the server adds them to the outputs. An absolute one stays on the worker node.
#[must_use]
pub fn check_own_output(attribute: &str, value: &str, span: Span) -> Option<Diagnostic> {
    if value.starts_with('/') { None } else { check_output(attribute, value, span) }
}

fn check_output(what: &str, name: &str, span: Span) -> Option<Diagnostic> {
    // "/" is the whole session directory, "x/" a directory; a leading / is taken off by ARC.
    let plain = name.trim_start_matches('/').trim_end_matches('/');
    if !plain.is_empty()
        && let Some(why) = bad_name(plain)
    {
        let message = format!("the {what} \"{}\" cannot be used: {why}", name.escape_debug());
        return Some(Diagnostic::error("E61", span, message));
    }
    let bad = plain.chars().find(|c| !c.is_ascii() || matches!(c, ' ' | '?' | '%'))?;
    let bad = if bad == ' ' { "a blank".to_owned() } else { format!("'{bad}'") };
    let message = format!("{bad} in the {what} \"{name}\" gets the job stuck on the server");
    Some(Diagnostic::error("E79", span, message).help("use letters, digits and . _ - + # only"))
}

/// Inputs, by name and place, that would overwrite each other: the same name twice, or one where another needs a directory.
pub fn clashes<'a>(inputs: impl IntoIterator<Item = (&'a str, Span)>) -> Vec<Diagnostic> {
    let mut seen: BTreeMap<String, (&str, Span)> = BTreeMap::new();
    let mut out = Vec::new();
    for (name, span) in inputs {
        let path = upload_path(name);
        if out.len() >= MAX_CLASHES {
            return out;
        }
        if let Some((first, _)) = seen.get(&path) {
            let message = if *first == name {
                format!("the input \"{name}\" is listed twice")
            } else {
                format!("the inputs \"{first}\" and \"{name}\" are the same file")
            };
            out.push(Diagnostic::error("E62", span, message).help("keep one of them"));
            continue;
        }
        seen.insert(path, (name, span));
    }
    for (path, (name, span)) in &seen {
        for (i, _) in path.match_indices('/') {
            if let Some((file, _)) = path.get(..i).and_then(|parent| seen.get(parent)) {
                let message = format!("\"{file}\" cannot be a file and a directory: \"{name}\" lies in it");
                out.push(Diagnostic::error("E62", *span, message));
                break;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_for_uploading() {
        assert_eq!(upload_path("./a//b/./c"), "a/b/c");
        assert_eq!(upload_path("../a"), "../a");
        assert!(bad_name("a/../b").is_some() && bad_name("/a").is_some() && bad_name("a\0").is_some());
        assert!(bad_name("a..b/.c").is_none());
    }
}
