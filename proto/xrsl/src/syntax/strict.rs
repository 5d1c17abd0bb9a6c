//! The judge: accepts exactly the texts that ARC's RSL parser accepts, and stops at the first error as ARC does.
//! Helpful messages are the recovering parser's work; this one only says yes or no.

use super::cursor::{Cursor, Lexed, has_forbidden};
use super::{Boolean, Concat, Group, Node, Quote, Relation, Sequence, Str, Value, Variable};
use crate::span::Span;

/// Nesting of parentheses that is still read. ARC has no limit but its stack; nobody writes more than a handful.
pub(crate) const MAX_DEPTH: usize = 1024;

/// Why a text is not a description, and where ARC would say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

/// Reads a whole document.
pub(crate) fn parse(text: &[u8]) -> Result<Node, Refusal> {
    let mut parser = Parser { cursor: Cursor::new(text), depth: 0 };
    if let Some(at) = parser.cursor.open_comment {
        return Err(Refusal { at, what: "the comment that starts here is never closed" });
    }
    let node = parser.node()?;
    parser.cursor.skip();
    if !parser.cursor.at_end() {
        return parser.refuse("there is something after the end of the description");
    }
    Ok(node)
}

struct Parser<'t> {
    cursor: Cursor<'t>,
    depth: usize,
}

impl Parser<'_> {
    fn refuse<T>(&self, what: &'static str) -> Result<T, Refusal> {
        Err(Refusal { at: self.cursor.at, what })
    }

    fn enter(&mut self) -> Result<(), Refusal> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { self.refuse("the parentheses are nested too deeply") } else { Ok(()) }
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Refusal> {
        // The end of the text is no byte, whatever `byte()` says there.
        if self.cursor.at_end() || self.cursor.byte() != byte {
            return self.refuse(what);
        }
        self.cursor.at += 1;
        Ok(())
    }

    fn node(&mut self) -> Result<Node, Refusal> {
        self.cursor.skip();
        let Some((op, op_span)) = self.cursor.bool_op() else {
            return self.relation().map(Node::Relation);
        };
        self.cursor.skip();
        let mut groups = Vec::new();
        loop {
            let start = self.cursor.at;
            self.expect(b'(', "'(' expected")?;
            self.enter()?;
            let node = self.node()?;
            self.depth -= 1;
            self.cursor.skip();
            self.expect(b')', "')' expected")?;
            let end = self.cursor.at;
            groups.push(Group { span: Span::new(start, end), closed: true, node });
            self.cursor.skip();
            if self.cursor.byte() != b'(' {
                let span = op_span.to(Span::new(start, end));
                return Ok(Node::Boolean(Boolean { span, op, op_span, groups }));
            }
        }
    }

    fn relation(&mut self) -> Result<Relation, Refusal> {
        let name = self.name("an attribute name is expected")?;
        self.cursor.skip();
        let Some((op, op_span)) = self.cursor.rel_op() else {
            return self.refuse("an operator such as '=' is expected");
        };
        self.cursor.skip();
        let values = self.list()?;
        let end = values.last().map_or(op_span, Value::span);
        Ok(Relation { span: name.span.to(end), name, op, op_span, values, damaged: false })
    }

    fn name(&mut self, what: &'static str) -> Result<Str, Refusal> {
        let Lexed::Str(name) = self.cursor.string() else {
            return self.refuse(what);
        };
        if has_forbidden(&name.value(self.cursor.text)) {
            return self.refuse("the name holds a character that is not allowed in names");
        }
        Ok(name)
    }

    /// Values up to the first thing that cannot start one. Concatenations stay flat, so a long one needs no stack.
    fn list(&mut self) -> Result<Vec<Value>, Refusal> {
        let mut values: Vec<Value> = Vec::new();
        // Whether the value before may be continued by one that stands next to it.
        let mut open = false;
        loop {
            if self.cursor.skip() {
                open = false;
            }
            let explicit = self.cursor.byte() == b'#' && !self.cursor.at_end();
            if explicit {
                self.cursor.at += 1;
                self.cursor.skip();
            }
            let Some((value, joins)) = self.item()? else {
                return if explicit { self.refuse("'#' has nothing on its right") } else { Ok(values) };
            };
            if explicit || open {
                let Some(left) = values.last_mut() else {
                    return self.refuse("'#' has nothing on its left");
                };
                glue(left, value);
            } else {
                values.push(value);
            }
            open = joins;
        }
    }

    /// One operand, and whether a string or variable right behind it would be glued to it.
    fn item(&mut self) -> Result<Option<(Value, bool)>, Refusal> {
        let start = self.cursor.at;
        match self.cursor.byte() {
            b'(' => {
                self.cursor.at += 1;
                self.enter()?;
                let values = self.list()?;
                self.depth -= 1;
                self.cursor.skip();
                self.expect(b')', "')' expected")?;
                let span = Span::new(start, self.cursor.at);
                Ok(Some((Value::Sequence(Sequence { span, values, closed: true }), false)))
            }
            b'$' => {
                self.cursor.at += 1;
                self.cursor.skip();
                self.expect(b'(', "'(' expected after '$'")?;
                self.cursor.skip();
                let name = self.name("a variable name is expected")?;
                self.cursor.skip();
                self.expect(b')', "')' expected")?;
                let span = Span::new(start, self.cursor.at);
                Ok(Some((Value::Variable(Variable { span, name }), true)))
            }
            _ => match self.cursor.string() {
                Lexed::Str(s) => Ok(Some((Value::Str(s), true))),
                Lexed::None => Ok(None),
                Lexed::Unclosed(Quote::User) => self.refuse("the string with its own delimiter is never closed"),
                Lexed::Unclosed(_) => self.refuse("the quote is never closed"),
            },
        }
    }
}

/// Joins `right` to the value before it.
pub(crate) fn glue(left: &mut Value, right: Value) {
    let span = left.span().to(right.span());
    if let Value::Concat(concat) = left {
        concat.span = span;
        concat.parts.push(right);
        return;
    }
    let first = std::mem::replace(left, Value::Concat(Concat { span, parts: Vec::new() }));
    if let Value::Concat(concat) = left {
        concat.parts.extend([first, right]);
    }
}
