//! What may be typed next: attributes with their shapes, and values. Where the cursor stands is `scan`'s business.

use std::collections::BTreeSet;
use std::path::Path;

use gen_lsp_types::{
    CompletionItem, CompletionItemKind, CompletionItemTag, InsertTextFormat, MarkupContent, MarkupKind, TextEdit,
};
use xrsl::Span;
use xrsl::attributes::{ATTRIBUTES, Attribute, Shape, Status, Unit};
use xrsl::syntax::normalise_name;

use super::document::Document;
use super::hover::{attribute, markdown, shape};
use super::jobs::Known;
use super::navigate;
use super::scan::{Kind, Place, place, tokens};

/// Files offered at a time.
const MAX_FILES: usize = 500;

/// What the system-defined environments of ARC 6 are called.
const ARC_ENVIRONMENTS: &[(&str, &str)] = &[
    ("ENV/PROXY", "the user's proxy is in the job's directory (defined by ARC)"),
    ("ENV/RTE", "the job finds the cluster's own scripts of environments (defined by ARC)"),
    ("ENV/LRMS-SCRATCH", "the job runs on the worker node's local disk (defined by ARC)"),
    ("ENV/SINGULARITY", "the job runs in an Apptainer or Singularity image (defined by ARC)"),
    ("ENV/CONDOR/DOCKER", "the job runs in a Docker image under HTCondor (defined by ARC)"),
    ("ENV/CANDYPOND", "the job can ask the cluster's cache for files (defined by ARC)"),
];

/// What can be completed at a place. `snippets`: the editor understands places to fill in.
#[must_use]
pub fn complete(document: &Document, at: usize, known: &Known, snippets: bool) -> Vec<CompletionItem> {
    let text = document.text.as_str();
    if xrsl::adl::is_xml(text) {
        return Vec::new();
    }
    match place(text, at) {
        Place::Nowhere => Vec::new(),
        Place::Name { span, bare } => names(document, span, bare, snippets),
        Place::Variable { span } => {
            let names: BTreeSet<String> =
                navigate::occurrences(document).into_iter().filter(|o| o.definition).map(|o| o.name).collect();
            let close = if text[at..].starts_with(')') { "" } else { ")" };
            let item = |name: String| Offer::new(&name, CompletionItemKind::Variable).text(format!("{name}{close}"));
            names.into_iter().map(|name| item(name).at(document, span)).collect()
        }
        Place::Value { name, in_list, index, span, quote } => {
            let Some(a) = attribute(&name) else { return Vec::new() };
            let slot = Slot { a, in_list, index, typed: text.get(span.range()).unwrap_or_default() };
            let closed = quote.is_some_and(|q| text[at..].bytes().take_while(|b| *b != b'\n').any(|b| b == q));
            let offers = values(document, &slot, known);
            offers.into_iter().map(|o| o.quoted(quote, closed).at(document, span)).collect()
        }
    }
}

/// Something to offer.
struct Offer {
    label: String,
    text: String,
    kind: CompletionItemKind,
    detail: Option<String>,
    documentation: Option<String>,
    snippet: bool,
    deprecated: bool,
    /// What comes first.
    rank: u8,
}

impl Offer {
    fn new(label: &str, kind: CompletionItemKind) -> Self {
        Self {
            label: label.to_owned(),
            text: label.to_owned(),
            kind,
            detail: None,
            documentation: None,
            snippet: false,
            deprecated: false,
            rank: 5,
        }
    }

    fn text(mut self, text: String) -> Self {
        self.text = text;
        self
    }

    fn detail(mut self, detail: &str) -> Self {
        self.detail = Some(detail.to_owned());
        self
    }

    fn rank(mut self, rank: u8) -> Self {
        self.rank = rank;
        self
    }

    /// As it must be written where the cursor stands.
    fn quoted(mut self, quote: Option<u8>, closed: bool) -> Self {
        match quote {
            Some(q @ (b'"' | b'\'')) => {
                let q = char::from(q);
                self.text = self.text.replace(q, &format!("{q}{q}"));
                if !closed {
                    self.text.push(q);
                }
            }
            Some(_) => {}
            None => self.text = format!("\"{}\"", self.text.replace('"', "\"\"")),
        }
        self
    }

