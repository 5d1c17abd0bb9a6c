//! What an attribute means: shape, unit, default, a sentence. From the xrsl package's table, for hover and completion.

use gen_lsp_types::{Contents, Hover, MarkupContent, MarkupKind};
use xrsl::attributes::{Attribute, Duplicates, Shape, Status, Unit, attribute_named, did_you_mean};
use xrsl::eval::{Flat, FlatRelation};
use xrsl::syntax::normalise_name;
use xrsl::{FileKind, Files, Source, Span};

use super::document::Document;
use super::navigate;
use crate::cmd::check::Disk;

/// The attribute that a written name means.
#[must_use]
pub fn attribute(written: &str) -> Option<&'static Attribute> {
    attribute_named(&normalise_name(written.as_bytes()))
}

/// Shape and unit in a few words: `list of strings`.
#[must_use]
pub fn shape(a: &Attribute) -> String {
    let unit = match a.unit {
        Unit::Text => "text",
        Unit::Period => "period, a bare number is minutes",
        Unit::Megabytes => "whole megabytes",
        Unit::Count => "whole number",
        Unit::Time => "time, YYYY-MM-DD hh:mm:ss",
        Unit::File => "file name",
        Unit::Url => "URL",
        Unit::Word => "one of a few words",
    };
    match a.shape {
        Shape::Single => unit.to_owned(),
        Shape::List => format!("list ({unit})"),
        Shape::Files if a.name == "outputfiles" => "list of (name target)".to_owned(),
        Shape::Files => "list of (name source)".to_owned(),
        Shape::Tuples(2) => "list of (name value)".to_owned(),
        Shape::Tuples(n) => format!("list of {n} values each"),
        Shape::Any => "anything".to_owned(),
    }
}

/// All there is to say about an attribute, as Markdown.
#[must_use]
pub fn markdown(a: &Attribute) -> String {
    let mut out = format!("**{}** · {}\n\n{}\n", a.label, shape(a), a.doc);
    match a.status {
        Status::Current => {}
        Status::Deprecated(instead) => out.push_str(&format!("\nDeprecated: {instead}.\n")),
        Status::Ignored(instead) => out.push_str(&format!("\nARC ignores it. Instead: {instead}.\n")),
        Status::Internal => out.push_str("\nOf no use in a description.\n"),
    }
    if !a.default.is_empty() {
        out.push_str(&format!("\nWithout it: {}.\n", a.default));
    }
    if !a.values.is_empty() {
        let words: Vec<String> = a.values.iter().map(|w| format!("`{w}`")).collect();
        out.push_str(&format!("\nValues: {}.\n", words.join(", ")));
    }
    let again = match a.duplicates {
        Duplicates::Refused => "Given twice: refused.",
        Duplicates::LastWins => "Given twice: the last one counts.",
        Duplicates::Accumulate => "Given several times: they add up.",
    };
    out.push_str(&format!("\n{again}\n"));
    if !a.example.is_empty() {
        out.push_str(&format!("\n```xrsl\n{}\n```\n", a.example));
    }
    out
}

/// What stands under the cursor.
#[must_use]
pub fn hover(document: &Document, at: usize) -> Option<Hover> {
    let (text, span) = name(document, at)
        .or_else(|| variable(document, at))
        .or_else(|| input(document, at))
        .or_else(|| value(document, at))?;
    let contents: Contents = MarkupContent { kind: MarkupKind::Markdown, value: text }.into();
    Some(Hover { contents, range: Some(document.text.range(span)) })
}

fn within(span: Span, at: usize) -> bool {
    span.start as usize <= at && at <= span.end as usize
}

fn relation(document: &Document, fits: impl Fn(&FlatRelation) -> bool) -> Option<FlatRelation> {
    let mut found = None;
    for job in document.parsed.evaluated() {
        job.each(&mut |r| {
            if found.is_none() && fits(r) {
                found = Some(r.clone());
            }
        });
    }
    found
}

fn name(document: &Document, at: usize) -> Option<(String, Span)> {
    let tokens = super::scan::tokens(document.text.as_str());
    let token = tokens.iter().find(|t| t.kind == super::scan::Kind::Name && within(t.span, at))?;
    let written = document.text.as_str().get(token.span.range())?.trim_matches(['"', '\'']);
    let text = match attribute(written) {
        Some(a) => markdown(a),
        None => match did_you_mean(written.as_bytes()) {
            Some(a) => format!("`{written}` is no attribute of xRSL. Did you mean **{}**?\n\n{}", a.label, a.doc),
            None => format!("`{written}` is no attribute of xRSL: ARC ignores it."),
        },
    };
    Some((text, token.span))
}

fn variable(document: &Document, at: usize) -> Option<(String, Span)> {
    let seen = navigate::occurrences(document).into_iter().find(|o| within(o.span, at))?;
    let value = navigate::definition_value(document, &seen);
    let text = match value {
        Some(value) => format!("`$({})` is `{value}`", seen.name),
        None => format!("`$({})` is defined nowhere: it is empty", seen.name),
    };
    Some((text, seen.span))
}

fn input(document: &Document, at: usize) -> Option<(String, Span)> {
    let jobs = document.parsed.tentative_jobs();
    let input = jobs.iter().flat_map(|j| &j.inputs).find(|i| within(i.name_span, at) || within(i.source_span, at))?;
    let text = match &input.source {
        Source::Local(path) => {
            let disk = Disk { base_dir: document.dir()?.to_owned() };
            let what = match disk.kind(path) {
                FileKind::File(bytes) => format!("{bytes} bytes"),
                FileKind::Directory => "a directory, which cannot be an input".to_owned(),
                FileKind::Special => "no regular file".to_owned(),
                FileKind::Missing => "there is no such file".to_owned(),
                FileKind::Unreadable => "it cannot be read".to_owned(),
            };
            format!("`{}` is the local file `{}`: {what}", input.name, disk.base_dir.join(path).display())
        }
        Source::Remote(url) => format!("`{}` is fetched by the cluster from {url}", input.name),
        Source::UrlList(list) => format!("`{}`: `{list}` is a list of URLs, which nobody moves", input.name),
    };
    Some((text, input.span))
}

/// What ARC makes of a period or a computed value.
fn value(document: &Document, at: usize) -> Option<(String, Span)> {
    let found = relation(document, |r| r.values.iter().any(|v| within(v.span(), at)))?;
    let value = found.values.iter().find(|v| within(v.span(), at))?;
    let string = value.string(document.text.as_str().as_bytes())?;
    let a = attribute_named(&found.name)?;
    let text = match (a.unit, value) {
        (Unit::Period, _) => {
            let seconds = xrsl::number::period(&string);
            format!("{} of {seconds} seconds: {}", a.label, spell(seconds))
        }
        (Unit::Megabytes, _) => format!("{} of {} MB", a.label, xrsl::number::prefix_int(&string)),
        (_, Flat::Literal(_, xrsl::eval::Text::Computed(_))) => format!("`{string}`"),
        _ => return None,
    };
    Some((text, value.span()))
}

fn spell(seconds: i64) -> String {
    let parts = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut rest = seconds.max(0);
    let mut words = Vec::new();
    for (size, unit) in parts {
        if rest >= size {
            words.push(format!("{} {unit}", rest / size));
            rest %= size;
        }
    }
    if words.is_empty() { "none at all".to_owned() } else { words.join(" ") }
}
