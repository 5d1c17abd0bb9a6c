//! Tables as text: act's own layout, cell for cell, and a plain one for what act does not have. No IO.

use serde_json::Value;

use crate::grid::Grid;

/// A table in act's layout: columns as wide as their widest cell, where "nothing" is as wide as Python's `None` but
/// printed as `''`; a blank after every cell, also the last; a rule without one. Without rows it is empty.
///
/// `columns` may hold one twice: it is printed twice, but counts once for the length of the rule, as in act. Columns of
/// the two tables of the server are different columns though their names are equal.
#[must_use]
pub fn act(client: &[String], arc: &[String], grid: &Grid) -> String {
    if grid.is_empty() {
        return String::new();
    }
    let columns: Vec<(bool, &str)> =
        client.iter().map(|c| (false, c.as_str())).chain(arc.iter().map(|c| (true, c.as_str()))).collect();
    let mut widths: Vec<usize> = columns.iter().map(|(_, head)| head.chars().count()).collect();
    for row in grid.rows() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.counted.max(*width);
        }
    }
    let line = widths.iter().map(|width| width + 1).sum::<usize>() + 1;
    let mut out = String::with_capacity(line * (grid.len() + 2));
    for ((_, head), width) in columns.iter().zip(&widths) {
        pad(&mut out, head, head.chars().count(), *width);
    }
    out.push('\n');
    let unique: Vec<usize> = (0..columns.len()).filter(|i| !columns[..*i].contains(&columns[*i])).collect();
    let rule = unique.iter().map(|i| widths[*i]).sum::<usize>() + unique.len().saturating_sub(1);
    out.extend(std::iter::repeat_n('-', rule));
    out.push('\n');
    for row in grid.rows() {
        for (cell, width) in row.zip(&widths) {
            pad(&mut out, cell.text, cell.width, *width);
        }
        out.push('\n');
    }
    out
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

/// A plain table: a head line, cells aligned, no blanks at the ends of lines. Without rows it is empty. A line end in a cell
/// makes no other row.
#[must_use]
pub fn plain(heads: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| one_line(cell)).collect()).collect();
    let width = |i: usize| {
        rows.iter().map(|r| r.get(i).map_or(0, |c| c.chars().count())).fold(heads[i].chars().count(), usize::max)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut out = String::new();
    let head: Vec<String> = heads.iter().map(|h| (*h).to_owned()).collect();
    for row in std::iter::once(&head).chain(&rows) {
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

/// The text with control characters written as escapes.
fn one_line(text: &str) -> String {
    crate::out::printable(text).replace('\n', "\\n").replace('\t', "\\t")
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
