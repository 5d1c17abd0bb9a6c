//! The shape of a document: its jobs and attributes as symbols, what can be folded, and the kinds of its words for
//! colouring.

use gen_lsp_types::{DocumentSymbol, FoldingRange, FoldingRangeKind, SemanticToken, SymbolKind};
use xrsl::Span;
use xrsl::syntax::{BoolOp, Node, Relation, Value};

use super::document::Document;
use super::hover::attribute;
use super::scan::{Kind, tokens};

/// The words of [`semantic_tokens`], by number.
pub const TOKEN_TYPES: [&str; 7] = ["comment", "property", "operator", "string", "number", "variable", "keyword"];

/// Longest detail of a symbol.
const DETAIL: usize = 60;

/// Jobs with their attributes.
#[must_use]
pub fn symbols(document: &Document) -> Vec<DocumentSymbol> {
    let mut jobs = Vec::new();
    if let Some(root) = document.parsed.tree() {
        members(root, &mut jobs);
    }
    let known = document.parsed.tentative_jobs();
    let symbol = |(n, node): (usize, &&Node)| {
        let job = known.get(n);
        let name = job.and_then(|j| j.name.clone()).filter(|name| !name.is_empty());
        let detail = job.and_then(|j| j.executable.clone());
        let mut children = Vec::new();
        relations(node, &mut children);
        let children = children.into_iter().map(|r| attribute_symbol(document, r)).collect();
        let name = name.unwrap_or_else(|| format!("job {}", n + 1));
        make(document, name, detail, SymbolKind::Object, node.span(), head(node), children)
    };
    jobs.iter().enumerate().map(symbol).collect()
}

fn members<'t>(node: &'t Node, out: &mut Vec<&'t Node>) {
    match node {
        Node::Boolean(b) if b.op == BoolOp::Multi => b.groups.iter().for_each(|g| members(&g.node, out)),
        _ => out.push(node),
    }
}

fn head(node: &Node) -> Span {
    match node {
        Node::Boolean(b) => b.op_span,
        Node::Relation(r) => r.name.span,
    }
}

fn relations<'t>(node: &'t Node, out: &mut Vec<&'t Relation>) {
    match node {
        Node::Relation(r) => out.push(r),
        Node::Boolean(b) => b.groups.iter().for_each(|g| relations(&g.node, out)),
    }
}

fn make(
    document: &Document,
    name: String,
    detail: Option<String>,
    kind: SymbolKind,
    span: Span,
    selection: Span,
    children: Vec<DocumentSymbol>,
) -> DocumentSymbol {
    DocumentSymbol {
        name: if name.trim().is_empty() { "?".to_owned() } else { name },
        detail,
        kind,
        tags: None,
        #[expect(deprecated, reason = "a field of the protocol that must be there")]
        deprecated: None,
        range: document.text.range(span),
        selection_range: document.text.range(selection),
        children: (!children.is_empty()).then_some(children),
    }
}

fn attribute_symbol(document: &Document, r: &Relation) -> DocumentSymbol {
    let text = document.text.as_str();
    let written = String::from_utf8_lossy(&r.name.value(text.as_bytes())).into_owned();
    let name = attribute(&written).map_or(written, |a| a.label.to_owned());
    let values = r.values.first().map(Value::span).zip(r.values.last().map(Value::span));
    let shown = values.and_then(|(a, b)| text.get(a.to(b).range())).unwrap_or_default();
    let one_line: Vec<&str> = shown.split_whitespace().collect();
    let mut detail: String = one_line.join(" ").chars().take(DETAIL).collect();
    if detail.len() < shown.len() && detail.chars().count() == DETAIL {
        detail.push('…');
    }
    let children = r.values.iter().filter_map(|value| {
        let Value::Sequence(s) = value else { return None };
        let first = s.values.first()?;
        let label = text.get(first.span().range())?.trim_matches(['"', '\'']).to_owned();
        let kind = match name.as_str() {
            "inputfiles" | "outputfiles" => SymbolKind::File,
            "rsl_substitution" => SymbolKind::Variable,
            _ => SymbolKind::Field,
        };
        let detail = s.values.get(1).and_then(|v| text.get(v.span().range())).map(str::to_owned);
        Some(make(document, label, detail, kind, s.span, first.span(), Vec::new()))
    });
    let children = children.collect();
    make(document, name, Some(detail), SymbolKind::Property, r.span, r.name.span, children)
}

/// Everything that spans several lines.
#[must_use]
pub fn folds(document: &Document) -> Vec<FoldingRange> {
    let mut spans: Vec<(Span, Option<FoldingRangeKind>)> = Vec::new();
    let all = tokens(document.text.as_str());
    spans.extend(all.iter().filter(|t| t.kind == Kind::Comment).map(|t| (t.span, Some(FoldingRangeKind::Comment))));
    let mut open = Vec::new();
    for token in all.iter().filter(|t| t.kind == Kind::Mark) {
        match document.text.as_str().get(token.span.range()) {
            Some("(") => open.push(token.span),
            Some(")") => spans.extend(open.pop().map(|o| (o.to(token.span), None))),
            _ => {}
        }
    }
    // The whole job, from its operator on.
    spans.extend(document.parsed.tree().map(|t| (t.span(), None)));
    let mut folds: Vec<FoldingRange> = spans
        .into_iter()
        .map(|(span, kind)| (document.text.range(span), kind))
        .filter(|(range, _)| range.start.line < range.end.line)
        .map(|(range, kind)| FoldingRange {
            start_line: range.start.line,
            end_line: range.end.line,
            kind,
            ..FoldingRange::default()
        })
        .collect();
    // One fold to a line: the longest.
    folds.sort_by_key(|f| (f.start_line, std::cmp::Reverse(f.end_line)));
    folds.dedup_by_key(|f| f.start_line);
    folds
}

/// The kinds of all words, each relative to the one before.
#[must_use]
pub fn semantic_tokens(document: &Document) -> Vec<SemanticToken> {
    let text = document.text.as_str();
    let mut out = Vec::new();
    let (mut line, mut column) = (0, 0);
    for token in tokens(text) {
        let written = text.get(token.span.range()).unwrap_or_default();
        let token_type = match token.kind {
            Kind::Comment => 0,
            Kind::Name if attribute(written.trim_matches(['"', '\''])).is_none() => continue,
            Kind::Name => 1,
            Kind::Relation => 2,
            Kind::Value { .. } => {
                let number = written.trim_matches(['"', '\'']);
                if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) { 4 } else { 3 }
            }
            Kind::Variable { .. } => 5,
            Kind::Boolean => 6,
            Kind::Mark => continue,
        };
        // No token may go over the end of a line.
        let mut from = token.span.start as usize;
        for piece in written.split_inclusive(['\n', '\r']) {
            let end = from + piece.trim_end_matches(['\n', '\r']).len();
            let (a, b) = (document.text.position(from), document.text.position(end));
            from += piece.len();
            if a.line != b.line || a.character == b.character {
                continue;
            }
            let delta_start = if a.line == line { a.character - column } else { a.character };
            let length = b.character - a.character;
            out.push(SemanticToken {
                delta_line: a.line - line,
                delta_start,
                length,
                token_type,
                token_modifiers_bitset: 0,
            });
            (line, column) = (a.line, a.character);
        }
    }
    out
}
