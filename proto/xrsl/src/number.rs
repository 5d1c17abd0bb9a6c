//! Numbers, periods and times the way ARC reads them: with all its surprises, because they decide what a job gets.
//! Must not judge: the lints do that with what these functions return.

/// Seconds in the units of ARC's periods; a month has 30 days, a year 365.
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;
const MONTH: i64 = 30 * DAY;
const YEAR: i64 = 365 * DAY;

fn is_c_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | 0x0B | 0x0C | b'\r')
}

/// Reads a 32-bit integer as a C++ stream does: leading blanks, a sign, digits. Returns it and what follows;
/// nothing if there is no digit or the number is too large.
fn leading_int(s: &[u8]) -> Option<(i32, &[u8])> {
    let start = s.iter().position(|b| !is_c_space(*b))?;
    let s = &s[start..];
    let (negative, digits) = match s.first()? {
        b'-' => (true, &s[1..]),
        b'+' => (false, &s[1..]),
        _ => (false, s),
    };
    let len = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    if len == 0 {
        return None;
    }
    let mut n: i64 = 0;
    for d in &digits[..len] {
        n = (n * 10 + i64::from(d - b'0')).min(i64::from(u32::MAX));
    }
    let n = i32::try_from(if negative { -n } else { n }).ok()?;
    Some((n, &digits[len..]))
}

/// An integer that must be the whole text, as for `count`: leading blanks and a sign pass, trailing blanks do not.
#[must_use]
pub fn whole_int(s: &str) -> Option<i32> {
    leading_int(s.as_bytes()).filter(|(_, rest)| rest.is_empty()).map(|(n, _)| n)
}

/// The integer at the start of the text, as for `memory`: `2GB` is 2, anything else 0.
#[must_use]
pub fn prefix_int(s: &str) -> i32 {
    leading_int(s.as_bytes()).map_or(0, |(n, _)| n)
}

/// What a bare number of a period counts, going down one step after each unit that was named.
#[derive(Clone, Copy)]
enum Base {
    Days,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// A period as for `walltime`, in seconds. A bare number is minutes. ARC never refuses a period: what it cannot read
/// is 0, and so it is here. [`period_is_readable`] tells the two zeros apart.
#[must_use]
pub fn period(s: &str) -> i64 {
    read_period(s.as_bytes()).unwrap_or(0)
}

/// Whether ARC understands the period at all (an explicit 0 is understood).
#[must_use]
pub fn period_is_readable(s: &str) -> bool {
    read_period(s.as_bytes()).is_some() && s.bytes().any(|b| b.is_ascii_digit())
}

fn read_period(s: &[u8]) -> Option<i64> {
    match s.first()? {
        b'P' => iso_period(&s[1..]),
        _ => free_period(s),
    }
}

/// `P1DT2H`; `M` means months until a `T`, `D`, `H`, `W` or another `M` has been seen.
fn iso_period(s: &[u8]) -> Option<i64> {
    let (mut seconds, mut minutes, mut at) = (0_i64, false, 0);
    while let Some(b) = s.get(at) {
        if *b == b'T' {
            minutes = true;
            at += 1;
            continue;
        }
        let len = s[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        let unit = s.get(at + len).filter(|_| len > 0)?;
        let n = stream_int(&s[at..at + len]);
        let factor = match unit {
            b'Y' => YEAR,
            b'M' if !minutes => MONTH,
            b'M' => MINUTE,
            b'W' => WEEK,
            b'D' => DAY,
            b'H' => HOUR,
            b'S' => 1,
            _ => return None,
        };
        minutes |= matches!(unit, b'W' | b'D' | b'H' | b'M');
        seconds = seconds.wrapping_add(n.wrapping_mul(factor));
        at += len + 1;
    }
    Some(seconds)
}

/// `1 day, 2 hours`, `90s`, `1h30`: only the first letter after a number counts.
fn free_period(s: &[u8]) -> Option<i64> {
    let mut seconds = 0_i64;
    let mut base = Base::Minutes;
    let mut number: Option<(usize, usize)> = None;
    for (i, b) in s.iter().enumerate() {
        if b.is_ascii_digit() {
            // Digits after a blank belong to the same number as far as counting goes: `1 2` is read as its first digits.
            number = Some(number.map_or((i, 1), |(start, len)| (start, len + 1)));
            continue;
        }
        let Some((start, len)) = number else { continue };
        let (factor, next) = match b.to_ascii_lowercase() {
            b'w' => (WEEK, Base::Days),
            b'd' => (DAY, Base::Hours),
            b'h' => (HOUR, Base::Minutes),
            b'm' => (MINUTE, Base::Seconds),
            b's' => (1, Base::Milliseconds),
            b' ' => continue,
            _ => return None,
        };
        seconds = seconds.wrapping_add(stream_int(s.get(start..start + len).unwrap_or_default()).wrapping_mul(factor));
        base = next;
        number = None;
    }
    if let Some((start, len)) = number {
        let digits = s.get(start..start + len).unwrap_or_default();
        // The rest must be a number by itself and fit 64 bits, else ARC adds nothing.
        let parsed = std::str::from_utf8(digits).ok().and_then(|d| d.parse::<u64>().ok());
        if let Some(n) = parsed {
            let n = match base {
                Base::Milliseconds => n / 1000,
                Base::Seconds => n,
                Base::Minutes => n.wrapping_mul(MINUTE.unsigned_abs()),
                Base::Hours => n.wrapping_mul(HOUR.unsigned_abs()),
                Base::Days => n.wrapping_mul(DAY.unsigned_abs()),
            };
            seconds = seconds.wrapping_add(n.cast_signed());
        }
    }
    Some(seconds)
}

/// A number that a unit follows: 32 bits, and 0 when it does not fit; blanks inside end it.
fn stream_int(digits: &[u8]) -> i64 {
    leading_int(digits).map_or(0, |(n, _)| i64::from(n))
}

/// The 32 bits in which ARC keeps `walltime` and `cputime`: 99999999999 minutes come out negative.
#[must_use]
pub fn wrap_i32(seconds: i64) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "this is what ARC does")]
    let wrapped = seconds as i32;
    wrapped
}