    fn at(self, document: &Document, span: Span) -> CompletionItem {
        let edit = TextEdit { range: document.text.range(span), new_text: self.text };
        CompletionItem {
            filter_text: Some(self.label.clone()),
            sort_text: Some(format!("{}{}", self.rank, self.label)),
            label: self.label,
            kind: Some(self.kind),
            detail: self.detail,
            documentation: self.documentation.map(|value| MarkupContent { kind: MarkupKind::Markdown, value }.into()),
            tags: self.deprecated.then(|| vec![CompletionItemTag::Deprecated]),
            insert_text_format: Some(if self.snippet {
                InsertTextFormat::Snippet
            } else {
                InsertTextFormat::PlainText
            }),
            text_edit: Some(edit.into()),
            ..CompletionItem::default()
        }
    }
}

fn names(document: &Document, span: Span, bare: bool, snippets: bool) -> Vec<CompletionItem> {
    let text = document.text.as_str();
    let after = &text[span.end as usize..];
    // `exec|=` or `exec|"…"`: only the name is wanted.
    let only_name = after.trim_start().starts_with(['=', '<', '>', '!']);
    let close = if after.trim_start().starts_with(')') { "" } else { ")" };
    let used: BTreeSet<Vec<u8>> = tokens(text)
        .iter()
        .filter(|t| t.kind == Kind::Name && t.span != span)
        .filter_map(|t| text.get(t.span.range()))
        .map(|w| normalise_name(w.as_bytes()))
        .collect();
    let mut items = Vec::new();
    if text[..span.start as usize].trim().is_empty() && snippets && after.trim().is_empty() {
        let body = "&(executable=\"${1:run.sh}\")\n (inputfiles=(\"$1\" \"\"))\n (stdout=\"${2:stdout.txt}\")\n \
                    (stderr=\"${3:stderr.txt}\")\n (jobname=\"${4:job}\")\n (walltime=\"${5:1 hour}\")$0\n";
        let mut job = Offer::new("job", CompletionItemKind::Snippet).detail("a new job").text(body.to_owned()).rank(0);
        job.snippet = true;
        items.push(job.at(document, span));
    }
    for a in ATTRIBUTES.iter().filter(|a| matches!(a.status, Status::Current | Status::Deprecated(_))) {
        let body = if only_name { a.label.to_owned() } else { form(a, snippets) };
        let body = match (only_name, bare) {
            (true, _) => body,
            // The cursor would end up behind a parenthesis that is closed already.
            (false, true) if !snippets => format!("({body}"),
            (false, false) if !snippets => body,
            (false, true) => format!("({body})"),
            (false, false) => format!("{body}{close}"),
        };
        let once = a.duplicates != xrsl::attributes::Duplicates::Accumulate;
        let deprecated = matches!(a.status, Status::Deprecated(_));
        let rank = match a.name {
            _ if deprecated => 8,
            _ if once && used.contains(a.name.as_bytes()) => 7,
            "executable" | "arguments" | "inputfiles" | "outputfiles" | "stdout" | "stderr" | "jobname"
            | "walltime" | "memory" | "count" => 3,
            _ => 5,
        };
        let mut offer = Offer::new(a.label, CompletionItemKind::Property).detail(&shape(a)).text(body).rank(rank);
        offer.documentation = Some(markdown(a));
        offer.deprecated = deprecated;
        offer.snippet = snippets && !only_name;
        items.push(offer.at(document, span));
    }
    items
}

/// `name=` and places for its values.
fn form(a: &Attribute, snippets: bool) -> String {
    let hole = |n: usize, word: &str| match (snippets, word) {
        (false, _) => String::new(),
        (true, "") => format!("${n}"),
        (true, word) => format!("${{{n}:{word}}}"),
    };
    let values = match a.shape {
        _ if !snippets => String::new(),
        Shape::Files => format!("(\"{}\" \"{}\")", hole(1, "name"), hole(2, "")),
        Shape::Tuples(n) => {
            let holes: Vec<String> =
                (1..=n).map(|i| format!("\"{}\"", hole(i, if i == 1 { "NAME" } else { "value" }))).collect();
            format!("({})", holes.join(" "))
        }
        Shape::Single | Shape::List | Shape::Any => format!("\"{}\"", hole(1, "")),
    };
    format!("{}={values}", a.label)
}

/// A place for a value.
struct Slot<'a> {
    a: &'static Attribute,
    in_list: bool,
    index: usize,
    typed: &'a str,
}

