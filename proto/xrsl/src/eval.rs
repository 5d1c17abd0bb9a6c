//! Evaluation: variables and concatenations become strings, attribute names are normalised, `+` becomes several jobs.
//! It knows one attribute only, `rsl_substitution`; what the others mean is the model's business.

use crate::diagnostic::Diagnostic;
use crate::span::Span;
use crate::syntax::{BoolOp, Node, RelOp, Relation, Sequence, Str, Value, normalise_name};
use std::borrow::Cow;
use std::collections::HashMap;

/// How many bytes variables and concatenations may produce in one description. Definitions that double each other
/// would otherwise fill any memory from a few lines of text.
pub const MAX_EVALUATED: usize = 32 << 20;

/// A string of the evaluated tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// As it stands in the description.
    Source(Str),
    /// Put together from several pieces, or taken from a variable.
    Computed(Box<[u8]>),
}

/// A value without variables and concatenations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flat {
    /// A string and the place it comes from.
    Literal(Span, Text),
    /// A list and the place of its parentheses.
    Sequence(Span, Vec<Flat>),
}

impl Flat {
    /// Where it stands in the description.
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Self::Literal(span, _) | Self::Sequence(span, _) => *span,
        }
    }

    /// The string's bytes; nothing for a list.
    #[must_use]
    pub fn bytes<'a>(&'a self, text: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Literal(_, Text::Source(s)) => Some(s.value(text)),
            Self::Literal(_, Text::Computed(b)) => Some(Cow::Borrowed(b)),
            Self::Sequence(..) => None,
        }
    }

    /// The string; bytes that are no UTF-8 become replacement characters. Nothing for a list.
    #[must_use]
    pub fn string(&self, text: &[u8]) -> Option<String> {
        self.bytes(text).map(|b| String::from_utf8_lossy(&b).into_owned())
    }

    /// The string as it stands in the text, if it is one plain literal there: what an edit may replace.
    #[must_use]
    pub fn literal(&self) -> Option<Str> {
        match self {
            Self::Literal(_, Text::Source(s)) => Some(*s),
            _ => None,
        }
    }
}

/// A relation after evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatRelation {
    /// The attribute's name, lowered and without `_`.
    pub name: Box<[u8]>,
    /// The name as written.
    pub written: Str,
    /// The operator.
    pub op: RelOp,
    /// Where it stands.
    pub op_span: Span,
    /// From the name to the last value.
    pub span: Span,
    /// The values.
    pub values: Vec<Flat>,
    /// A syntax error lies inside: its values are a guess.
    pub damaged: bool,
}

/// An evaluated description, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlatNode {
    /// `&`, `|`, `+`
    Boolean(BoolOp, Span, Vec<FlatNode>),
    /// A relation.
    Relation(FlatRelation),
}

impl FlatNode {
    /// Where it stands.
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Self::Boolean(_, span, _) => *span,
            Self::Relation(r) => r.span,
        }
    }

    /// Calls `f` for every relation, in the order of the text.
    pub fn each<'a>(&'a self, f: &mut impl FnMut(&'a FlatRelation)) {
        match self {
            Self::Relation(r) => f(r),
            Self::Boolean(_, _, nodes) => nodes.iter().for_each(|n| n.each(f)),
        }
    }
}

/// A use of a variable that nothing defines before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undefined {
    /// The variable's name.
    pub name: String,
    /// The whole `$(…)`.
    pub span: Span,
}

/// What evaluation found.
#[derive(Debug, Default)]
pub struct Evaluation {
    /// The jobs: one, or the members of `+` in order.
    pub jobs: Vec<FlatNode>,
    /// Why ARC refuses the description; empty if it does not.
    pub errors: Vec<Diagnostic>,
    /// Variables that are empty because nothing defines them before their use.
    pub undefined: Vec<Undefined>,
}

/// Evaluates a tree. Relations that fail are left out of the result and reported.
#[must_use]
pub fn evaluate(text: &[u8], root: &Node) -> Evaluation {
    let mut evaluator =
        Evaluator { text, out: Evaluation::default(), variables: HashMap::new(), budget: MAX_EVALUATED };
    let mut jobs = Vec::new();
    evaluator.split(root, &mut jobs);
    evaluator.out.jobs = jobs;
    evaluator.out
}

/// Variables as they were before a group changed them, oldest first.
type Undo = Vec<(Vec<u8>, Option<Box<[u8]>>)>;

struct Evaluator<'t> {
    text: &'t [u8],
    out: Evaluation,
    variables: HashMap<Vec<u8>, Box<[u8]>>,
    budget: usize,
}

impl<'t> Evaluator<'t> {
    /// `+` at the top, or directly under another `+`, gives one job per group; variables are not shared.
    fn split(&mut self, node: &Node, jobs: &mut Vec<FlatNode>) {
        match node {
            Node::Boolean(b) if b.op == BoolOp::Multi => {
                for group in &b.groups {
                    self.split(&group.node, jobs);
                }
            }
            _ => {
                self.variables.clear();
                if let Some(job) = self.node(node) {
                    jobs.push(job);
                }
            }
        }
    }

