//! What ARC settles after all relations have been read, because each of them depends on others.

use super::JobDescription;
use super::build::{Builder, not_an_integer};
use super::draft::Draft;
use crate::diagnostic::Diagnostic;
use crate::eval::FlatRelation;
use crate::number::{period, whole_int, wrap_i32};
use crate::print::print_list;
use crate::syntax::cursor::Cursor;

impl Builder<'_> {
    /// What needs the whole description: `executables`, `ftpthreads`, `countpernode`, `join`, `gridtime`.
    pub(super) fn settle(&mut self, draft: &mut Draft) {
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
