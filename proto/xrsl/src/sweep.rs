//! Parameter sweeps: one description and many rows give many jobs, each with its row's values as variables.
//! Reading rows from files is the caller's work.

use std::borrow::Cow;

use crate::diagnostic::{Diagnostic, Edit, apply_edits};
use crate::edit::{is_named, job_places, job_text, open_before, rename, sites};
use crate::parsed::{Parsed, parse};
use crate::print::quote;
use crate::span::Span;
use crate::syntax::cursor::has_forbidden;
use crate::syntax::{BoolOp, Node, Value};

/// The values of one job: (variable, value), in the order of the columns.
pub type Row = Vec<(String, String)>;

/// One job of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Which row, from 0.
    pub row: usize,
    /// The description: the user's text with the row's values defined and the job renamed.
    pub text: String,
}

/// The longest row that a job's name shows; of longer ones it shows the number.
const MAX_SUFFIX: usize = 40;

/// Makes the jobs of a sweep, row by row (and, in a description with `+`, job by job).
///
/// Each variable is defined at the start of the job, so `$(name)` gives its value, outside quotes as always; where the
/// description defines it itself, that definition gets the row's value. The job's name gets the row, unless it already
/// depends on one of the variables.
///
/// # Errors
/// Why ARC refuses the description, a variable's name that cannot be one, or that no variable of the rows is used.
pub fn expand_sweep(text: &str, rows: &[Row]) -> Result<Vec<Swept>, Vec<Diagnostic>> {
    let parsed = parse(text);
    if !parsed.accepted() {
        return Err(parsed.diagnostics().to_vec());
    }
    let places = job_places(&parsed);
    let whole = Span::at(0);
    let columns: Vec<&str> = rows.first().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    for name in rows.iter().flatten().map(|(name, _)| name) {
        if name.is_empty() || has_forbidden(name.as_bytes()) {
            let message = format!("\"{name}\" cannot be the name of a variable");
            return Err(vec![Diagnostic::error("E00", whole, message).help("use letters, digits, - and _")]);
        }
    }
    let jobs: Vec<Cow<'_, Parsed>> = places.into_iter().enumerate().map(|(i, p)| job_text(&parsed, i, p).0).collect();
    let used =
        |name: &&str| jobs.iter().any(|job| job.tree().is_some_and(|t| node_uses(job.text(), t, name.as_bytes())));
    if !rows.is_empty() && !columns.iter().any(used) {
        let message = format!("the description uses none of the variables {}", columns.join(", "));
        let help = format!("write $({}) where the value belongs, outside quotes", columns.first().unwrap_or(&"name"));
        return Err(vec![Diagnostic::error("W12", whole, message).help(help)]);
    }
    let mut out = Vec::with_capacity(rows.len().saturating_mul(jobs.len()));
    for (row, values) in rows.iter().enumerate() {
        for job in &jobs {
            let text = one(job, row, values).ok_or_else(|| {
                vec![Diagnostic::error("E00", whole, format!("row {} does not fit the description", row + 1))]
            })?;
            out.push(Swept { row, text });
        }
    }
    Ok(out)
}

/// One job with one row.
fn one(job: &Parsed, row: usize, values: &[(String, String)]) -> Option<String> {
    let (text, root) = (job.text(), job.tree()?);
    let mut edits = Vec::new();
    let mut define = String::new();
    for (name, value) in values {
        let own = own_definitions(text, root, name);
        if own.is_empty() {
            define.push_str(&format!("({} {})", quote(name), quote(value)));
        }
        edits.extend(own.into_iter().map(|span| Edit::replace(span, quote(value))));
    }
    if !define.is_empty() {
        let relation = format!("(rsl_substitution={define})");
        match root {
            Node::Boolean(b) if b.op == BoolOp::And => {
                edits.push(Edit::insert(b.op_span.end as usize, relation));
            }
            _ => {
                let open = open_before(text, root.span());
                edits.push(Edit::insert(root.span().start as usize, format!("&{relation}{open}")));
                edits.push(Edit::insert(root.span().end as usize, ")"));
            }
        }
    }
    let varying = varying(text, root, values);
    let name_varies = sites(root).iter().any(|s| {
        is_named(text, s.relation, "jobname")
            && varying.iter().any(|name| s.relation.values.iter().any(|v| value_uses(text, v, name)))
    });
    let (swept, applied) = apply_edits(text, &edits);
    if applied != edits.len() || parse(&swept).jobs().len() != 1 {
        return None;
    }
    if name_varies {
        return Some(swept);
    }
    let shown: Vec<&str> = values.iter().map(|(_, v)| v.as_str()).collect();
    let suffix = shown.join("-");
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    let fits = !suffix.is_empty() && suffix.len() <= MAX_SUFFIX && suffix.chars().all(plain);
    let suffix = if fits { suffix } else { (row + 1).to_string() };
    let name = match job.jobs().first()?.name.as_deref() {
        Some(name) => format!("{name}-{suffix}"),
        None => suffix,
    };
    rename(&swept, &name)
}

