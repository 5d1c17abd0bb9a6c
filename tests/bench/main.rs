//! Speed, measured side by side: actd and actctl against the Python client `act` 1.0.0 and against a bare HTTP client that
//! makes the same requests, all at a sandbox on this machine. One command does everything:
//!
//! ```text
//! cargo bench --workspace --bench bench                 # builds in release, prints and saves the table
//! cargo bench --workspace --bench bench -- --only get   # rows whose name contains `get`
//! cargo test  --workspace --bench bench                 # everything once and tiny: shows that it works, measures nothing
//! ```
//!
//! It writes `bench.md`, `bench.json` and `growth.svg` into `--out DIR` (`target/bench`). Programs run in turns, several
//! times; what is told are medians, and ratios of medians of the same turns. It judges no code: a missed target is a row
//! that says so.

mod bed;
mod machine;
mod measure;
mod plot;
mod raw;
mod report;
mod rows;

use std::path::PathBuf;

use report::Report;
use rows::Size;

/// What to do.
struct Args {
    out: PathBuf,
    only: Option<String>,
    size: Size,
}

fn args() -> Args {
    let mut args = Args { out: act_tests::bins::dir().join("../bench"), only: None, size: Size::TINY };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} wants a value"));
        match word.as_str() {
            // Cargo says whether it is to be measured or only tried.
            "--bench" => args.size = Size::FULL,
            "--only" => args.only = Some(value()),
            "--out" => args.out = value().into(),
            "--rounds" => args.size.rounds = value().parse().expect("--rounds wants a number"),
            other => panic!("`{other}`: there are --only ROW, --out DIR, --rounds N"),
        }
    }
    args
}

fn main() {
    let args = args();
    let mut report = Report::new(&args.out, machine::describe());
    for (name, run) in rows::ALL {
        if args.only.as_deref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        eprintln!("== {name}");
        run(&args.size, &mut report);
        // After each: a run that is interrupted has something to show.
        report.save();
    }
    println!("{}", report.markdown());
}
