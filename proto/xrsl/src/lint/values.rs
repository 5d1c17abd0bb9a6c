//! Lints about values: periods, sizes, counts, words, times. They say what ARC makes of a value that is not what it seems.

use super::View;
use crate::attributes::{Unit, attribute_named};
use crate::diagnostic::{Diagnostic, Edit, Fix};
use crate::eval::Flat;
use crate::number::{period, period_is_readable, time_is_readable, whole_int};
use crate::print::quote;
use crate::span::Span;
use crate::syntax::RelOp;
use crate::url::{Place, place};

/// Seven days: a bare number above it is probably meant as seconds.
const LONG_MINUTES: i64 = 10_000;

pub(super) fn lint(view: &View<'_>, out: &mut Vec<Diagnostic>) {
    for name in ["walltime", "cputime", "lifetime", "gridtime"] {
        for (s, value) in view.values(name) {
            check_period(name, &s, value, view.job.count, out);
        }
    }
    for r in view.named("benchmarks") {
        for value in &r.values {
            if let Flat::Sequence(_, items) = value
                && let [_, _, time] = items.as_slice()
                && let Some(s) = time.string(view.bytes())
            {
                check_period("benchmarks", &s, time, None, out);
            }
        }
    }
    if !view.relations.iter().any(|s| matches!(&*s.relation.name, b"walltime" | b"gridtime")) {
        let start = view.job.span.start as usize;
        let d = Diagnostic::warning(
            "W33",
            Span::new(start, start + 1),
            "no walltime: the cluster decides how long the job may run",
        );
        out.push(d.help("add (walltime=\"2 hours\") or what the job needs"));
    }
    for name in ["memory", "disk"] {
        for (s, value) in view.values(name) {
            check_size(name, &s, value, out);
        }
    }
    slots(view, out);
    words(view, out);
    for (s, value) in view.values("starttime") {
        if !time_is_readable(&s) {
            let d = Diagnostic::error(
                "E45",
                value.span(),
                format!("ARC cannot read \"{s}\" as a time and ignores starttime"),
            );
            let d = d.help("write YYYY-MM-DD hh:mm:ss");
            let seconds = format!("{}:00", s.trim());
            let add = time_is_readable(&seconds);
            out.push(if add {
                d.fix(Fix::one("add the seconds", Edit::replace(value.span(), quote(&seconds))))
            } else {
                d
            });
        }
    }
    for name in ["priority", "rerun"] {
        for (s, value) in view.values(name) {
            let message = match whole_int(&s) {
                None => {
                    format!("{name} must be a whole number; ARC makes {} of \"{s}\"", crate::number::prefix_int(&s))
                }
                Some(n) if name == "priority" && n > 100 => "the highest priority is 100".to_owned(),
                Some(n) if n < 0 => format!("{name} cannot be negative"),
                Some(_) => continue,
            };
            out.push(Diagnostic::warning("W47", value.span(), message));
        }
    }
    environments(view, out);
}

fn check_period(name: &str, s: &str, value: &Flat, count: Option<i32>, out: &mut Vec<Diagnostic>) {
    let span = value.span();
    if !period_is_readable(s) {
        let d = Diagnostic::error("E30", span, format!("ARC cannot read \"{s}\" as a period and takes {name} for 0"));
        let d = d.help("write minutes as a bare number, or units: \"90 minutes\", \"1 day, 2 hours\", \"1h30\"");
        out.push(match period_meant(s) {
            Some(meant) => d.fix(Fix::one(format!("write {meant}"), Edit::replace(span, quote(&meant)))),
            None => d,
        });
        return;
    }
    let seconds = period(s);
    if seconds <= 0 || i32::try_from(seconds).is_err() {
        let message = match seconds {
            0 => format!("{name} of 0 leaves the job no time at all"),
            _ => format!("{name} does not fit 32 bits of seconds"),
        };
        out.push(Diagnostic::warning("W34", span, message));
        return;
    }
    if s.trim_start().starts_with('-') {
        let message = format!("ARC skips the minus sign: {name} is {}", human(seconds));
        out.push(Diagnostic::warning("W34", span, message));
    }
    if let Some(message) = months(s) {
        out.push(Diagnostic::warning("W31", span, message).help(format!("ARC makes {} of it", human(seconds))));
    }
    let digits = s.trim();
    let per_slot = if name == "cputime" { i64::from(count.unwrap_or(1).max(1)) } else { 1 };
    if name != "lifetime" && digits.bytes().all(|b| b.is_ascii_digit()) && seconds / 60 > LONG_MINUTES * per_slot {
        let message = format!("a bare number is minutes, so {name} is {}", human(seconds));
        out.push(
            Diagnostic::warning("W32", span, message).help(format!("write \"{digits} seconds\" if that is meant")),
        );
    }
}

