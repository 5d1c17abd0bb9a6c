//! Variables and files: where they are defined, where they are used, renaming.

use gen_lsp_types::{Location, Position, Range, TextEdit};
use xrsl::syntax::{BoolOp, Node, Relation, Value, normalise_name};
use xrsl::{Source, Span};

use super::document::Document;

/// A variable's name, where it is defined or used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// The name.
    pub name: String,
    /// Where the name stands, without quotes.
    pub span: Span,
    /// It is defined here.
    pub definition: bool,
    /// Which job of a `+`: variables are not shared between jobs.
    pub job: usize,
}

/// All names of variables in a document.
#[must_use]
pub fn occurrences(document: &Document) -> Vec<Occurrence> {
    let mut walk = Walk { text: document.text.as_str().as_bytes(), out: Vec::new(), job: 0 };
    if let Some(root) = document.parsed.tree() {
        walk.jobs(root);
    }
    walk.out
}

struct Walk<'t> {
    text: &'t [u8],
    out: Vec<Occurrence>,
    job: usize,
}

impl Walk<'_> {
    fn jobs(&mut self, node: &Node) {
        match node {
            Node::Boolean(b) if b.op == BoolOp::Multi => b.groups.iter().for_each(|g| self.jobs(&g.node)),
            _ => {
                self.node(node);
                self.job += 1;
            }
        }
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::Boolean(b) => b.groups.iter().for_each(|g| self.node(&g.node)),
            Node::Relation(r) => {
                self.definitions(r);
                r.values.iter().for_each(|v| self.uses(v));
            }
        }
    }

    fn definitions(&mut self, r: &Relation) {
        if normalise_name(&r.name.value(self.text)) != b"rslsubstitution" {
            return;
        }
        for value in &r.values {
            if let Value::Sequence(s) = value
                && let Some(Value::Str(name)) = s.values.first()
            {
                self.push(*name, true);
            }
        }
    }

    fn push(&mut self, name: xrsl::syntax::Str, definition: bool) {
        let word = String::from_utf8_lossy(&name.value(self.text)).into_owned();
        self.out.push(Occurrence { name: word, span: name.inner(), definition, job: self.job });
    }

    fn uses(&mut self, value: &Value) {
        match value {
            Value::Str(_) => {}
            Value::Variable(v) => self.push(v.name, false),
            Value::Concat(c) => c.parts.iter().for_each(|p| self.uses(p)),
            Value::Sequence(s) => s.values.iter().for_each(|v| self.uses(v)),
        }
    }
}

/// The variable at a place, and all its occurrences in its job.
#[must_use]
pub fn variable(document: &Document, at: usize) -> Option<(Occurrence, Vec<Occurrence>)> {
    let all = occurrences(document);
    let within = |o: &&Occurrence| o.span.start as usize <= at && at <= o.span.end as usize;
    let here = all.iter().find(within)?.clone();
    let same = all.into_iter().filter(|o| o.name == here.name && o.job == here.job).collect();
    Some((here, same))
}

/// What a variable stands for, by the last definition before its use.
#[must_use]
pub fn definition_value(document: &Document, of: &Occurrence) -> Option<String> {
    let text = document.text.as_str().as_bytes();
    let mut value = None;
    let job = document.parsed.evaluated().get(of.job)?;
    job.each(&mut |r| {
        if &*r.name != b"rslsubstitution" {
            return;
        }
        for v in &r.values {
            if let xrsl::eval::Flat::Sequence(span, pair) = v
                && let [name, meaning] = pair.as_slice()
                && name.string(text).as_deref() == Some(&of.name)
                && (value.is_none() || span.start <= of.span.start)
            {
                value = meaning.string(text);
            }
        }
    });
    value
}

/// Where what stands at a place is: a variable's definition, or an input's file.
#[must_use]
pub fn definition(document: &Document, at: usize) -> Vec<Location> {
    if let Some((here, all)) = variable(document, at) {
        let definitions = all.iter().filter(|o| o.definition);
        // The one in force: the last before the use, else the first.
        let before = definitions.clone().rfind(|o| o.span.start <= here.span.start);
        let chosen = before.or_else(|| definitions.clone().next());
        return chosen.map(|o| location(document, o.span)).into_iter().collect();
    }
    input_file(document, at).into_iter().collect()
}

fn location(document: &Document, span: Span) -> Location {
    Location { uri: document.uri.clone(), range: document.text.range(span) }
}

/// The local file of the input under the cursor, or of the input that the word under the cursor names.
fn input_file(document: &Document, at: usize) -> Option<Location> {
    let text = document.text.as_str();
    let within = |s: Span| s.start as usize <= at && at <= s.end as usize;
    let job = document
        .parsed
        .tentative_jobs()
        .iter()
        .zip(document.parsed.evaluated())
        .find(|(_, flat)| within(flat.span()))?;
    let mut word = None;
    job.1.each(&mut |r| {
        for v in &r.values {
            if within(v.span()) && matches!(&*r.name, b"executable" | b"executables" | b"stdin" | b"arguments") {
                word = v.string(text.as_bytes());
            }
        }
    });
    let named = |name: &str| word.as_deref() == Some(name);
    let input = job.0.inputs.iter().find(|i| within(i.span) || named(&i.name))?;
    let Source::Local(path) = &input.source else { return None };
    let file = document.dir()?.join(path);
    let uri = gen_lsp_types::Uri::from_file_path(&file).ok().filter(|_| file.is_file())?;
    Some(Location { uri, range: Range { start: Position::default(), end: Position::default() } })
}

/// The occurrences of the variable at a place.
#[must_use]
pub fn references(document: &Document, at: usize, with_definition: bool) -> Vec<Location> {
    let all = variable(document, at).map(|(_, all)| all).unwrap_or_default();
    all.iter().filter(|o| with_definition || !o.definition).map(|o| location(document, o.span)).collect()
}

/// The edits that give the variable at a place another name.
///
/// # Errors
/// There is no variable, or the name cannot be one, or is taken.
pub fn rename(document: &Document, at: usize, name: &str) -> Result<Vec<TextEdit>, String> {
    let Some((here, all)) = variable(document, at) else {
        return Err("only variables can be renamed: put the cursor on a name in rsl_substitution or in $(…)".into());
    };
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!("`{name}` cannot be a variable's name: letters, digits and _ only"));
    }
    let taken = occurrences(document).into_iter().any(|o| o.job == here.job && o.name == name && o.name != here.name);
    if taken {
        return Err(format!("there is a variable `{name}` already"));
    }
    Ok(all.iter().map(|o| TextEdit { range: document.text.range(o.span), new_text: name.to_owned() }).collect())
}
