//! From an evaluated tree to a [`JobDescription`], accepting and refusing exactly as ARC does.
//! Every refusal is a diagnostic; nothing that ARC lets pass is reported here.

use super::{JobDescription, Notify, Software, files};
use crate::attributes::{Duplicates, attribute_named};
use crate::diagnostic::{Diagnostic, Edit, Fix};
use crate::eval::{Flat, FlatNode, FlatRelation};
use crate::number::{period, prefix_int, whole_int, wrap_i32};
use crate::print::{canonical, print_list};
use crate::span::Span;
use crate::syntax::cursor::Cursor;
use crate::syntax::{BoolOp, RelOp};
use crate::url::{Place, place};

/// How much copying alternatives (`|`) may cause in one description, counted in list members.
/// ARC has no limit and needs memory that grows with the square of the text.
pub(crate) const MAX_ALTERNATIVE_WORK: usize = 500_000;

/// How many reasons for a refusal are given for one job.
const MAX_ERRORS: usize = 1000;

/// What ARC settles only after all relations have been read.
#[derive(Clone, Default)]
struct Pending {
    executables: Option<FlatRelation>,
    ftpthreads: Option<(String, Span)>,
    countpernode: Option<(String, Span)>,
    join: Option<(String, Span)>,
    gridtime: Option<(String, Span)>,
    action: Option<Span>,
    count_seen: bool,
}

#[derive(Clone, Default)]
struct Draft {
    job: JobDescription,
    pending: Pending,
}

impl Draft {
    /// How many list members a copy has to copy.
    fn weight(&self) -> usize {
        let j = &self.job;
        1 + j.inputs.len()
            + j.outputs.len()
            + j.arguments.len()
            + j.environment.len()
            + j.runtime_environments.len()
            + j.notify.len()
            + j.other.len()
            + self.pending.executables.as_ref().map_or(0, |r| r.values.len())
    }
}

/// A job and what its `|` offers besides.
#[derive(Default)]
struct Drafts {
    main: Draft,
    alternatives: Vec<Draft>,
}

impl Drafts {
    /// A copy of the job as it stands, without its alternatives.
    fn fork(&self) -> Box<Self> {
        Box::new(Self { main: self.main.clone(), alternatives: Vec::new() })
    }

    /// Takes another branch with its own alternatives in.
    fn join(&mut self, branch: Self) {
        self.alternatives.push(branch.main);
        self.alternatives.extend(branch.alternatives);
    }
}

/// Builds one job. The errors are empty exactly if ARC accepts it.
pub(crate) fn build(text: &[u8], node: &FlatNode) -> (JobDescription, Vec<Diagnostic>) {
    let mut builder = Builder { text, errors: Vec::new(), work: MAX_ALTERNATIVE_WORK };
    let mut drafts = Drafts::default();
    builder.node(node, &mut drafts);
    for draft in std::iter::once(&mut drafts.main).chain(&mut drafts.alternatives) {
        builder.settle(draft);
    }
    if let Some(span) = drafts.main.pending.action {
        builder.errors.push(Diagnostic::reject("E25", span, "action is for servers, not for a user's description"));
    }
    let mut job = drafts.main.job;
    job.alternatives = drafts.alternatives.into_iter().map(|d| d.job).collect();
    job.canonical = canonical(text, node);
    job.span = node.span();
    (job, builder.errors)
}

struct Builder<'t> {
    text: &'t [u8],
    errors: Vec<Diagnostic>,
    work: usize,
}

