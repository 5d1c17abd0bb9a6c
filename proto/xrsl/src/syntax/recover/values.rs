//! Value lists of a broken text: words with special characters, variables, lists that never end.
//! Strings in quotes are next door.

use super::{MAX_DEPTH, Recover};
use crate::attributes::attribute_named;
use crate::diagnostic::{Diagnostic, Edit, Fix};
use crate::print::quote;
use crate::span::Span;
use crate::syntax::cursor::{Lexed, is_blank};
use crate::syntax::strict::glue;
use crate::syntax::{Quote, Sequence, Str, Value, Variable, normalise_name};

/// A word with special characters is not followed further.
const LONGEST_WORD: usize = 1024;

impl Recover<'_> {
    /// Values up to `)`, the end, or the start of another relation.
    pub(super) fn list(&mut self) -> Vec<Value> {
        let mut values: Vec<Value> = Vec::new();
        let mut open = false;
        loop {
            if self.skip() {
                open = false;
            }
            let at = self.c.at;
            if self.c.at_end() || self.c.byte() == b')' || self.relation_starts(at) || self.another_job_starts() {
                return values;
            }
            if self.open.is_empty()
                && !values.is_empty()
                && self.starts_line(at)
                && self.name_before_operator(at).is_some()
            {
                // A description without parentheses goes on; the top level explains.
                return values;
            }
            let mut explicit = None;
            if self.c.byte() == b'#' {
                if (values.is_empty() || self.starts_line(at))
                    && let Some(d) = self.foreign_comment()
                {
                    self.report(d);
                    continue;
                }
                self.c.at += 1;
                self.skip();
                explicit = Some(Span::new(at, at + 1));
            }
            let before = self.c.at;
            let value = self.item(if open { values.last() } else { None });
            if self.c.at == before && value.is_none() {
                if explicit.is_none() {
                    self.c.at += 1;
                } else if !self.c.at_end() && self.c.byte() != b')' {
                    continue;
                }
            }
            match (explicit, value, values.last_mut()) {
                (Some(hash), None, _) => self.hash_without(hash, "right"),
                (Some(hash), Some(value), None) => {
                    self.hash_without(hash, "left");
                    values.push(value);
                }
                (Some(_), Some(value), Some(left)) => glue(left, value),
                (None, Some(value), last) => {
                    let joins = !matches!(value, Value::Sequence(_));
                    match last {
                        Some(left) if open => glue(left, value),
                        _ => values.push(value),
                    }
                    open = joins;
                    continue;
                }
                (None, None, _) => {}
            }
            open = matches!(values.last(), Some(Value::Str(_) | Value::Variable(_) | Value::Concat(_)));
        }
    }

    fn hash_without(&mut self, hash: Span, side: &str) {
        let d = Diagnostic::reject("E00", hash, format!("'#' joins two values but has nothing on its {side}"));
        self.report(d.help("quote a '#' that is meant as a character; comments are written (* … *)"));
    }

    /// `&(` inside a list: the description before it has no end.
    fn another_job_starts(&mut self) -> bool {
        if !matches!(self.c.byte(), b'&' | b'|' | b'+') || self.c.at_end() {
            return false;
        }
        let blanks = self.c.text[self.c.at + 1..].iter().take_while(|b| is_blank(**b)).count();
        self.relation_starts(self.c.at + 1 + blanks)
    }

    /// One value; `left` is the one it stands right next to. None if there was none (something may have been reported).
    fn item(&mut self, left: Option<&Value>) -> Option<Value> {
        let start = self.c.at;
        match self.c.byte() {
            _ if self.c.at_end() => None,
            b'(' => self.sequence(),
            b'$' => self.variable(left),
            b'"' | b'\'' | b'^' => {
                if let Some(d) = self.lost_opening_quote(left) {
                    self.report(d);
                    return None;
                }
                self.quoted()
            }
            b'=' | b'+' | b'&' | b'|' | b'!' | b'<' | b'>' => {
                self.broken_word(left);
                None
            }
            _ => match self.c.string() {
                Lexed::Str(s) => Some(Value::Str(s)),
                _ => {
                    self.c.at = start;
                    None
                }
            },
        }
    }

    fn sequence(&mut self) -> Option<Value> {
        let start = self.c.at;
        self.c.at += 1;
        if self.open.len() >= MAX_DEPTH {
            self.report(Diagnostic::reject(
                "E00",
                Span::new(start, start + 1),
                "the parentheses are nested too deeply",
            ));
            self.c.at = self.c.text.len();
            return None;
        }
        self.open.push(start);
        let values = self.list();
        let closed = self.c.byte() == b')' && !self.c.at_end();
        if closed {
            self.c.at += 1;
            self.open.pop();
        }
        // Without its `)` it stays in `open`, and the relation around it reports both.
        let end = if closed { self.c.at } else { values.last().map_or(start + 1, |v| v.span().end as usize) };
        Some(Value::Sequence(Sequence { span: Span::new(start, end), values, closed }))
    }

    fn variable(&mut self, left: Option<&Value>) -> Option<Value> {
        let start = self.c.at;
        self.c.at += 1;
        self.skip();
        if self.c.byte() != b'(' {
            self.c.at = start;
            self.broken_word(left);
            return None;
        }
        self.c.at += 1;
        self.skip();
        let Lexed::Str(name) = self.c.string() else {
            let d = Diagnostic::reject("E00", Span::new(start, self.c.at), "a variable's name is expected behind '$('");
            self.report(d.help("variables are written $(NAME)"));
            self.c.at += usize::from(self.c.byte() == b')');
            return None;
        };
        self.skip();
        if self.c.byte() == b')' && !self.c.at_end() {
            self.c.at += 1;
            return Some(Value::Variable(Variable { span: Span::new(start, self.c.at), name }));
        }
        let line = self.line_end(start);
        let close = self.c.text.get(self.c.at..line).unwrap_or_default().iter().position(|b| *b == b')');
        let d = Diagnostic::reject(
            "E00",
            Span::new(start, self.c.at),
            "a variable is written $(NAME), with nothing behind the name",
        );
        self.c.at = close.map_or(line.max(self.c.at), |n| self.c.at + n + 1);
        self.report(d.help("xRSL has no default values: define it in rsl_substitution"));
        None
    }

    /// A word with a character that ends bare words. It goes up to the next blank or closing parenthesis.
    fn broken_word(&mut self, left: Option<&Value>) {
        let stopped = self.c.at;
        let bare_left = match left {
            Some(Value::Str(Str { span, quote: Quote::Bare, .. })) => Some(*span),
            Some(Value::Concat(c)) => Some(c.span),
            _ => None,
        };
        let start = bare_left.filter(|s| s.end as usize == stopped).map_or(stopped, |s| s.start as usize);
        let end = self.word_end(stopped);
        let character = char::from(self.c.byte_at(stopped));
        let word = self.text.get(start..end).unwrap_or_default();
        if start < stopped && self.next_relation_glued(start, stopped) {
            return;
        }
        let span = Span::new(start, end);
        let lone = word.len() == 1;
        let shown = if word.chars().count() > 60 { "this value" } else { word };
        let message = match character {
            '$' => format!("'$' starts a variable, written $(NAME), so {shown} must be quoted if it is plain text"),
            _ if lone => format!("a lone '{character}' must be quoted"),
            _ => format!("{shown} contains '{character}' and must be quoted"),
        };
        let d = Diagnostic::reject("E03", span, message);
        let d = if word.contains(['"', '\'', '^']) || word.is_empty() {
            d.help("put the whole value into one pair of double quotes; a '\"' inside is doubled")
        } else {
            d.fix(Fix::one("quote it", Edit::replace(span, quote(word))))
        };
        self.c.at = end;
        self.report(d);
    }

    /// `(executable=x stdout=y)`: the word in front of the `=` is an attribute's name.
    fn next_relation_glued(&mut self, start: usize, stopped: usize) -> bool {
        let name = &self.c.text[start..stopped];
        if self.open.is_empty() || attribute_named(&normalise_name(name)).is_none() || self.c.rel_op().is_none() {
            return false;
        }
        let d = Diagnostic::reject("E01", Span::new(start, stopped), "')(' is missing before this attribute");
        self.report(d.fix(Fix::one("put it into its own parentheses", Edit::insert(start, ")("))));
        true
    }

    /// Where a word with special characters ends. Quotes and balanced parentheses belong to it.
    fn word_end(&mut self, from: usize) -> usize {
        let mut at = from + 1;
        let mut depth = 0_usize;
        let mut in_quote = None;
        let line = self.line_end(from).min(from + LONGEST_WORD);
        while at < line {
            let b = self.c.byte_at(at);
            match (in_quote, b) {
                (Some(q), _) if q == b => in_quote = None,
                (Some(_), _) => {}
                (None, b'"' | b'\'') => in_quote = Some(b),
                (None, b'(') if self.relation_starts(at) => break,
                (None, b'(') => depth += 1,
                (None, b')') if depth == 0 => break,
                (None, b')') => depth -= 1,
                (None, _) if is_blank(b) => break,
                _ => {}
            }
            at += 1;
        }
        if in_quote.is_some() || depth > 0 {
            // What looked like part of the word is not closed on this line: stop at the first doubtful character.
            at = from + 1;
            while at < line
                && !is_blank(self.c.byte_at(at))
                && !matches!(self.c.byte_at(at), b'"' | b'\'' | b'(' | b')')
            {
                at += 1;
            }
        }
        while !self.text.is_char_boundary(at) {
            at += 1;
        }
        at.max(from + 1).min(self.c.text.len())
    }
}
