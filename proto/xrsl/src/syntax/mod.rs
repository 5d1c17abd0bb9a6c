//! The syntax tree: what stands where in a description, with a span for everything.
//! It does not know any attribute and evaluates nothing. The text itself is kept beside the tree, so nothing is lost.

pub(crate) mod cursor;
pub(crate) mod recover;
pub(crate) mod strict;

use crate::span::Span;
use std::borrow::Cow;

/// The operator in front of a group of parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoolOp {
    /// `&`: all of it.
    And,
    /// `|`: alternatives.
    Or,
    /// `+`: several jobs.
    Multi,
}

impl BoolOp {
    /// The character.
    #[must_use]
    pub fn symbol(self) -> char {
        match self {
            Self::And => '&',
            Self::Or => '|',
            Self::Multi => '+',
        }
    }
}

/// The operator of a relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelOp {
    /// `=`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl RelOp {
    /// As written.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Eq => "=",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        }
    }
}

/// How a string is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quote {
    /// No quotes.
    Bare,
    /// `"…"`, a quote inside is doubled.
    Double,
    /// `'…'`, a quote inside is doubled.
    Single,
    /// `^X…X` with any byte as X, doubled to stand for itself.
    User,
}

/// A string as written; [`Str::value`] is what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Str {
    /// Quotes included.
    pub span: Span,
    /// Its form.
    pub quote: Quote,
    /// Whether the closing quote is there (always, in a description that ARC accepts).
    pub closed: bool,
}

impl Str {
    /// The bytes between the quotes, as written.
    #[must_use]
    pub fn inner(self) -> Span {
        let lead = match self.quote {
            Quote::Bare => return self.span,
            Quote::Double | Quote::Single => 1,
            Quote::User => 2,
        };
        let start = (self.span.start + lead).min(self.span.end);
        Span { start, end: (self.span.end - u32::from(self.closed)).max(start) }
    }

    /// The string it stands for. Bytes, not characters: a delimiter of `^` may cut a character in two.
    #[must_use]
    pub fn value(self, text: &[u8]) -> Cow<'_, [u8]> {
        let raw = self.inner().of(text);
        let delimiter = match self.quote {
            Quote::Bare => return Cow::Borrowed(raw),
            Quote::Double => b'"',
            Quote::Single => b'\'',
            Quote::User => text.get(self.span.start as usize + 1).copied().unwrap_or_default(),
        };
        if !raw.contains(&delimiter) {
            return Cow::Borrowed(raw);
        }
        // Inside a string every delimiter comes in pairs.
        let mut out = Vec::with_capacity(raw.len());
        let mut skip = false;
        for b in raw {
            if *b == delimiter && !skip {
                skip = true;
            } else {
                skip = false;
                out.push(*b);
            }
        }
        Cow::Owned(out)
    }
}

/// `$(NAME)`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// From `$` to `)`.
    pub span: Span,
    /// The name.
    pub name: Str,
}

/// Two or more values glued by `#` or by standing next to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concat {
    /// All of it.
    pub span: Span,
    /// The operands; one that is a sequence makes ARC refuse the description.
    pub parts: Vec<Value>,
}

/// `( … )` inside a value list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Parentheses included.
    pub span: Span,
    /// Its members.
    pub values: Vec<Value>,
    /// Whether the `)` is there.
    pub closed: bool,
}

/// One member of a value list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Str(Str),
    /// A variable.
    Variable(Variable),
    /// A concatenation.
    Concat(Concat),
    /// A list.
    Sequence(Sequence),
}

impl Value {
    /// Where it stands.
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Self::Str(s) => s.span,
            Self::Variable(v) => v.span,
            Self::Concat(c) => c.span,
            Self::Sequence(s) => s.span,
        }
    }
}

/// `name op values`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// From the name to the last value, without the parentheses around it.
    pub span: Span,
    /// The attribute's name as written.
    pub name: Str,
    /// The operator.
    pub op: RelOp,
    /// Where the operator stands.
    pub op_span: Span,
    /// The values.
    pub values: Vec<Value>,
    /// A syntax error lies inside: what the values mean is a guess.
    pub damaged: bool,
}

/// One `( … )` of a [`Boolean`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Parentheses included.
    pub span: Span,
    /// Whether the `)` is there.
    pub closed: bool,
    /// What is inside.
    pub node: Node,
}

/// `&(…)(…)`, `|(…)(…)`, `+(…)(…)`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boolean {
    /// All of it.
    pub span: Span,
    /// Its operator.
    pub op: BoolOp,
    /// Where the operator stands.
    pub op_span: Span,
    /// The groups.
    pub groups: Vec<Group>,
}

/// A description, or what stands in one pair of its parentheses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// An operator and groups.
    Boolean(Boolean),
    /// A relation.
    Relation(Relation),
}

impl Node {
    /// Where it stands.
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Self::Boolean(b) => b.span,
            Self::Relation(r) => r.span,
        }
    }
}

/// An attribute's name as ARC compares it: ASCII letters lowered, every `_` gone.
#[must_use]
pub fn normalise_name(name: &[u8]) -> Vec<u8> {
    name.iter().filter(|b| **b != b'_').map(u8::to_ascii_lowercase).collect()
}
