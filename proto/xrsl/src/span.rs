//! Where things are: byte ranges in a description, and the line and column a person sees.
//! Must not know anything about the language.

use std::fmt;

/// A range of bytes in the text of a description, `start` included, `end` not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The range `start..end`. Texts are limited to [`crate::MAX_TEXT`] bytes, so 32 bits are enough.
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        let (start, end) = (clamp(start), clamp(end));
        Self { start, end: end.max(start) }
    }

    /// An empty range at `at`: the place of something that is missing.
    #[must_use]
    pub fn at(at: usize) -> Self {
        Self::new(at, at)
    }

    /// The range as usable for slicing.
    #[must_use]
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The smallest range that holds both.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// Whether no byte lies in the range.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// Whether `other` lies within this range.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The bytes of the range; nothing where it does not fit the text.
    #[must_use]
    pub fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.range()).unwrap_or_default()
    }
}

fn clamp(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// A place in a text as people count: both from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters (not bytes), from 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Finds lines and columns in one text. Only `\n` ends a line; a `\r` before it belongs to the line.
#[derive(Clone, Debug)]
pub struct LineIndex {
    starts: Vec<u32>,
    /// How many characters begin before each `STRIDE`th byte, so that a column in a very long line costs no more.
    characters: Vec<u32>,
}

const STRIDE: usize = 1024;

/// Bytes 10xxxxxx continue a character.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|b| **b & 0xC0 != 0x80).count()
}

impl LineIndex {
    /// Reads the whole text once.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut starts = vec![0];
        starts.extend(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| clamp(i + 1)));
        let mut sum = 0;
        let characters = text.as_bytes().chunks(STRIDE).map(|chunk| {
            let before = clamp(sum);
            sum += characters(chunk);
            before
        });
        Self { starts, characters: characters.collect() }
    }

    /// How many characters begin before a byte.
    fn characters_before(&self, text: &str, at: usize) -> usize {
        let checkpoint = at / STRIDE;
        let known = self.characters.get(checkpoint).map_or(0, |n| *n as usize);
        let from = if checkpoint < self.characters.len() { checkpoint * STRIDE } else { 0 };
        known + characters(text.as_bytes().get(from..at).unwrap_or_default())
    }

    /// How many lines the text has (a text that ends in `\n` has an empty last line).
    #[must_use]
    pub fn lines(&self) -> usize {
        self.starts.len()
    }

    /// The bytes of line `line` (from 1) without its `\n`; the end of the text for a line that does not exist.
    #[must_use]
    pub fn line_span(&self, text: &str, line: usize) -> Span {
        let Some(start) = line.checked_sub(1).and_then(|i| self.starts.get(i)) else {
            return Span::at(text.len());
        };
        let end = self.starts.get(line).map_or(text.len(), |next| *next as usize - 1);
        Span::new(*start as usize, end)
    }

    /// The line and column of a byte offset; an offset past the end is taken for the end.
    #[must_use]
    pub fn position(&self, text: &str, offset: u32) -> Position {
        let offset = (offset as usize).min(text.len());
        let line = self.starts.partition_point(|s| *s as usize <= offset);
        let start = self.starts.get(line.saturating_sub(1)).map_or(0, |s| *s as usize);
        let column = self.characters_before(text, offset) - self.characters_before(text, start) + 1;
        Position { line: line.max(1), column }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_not_bytes() {
        let text = "a\né(b\n";
        let index = LineIndex::new(text);
        assert_eq!(index.lines(), 3);
        assert_eq!(index.position(text, 0).to_string(), "1:1");
        assert_eq!(index.position(text, 4).to_string(), "2:2");
        assert_eq!(index.position(text, 99).to_string(), "3:1");
        assert_eq!(index.line_span(text, 2).of(text.as_bytes()), "é(b".as_bytes());
        assert!(index.line_span(text, 9).is_empty());
        let long = format!("{}\n{}x", "é".repeat(STRIDE), "aé".repeat(STRIDE));
        let index = LineIndex::new(&long);
        for (offset, column) in
            [(0, 1), (2, 2), (2 * STRIDE, STRIDE + 1), (2 * STRIDE + 1, 1), (long.len(), 2 * STRIDE + 2)]
        {
            assert_eq!(index.position(&long, clamp(offset)).column, column, "{offset}");
        }
        let exact = "a".repeat(STRIDE);
        assert_eq!(LineIndex::new(&exact).position(&exact, clamp(STRIDE)).column, STRIDE + 1);
    }
}
