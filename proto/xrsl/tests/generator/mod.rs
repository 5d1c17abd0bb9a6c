//! Makes random descriptions: by the grammar, with the attributes of the table, and mutated. Deterministic for a seed.

mod tokens;

use tokens::TOKENS;
use xrsl::attributes::{ATTRIBUTES, Attribute, Shape};

/// Texts that mean something somewhere.
const WORDS: &[&str] = &[
    "a",
    "b",
    "run.sh",
    "/bin/true",
    "x y",
    "",
    " ",
    "1",
    "0",
    "-1",
    "12",
    "2GB",
    "1.5",
    "007",
    "+5",
    "5 ",
    " 5",
    "99999999999",
    "yes",
    "YES",
    "true",
    "no",
    "inbound",
    "outbound",
    "a@b.c",
    "be a@b.c",
    "bq a@b.c c@d.e",
    "xyz a@b.c",
    "be",
    "http://h/p",
    "https://h:1/p?a=b",
    "file:x",
    "file:///x",
    "file://h/x",
    "gsiftp://u@h/p",
    "x:y",
    "C:/x",
    "@list",
    "#x",
    "lfc://a|b@h/p",
    "http://[::1]:80/x",
    "http://[::1",
    "http://[::1]x/y",
    "http://h:abc/p",
    "://h/p",
    "+:x",
    "arc:x",
    "arc:/x",
    "link:x",
    "urllist:x",
    "a=b",
    "cache=no",
    "location=http://h/p",
    "location=x:y",
    "location=",
    "A-1.2",
    "A-B-3",
    "A-",
    "-1.0",
    "P1D",
    "P30M",
    "PT30M",
    "P5",
    "1 day, 2 hours",
    "1h30",
    "90s",
    "1:30",
    "unlimited",
    "2 months",
    "1d12",
    "1 2",
    "12w3",
    "5 x",
    "P1DT2H3M4S",
    "PT",
    "2030-05-25 21:30:00",
    "tomorrow",
    "(*",
    "*)",
    "(*x*)",
    "é",
    "\"",
    "'",
    "a\"b",
    "it's",
    "^",
    "$",
    "$(X)",
    "&",
    "a(b",
    "a)b",
    "\t",
    "\n",
    "\\",
    "\u{1}",
    "request",
    "cancel",
    "out.txt",
    "dir/",
    "/",
    "10",
    "11",
    "100",
    "101",
    "<a/>",
    "1e3",
    "0x10",
];
const NAMES: &[&str] = &["quux", "my-attr", "a.b", "\"my attr\"", "'x'", "^zez", "stdou", "\"\"", "é", "a/b", "x:"];
const BLANKS: &[&str] =
    &["", "", "", "", " ", " ", "\n", "\t", "(* c *)", " (*)*)", "\r\n", "\u{b}", "(* a \" b *)", "\u{c}"];
