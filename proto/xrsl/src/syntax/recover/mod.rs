//! The explainer: reads a text that the judge refused, reports every mistake in it with a guess at what was meant, and
//! builds a tree of what can be understood. Its verdict does not count; a text that comes here is refused.
//!
//! It leans on one fact: inside a value list `(name=` is never valid, so where it appears a `)` is missing before it.

mod quotes;
mod values;

use super::cursor::{Cursor, Lexed, has_forbidden, is_blank};
use super::strict::Refusal;
use super::{BoolOp, Boolean, Group, Node, Quote, RelOp, Relation, Str, Value, normalise_name};
use crate::attributes::{attribute_named, did_you_mean};
use crate::diagnostic::{Diagnostic, Edit, Fix};
use crate::span::Span;

/// After so many mistakes the rest is not looked at.
const MAX_ERRORS: usize = 1000;
/// How deep parentheses are followed in a broken text; the judge follows four times as many, with smaller steps.
const MAX_DEPTH: usize = 256;
/// How many unknown names are compared with the attributes' names.
const MAX_GUESSES: usize = 200;

/// Reports every mistake of a text that the judge refused for `refusal`. The tree is a guess.
pub(crate) fn parse(text: &str, refusal: Refusal) -> (Option<Node>, Vec<Diagnostic>) {
    let mut r = Recover::new(text);
    let tree = r.document();
    if r.errors.is_empty() {
        // The judge knows better; say at least what it saw.
        let at = if refusal.at >= text.len() { text.trim_end().len() } else { refusal.at };
        r.errors.push(Diagnostic::reject("E00", Span::at(at), refusal.what));
    }
    (tree, r.errors)
}

struct Recover<'t> {
    text: &'t str,
    c: Cursor<'t>,
    errors: Vec<Diagnostic>,
    /// Opening parentheses that are waiting for their `)`.
    open: Vec<usize>,
    guesses: usize,
    /// Last position of each byte, so that a search for one that is not there costs nothing.
    last: [usize; 256],
    last_comment_end: Option<usize>,
    /// Where each line starts, and where it ends without trailing blanks.
    lines: Vec<(usize, usize)>,
}

impl<'t> Recover<'t> {
    fn new(text: &'t str) -> Self {
        let mut last = [0; 256];
        for (i, b) in text.bytes().enumerate() {
            last[usize::from(b)] = i + 1;
        }
        let last_comment_end = text.rfind("*)");
        let c = Cursor::new(text.as_bytes());
        let mut lines = Vec::new();
        let mut start = 0;
        for line in text.as_bytes().split(|b| *b == b'\n') {
            lines.push((start, start + line.trim_ascii_end().len()));
            start += line.len() + 1;
        }
        Self { text, c, errors: Vec::new(), open: Vec::new(), guesses: 0, last, last_comment_end, lines }
    }

