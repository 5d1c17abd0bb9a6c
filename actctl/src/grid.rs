//! The cells of a long table as act prints them, read out of JSON as it comes: one text for all of them, and where each ends.
//! A table of ten thousand jobs is an everyday answer, and a string for each of its cells would cost more than the rest.

use std::fmt::{self, Write as _};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// The least that a row takes of a message, bytes: its brackets and a comma.
const LEAST_ROW: usize = 3;

/// Rows of cells. The default is no row.
#[derive(Debug, Clone, Default)]
pub struct Grid {
    text: String,
    cells: Vec<Cell>,
    /// Where each row ends among the cells.
    rows: Vec<usize>,
}

/// A cell: where its text ends, and how many characters act counts for it.
#[derive(Debug, Clone, Copy)]
struct Cell {
    end: usize,
    width: u32,
    counted: u32,
}

/// A cell to print.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// What is printed.
    pub text: &'a str,
    /// How many characters that is.
    pub width: usize,
    /// How many act counts for it: "nothing" is as wide as Python's `None`, though printed as `''`.
    pub counted: usize,
}

impl Grid {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows, each with its cells.
    pub fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = Shown<'_>>> {
        let mut from = 0;
        let mut at = 0;
        self.rows.iter().map(move |end| {
            let cells = self.cells.get(std::mem::replace(&mut from, *end)..*end).unwrap_or_default();
            let mut start = at;
            at = cells.last().map_or(at, |cell| cell.end);
            cells.iter().map(move |cell| Shown {
                text: self.text.get(std::mem::replace(&mut start, cell.end)..cell.end).unwrap_or_default(),
                width: cell.width as usize,
                counted: cell.counted as usize,
            })
        })
    }

    /// Puts the rows of another behind these.
    pub fn append(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        let (text, cells) = (self.text.len(), self.cells.len());
        self.text.push_str(&other.text);
        self.cells.extend(other.cells.into_iter().map(|cell| Cell { end: cell.end + text, ..cell }));
        self.rows.extend(other.rows.into_iter().map(|end| end + cells));
    }

    /// Ends a cell whose text has been written, and began at `start`.
    fn end_cell(&mut self, start: usize, empty: bool) {
        let text = self.text.get(start..).unwrap_or_default();
        let count = if text.is_ascii() { text.len() } else { text.chars().count() };
        let counted = u32::try_from(count).unwrap_or(u32::MAX);
        let width = if empty {
            self.text.truncate(start);
            self.text.push_str("''");
            2
        } else {
            counted
        };
        self.cells.push(Cell { end: self.text.len(), width, counted });
    }

    fn cell(&mut self, text: &str, empty: bool) {
        let start = self.text.len();
        self.text.push_str(text);
        self.end_cell(start, empty);
    }

    fn number(&mut self, number: impl fmt::Display, is_zero: bool) {
        let start = self.text.len();
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{number}");
        self.end_cell(start, is_zero);
    }
}

impl<'de> Deserialize<'de> for Grid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rows;
        impl<'de> Visitor<'de> for Rows {
            type Value = Grid;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("rows of cells")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Grid, A::Error> {
                let mut grid = Grid::default();
                // What the sender says of its length is not to be trusted with memory.
                grid.rows.reserve(seq.size_hint().unwrap_or(0).min(act_proto::MAX_MESSAGE as usize / LEAST_ROW));
                while seq.next_element_seed(Row(&mut grid))?.is_some() {}
                Ok(grid)
            }
        }
        deserializer.deserialize_seq(Rows)
    }
}

struct Row<'a>(&'a mut Grid);

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row of cells")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(One(self.0))?.is_some() {}
        self.0.rows.push(self.0.cells.len());
        Ok(())
    }
}

/// One cell, as act prints it.
struct One<'a>(&'a mut Grid);

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cell")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.cell("None", true);
        Ok(())
    }
    fn visit_bool<E>(self, v: bool) -> Result<(), E> {
        self.0.cell(if v { "True" } else { "False" }, !v);
        Ok(())
    }
    fn visit_i64<E>(self, v: i64) -> Result<(), E> {
        self.0.number(v, v == 0);
        Ok(())
    }
    fn visit_u64<E>(self, v: u64) -> Result<(), E> {
        self.0.number(v, v == 0);
        Ok(())
    }
    fn visit_f64<E>(self, v: f64) -> Result<(), E> {
        self.0.number(Value::from(v), v == 0.0);
        Ok(())
    }
    fn visit_str<E>(self, v: &str) -> Result<(), E> {
        self.0.cell(v, v.trim().is_empty());
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        let list = Value::deserialize(serde::de::value::SeqAccessDeserializer::new(seq))?;
        self.0.cell(&list.to_string(), false);
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let object = Value::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        self.0.cell(&object.to_string(), false);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(grid: &Grid) -> Vec<Vec<String>> {
        grid.rows().map(|row| row.map(|c| format!("{}/{}/{}", c.text, c.width, c.counted)).collect()).collect()
    }

    #[test]
    fn cells_are_what_act_prints_of_each_kind_of_value() {
        let text = r#"[[1, "a\n\u00e9", null], [], [0, "", true, false, -2, 1.5, 0.0, ["x"], {"k": null}, "  "]]"#;
        let mut grid: Grid = serde_json::from_str(text).unwrap();
        let want = vec![
            vec!["1/1/1", "a\né/3/3", "''/2/4"],
            vec![],
            vec![
                "''/2/1",
                "''/2/0",
                "True/4/4",
                "''/2/5",
                "-2/2/2",
                "1.5/3/3",
                "''/2/3",
                r#"["x"]/5/5"#,
                r#"{"k":null}/10/10"#,
                "''/2/2",
            ],
        ];
        assert_eq!(shown(&grid), want);
        grid.append(serde_json::from_str(r#"[["z"]]"#).unwrap());
        assert_eq!(grid.len(), 4);
        assert_eq!(shown(&grid)[2..], [shown(&grid)[2].clone(), vec!["z/1/1".to_owned()]]);
    }
}
