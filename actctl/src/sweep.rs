//! The rows of a parameter sweep, from a CSV file, a file of JSON lines, or ranges of numbers. What a row does to a
//! description is the xrsl package's work.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use xrsl::Row;

use crate::failure::Failure;

/// The most jobs of one sweep.
const MAX_ROWS: usize = 100_000;
/// The largest file of rows, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// Reads rows from a file: JSON lines if its first character is `{`, else CSV whose first line names the columns.
///
/// # Errors
/// It cannot be read, or a line does not fit the first.
pub fn rows_of(path: &Path) -> Result<Vec<Row>, Failure> {
    let shown = path.display();
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|f| f.take(MAX_BYTES + 1).read_to_string(&mut text))
    };
    read.map_err(|e| Failure::local(format!("{shown} cannot be read: {e}")))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Failure::local(format!("{shown} is larger than {} MiB", MAX_BYTES >> 20)));
    }
    let text = text.trim_start_matches('\u{feff}');
    let rows = if text.trim_start().starts_with('{') { json_lines(text) } else { csv(text) };
    let rows = rows.map_err(|why| Failure::usage(format!("{shown}: {why}")))?;
    match rows.len() {
        0 => Err(Failure::usage(format!("{shown} has no rows"))),
        n if n > MAX_ROWS => Err(Failure::usage(format!("{shown} has {n} rows; {MAX_ROWS} are the most"))),
        _ => Ok(rows),
    }
}

fn json_lines(text: &str) -> Result<Vec<Row>, String> {
    let mut rows: Vec<Row> = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let at = i + 1;
        let object: serde_json::Map<String, Value> =
            serde_json::from_str(line).map_err(|e| format!("line {at} is no JSON object: {e}"))?;
        let row: Row = object
            .into_iter()
            .map(|(name, value)| match value {
                Value::String(s) => Ok((name, s)),
                Value::Null => Ok((name, String::new())),
                Value::Bool(_) | Value::Number(_) => Ok((name, value.to_string())),
                _ => Err(format!("line {at}: {name} is neither text nor a number")),
            })
            .collect::<Result<_, _>>()?;
        let same = rows.first().is_none_or(|f| f.iter().map(|(n, _)| n).eq(row.iter().map(|(n, _)| n)));
        if !same {
            return Err(format!("line {at} has other names than the first line"));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn csv(text: &str) -> Result<Vec<Row>, String> {
    let mut records = records(text)?.into_iter();
    let Some((_, header)) = records.next() else { return Ok(Vec::new()) };
    let header: Vec<String> = header.into_iter().map(|name| name.trim().to_owned()).collect();
    let mut rows = Vec::new();
    for (line, fields) in records {
        if fields.len() != header.len() {
            return Err(format!("line {line} has {} fields, the first line {}", fields.len(), header.len()));
        }
        rows.push(header.iter().cloned().zip(fields).collect());
    }
    Ok(rows)
}

/// The records of RFC 4180, each with the line it starts on; empty lines are skipped.
fn records(text: &str) -> Result<Vec<(usize, Vec<String>)>, String> {
    let mut out = Vec::new();
    let (mut fields, mut field) = (Vec::new(), String::new());
    let (mut line, mut start) = (1, 1);
    let mut quoted_from = None;
    let mut was_quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\n' {
            line += 1;
        }
        match c {
            '"' if quoted_from.is_some() && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted_from.is_some() => quoted_from = None,
            '"' if field.is_empty() && !was_quoted => (quoted_from, was_quoted) = (Some(line), true),
            _ if quoted_from.is_some() => field.push(c),
            ',' => {
                fields.push(std::mem::take(&mut field));
                was_quoted = false;
            }
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' => {
                if !fields.is_empty() || !field.is_empty() || was_quoted {
                    fields.push(std::mem::take(&mut field));
                    out.push((start, std::mem::take(&mut fields)));
                }
                was_quoted = false;
                start = line;
            }
            _ => field.push(c),
        }
    }
    if let Some(line) = quoted_from {
        return Err(format!("the quote that starts on line {line} is never closed"));
    }
    if !fields.is_empty() || !field.is_empty() || was_quoted {
        fields.push(field);
        out.push((start, fields));
    }
    Ok(out)
}

