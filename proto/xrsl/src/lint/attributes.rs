//! Lints about which attributes there are: none that runs, unknown ones, retired ones, twice the same, operators.
//! What their values say is judged elsewhere.

use super::View;
use crate::attributes::{Attribute, Duplicates, Shape, Status, attribute_named, did_you_mean};
use crate::diagnostic::{Diagnostic, Edit, Fix};
use crate::eval::FlatRelation;
use crate::span::Span;
use crate::syntax::RelOp;
use std::collections::HashMap;

/// Comparing names costs a little; after so many unknown ones it stops.
const MAX_GUESSES: usize = 200;

pub(super) fn lint(view: &View<'_>, out: &mut Vec<Diagnostic>) {
    let mut guesses = 0;
    let mut executable_meant = view.relations.iter().any(|s| *s.relation.name == *b"executable");
    let mut first: HashMap<&[u8], &FlatRelation> = HashMap::new();
    for seen in &view.relations {
        if out.len() > super::MAX_FINDINGS {
            return;
        }
        let r = seen.relation;
        let Some(attribute) = attribute_named(&r.name) else {
            guesses += 1;
            let meant = if guesses <= MAX_GUESSES { did_you_mean(&r.name) } else { None };
            executable_meant |= meant.is_some_and(|a| a.name == "executable") || r.name.is_empty();
            let there = |a: &Attribute| view.relations.iter().any(|s| &*s.relation.name == a.name.as_bytes());
            out.push(unknown(r, meant, meant.is_some_and(there)));
            continue;
        };
        status(r, attribute.status, out);
        if !attribute.operators.contains(&r.op.symbol())
            && !r.damaged
            && !matches!(&*r.name, b"queue" | b"delegationid")
        {
            let message = format!("'{}' means '=' here: ARC does not compare {}", r.op.symbol(), attribute.label);
            let d = Diagnostic::warning("W26", r.op_span, message);
            let d = if r.op == RelOp::Ne { d.help("there is no way to exclude a value") } else { d };
            out.push(d.fix(Fix::one("write =", Edit::replace(r.op_span, "="))));
        }
        if attribute.duplicates == Duplicates::LastWins && attribute.shape != Shape::Any && !seen.alternative {
            // queue= and queue!= are two different things.
            let key: &[u8] = if r.op == RelOp::Ne { b"!" } else { &r.name };
            if let Some(earlier) = first.insert(key, r)
                && earlier.name == r.name
            {
                let message = format!("{} is defined again below; only the last one counts", attribute.label);
                let d = Diagnostic::warning("W24", earlier.span, message);
                out.push(d.help("remove one of them"));
            }
        }
    }
    let damaged = view.relations.iter().any(|s| s.relation.damaged);
    if view.job.executable.is_none() && !(executable_meant && (damaged || !has_empty_executable(view))) {
        let start = view.job.span.start as usize;
        let d =
            Diagnostic::error("E20", Span::new(start, start + 1), "the job has no executable, so it would run nothing");
        out.push(d.help("add (executable=\"…\"), the program to run"));
    }
}

fn has_empty_executable(view: &View<'_>) -> bool {
    view.values("executable").any(|(s, _)| s.is_empty())
}

/// `there`: the one that is meant is written already. ARC rejects a description that has some of them twice.
fn unknown(r: &FlatRelation, meant: Option<&'static Attribute>, there: bool) -> Diagnostic {
    let name = String::from_utf8_lossy(&r.name).into_owned();
    let message = format!("ARC does not know the attribute \"{name}\" and ignores it");
    let Some(meant) = meant else {
        return Diagnostic::warning("W21", r.written.span, message).help("remove it, or check its spelling");
    };
    let renamed = crate::attributes::RENAMED.iter().any(|(old, _)| *old == name);
    let d = if renamed {
        Diagnostic::warning("W21", r.written.span, message)
    } else {
        Diagnostic::error("E21", r.written.span, message)
    };
    if there {
        return d.help(format!("did you mean {}? It is there already: keep one of them", meant.label));
    }
    let fix = Fix::one(format!("write {}", meant.label), Edit::replace(r.written.span, meant.label));
    d.help(format!("did you mean {}?", meant.label)).fix(fix)
}

fn status(r: &FlatRelation, status: Status, out: &mut Vec<Diagnostic>) {
    let name = String::from_utf8_lossy(&r.name);
    let span = r.written.span;
    match status {
        Status::Current => {}
        Status::Deprecated(instead) => {
            out.push(Diagnostic::warning("W23", span, format!("{name} is out of date")).help(instead));
        }
        Status::Ignored(instead) if &*r.name == b"cluster" => {
            out.push(Diagnostic::warning("W23", span, "ARC ignores cluster").help(instead));
        }
        Status::Ignored(instead) => {
            let d = Diagnostic::warning("W22", span, format!("{name} belongs to Globus RSL; ARC ignores it"));
            let d = d.help(format!("use {instead}"));
            let same = attribute_named(instead.as_bytes()).is_some();
            out.push(if same { d.fix(Fix::one(format!("write {instead}"), Edit::replace(span, instead))) } else { d });
        }
        Status::Internal => {
            out.push(Diagnostic::hint("W23", span, format!("{name} is written by ARC itself; it has no effect here")));
        }
    }
}
