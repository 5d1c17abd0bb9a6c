//! Tables as text: act's own layout, cell for cell, and a plain one for what act does not have. No IO.

use std::borrow::Cow;

use serde_json::Value;

/// A table in act's layout: columns as wide as their widest cell, where "nothing" is as wide as Python's `None` but
/// printed as `''`; a blank after every cell, also the last; a rule without one. Without rows it is empty.
///
/// `columns` may hold one twice: it is printed twice, but counts once for the length of the rule, as in act. Columns of
/// the two tables of the server are different columns though their names are equal.
#[must_use]
pub fn act(client: &[String], arc: &[String], rows: &[Vec<Value>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let columns: Vec<(bool, &str)> =
        client.iter().map(|c| (false, c.as_str())).chain(arc.iter().map(|c| (true, c.as_str()))).collect();
    let null = Value::Null;
    let cells: Vec<Cell<'_>> =
        rows.iter().flat_map(|row| (0..columns.len()).map(|i| cell(row.get(i).unwrap_or(&null)))).collect();
    let mut widths: Vec<usize> = columns.iter().map(|(_, head)| head.chars().count()).collect();
    for row in cells.chunks(columns.len().max(1)) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.counted.max(*width);
        }
    }
    let line = widths.iter().map(|width| width + 1).sum::<usize>() + 1;
    let mut out = String::with_capacity(line * (rows.len() + 2));
    for ((_, head), width) in columns.iter().zip(&widths) {
        pad(&mut out, head, head.chars().count(), *width);
    }
    out.push('\n');
    let unique: Vec<usize> = (0..columns.len()).filter(|i| !columns[..*i].contains(&columns[*i])).collect();
    let rule = unique.iter().map(|i| widths[*i]).sum::<usize>() + unique.len().saturating_sub(1);
    out.extend(std::iter::repeat_n('-', rule));
    out.push('\n');
    for row in cells.chunks(columns.len().max(1)) {
        for (cell, width) in row.iter().zip(&widths) {
            pad(&mut out, &cell.text, cell.width, *width);
        }
        out.push('\n');
    }
    out
}

/// What is printed, how many characters that is, and how many act counts for it.
struct Cell<'a> {
    text: Cow<'a, str>,
    width: usize,
    counted: usize,
}

/// A cell as act prints it.
fn cell(value: &Value) -> Cell<'_> {
    let (text, empty): (Cow<'_, str>, bool) = match value {
        Value::Null => ("None".into(), true),
        Value::Bool(b) => (if *b { "True" } else { "False" }.into(), !b),
        Value::Number(n) => (n.to_string().into(), n.as_f64() == Some(0.0)),
        Value::String(s) => (s.as_str().into(), s.trim().is_empty()),
        other => (other.to_string().into(), false),
    };
    let counted = text.chars().count();
    if empty { Cell { text: "''".into(), width: 2, counted } } else { Cell { text, width: counted, counted } }
}

/// A text of so many characters in a column that is so wide.
fn pad(out: &mut String, text: &str, chars: usize, width: usize) {
    const BLANKS: &str = "                                                                ";
    out.push_str(text);
    // At least the blank between the cells.
    let mut left = width.saturating_sub(chars) + 1;
    while left > 0 {
        let some = left.min(BLANKS.len());
        out.push_str(&BLANKS[..some]);
        left -= some;
    }
}

/// A plain table: a head line, cells aligned, no blanks at the ends of lines. Without rows it is empty.
#[must_use]
pub fn plain(heads: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let width = |i: usize| {
        rows.iter().map(|r| r.get(i).map_or(0, |c| c.chars().count())).fold(heads[i].chars().count(), usize::max)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut out = String::new();
    let head: Vec<String> = heads.iter().map(|h| (*h).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (text, width) in row.iter().zip(&widths) {
            pad(&mut line, text, text.chars().count(), *width);
            line.push(' ');
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Comma separated values with a head line (RFC 4180, lines end with a line feed).
#[must_use]
pub fn csv(heads: &[String], rows: &[Vec<Value>]) -> String {
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = String>| {
        let mut first = true;
        for cell in cells {
            if !first {
                out.push(',');
            }
            first = false;
            if cell.contains(['"', ',', '\n', '\r']) {
                out.push_str(&format!("\"{}\"", cell.replace('"', "\"\"")));
            } else {
                out.push_str(&cell);
            }
        }
        out.push('\n');
    };
    line(&mut heads.iter().cloned());
    for row in rows {
        line(&mut row.iter().map(text));
    }
    out
}

/// A value as plain text; null is nothing.
#[must_use]
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

/// A number of bytes for people.
#[must_use]
pub fn bytes(n: u64) -> String {
    indicatif::HumanBytes(n).to_string()
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
