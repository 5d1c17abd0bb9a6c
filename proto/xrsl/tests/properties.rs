//! What must hold of any text: nothing panics, prints are fixed points, edits leave everything else alone.

#[path = "generator/tokens.rs"]
mod tokens;

use proptest::collection::vec;
use proptest::prelude::*;
use tokens::TOKENS;
use xrsl::{LintContext, apply_edits, check, decode, layout, parse, parse_bytes, repair_act_dialect, submissions};

/// Pieces that descriptions are made of, so that random sequences reach deep into the parser.
fn piece() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(TOKENS);
    prop_oneof![6 => fixed.prop_map(str::to_owned), 1 => "[ -~]{0,6}", 1 => any::<char>().prop_map(String::from)]
}

fn text() -> impl Strategy<Value = String> {
    vec(piece(), 0..40).prop_map(|pieces| pieces.concat())
}

/// A value that may need quotes.
fn value() -> impl Strategy<Value = String> {
    "[ -~é]{1,12}".prop_filter("ARC takes (* in quotes for a comment", |s| !s.contains("(*"))
}

/// A good job: name, arguments, inputs, and comments and blanks in odd places.
fn job() -> impl Strategy<Value = String> {
    let input = ("[a-z]{1,8}", prop_oneof![Just(String::new()), "[a-z/]{1,8}", Just("https://h/p".to_owned())]);
    (value(), vec(value(), 0..4), vec(input, 0..4), "( |\n|\\(\\* c \\*\\)){0,3}").prop_map(
        |(name, arguments, inputs, blank)| {
            let arguments: Vec<String> = arguments.iter().map(|a| xrsl::print::quote(a)).collect();
            let mut seen = std::collections::BTreeSet::new();
            let inputs: Vec<String> = inputs
                .iter()
                .filter(|(n, _)| seen.insert(n.clone()))
                .map(|(n, s)| format!("({n}{blank} \"{s}\")"))
                .collect();
            format!(
                "&{blank}(executable=/bin/true)(jobname={blank}{}){blank}(arguments={})(inputfiles={blank}{})",
                xrsl::print::quote(&name),
                arguments.join(" "),
                inputs.join(&blank)
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..200)) {
        let parsed = parse_bytes(&bytes);
        prop_assert_eq!(parsed.accepted(), parsed.diagnostics().is_empty());
        let _ = check(&decode(&bytes), &LintContext::default());
    }

    #[test]
    fn any_text_is_judged_without_panic(text in text()) {
        let parsed = parse(&text);
        for d in check(&text, &LintContext::default()) {
            prop_assert!(d.span.end as usize <= text.len());
            if let Some(fix) = &d.fix {
                prop_assert_eq!(apply_edits(&text, &fix.edits).1, fix.edits.len(), "{}", d.code);
            }
        }
        let _ = submissions(&text);
        if let Some((mended, _)) = repair_act_dialect(&text) {
            prop_assert!(parse(&mended).accepted());
        }
        if let Some(laid_out) = layout(&parsed) {
            let again = layout(&parse(&laid_out));
            prop_assert_eq!(again.as_deref(), Some(laid_out.as_str()));
        }
    }

    #[test]
    fn the_print_of_a_good_job_is_a_fixed_point(text in job()) {
        let parsed = parse(&text);
        prop_assert!(parsed.accepted(), "{:?}", parsed.diagnostics());
        let printed = parsed.jobs()[0].canonical();
        let again = parse(printed);
        prop_assert_eq!(again.jobs()[0].canonical(), printed);
        let laid_out = layout(&parsed).expect("a good job has a layout");
        let laid_out = parse(&laid_out);
        prop_assert_eq!(laid_out.jobs()[0].canonical(), printed);
    }

    #[test]
    fn renaming_touches_the_name_only(text in job(), name in value()) {
        let renamed = xrsl::rename(&text, &name).expect("one job");
        let (before, after) = (parse(&text), parse(&renamed));
        let (before, after) = (&before.jobs()[0], &after.jobs()[0]);
        prop_assert_eq!(after.name.as_deref(), Some(name.as_str()));
        prop_assert_eq!(&after.arguments, &before.arguments);
        prop_assert_eq!(after.inputs.len(), before.inputs.len());
        // Byte for byte: what stands before and behind the name is untouched.
        let quoted = xrsl::print::quote(before.name.as_deref().unwrap_or_default());
        let (head, tail) = text.split_once(&format!("{quoted})")).expect("the name stands there");
        prop_assert!(renamed.starts_with(head) && renamed.ends_with(tail), "{renamed}");
    }

    #[test]
    fn sources_become_urls_and_the_rest_stays(text in job()) {
        let s = xrsl::for_submission(&text, 0);
        prop_assume!(s.is_ok());
        let s = s.expect("checked");
        prop_assert_eq!(&s.text(), &text);
        let sent = s.with_sources(|name| Some(format!("https://dav/{name}")));
        let (before, after) = (parse(&text), parse(&sent));
        let (before, after) = (&before.jobs()[0], &after.jobs()[0]);
        prop_assert_eq!(&after.arguments, &before.arguments);
        for (a, b) in before.inputs.iter().zip(&after.inputs) {
            prop_assert_eq!(&a.name, &b.name);
            let want = match &a.source {
                xrsl::Source::Local(_) => format!("https://dav/{}", a.name),
                _ => a.written.clone(),
            };
            prop_assert_eq!(&b.written, &want);
        }
        // The way back gives the text again.
        let mut back = sent;
        for input in before.inputs.iter().filter(|i| matches!(i.source, xrsl::Source::Local(_))) {
            let url = xrsl::print::quote(&format!("https://dav/{}", input.name));
            back = back.replacen(&url, &xrsl::print::quote(&input.written), 1);
        }
        prop_assert_eq!(back, text);
    }
}
