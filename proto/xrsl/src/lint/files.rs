//! Lints about files: what is uploaded, what is fetched, what comes back. Asks the caller what local files exist.

use super::{FileKind, LintContext, MAX_FINDINGS, View};
use crate::diagnostic::{Diagnostic, Edit, Fix};
use crate::edit::add_inputs;
use crate::model::{Input, Source, Target};
use crate::names::{check_input_name, check_output_name, check_own_output, check_unlisted, clashes, upload_path};
use crate::print::quote;
use crate::span::Span;
use crate::url::{Place, place};
use std::collections::HashMap;

/// Inputs larger than this in all are worth a word.
const LARGE_UPLOAD: u64 = 10 << 30;

/// Protocols that ARC's data libraries move.
const KNOWN: &[&str] = &[
    "https", "http", "httpg", "davs", "dav", "ftp", "gsiftp", "srm", "root", "roots", "xroot", "rucio", "s3",
    "s3+https", "s3+http", "acix", "ldap", "arc", "file", "link", "lfc", "rc", "fireman", "gs", "cvmfs",
];

pub(super) fn lint(view: &View<'_>, out: &mut Vec<Diagnostic>) {
    let mut size = 0;
    for input in &view.job.inputs {
        if out.len() > MAX_FINDINGS {
            return;
        }
        match check_input_name(input) {
            Some(d) => out.push(d),
            None => local_file(view.context, input, &mut size, out),
        }
        if let Source::Remote(url) = &input.source {
            protocol(url, input.source_span, out);
        }
        options(input, out);
    }
    if size > LARGE_UPLOAD {
        let message = format!("{} GiB of local inputs go through the server", size >> 30);
        let d = Diagnostic::warning("W78", view.job.span, message);
        out.push(d.help("put them where the cluster can fetch them, or use WebDAV"));
    }
    let added = unlisted(view, out);
    let listed = view.job.inputs.iter().map(|i| (i.name.as_str(), i.name_span));
    out.extend(clashes(listed.chain(added.iter().map(|(name, span)| (name.as_str(), *span)))));
    transfer_options(view, out);
    outputs(view, out);
}

/// A local source that is not a readable file.
fn local_file(context: &LintContext<'_>, input: &Input, size: &mut u64, out: &mut Vec<Diagnostic>) {
    let Source::Local(path) = &input.source else { return };
    let span = input.source_span;
    let span = if span.is_empty() || input.written.is_empty() { input.span } else { span };
    let kind = context.files.map(|f| f.kind(path));
    if let Some(FileKind::File(bytes)) = kind {
        *size = size.saturating_add(bytes);
        return;
    }
    if path.starts_with('~')
        || path.contains("$(")
        || path.contains("${")
        || path.contains("/$")
        || path.starts_with('$')
    {
        let d = Diagnostic::error("E64", span, format!("neither ARC nor this program expands \"{path}\""));
        out.push(d.help("write the path in full"));
        return;
    }
    if let Some(d) = kind.and_then(|k| missing(k, path, span)) {
        out.push(d);
    }
}

fn missing(kind: FileKind, path: &str, span: Span) -> Option<Diagnostic> {
    let message = match kind {
        FileKind::File(_) => return None,
        FileKind::Directory => format!("\"{path}\" is a directory; only files can be uploaded"),
        FileKind::Special => format!("\"{path}\" is not a regular file"),
        FileKind::Missing => format!("there is no file \"{path}\""),
        FileKind::Unreadable => format!("\"{path}\" cannot be read"),
    };
    let d = Diagnostic::error("E60", span, message);
    Some(if kind == FileKind::Directory {
        d.help("pack it, for example with tar, and unpack it in the job")
    } else {
        d
    })
}

fn protocol(url: &str, span: Span, out: &mut Vec<Diagnostic>) {
    let Place::Remote { scheme } = place(url) else { return };
    match scheme.as_str() {
        "http" => {
            let d = Diagnostic::warning("W71", span, "http is not encrypted, anyone on the way can change the file");
            out.push(d.help("use https if the server offers it"));
        }
        "ftp" => {
            out.push(Diagnostic::warning("W71", span, "ftp is not encrypted, anyone on the way can change the file"));
        }
        "gsiftp" | "httpg" | "lfc" | "rc" | "fireman" | "ldap" => {
            let d = Diagnostic::warning("W71", span, format!("{scheme} is retired; most sites no longer offer it"));
            out.push(d.help("use https, davs or root"));
        }
        scheme if !KNOWN.contains(&scheme) => {
            let d = Diagnostic::warning("W72", span, format!("no cluster is known to fetch from \"{scheme}:\""));
            out.push(d.help("known are https, davs, root, srm, rucio, s3 and others"));
        }
        _ => {}
    }
}

fn options(input: &Input, out: &mut Vec<Diagnostic>) {
    if let Some(span) = input.ignored {
        let d = Diagnostic::warning("W74", span, "ARC ignores what stands behind an empty source");
        out.push(d.fix(Fix::one("remove it", Edit::replace(span, ""))));
    } else if matches!(input.source, Source::Local(_)) && !input.options.is_empty() {
        out.push(Diagnostic::warning("W74", input.span, "options have no effect on a local file"));
    }
}

