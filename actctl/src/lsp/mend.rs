//! Findings as editors show them, and the corrections that go with them.

use std::collections::HashMap;

use gen_lsp_types as lsp;
use gen_lsp_types::{CodeAction, CodeActionKind, DiagnosticSeverity, DiagnosticTag, TextEdit, WorkspaceEdit};
use xrsl::{Diagnostic, Edit, Level};

use super::document::Document;

/// The findings of a document.
#[must_use]
pub fn diagnostics(document: &Document) -> Vec<lsp::Diagnostic> {
    document.findings.iter().map(|d| diagnostic(document, d)).collect()
}

fn diagnostic(document: &Document, d: &Diagnostic) -> lsp::Diagnostic {
    let severity = match d.level {
        Level::Error => DiagnosticSeverity::Error,
        Level::Warning => DiagnosticSeverity::Warning,
        Level::Hint => DiagnosticSeverity::Information,
    };
    let help = d.help.as_deref().map(|h| format!("\n{h}")).unwrap_or_default();
    let tags = matches!(d.code, "W22" | "W23").then(|| vec![DiagnosticTag::Deprecated]);
    lsp::Diagnostic {
        range: document.text.range(d.span),
        severity: Some(severity),
        code: Some(d.code.to_owned().into()),
        source: Some("xrsl".to_owned()),
        message: format!("{}{help}", d.message).into(),
        tags,
        ..lsp::Diagnostic::default()
    }
}

/// The corrections for what lies in a range, and one for all there are. `only`: the kinds asked for, empty for all.
#[must_use]
pub fn actions(document: &Document, range: lsp::Range, only: &[CodeActionKind]) -> Vec<CodeAction> {
    let wanted = |kind: &str| {
        only.is_empty()
            || only.iter().map(|k| String::from(k.clone())).any(|k| k == kind || kind.starts_with(&(k + ".")))
    };
    let mut actions = Vec::new();
    let at = document.text.span(range);
    if wanted("quickfix") {
        for d in &document.findings {
            let touches = d.span.start <= at.end && at.start <= d.span.end;
            let Some(fix) = d.fix.as_ref().filter(|_| touches) else { continue };
            actions.push(CodeAction {
                title: sentence(&fix.title),
                kind: Some(CodeActionKind::QuickFix),
                diagnostics: Some(vec![diagnostic(document, d)]),
                is_preferred: Some(true),
                edit: Some(edit(document, &fix.edits)),
                ..CodeAction::default()
            });
        }
    }
    let fixable = document.findings.iter().filter(|d| d.fix.is_some()).count();
    if wanted("source.fixAll") && (fixable > 1 || (fixable == 1 && !only.is_empty())) {
        let (mended, _) = xrsl::apply_fixes(document.text.as_str(), &document.findings);
        let whole = TextEdit { range: document.text.whole(), new_text: mended };
        actions.push(CodeAction {
            title: format!("Correct all {fixable} mistakes that can be corrected"),
            kind: Some(CodeActionKind::SourceFixAll),
            edit: Some(changes(document, vec![whole])),
            ..CodeAction::default()
        });
    }
    actions
}

/// With a capital letter.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn edit(document: &Document, edits: &[Edit]) -> WorkspaceEdit {
    let edits =
        edits.iter().map(|e| TextEdit { range: document.text.range(e.span), new_text: e.text.clone() }).collect();
    changes(document, edits)
}

/// An edit of this document alone.
#[must_use]
pub fn changes(document: &Document, edits: Vec<TextEdit>) -> WorkspaceEdit {
    WorkspaceEdit { changes: Some(HashMap::from([(document.uri.clone(), edits)])), ..WorkspaceEdit::default() }
}