/// The rows of `NAME=FIRST..LAST` (both included; leading zeros are kept), every combination where several are given.
///
/// # Errors
/// It has another form, or makes too many rows.
pub fn rows_of_ranges(ranges: &[String]) -> Result<Vec<Row>, Failure> {
    let mut rows: Vec<Row> = vec![Vec::new()];
    for range in ranges {
        let (name, values) = one_range(range).map_err(|why| Failure::usage(format!("--range {range}: {why}")))?;
        if rows.len().saturating_mul(values.len()) > MAX_ROWS {
            return Err(Failure::usage(format!("the ranges make more than {MAX_ROWS} jobs")));
        }
        let longer = |row: &Row| {
            let row = row.clone();
            let name = name.clone();
            values.clone().into_iter().map(move |v| row.iter().cloned().chain([(name.clone(), v)]).collect::<Row>())
        };
        rows = rows.iter().flat_map(longer).collect();
    }
    Ok(rows)
}

fn one_range(range: &str) -> Result<(String, Vec<String>), String> {
    let form = "write NAME=FIRST..LAST, as in i=0..99";
    let (name, span) = range.split_once('=').ok_or(form)?;
    let (first, last) = span.split_once("..").ok_or(form)?;
    let number = |s: &str| s.trim().parse::<i64>().map_err(|_| form.to_owned());
    let (from, to) = (number(first)?, number(last)?);
    if from > to {
        return Err(format!("{from} is greater than {to}"));
    }
    if to.abs_diff(from) >= MAX_ROWS as u64 {
        return Err(format!("that is more than {MAX_ROWS} jobs"));
    }
    let width = if first.trim().len() > 1 && first.trim().starts_with('0') { first.trim().len() } else { 0 };
    Ok((name.trim().to_owned(), (from..=to).map(|n| format!("{n:0width$}")).collect()))
}

/// The descriptions of a sweep: a label for messages, and the text.
///
/// # Errors
/// The description cannot be swept with these rows: what [`xrsl::expand_sweep`] says, each as `line:column: sentence`.
pub fn expand(path: &str, text: &str, rows: &[Row]) -> Result<Vec<(String, String)>, String> {
    let swept = xrsl::expand_sweep(text, rows).map_err(|found| {
        let index = xrsl::LineIndex::new(text);
        let say = |d: &xrsl::Diagnostic| {
            let help = d.help.as_deref().map(|h| format!("; {h}")).unwrap_or_default();
            format!("{}: {}{help}", index.position(text, d.span.start), d.message)
        };
        found.iter().take(10).map(say).collect::<Vec<_>>().join("\n")
    })?;
    Ok(swept.into_iter().map(|s| (format!("{path} (row {})", s.row + 1), s.text)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(rows: &[Row]) -> Vec<Vec<&str>> {
        rows.iter().map(|r| r.iter().map(|(_, v)| v.as_str()).collect()).collect()
    }

    #[test]
    fn csv_as_spreadsheets_write_it() {
        let rows = csv("name, x\r\n\"a, b\",1\r\n\"say \"\"hi\"\"\",\"two\nlines\"\n\nlast,\n").expect("good");
        assert_eq!(values(&rows), [["a, b", "1"], ["say \"hi\"", "two\nlines"], ["last", ""]]);
        assert_eq!(rows[0][1].0, "x");
        assert_eq!(csv("a,b\n1\n"), Err("line 2 has 1 fields, the first line 2".to_owned()));
        assert!(csv("a\n\"1\n").is_err_and(|e| e.contains("line 2")));
    }

    #[test]
    fn json_lines_of_scalars() {
        let rows = json_lines("{\"a\":1,\"b\":\"x\"}\n\n{\"a\":1.50,\"b\":null}\n").expect("good");
        assert_eq!(values(&rows), [["1", "x"], ["1.5", ""]]);
        assert!(json_lines("{\"a\":[1]}").is_err());
        assert!(json_lines("{\"a\":1}\n{\"b\":1}").is_err_and(|e| e.contains("line 2")));
    }

    #[test]
    fn ranges_and_their_combinations() {
        let rows = rows_of_ranges(&["i=08..10".to_owned(), "j=-1..0".to_owned()]).expect("good");
        assert_eq!(values(&rows), [["08", "-1"], ["08", "0"], ["09", "-1"], ["09", "0"], ["10", "-1"], ["10", "0"]]);
        for bad in ["i", "i=1", "i=5..1", "i=0..999999999999", "i=a..b"] {
            assert!(rows_of_ranges(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_sweep_names_its_rows() {
        let rows = rows_of_ranges(&["i=0..1".to_owned()]).expect("good");
        let got = expand("j.xrsl", "&(executable=/a)(arguments=$(i))", &rows).expect("good");
        assert_eq!(got[1].0, "j.xrsl (row 2)");
        assert!(got[1].1.contains("(rsl_substitution=(\"i\" \"1\"))"));
        assert!(expand("j.xrsl", "&(executable=/a)", &rows).is_err_and(|e| e.contains("none of the variables i")));
    }
}