/// A xorshift generator with the descriptions made so far to cut from.
pub(crate) struct Generator {
    state: u64,
    corpus: Vec<String>,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
        let mut files: Vec<_> =
            std::fs::read_dir(dir).expect("the corpus").map(|e| e.expect("readable").path()).collect();
        files.sort();
        let xrsl = files.iter().filter(|p| p.extension().is_some_and(|e| e == "xrsl"));
        let corpus = xrsl.map(|p| xrsl::decode(&std::fs::read(p).expect("readable")).into_owned()).collect();
        Self { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, corpus }
    }

    fn below(&mut self, n: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state >> 11).unwrap_or(0) % n.max(1)
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// The next text: made by the grammar, or one of the corpus, often damaged.
    pub(crate) fn text(&mut self) -> String {
        let mut text = if self.one_in(4) {
            let i = self.below(self.corpus.len());
            self.corpus[i].clone()
        } else {
            self.document()
        };
        if self.one_in(3) {
            for _ in 0..=self.below(3) {
                self.mutate(&mut text);
            }
        }
        text
    }

    fn mutate(&mut self, text: &mut String) {
        let mut at = self.below(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let mut end = (at + 1 + self.below(6)).min(text.len());
        while !text.is_char_boundary(end) {
            end += 1;
        }
        match self.below(5) {
            0 => text.replace_range(at..end, ""),
            1 => text.insert_str(at, self.pick(TOKENS)),
            2 => text.replace_range(at..end, self.pick(TOKENS)),
            3 => {
                let again = text[at..end].to_owned();
                text.insert_str(end, &again);
            }
            _ => {
                let word = self.pick(WORDS);
                text.insert_str(at, word);
            }
        }
    }

    fn document(&mut self) -> String {
        let body = match self.below(12) {
            0 => self.relation(),
            1 => {
                let jobs = 1 + self.below(3);
                let jobs: Vec<String> = (0..jobs).map(|_| format!("({})", self.job(1))).collect();
                format!("+{}", jobs.join(self.pick(BLANKS)))
            }
            2 => self.boolean('|', 1),
            _ => self.job(0),
        };
        format!("{}{body}{}", self.pick(BLANKS), self.pick(BLANKS))
    }

    fn job(&mut self, depth: usize) -> String {
        if depth > 0 && self.one_in(8) { self.relation() } else { self.boolean('&', depth) }
    }

    fn boolean(&mut self, op: char, depth: usize) -> String {
        let mut out = format!("{op}{}", self.pick(BLANKS));
        let with_executable = op == '&' && depth == 0 && !self.one_in(6);
        if with_executable {
            out.push_str("(executable=/bin/true)");
        }
        for _ in 0..=self.below(5) {
            let inner = match self.below(14) {
                0 if depth < 3 => self.boolean('|', depth + 1),
                1 if depth < 3 => self.boolean('&', depth + 1),
                2 if self.one_in(10) => self.boolean('+', depth + 1),
                _ => self.relation(),
            };
            out.push_str(&format!("({}{inner}{}){}", self.pick(BLANKS), self.pick(BLANKS), self.pick(BLANKS)));
        }
        out
    }

    fn relation(&mut self) -> String {
        let attribute = &ATTRIBUTES[self.below(ATTRIBUTES.len())];
        if self.one_in(12) {
            let (x, y) = (self.pick(&["X", "Y", "\"a b\""]), self.item(1));
            return format!("rsl_substitution=({x} {y})");
        }
        let name = match self.below(12) {
            0 => self.pick(NAMES).to_owned(),
            1 => attribute.name.to_ascii_uppercase(),
            2 => format!("_{}_", attribute.name),
            3 => format!("\"{}\"", attribute.name),
            _ => attribute.name.to_owned(),
        };
        let op = if self.one_in(8) { self.pick(&["!=", "<", "<=", ">", ">=", "=="]) } else { "=" };
        let values = self.values(attribute);
        format!("{name}{}{op}{}{values}", self.pick(BLANKS), self.pick(BLANKS))
    }

    fn values(&mut self, attribute: &Attribute) -> String {
        let shape = if self.one_in(10) { Shape::Any } else { attribute.shape };
        match shape {
            Shape::Single => {
                if self.one_in(2) && !attribute.values.is_empty() {
                    let word = self.pick(attribute.values);
                    return self.quoted(word);
                }
                self.item(0)
            }
            Shape::List => self.list(0, 3),
            Shape::Files => {
                let n = self.below(4);
                (0..n).map(|_| format!("({})", self.list(2, 2))).collect::<Vec<_>>().join(self.pick(&["", " "]))
            }
            Shape::Tuples(len) => {
                let n = self.below(3);
                (0..n).map(|_| format!("({})", self.list(len, 1))).collect::<Vec<_>>().join(" ")
            }
            Shape::Any => match self.below(4) {
                0 => String::new(),
                1 => self.list(0, 3),
                2 => format!("({})", self.list(0, 3)),
                _ => format!("(({}) {})", self.list(0, 2), self.item(0)),
            },
        }
    }

    fn list(&mut self, min: usize, extra: usize) -> String {
        let n = min + self.below(extra + 1);
        let items: Vec<String> = (0..n).map(|_| self.item(0)).collect();
        items.join(if self.one_in(20) { "" } else { " " })
    }

    fn item(&mut self, depth: usize) -> String {
        match self.below(16) {
            0 => self.pick(&["$(X)", "$(Y)", "$( X )", "$(\"a b\")", "$(nope)"]).to_owned(),
            1 if depth < 3 => {
                format!("{}{}{}", self.item(depth + 1), self.pick(&["", "#", " # ", "(* *)#"]), self.item(depth + 1))
            }
            2 if self.one_in(6) => format!("({})", self.list(0, 2)),
            _ => {
                let word = self.pick(WORDS);
                self.quoted(word)
            }
        }
    }

    fn quoted(&mut self, word: &str) -> String {
        match self.below(8) {
            0 => format!("'{}'", word.replace('\'', "''")),
            1 if !word.is_empty() => word.to_owned(),
            2 => format!("^|{}|", word.replace('|', "||")),
            _ => format!("\"{}\"", word.replace('"', "\"\"")),
        }
    }
}
