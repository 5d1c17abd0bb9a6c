//! `inputfiles` and `outputfiles`: what ARC demands of their members, and what it makes of them.
//! Whether a local file exists is not asked here.

use super::{Input, Output, Source, Target};
use crate::diagnostic::{Diagnostic, Edit, Fix};
use crate::eval::{Flat, FlatRelation};
use crate::print::quote;
use crate::span::Span;
use crate::url::{Place, place};

/// Where a member stands, its items, and their strings.
type Member<'f> = (Span, &'f [Flat], Vec<String>);

/// A member with its strings, or what is wrong with it.
fn member<'f>(text: &[u8], r: &FlatRelation, value: &'f Flat) -> Result<Member<'f>, Box<Diagnostic>> {
    let label = String::from_utf8_lossy(&r.name).into_owned();
    let form = format!("write ({label}=(\"name\" \"source or target\"))");
    let Flat::Sequence(span, items) = value else {
        let d =
            Diagnostic::reject("E25", value.span(), format!("each member of {label} must be a list in parentheses"));
        return Err(Box::new(d.help(form)));
    };
    let mut strings = Vec::with_capacity(items.len());
    for item in items {
        let Some(s) = item.string(text) else {
            let d = Diagnostic::reject(
                "E25",
                item.span(),
                format!("a member of {label} holds a list where a string belongs"),
            );
            return Err(Box::new(d.help(form)));
        };
        strings.push(s);
    }
    if strings.len() < 2 {
        let d = Diagnostic::reject("E25", *span, format!("a member of {label} needs at least two strings"));
        let d = d.help("write (\"name\" \"\") for a local file, or one to keep, of that name");
        return Err(Box::new(match items.first() {
            Some(name) => d.fix(Fix::one("add \"\"", Edit::insert(name.span().end as usize, " \"\""))),
            None => d,
        }));
    }
    if strings.first().is_some_and(String::is_empty) {
        return Err(Box::new(Diagnostic::reject("E61", *span, format!("a member of {label} has an empty name"))));
    }
    Ok((*span, items, strings))
}

/// Strings where lists belong: with a single one, or exactly two, it is clear what was meant.
pub(super) fn flat(text: &[u8], r: &FlatRelation) -> Diagnostic {
    let label = String::from_utf8_lossy(&r.name).into_owned();
    let span = r.values.first().map_or(r.span, Flat::span).to(r.values.last().map_or(r.span, Flat::span));
    let d = Diagnostic::reject("E25", span, format!("each member of {label} must be a list in parentheses"));
    let d = d.help(format!("write ({label}=(\"name\" \"source or target\"))"));
    match r.values.as_slice() {
        [one] => {
            let name = one.string(text).unwrap_or_default();
            d.fix(Fix::one("write it as a list", Edit::replace(span, format!("({} \"\")", quote(&name)))))
        }
        [_, _] => {
            let edits = vec![Edit::insert(span.start as usize, "("), Edit::insert(span.end as usize, ")")];
            d.fix(Fix { title: "put name and source into parentheses".to_owned(), edits })
        }
        _ => d,
    }
}

/// The members behind name and URL: options, and locations which are URLs themselves.
fn options(items: &[Flat], strings: &[String], name: &str) -> Result<Vec<(String, String)>, Box<Diagnostic>> {
    let mut options = Vec::new();
    for (item, s) in items.iter().zip(strings).skip(2) {
        let Some((option, value)) = s.split_once('=') else {
            let d =
                Diagnostic::reject("E25", item.span(), format!("\"{s}\" behind the URL of \"{name}\" is no option"));
            return Err(Box::new(
                d.help("an option has the form name=value, in quotes; each file has its own parentheses"),
            ));
        };
        if option == "location"
            && let Place::Invalid(why) = place(value)
        {
            return Err(Box::new(Diagnostic::reject(
                "E73",
                item.span(),
                format!("ARC does not accept this location: {why}"),
            )));
        }
        options.push((option.to_owned(), value.to_owned()));
    }
    Ok(options)
}

fn bad_url(span: Span, s: &str, why: &str) -> Box<Diagnostic> {
    let d = Diagnostic::reject("E73", span, format!("ARC takes \"{s}\" for an invalid URL: {why}"));
    Box::new(d.help("a ':' makes it a URL; for a local file write ./ in front"))
}

pub(super) fn input(text: &[u8], r: &FlatRelation, value: &Flat) -> Result<Input, Box<Diagnostic>> {
    let (span, items, mut strings) = member(text, r, value)?;
    let written = strings[1].clone();
    let source = match place(&written) {
        _ if written.is_empty() => Source::Local(strings[0].clone()),
        Place::Local(path) => Source::Local(path),
        Place::UrlList(path) => Source::UrlList(path),
        Place::Remote { .. } => Source::Remote(written.clone()),
        Place::Invalid(why) => return Err(bad_url(items[1].span(), &written, why)),
    };
    // ARC does not look behind an empty source.
    let options = if written.is_empty() { Vec::new() } else { options(items, &strings, &strings[0])? };
    let ignored = match &items[2..] {
        [first, .., last] if written.is_empty() => Some(first.span().to(last.span())),
        [only] if written.is_empty() => Some(only.span()),
        _ => None,
    };
    Ok(Input {
        name: strings.swap_remove(0),
        source,
        written,
        literal: items[1].literal(),
        span,
        name_span: items[0].span(),
        source_span: items[1].span(),
        options,
        ignored,
        executable: false,
    })
}

pub(super) fn output(text: &[u8], r: &FlatRelation, value: &Flat) -> Result<Output, Box<Diagnostic>> {
    let (span, items, mut strings) = member(text, r, value)?;
    let written = strings[1].clone();
    let is_file_url = written.get(..5).is_some_and(|p| p.eq_ignore_ascii_case("file:"));
    let target = match place(&written) {
        _ if written.is_empty() => Target::Keep,
        Place::Local(path) => Target::Dropped(path),
        Place::Remote { .. } | Place::Invalid(_) if is_file_url => Target::Dropped(written.clone()),
        Place::UrlList(_) | Place::Remote { .. } => Target::Remote(written.clone()),
        Place::Invalid(why) => return Err(bad_url(items[1].span(), &written, why)),
    };
    let options = if matches!(target, Target::Remote(_)) { options(items, &strings, &strings[0])? } else { Vec::new() };
    Ok(Output {
        name: strings.swap_remove(0),
        target,
        span,
        name_span: items[0].span(),
        target_span: items[1].span(),
        options,
    })
}