/// The executable and stdin, if they are the user's files but not listed: the names under which they are uploaded.
fn unlisted(view: &View<'_>, out: &mut Vec<Diagnostic>) -> Vec<(String, Span)> {
    let job = view.job;
    let mut added: Vec<(String, Span)> = Vec::new();
    for (attribute, value) in [("executable", &job.executable), ("stdin", &job.stdin)] {
        let Some(value) = value else { continue };
        let Some(span) = view.values(attribute).next().map(|(_, v)| v.span()) else { continue };
        if attribute == "executable" && !matches!(place(value), Place::Local(_)) {
            let d = Diagnostic::warning("W77", span, "an executable that is a URL is not fetched");
            out.push(d.help("list the URL in inputfiles and name the file here"));
            continue;
        }
        if value.starts_with('/') || job.input(value).is_some() {
            continue;
        }
        let name = upload_path(value);
        if let Some(d) = check_unlisted(attribute, value, span) {
            out.push(d);
            continue;
        }
        if name != *value {
            let listed = if job.input(&name).is_some() { "is listed" } else { "would be the same file" };
            let message = format!("for ARC \"{value}\" is another name than \"{name}\", which {listed}");
            let fix = Fix::one(format!("write {name}"), Edit::replace(span, quote(&name)));
            out.push(Diagnostic::warning("W66", span, message).fix(fix));
        }
        if job.input(&name).is_some() {
            continue;
        }
        let message = format!("{attribute} \"{name}\" is not in inputfiles; it is uploaded all the same");
        let mut d = Diagnostic::warning("W65", span, message).help("act does not do that: the job would get stuck");
        if let Some(node) = view.node {
            let edits = add_inputs(view.parsed.text(), node, &format!("({} \"\")", quote(&name)));
            d = d.fix(Fix { title: "list it in inputfiles".to_owned(), edits });
        }
        out.push(d);
        out.extend(view.context.files.and_then(|f| missing(f.kind(value), value, span)));
        if !added.iter().any(|(other, _)| *other == name) {
            added.push((name, span));
        }
    }
    added
}

fn transfer_options(view: &View<'_>, out: &mut Vec<Diagnostic>) {
    let job = view.job;
    let unlisted =
        [&job.executable, &job.stdin].into_iter().flatten().any(|v| !v.starts_with('/') && job.input(v).is_none());
    if !unlisted && !job.inputs.iter().any(|i| matches!(i.source, Source::Local(_))) {
        return;
    }
    for (attribute, option) in [("cache", "cache=…"), ("ftpthreads", "threads=…")] {
        for r in view.named(attribute) {
            let message =
                format!("{attribute} together with local inputs makes the job wait for ever; it is moved to the URLs");
            let d = Diagnostic::warning("W75", r.span, message);
            out.push(d.help(format!("write \"{option}\" behind the URLs it is meant for")));
        }
    }
}

fn outputs(view: &View<'_>, out: &mut Vec<Diagnostic>) {
    let job = view.job;
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for output in &job.outputs {
        if out.len() > MAX_FINDINGS {
            return;
        }
        out.extend(check_output_name(output));
        match &output.target {
            Target::Dropped(path) => {
                let message = format!("ARC ignores the local path \"{path}\" and keeps the file for download");
                let fix = Fix::one("write \"\"", Edit::replace(output.target_span, "\"\""));
                out.push(Diagnostic::warning("W68", output.target_span, message).fix(fix));
            }
            Target::Remote(url) => protocol(url, output.target_span, out),
            Target::Keep => {}
        }
        if seen.insert(&output.name, output.name_span).is_some() {
            let message = format!("the output \"{}\" is listed twice", output.name);
            out.push(Diagnostic::warning("W69", output.name_span, message));
        }
    }
    let own = [("stdout", &job.stdout), ("stderr", &job.stderr), ("gmlog", &job.gmlog)];
    for (i, (attribute, value)) in own.iter().enumerate() {
        let Some(value) = value else { continue };
        let Some(span) = view.values(attribute).next().map(|(_, v)| v.span()) else { continue };
        if value.starts_with('/') {
            let message = format!("an absolute {attribute} is a path on the worker node; it does not come back");
            out.push(Diagnostic::warning("W76", span, message));
        }
        if !seen.contains_key(value.as_str()) {
            out.extend(check_own_output(attribute, value, span));
        }
        for (other, same) in own.iter().take(i) {
            let joined = job.join && *attribute == "stderr" && *other == "stdout";
            if same.as_ref() == Some(value) && !joined {
                let d = Diagnostic::warning("W69", span, format!("{attribute} and {other} are the same file"));
                let help =
                    if *attribute == "stderr" { "use (join=\"yes\") instead" } else { "give them different names" };
                out.push(d.help(help));
            }
        }
    }
}

/// ADL: the names and files of its inputs.
pub(super) fn check_adl(text: &str, context: &LintContext<'_>) -> Vec<Diagnostic> {
    let submission = match crate::submit::for_submission(text, 0) {
        Ok(submission) => submission,
        Err(errors) => return errors,
    };
    let locals = submission.locals.iter();
    locals.filter_map(|l| missing(context.files?.kind(&l.path), &l.path, l.span)).collect()
}