/// Whether ARC understands a `starttime`; what it does not understand it ignores.
/// Forms: `YYYY-MM-DD hh:mm:ss`, `YYYYMMDDhhmmss`, both with `T`, a fraction, `Z` or an offset; `Sun Nov 22 07:36:57 2026`;
/// `Sun, 22 Nov 2026 07:36:57 GMT`.
#[must_use]
pub fn time_is_readable(s: &str) -> bool {
    let b = s.as_bytes();
    match b.first() {
        Some(d) if d.is_ascii_digit() => numeric_time(b).is_some(),
        Some(_) if b.len() == 24 => named_time(s, &[1, 0, 0, 0, 0]),
        Some(_) if b.len() == 29 => named_time(s, &[2, 0, 0, 0, 0]),
        _ => false,
    }
}

fn numeric_time(b: &[u8]) -> Option<()> {
    let mut at = if fields(b, 10, &[4, 2, 2], Some(b'-')) {
        10
    } else if fields(b, 8, &[4, 2, 2], None) {
        8
    } else {
        return None;
    };
    if matches!(b.get(at), Some(b'T' | b' ')) {
        at += 1;
    }
    let rest = b.get(at..)?;
    at += if fields(rest, 8, &[2, 2, 2], Some(b':')) {
        8
    } else if fields(rest, 6, &[2, 2, 2], None) {
        6
    } else {
        return None;
    };
    if b.get(at) == Some(&b'.') {
        at += 1 + b[at + 1..].iter().take_while(|d| d.is_ascii_digit()).count();
    }
    match b.get(at) {
        Some(b'Z') => at += 1,
        Some(b'+' | b'-') => {
            let rest = b.get(at + 1..)?;
            at += 1 + if fields(rest, 5, &[2, 2], Some(b':')) {
                5
            } else if fields(rest, 4, &[2, 2], None) {
                4
            } else {
                return None;
            };
        }
        _ => {}
    }
    (at == b.len()).then_some(())
}

/// Whether the first `len` bytes are numbers of the given widths, with `separator` between them.
fn fields(b: &[u8], len: usize, widths: &[usize], separator: Option<u8>) -> bool {
    let Some(b) = b.get(..len) else { return false };
    let mut at = 0;
    for (i, width) in widths.iter().enumerate() {
        if i > 0
            && let Some(separator) = separator
        {
            if b.get(at) != Some(&separator) {
                return false;
            }
            at += 1;
        }
        if !b.get(at..at + width).is_some_and(|f| f.iter().all(u8::is_ascii_digit)) {
            return false;
        }
        at += width;
    }
    at == len
}

/// `Sun Nov 22 07:36:57 2026` or `Sun, 22 Nov 2026 07:36:57 GMT`: the first marks which word is the month.
fn named_time(s: &str, month_at: &[usize]) -> bool {
    const MONTHS: &[&str] = &["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = s.split_ascii_whitespace().collect();
    let number = |i: usize| words.get(i).is_some_and(|w| w.bytes().all(|b| b.is_ascii_digit()) && !w.is_empty());
    let time = |i: usize| words.get(i).is_some_and(|w| fields(w.as_bytes(), 8, &[2, 2, 2], Some(b':')) && w.len() == 8);
    let month = month_at.first().copied().unwrap_or(1);
    let has_month = words.get(month).is_some_and(|w| MONTHS.contains(w));
    let rest = if month == 1 { number(2) && time(3) && number(4) } else { number(1) && number(3) && time(4) };
    has_month && rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_read_as_arc_reads_them() {
        for (text, seconds) in [
            ("60", 3600),
            ("1 day, 2 hours", 93_600),
            ("90s", 90),
            ("1d12", 129_600),
            ("1h30", 5400),
            ("P30M", 900 * 86_400),
            ("PT30M", 1800),
            ("P5", 0),
            ("1.5 hours", 0),
            ("1:30", 0),
            ("unlimited", 0),
            ("-5", 300),
            ("2 months", 120),
        ] {
            assert_eq!(period(text), seconds, "{text}");
        }
        assert!(period_is_readable("0") && !period_is_readable("10 years") && !period_is_readable(""));
        assert_eq!(wrap_i32(99_999_999_999 * 60), -69_312_572);
    }

    #[test]
    fn integers_are_read_as_streams_read_them() {
        assert_eq!(whole_int(" +5"), Some(5));
        assert_eq!(whole_int("5 "), None);
        assert_eq!(whole_int("99999999999"), None);
        assert_eq!(prefix_int("2GB"), 2);
        assert_eq!(prefix_int("-3x"), -3);
        assert_eq!(prefix_int("99999999999"), 0);
        assert_eq!(prefix_int("x"), 0);
    }

    #[test]
    fn start_times() {
        for good in ["2030-05-25 21:30:00", "20300525213000Z", "2030-05-25T21:30:00+02:00", "Sun Nov 22 07:36:57 2026"]
        {
            assert!(time_is_readable(good), "{good}");
        }
        for bad in ["2030-05-25 21:30", "tomorrow", "2030-05-25", ""] {
            assert!(!time_is_readable(bad), "{bad}");
        }
    }
}
