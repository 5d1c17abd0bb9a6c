//! Changes to a description that touch only what they must: every byte outside an edit stays as the user wrote it.
//! Works on descriptions that ARC accepts; decides nothing about what should be changed.

use std::borrow::Cow;

use crate::diagnostic::{Edit, apply_edits};
use crate::parsed::{Parsed, parse};
use crate::print::quote;
use crate::span::Span;
use crate::syntax::{BoolOp, Group, Node, Relation, normalise_name};

/// A relation that belongs to the job itself (not to an alternative of it), and the parentheses around it.
pub(crate) struct Site<'t> {
    pub(crate) relation: &'t Relation,
    /// None for a description that is one bare relation.
    pub(crate) group: Option<&'t Group>,
    /// It stands in the first branch of a `|`.
    pub(crate) in_branch: bool,
}

/// The relations of the job: those of `&`, and of the first branch of each `|`.
pub(crate) fn sites(root: &Node) -> Vec<Site<'_>> {
    let mut out = Vec::new();
    collect(root, None, false, &mut out);
    out
}

fn collect<'t>(node: &'t Node, group: Option<&'t Group>, in_branch: bool, out: &mut Vec<Site<'t>>) {
    match node {
        Node::Relation(relation) => out.push(Site { relation, group, in_branch }),
        Node::Boolean(b) => {
            let or = b.op == BoolOp::Or;
            for g in b.groups.iter().take(if or { 1 } else { usize::MAX }) {
                collect(&g.node, Some(g), in_branch || or, out);
            }
        }
    }
}

/// Whether the relation is of the attribute with this normalised name.
pub(crate) fn is_named(text: &str, relation: &Relation, name: &str) -> bool {
    normalise_name(&relation.name.value(text.as_bytes())) == name.as_bytes()
}

/// Takes one job out of a `+` as a description of its own: the bytes between its parentheses, comments included.
/// A description without `+` is returned whole. None if there is no such job.
#[must_use]
pub fn extract_job(parsed: &Parsed, index: usize) -> Option<String> {
    let place = *job_places(parsed).get(index)?;
    Some(job_text(parsed, index, place).0.text().to_owned())
}

/// Where the text of each job stands: between its parentheses in a `+`, or all of the description.
pub(crate) fn job_places(parsed: &Parsed) -> Vec<Span> {
    if parsed.jobs().is_empty() {
        return Vec::new();
    }
    let mut groups = Vec::new();
    parsed.tree().into_iter().for_each(|tree| members(tree, &mut groups));
    if groups.is_empty() {
        return vec![Span::new(0, parsed.text().len())];
    }
    groups.iter().map(|g| Span { start: g.span.start + 1, end: g.span.end - 1 }).collect()
}

/// A job as a description of its own, and where its text starts in the whole; None if it had to be printed anew.
pub(crate) fn job_text(parsed: &Parsed, index: usize, place: Span) -> (Cow<'_, Parsed>, Option<usize>) {
    if place.range() == (0..parsed.text().len()) && parsed.jobs().len() == 1 {
        return (Cow::Borrowed(parsed), Some(0));
    }
    let canonical = parsed.jobs().get(index).map(crate::JobDescription::canonical).unwrap_or_default();
    let alone = parse(parsed.text().get(place.range()).unwrap_or_default());
    // ARC's comment scan does not look at quotes, so cutting may (in theory) change what is a comment.
    match alone.jobs() {
        [job] if job.canonical() == canonical => (Cow::Owned(alone), Some(place.start as usize)),
        _ => (Cow::Owned(parse(canonical)), None),
    }
}

fn members<'t>(node: &'t Node, out: &mut Vec<&'t Group>) {
    if let Node::Boolean(b) = node
        && b.op == BoolOp::Multi
    {
        for group in &b.groups {
            match &group.node {
                Node::Boolean(inner) if inner.op == BoolOp::Multi => members(&group.node, out),
                _ => out.push(group),
            }
        }
    }
}

