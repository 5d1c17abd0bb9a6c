//! Times in a description: `walltime="1 hour 30 min"`, `"PT1H"`, or bare minutes. A value that cannot be read is
//! zero seconds, as ARC treats it.

/// Seconds meant by an xRSL period; a bare number is minutes.
pub(crate) fn seconds(text: &str) -> u64 {
    let text = text.trim();
    match text.strip_prefix('P') {
        Some(rest) => iso(rest).unwrap_or(0),
        None => free(text).unwrap_or(0),
    }
}

/// `PT1H30M` for 5400, the form in which the server stores a period.
pub(crate) fn print(seconds: u64) -> String {
    let mut text = String::from("PT");
    for (unit, letter) in [(3600, 'H'), (60, 'M'), (1, 'S')] {
        let value = if unit == 3600 { seconds / 3600 } else { seconds / unit % 60 };
        if value > 0 {
            text.push_str(&format!("{value}{letter}"));
        }
    }
    if text == "PT" {
        text.push_str("0S");
    }
    text
}

fn iso(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut number = String::new();
    let mut time = false;
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            number.push(letter);
            continue;
        }
        if letter == 'T' {
            time = true;
            continue;
        }
        let unit = match letter {
            'Y' => 365 * 86_400,
            'W' => 7 * 86_400,
            'D' => 86_400,
            'H' => 3600,
            'M' if time => 60,
            'M' => 30 * 86_400,
            'S' => 1,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        number.clear();
    }
    number.is_empty().then_some(total)
}

fn free(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut letters = text.trim_start_matches('-').chars().peekable();
    let mut any = false;
    loop {
        while letters.next_if(|letter| !letter.is_ascii_digit()).is_some() {}
        let mut number = String::new();
        while let Some(digit) = letters.next_if(char::is_ascii_digit) {
            number.push(digit);
        }
        if number.is_empty() {
            return any.then_some(total);
        }
        any = true;
        while letters.next_if_eq(&' ').is_some() {}
        let unit = match letters.next().map(|letter| letter.to_ascii_lowercase()) {
            None | Some('m') => 60,
            Some('s') => 1,
            Some('h') => 3600,
            Some('d') => 86_400,
            Some('w') => 7 * 86_400,
            Some(_) => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_periods() {
        for (text, want) in [
            ("60", 3600),
            ("90s", 90),
            ("1 day, 2 hours", 93_600),
            ("PT1H30M", 5400),
            ("P1D", 86_400),
            ("1:30", 0),
            ("unlimited", 0),
            ("notanumber", 0),
        ] {
            assert_eq!(seconds(text), want, "{text}");
        }
        assert_eq!(print(3600), "PT1H");
        assert_eq!(print(5401), "PT1H30M1S");
        assert_eq!(print(0), "PT0S");
    }
}
