//! What ARC lets pass but no user wants: each finding has a code, a place, a sentence and, where it is safe, a correction.
//! What local files exist is asked through [`Files`]; nothing is read here.

mod attributes;
mod files;
mod syntax;
mod values;

use crate::diagnostic::Diagnostic;
use crate::eval::{FlatNode, FlatRelation};
use crate::model::JobDescription;
use crate::parsed::{Parsed, parse};
use crate::span::Span;
use crate::syntax::{BoolOp, Node};

/// After so many findings the rest of a description is not looked at.
const MAX_FINDINGS: usize = 10_000;

/// What a local path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file of so many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// Something else: a socket, a device.
    Special,
    /// There is nothing.
    Missing,
    /// It is there but cannot be read.
    Unreadable,
}

/// Answers what local files exist; paths come as written in the description.
pub trait Files {
    /// What lies at `path`, links followed.
    fn kind(&self, path: &str) -> FileKind;
}

/// What the lints may know besides the text.
#[derive(Clone, Copy, Default)]
pub struct LintContext<'a> {
    /// The local files; without it none is asked for.
    pub files: Option<&'a dyn Files>,
}

/// Every code and what it is about. `E`: error, `W`: warning or hint, `I`: hint.
pub const CODES: &[(&str, &str)] = &[
    ("E00", "syntax that ARC does not accept, and limits of this program"),
    ("E01", "a parenthesis is missing or too many"),
    ("E02", "a quote is never closed, or never opened"),
    ("W02", "a string goes on over what looks like another attribute"),
    ("E03", "a value must be quoted"),
    ("W03", "a value was quoted that act accepts unquoted"),
    ("E04", "the & at the start is missing"),
    ("E05", "text outside the description, or several descriptions"),
    ("W05", "act's form of several jobs was put into ARC's"),
    ("E06", "a comment is never closed"),
    ("E07", "ARC takes (* in quotes for a comment"),
    ("W07", "a string with (* was split for ARC"),
    ("E08", "a string with its own delimiter is never closed"),
    ("E09", "a backslash does not escape a quote"),
    ("W09", "a backslash in front of a quote"),
    ("E10", "byte order mark"),
    ("W10", "text that is not UTF-8"),
    ("W11", "a value ends in a comma"),
    ("W12", "a variable is used that nothing defines"),
    ("W13", "quotes keep a variable from being replaced"),
    ("I13", "something that looks like a variable in quotes"),
    ("E20", "no executable"),
    ("E21", "unknown attribute, close to a known one"),
    ("W21", "unknown attribute"),
    ("W22", "attribute of Globus RSL"),
    ("W23", "deprecated or ignored attribute"),
    ("E24", "attribute defined twice"),
    ("W24", "attribute defined twice, the last one counts"),
    ("E25", "wrong form of a value"),
    ("W26", "operator without effect"),
    ("E27", "operator that ARC refuses"),
    ("W28", "several jobs or alternatives in one description"),
    ("E30", "a period that ARC reads as 0"),
    ("W31", "months or minutes"),
    ("W32", "a very long period: a bare number is minutes"),
    ("W33", "no walltime"),
    ("W34", "zero or negative"),
    ("E35", "memory or disk that ARC reads as something else"),
    ("W36", "an unlikely amount of memory"),
    ("I37", "memory is for each slot"),
    ("E38", "count is no positive integer"),
    ("E39", "countpernode without count"),
    ("W40", "countpernode does not fit count"),
    ("W41", "several slots that may be spread over nodes"),
    ("E42", "join contradicts stdout or stderr"),
    ("W43", "a join that ARC ignores"),
    ("W44", "a dryrun that ARC ignores"),
    ("E45", "a starttime that ARC ignores"),
    ("E46", "notify"),
    ("W47", "priority or rerun out of range"),
    ("E48", "ftpthreads out of range"),
    ("W49", "a runtime environment that is lost or ignored"),
    ("W50", "a word or URL that ARC ignores"),
    ("E60", "local input missing or unreadable"),
    ("E61", "a file name that cannot be used"),
    ("E62", "inputs that overwrite each other"),
    ("E63", "a blank as source"),
    ("E64", "a path with ~ or $, which nobody expands"),
    ("W65", "executable or stdin that is not in inputfiles"),
    ("W66", "./x and x are different names for ARC"),
    ("E67", "a name in executables that is not in inputfiles"),
    ("W68", "an output's target is a local path"),
    ("W69", "outputs that overwrite each other"),
    ("W71", "a protocol without encryption, or retired"),
    ("W72", "a protocol that nobody knows"),
    ("E73", "a text that ARC takes for an invalid URL"),
    ("W74", "options without effect"),
    ("W75", "cache or ftpthreads together with local inputs"),
    ("E75", "cache or ftpthreads that cannot be moved to the URLs"),
    ("W76", "an absolute path for the job's output"),
    ("W77", "the executable is a URL"),
    ("W78", "very large inputs"),
    ("E79", "a file name that gets the job stuck on the server"),
    ("E80", "a source that nobody fetches"),
];

