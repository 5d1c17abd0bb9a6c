//! From an evaluated tree to a [`JobDescription`], accepting and refusing exactly as ARC does.
//! Every refusal is a diagnostic; nothing that ARC lets pass is reported here.

use super::draft::{Draft, Drafts};
use super::{JobDescription, Software, files};
use crate::attributes::{Duplicates, attribute_named};
use crate::diagnostic::{Diagnostic, Edit, Fix};
use crate::eval::{Flat, FlatNode, FlatRelation};
use crate::number::{period, prefix_int, whole_int, wrap_i32};
use crate::print::canonical;
use crate::span::Span;
use crate::syntax::{BoolOp, RelOp};
use crate::url::{Place, place};

/// How much copying alternatives (`|`) may cause in one description, counted in list members.
/// ARC has no limit and needs memory that grows with the square of the text.
pub(crate) const MAX_ALTERNATIVE_WORK: usize = 500_000;

/// How many reasons for a refusal are given for one job.
const MAX_ERRORS: usize = 1000;

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

pub(super) struct Builder<'t> {
    pub(super) text: &'t [u8],
    errors: Vec<Diagnostic>,
    work: usize,
}

impl Builder<'_> {
    pub(super) fn reject(&mut self, d: Diagnostic) {
        // The same relation is applied to every alternative; one report is enough.
        if self.errors.len() < MAX_ERRORS
            && !self.errors.iter().rev().take(8).any(|e| e.span == d.span && e.code == d.code)
        {
            self.errors.push(d);
        }
    }

    /// Counts work on alternatives; false once it is too much.
    pub(super) fn afford(&mut self, work: usize, span: Span) -> bool {
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
}

fn defined_twice(r: &FlatRelation, name: &str) -> Diagnostic {
    let d = Diagnostic::reject("E24", r.span, format!("{name} is defined a second time"));
    d.help("keep one of them")
}

pub(super) fn not_an_integer(span: Span, name: &str, s: &str) -> Diagnostic {
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
