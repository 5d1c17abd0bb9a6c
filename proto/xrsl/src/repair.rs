//! Descriptions that act's own parser reads and ARC refuses. act prints what it has read and sends that, so such files
//! work today; here they are mended in place, to mean what act would have sent, and every change is reported.
//!
//! act 1.0.0's dialect, as observed: `&` followed by relations, or `+(& … & …)`; only `=`; values are Python string tokens,
//! words over letters, digits and `/\-_.:;=`, and lists of strings; of a repeated attribute the last one counts.

use crate::attributes::{Duplicates, attribute_named};
use crate::diagnostic::{Diagnostic, Edit, Fix, apply_edits};
use crate::parsed::parse;
use crate::print::quote;
use crate::span::Span;
use crate::syntax::cursor::{find, is_blank};
use crate::syntax::normalise_name;

/// The mended text and what was done to it, as warnings whose fixes are the changes; their spans are in the given text.
/// None if ARC accepts the text as it is, or if act would not read it, or if mending is not enough for ARC.
#[must_use]
pub fn repair_act_dialect(text: &str) -> Option<(String, Vec<Diagnostic>)> {
    let mut reader = Reader { text, at: 0, notes: Vec::new(), seen: Vec::new() };
    reader.document()?;
    let notes = reader.notes;
    if notes.is_empty() || notes.len() > MAX_NOTES {
        return None;
    }
    let edits: Vec<Edit> = notes.iter().filter_map(|d| d.fix.as_ref()).flat_map(|f| f.edits.clone()).collect();
    let (mended, applied) = apply_edits(text, &edits);
    (applied == edits.len() && !parse(text).accepted() && parse(&mended).accepted()).then_some((mended, notes))
}

/// How far a comment's end is looked for.
const LOOK_AHEAD: usize = 1024;
/// A text that needs more than this is not mended.
const MAX_NOTES: usize = 1000;

/// Reads act's dialect and notes what ARC would not take.
struct Reader<'t> {
    text: &'t str,
    at: usize,
    notes: Vec<Diagnostic>,
    /// The relations of the current job: name as act compares it, and the parentheses around it.
    seen: Vec<(String, Span)>,
}

