//! Writes the reference part of `PROTOCOL.md` from the OpenRPC document.

use act_proto::Kind;
use serde_json::Value;

/// Methods, errors and types as Markdown.
pub(crate) fn markdown(document: &Value) -> String {
    let mut out = String::from("\n## Methods\n\n");
    for method in list(&document["methods"]) {
        let name = text(&method["name"]);
        let changes = if method["x-changes"] == true { " (changes something)" } else { "" };
        out.push_str(&format!("### `{name}`{changes}\n\n{}\n\n", text(&method["summary"])));
        let params = match name {
            "events.unsubscribe" => "`{\"subscription\": id}`, or `[id]`".to_owned(),
            _ => kind(&method["params"][0]["schema"]),
        };
        let result = match name {
            "events.subscribe" => "the subscription's id; then notifications `events.event`".to_owned(),
            _ => kind(&method["result"]["schema"]),
        };
        out.push_str(&format!("Parameters: {params}. Result: {result}.\n\n"));
    }
    out.push_str("## Errors\n\n| code | kind | exit code of actctl | meaning |\n|---|---|---|---|\n");
    for kind in Kind::ALL {
        out.push_str(&format!("| {} | `{}` | {} | {} |\n", kind.code().0, kind.word(), kind.exit(), kind.doc()));
    }
    out.push_str("\n## Types\n");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        out.push_str(&format!("\n### {name}\n\n{}\n", prose(&schema["description"])));
        if name == "Kind" {
            out.push_str("\nThe words in the table of errors.\n");
            continue;
        }
        out.push_str(&body(schema));
    }
    out
}

fn body(schema: &Value) -> String {
    let mut out = String::new();
    let words: Vec<(&str, String)> = list(&schema["oneOf"])
        .iter()
        .map(|one| (text(&one["const"]), prose(&one["description"])))
        .filter(|(word, _)| !word.is_empty())
        .collect();
    if !words.is_empty() {
        out.push_str("\n| word | meaning |\n|---|---|\n");
        for (word, meaning) in words {
            out.push_str(&format!("| `{word}` | {meaning} |\n"));
        }
    }
    if let Some(fields) = schema["properties"].as_object()
        && !fields.is_empty()
    {
        let required: Vec<&str> = list(&schema["required"]).iter().map(text).collect();
        out.push_str("\n| field | type | meaning |\n|---|---|---|\n");
        for (field, s) in fields {
            let star = if required.contains(&field.as_str()) { "" } else { "?" };
            out.push_str(&format!("| `{field}`{star} | {} | {} |\n", kind(s), prose(&s["description"])));
        }
    }
    out
}

/// A schema in a few words.
fn kind(s: &Value) -> String {
    if let Some(name) = s["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    for any in ["anyOf", "allOf", "oneOf"] {
        let parts: Vec<String> = list(&s[any]).iter().map(kind).collect();
        if !parts.is_empty() {
            return parts.join(" or ");
        }
    }
    let one = |word: &str| match word {
        "array" => format!("array of {}", kind(&s["items"])),
        "object" if s["additionalProperties"].is_object() => format!("object of {}", kind(&s["additionalProperties"])),
        other => other.to_owned(),
    };
    match &s["type"] {
        Value::String(word) => one(word),
        Value::Array(words) => words.iter().map(|w| one(text(w))).collect::<Vec<_>>().join(" or "),
        _ => "any".to_owned(),
    }
}

/// A doc comment as one line of Markdown: links to Rust items become their names.
fn prose(description: &Value) -> String {
    let mut out = String::new();
    let flat = text(description).split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rest = flat.as_str();
    while let Some((before, after)) = rest.split_once("[`") {
        let Some((item, end)) = after.split_once("`]") else { break };
        out.push_str(&format!("{before}`{}`", item.rsplit("::").next().unwrap_or(item)));
        rest = end;
    }
    out.push_str(rest);
    out.replace('|', "\\|")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