/// The edits that add a relation, given with its parentheses, to a job that is a whole description.
pub(crate) fn add_relation(text: &str, root: &Node, relation: &str) -> Vec<Edit> {
    match root {
        Node::Boolean(b) if b.op == BoolOp::And => {
            let Some(last) = b.groups.last() else { return Vec::new() };
            let at = last.span.end as usize;
            // Keep the layout: one relation to a line where the others are.
            let before = text.get(..last.span.start as usize).unwrap_or_default();
            let indent = before.rfind('\n').map(|n| &before[n..]).filter(|i| i.trim().is_empty() && i.len() < 40);
            vec![Edit::insert(at, format!("{}{relation}", indent.unwrap_or_default()))]
        }
        _ => {
            let span = root.span();
            vec![
                Edit::insert(span.start as usize, format!("&{}", open_before(text, span))),
                Edit::insert(span.end as usize, format!("){relation}")),
            ]
        }
    }
}

/// A parenthesis to put before `span`, with a blank if the two would read as the start of a comment.
pub(crate) fn open_before(text: &str, span: Span) -> &'static str {
    if span.of(text.as_bytes()).starts_with(b"*") { "( " } else { "(" }
}

/// The edit that makes a single value another string.
pub(crate) fn set_value(relation: &Relation, value: &str) -> Edit {
    let quoted = quote(value);
    match (relation.values.first(), relation.values.last()) {
        (Some(first), Some(last)) => Edit::replace(first.span().to(last.span()), quoted),
        _ => Edit::insert(relation.op_span.end as usize, quoted),
    }
}

/// The text with all edits in place; None if one does not fit, because a `^` delimiter cuts a character in two.
fn apply_all(text: &str, edits: &[Edit]) -> Option<String> {
    let (edited, applied) = apply_edits(text, edits);
    (applied == edits.len()).then_some(edited)
}

/// The syntax of the only job of a description.
fn only_job(parsed: &Parsed) -> Option<&Node> {
    let mut node = parsed.tree().filter(|_| parsed.jobs().len() == 1)?;
    while let Node::Boolean(b) = node
        && b.op == BoolOp::Multi
    {
        node = &b.groups.first()?.node;
    }
    Some(node)
}

/// Gives the job another name. The description must hold one job; None if it does not.
#[must_use]
pub fn rename(text: &str, name: &str) -> Option<String> {
    let parsed = parse(text);
    let root = only_job(&parsed)?;
    let named: Vec<Site<'_>> = sites(root).into_iter().filter(|s| is_named(text, s.relation, "jobname")).collect();
    let edits = if named.is_empty() {
        add_relation(text, root, &format!("(jobname={})", quote(name)))
    } else {
        named.iter().map(|s| set_value(s.relation, name)).collect()
    };
    apply_all(text, &edits)
}

/// Adds an input file to the job. The description must hold one job; None if it does not.
/// A `source` of "" means the local file of that name.
#[must_use]
pub fn add_input(text: &str, name: &str, source: &str) -> Option<String> {
    let parsed = parse(text);
    let root = only_job(&parsed)?;
    apply_all(text, &add_inputs(text, root, &format!("({} {})", quote(name), quote(source))))
}

/// The edits that add members, given as text, to `inputfiles`.
pub(crate) fn add_inputs(text: &str, root: &Node, members: &str) -> Vec<Edit> {
    let existing = sites(root).into_iter().find(|s| !s.in_branch && is_named(text, s.relation, "inputfiles"));
    match existing {
        Some(site) => {
            let at = site.relation.values.last().map_or(site.relation.op_span, crate::syntax::Value::span).end;
            vec![Edit::insert(at as usize, format!(" {members}"))]
        }
        None => add_relation(text, root, &format!("(inputfiles={members})")),
    }
}

/// Sets the source of every input called `name` to `source`. The description must hold one job; None if it does not,
/// or if it has no such input.
#[must_use]
pub fn set_source(text: &str, name: &str, source: &str) -> Option<String> {
    let parsed = parse(text);
    let [job] = parsed.jobs() else { return None };
    let edits: Vec<Edit> = job.inputs.iter().filter(|i| i.name == name).flat_map(|i| source_edits(i, source)).collect();
    apply_all(text, &edits).filter(|_| !edits.is_empty())
}

/// The edits that give an input another source. What stands behind an empty source is ignored by ARC but would become
/// options of the new one, so it goes.
pub(crate) fn source_edits(input: &crate::model::Input, source: &str) -> Vec<Edit> {
    let mut edits = vec![Edit::replace(input.source_span, quote(source))];
    edits.extend(input.ignored.map(|span| Edit::replace(span, "")));
    edits
}