    fn node(&mut self, node: &Node) -> Option<FlatNode> {
        let boolean = match node {
            Node::Relation(r) => return self.relation(r, &mut Vec::new()).map(FlatNode::Relation),
            Node::Boolean(b) => b,
        };
        if boolean.op == BoolOp::Multi {
            let error = Diagnostic::reject("E05", boolean.op_span, "'+' is only allowed at the very start of the file")
                .help("'+' means several jobs: put it around everything, as in +(&(…)(…))(&(…)(…))");
            self.out.errors.push(error);
            return None;
        }
        // What is defined inside is forgotten at the end of the group.
        let mut undo = Vec::new();
        let mut nodes = Vec::with_capacity(boolean.groups.len());
        for group in &boolean.groups {
            let flat = match &group.node {
                Node::Relation(r) => self.relation(r, &mut undo).map(FlatNode::Relation),
                inner => self.node(inner),
            };
            nodes.extend(flat);
        }
        for (name, value) in undo.into_iter().rev() {
            match value {
                Some(value) => self.variables.insert(name, value),
                None => self.variables.remove(&name),
            };
        }
        Some(FlatNode::Boolean(boolean.op, boolean.span, nodes))
    }

    fn relation(&mut self, r: &Relation, undo: &mut Undo) -> Option<FlatRelation> {
        let name = normalise_name(&r.name.value(self.text)).into_boxed_slice();
        let definitions = &*name == b"rslsubstitution";
        let mut values = Vec::with_capacity(r.values.len());
        for value in &r.values {
            let flat = if definitions { self.definition(value, undo) } else { self.value(value) };
            values.push(flat.ok()?);
        }
        let (op, op_span, span) = (r.op, r.op_span, r.span);
        Some(FlatRelation { name, written: r.name, op, op_span, span, values, damaged: r.damaged })
    }

    fn definition(&mut self, value: &Value, undo: &mut Undo) -> Result<Flat, ()> {
        let form = "write (rsl_substitution=(NAME value))";
        let Value::Sequence(Sequence { span, values, .. }) = value else {
            return self.fail(value.span(), "each member of rsl_substitution must be a list", form);
        };
        let [name, value] = values.as_slice() else {
            return self.fail(*span, "a definition in rsl_substitution has exactly a name and a value", form);
        };
        let (name, value) = (self.value(name)?, self.value(value)?);
        let Some(key) = name.bytes(self.text).map(Cow::into_owned) else {
            return self.fail(name.span(), "the variable's name is a list", form);
        };
        let Some(bytes) = value.bytes(self.text).map(|b| Box::<[u8]>::from(&*b)) else {
            return self.fail(value.span(), "the variable's value is a list", form);
        };
        self.spend(bytes.len(), *span)?;
        undo.push((key.clone(), self.variables.insert(key, bytes)));
        Ok(Flat::Sequence(*span, vec![name, value]))
    }

    fn value(&mut self, value: &Value) -> Result<Flat, ()> {
        match value {
            Value::Str(s) => Ok(Flat::Literal(s.span, Text::Source(*s))),
            Value::Variable(v) => {
                let mut bytes = Vec::new();
                self.append(value, &mut bytes)?;
                Ok(Flat::Literal(v.span, Text::Computed(bytes.into_boxed_slice())))
            }
            Value::Concat(c) => {
                let mut bytes = Vec::new();
                for part in &c.parts {
                    self.append(part, &mut bytes)?;
                }
                Ok(Flat::Literal(c.span, Text::Computed(bytes.into_boxed_slice())))
            }
            Value::Sequence(s) => {
                let values = s.values.iter().map(|v| self.value(v)).collect::<Result<_, _>>()?;
                Ok(Flat::Sequence(s.span, values))
            }
        }
    }

    /// Adds the string of one operand of a concatenation.
    fn append(&mut self, value: &Value, out: &mut Vec<u8>) -> Result<(), ()> {
        let bytes = match value {
            Value::Str(s) => s.value(self.text),
            Value::Variable(v) => {
                let name = v.name.value(self.text);
                match self.variables.get(&*name) {
                    Some(bytes) => {
                        if bytes.len() > self.budget {
                            return self.spend(bytes.len(), v.span);
                        }
                        self.budget -= bytes.len();
                        out.extend_from_slice(bytes);
                    }
                    None => {
                        let name = String::from_utf8_lossy(&name).into_owned();
                        self.out.undefined.push(Undefined { name, span: v.span });
                    }
                }
                return Ok(());
            }
            Value::Sequence(_) | Value::Concat(_) => {
                let help = "leave a blank before '(' or quote the text, parentheses included";
                return self.fail(value.span(), "a list cannot be glued to another value", help).map(drop);
            }
        };
        self.spend(bytes.len(), value.span())?;
        out.extend_from_slice(&bytes);
        Ok(())
    }

    fn spend(&mut self, bytes: usize, span: Span) -> Result<(), ()> {
        match self.budget.checked_sub(bytes) {
            Some(rest) => {
                self.budget = rest;
                Ok(())
            }
            None => {
                let message = format!("the variables expand to more than {} MiB", MAX_EVALUATED >> 20);
                self.budget = 0;
                self.out.errors.push(Diagnostic::reject("E00", span, message));
                Err(())
            }
        }
    }

    fn fail(&mut self, span: Span, message: &str, help: &str) -> Result<Flat, ()> {
        self.out.errors.push(Diagnostic::reject("E00", span, message).help(help));
        Err(())
    }
}
