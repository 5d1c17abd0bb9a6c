//! The text of an open document, and its places as editors count them: lines from 0, columns in UTF-16 code units. Knows
//! nothing of the language.

use gen_lsp_types::{Position, Range};
use xrsl::Span;

/// A text whose lines are known.
#[derive(Debug, Clone)]
pub struct Text {
    text: String,
    /// Where each line starts.
    starts: Vec<usize>,
}

impl Text {
    /// Reads the whole text once.
    #[must_use]
    pub fn new(text: String) -> Self {
        let starts = starts(&text);
        Self { text, starts }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The byte at a place; what lies behind a line's end is its end, what lies behind the text's end is that.
    #[must_use]
    pub fn offset(&self, at: Position) -> usize {
        let line = at.line as usize;
        let Some(start) = self.starts.get(line).copied() else { return self.text.len() };
        let end = self.starts.get(line + 1).copied().unwrap_or(self.text.len());
        let mut units = 0;
        for (i, c) in self.text[start..end].char_indices() {
            if units >= at.character || matches!(c, '\n' | '\r') {
                return start + i;
            }
            units += utf16(c);
        }
        end
    }

    /// The place of a byte; within a character it is that character's.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.starts.partition_point(|s| *s <= offset).saturating_sub(1);
        let start = self.starts.get(line).copied().unwrap_or_default();
        let in_line = self.text[start..offset].chars().take_while(|c| !matches!(c, '\n' | '\r'));
        let character = in_line.map(utf16).sum();
        Position { line: u32::try_from(line).unwrap_or(u32::MAX), character }
    }

    /// The places of a range of bytes.
    #[must_use]
    pub fn range(&self, span: Span) -> Range {
        Range { start: self.position(span.start as usize), end: self.position(span.end as usize) }
    }

    /// The bytes of a range of places.
    #[must_use]
    pub fn span(&self, range: Range) -> Span {
        Span::new(self.offset(range.start), self.offset(range.end))
    }

    /// The places of the whole text.
    #[must_use]
    pub fn whole(&self) -> Range {
        Range { start: Position::default(), end: self.position(self.text.len()) }
    }

    /// Replaces a range, as the editor has done.
    pub fn replace(&mut self, range: Range, new: &str) {
        let (a, b) = (self.offset(range.start), self.offset(range.end));
        self.text.replace_range(a.min(b)..a.max(b), new);
        self.starts = starts(&self.text);
    }
}

fn utf16(c: char) -> u32 {
    if u32::from(c) > 0xFFFF { 2 } else { 1 }
}

/// Lines end with `\n`, `\r\n` or `\r`.
fn starts(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let mut starts = vec![0];
    for (i, b) in bytes.iter().enumerate() {
        if *b == b'\n' || (*b == b'\r' && bytes.get(i + 1) != Some(&b'\n')) {
            starts.push(i + 1);
        }
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u32, character: u32) -> Position {
        Position { line, character }
    }

    #[test]
    fn columns_are_utf_16() {
        let text = Text::new("é𝄞x\r\n&(a)\rb".into());
        for (offset, place) in
            [(0, at(0, 0)), (2, at(0, 1)), (6, at(0, 3)), (7, at(0, 4)), (9, at(1, 0)), (14, at(2, 0))]
        {
            assert_eq!(text.position(offset), place, "{offset}");
            assert_eq!(text.offset(place), offset, "{place:?}");
        }
        assert_eq!(text.position(4), at(0, 1), "within a character");
        assert_eq!(text.offset(at(0, 99)), 7, "a line's end is before what ends it");
        assert_eq!(text.offset(at(9, 0)), 15);
        assert_eq!(text.position(99), at(2, 1));
    }

    #[test]
    fn changes_as_editors_send_them() {
        let mut text = Text::new("a𝄞b\nc".into());
        text.replace(Range { start: at(0, 1), end: at(0, 3) }, "\n");
        assert_eq!(text.as_str(), "a\nb\nc");
        text.replace(Range { start: at(1, 0), end: at(2, 0) }, "");
        assert_eq!(text.as_str(), "a\nc");
        text.replace(Range { start: at(7, 7), end: at(9, 9) }, "!");
        assert_eq!(text.as_str(), "a\nc!");
        assert_eq!(text.whole(), Range { start: at(0, 0), end: at(1, 2) });
    }
}
