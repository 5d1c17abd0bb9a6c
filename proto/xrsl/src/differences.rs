//! Where this crate judges differently from ARC on purpose: one table, each entry with its reason and an example.
//! The tests hold every entry against this crate, and against ARC itself where it is installed.

/// What ARC 6.17 does with the example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArcDoes {
    /// It accepts it.
    Accepts,
    /// The program that asked it dies.
    Crashes,
    /// It reads memory that does not belong to the description: now it accepts, now it dies.
    Undefined,
    /// Not tried: it would need much memory or time.
    Untried,
}

/// One difference. This crate refuses each example.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// What kind of description.
    pub what: &'static str,
    /// What ARC does with it.
    pub arc: ArcDoes,
    /// Why we refuse it.
    pub why: &'static str,
    /// Makes such a description.
    pub example: fn() -> String,
}

fn deep(depth: usize) -> String {
    format!("{}(executable=/bin/true){}", "&(".repeat(depth) + "&", ")".repeat(depth))
}

fn doubling() -> String {
    let mut text = "&(executable=/bin/true)(rsl_substitution=(A0 xxxxxxxxxxxxxxxx)".to_owned();
    for i in 1..40 {
        text.push_str(&format!("(A{i} $(A{0})$(A{0}))", i - 1));
    }
    text + ")(arguments=$(A39))"
}

fn alternatives() -> String {
    format!("&(executable=/bin/true){}", "(|(memory=1)(memory=2))".repeat(5000))
}

/// All differences.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        what: "a string with its own delimiter that never ends: ^Xabc",
        arc: ArcDoes::Crashes,
        why: "ARC crashes while it writes the message; such a text must never be sent on",
        example: || "&(executable=/bin/true)(arguments=^Xabc)".to_owned(),
    },
    Difference {
        what: "'#' without a right side at the end of an inner list",
        arc: ArcDoes::Crashes,
        why: "ARC notes the error, goes on without the list and then uses it",
        example: || "&(executable=/bin/true)(arguments=(a #))".to_owned(),
    },
    Difference {
        what: "a list inside a pair of environment",
        arc: ArcDoes::Crashes,
        why: "ARC notes the error and then takes the first of no strings",
        example: || "&(executable=/bin/true)(environment=((a)(b)))".to_owned(),
    },
    Difference {
        what: "a rule of notify without a word",
        arc: ArcDoes::Undefined,
        why: "ARC reads behind the end of an empty list; what it finds decides",
        example: || "&(executable=/bin/true)(notify=\"\")".to_owned(),
    },
    Difference {
        what: "parentheses nested more than 1024 deep",
        arc: ArcDoes::Accepts,
        why: "ARC goes on until its stack ends and then crashes; nobody means it",
        example: || deep(1500),
    },
    Difference {
        what: "variables that expand to more than 32 MiB",
        arc: ArcDoes::Untried,
        why: "a few lines could fill any memory",
        example: doubling,
    },
    Difference {
        what: "'|' that makes millions of copies of the job",
        arc: ArcDoes::Untried,
        why: "ARC needs time and memory that grow with the square of the text",
        example: alternatives,
    },
    Difference {
        what: "a description of more than 64 MiB",
        arc: ArcDoes::Untried,
        why: "no server takes it",
        example: || format!("&(executable=/bin/true){}", " ".repeat(crate::MAX_TEXT)),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_refused_with_a_reason() {
        for difference in DIFFERENCES {
            let parsed = crate::parse(&(difference.example)());
            assert!(!parsed.accepted(), "{}", difference.what);
            assert!(!parsed.diagnostics().is_empty());
        }
    }
}
