//! What the fuzzer found once: inputs that made the crate panic, point behind the text, propose corrections that do not
//! fit, or take too long.

use std::time::{Duration, Instant};
use xrsl::{LintContext, apply_edits, check, parse_bytes, repair_act_dialect, submissions};

#[test]
fn what_the_fuzzer_found_stays_mended() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions");
    let mut seen = 0;
    for entry in std::fs::read_dir(dir).expect("the inputs are there") {
        let path = entry.expect("readable").path();
        let name = path.display().to_string();
        let start = Instant::now();
        let parsed = parse_bytes(&std::fs::read(&path).expect("readable"));
        let text = parsed.text();
        assert_eq!(parsed.accepted(), parsed.diagnostics().is_empty(), "{name}");
        for d in check(text, &LintContext::default()) {
            assert!(d.span.end as usize <= text.len(), "{name}: {} points behind the text", d.code);
            if let Some(fix) = &d.fix {
                assert_eq!(
                    apply_edits(text, &fix.edits).1,
                    fix.edits.len(),
                    "{name}: a fix of {} does not fit",
                    d.code
                );
            }
        }
        for s in submissions(text).unwrap_or_default() {
            assert_eq!(xrsl::parse(&s.with_sources(|_| Some("https://h/x".to_owned()))).jobs().len(), 1, "{name}");
        }
        let _ = repair_act_dialect(text);
        if parsed.jobs().len() == 1 {
            let renamed = xrsl::rename(text, "new").expect("one job can be renamed");
            assert_eq!(xrsl::parse(&renamed).jobs()[0].name.as_deref(), Some("new"), "{name}");
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{name} took {:?}", start.elapsed());
        seen += 1;
    }
    assert!(seen >= 10, "only {seen} inputs");
}
