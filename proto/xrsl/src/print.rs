//! Prints an evaluated job the way ARC keeps it: every string in double quotes, names normalised, one blank around
//! everything. Two descriptions with the same print are the same job. Must not look at the source's layout.

use crate::eval::{Flat, FlatNode};

/// The canonical text of one evaluated job, equal to what ARC stores as `clientxrsl`.
#[must_use]
pub fn canonical(text: &[u8], node: &FlatNode) -> String {
    let mut out = Vec::new();
    print_node(text, node, &mut out);
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

fn print_node(text: &[u8], node: &FlatNode, out: &mut Vec<u8>) {
    match node {
        FlatNode::Boolean(op, _, nodes) => {
            out.push(op.symbol() as u8);
            for inner in nodes {
                out.extend_from_slice(b"( ");
                print_node(text, inner, out);
                out.extend_from_slice(b" )");
            }
        }
        FlatNode::Relation(r) => {
            out.extend_from_slice(&r.name);
            out.push(b' ');
            out.extend_from_slice(r.op.symbol().as_bytes());
            out.push(b' ');
            print_list(text, &r.values, out);
        }
    }
}

/// Values with one blank between them.
pub(crate) fn print_list(text: &[u8], values: &[Flat], out: &mut Vec<u8>) {
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        match value {
            Flat::Sequence(_, inner) => {
                out.extend_from_slice(b"( ");
                print_list(text, inner, out);
                out.extend_from_slice(b" )");
            }
            Flat::Literal(..) => quote_into(&value.bytes(text).unwrap_or_default(), out),
        }
    }
}

fn quote_into(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for b in bytes {
        if *b == b'"' {
            out.push(b'"');
        }
        out.push(*b);
    }
    out.push(b'"');
}

/// A string in double quotes as the language wants it: a quote inside is doubled, nothing else is touched.
#[must_use]
pub fn quote(value: &str) -> String {
    format!("\"{}\"", value.replace('"', "\"\""))
}
