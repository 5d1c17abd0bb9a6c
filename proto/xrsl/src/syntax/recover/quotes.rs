//! Strings in quotes of a broken text: where one without an end was meant to end, backslashes, quotes without a start.

use super::Recover;
use crate::diagnostic::{Diagnostic, Edit, Fix};
use crate::span::Span;
use crate::syntax::cursor::{Lexed, is_blank};
use crate::syntax::{Quote, Str, Value};

/// How far a heuristic looks ahead.
const LOOK_AHEAD: usize = 1024;

impl Recover<'_> {
    /// A string in quotes; the cursor is on its first character.
    pub(super) fn quoted(&mut self) -> Option<Value> {
        let start = self.c.at;
        let delimiter = match self.c.byte() {
            b'^' => return self.user_delimited(start),
            b => b,
        };
        if delimiter == b'"'
            && let Some(value) = self.backslash_escapes(start)
        {
            return Some(value);
        }
        let exists = self.last[usize::from(delimiter)] > start + 1;
        let lexed = if exists { self.c.string() } else { Lexed::None };
        if let Lexed::Str(s) = lexed {
            if let Some(end) = self.swallowed_end(s.inner()) {
                return Some(self.unclosed(start, end, delimiter));
            }
            self.comment_in_quotes(s);
            return Some(Value::Str(s));
        }
        let end = self.cut_closers(start + 1, self.line_end(start).max(start + 1));
        Some(self.unclosed(start, end, delimiter))
    }

    /// Reports a quote without an end, taking `end` for what was meant.
    fn unclosed(&mut self, start: usize, end: usize, delimiter: u8) -> Value {
        let quote = if delimiter == b'"' { Quote::Double } else { Quote::Single };
        let mark = char::from(delimiter);
        let d = Diagnostic::reject("E02", Span::new(start, start + 1), format!("this {mark} is never closed"));
        let line = self.line_at(start) + 1;
        let d = d.help(format!("the closing {mark} is probably missing on line {line}"));
        self.c.at = end;
        self.report(d.fix(Fix::one("close it", Edit::insert(end, mark.to_string()))));
        Value::Str(Str { span: Span::new(start, end), quote, closed: false })
    }

    fn user_delimited(&mut self, start: usize) -> Option<Value> {
        let delimiter = self.c.byte_at(start + 1);
        if self.last[usize::from(delimiter)] > start + 2
            && let Lexed::Str(s) = self.c.string()
        {
            return Some(Value::Str(s));
        }
        let end = self.cut_closers(start + 1, self.line_end(start).max(start + 1));
        let shown = char::from(delimiter).escape_debug();
        let message = format!("'^' starts a string that ends at the next '{shown}', which never comes");
        let d = Diagnostic::reject("E08", Span::new(start, start + 1), message);
        self.c.at = end;
        self.report(d.help("quote a '^' that is meant as a character; ARC 6 crashes on this"));
        Some(Value::Str(Str { span: Span::new(start, end), quote: Quote::User, closed: false }))
    }

    /// The end that was meant, if the string swallowed the start of another relation.
    fn swallowed_end(&mut self, inner: Span) -> Option<usize> {
        let range = inner.range();
        let mut at = range.start;
        let mut looked = 0;
        while let Some(i) = self.c.text.get(at..range.end)?.iter().position(|b| *b == b'(') {
            let paren = at + i;
            looked += 1;
            if looked > 64 {
                return None;
            }
            // Either `)(name=` or `(name=` at the start of a line.
            let before = self.c.text.get(range.start..paren)?.trim_ascii_end();
            let closes = before.last() == Some(&b')');
            if (closes || self.starts_line(paren)) && self.relation_starts(paren) {
                return Some(self.cut_closers(range.start, range.start + before.len()));
            }
            at = paren + 1;
        }
        self.swallowed_member(inner)
    }

    /// `("a" "b) ("c" "d")`: on a line with an odd number of quotes, a string like `) (` is the gap between two.
    fn swallowed_member(&self, inner: Span) -> Option<usize> {
        let content = inner.of(self.c.text);
        let closes = content.iter().position(|b| *b == b')')?;
        let rest = content[closes..].iter().filter(|b| !is_blank(**b));
        let only_parentheses = rest.clone().all(|b| matches!(b, b'(' | b')')) && rest.count() >= 2;
        let end = self.line_end(inner.start as usize).min(inner.start as usize + LOOK_AHEAD);
        let quotes = self.c.text.get(inner.end as usize + 1..end)?.iter().filter(|b| **b == b'"').count();
        (only_parentheses && content.ends_with(b"(") && quotes % 2 == 1).then_some(inner.start as usize + closes)
    }

    /// `end`, with as many `)` taken off as are waiting to be closed.
    fn cut_closers(&self, start: usize, end: usize) -> usize {
        let mut end = end;
        let mut left = self.open.len();
        while left > 0 && end > start && matches!(self.c.byte_at(end - 1), b')' | b' ' | b'\t' | b'\r') {
            left -= usize::from(self.c.byte_at(end - 1) == b')');
            end -= 1;
        }
        end
    }

    /// `"a\"b"`: a string whose quotes are escaped as in other languages.
    fn backslash_escapes(&mut self, start: usize) -> Option<Value> {
        let line = self.line_end(start).min(start + LOOK_AHEAD);
        let quotes: Vec<usize> = (start + 1..line).filter(|i| self.c.byte_at(*i) == b'"').collect();
        let escaped = |at: usize| at > start + 1 && self.c.byte_at(at - 1) == b'\\';
        // Quotes without a backslash that are still to come: an odd number closes one string more than it opens.
        let mut plain = quotes.iter().filter(|at| !escaped(**at)).count();
        let mut escapes = Vec::new();
        let mut close = None;
        let mut at = 0;
        while let Some(mark) = quotes.get(at).copied() {
            at += 1;
            plain -= usize::from(!escaped(mark));
            if escaped(mark) && plain % 2 == 1 {
                escapes.push(mark - 1);
            } else if quotes.get(at) == Some(&(mark + 1)) {
                plain -= usize::from(!escaped(mark + 1));
                at += 1;
            } else {
                close = Some(mark);
                break;
            }
        }
        let close = close?;
        let first = *escapes.first()?;
        let d = Diagnostic::reject("E09", Span::new(first, first + 2), "a backslash does not escape a quote in xRSL");
        let edits = escapes.iter().map(|e| Edit::replace(Span::new(*e, e + 2), "\"\"")).collect();
        let fix = Fix { title: "double the quotes instead".to_owned(), edits };
        self.c.at = close + 1;
        self.report(d.help("write \"\" for a \" inside a string").fix(fix));
        Some(Value::Str(Str { span: Span::new(start, close + 1), quote: Quote::Double, closed: true }))
    }

    /// `out.txt")(stderr="`: a quote right behind a bare word, whose string would swallow the next relation.
    pub(super) fn lost_opening_quote(&mut self, left: Option<&Value>) -> Option<Diagnostic> {
        let Some(Value::Str(Str { span, quote: Quote::Bare, .. })) = left else { return None };
        let at = self.c.at;
        if span.end as usize != at || self.c.byte() == b'^' {
            return None;
        }
        let rest = self.c.text.get(at + 1..)?;
        let blanks = rest.iter().take_while(|b| is_blank(**b) || **b == b')').count();
        let next = at + 1 + blanks;
        if !rest[..blanks].contains(&b')') || !(self.relation_starts(next) || next >= self.c.text.len()) {
            return None;
        }
        let mark = char::from(self.c.byte());
        self.c.at += 1;
        let d = Diagnostic::reject("E02", Span::new(at, at + 1), format!("this {mark} has no beginning"));
        Some(
            d.help(format!("the opening {mark} is missing"))
                .fix(Fix::one("open it", Edit::insert(span.start as usize, mark.to_string()))),
        )
    }

    /// A `(*` in quotes that ARC's comment scan, blind to quotes, takes for the start of a comment.
    fn comment_in_quotes(&mut self, s: Str) {
        let inner = s.inner();
        let Some(i) = super::super::cursor::find(inner.of(self.c.text), b"(*", 0) else { return };
        let at = inner.start as usize + i;
        let stolen = self.c.comment_at(at).is_some_and(|c| c.end > s.span.end);
        if self.c.open_comment != Some(at) && !stolen {
            return;
        }
        let d = Diagnostic::reject(
            "E07",
            Span::new(at, at + 2),
            "ARC takes this '(*' for the start of a comment, though it is quoted",
        );
        let d = d.help("split it so that '(' and '*' are not neighbours: \"(\"#\"*\"");
        let d = match s.quote {
            Quote::Double => d.fix(Fix::one("split the string", Edit::insert(at + 1, "\"#\""))),
            Quote::Single => d.fix(Fix::one("split the string", Edit::insert(at + 1, "'#'"))),
            _ => d,
        };
        self.report(d);
    }
}
