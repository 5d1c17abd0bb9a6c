//! A reader for the little of DER (ITU-T X.690) that certificates need. It never recurses, never allocates, and treats
//! its input as hostile: every length is checked against what is there.

use std::time::{Duration, SystemTime};

/// The input is not the DER that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadDer;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// One value: its tag byte and content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tlv<'a> {
    pub(super) tag: u8,
    pub(super) value: &'a [u8],
}

/// Values one after another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next value. Tags of several bytes and indefinite lengths do not occur in certificates: an error.
    pub(super) fn next(&mut self) -> Result<Tlv<'a>, BadDer> {
        let (&[tag, first], mut rest) = self.0.split_first_chunk::<2>().ok_or(BadDer)?;
        if tag & 0x1f == 0x1f {
            return Err(BadDer);
        }
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 4 {
                return Err(BadDer);
            }
            let (bytes, after) = rest.split_at_checked(count).ok_or(BadDer)?;
            rest = after;
            bytes.iter().fold(0usize, |n, b| n << 8 | usize::from(*b))
        };
        let (value, rest) = rest.split_at_checked(length).ok_or(BadDer)?;
        self.0 = rest;
        Ok(Tlv { tag, value })
    }

    /// The next value, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Result<Tlv<'a>, BadDer> {
        let tlv = self.next()?;
        if tlv.tag == tag { Ok(tlv) } else { Err(BadDer) }
    }

    /// The next value if it has this tag; otherwise nothing is consumed.
    pub(super) fn take_if(&mut self, tag: u8) -> Result<Option<Tlv<'a>>, BadDer> {
        if self.0.first() == Some(&tag) { self.next().map(Some) } else { Ok(None) }
    }
}

impl<'a> Tlv<'a> {
    pub(super) fn inside(&self) -> Der<'a> {
        Der(self.value)
    }

    /// A UTCTime or GeneralizedTime in the form that RFC 5280 section 4.1.2.5 allows: with seconds, ending in Z.
    pub(super) fn time(&self) -> Result<SystemTime, BadDer> {
        let text = std::str::from_utf8(self.value).map_err(|_| BadDer)?;
        let text = text.strip_suffix('Z').ok_or(BadDer)?;
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(BadDer);
        }
        let (year, rest) = match (self.tag, text.len()) {
            (GENERALIZED_TIME, 14) => (number(&text[..4])?, &text[4..]),
            (UTC_TIME, 12) => {
                let year = number(&text[..2])?;
                (if year < 50 { 2000 + year } else { 1900 + year }, &text[2..])
            }
            _ => return Err(BadDer),
        };
        let field = |at: usize| number(&rest[at..at + 2]).and_then(|n| i8::try_from(n).map_err(|_| BadDer));
        let date = jiff::civil::DateTime::new(year, field(0)?, field(2)?, field(4)?, field(6)?, field(8)?, 0);
        let zoned = date.and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC)).map_err(|_| BadDer)?;
        let seconds = u64::try_from(zoned.timestamp().as_second()).map_err(|_| BadDer)?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).ok_or(BadDer)
    }
}

fn number(digits: &str) -> Result<i16, BadDer> {
    digits.parse().map_err(|_| BadDer)
}

/// The value of an extension of an X.509 certificate (RFC 5280 section 4.1), by the DER content of its OID.
pub(super) fn extension<'a>(certificate: &'a [u8], oid: &[u8]) -> Result<Option<&'a [u8]>, BadDer> {
    let mut tbs = Der::new(certificate).expect(SEQUENCE)?.inside().expect(SEQUENCE)?.inside();
    // Everything before the extensions is skipped unread; [3] cannot occur earlier.
    while !tbs.is_empty() {
        let field = tbs.next()?;
        if field.tag != 0xa3 {
            continue;
        }
        let mut extensions = field.inside().expect(SEQUENCE)?.inside();
        while !extensions.is_empty() {
            let mut extension = extensions.expect(SEQUENCE)?.inside();
            let found = extension.expect(OID)?.value == oid;
            extension.take_if(0x01)?;
            let value = extension.expect(OCTET_STRING)?.value;
            if found {
                return Ok(Some(value));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times() {
        let time = |tag, text: &str| Tlv { tag, value: text.as_bytes() }.time();
        let at = |s| Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(s));
        assert_eq!(time(UTC_TIME, "261122075013Z"), at(1_795_333_813));
        assert_eq!(time(GENERALIZED_TIME, "20261122075013Z"), at(1_795_333_813));
        assert_eq!(time(UTC_TIME, "700101000000Z"), at(0));
        for bad in ["261322075013Z", "2611220750Z", "261122075013", "26112207501xZ", "690101000000Z", "é1122075013Z"] {
            assert_eq!(time(UTC_TIME, bad), Err(BadDer), "{bad}");
        }
    }

    #[test]
    fn lengths_are_checked() {
        for bad in
            [&[0x30][..], &[0x30, 0x05, 0x00], &[0x30, 0x80, 0, 0], &[0x30, 0x85, 0, 0, 0, 0, 1], &[0x1f, 0x01, 0x00]]
        {
            assert_eq!(Der::new(bad).next(), Err(BadDer), "{bad:02x?}");
        }
        let long = [&[0x04, 0x82, 0x01, 0x00][..], &[7; 256]].concat();
        assert_eq!(Der::new(&long).next().map(|t| t.value.len()), Ok(256));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = extension(&bytes, &[1, 2]);
            let mut der = Der::new(&bytes);
            while let Ok(tlv) = der.next() {
                let _ = tlv.time();
            }
        }
    }
}
