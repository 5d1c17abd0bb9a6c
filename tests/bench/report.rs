//! The table, for people (Markdown) and for programs (JSON), and the plot beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::measure::Cost;
use crate::plot;

/// One line of the table.
#[derive(Default)]
pub(crate) struct Row {
    /// What was done.
    pub(crate) work: String,
    /// What is to be reached.
    pub(crate) target: String,
    /// Our programs.
    pub(crate) ours: Option<Cost>,
    /// The Python client.
    pub(crate) act: Option<Cost>,
    /// The bare client, or `curl`.
    pub(crate) raw: Option<Cost>,
    /// Whether the target is reached; none: only stated.
    pub(crate) met: Option<bool>,
    /// What else was seen.
    pub(crate) note: String,
}

/// All that was measured.
pub(crate) struct Report {
    out: PathBuf,
    machine: String,
    rows: Vec<Row>,
    /// For the plot: by line, (jobs, value).
    growth: BTreeMap<String, Vec<(f64, f64)>>,
}

fn ms(value: f64) -> String {
    match value {
        v if v >= 1_000.0 => format!("{:.2} s", v / 1e3),
        v if v >= 10.0 => format!("{v:.0} ms"),
        v => format!("{v:.1} ms"),
    }
}

impl Report {
    pub(crate) fn new(out: &Path, machine: String) -> Self {
        fs::create_dir_all(out).expect("a directory for the report");
        Self { out: out.to_owned(), machine, rows: Vec::new(), growth: BTreeMap::new() }
    }

    pub(crate) fn row(&mut self, row: Row) {
        let met = row.met.map_or("stated", |met| if met { "yes" } else { "NO" });
        let time = |cost: Option<Cost>| cost.map_or("-".into(), |c| ms(c.ms));
        let (ours, act, raw) = (time(row.ours), time(row.act), time(row.raw));
        eprintln!("   {}: {ours}, act {act}, raw {raw}: {met} ({}) {}", row.work, row.target, row.note);
        self.rows.push(row);
    }

    /// A point of the plot.
    pub(crate) fn grows(&mut self, line: &str, jobs: usize, value: f64) {
        self.growth.entry(line.to_owned()).or_default().push((jobs as f64, value));
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("Measured on {}.\n\n", self.machine);
        text.push_str(
            "| work | target | actd | act 1.0.0 | raw | act / actd | actd / raw | CPU | peak | requests | reached |\n",
        );
        text.push_str("|---|---|---|---|---|---|---|---|---|---|---|\n");
        for row in &self.rows {
            let time = |cost: Option<Cost>| cost.map_or(String::new(), |c| ms(c.ms));
            let ratio = |a: Option<Cost>, b: Option<Cost>| match (a, b) {
                (Some(a), Some(b)) => format!("{:.2}", a.ms / b.ms),
                _ => String::new(),
            };
            let ours = |get: fn(&Cost) -> f64, show: &dyn Fn(f64) -> String| {
                row.ours.as_ref().map(get).filter(|v| *v > 0.0).map_or(String::new(), show)
            };
            let met = row.met.map_or("stated", |met| if met { "yes" } else { "**no**" });
            let work = if row.note.is_empty() { row.work.clone() } else { format!("{}: {}", row.work, row.note) };
            text.push_str(&format!(
                "| {work} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {met} |\n",
                row.target,
                time(row.ours),
                time(row.act),
                time(row.raw),
                ratio(row.act, row.ours),
                ratio(row.ours, row.raw),
                ours(|c| c.cpu_ms, &ms),
                ours(|c| c.peak_mib, &|v| format!("{v:.0} MiB")),
                ours(|c| c.requests, &|v| format!("{v:.0}")),
            ));
        }
        text
    }

    fn json(&self) -> Value {
        let cost = |cost: &Option<Cost>| {
            cost.map(|c| json!({"ms": c.ms, "cpu_ms": c.cpu_ms, "peak_mib": c.peak_mib, "requests": c.requests}))
        };
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|r| {
                json!({"work": r.work, "target": r.target, "actd": cost(&r.ours), "act": cost(&r.act),
                    "raw": cost(&r.raw), "reached": r.met, "note": r.note})
            })
            .collect();
        json!({"schema": "act.bench/1", "machine": self.machine, "rows": rows, "growth": self.growth})
    }

    /// Writes `bench.md`, `bench.json` and `growth.svg`.
    pub(crate) fn save(&self) {
        let write = |name: &str, text: String| fs::write(self.out.join(name), text).expect("the report can be written");
        write("bench.md", self.markdown());
        write("bench.json", format!("{:#}\n", self.json()));
        if !self.growth.is_empty() {
            write("growth.svg", plot::svg(&self.growth));
        }
    }
}