/// Reads and judges a text, xRSL or ADL. Findings in the order of the text.
#[must_use]
pub fn check(text: &str, context: &LintContext<'_>) -> Vec<Diagnostic> {
    if crate::adl::is_xml(text) {
        return files::check_adl(text, context);
    }
    lint(&parse(text), context)
}

/// What to say of a file that is no UTF-8, if it is none. ARC takes any bytes, but act's server takes descriptions as
/// JSON, which is UTF-8. `text` is what [`crate::decode`] made of it, corrected or not.
#[must_use]
pub fn check_encoding(bytes: &[u8], text: &str) -> Option<Diagnostic> {
    std::str::from_utf8(bytes).err()?;
    let (start, character) = text.char_indices().find(|(_, c)| !c.is_ascii())?;
    let span = Span::new(start, start + character.len_utf8());
    let byte = u32::from(character);
    let message = format!("the file is not UTF-8 (here is the byte {byte:#04x}), and an aCT server takes nothing else");
    let help = "convert the file, for example with `iconv -f latin1 -t utf-8`";
    Some(Diagnostic::warning("W10", span, message).help(help))
}

/// Judges a description that has been read: why ARC refuses it, and what else is wrong with it, in the order of the text.
#[must_use]
pub fn lint(parsed: &Parsed, context: &LintContext<'_>) -> Vec<Diagnostic> {
    let mut out = parsed.diagnostics().to_vec();
    if let Some(tree) = parsed.tree() {
        syntax::lint(parsed, tree, &mut out);
        let mut nodes = Vec::new();
        job_nodes(tree, &mut nodes);
        for (i, (job, flat)) in parsed.tentative_jobs().iter().zip(parsed.evaluated()).enumerate() {
            let mut relations = Vec::new();
            relations_of(flat, false, &mut relations);
            let node = nodes.get(i).copied().filter(|_| parsed.accepted());
            let view = View { parsed, job, relations, node, context };
            attributes::lint(&view, &mut out);
            values::lint(&view, &mut out);
            files::lint(&view, &mut out);
        }
    }
    let end = crate::Span::at(parsed.text().len()).end;
    for d in &mut out {
        d.keep_sound_fix(parsed.text());
        // The start of a job may be the end of a broken text.
        d.span = crate::Span { start: d.span.start.min(end), end: d.span.end.min(end) };
    }
    out.sort_by_key(|d| (d.span.start, d.span.end, std::cmp::Reverse(d.level)));
    out.dedup();
    out
}

/// The syntax of each job.
fn job_nodes<'t>(node: &'t Node, out: &mut Vec<&'t Node>) {
    match node {
        Node::Boolean(b) if b.op == BoolOp::Multi => b.groups.iter().for_each(|g| job_nodes(&g.node, out)),
        _ => out.push(node),
    }
}

/// One relation of a job.
struct Seen<'f> {
    relation: &'f FlatRelation,
    /// It stands in a `|`, so it may be one of several on purpose.
    alternative: bool,
}

fn relations_of<'f>(node: &'f FlatNode, alternative: bool, out: &mut Vec<Seen<'f>>) {
    match node {
        FlatNode::Relation(relation) => out.push(Seen { relation, alternative }),
        FlatNode::Boolean(op, _, nodes) => {
            nodes.iter().for_each(|n| relations_of(n, alternative || *op == BoolOp::Or, out));
        }
    }
}

/// One job, as the lints look at it.
struct View<'a> {
    parsed: &'a Parsed,
    job: &'a JobDescription,
    relations: Vec<Seen<'a>>,
    /// The job's syntax, for edits; only if the description is sound.
    node: Option<&'a Node>,
    context: &'a LintContext<'a>,
}

impl<'a> View<'a> {
    fn bytes(&self) -> &'a [u8] {
        self.parsed.text().as_bytes()
    }

    /// The sound relations of an attribute, by normalised name.
    fn named<'v>(&'v self, name: &'v str) -> impl Iterator<Item = &'a FlatRelation> {
        let all = self.relations.iter().map(|s| s.relation);
        all.filter(move |r| !r.damaged && *r.name == *name.as_bytes())
    }

    /// The value of each sound relation of a single-valued attribute, and where it stands.
    fn values<'v>(&'v self, name: &'v str) -> impl Iterator<Item = (String, &'a crate::eval::Flat)> {
        self.named(name).filter_map(|r| match r.values.as_slice() {
            [value] => Some((value.string(self.bytes())?, value)),
            _ => None,
        })
    }
}
