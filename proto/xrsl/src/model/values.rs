//! The shapes that values come in: one string, several, tuples. What does not fit is refused, with a fix where one is sure.

use super::build::Builder;
use super::files;
use crate::attributes::{Unit, attribute_named};
use crate::diagnostic::{Diagnostic, Edit, Fix};
use crate::eval::{Flat, FlatRelation};
use crate::syntax::normalise_name;

impl Builder<'_> {
    /// The one string of a relation, or a refusal.
    pub(super) fn single(&mut self, r: &FlatRelation) -> Option<String> {
        let label = String::from_utf8_lossy(&r.name).into_owned();
        let [value] = r.values.as_slice() else {
            let found =
                if r.values.is_empty() { "has no value".to_owned() } else { format!("has {} values", r.values.len()) };
            let span = match (r.values.first(), r.values.last()) {
                (Some(first), Some(last)) => first.span().to(last.span()),
                _ => r.span,
            };
            let mut d = Diagnostic::reject("E25", span, format!("{label} takes exactly one value and {found}"));
            // What stands behind a program's name is most often meant for the program: together they would be the name of none.
            let is_program = normalise_name(&r.name) == b"executable";
            d = d.help(match r.values.len() {
                0 => "remove the attribute or write \"\"",
                _ if is_program => "the program's arguments belong in (arguments=...)",
                _ => "quote the value as a whole if it contains blanks",
            });
            let is_file = attribute_named(&r.name).is_some_and(|a| a.unit == Unit::File);
            if r.values.len() > 1 && !is_file && r.values.iter().all(|v| v.literal().is_some()) {
                let parts: Vec<String> = r.values.iter().filter_map(|v| v.string(self.text)).collect();
                let edit = Edit::replace(span, crate::print::quote(&parts.join(" ")));
                d = d.fix(Fix::one("quote it as one value", edit));
            }
            self.reject(d);
            return None;
        };
        let string = value.string(self.text);
        if string.is_none() {
            let d = Diagnostic::reject("E25", value.span(), format!("{label} takes one string, not a list"));
            self.reject(d.help("remove the inner parentheses"));
        }
        string
    }

    /// The strings of a relation; lists among them are refused.
    pub(super) fn list(&mut self, r: &FlatRelation) -> Option<Vec<String>> {
        let mut out = Vec::with_capacity(r.values.len());
        let mut good = true;
        for value in &r.values {
            match value.string(self.text) {
                Some(s) => out.push(s),
                None => {
                    good = false;
                    let label = String::from_utf8_lossy(&r.name);
                    let d = Diagnostic::reject("E25", value.span(), format!("{label} takes strings, not lists"));
                    self.reject(d.help("remove the inner parentheses"));
                }
            }
        }
        good.then_some(out)
    }

    /// Lists of exactly `n` strings.
    pub(super) fn tuples(&mut self, r: &FlatRelation, n: usize, form: &str) -> Vec<Vec<String>> {
        let mut out = Vec::with_capacity(r.values.len());
        for value in &r.values {
            let strings = match value {
                Flat::Sequence(_, items) if items.len() == n => {
                    items.iter().map(|i| i.string(self.text)).collect::<Option<Vec<_>>>()
                }
                _ => None,
            };
            match strings {
                Some(strings) => out.push(strings),
                None => {
                    let label = String::from_utf8_lossy(&r.name).into_owned();
                    let d = Diagnostic::reject("E25", value.span(), format!("each member of {label} must be {form}"));
                    self.reject(self.tuple_fix(r, value, n, d).help(format!("write ({label}={form})")));
                }
            }
        }
        out
    }

    /// `(inputfiles="a" "b")`: one report for all of it. True if it was one.
    pub(super) fn flat_files(&mut self, r: &FlatRelation) -> bool {
        let flat = !r.values.is_empty() && r.values.iter().all(|v| matches!(v, Flat::Literal(..)));
        if flat {
            let d = files::flat(self.text, r);
            self.reject(d);
        }
        flat
    }

    /// `"A=1"` for `("A" "1")`.
    fn tuple_fix(&self, r: &FlatRelation, value: &Flat, n: usize, d: Diagnostic) -> Diagnostic {
        if n != 2 || &*r.name != b"environment" {
            return d;
        }
        let inner = match value {
            Flat::Literal(..) => value.string(self.text),
            Flat::Sequence(_, items) => match items.as_slice() {
                [one] => one.string(self.text),
                _ => None,
            },
        };
        match inner.as_deref().and_then(|s| s.split_once('=')) {
            Some((name, v)) if !name.is_empty() => {
                let text = format!("({} {})", crate::print::quote(name), crate::print::quote(v));
                d.fix(Fix::one("write it as a pair", Edit::replace(value.span(), text)))
            }
            _ => d,
        }
    }
}
