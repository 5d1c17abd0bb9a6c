//! Prints what is wrong with the descriptions given as files, or with each line of standard input.

use std::io::Read;

fn explain(text: &str) {
    let index = xrsl::LineIndex::new(text);
    for d in xrsl::check(text, &xrsl::LintContext::default()) {
        println!("{} {} {}: {}", index.position(text, d.span.start), d.code, d.level.name(), d.message);
        if let Some(help) = &d.help {
            println!("    help: {help}");
        }
        if let Some(fix) = &d.fix {
            let fixed = xrsl::apply_edits(text, &fix.edits).0;
            println!("    fix: {} -> {}", fix.title, fixed.replace('\n', "⏎"));
        }
    }
}

fn main() {
    let files: Vec<String> = std::env::args().skip(1).collect();
    for file in &files {
        println!("== {file}");
        explain(&xrsl::decode(&std::fs::read(file).unwrap_or_default()));
    }
    if files.is_empty() {
        let mut text = String::new();
        if std::io::stdin().read_to_string(&mut text).is_ok() {
            for line in text.lines() {
                let text = line.replace("\\n", "\n");
                println!("== {}", text.replace('\n', "⏎"));
                explain(&text);
            }
        }
    }
}