fn values(document: &Document, slot: &Slot<'_>, known: &Known) -> Vec<Offer> {
    let a = slot.a;
    if matches!(a.shape, Shape::Single) && (slot.index > 0 || slot.in_list) {
        return Vec::new();
    }
    let mut offers: Vec<Offer> =
        a.values.iter().map(|word| Offer::new(word, CompletionItemKind::EnumMember).rank(2)).collect();
    let dir = document.dir();
    let inputs = || -> BTreeSet<String> {
        document.parsed.tentative_jobs().iter().flat_map(|j| &j.inputs).map(|i| i.name.clone()).collect()
    };
    match a.name {
        "queue" => {
            offers.extend(known.queues().into_iter().map(|q| Offer::new(&q.0, CompletionItemKind::Value).detail(&q.1)));
        }
        "cluster" => {
            offers.extend(known.clusters().into_iter().map(|c| Offer::new(&c, CompletionItemKind::Value)));
        }
        "runtimeenvironment" if slot.index == 0 => {
            let mut seen: BTreeSet<String> = ARC_ENVIRONMENTS.iter().map(|(name, _)| (*name).to_owned()).collect();
            offers.extend(
                ARC_ENVIRONMENTS.iter().map(|(name, what)| Offer::new(name, CompletionItemKind::Module).detail(what)),
            );
            for name in &known.environments {
                if seen.insert(name.clone()) {
                    let offer = Offer::new(name, CompletionItemKind::Module).detail("used by jobs that actd knows");
                    offers.push(offer.rank(3));
                }
            }
        }
        "inputfiles" if slot.in_list && slot.index < 2 => offers.extend(files(dir, slot.typed)),
        "executable" | "executables" | "stdin" => {
            let from = inputs();
            offers.extend(
                from.iter().map(|n| Offer::new(n, CompletionItemKind::File).detail("an input of this job").rank(2)),
            );
            offers.extend(files(dir, slot.typed).into_iter().filter(|o| !from.contains(&o.label)));
        }
        "outputfiles" if slot.in_list && slot.index == 0 => {
            let jobs = document.parsed.tentative_jobs();
            let written: BTreeSet<&String> = jobs.iter().flat_map(|j| j.stdout.iter().chain(&j.stderr)).collect();
            offers.extend(written.into_iter().map(|n| Offer::new(n, CompletionItemKind::File)));
            offers.push(Offer::new("/", CompletionItemKind::Folder).detail("everything in the job's directory"));
        }
        _ => {}
    }
    match a.unit {
        Unit::Period if offers.is_empty() => {
            let periods = ["30 minutes", "1 hour", "2 hours", "12 hours", "1 day", "3 days", "7 days"];
            offers.extend(periods.iter().zip(1..).map(|(p, n)| Offer::new(p, CompletionItemKind::Unit).rank(n)));
        }
        Unit::Megabytes if offers.is_empty() => {
            let sizes = ["1000", "2000", "4000", "8000", "16000"];
            offers.extend(
                sizes.iter().zip(1..).map(|(p, n)| Offer::new(p, CompletionItemKind::Unit).detail("MB").rank(n)),
            );
        }
        _ => {}
    }
    offers
}

/// Files below a directory, as far as the typed directories lead. Nothing is offered outside of what is typed.
fn files(dir: Option<&Path>, typed: &str) -> Vec<Offer> {
    if typed.contains("://") || typed.starts_with(['~', '$']) {
        return Vec::new();
    }
    let Some(dir) = dir else { return Vec::new() };
    let lead = typed.rfind('/').map_or("", |i| &typed[..=i]);
    let Ok(entries) = std::fs::read_dir(dir.join(lead)) else { return Vec::new() };
    let mut offers = Vec::new();
    for entry in entries.flatten().take(MAX_FILES) {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') && !typed[lead.len()..].starts_with('.') {
            continue;
        }
        let path = format!("{lead}{name}");
        match std::fs::metadata(entry.path()) {
            Ok(m) if m.is_dir() => offers.push(Offer::new(&format!("{path}/"), CompletionItemKind::Folder).rank(6)),
            Ok(m) => {
                let rank = if Path::new(&name).extension().is_some_and(|e| e == "xrsl") { 6 } else { 4 };
                let size = format!("{} bytes", m.len());
                offers.push(Offer::new(&path, CompletionItemKind::File).detail(&size).rank(rank));
            }
            Err(_) => {}
        }
    }
    offers
}
