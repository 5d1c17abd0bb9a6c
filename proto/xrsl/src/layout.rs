//! Lays a description out: one attribute to a line, lists of files one member to a line, comments kept. Only white space
//! between tokens changes; every string, name and comment stays as the user wrote it.

use crate::parsed::{Parsed, parse};
use crate::span::Span;
use crate::syntax::cursor::Cursor;
use crate::syntax::{Boolean, Group, Node, Relation, Sequence, Value};

/// Where a line of values is broken.
const WIDTH: usize = 100;

/// Parentheses deeper than this are left as they are: every level moves to the right.
const MAX_DEPTH: usize = 40;

/// The text in canonical layout, with a newline at its end. None if ARC refuses the description, or if a layout with the
/// same meaning cannot be found (a description nested absurdly deep).
#[must_use]
pub fn layout(parsed: &Parsed) -> Option<String> {
    let root = parsed.tree().filter(|_| parsed.accepted())?;
    let text = parsed.text();
    if depth(root) > MAX_DEPTH {
        return None;
    }
    let mut printer = Printer { text, cursor: Cursor::new(text.as_bytes()), out: String::new(), last: 0 };
    printer.gap(root.span().start as usize, 0, "", true);
    printer.node(root, 0);
    printer.gap(text.len(), 0, "", false);
    let mut out = printer.out;
    out.truncate(out.trim_end().len());
    out.push('\n');
    // Belt and braces: the same jobs, or no layout at all.
    let again = parse(&out);
    let same = again.jobs().len() == parsed.jobs().len()
        && again.jobs().iter().zip(parsed.jobs()).all(|(a, b)| a.canonical() == b.canonical());
    same.then_some(out)
}

fn depth(node: &Node) -> usize {
    match node {
        Node::Relation(_) => 1,
        Node::Boolean(b) => 1 + b.groups.iter().map(|g| depth(&g.node)).max().unwrap_or(0),
    }
}

struct Printer<'t> {
    text: &'t str,
    cursor: Cursor<'t>,
    out: String,
    /// Where in the text the last printed token ended.
    last: usize,
}

impl Printer<'_> {
    /// The column that the next character gets.
    fn column(&self) -> usize {
        self.out.rsplit('\n').next().unwrap_or_default().chars().count()
    }

    fn new_line(&mut self, column: usize) {
        let kept = self.out.trim_end_matches([' ', '\t']).len();
        self.out.truncate(kept);
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(' ', column));
    }

    /// Prints the comments up to `to` and then what separates: nothing, a blank, or a new line at `column`.
    /// A comment on a line of its own stays so; one behind something stays behind it.
    fn gap(&mut self, to: usize, column: usize, separator: &str, start_of_file: bool) {
        let mut at = self.last;
        let mut any = false;
        let mut own_line = false;
        while at < to {
            let Some(comment) = self.cursor.comment_at(at) else {
                at += 1;
                continue;
            };
            let before = self.text.get(self.last..comment.start as usize).unwrap_or_default();
            own_line = before.contains('\n') || (start_of_file && self.out.is_empty());
            if own_line && !self.out.is_empty() {
                self.new_line(column);
            } else if !own_line && !self.out.ends_with([' ', '\n']) && !self.out.is_empty() {
                self.out.push(' ');
            }
            self.out.push_str(self.text.get(comment.range()).unwrap_or_default());
            at = comment.end as usize;
            self.last = at;
            any = true;
        }
        let newline_follows = self.text.get(self.last..to).unwrap_or_default().contains('\n');
        match separator {
            "\n" => self.new_line(column),
            _ if any && (own_line || newline_follows) => self.new_line(column),
            _ if any => self.out.push(' '),
            _ => self.out.push_str(separator),
        }
        self.last = to;
    }

    /// Prints the text of a token as it is.
    fn token(&mut self, span: Span) {
        self.out.push_str(self.text.get(span.range()).unwrap_or_default());
        self.last = span.end as usize;
    }

    fn node(&mut self, node: &Node, column: usize) {
        match node {
            Node::Boolean(b) => self.boolean(b, column),
            Node::Relation(r) => self.relation(r),
        }
    }

    fn boolean(&mut self, b: &Boolean, column: usize) {
        self.token(b.op_span);
        for (i, group) in b.groups.iter().enumerate() {
            self.gap(group.span.start as usize, column + 1, if i == 0 { "" } else { "\n" }, false);
            self.group(group);
        }
    }

    fn group(&mut self, group: &Group) {
        let column = self.column() + 1;
        self.token(Span { start: group.span.start, end: group.span.start + 1 });
        self.gap(group.node.span().start as usize, column, "", false);
        self.node(&group.node, column);
        self.close(group.span, column);
    }

    fn close(&mut self, span: Span, column: usize) {
        let close = Span { start: span.end - 1, end: span.end };
        self.gap(close.start as usize, column, "", false);
        self.token(close);
    }

    fn relation(&mut self, r: &Relation) {
        let column = self.column();
        self.token(r.name.span);
        self.gap(r.op_span.start as usize, column, "", false);
        self.token(r.op_span);
        let values = self.column();
        self.values(&r.values, values, true);
    }

    /// Values at `column`: lists below each other where several stand in a relation, strings in a row.
    fn values(&mut self, values: &[Value], column: usize, top: bool) {
        let lists = top && values.len() > 1 && values.iter().all(|v| matches!(v, Value::Sequence(_)));
        for (i, value) in values.iter().enumerate() {
            let width = self.text.get(value.span().range()).map_or(0, |s| s.chars().count());
            let full = self.column() + 1 + width > WIDTH && self.column() > column;
            let separator = match i {
                0 => "",
                _ if lists || full => "\n",
                _ => " ",
            };
            self.gap(value.span().start as usize, column, separator, false);
            match value {
                Value::Sequence(s) => self.sequence(s),
                _ => self.token(value.span()),
            }
        }
    }

    fn sequence(&mut self, s: &Sequence) {
        let column = self.column() + 1;
        self.token(Span { start: s.span.start, end: s.span.start + 1 });
        self.values(&s.values, column, false);
        self.close(s.span, column);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_attribute_to_a_line_and_comments_kept() {
        let text = "(* top *)\n&  ( executable = run.sh ) (* why *)(arguments= \"a\"   b $(X)#c)\n\n(* own *)\n(inputfiles=(a \"\")\n(\
                    b   \"\") (* last *) ) (|(queue=a)(&(queue=b)(memory=5)))(* end *)";
        let want = "(* top *)\n&(executable=run.sh) (* why *)\n (arguments=\"a\" b $(X)#c)\n (* own *)\n (inputfiles=(a \"\")\n             \
                    (b \"\") (* last *) )\n (|(queue=a)\n   (&(queue=b)\n     (memory=5))) (* end *)\n";
        let got = layout(&parse(text)).unwrap_or_default();
        assert_eq!(got, want);
        assert_eq!(layout(&parse(&got)).as_deref(), Some(want));
        assert_eq!(layout(&parse("executable =  /a")).as_deref(), Some("executable=/a\n"));
        assert_eq!(layout(&parse("&(a")), None);
    }

    #[test]
    fn long_lines_are_broken_between_values() {
        let text = format!("&(executable=/a)(arguments={})", "\"0123456789\" ".repeat(30));
        let got = layout(&parse(&text)).unwrap_or_default();
        assert!(got.lines().count() > 3 && got.lines().all(|l| l.len() <= WIDTH + 2), "{got}");
        assert_eq!(layout(&parse(&got)), Some(got.clone()));
    }
}