impl Reader<'_> {
    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn note(&mut self, code: &'static str, span: Span, message: String, fix: Fix) {
        self.notes
            .push(Diagnostic::warning(code, span, message).help("ARC does not accept this form, act does").fix(fix));
    }

    fn skip(&mut self) {
        let bytes = self.text.as_bytes();
        loop {
            while self.at < bytes.len() && is_blank(self.byte()) {
                self.at += 1;
            }
            if !self.text[self.at..].starts_with("(*") {
                return;
            }
            match find(bytes, b"*)", self.at + 2) {
                Some(close) => self.at = close + 2,
                None => return,
            }
        }
    }

    fn take(&mut self, byte: u8) -> Option<usize> {
        self.skip();
        if self.at >= self.text.len() || self.byte() != byte {
            return None;
        }
        self.at += 1;
        Some(self.at - 1)
    }

    fn document(&mut self) -> Option<()> {
        if self.take(b'+').is_none() {
            self.job()?;
        } else {
            self.take(b'(')?;
            self.job()?;
            loop {
                self.skip();
                if self.byte() != b'&' {
                    break;
                }
                let edit = Edit::insert(self.at, ")(");
                let message = "each job of a '+' needs its own parentheses".to_owned();
                self.note("W05", Span::new(self.at, self.at + 1), message, Fix::one("close and open them here", edit));
                self.job()?;
            }
            self.take(b')')?;
        }
        self.skip();
        (self.at == self.text.len()).then_some(())
    }

    fn job(&mut self) -> Option<()> {
        self.take(b'&')?;
        self.seen.clear();
        self.relation()?;
        loop {
            self.skip();
            if self.byte() != b'(' {
                break;
            }
            self.relation()?;
        }
        self.drop_repeated();
        Some(())
    }

    fn relation(&mut self) -> Option<()> {
        if self.notes.len() > MAX_NOTES {
            return None;
        }
        let open = self.take(b'(')?;
        self.skip();
        let start = self.at;
        let name = if matches!(self.byte(), b'"' | b'\'') {
            let span = self.string()?;
            self.text.get(span.start as usize + 1..span.end as usize - 1)?.to_owned()
        } else {
            self.word(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))?;
            self.text.get(start..self.at)?.to_owned()
        };
        self.take(b'=')?;
        let mut values = 0;
        loop {
            self.skip();
            if self.notes.len() > MAX_NOTES {
                return None;
            }
            match self.byte() {
                b')' => break,
                b'(' => self.list()?,
                b'"' | b'\'' => drop(self.string()?),
                _ => self.bare()?,
            }
            values += 1;
        }
        let close = self.take(b')')?;
        self.seen.push((name.to_ascii_lowercase(), Span::new(open, close + 1)));
        (values > 0).then_some(())
    }

    fn list(&mut self) -> Option<()> {
        self.take(b'(')?;
        let mut strings = 0;
        while self.take(b')').is_none() {
            self.string()?;
            strings += 1;
        }
        (strings > 0).then_some(())
    }

    fn word(&mut self, allowed: impl Fn(u8) -> bool) -> Option<()> {
        let len = self.text.as_bytes()[self.at..].iter().take_while(|b| allowed(**b)).count();
        self.at += len;
        (len > 0).then_some(())
    }

    /// A word; ARC does not take the `=` in it.
    fn bare(&mut self) -> Option<()> {
        let start = self.at;
        self.word(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'/' | b'\\' | b'-' | b'_' | b'.' | b':' | b';' | b'=')
        })?;
        let word = self.text.get(start..self.at)?;
        if word.contains('=') {
            // act takes neighbours without a blank for two values, ARC for one.
            let quoted = |b: u8| matches!(b, b'"' | b'\'');
            let before = if start > 0 && quoted(self.text.as_bytes()[start - 1]) { " " } else { "" };
            let after = if quoted(self.byte()) { " " } else { "" };
            let span = Span::new(start, self.at);
            let edit = Edit::replace(span, format!("{before}{}{after}", quote(word)));
            self.note("W03", span, format!("{word} contains '=' and must be quoted"), Fix::one("quote it", edit));
        }
        Some(())
    }

    /// A Python string on one line; a backslash keeps a quote from ending it and stays in the value.
    fn string(&mut self) -> Option<Span> {
        self.skip();
        let start = self.at;
        let mark = self.byte();
        if !matches!(mark, b'"' | b'\'') {
            return None;
        }
        let bytes = self.text.as_bytes();
        if bytes[start..].starts_with(&[mark; 3]) {
            return None;
        }
        let mut at = start + 1;
        let mut escaped = Vec::new();
        loop {
            match bytes.get(at)? {
                b'\n' => return None,
                b'\\' => {
                    if bytes.get(at + 1) == Some(&mark) {
                        escaped.push(at + 1);
                    }
                    at += 2;
                }
                b if *b == mark => break,
                b'(' if bytes.get(at + 1) == Some(&b'*') && self.starts_comment(at) => {
                    let span = Span::new(at, at + 2);
                    let edit = Edit::insert(at + 1, format!("{0}#{0}", char::from(mark)));
                    let message = "ARC takes the '(*' in this string for the start of a comment".to_owned();
                    self.note("W07", span, message, Fix::one("split the string there", edit));
                    at += 1;
                }
                _ => at += 1,
            }
        }
        let span = Span::new(start, at + 1);
        self.at = at + 1;
        if let Some(first) = escaped.first() {
            let edits = escaped.iter().map(|e| Edit::insert(*e, char::from(mark).to_string())).collect();
            let fix = Fix { title: "double the quotes; the backslashes stay part of the value".to_owned(), edits };
            let message = "a backslash does not escape a quote in xRSL".to_owned();
            self.note("W09", Span::new(first - 1, first + 1), message, fix);
        }
        Some(span)
    }

    /// Whether ARC's scan would see a comment here that does not end in this string.
    fn starts_comment(&self, at: usize) -> bool {
        let near = &self.text.as_bytes()[at..self.text.len().min(at + LOOK_AHEAD)];
        let end = near.iter().position(|b| matches!(b, b'"' | b'\'' | b'\n')).unwrap_or(near.len());
        find(&near[..end], b"*)", 0).is_none()
    }

    /// Takes out what act forgets: all but the last of an attribute that ARC wants only once.
    fn drop_repeated(&mut self) {
        let seen = std::mem::take(&mut self.seen);
        for (i, (name, span)) in seen.iter().enumerate() {
            let once = attribute_named(&normalise_name(name.as_bytes()))
                .is_some_and(|a| matches!(a.duplicates, Duplicates::Refused));
            if self.notes.len() > MAX_NOTES {
                return;
            }
            if once && seen[i + 1..].iter().any(|(later, _)| later == name) {
                // Its own notes would overlap with its removal.
                self.notes.retain(|d| !span.contains(d.span));
                let message = format!("{name} is defined more than once; only the last counts for act");
                self.note("W24", *span, message, Fix::one("remove this one", Edit::replace(*span, "")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(text: &str) -> Option<String> {
        repair_act_dialect(text).map(|(mended, _)| mended)
    }

    #[test]
    fn what_act_reads_is_mended_to_what_it_sends() {
        for (text, want) in [
            ("&(executable=a)(arguments=--n=10 (* c *) x)", "&(executable=a)(arguments=\"--n=10\" (* c *) x)"),
            ("&(executable==x)(stdout=y)", "&(executable=\"=x\")(stdout=y)"),
            ("&(executable=a)(arguments=--n=\"x y\")", "&(executable=a)(arguments=\"--n=\" \"x y\")"),
            ("&(executable=a)(arguments=\"a\\\"b\")", "&(executable=a)(arguments=\"a\\\"\"b\")"),
            ("+(&(executable=a)\n&(executable=b))", "+(&(executable=a)\n)(&(executable=b))"),
            ("&(executable=a)(arguments='(*.txt')", "&(executable=a)(arguments='('#'*.txt')"),
            ("&(executable=a)(stdout=x)(Executable=b)", "&(stdout=x)(Executable=b)"),
        ] {
            let got = mended(text);
            assert_eq!(got.as_deref(), Some(want), "{text}");
        }
        let job =
            &parse(&mended("&(executable=a)(arguments=\"a\\\"b\")").unwrap_or_default()).jobs()[0].arguments.clone();
        assert_eq!(*job, ["a\\\"b"]);
    }

    #[test]
    fn the_rest_is_left_alone() {
        for text in [
            "&(executable=a)",
            "&(executable=a)(inputfiles=(a b))",
            "&(executable=a)(inputfiles=\"a\" \"b\")",
            "&(executable=a",
            "",
            "+(",
            "&(executable='''a''')",
            "&(executable=a)(count=x=1)",
        ] {
            assert_eq!(mended(text), None, "{text}");
        }
    }
}
