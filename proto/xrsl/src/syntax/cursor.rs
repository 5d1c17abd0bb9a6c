//! Moving over the bytes of a description: blanks, comments, strings. Shared by the strict and the recovering parser.
//! Must not report anything.

use super::{BoolOp, Quote, RelOp, Str};
use crate::span::Span;

/// Bytes that end a bare word.
pub(crate) fn is_terminator(b: u8) -> bool {
    matches!(b, b'+' | b'&' | b'|' | b'(' | b')' | b'=' | b'<' | b'>' | b'!' | b'"' | b'\'' | b'^' | b'#' | b'$')
        || is_blank(b)
}

/// The white space of the language: ASCII only.
pub(crate) fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | 0x0B | 0x0C | b'\r')
}

/// Whether a name (of an attribute or a variable) holds a byte that ARC forbids there, whatever its quotes.
pub(crate) fn has_forbidden(name: &[u8]) -> bool {
    name.iter().any(|b| is_terminator(*b) && !is_blank(*b))
}

/// Finds `needle` at or after `from`.
pub(crate) fn find(text: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let first = *needle.first()?;
    let mut at = 0;
    while let Some(i) = rest.get(at..)?.iter().position(|b| *b == first) {
        if rest[at + i..].starts_with(needle) {
            return Some(from + at + i);
        }
        at += i + 1;
    }
    None
}

/// What a string was, at a position where one may start.
pub(crate) enum Lexed {
    /// A string; the cursor stands behind it.
    Str(Str),
    /// Nothing that can start a string; the cursor has not moved.
    None,
    /// A quote without an end; the cursor has not moved.
    Unclosed(Quote),
}

/// A position in a text, and the comments found by ARC's scan, which does not look at quotes.
pub(crate) struct Cursor<'t> {
    pub(crate) text: &'t [u8],
    pub(crate) at: usize,
    comments: Vec<Span>,
    /// Where a `(*` without a `*)` stands.
    pub(crate) open_comment: Option<usize>,
}

impl<'t> Cursor<'t> {
    pub(crate) fn new(text: &'t [u8]) -> Self {
        let mut cursor = Self { text, at: 0, comments: Vec::new(), open_comment: None };
        let mut from = 0;
        while let Some(open) = find(text, b"(*", from) {
            // ARC looks for the end from the opening itself, so `(*)` is a whole comment.
            let Some(close) = find(text, b"*)", open) else {
                cursor.open_comment = Some(open);
                break;
            };
            cursor.comments.push(Span::new(open, close + 2));
            from = close + 2;
        }
        cursor
    }

    /// A cursor that knows no comments, for looking ahead within one piece of text.
    pub(crate) fn plain(text: &'t [u8], at: usize) -> Self {
        Self { text, at, comments: Vec::new(), open_comment: None }
    }

    /// The byte here, 0 at the end. (ARC reads a 0 there too.)
    pub(crate) fn byte(&self) -> u8 {
        self.byte_at(self.at)
    }

    pub(crate) fn byte_at(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    pub(crate) fn at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    /// The comment that ARC's scan found at `at`, be it in quotes or not.
    pub(crate) fn comment_at(&self, at: usize) -> Option<Span> {
        if self.byte_at(at) != b'(' || self.byte_at(at + 1) != b'*' {
            return None;
        }
        let i = self.comments.binary_search_by_key(&at, |c| c.start as usize).ok()?;
        self.comments.get(i).copied()
    }

    /// Whether a string of any form may start here.
    pub(crate) fn string_starts(&self) -> bool {
        !self.at_end() && (matches!(self.byte(), b'"' | b'\'' | b'^') || !is_terminator(self.byte()))
    }

    /// Skips blanks and comments; true if the cursor moved.
    pub(crate) fn skip(&mut self) -> bool {
        let start = self.at;
        loop {
            while !self.at_end() && is_blank(self.byte()) {
                self.at += 1;
            }
            match self.comment_at(self.at) {
                Some(comment) => self.at = comment.end as usize,
                None => return self.at != start,
            }
        }
    }

    /// Takes `&`, `|` or `+`.
    pub(crate) fn bool_op(&mut self) -> Option<(BoolOp, Span)> {
        let op = match self.byte() {
            b'+' => BoolOp::Multi,
            b'&' => BoolOp::And,
            b'|' => BoolOp::Or,
            _ => return None,
        };
        self.at += 1;
        Some((op, Span::new(self.at - 1, self.at)))
    }

    /// Takes the operator of a relation.
    pub(crate) fn rel_op(&mut self) -> Option<(RelOp, Span)> {
        let start = self.at;
        let second = self.byte_at(start + 1) == b'=';
        let (op, len) = match (self.byte(), second) {
            (b'=', _) => (RelOp::Eq, 1),
            (b'!', true) => (RelOp::Ne, 2),
            (b'<', true) => (RelOp::Le, 2),
            (b'<', false) => (RelOp::Lt, 1),
            (b'>', true) => (RelOp::Ge, 2),
            (b'>', false) => (RelOp::Gt, 1),
            _ => return None,
        };
        self.at += len;
        Some((op, Span::new(start, self.at)))
    }

    /// Takes a string of any form.
    pub(crate) fn string(&mut self) -> Lexed {
        let start = self.at;
        let (quote, delimiter, open) = match self.byte() {
            b'"' => (Quote::Double, b'"', start),
            b'\'' => (Quote::Single, b'\'', start),
            b'^' => (Quote::User, self.byte_at(start + 1), start + 1),
            _ => return self.bare(),
        };
        let mut from = open + 1;
        loop {
            let Some(i) = self.text.get(from..).and_then(|r| r.iter().position(|b| *b == delimiter)) else {
                return Lexed::Unclosed(quote);
            };
            let close = from + i;
            // A NUL as `^` delimiter meets ARC's terminating NUL at the end of the text, which counts as doubled.
            let doubled = self.byte_at(close + 1) == delimiter;
            if !doubled {
                self.at = close + 1;
                return Lexed::Str(Str { span: Span::new(start, self.at), quote, closed: true });
            }
            from = close + 2;
        }
    }

    fn bare(&mut self) -> Lexed {
        let start = self.at;
        while !self.at_end() && !is_terminator(self.byte()) {
            self.at += 1;
        }
        if self.at == start {
            return Lexed::None;
        }
        Lexed::Str(Str { span: Span::new(start, self.at), quote: Quote::Bare, closed: true })
    }
}
