//! Whatever stands in an editor, at whatever place it asks: an answer, soon, and edits that fit the text.

use std::path::Path;
use std::time::Instant;

use gen_lsp_types::{Position, Range, Uri};

use super::document::Document;
use super::jobs::{Jobs, Known};
use super::text::Text;
use super::{complete, hover, lenses, mend, navigate, outline, scan};

fn document(text: &str) -> Document {
    let uri = Uri::parse("file:///nowhere/at/all/job.xrsl").expect("a URI");
    Document::new(uri, 1, Text::new(text.to_owned()))
}

/// Asks for everything at so many places.
fn everything(text: &str, places: usize) {
    let document = document(text);
    let _ = mend::diagnostics(&document);
    let _ = outline::folds(&document);
    let _ = outline::symbols(&document);
    let mut line = 0;
    for token in outline::semantic_tokens(&document) {
        line += token.delta_line;
        assert!(token.length > 0 && line <= document.text.whole().end.line, "{text:?}: {token:?}");
    }
    let _ = lenses::lenses(&document, &Jobs::default());
    let whole = document.text.whole();
    let _ = mend::actions(&document, whole, &[]);
    let step = (text.len() / places).max(1);
    for at in (0..=text.len()).step_by(step) {
        let position = document.text.position(at);
        let offset = document.text.offset(position);
        assert!(text.is_char_boundary(offset) && offset <= at, "{text:?} at {at}");
        for item in complete::complete(&document, offset, &Known::default(), at % 2 == 0) {
            let Some(gen_lsp_types::CompletionItemTextEdit::TextEdit(edit)) = item.text_edit else { panic!("no edit") };
            assert!(edit.range.start <= position && position <= edit.range.end, "{text:?} at {at}: {edit:?}");
        }
        let _ = hover::hover(&document, offset);
        let _ = navigate::definition(&document, offset);
        let _ = navigate::references(&document, offset, true);
        let _ = navigate::rename(&document, offset, "x");
        let _ = scan::place(text, at);
        let mut changed = document.text.clone();
        changed.replace(Range { start: position, end: Position { line: position.line + 1, character: 3 } }, "é\r\n");
    }
}

#[test]
fn every_description_of_the_corpus_and_each_of_its_beginnings() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/xrsl/tests");
    let mut seen = 0;
    for (dir, places) in [("corpus", 60), ("regressions", 20)] {
        for entry in std::fs::read_dir(tests.join(dir)).expect("the xrsl package's tests").flatten() {
            let bytes = std::fs::read(entry.path()).expect("readable");
            let text = match serde_json::from_slice::<serde_json::Value>(&bytes) {
                Ok(case) => case["text"].as_str().or(case["xrsl"].as_str()).unwrap_or_default().to_owned(),
                Err(_) => xrsl::decode(&bytes).into_owned(),
            };
            if text.is_empty() || text.len() > 20_000 {
                continue;
            }
            seen += 1;
            everything(&text, places);
            // As it is typed.
            for cut in (1..6).map(|n| text.len() * n / 6).filter(|cut| text.is_char_boundary(*cut)) {
                everything(&text[..cut], 5);
            }
        }
    }
    assert!(seen > 150, "only {seen} descriptions");
}

#[test]
fn delimiters_and_quotes_that_cut_characters() {
    for text in [
        "&(a=^éxé)",
        "&(^é=é",
        "&(\"é\"=\"𝄞",
        "$(é",
        "&($(é)=)",
        "^",
        "^é",
        "&(a=^",
        "(*é",
        "&(é𝄞=é#$(𝄞)#'é",
        "\u{feff}&(a=b)\r(c=d)\r\n",
    ] {
        everything(text, text.len());
    }
}

#[test]
fn a_large_description_is_answered_soon() {
    let mut text = String::from("&(executable=/bin/true)\n (inputfiles=");
    for n in 0..5_000 {
        text.push_str(&format!("(\"file{n}\" \"https://host.example.org/data/file{n}\")\n  "));
    }
    text.push_str(")\n (walltime=5)\n");
    let began = Instant::now();
    everything(&text, 3);
    let took = began.elapsed();
    assert!(took.as_secs() < 20, "{} bytes take {took:?}", text.len());
}
