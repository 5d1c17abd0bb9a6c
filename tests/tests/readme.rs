//! The README tells of every command and every setting there is, and of none that is not.

use std::collections::BTreeSet;

use act_tests::World;

fn readme() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// What stands in backquotes at the beginning of a row of a table: `sub FILE...` is `sub`.
fn rows(text: &str) -> impl Iterator<Item = &str> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.flat_map(|cell| cell.split(", ")).filter_map(|word| word.strip_prefix('`')?.split(['`', ' ']).next())
}

#[test]
fn every_command_is_told() {
    let world = World::new();
    let help = world.user.actctl(&["--help"]).ok();
    let commands = help.stdout.split("Commands:").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    let commands: BTreeSet<&str> = commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 20, "{help}");
    let readme = readme();
    let text = readme.split("## Commands").nth(1).and_then(|rest| rest.split("**Selectors**").next()).unwrap();
    let told: BTreeSet<&str> = rows(text).filter(|word| !word.starts_with('-')).collect();
    let untold: Vec<_> = commands.iter().filter(|word| **word != "help" && !told.contains(**word)).collect();
    assert!(untold.is_empty(), "the README lacks {untold:?}");
    let unknown: Vec<_> = told.difference(&commands).collect();
    assert!(unknown.is_empty(), "the README tells of {unknown:?}");
}

#[test]
fn every_setting_is_told() {
    let world = World::new();
    let config = world.user.actctl(&["config", "show", "--json"]).ok().json();
    let keys: BTreeSet<&str> =
        config["settings"].as_array().expect("settings").iter().filter_map(|setting| setting["key"].as_str()).collect();
    assert!(keys.len() > 15, "{config}");
    let readme = readme();
    let text = readme.split("## Configuration").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let told: BTreeSet<&str> = rows(text).collect();
    assert_eq!(told, keys, "the README's table and `config show`");
}