/// What a period that ARC cannot read was meant to be, where there is only one answer.
fn period_meant(s: &str) -> Option<String> {
    let s = s.trim();
    let parts: Vec<&str> = s.split(':').collect();
    if parts.len() == 3 && parts.iter().all(|p| !p.is_empty() && p.len() <= 4 && p.bytes().all(|b| b.is_ascii_digit()))
    {
        let n: Vec<u64> = parts.iter().filter_map(|p| p.parse().ok()).collect();
        let seconds = n.first()? * 3600 + n.get(1)? * 60 + n.get(2)?;
        return Some(match seconds % 60 {
            0 => format!("{} minutes", seconds / 60),
            _ => format!("{seconds} seconds"),
        });
    }
    // "1.5 hours"
    let len = s.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let (number, unit) = s.split_at(len);
    let number: f64 = number.parse().ok()?;
    let minutes = match unit.trim().chars().next()?.to_ascii_lowercase() {
        'd' => number * 1440.0,
        'h' => number * 60.0,
        'm' if unit.trim().len() < 2 || !unit.trim()[..2].eq_ignore_ascii_case("mo") => number,
        _ => return None,
    };
    (minutes.is_finite() && (0.0..1e7).contains(&minutes)).then(|| format!("{minutes:.0} minutes"))
}

/// Where `M` means months, or "months" means minutes.
fn months(s: &str) -> Option<&'static str> {
    if let Some(iso) = s.strip_prefix('P') {
        let date = iso.split(['T', 'D', 'H', 'W']).next().unwrap_or_default();
        return date.contains('M').then_some("M before T means months of 30 days; minutes are PT…M");
    }
    let lower = s.to_ascii_lowercase();
    let month = lower.match_indices("mo").any(|(i, _)| lower[..i].trim_end().ends_with(|c: char| c.is_ascii_digit()));
    month.then_some("ARC looks at the first letter only: months are minutes here")
}

fn human(seconds: i64) -> String {
    let (d, h, m, s) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let parts = [(d, "day"), (h, "hour"), (m, "minute"), (s, "second")];
    let shown: Vec<String> = parts
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, unit)| format!("{n} {unit}{}", if *n == 1 { "" } else { "s" }))
        .take(2)
        .collect();
    if shown.is_empty() { "0".to_owned() } else { shown.join(" ") }
}

fn check_size(name: &str, s: &str, value: &Flat, out: &mut Vec<Diagnostic>) {
    let span = value.span();
    let Some(megabytes) = whole_int(s) else {
        let read = crate::number::prefix_int(s);
        let d = Diagnostic::error(
            "E35",
            span,
            format!("{name} is whole megabytes without a unit; ARC makes {read} MB of \"{s}\""),
        );
        out.push(match megabytes_meant(s) {
            Some(n) => d.fix(Fix::one(format!("write {n}"), Edit::replace(span, quote(&n.to_string())))),
            None => d,
        });
        return;
    };
    if megabytes <= 0 {
        out.push(Diagnostic::warning("W34", span, format!("{name} of {megabytes} MB asks for nothing")));
    } else if name == "memory" && !(16..=1_000_000).contains(&megabytes) {
        let d = Diagnostic::warning("W36", span, format!("memory of {megabytes} MB for each slot is unlikely"));
        out.push(d.help("memory is in MB: 2 GB are 2000"));
    }
}

/// `2GB`, `1.5 g`, `500 MB` in megabytes.
fn megabytes_meant(s: &str) -> Option<u64> {
    let s = s.trim();
    let len = s.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let (number, unit) = s.split_at(len);
    let number: f64 = number.parse().ok()?;
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" => 1.0 / 1024.0,
        "" | "m" | "mb" | "mib" => 1.0,
        "g" | "gb" | "gib" => 1024.0,
        "t" | "tb" | "tib" => 1024.0 * 1024.0,
        _ => return None,
    };
    let megabytes = (number * factor).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be within 1 and a billion")]
    (1.0..1e9).contains(&megabytes).then_some(megabytes as u64)
}

