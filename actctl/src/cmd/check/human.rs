//! Findings for people: a sentence, the line, a mark under the place, what to do. Builds text; prints nothing.

use xrsl::{Diagnostic, Edit, Level, Span};

use super::Checked;

/// The longest part of a line that is shown.
const MAX_LINE: usize = 160;

/// So many findings of a file are shown; people correct what they see and look again.
const MAX_FINDINGS: usize = 500;

/// The findings of a file.
pub(super) fn findings(c: &Checked, color: bool) -> String {
    let mut out: String = c.findings.iter().take(MAX_FINDINGS).map(|d| finding(c, d, color) + "\n").collect();
    if let more @ 1.. = c.findings.len().saturating_sub(MAX_FINDINGS) {
        out.push_str(&format!("{}: and {more} more; --format gcc or json lists all\n\n", c.path));
    }
    out
}

fn paint(color: bool, code: &str, text: &str) -> String {
    if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

fn finding(c: &Checked, d: &Diagnostic, color: bool) -> String {
    let hue = match d.level {
        Level::Error => "1;31",
        Level::Warning => "1;33",
        Level::Hint => "1;36",
    };
    let at = c.index.position(&c.text, d.span.start);
    let number = at.line.to_string();
    let pad = " ".repeat(number.len());
    let bar = paint(color, "1;34", "|");
    let arrow = paint(color, "1;34", "-->");
    let mut out = format!("{}: {}\n", paint(color, hue, &format!("{}[{}]", d.level.name(), d.code)), plain(&d.message));
    out.push_str(&format!("{pad}{arrow} {}:{at}\n", c.path));
    let line = c.index.line_span(&c.text, at.line);
    let text = c.text.get(line.range()).unwrap_or_default().trim_end_matches('\r');
    let start = (d.span.start.saturating_sub(line.start) as usize).min(text.len());
    let end = (d.span.end.saturating_sub(line.start) as usize).clamp(start, text.len());
    let (shown, lead, marks) = excerpt(text, start, end);
    out.push_str(&format!("{pad} {bar}\n{} {bar} {shown}\n", paint(color, "1;34", &number)));
    out.push_str(&format!("{pad} {bar} {}{}\n", " ".repeat(lead), paint(color, hue, &"^".repeat(marks))));
    let note = |what: &str, text: &str| format!("{pad} {} {what}: {}\n", paint(color, "1;34", "="), plain(text));
    if let Some(help) = &d.help {
        out.push_str(&note("help", help));
    }
    if let Some(fix) = &d.fix {
        out.push_str(&note("fix", &fix.title));
        if let Some(changed) = corrected(c, d, at.line) {
            out.push_str(&format!("{pad} {} {changed}\n", paint(color, "1;32", "+")));
        }
    }
    out
}

/// The line as it is after the fix, if that is where the fix is.
fn corrected(c: &Checked, d: &Diagnostic, line: usize) -> Option<String> {
    let fix = d.fix.as_ref()?;
    let span = c.index.line_span(&c.text, line);
    let text = c.text.get(span.range()).filter(|text| text.len() <= 4 * MAX_LINE)?;
    if !fix.edits.iter().all(|e| span.contains(e.span) && !e.text.contains('\n')) {
        return None;
    }
    let within = |e: &Edit| {
        let at = |at: u32| (at - span.start) as usize;
        Edit::replace(Span::new(at(e.span.start), at(e.span.end)), e.text.clone())
    };
    let edits: Vec<Edit> = fix.edits.iter().map(within).collect();
    let (fixed, _) = xrsl::apply_edits(text, &edits);
    let fixed = fixed.trim_end_matches('\r');
    (fixed.chars().count() <= MAX_LINE).then(|| plain(fixed))
}

/// The part of a line around a place, with tabs and control characters made visible; where the marks start and how many.
fn excerpt(text: &str, start: usize, end: usize) -> (String, usize, usize) {
    let before = text.get(..start).unwrap_or_default();
    let inside: Vec<char> = text.get(start..end).unwrap_or_default().chars().take(MAX_LINE + 1).collect();
    let after: Vec<char> = text.get(end..).unwrap_or_default().chars().take(MAX_LINE).collect();
    let from = before.char_indices().rev().nth(MAX_LINE / 2 - 1).map_or(0, |(at, _)| at);
    let mut shown = if from > 0 { "…".to_owned() } else { String::new() };
    shown.extend(before.get(from..).unwrap_or_default().chars().map(visible));
    let lead = shown.chars().count();
    let marked = inside.len().min(MAX_LINE);
    shown.extend(inside[..marked].iter().map(|ch| visible(*ch)));
    let room = MAX_LINE.saturating_sub(shown.chars().count());
    shown.extend(after.iter().take(room).map(|ch| visible(*ch)));
    if marked < inside.len() || room < after.len() {
        shown.push('…');
    }
    (shown, lead, marked.max(1))
}

fn visible(ch: char) -> char {
    match ch {
        '\t' => ' ',
        ch if ch.is_control() || is_bidi(ch) => '\u{fffd}',
        ch => ch,
    }
}

/// Characters that turn the direction of text around could make a line look like another.
fn is_bidi(ch: char) -> bool {
    matches!(ch, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn plain(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// The last line: how much was found.
pub(super) fn summary(checked: &[Checked]) -> Option<String> {
    let count = |level| checked.iter().flat_map(|c| &c.findings).filter(|d| d.level == level).count();
    let parts: Vec<String> = [(Level::Error, "error"), (Level::Warning, "warning"), (Level::Hint, "hint")]
        .into_iter()
        .map(|(level, word)| (count(level), word))
        .filter(|(n, _)| *n > 0)
        .map(|(n, word)| format!("{n} {word}{}", if n == 1 { "" } else { "s" }))
        .collect();
    let fixable = checked.iter().flat_map(|c| &c.findings).filter(|d| d.fix.is_some()).count();
    if parts.is_empty() {
        return None;
    }
    let more = match fixable {
        0 => String::new(),
        n => format!("; --fix corrects {n} of them"),
    };
    Some(format!("{}{more}", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let findings = xrsl::check(text, &xrsl::LintContext::default());
        let (index, text) = (xrsl::LineIndex::new(text), text.to_owned());
        let c = Checked { path: "j.xrsl".into(), text, index, findings, accepted: false, jobs: 0, fixed: 0 };
        super::findings(&c, false)
    }

    #[test]
    fn the_place_is_marked_and_the_fix_shown() {
        let got = shown("&(executable=/a)(walltime=5)\n\t(arguments=é --n=10)");
        let want = "error[E03]: --n=10 contains '=' and must be quoted\n --> j.xrsl:2:15\n  |\n2 |  (arguments=é --n=10)\n  |\x20\
                    \x20             ^^^^^^\n  = fix: quote it\n  + \x20(arguments=é \"--n=10\")\n\n";
        assert_eq!(got, want);
    }

    #[test]
    fn hostile_text_cannot_draw_on_the_terminal() {
        let got = shown("&(executable=/a)(walltime=5)(x=\"\u{1b}[2J\u{202e}\"");
        assert!(!got.contains('\u{1b}') && !got.contains('\u{202e}'), "{got:?}");
        let long = format!("&(executable=/a)(walltime=5)(arguments={} --x=y {})", "a ".repeat(500), "b ".repeat(500));
        assert!(shown(&long).lines().all(|l| l.chars().count() < 400), "{}", shown(&long));
    }
}
