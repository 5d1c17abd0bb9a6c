//! The documents of the API say what the types say: `openrpc.json` is made from them, and so is the reference in
//! `PROTOCOL.md`. With `UPDATE=1` in the environment both are written anew; without it a difference is a failure.

mod reference;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use act_proto::{ALL, Kind};

const BEGIN: &str = "<!-- From here on made from the types: `UPDATE=1 cargo test -p act-proto --test protocol` -->\n";

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn update() -> bool {
    std::env::var_os("UPDATE").is_some_and(|v| v == "1")
}

fn protocol() -> String {
    fs::read_to_string(path("PROTOCOL.md")).unwrap()
}

#[test]
fn openrpc_json_is_up_to_date() {
    let wanted = serde_json::to_string_pretty(&act_proto::openrpc::document()).unwrap() + "\n";
    if update() {
        fs::write(path("openrpc.json"), &wanted).unwrap();
    }
    let there = fs::read_to_string(path("openrpc.json")).unwrap_or_default();
    assert!(
        there == wanted,
        "proto/openrpc.json differs from the types: run `{}`",
        BEGIN.split('`').nth(3).unwrap_or("UPDATE=1")
    );
}

#[test]
fn the_reference_in_protocol_md_is_up_to_date() {
    let text = protocol();
    let (head, there) = text.split_once(BEGIN).expect("PROTOCOL.md has lost the line that begins its reference");
    let wanted = reference::markdown(&act_proto::openrpc::document());
    if update() {
        fs::write(path("PROTOCOL.md"), format!("{head}{BEGIN}{wanted}")).unwrap();
        return;
    }
    assert!(there == wanted, "the reference in proto/PROTOCOL.md differs from the types: run the line above it");
}

/// The names that stand as headings in the reference, and every name that the text mentions.
#[test]
fn methods_in_protocol_md_are_the_methods() {
    let text = protocol();
    let real: BTreeSet<&str> =
        ALL.iter().map(|m| m.name).chain(["events.subscribe", "events.unsubscribe", "rpc.discover"]).collect();
    let headings: BTreeSet<&str> =
        text.lines().filter_map(|l| l.strip_prefix("### `")?.split('`').next()).filter(|w| w.contains('.')).collect();
    let expected: BTreeSet<&str> = real.iter().copied().filter(|m| *m != "rpc.discover").collect();
    assert_eq!(headings, expected);
    let areas: BTreeSet<&str> = real.iter().filter_map(|m| m.split('.').next()).collect();
    for word in text.split('`').skip(1).step_by(2) {
        let Some((area, verb)) = word.split_once('.') else { continue };
        let name = verb.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && areas.contains(area);
        // `events.event` is a notification of the daemon's.
        assert!(
            !name || real.contains(word) || word == "events.event",
            "PROTOCOL.md mentions `{word}`, which does not exist"
        );
    }
    assert!(text.contains("`rpc.discover`") && text.contains("`events.unsubscribe`"));
}

#[test]
fn kinds_in_protocol_md_are_the_kinds() {
    let text = protocol();
    let there: BTreeSet<(i32, String, String)> = text
        .lines()
        .filter_map(|l| {
            let mut cells = l.strip_prefix("| ")?.split(" | ");
            let code: i32 = cells.next()?.parse().ok()?;
            let kind = cells.next()?.trim_matches('`').to_owned();
            let exit = cells.next()?.to_owned();
            Some((code, kind, exit))
        })
        .collect();
    let real: BTreeSet<(i32, String, String)> =
        Kind::ALL.iter().map(|k| (k.code().0, k.word().to_owned(), k.exit().to_string())).collect();
    assert_eq!(there, real);
}

#[test]
fn every_type_of_event_is_in_protocol_md() {
    let text = protocol();
    for kind in ["job", "credential", "server", "dir", "progress", "gap", "end"] {
        assert!(text.contains(&format!("| `{kind}` | ")), "event type `{kind}`");
    }
}

#[test]
fn no_two_types_share_a_name() {
    let document = act_proto::openrpc::document();
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(!name.ends_with(|c: char| c.is_ascii_digit()), "{name}: give one of them a schema name of its own");
    }
}