impl Builder<'_> {
    fn reject(&mut self, d: Diagnostic) {
        // The same relation is applied to every alternative; one report is enough.
        if self.errors.len() < MAX_ERRORS
            && !self.errors.iter().rev().take(8).any(|e| e.span == d.span && e.code == d.code)
        {
            self.errors.push(d);
        }
    }

    /// Counts work on alternatives; false once it is too much.
    fn afford(&mut self, work: usize, span: Span) -> bool {
        match self.work.checked_sub(work) {
            Some(rest) => self.work = rest,
            None if self.work > 0 => {
                self.work = 0;
                self.reject(Diagnostic::reject("E00", span, "'|' makes too many alternatives of this description"));
            }
            None => {}
        }
        self.work > 0
    }

    fn node(&mut self, node: &FlatNode, drafts: &mut Drafts) {
        match node {
            FlatNode::Relation(r) => {
                if !r.damaged && (drafts.alternatives.is_empty() || self.afford(drafts.alternatives.len(), r.span)) {
                    self.relation(r, drafts);
                }
            }
            FlatNode::Boolean(BoolOp::Or, span, branches) => self.alternatives(*span, branches, drafts),
            FlatNode::Boolean(_, _, nodes) => nodes.iter().for_each(|n| self.node(n, drafts)),
        }
    }

    /// `|`: the first branch goes to the job, each other to a copy of the job as it stood before.
    /// Drafts are large, so they are boxed: nested `|` must not need much stack.
    fn alternatives(&mut self, span: Span, branches: &[FlatNode], drafts: &mut Drafts) {
        let Some((first, others)) = branches.split_first() else { return };
        let before = drafts.fork();
        self.node(first, drafts);
        for branch in others {
            if !self.afford(before.main.weight(), span) {
                return;
            }
            let mut inner = before.fork();
            self.node(branch, &mut inner);
            drafts.join(*inner);
        }
    }

    /// The one string of a relation, or a refusal.
    fn single(&mut self, r: &FlatRelation) -> Option<String> {
        let label = String::from_utf8_lossy(&r.name).into_owned();
        let [value] = r.values.as_slice() else {
            let found =
                if r.values.is_empty() { "has no value".to_owned() } else { format!("has {} values", r.values.len()) };
            let span = match (r.values.first(), r.values.last()) {
                (Some(first), Some(last)) => first.span().to(last.span()),
                _ => r.span,
            };
            let mut d = Diagnostic::reject("E25", span, format!("{label} takes exactly one value and {found}"));
            d = if r.values.is_empty() {
                d.help("remove the attribute or write \"\"")
            } else {
                d.help("quote the value as a whole if it contains blanks")
            };
            if r.values.len() > 1 && r.values.iter().all(|v| v.literal().is_some()) {
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
    fn list(&mut self, r: &FlatRelation) -> Option<Vec<String>> {
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
    fn tuples(&mut self, r: &FlatRelation, n: usize, form: &str) -> Vec<Vec<String>> {
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
    fn flat_files(&mut self, r: &FlatRelation) -> bool {
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

    fn relation(&mut self, r: &FlatRelation, drafts: &mut Drafts) {
        let Some(attribute) = attribute_named(&r.name) else { return };
        let (main, alternatives) = (&mut drafts.main, &mut drafts.alternatives);
        let mut all =
            |f: &mut dyn FnMut(&mut Draft)| std::iter::once(&mut *main).chain(alternatives.iter_mut()).for_each(f);
        let value_span = r.values.first().map_or(r.span, Flat::span);
        match attribute.name {
            "executable" | "stdin" | "stdout" | "stderr" | "gmlog" | "jobname" | "architecture" => {
                let mut twice = false;
                let name = attribute.name;
                all(&mut |d| twice |= string_field(&mut d.job, name).is_some());
                if twice {
                    return self.reject(defined_twice(r, name));
                }
                let Some(s) = self.single(r).filter(|s| !s.is_empty()) else { return };
                all(&mut |d| *string_field(&mut d.job, name) = Some(s.clone()));
            }
            "arguments" => {
                let mut twice = false;
                all(&mut |d| twice |= !d.job.arguments.is_empty());
                if twice {
                    return self.reject(defined_twice(r, "arguments"));
                }
                let Some(list) = self.list(r) else { return };
                all(&mut |d| d.job.arguments.clone_from(&list));
            }
            "inputfiles" => {
                if self.flat_files(r) {
                    return;
                }
                for value in &r.values {
                    match files::input(self.text, r, value) {
                        Ok(input) => all(&mut |d| d.job.inputs.push(input.clone())),
                        Err(d) => self.reject(*d),
                    }
                }
            }
            "outputfiles" => {
                if self.flat_files(r) {
                    return;
                }
                for value in &r.values {
                    match files::output(self.text, r, value) {
                        Ok(output) => all(&mut |d| d.job.outputs.push(output.clone())),
                        Err(d) => self.reject(*d),
                    }
                }
            }
            "executables" => all(&mut |d| d.pending.executables = Some(r.clone())),
            "cache" => {
                let Some(s) = self.single(r) else { return };
                all(&mut |d| d.job.cache = Some(s.clone()));
            }
            "ftpthreads" => self.postpone(r, value_span, &mut |s| all(&mut |d| d.pending.ftpthreads = Some(s.clone()))),
            "countpernode" => {
                self.postpone(r, value_span, &mut |s| all(&mut |d| d.pending.countpernode = Some(s.clone())));
            }
            "join" => self.postpone(r, value_span, &mut |s| all(&mut |d| d.pending.join = Some(s.clone()))),
            "gridtime" => self.postpone(r, value_span, &mut |s| all(&mut |d| d.pending.gridtime = Some(s.clone()))),
            "environment" => {
                // ARC gives these to the job only, not to its alternatives.
                for pair in self.tuples(r, 2, "(\"NAME\" \"value\")") {
                    if let [name, value] = pair.as_slice() {
                        main.job.environment.push((name.clone(), value.clone()));
                    }
                }
            }
            "benchmarks" => {
                let entries = self.tuples(r, 3, "(\"name\" \"value\" \"time\")");
                let readable = entries.iter().find_map(|e| e[1].trim_start().parse::<f64>().ok().map(|v| (e, v)));
                if let Some((entry, value)) = readable {
                    main.job.cputime = Some(wrap_i32(period(&entry[2])));
                    main.job.benchmark = Some((entry[0].clone(), value));
                }
            }
            "nodeaccess" => {
                for word in self.list(r).unwrap_or_default() {
                    match word.as_str() {
                        "inbound" => main.job.inbound = true,
                        "outbound" => main.job.outbound = true,
                        _ => break,
                    }
                }
            }
            "runtimeenvironment" => {
                let Some(list) = self.list(r) else { return };
                let Some((name, options)) = list.split_first() else {
                    let d = Diagnostic::reject("E25", r.span, "runtimeenvironment has no value");
                    return self.reject(d.help("remove it or name an environment"));
                };
                let software = Software::new(name, r.op, options.to_vec());
                // ARC drops what has no name in front of its version.
                if !software.name.is_empty() {
                    all(&mut |d| d.job.runtime_environments.push(software.clone()));
                }
            }
            "middleware" | "opsys" => {
                let Some(s) = self.single(r) else { return };
                let software = Software::new(&s, r.op, Vec::new());
                if software.name.is_empty() {
                    return;
                }
                let middleware = attribute.name == "middleware";
                all(&mut |d| {
                    let list = if middleware { &mut d.job.middleware } else { &mut d.job.operating_systems };
                    list.push(software.clone());
                });
            }
            "notify" => {
                let Some(list) = self.list(r) else { return };
                for (rule, value) in list.iter().zip(&r.values) {
                    self.notify(rule, value.span(), &mut main.job.notify);
                }
                let notify = main.job.notify.clone();
                alternatives.iter_mut().for_each(|d| d.job.notify.clone_from(&notify));
            }
            "count" => {
                let Some(s) = self.single(r) else { return };
                let Some(n) = whole_int(&s) else {
                    return self.reject(not_an_integer(value_span, "count", &s));
                };
                all(&mut |d| {
                    d.job.count = Some(n);
                    d.pending.count_seen = true;
                });
            }
            "exclusiveexecution" => {
                let Some(s) = self.single(r) else { return };
                let yes = match s.to_ascii_lowercase().as_str() {
                    "yes" | "true" => true,
                    "no" | "false" => false,
                    _ => {
                        let d = Diagnostic::reject("E25", value_span, "exclusiveexecution must be yes or no");
                        return self.reject(d);
                    }
                };
                all(&mut |d| d.job.exclusive = Some(yes));
            }
            "queue" => {
                if !matches!(r.op, RelOp::Eq | RelOp::Ne) {
                    let message = format!("queue takes = or != only, not {}", r.op.symbol());
                    self.reject(Diagnostic::reject("E27", r.op_span, message));
                }
                let Some(s) = self.single(r) else { return };
                let equal = r.op == RelOp::Eq;
                all(&mut |d| *(if equal { &mut d.job.queue } else { &mut d.job.rejected_queue }) = Some(s.clone()));
            }
            "delegationid" => {
                if r.op != RelOp::Eq {
                    self.reject(Diagnostic::reject("E27", r.op_span, "delegationid takes = only"));
                }
                let Some(s) = self.single(r) else { return };
                all(&mut |d| d.job.delegation_id = Some(s.clone()));
            }
            "action" => {
                let Some(s) = self.single(r) else { return };
                if matches!(s.as_str(), "request" | "cancel" | "clean" | "renew" | "restart") {
                    all(&mut |d| d.pending.action = Some(r.span));
                }
            }
            "cluster" | "rslsubstitution" => {}
            _ if attribute.shape != crate::attributes::Shape::Single => {}
            name => {
                let Some(s) = self.single(r) else { return };
                all(&mut |d| plain_field(&mut d.job, name, &s));
            }
        }
        debug_assert!(attribute.duplicates != Duplicates::Refused || attribute.shape != crate::attributes::Shape::Any);
    }

    fn postpone(&mut self, r: &FlatRelation, span: Span, keep: &mut dyn FnMut(&(String, Span))) {
        if let Some(s) = self.single(r) {
            keep(&(s, span));
        }
    }

    /// One rule: `[flags] address…`.
    fn notify(&mut self, rule: &str, span: Span, out: &mut Vec<Notify>) {
        let mut words = rule.split([' ', '\t']).filter(|w| !w.is_empty()).peekable();
        let help = "one quoted string per rule, as in (notify=\"be me@example.org\")";
        let flags = match words.next_if(|w| !w.contains('@')) {
            Some(flags) if words.peek().is_some() => flags,
            Some(flags) => {
                let message = format!("notify has the flags \"{flags}\" but no address behind them");
                return self.reject(Diagnostic::reject("E46", span, message).help(help));
            }
            None if words.peek().is_none() => {
                return self.reject(Diagnostic::reject("E46", span, "notify has an empty rule").help(help));
            }
            None => "be",
        };
        for address in words {
            if !address.contains('@') {
                let message = format!("\"{address}\" in notify is no e-mail address");
                self.reject(Diagnostic::reject("E46", span, message).help(help));
                continue;
            }
            let at = out.iter().position(|n| n.email == address).unwrap_or(out.len());
            if at == out.len() {
                out.push(Notify { email: address.to_owned(), states: Vec::new() });
            }
            for flag in flags.chars() {
                let state = match flag {
                    'b' => "PREPARING",
                    'q' => "INLRMS",
                    'f' => "FINISHING",
                    'e' => "FINISHED",
                    'd' => "DELETED",
                    'c' => "CANCELING",
                    _ => {
                        let message = format!("notify does not know the flag '{flag}'");
                        self.reject(Diagnostic::reject("E46", span, message).help("the flags are b q f e d c"));
                        return;
                    }
                };
                if !out[at].states.contains(&state) {
                    out[at].states.push(state);
                }
            }
        }
    }

    /// What needs the whole description: `executables`, `ftpthreads`, `countpernode`, `join`, `gridtime`.
    fn settle(&mut self, draft: &mut Draft) {
        let (job, pending) = (&mut draft.job, &draft.pending);
        if let Some(r) = &pending.executables {
            self.executables(r, job);
        }
        if let Some((s, span)) = &pending.ftpthreads {
            match whole_int(s).filter(|n| (1..=10).contains(n)) {
                Some(n) => job.ftpthreads = Some(n),
                None => self.reject(Diagnostic::reject("E48", *span, "ftpthreads must be a number from 1 to 10")),
            }
        }
        if let Some((s, span)) = &pending.countpernode {
            match whole_int(s) {
                // ARC keeps a missing count as -1, and so it treats a count that is -1.
                _ if !pending.count_seen || job.count == Some(-1) => {
                    let d = Diagnostic::reject("E39", *span, "countpernode needs count");
                    self.reject(d.help("add (count=…), the number of slots in all"));
                }
                Some(n) => job.countpernode = Some(n),
                None => self.reject(not_an_integer(*span, "countpernode", s)),
            }
        }
        if let Some((s, span)) = &pending.join
            && matches!(s.as_str(), "yes" | "true")
        {
            if job.stdout.is_none() {
                let d = Diagnostic::reject("E42", *span, "join needs stdout");
                self.reject(d.help("add (stdout=\"stdout.txt\")"));
            } else if job.stderr.is_some() && job.stderr != job.stdout {
                let d = Diagnostic::reject("E42", *span, "join contradicts a stderr that differs from stdout");
                self.reject(d.help("remove stderr or join"));
            }
            job.join = true;
            job.stderr.clone_from(&job.stdout);
        }
        if let Some((s, span)) = &pending.gridtime {
            for (time, name) in [(job.cputime, "cputime"), (job.walltime, "walltime")] {
                if time.is_some_and(|t| t != -1) {
                    let message = format!("gridtime and {name} cannot be given together");
                    return self.reject(Diagnostic::reject("E25", *span, message).help("remove gridtime"));
                }
            }
            let slots = i64::from(job.count.filter(|n| *n > 0).unwrap_or(1));
            job.cputime = Some(wrap_i32(period(s)));
            job.walltime = Some(wrap_i32(period(s).wrapping_mul(slots)));
            job.benchmark = Some(("clock rate".to_owned(), 2800.0));
        }
    }

    fn executables(&mut self, r: &FlatRelation, job: &mut JobDescription) {
        // ARC prints the values and parses them again, where a `(*` that nothing closes makes it give up silently.
        let mut printed = Vec::new();
        print_list(self.text, &r.values, &mut printed);
        if Cursor::new(&printed).open_comment.is_some() {
            return;
        }
        let Some(names) = self.list(r) else { return };
        if !self.afford(names.len().saturating_mul(job.inputs.len()) / 1024 + names.len(), r.span) {
            return;
        }
        let mut by_name: std::collections::HashMap<&str, bool> = names.iter().map(|n| (n.as_str(), false)).collect();
        for input in &mut job.inputs {
            if let Some(found) = by_name.get_mut(input.name.as_str()) {
                *found = true;
                input.executable = true;
            }
        }
        for (name, value) in names.iter().zip(&r.values) {
            if by_name.get(name.as_str()) != Some(&true) {
                let message = format!("\"{name}\" in executables is not among the inputfiles");
                let d = Diagnostic::reject("E67", value.span(), message);
                self.reject(d.help(format!("add (\"{name}\" \"\") to inputfiles, or remove it here")));
            }
        }
    }
}

fn defined_twice(r: &FlatRelation, name: &str) -> Diagnostic {
    let d = Diagnostic::reject("E24", r.span, format!("{name} is defined a second time"));
    d.help("keep one of them")
}

fn not_an_integer(span: Span, name: &str, s: &str) -> Diagnostic {
    let d = Diagnostic::reject("E38", span, format!("{name} must be a whole number, not \"{s}\""));
    match s.trim().parse::<i32>() {
        Ok(n) if n > 0 => d.fix(Fix::one("write the number alone", Edit::replace(span, format!("\"{n}\"")))),
        _ => d,
    }
}

/// The fields whose second definition ARC refuses.
fn string_field<'j>(job: &'j mut JobDescription, name: &str) -> &'j mut Option<String> {
    match name {
        "executable" => &mut job.executable,
        "stdin" => &mut job.stdin,
        "stdout" => &mut job.stdout,
        "stderr" => &mut job.stderr,
        "gmlog" => &mut job.gmlog,
        "jobname" => &mut job.name,
        _ => &mut job.architecture,
    }
}

/// Single values that ARC stores without refusing any.
fn plain_field(job: &mut JobDescription, name: &'static str, s: &str) {
    let is_url = !matches!(place(s), Place::Invalid(_));
    match name {
        "walltime" => job.walltime = Some(wrap_i32(period(s))),
        "cputime" => {
            job.cputime = Some(wrap_i32(period(s)));
        }
        "lifetime" => job.lifetime = Some(period(s)),
        "starttime" => job.starttime = Some(s.to_owned()),
        "memory" => job.memory = Some(prefix_int(s)),
        "disk" => job.disk = Some(prefix_int(s)),
        "priority" => job.priority = Some(prefix_int(s).min(100)),
        "rerun" => job.rerun = Some(prefix_int(s)),
        "dryrun" => job.dryrun = s.eq_ignore_ascii_case("yes"),
        "acl" => job.acl = Some(s.to_owned()),
        "credentialserver" if is_url => job.credential_servers.push(s.to_owned()),
        "jobreport" if is_url => job.job_reports.push(s.to_owned()),
        "replicacollection" if is_url => job.replica_collection = Some(s.to_owned()),
        "credentialserver" | "jobreport" | "replicacollection" => {}
        _ => {
            job.other.retain(|(n, _)| *n != name);
            job.other.push((name, s.to_owned()));
        }
    }
}
