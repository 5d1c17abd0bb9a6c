//! Everything the crate does with a hostile text: read, judge, mend, edit, prepare, lay out; and what must hold of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xrsl::{LintContext, apply_edits, apply_fixes, check, parse, parse_bytes};

fuzz_target!(|data: &[u8]| {
    let parsed = parse_bytes(data);
    let text = parsed.text().to_owned();
    let findings = check(&text, &LintContext::default());
    for d in &findings {
        assert!(d.span.end as usize <= text.len(), "{} points behind the text", d.code);
        if let Some(fix) = &d.fix {
            let (_, applied) = apply_edits(&text, &fix.edits);
            assert_eq!(applied, fix.edits.len(), "a fix of {} does not fit", d.code);
        }
    }
    let _ = apply_fixes(&text, &findings);
    assert_eq!(parsed.accepted(), parsed.diagnostics().is_empty());
    for (job, flat) in parsed.jobs().iter().zip(parsed.evaluated()) {
        // The canonical print is a fixed point, with ARC's own exceptions: it prints names without quotes, a `(*` that it
        // takes for a comment, and bytes that are no UTF-8 (a delimiter of ^ may cut a character).
        let mut plain_names = true;
        flat.each(&mut |r| {
            plain_names &= !r.name.is_empty() && !r.name.iter().any(|b| matches!(b, b' ' | b'\t'..=b'\r'))
        });
        if !plain_names || job.canonical().contains('\u{fffd}') || job.canonical().contains("(*") {
            continue;
        }
        let again = parse(job.canonical());
        let [same] = again.jobs() else { panic!("the print of a job is not one job: {}", job.canonical()) };
        assert_eq!(same.canonical(), job.canonical());
    }
    if let Ok(submissions) = xrsl::submissions(&text) {
        for s in submissions {
            let sent = s.with_sources(|name| Some(format!("https://dav.example/1/{}", name.len())));
            if !xrsl::adl::is_xml(&sent) && !sent.contains("(*") {
                let parsed = parse(&sent);
                assert_eq!(parsed.jobs().len(), 1, "what is sent is not one job: {sent:?}");
                assert!(
                    parsed.jobs()[0].inputs.iter().all(|i| !matches!(i.source, xrsl::Source::Local(_))),
                    "{sent:?}"
                );
            }
        }
    }
    // A delimiter of ^ that cuts a character in two cannot be edited around.
    if parsed.jobs().len() == 1 && !text.contains("(*") && (text.is_ascii() || !text.contains('^')) {
        let renamed = xrsl::rename(&text, "new \"name\"").expect("one job can be renamed");
        assert_eq!(parse(&renamed).jobs()[0].name.as_deref(), Some("new \"name\""), "{renamed:?}");
        let added = xrsl::add_input(&text, "added", "").expect("one job can get an input");
        assert_eq!(parse(&added).jobs()[0].inputs.len(), parsed.jobs()[0].inputs.len() + 1, "{added:?}");
    }
    if let Some(laid_out) = xrsl::layout(&parsed) {
        assert_eq!(xrsl::layout(&parse(&laid_out)).as_deref(), Some(laid_out.as_str()), "{text:?}");
    }
    if let Ok(swept) = xrsl::expand_sweep(&text, &[vec![("X".to_owned(), "a \"b\"".to_owned())]]) {
        assert!(swept.iter().all(|s| parse(&s.text).jobs().len() == 1), "{text:?}");
    }
    if let Some((mended, _)) = xrsl::repair_act_dialect(&text) {
        assert!(parse(&mended).accepted());
    }
});
