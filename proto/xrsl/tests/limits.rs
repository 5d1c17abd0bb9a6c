//! Hostile sizes: deep nesting on a small stack, and texts of 10 MB in bounded time.

use std::time::{Duration, Instant};
use xrsl::{LintContext, check, parse, repair_act_dialect, submissions};

/// Everything the crate does with a text.
fn everything(text: &str) {
    let parsed = parse(text);
    let _ = check(text, &LintContext::default());
    let _ = submissions(text);
    let _ = repair_act_dialect(text);
    for job in parsed.jobs() {
        assert!(!job.canonical().is_empty());
    }
}

#[test]
fn deep_nesting_needs_little_stack() {
    let run = || {
        for depth in [1000, 1100, 100_000] {
            for (open, inside, close) in [
                ("&(", "executable=/bin/true", ")"),
                ("|(", "executable=/bin/true", ")"),
                ("+(", "executable=/bin/true", ")"),
                ("(", "&(executable=/bin/true)", ")"),
                ("&(a=(", "x", "))"),
                ("&(x=(", "", ""),
                ("$(", "", ""),
                ("^(", "", ""),
                ("<a>", "", "</a>"),
                ("&(executable=x)(a=\"", "\\\"", ""),
            ] {
                let start = Instant::now();
                everything(&format!("{}{inside}{}", open.repeat(depth), close.repeat(depth)));
                println!("{depth} {open:?} {:?}", start.elapsed());
            }
            let lists = format!("&(executable=/bin/true)(x={}{})", "(".repeat(depth), ")".repeat(depth));
            assert_eq!(parse(&lists).accepted(), depth < 1024, "{depth}");
            everything(&lists);
        }
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).expect("a thread");
    thread.join().expect("no overflow, no panic");
}

#[test]
fn ten_megabytes_are_read_in_bounded_time() {
    // 10 MB in a release build, less in a debug build, which is more than ten times slower.
    const SIZE: usize = if cfg!(debug_assertions) { 256 << 10 } else { 10 << 20 };
    let fill = |unit: &str| unit.repeat(SIZE / unit.len());
    let members = |unit: &str| format!("&(executable=/bin/true)(inputfiles={})", fill(unit));
    let mut numbered = String::from("&(executable=/bin/true)(inputfiles=");
    for i in 0..SIZE / 40 {
        numbered.push_str(&format!("(\"file{i:08}\" \"https://h/{i:08}\")"));
    }
    numbered.push(')');
    let texts = [
        numbered,
        format!("&(executable=/bin/true)(arguments={})", fill("a \"b\" ")),
        format!("&(executable=/bin/true)(arguments={})", fill("\"b\"'c'")),
        format!("&(executable=/bin/true)(arguments=\"{}\")", fill("\"\"")),
        format!("&(executable=/bin/true)(rsl_substitution=(X y))(arguments={})", fill("$(X)")),
        format!("&(executable=/bin/true){}", fill("(memory=1)")),
        format!("&(executable=/bin/true){}", fill("(exectuable=1)")),
        format!("&(executable=/bin/true){}", fill("(|(queue=a)(queue=b))")),
        format!("+{}", fill("(&(executable=a)(inputfiles=(b c)))")),
        members("(a b)"),
        members("(a/b \"\")"),
        fill("(* c *)") + "&(executable=/bin/true)",
        // Broken ones.
        fill("("),
        fill(")"),
        fill("\""),
        fill("\"\n"),
        fill("(*"),
        fill("^"),
        fill("^a"),
        fill("#"),
        fill("$("),
        fill("&"),
        fill("&("),
        fill("(abc="),
        fill("&(exe=\"a\\\"b"),
        fill("(\"a) (\" "),
        fill("&(a=--b=c)"),
        fill("a=b\n"),
        fill("(* \n"),
        fill("<a>"),
        fill("\0"),
        fill("é"),
        format!("&(a={}", fill("\"(*\" ")),
        format!("&(a=\"{}", fill("(b=c)\n")),
    ];
    // For a busy machine; anything quadratic would take hours.
    let limit = Duration::from_secs(60);
    for text in texts {
        let start = Instant::now();
        everything(&text);
        let took = start.elapsed();
        let shown: String = text.chars().take(60).collect();
        println!("{took:?} {shown:?}");
        assert!(took < limit, "{took:?} for {shown:?}");
    }
}
