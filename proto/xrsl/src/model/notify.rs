//! `notify`: who is told by e-mail of which states.

use super::Notify;
use super::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::span::Span;

impl Builder<'_> {
    /// One rule: `[flags] address…`.
    pub(super) fn notify(&mut self, rule: &str, span: Span, out: &mut Vec<Notify>) {
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
}
