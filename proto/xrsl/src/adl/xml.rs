//! A small, bounded XML reader with positions: elements and their text. No DTD, no external entity, nothing expands.
//! Attributes, namespaces and comments are skipped; it knows nothing about job descriptions.

use crate::span::Span;

/// How deep elements may nest.
const MAX_DEPTH: usize = 64;
/// How many elements a document may have.
const MAX_ELEMENTS: usize = 500_000;

/// An element.
#[derive(Debug)]
pub(crate) struct Element {
    /// The name without its prefix.
    pub(crate) name: String,
    /// From `<` to the end of its end tag.
    pub(crate) span: Span,
    /// Between its tags; empty, at the `/`, for `<x/>`.
    pub(crate) content: Span,
    /// `<x/>`
    pub(crate) empty: bool,
    pub(crate) parent: Option<usize>,
    /// The character data directly inside it, entities resolved, trimmed.
    pub(crate) text: String,
}

/// The elements of a document in the order of their start tags.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) elements: Vec<Element>,
}

impl Document {
    /// The children of an element that have this name.
    pub(crate) fn children<'a>(&'a self, parent: usize, name: &'a str) -> impl Iterator<Item = (usize, &'a Element)> {
        let end = self.elements.get(parent).map_or(0, |e| e.span.end);
        let rest = self.elements.iter().enumerate().skip(parent + 1);
        rest.take_while(move |(_, e)| e.span.start < end)
            .filter(move |(_, e)| e.parent == Some(parent) && e.name == name)
    }

    /// The first child with this name.
    pub(crate) fn child(&self, parent: usize, name: &str) -> Option<(usize, &Element)> {
        let end = self.elements.get(parent)?.span.end;
        let rest = self.elements.iter().enumerate().skip(parent + 1);
        rest.take_while(|(_, e)| e.span.start < end).find(|(_, e)| e.parent == Some(parent) && e.name == name)
    }
}

/// What is wrong with a document, and where.
#[derive(Debug)]
pub(crate) struct XmlError {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

/// Reads a document.
pub(crate) fn read(text: &str) -> Result<Document, XmlError> {
    let mut elements: Vec<Element> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut at = 0;
    let fail = |at: usize, what: &'static str| Err(XmlError { at, what });
    while let Some(rest) = text.get(at..).filter(|r| !r.is_empty()) {
        let Some(tag) = rest.strip_prefix('<') else {
            let len = rest.find('<').unwrap_or(rest.len());
            let Some(top) = open.last().and_then(|i| elements.get_mut(*i)) else {
                if rest[..len].trim_matches(['\u{feff}', ' ', '\t', '\r', '\n']).is_empty() {
                    at += len;
                    continue;
                }
                return fail(at, "text stands outside the root element");
            };
            if !unescape(&rest[..len], &mut top.text) {
                return fail(at, "an entity is not known");
            }
            at += len;
            continue;
        };
        let skip_to = |end: &str, what| match rest.find(end) {
            Some(i) => Ok(at + i + end.len()),
            None => Err(XmlError { at, what }),
        };
        if tag.starts_with("!--") {
            at = skip_to("-->", "the comment is not closed")?;
        } else if tag.starts_with('?') {
            at = skip_to("?>", "the instruction is not closed")?;
        } else if let Some(data) = tag.strip_prefix("![CDATA[") {
            let Some(len) = data.find("]]>") else { return fail(at, "the CDATA section is not closed") };
            if let Some(top) = open.last().and_then(|i| elements.get_mut(*i)) {
                top.text.push_str(&data[..len]);
            }
            at = skip_to("]]>", "")?;
        } else if tag.starts_with('!') {
            return fail(at, "a DTD is not accepted");
        } else if let Some(end) = tag.strip_prefix('/') {
            let Some(len) = end.find('>') else { return fail(at, "the end tag is not closed") };
            let Some(i) = open.pop() else { return fail(at, "an end tag has no start") };
            if local_name(end[..len].trim_end()) != elements[i].name {
                return fail(at, "an end tag does not match its start tag");
            }
            elements[i].content.end = Span::at(at).start;
            at += len + 3;
            elements[i].span.end = Span::at(at).start;
            let trimmed = elements[i].text.trim().to_owned();
            elements[i].text = trimmed;
        } else {
            let Some(len) = tag_length(tag) else { return fail(at, "the tag is not closed") };
            let (body, empty) = match tag[..len].strip_suffix('/') {
                Some(body) => (body, true),
                None => (&tag[..len], false),
            };
            let name = local_name(body.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default());
            if name.is_empty() {
                return fail(at, "the tag has no name");
            }
            let end = at + len + 2;
            let content = Span::at(if empty { end - 2 } else { end });
            let parent = open.last().copied();
            if parent.is_none() && !elements.is_empty() {
                return fail(at, "there is a second root element");
            }
            let (name, text) = (name.to_owned(), String::new());
            elements.push(Element { name, span: Span::new(at, end), content, empty, parent, text });
            if elements.len() > MAX_ELEMENTS {
                return fail(at, "there are too many elements");
            }
            if !empty {
                open.push(elements.len() - 1);
                if open.len() > MAX_DEPTH {
                    return fail(at, "the elements are nested too deeply");
                }
            }
            at = end;
        }
    }
    match open.last().and_then(|i| elements.get(*i)) {
        Some(e) => fail(e.span.start as usize, "the element is never closed"),
        None if elements.is_empty() => fail(0, "there is no element"),
        None => Ok(Document { elements }),
    }
}

/// Bytes up to the `>` of a start tag, quotes respected.
fn tag_length(tag: &str) -> Option<usize> {
    let mut quote = None;
    for (i, b) in tag.bytes().enumerate() {
        match (quote, b) {
            (None, b'>') => return Some(i),
            (None, b'<') => return None,
            (None, b'"' | b'\'') => quote = Some(b),
            (Some(q), _) if q == b => quote = None,
            _ => {}
        }
    }
    None
}

fn local_name(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or_default()
}

/// Adds character data with its entities resolved; false if one is not known.
fn unescape(data: &str, out: &mut String) -> bool {
    let mut rest = data;
    while let Some(i) = rest.find('&') {
        out.push_str(&rest[..i]);
        let Some(len) = rest[i..].find(';') else { return false };
        let entity = &rest[i + 1..i + len];
        let number = entity.strip_prefix('#').and_then(|n| match n.strip_prefix('x') {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => n.parse().ok(),
        });
        let c = match entity {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => number.and_then(char::from_u32),
        };
        match c {
            Some(c) => out.push(c),
            None => return false,
        }
        rest = &rest[i + len + 1..];
    }
    out.push_str(rest);
    true
}
