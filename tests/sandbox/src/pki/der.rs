//! The little of DER that attribute certificates need: a writer of values and a bounded reader.
//!
//! openssl knows X.509 certificates but not the attribute certificates of RFC 5755, so these are put together and taken
//! apart here. This file knows tags and lengths (X.690) and nothing of what the values mean.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// A constructed context-specific tag `[n]`.
pub(super) const fn context(n: u8) -> u8 {
    0xa0 | n
}

/// A primitive context-specific tag `[n]`.
pub(super) const fn context_primitive(n: u8) -> u8 {
    0x80 | n
}

/// One value: tag, definite length, content.
pub(super) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let len = content.len();
    if len < 0x80 {
        out.push(len as u8);
    } else {
        let bytes = len.to_be_bytes();
        let skip = bytes.iter().take_while(|b| **b == 0).count();
        out.push(0x80 | (bytes.len() - skip) as u8);
        out.extend_from_slice(&bytes[skip..]);
    }
    out.extend_from_slice(content);
    out
}

/// A constructed value of these parts.
pub(super) fn of(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    value(tag, &parts.concat())
}

/// A non-negative INTEGER from big-endian bytes.
pub(super) fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let skip = bytes.iter().take_while(|b| **b == 0).count();
    let mut content = bytes[skip..].to_vec();
    if content.first().is_none_or(|b| *b >= 0x80) {
        content.insert(0, 0);
    }
    value(INTEGER, &content)
}

/// An OBJECT IDENTIFIER of its arcs, of which there must be two at least.
pub(super) fn oid(arcs: &[u64]) -> Vec<u8> {
    let mut content = Vec::new();
    let first = arcs.first().copied().unwrap_or(0) * 40 + arcs.get(1).copied().unwrap_or(0);
    for arc in std::iter::once(first).chain(arcs.iter().skip(2).copied()) {
        let groups = (1..10).take_while(|g| arc >> (7 * g) != 0).count();
        for g in (1..=groups).rev() {
            content.push(0x80 | (arc >> (7 * g)) as u8 & 0x7f);
        }
        content.push(arc as u8 & 0x7f);
    }
    value(OID, &content)
}

/// Reads one DER value after another; every method gives `None` on anything that is not well-formed.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    /// The next value as (tag, content).
    pub(super) fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut len = usize::from(first);
        if first >= 0x80 {
            let n = usize::from(first & 0x7f);
            if n == 0 || n > 4 {
                return None;
            }
            let (bytes, tail) = rest.split_at_checked(n)?;
            len = bytes.iter().fold(0, |len, b| len << 8 | usize::from(*b));
            rest = tail;
        }
        let (content, tail) = rest.split_at_checked(len)?;
        self.0 = tail;
        Some((tag, content))
    }

    /// The content of the next value, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.any().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }

    /// A reader of the inside of the next value, which must have this tag.
    pub(super) fn enter(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.expect(tag).map(Reader)
    }

    /// Passes over the next value if it has this tag.
    pub(super) fn skip_if(&mut self, tag: u8) {
        let mut ahead = *self;
        if ahead.expect(tag).is_some() {
            *self = ahead;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lengths_and_identifiers_are_minimal() {
        assert_eq!(value(OCTET_STRING, &[7; 0x7f])[..2], [4, 0x7f]);
        assert_eq!(value(OCTET_STRING, &[7; 0x80])[..3], [4, 0x81, 0x80]);
        assert_eq!(value(OCTET_STRING, &[7; 0x1234])[..4], [4, 0x82, 0x12, 0x34]);
        // The bytes of a real proxy's VOMS extension.
        let voms = [0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xbe, 0x45, 0x64, 0x64, 0x05];
        assert_eq!(oid(&[1, 3, 6, 1, 4, 1, 8005, 100, 100, 5]), voms);
        assert_eq!(unsigned(&[0, 0]), [2, 1, 0]);
        assert_eq!(unsigned(&[0, 0x8b, 1]), [2, 3, 0, 0x8b, 1]);
    }

    #[test]
    fn the_reader_refuses_what_is_cut_off() {
        let whole = of(SEQUENCE, &[&unsigned(&[5]), &value(OCTET_STRING, &[1; 200])]);
        for end in 0..whole.len() {
            assert!(Reader::new(&whole[..end]).any().is_none(), "{end}");
        }
        let mut inside = Reader::new(&whole).enter(SEQUENCE).expect("a sequence");
        inside.skip_if(NULL);
        assert_eq!(inside.expect(INTEGER), Some(&[5][..]));
        assert_eq!(inside.expect(OCTET_STRING).map(<[u8]>::len), Some(200));
        assert!(inside.any().is_none());
    }
}