    fn report(&mut self, mut d: Diagnostic) {
        // "The character here" may be the end of the text.
        let end = Span::at(self.text.len()).end;
        d.span = Span { start: d.span.start.min(end), end: d.span.end.min(end) };
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(d);
        } else {
            // Enough: leave the rest alone.
            self.c.at = self.c.text.len();
        }
    }

    /// Skips blanks and comments as people see them: not as ARC's scan, which a `(*` in quotes can lead astray.
    fn skip(&mut self) -> bool {
        let start = self.c.at;
        loop {
            while !self.c.at_end() && is_blank(self.c.byte()) {
                self.c.at += 1;
            }
            if self.c.byte() != b'(' || self.c.byte_at(self.c.at + 1) != b'*' {
                return self.c.at != start;
            }
            let open = self.c.at;
            let close = self.last_comment_end.filter(|last| *last >= open);
            match close.and_then(|_| super::cursor::find(self.c.text, b"*)", open)) {
                Some(close) => self.c.at = close + 2,
                None => {
                    self.c.at = self.line_end(open);
                    let d = Diagnostic::reject("E06", Span::new(open, open + 2), "this comment is never closed");
                    let fix = Fix::one("close it at the end of the line", Edit::insert(self.c.at, " *)"));
                    self.report(d.help("end it with *) ; a value that starts with * must be quoted").fix(fix));
                }
            }
        }
    }

    /// The number of the line at `at`, from 0.
    fn line_at(&self, at: usize) -> usize {
        self.lines.partition_point(|(start, _)| *start <= at).saturating_sub(1)
    }

    /// The end of the line at `at`, trailing blanks left out.
    fn line_end(&self, at: usize) -> usize {
        self.lines.get(self.line_at(at)).map_or(at, |(_, end)| (*end).max(at))
    }

    /// Whether only blanks stand before `at` on its line.
    fn starts_line(&self, at: usize) -> bool {
        let before = self.c.text.get(at.saturating_sub(200)..at).unwrap_or_default();
        let line = before.rsplit(|b| *b == b'\n').next().unwrap_or_default();
        line.trim_ascii_start().is_empty()
    }

    /// Whether `(name op` stands at `at`: the start of a relation.
    fn relation_starts(&mut self, at: usize) -> bool {
        if self.c.byte_at(at) != b'(' {
            return false;
        }
        let Some(name) = self.name_before_operator(at + 1) else { return false };
        self.starts_line(at) || self.is_attribute(&name)
    }

    /// The name at `at` if an operator follows it.
    fn name_before_operator(&self, at: usize) -> Option<Vec<u8>> {
        let blanks = |at: usize| self.c.text.get(at..).unwrap_or_default().iter().take_while(|b| is_blank(**b)).count();
        // Names are short; a long string is none.
        let start = at + blanks(at);
        let near = self.c.text.get(..(start + 200).min(self.c.text.len()))?;
        let mut c = Cursor::plain(near, start);
        let Lexed::Str(name) = c.string() else { return None };
        let at = c.at + blanks(c.at);
        let mut c = Cursor::plain(self.c.text, at);
        c.rel_op()?;
        let name = name.value(self.c.text).into_owned();
        (!has_forbidden(&name)).then_some(name)
    }

    /// Whether a name is an attribute's, or close to one.
    fn is_attribute(&mut self, name: &[u8]) -> bool {
        if attribute_named(&normalise_name(name)).is_some() {
            return true;
        }
        self.guesses += 1;
        self.guesses < MAX_GUESSES && did_you_mean(name).is_some()
    }

    fn document(&mut self) -> Option<Node> {
        if self.text.starts_with('\u{feff}') {
            let d = Diagnostic::reject(
                "E10",
                Span::new(0, 3),
                "the file starts with a byte order mark, which ARC does not skip",
            );
            let fix = Fix::one("remove it", Edit::replace(Span::new(0, 3), ""));
            self.report(d.help("save it as UTF-8 without BOM").fix(fix));
            self.c.at = 3;
        }
        self.skip();
        let start = self.c.at;
        match self.c.byte() {
            _ if self.c.at_end() => {
                self.report(Diagnostic::reject("E00", Span::at(start), "there is no description here"));
                return None;
            }
            b'<' => {
                let d = Diagnostic::reject("E00", Span::new(start, start + 1), "this is XML, not xRSL");
                self.report(d.help("an ADL description can be submitted but not checked"));
                return None;
            }
            b'{' | b'[' => {
                let d = Diagnostic::reject("E00", Span::new(start, start + 1), "this looks like JSON, not xRSL");
                self.report(d.help("a description has the form &(executable=\"…\")(arguments=\"…\")"));
                return None;
            }
            b'#' if self.c.text[start..].starts_with(b"#!") => {
                let d = Diagnostic::reject("E00", Span::new(start, start + 2), "this is a script, not xRSL");
                self.report(d.help("a description names it: &(executable=\"…\")(arguments=\"…\")"));
                return None;
            }
            _ => {}
        }
        let mut roots: Vec<Node> = Vec::new();
        while !self.c.at_end() && self.errors.len() < MAX_ERRORS {
            let before = self.c.at;
            self.top(&mut roots);
            self.skip();
            if self.c.at == before {
                self.c.at += 1;
            }
        }
        self.join_roots(roots)
    }

    /// One thing at the top level: a description, a group that belongs to the one before, or junk.
    fn top(&mut self, roots: &mut Vec<Node>) {
        let start = self.c.at;
        match self.c.byte() {
            b'&' | b'|' | b'+' => {
                if let Some(node) = self.boolean() {
                    roots.push(node);
                }
            }
            b'(' => {
                if !matches!(roots.last(), Some(Node::Boolean(_))) {
                    let d = Diagnostic::reject("E04", Span::new(start, start + 1), "the '&' at the start is missing");
                    let fix = Fix::one("put & in front", Edit::insert(start, "&"));
                    self.report(d.help("a description has the form &(name=value)(name=value)").fix(fix));
                    let span = Span::at(start);
                    roots.push(Node::Boolean(Boolean { span, op: BoolOp::And, op_span: span, groups: Vec::new() }));
                }
                let group = self.group();
                if let (Some(Node::Boolean(b)), Some(group)) = (roots.last_mut(), group) {
                    b.span = b.span.to(group.span);
                    b.groups.push(group);
                }
            }
            b')' => {
                self.c.at += 1;
                let d = Diagnostic::reject("E01", Span::new(start, start + 1), "this ')' closes nothing");
                self.report(d.fix(Fix::one("remove it", Edit::replace(Span::new(start, start + 1), ""))));
            }
            _ => self.stray(roots),
        }
    }

    /// Something at the top level that is neither an operator nor a parenthesis.
    fn stray(&mut self, roots: &mut Vec<Node>) {
        let start = self.c.at;
        if let Some(d) = self.foreign_comment() {
            return self.report(d);
        }
        if self.name_before_operator(start).is_some() {
            match roots.last() {
                None => {}
                Some(Node::Relation(_)) => {
                    let d =
                        Diagnostic::reject("E04", Span::new(start, start + 1), "a second attribute needs parentheses");
                    self.report(d.help("several attributes have the form &(name=value)(name=value)"));
                }
                Some(Node::Boolean(_)) => {
                    let d = Diagnostic::reject("E01", Span::new(start, start + 1), "the '(' before this is missing");
                    self.report(d.fix(Fix::one("put ( in front", Edit::insert(start, "("))));
                }
            }
            let node = Node::Relation(self.relation());
            if self.c.byte() == b')' && !roots.is_empty() {
                self.c.at += 1;
            }
            let group = Group { span: Span::new(start, self.c.at), closed: false, node };
            match roots.pop() {
                None => roots.push(group.node),
                Some(Node::Boolean(mut b)) => {
                    b.groups.push(group);
                    roots.push(Node::Boolean(b));
                }
                Some(first) => {
                    let (span, at) = (first.span(), Span::at(first.span().start as usize));
                    let groups = vec![Group { span, closed: false, node: first }, group];
                    roots.push(Node::Boolean(Boolean { span, op: BoolOp::And, op_span: at, groups }));
                }
            }
            return;
        }
        let end = self.junk_end();
        let shown = self.text.get(start..end).unwrap_or_default().trim_end();
        let span = Span::new(start, start + shown.len());
        let d = if roots.is_empty() {
            Diagnostic::reject("E04", span, "a description starts with '&', '+' or an attribute's name")
        } else {
            Diagnostic::reject("E05", span, "this stands outside all parentheses")
        };
        self.c.at = end;
        self.report(d.help("each attribute has the form (name=value); comments are written (* … *)"));
    }

    /// The end of something that makes no sense here: the next thing that could start anew.
    fn junk_end(&self) -> usize {
        let rest = self.c.text.get(self.c.at..).unwrap_or_default();
        let len =
            rest.iter().skip(1).position(|b| matches!(b, b'(' | b')' | b'\n' | b'&')).map_or(rest.len(), |n| n + 1);
        let mut end = self.c.at + len;
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        end
    }

    /// A comment in the manner of another language, from here to the end of the line.
    fn foreign_comment(&mut self) -> Option<Diagnostic> {
        let start = self.c.at;
        let rest = self.c.text.get(start..).unwrap_or_default();
        let mark = [&b"//"[..], b"#", b"--", b";", b"%"].into_iter().find(|m| rest.starts_with(m))?;
        let end = self.line_end(start);
        let line = self.text.get(start..end)?;
        self.c.at = end;
        let shown = String::from_utf8_lossy(mark);
        if line.trim_end() == ";" {
            let span = Span::new(start, start + 1);
            let d = Diagnostic::reject("E00", span, "xRSL has no ';' between or behind attributes");
            return Some(d.fix(Fix::one("remove it", Edit::replace(span, ""))));
        }
        let d =
            Diagnostic::reject("E00", Span::new(start, end), format!("xRSL has no comments that start with {shown}"));
        let d = d.help("write (* … *)");
        let inner = line.get(mark.len()..).unwrap_or_default().trim();
        let safe = !inner.contains("*)") && !inner.contains("(*");
        Some(if safe {
            d.fix(Fix::one("write it as (* … *)", Edit::replace(Span::new(start, end), format!("(* {inner} *)"))))
        } else {
            d
        })
    }

    /// Several descriptions in a row are meant as several jobs.
    fn join_roots(&mut self, mut roots: Vec<Node>) -> Option<Node> {
        if roots.len() < 2 {
            return roots.pop();
        }
        let mut edits = Vec::new();
        for (i, root) in roots.iter().enumerate() {
            edits.push(Edit::insert(root.span().start as usize, if i == 0 { "+(" } else { "(" }));
            edits.push(Edit::insert(root.span().end as usize, ")"));
        }
        let second = roots[1].span();
        let d = Diagnostic::reject(
            "E05",
            Span::new(second.start as usize, second.start as usize + 1),
            "a second description starts here",
        );
        let d = d.help("several jobs in one file have the form +(&(…)(…))(&(…)(…))");
        let fix = Fix { title: "make them members of a '+'".to_owned(), edits };
        self.report(d.fix(fix));
        let span = roots[0].span().to(roots[roots.len() - 1].span());
        let groups = roots.into_iter().map(|node| Group { span: node.span(), closed: true, node }).collect();
        Some(Node::Boolean(Boolean { span, op: BoolOp::Multi, op_span: Span::at(span.start as usize), groups }))
    }

    fn boolean(&mut self) -> Option<Node> {
        let (op, op_span) = self.c.bool_op()?;
        let mut groups: Vec<Group> = Vec::new();
        loop {
            self.skip();
            if self.c.byte() == b'(' {
                groups.extend(self.group());
                continue;
            }
            // `+(& … & …)`: act's own form of several jobs is mended as a whole elsewhere; here it is explained.
            if groups.is_empty() && self.name_before_operator(self.c.at).is_none() {
                let d = Diagnostic::reject("E00", op_span, format!("nothing follows the '{}'", op.symbol()));
                self.report(d.help("it must be followed by (name=value)"));
            }
            let span = groups.last().map_or(op_span, |g| op_span.to(g.span));
            return Some(Node::Boolean(Boolean { span, op, op_span, groups }));
        }
    }

    /// `( … )` around a relation or a boolean; the cursor is on the `(`.
    fn group(&mut self) -> Option<Group> {
        let open = self.c.at;
        self.c.at += 1;
        if self.open.len() >= MAX_DEPTH {
            self.report(Diagnostic::reject("E00", Span::new(open, open + 1), "the parentheses are nested too deeply"));
            self.c.at = self.c.text.len();
            return None;
        }
        self.open.push(open);
        let depth = self.open.len();
        self.skip();
        let node = self.group_inside(open);
        self.skip();
        // A boolean may be followed by more of itself, or by another in act's form of several jobs.
        while matches!(node, Some(Node::Boolean(_))) && matches!(self.c.byte(), b'&' | b'|' | b'+') && !self.c.at_end()
        {
            let at = self.c.at;
            let d = Diagnostic::reject("E05", Span::new(at, at + 1), "')(' is missing before this");
            let d = d.help("several jobs have the form +(&(…)(…))(&(…)(…)), each in its own parentheses");
            self.report(d.fix(Fix::one("put each job into its own parentheses", Edit::insert(at, ")("))));
            self.boolean();
            self.skip();
        }
        let closed = self.c.byte() == b')' && !self.c.at_end();
        if closed {
            self.c.at += 1;
        } else if !self.c.at_end() && self.c.byte() != b'(' {
            let start = self.c.at;
            let end = self.junk_end();
            let d = Diagnostic::reject("E00", Span::new(start, end), "this makes no sense here; ')' is expected");
            self.c.at = end;
            self.report(d);
        } else {
            let unclosed = self.open.split_off(depth - 1);
            self.report_unclosed(&unclosed, node.as_ref());
        }
        self.open.truncate(depth - 1);
        Some(Group { span: Span::new(open, self.c.at), closed, node: node? })
    }

    fn group_inside(&mut self, open: usize) -> Option<Node> {
        match self.c.byte() {
            b'&' | b'|' | b'+' => self.boolean(),
            b')' if !self.c.at_end() => {
                let span = Span::new(open, self.c.at + 1);
                let d = Diagnostic::reject("E00", span, "there is nothing between the parentheses");
                self.report(d.fix(Fix::one("remove them", Edit::replace(span, ""))));
                None
            }
            b'(' => {
                let at = self.c.at;
                let d = Diagnostic::reject("E04", Span::at(at), "'&' is missing between the two '('");
                self.report(
                    d.help("or there is one '(' too many").fix(Fix::one("put & between", Edit::insert(at, "&"))),
                );
                let mut groups = Vec::new();
                while self.c.byte() == b'(' {
                    groups.extend(self.group());
                    self.skip();
                }
                let op_span = Span::at(at);
                Some(Node::Boolean(Boolean { span: Span::new(at, self.c.at), op: BoolOp::And, op_span, groups }))
            }
            _ => Some(Node::Relation(self.relation())),
        }
    }

    /// One report for all parentheses that end at the same place.
    fn report_unclosed(&mut self, unclosed: &[usize], node: Option<&Node>) {
        let Some(innermost) = unclosed.last() else { return };
        let count = unclosed.len();
        let end = node.map_or(innermost + 1, |n| n.span().end as usize);
        let message = match count {
            1 => "this '(' is never closed".to_owned(),
            _ => format!("this '(' and {} around it are never closed", count - 1),
        };
        let d = Diagnostic::reject("E01", Span::new(*innermost, innermost + 1), message);
        let d = if self.c.at_end() {
            d.help("the file ends before the ')'")
        } else {
            d.help("a ')' is missing before the next attribute")
        };
        self.report(d.fix(Fix::one("close it", Edit::insert(end, ")".repeat(count)))));
    }

    fn relation(&mut self) -> Relation {
        let start = self.c.at;
        let errors = self.errors.len();
        let name = self.attribute_name();
        self.skip();
        let (op, op_span) = self.operator(name);
        let values = self.list();
        let end = values.last().map_or(op_span.to(name.span), Value::span);
        let span = Span::at(start).to(name.span).to(end);
        Relation { span, name, op, op_span, values, damaged: self.errors.len() > errors }
    }

    fn attribute_name(&mut self) -> Str {
        let start = self.c.at;
        let nothing = Str { span: Span::at(start), quote: Quote::Bare, closed: true };
        if matches!(self.c.byte(), b'"' | b'\'' | b'^') {
            if let Some(Value::Str(name)) = self.quoted() {
                if has_forbidden(&name.value(self.c.text)) {
                    self.report(Diagnostic::reject("E00", name.span, "a name cannot hold such characters"));
                }
                return name;
            }
            return nothing;
        }
        match self.c.string() {
            Lexed::Str(name) => name,
            _ => {
                let d = Diagnostic::reject("E00", Span::new(start, start + 1), "an attribute's name is expected here");
                self.report(d.help("each pair of parentheses holds (name=value)"));
                if self.c.byte() == b'$' {
                    self.c.at += 1;
                }
                nothing
            }
        }
    }

    /// The operator of a relation, or a guess where it should be.
    fn operator(&mut self, name: Str) -> (RelOp, Span) {
        let at = self.c.at;
        if let Some((op, span)) = self.c.rel_op() {
            let doubled = match (op, self.c.byte()) {
                (RelOp::Eq, b'=') => Some("="),
                (RelOp::Eq, b'>') => Some(">="),
                (RelOp::Eq, b'<') => Some("<="),
                (RelOp::Eq, b'!') => Some("!="),
                _ => None,
            };
            if let Some(meant) = doubled.filter(|_| !self.c.at_end()) {
                self.c.at += 1;
                let span = Span::new(at, self.c.at);
                let written = self.text.get(span.range()).unwrap_or_default().to_owned();
                let d = Diagnostic::reject("E00", span, format!("'{written}' is no operator"));
                self.report(d.fix(Fix::one(format!("write {meant}"), Edit::replace(span, meant))));
            }
            return (op, span);
        }
        let shown = String::from_utf8_lossy(&name.value(self.c.text)).into_owned();
        let end = name.span.end as usize;
        if name.span.is_empty() {
            return (RelOp::Eq, Span::at(at));
        }
        let d = if name.quote == Quote::Bare && shown.ends_with(':') {
            let colon = Span::new(end - 1, end);
            let d = Diagnostic::reject("E00", colon, "'=' is expected instead of ':'");
            d.fix(Fix::one("write =", Edit::replace(colon, "=")))
        } else if self.c.at_end() || self.c.byte() == b')' || self.relation_starts(at) {
            let d = Diagnostic::reject("E00", name.span, format!("\"{shown}\" has neither '=' nor a value"));
            d.help("write (name=value)")
        } else {
            let d = Diagnostic::reject("E00", Span::new(at, at + 1), format!("'=' is expected behind \"{shown}\""));
            let next_is_value = self.c.string_starts() || self.c.byte() == b'(' || self.c.byte() == b'$';
            if next_is_value { d.fix(Fix::one("insert =", Edit::insert(end, "="))) } else { d }
        };
        self.report(d);
        if !self.c.at_end() && matches!(self.c.byte(), b'!' | b'+' | b'&' | b'|' | b'#') {
            self.c.at += 1;
        }
        (RelOp::Eq, Span::at(end))
    }
}
