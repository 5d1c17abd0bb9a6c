//! Lints that look at the text itself: commas, variables, quotes, comments.
//! They know no attribute.

use crate::attributes::attribute_named;
use crate::diagnostic::{Diagnostic, Edit, Fix};
use crate::parsed::Parsed;
use crate::span::Span;
use crate::syntax::cursor::{Cursor, Lexed, find};
use crate::syntax::{BoolOp, Node, Quote, Relation, Str, Value, normalise_name};

pub(super) fn lint(parsed: &Parsed, tree: &Node, out: &mut Vec<Diagnostic>) {
    let text = parsed.text();
    for undefined in parsed.undefined_variables() {
        let message = format!("the variable {} is not defined here, so it is empty", undefined.name);
        let d = Diagnostic::warning("W12", undefined.span, message);
        out.push(d.help("define it before, in rsl_substitution; upper and lower case matter"));
    }
    let mut walk = Walk { text, defined: Vec::new(), cursor: Cursor::new(text.as_bytes()), out };
    walk.definitions(tree);
    walk.node(tree, true);
}

struct Walk<'t, 'o> {
    text: &'t str,
    /// Names in `rsl_substitution`, wherever it stands.
    defined: Vec<String>,
    cursor: Cursor<'t>,
    out: &'o mut Vec<Diagnostic>,
}

impl Walk<'_, '_> {
    fn definitions(&mut self, node: &Node) {
        match node {
            Node::Boolean(b) => b.groups.iter().for_each(|g| self.definitions(&g.node)),
            Node::Relation(r) if normalise_name(&r.name.value(self.text.as_bytes())) == b"rslsubstitution" => {
                for value in &r.values {
                    if let Value::Sequence(s) = value
                        && let Some(Value::Str(name)) = s.values.first()
                    {
                        self.defined.push(String::from_utf8_lossy(&name.value(self.text.as_bytes())).into_owned());
                    }
                }
            }
            Node::Relation(_) => {}
        }
    }

    fn node(&mut self, node: &Node, top: bool) {
        match node {
            Node::Relation(r) => self.relation(r),
            Node::Boolean(b) => {
                match b.op {
                    BoolOp::Or => {
                        let d = Diagnostic::warning(
                            "W28",
                            b.op_span,
                            "only the first alternative of '|' is used by an aCT server",
                        );
                        self.out.push(d.help("ARC's own client would try the others too"));
                    }
                    BoolOp::Multi if top && b.groups.len() > 1 && !b.op_span.is_empty() => {
                        let message =
                            format!("this file describes {} jobs, each is submitted on its own", b.groups.len());
                        self.out.push(Diagnostic::hint("W28", b.op_span, message));
                    }
                    _ => {}
                }
                b.groups.iter().for_each(|g| self.node(&g.node, false));
            }
        }
    }

    fn relation(&mut self, r: &Relation) {
        if !r.damaged {
            r.values.iter().for_each(|v| self.value(v));
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Str(s) => self.string(*s),
            Value::Variable(_) => {}
            Value::Sequence(s) => s.values.iter().for_each(|v| self.value(v)),
            Value::Concat(c) => {
                self.backslash(&c.parts);
                c.parts.iter().for_each(|v| self.value(v));
            }
        }
    }

    /// `"a\"b\"c"` is three strings in a row for ARC.
    fn backslash(&mut self, parts: &[Value]) {
        for pair in parts.windows(2) {
            if let [Value::Str(a), Value::Str(b)] = pair
                && a.quote == Quote::Double
                && a.inner().of(self.text.as_bytes()).ends_with(b"\\")
                && b.span.start == a.span.end
                && b.quote == Quote::Bare
            {
                let at = a.span.end as usize;
                let d = Diagnostic::warning(
                    "W09",
                    Span::new(at - 2, at),
                    "a backslash does not escape a quote: the string ends here",
                );
                self.out.push(d.help("write \"\" for a \" inside a string"));
            }
        }
    }

    fn string(&mut self, s: Str) {
        let inner = s.inner();
        let content = inner.of(self.text.as_bytes());
        if s.quote == Quote::Bare {
            if content.ends_with(b",") {
                let comma = Span::new(s.span.end as usize - 1, s.span.end as usize);
                let d = Diagnostic::warning("W11", comma, "the comma becomes part of the value");
                self.out.push(
                    d.help("values are separated by blanks").fix(Fix::one("remove it", Edit::replace(comma, ""))),
                );
            }
            return;
        }
        if content.contains(&b'$') {
            self.variables_in_quotes(s, content);
        }
        if let Some(i) = find(content, b"(*", 0) {
            let at = inner.start as usize + i;
            if self.cursor.comment_at(at).is_some_and(|c| c.end > s.span.end) {
                let d = Diagnostic::warning(
                    "W07",
                    Span::new(at, at + 2),
                    "ARC takes this '(*' for the start of a comment, though it is quoted",
                );
                self.out.push(d.help("it does no harm as long as nothing is changed; \"(\"#\"*\" avoids it"));
            }
        }
        if content.contains(&b'\n') {
            self.swallowed_relation(s, content);
        }
    }

    fn swallowed_relation(&mut self, s: Str, content: &[u8]) {
        for line in content.split(|b| *b == b'\n').skip(1).take(64) {
            let Some(rest) = line.trim_ascii_start().strip_prefix(b"(") else { continue };
            let mut cursor = Cursor::plain(rest, 0);
            cursor.skip();
            let Lexed::Str(name) = cursor.string() else { continue };
            cursor.skip();
            let known = attribute_named(&normalise_name(&name.value(rest))).is_some();
            if known && cursor.rel_op().is_some() {
                let at = s.span.start as usize;
                let d = Diagnostic::warning(
                    "W02",
                    Span::new(at, at + 1),
                    "this string goes on over what looks like another attribute",
                );
                return self.out.push(d.help("a closing quote is probably missing on its first line"));
            }
        }
    }

    /// `$(X)` or `${X}` in quotes stays as it is.
    fn variables_in_quotes(&mut self, s: Str, content: &[u8]) {
        let base = s.inner().start as usize;
        let mut from = 0;
        while let Some(i) = content.get(from..).and_then(|c| c.iter().position(|b| *b == b'$')) {
            let at = from + i;
            from = at + 1;
            let close = match content.get(at + 1) {
                Some(b'(') => b')',
                Some(b'{') => b'}',
                _ => continue,
            };
            let Some(len) = content[at..].iter().take(80).position(|b| *b == close) else { continue };
            let name = String::from_utf8_lossy(&content[at + 2..at + len]).into_owned();
            let span = Span::new(base + at, base + at + len + 1);
            if close == b')' && self.defined.contains(&name) {
                let quote = match s.quote {
                    Quote::Double => "\"",
                    Quote::Single => "'",
                    _ => continue,
                };
                let d = Diagnostic::warning("W13", span, format!("$({name}) is not replaced inside quotes"));
                let fix =
                    Fix::one("take it out of the quotes", Edit::replace(span, format!("{quote}$({name}){quote}")));
                self.out.push(d.help("close the quotes before it and open them again behind it").fix(fix));
            } else {
                let message = "variables in quotes are passed on as they are; ARC replaces none";
                self.out.push(Diagnostic::hint("I13", span, message));
            }
        }
    }
}