fn slots(view: &View<'_>, out: &mut Vec<Diagnostic>) {
    let job = view.job;
    let Some(count) = job.count else { return };
    let Some((_, value)) = view.values("count").last() else { return };
    let span = value.span();
    if count < 1 {
        out.push(Diagnostic::error("E38", span, format!("count must be at least 1, not {count}")));
        return;
    }
    if let Some(memory) = job.memory.filter(|m| *m > 0 && count > 1) {
        let total = i64::from(memory) * i64::from(count);
        if let Some((_, value)) = view.values("memory").last().filter(|(s, _)| whole_int(s).is_some()) {
            let message = format!("memory is for each slot: {count} × {memory} MB = {total} MB in all");
            out.push(Diagnostic::hint("I37", value.span(), message));
        }
    }
    match job.countpernode {
        None if count > 1 && job.exclusive != Some(true) => {
            let message = format!("the {count} slots may be spread over several nodes");
            let d = Diagnostic::warning("W41", span, message);
            out.push(d.help(format!("a program with threads needs (countpernode=\"{count}\")")));
        }
        Some(per_node) if per_node < 1 || per_node > count || count % per_node != 0 => {
            if let Some((_, value)) = view.values("countpernode").last() {
                let message = format!("countpernode of {per_node} does not divide count, which is {count}");
                out.push(Diagnostic::warning("W40", value.span(), message));
            }
        }
        _ => {}
    }
}

/// Words that ARC compares exactly.
fn words(view: &View<'_>, out: &mut Vec<Diagnostic>) {
    let meant_yes = |s: &str| matches!(s.trim().to_ascii_lowercase().as_str(), "yes" | "true" | "1" | "on" | "y");
    let yes = |value: &Flat| Fix::one("write yes", Edit::replace(value.span(), "\"yes\""));
    for (s, value) in view.values("join") {
        if !matches!(s.as_str(), "yes" | "true") && meant_yes(&s) {
            let message = format!("ARC takes only yes or true, in lower case: \"{s}\" is ignored and stderr is lost");
            out.push(Diagnostic::warning("W43", value.span(), message).fix(yes(value)));
        }
    }
    for (s, value) in view.values("dryrun") {
        if !s.eq_ignore_ascii_case("yes") && meant_yes(&s) {
            let message = format!("ARC takes only yes: with \"{s}\" the job really runs");
            out.push(Diagnostic::warning("W44", value.span(), message).fix(yes(value)));
        }
    }
    for r in view.named("nodeaccess") {
        for value in &r.values {
            let s = value.string(view.bytes()).unwrap_or_default();
            if !matches!(s.as_str(), "inbound" | "outbound") {
                let d = Diagnostic::warning("W50", value.span(), format!("ARC ignores \"{s}\" and what follows it"));
                out.push(d.help("the words are inbound and outbound"));
            }
        }
    }
    for name in ["credentialserver", "jobreport", "replicacollection"] {
        for (s, value) in view.values(name) {
            if let Place::Invalid(why) = place(&s) {
                let message = format!("ARC ignores this: \"{s}\" is no URL, {why}");
                out.push(Diagnostic::warning("W50", value.span(), message));
            }
        }
    }
    for (s, value) in view.values("cache") {
        let known = attribute_named(b"cache").filter(|a| a.unit == Unit::Word).map_or(&[][..], |a| a.values);
        if !known.contains(&s.as_str()) {
            let d = Diagnostic::warning("W50", value.span(), format!("cache does not know the word \"{s}\""));
            out.push(d.help(format!("it knows {}", known.join(", "))));
        }
    }
    for (s, value) in view.values("acl") {
        if !s.trim_start().starts_with('<') {
            out.push(Diagnostic::warning("W50", value.span(), "ARC ignores an acl that is no XML"));
        }
    }
}

fn environments(view: &View<'_>, out: &mut Vec<Diagnostic>) {
    for r in view.named("runtimeenvironment") {
        let Some((value, s)) = r.values.first().and_then(|v| Some((v, v.string(view.bytes())?))) else { continue };
        if s.is_empty() {
            let d = Diagnostic::warning("W49", value.span(), "an empty runtimeenvironment is ignored");
            out.push(d.help("remove it"));
        } else if s.contains(' ') {
            let d = Diagnostic::warning(
                "W49",
                value.span(),
                format!("no runtime environment has a blank in its name: \"{s}\""),
            );
            out.push(d.help("quote name and options separately: (runtimeenvironment=\"NAME\" \"option\")"));
        }
        if r.op != RelOp::Eq {
            let message = format!("an aCT server forgets the '{}' and asks for exactly this version", r.op.symbol());
            out.push(Diagnostic::warning("W49", r.op_span, message));
        }
    }
    for (name, value) in [("queue", RelOp::Ne)] {
        for r in view.named(name).filter(|r| r.op == value) {
            out.push(Diagnostic::warning("W49", r.op_span, "an aCT server forgets 'queue!='"));
        }
    }
}