/// The variables whose values depend on the row: its own, and what the description defines by such a one.
fn varying<'t>(text: &'t str, root: &'t Node, values: &'t [(String, String)]) -> Vec<Cow<'t, [u8]>> {
    let mut names: Vec<Cow<'_, [u8]>> = values.iter().map(|(name, _)| Cow::Borrowed(name.as_bytes())).collect();
    for site in sites(root).iter().filter(|s| is_named(text, s.relation, "rslsubstitution")) {
        for value in &site.relation.values {
            if let Value::Sequence(s) = value
                && let [Value::Str(defined), value] = s.values.as_slice()
                && names.iter().any(|name| value_uses(text, value, name))
            {
                names.push(defined.value(text.as_bytes()));
            }
        }
    }
    names
}

/// Where the description defines a variable itself: the places of the values.
fn own_definitions(text: &str, root: &Node, name: &str) -> Vec<Span> {
    let mut out = Vec::new();
    for site in sites(root) {
        if !is_named(text, site.relation, "rslsubstitution") {
            continue;
        }
        for value in &site.relation.values {
            if let Value::Sequence(s) = value
                && let [Value::Str(defined), value] = s.values.as_slice()
                && *defined.value(text.as_bytes()) == *name.as_bytes()
            {
                out.push(value.span());
            }
        }
    }
    out
}

fn node_uses(text: &str, node: &Node, name: &[u8]) -> bool {
    match node {
        Node::Boolean(b) => b.groups.iter().any(|g| node_uses(text, &g.node, name)),
        Node::Relation(r) => r.values.iter().any(|v| value_uses(text, v, name)),
    }
}

fn value_uses(text: &str, value: &Value, name: &[u8]) -> bool {
    match value {
        Value::Str(_) => false,
        Value::Variable(v) => *v.name.value(text.as_bytes()) == *name,
        Value::Concat(c) => c.parts.iter().any(|v| value_uses(text, v, name)),
        Value::Sequence(s) => s.values.iter().any(|v| value_uses(text, v, name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[(&str, &str)]) -> Row {
        values.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn each_row_is_a_job_with_its_values_and_name() {
        let text = "&(executable=/bin/sim)(* c *)\n(jobname=\"sim\")(arguments=\"--seed=\"$(i) $(what))";
        let rows = [row(&[("i", "0"), ("what", "a\"b")]), row(&[("i", "1"), ("what", "x y")])];
        let swept = expand_sweep(text, &rows).unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(swept.len(), 2);
        let want = "&(rsl_substitution=(\"i\" \"0\")(\"what\" \"a\"\"b\"))(executable=/bin/sim)(* c *)\n(jobname=\"sim-1\")\
                    (arguments=\"--seed=\"$(i) $(what))";
        assert_eq!(swept[0].text, want);
        let job = parse(&swept[1].text).jobs()[0].clone();
        assert_eq!(job.arguments, ["--seed=1", "x y"]);
        assert_eq!(job.name.as_deref(), Some("sim-2"));
    }

    #[test]
    fn a_name_that_depends_on_the_row_by_another_variable_is_kept() {
        let text = "&(rsl_substitution=(tag run-$(i))(other x))(rsl_substitution=(long $(tag)-it))(executable=/a)\
                    (arguments=$(i))(jobname=$(long))";
        let swept = expand_sweep(text, &[row(&[("i", "7")])]).unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(parse(&swept[0].text).jobs()[0].name.as_deref(), Some("run-7-it"));
        let swept = expand_sweep(&text.replace("$(long)", "$(other)"), &[row(&[("i", "7")])]).unwrap();
        assert_eq!(parse(&swept[0].text).jobs()[0].name.as_deref(), Some("x-7"));
    }

    #[test]
    fn own_definitions_and_names_are_respected() {
        let text = "&(rsl_substitution=(i 99)(dir /data/$(i)))(executable=/a)(jobname=job$(i))(arguments=$(dir))";
        let swept = expand_sweep(text, &[row(&[("i", "7")])]).unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(swept[0].text, text.replace("99", "\"7\""));
        assert_eq!(parse(&swept[0].text).jobs()[0].arguments, ["/data/7"]);
    }

    #[test]
    fn bare_relations_alternatives_and_several_jobs() {
        let swept = expand_sweep("executable=$(x)", &[row(&[("x", "/a")])]).unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(swept[0].text, "&(rsl_substitution=(\"x\" \"/a\"))(executable=$(x))(jobname=\"1\")");
        let several = "+(&(executable=$(x)))(&(executable=/b)(jobname=b))";
        let swept =
            expand_sweep(several, &[row(&[("x", "p")]), row(&[("x", "q")])]).unwrap_or_else(|e| panic!("{e:?}"));
        let jobs: Vec<_> = swept.iter().map(|s| parse(&s.text).jobs()[0].clone()).collect();
        let names: Vec<_> = jobs.iter().map(|j| j.name.clone().unwrap_or_default()).collect();
        assert_eq!(names, ["p", "b-p", "q", "b-q"]);
    }

    #[test]
    fn mistakes_are_told() {
        assert!(expand_sweep("&(executable=/a)", &[row(&[("x", "1")])]).is_err());
        assert!(expand_sweep("&(executable=$(x))", &[row(&[("x(", "1")])]).is_err());
        assert!(expand_sweep("&(executable=", &[]).is_err());
        assert_eq!(expand_sweep("&(executable=$(x))", &[]).map(|s| s.len()), Ok(0));
    }
}
