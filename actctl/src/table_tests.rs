//! Tables against act's own output, as captured from act 1.0.0 on a real server.

use serde_json::json;

use super::*;

fn names(list: &str) -> Vec<String> {
    list.split(',').filter(|c| !c.is_empty()).map(ToOwned::to_owned).collect()
}

/// Reads a table back: cells of `''` are null, numbers are numbers.
fn rows(sample: &str, columns: &[String]) -> Vec<Vec<Value>> {
    let lines: Vec<&str> = sample.lines().collect();
    let mut at = 0;
    let mut spans = Vec::new();
    for column in columns {
        let start = at + lines[0][at..].find(column.as_str()).unwrap();
        spans.push(start);
        at = start + column.len();
    }
    let value = |text: &str| match text.trim_end() {
        "''" => Value::Null,
        text => text.parse::<u64>().map_or_else(|_| json!(text), |n| json!(n)),
    };
    lines[2..]
        .iter()
        .map(|line| {
            (0..spans.len()).map(|i| value(&line[spans[i]..spans.get(i + 1).copied().unwrap_or(line.len())])).collect()
        })
        .collect()
}

/// The same as it comes from the daemon.
fn grid(rows: &[Vec<Value>]) -> Grid {
    serde_json::from_str(&serde_json::to_string(rows).unwrap()).unwrap()
}

fn check(sample: &str, client: &str, arc: &str) {
    let (client, arc) = (names(client), names(arc));
    let all: Vec<String> = client.iter().chain(&arc).cloned().collect();
    assert_eq!(act(&client, &arc, &grid(&rows(sample, &all))), sample);
}

#[test]
fn default_columns() {
    check(include_str!("../tests/data/stat_ids.txt"), "id,jobname", "JobID,State,arcstate");
    check(include_str!("../tests/data/stat_running.txt"), "id,jobname", "JobID,State,arcstate");
    check(include_str!("../tests/data/stat_mixed.txt"), "id,jobname", "JobID,State,arcstate");
}

#[test]
fn chosen_columns() {
    check(include_str!("../tests/data/stat_error.txt"), "id,jobname", "ExitCode,Error,tstate");
    check(include_str!("../tests/data/stat_times.txt"), "id,created,modified", "EndTime,UsedTotalWallTime");
    check(include_str!("../tests/data/stat_only_id.txt"), "id", "");
    check(include_str!("../tests/data/stat_only_state.txt"), "", "State");
}

#[test]
fn empty_values_are_two_quotes_but_as_wide_as_none() {
    let table = act(&names("id"), &names("E"), &grid(&[vec![json!(1), json!(null)], vec![json!(22), json!("")]]));
    assert_eq!(table, "id E    \n-------\n1  ''   \n22 ''   \n");
    let table = act(&names("id"), &names("X"), &grid(&[vec![json!(1), json!(0)], vec![json!(2), json!("  ")]]));
    assert_eq!(table, "id X  \n-----\n1  '' \n2  '' \n");
}

#[test]
fn a_column_asked_for_twice_counts_once_in_the_rule() {
    let table = act(&names("id,id"), &names("id"), &grid(&[vec![json!(1), json!(1), json!(7)]]));
    assert_eq!(table, "id id id \n-----\n1  1  7  \n");
}

#[test]
fn no_jobs_is_no_table() {
    assert_eq!(act(&names("id"), &[], &Grid::default()), "");
    assert_eq!(plain(&["a"], &[]), "");
}

#[test]
fn width_counts_characters() {
    let table = act(&names("id,jobname"), &[], &grid(&[vec![json!(1), json!("čšž-long-name")]]));
    assert_eq!(table, "id jobname       \n----------------\n1  čšž-long-name \n");
}

#[test]
fn csv_quotes_what_must_be() {
    let text = csv(&names("id,name"), &[vec![json!(1), json!("a,\"b\"")], vec![json!(2), json!(null)]]);
    assert_eq!(text, "id,name\n1,\"a,\"\"b\"\"\"\n2,\n");
}
