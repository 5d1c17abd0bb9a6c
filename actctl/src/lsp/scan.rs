//! A reader of half-written descriptions: which words are names, values, comments, and where a cursor stands. It never
//! fails; what the language allows is the xrsl package's business.

use xrsl::Span;

/// What a piece of the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `(* … *)`
    Comment,
    /// An attribute's name.
    Name,
    /// `=`, `!=`, `<`, …
    Relation,
    /// `&`, `|`, `+`
    Boolean,
    /// A value, or a part of one; whether its closing quote is there.
    Value {
        /// The quote, nothing for a bare word.
        quote: Option<u8>,
        /// The closing quote is there.
        closed: bool,
    },
    /// `$(NAME)`; whether its `)` is there.
    Variable {
        /// The `)` is there.
        closed: bool,
    },
    /// `(`, `)`, `#`
    Mark,
}

/// A piece of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
    pub span: Span,
}

/// An open parenthesis, or the text itself.
#[derive(Debug, Clone, Default)]
struct Frame {
    /// Inside the values of a relation.
    list: bool,
    /// `&`, `|` or `+` was seen: relations come in parentheses of their own here.
    boolean: bool,
    /// The attribute's name, once it was seen.
    name: Option<Span>,
    /// Its operator was seen: what follows are values.
    values: bool,
    /// How many values have begun.
    begun: usize,
}

/// Where a cursor stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a comment, or where nothing can be said.
    Nowhere,
    /// An attribute's name may stand here.
    Name {
        /// What of it is there.
        span: Span,
        /// A parenthesis must be opened first.
        bare: bool,
    },
    /// In a value, or where one may stand.
    Value {
        /// The attribute's name as written.
        name: String,
        /// In a list inside the relation.
        in_list: bool,
        /// How many values stand before it, in its list or relation.
        index: usize,
        /// What of it is there, without its quote.
        span: Span,
        /// Its quote.
        quote: Option<u8>,
    },
    /// In `$(…`.
    Variable {
        /// What of the name is there.
        span: Span,
    },
}

struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    frames: Vec<Frame>,
    tokens: Vec<Token>,
}

/// All pieces of a text, in order.
#[must_use]
pub fn tokens(text: &str) -> Vec<Token> {
    Scanner::run(text.as_bytes()).tokens
}

/// Where the cursor stands that is before byte `at`.
#[must_use]
pub fn place(text: &str, at: usize) -> Place {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let scanner = Scanner::run(&text.as_bytes()[..at]);
    let last = scanner.tokens.last().copied();
    // The piece that the cursor touches from behind.
    let touched = last.filter(|t| t.span.end as usize == at);
    let top = scanner.frames.last().cloned().unwrap_or_default();
    let (mut span, mut quote, mut inside) = (Span::at(at), None, false);
    match touched.map(|t| (t.kind, t.span)) {
        Some((Kind::Comment, s)) if !text[s.range()].ends_with("*)") || s.range().len() < 3 => return Place::Nowhere,
        Some((Kind::Variable { closed: false }, s)) => {
            return Place::Variable { span: Span::new((s.start as usize + 2).min(at), at) };
        }
        Some((Kind::Value { quote: None, .. } | Kind::Name, s)) => (span, inside) = (s, true),
        Some((Kind::Value { quote: q, closed: false }, s)) => {
            let lead = if q == Some(b'^') { 2 } else { 1 };
            (span, quote, inside) = (Span::new((s.start as usize + lead).min(at), at), q, true);
        }
        Some((Kind::Value { closed: true, .. } | Kind::Variable { .. }, _)) => return Place::Nowhere,
        _ => {}
    }
    if top.values || top.list {
        let named = scanner.frames.iter().rev().find_map(|f| f.name);
        let Some(name) = named.and_then(|s| text.get(s.range())) else { return Place::Nowhere };
        let name = name.trim_matches(['"', '\'']).to_owned();
        let index = top.begun - usize::from(inside && top.begun > 0);
        return Place::Value { name, in_list: top.list, index, span, quote };
    }
    if top.name.is_some() && !inside {
        return Place::Nowhere;
    }
    Place::Name { span, bare: top.boolean || scanner.frames.len() == 1 }
}

fn is_word(b: u8) -> bool {
    !matches!(b, b'+' | b'&' | b'|' | b'(' | b')' | b'=' | b'<' | b'>' | b'!' | b'"' | b'\'' | b'^' | b'#' | b'$')
        && !b.is_ascii_whitespace()
}

impl<'t> Scanner<'t> {
    fn run(text: &'t [u8]) -> Self {
        let mut scanner = Self { text, at: 0, frames: vec![Frame::default()], tokens: Vec::new() };
        while scanner.at < text.len() {
            scanner.step();
        }
        scanner
    }

    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    fn top(&mut self) -> &mut Frame {
        if self.frames.is_empty() {
            self.frames.push(Frame::default());
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    fn token(&mut self, kind: Kind, len: usize) {
        let mut end = (self.at + len).min(self.text.len());
        // A delimiter of `^` is a byte, and may cut a character in two; a token never does.
        while self.text.get(end).is_some_and(|b| b & 0xC0 == 0x80) {
            end += 1;
        }
        self.tokens.push(Token { kind, span: Span::new(self.at, end) });
        self.at = end;
    }

    fn step(&mut self) {
        match self.byte(self.at) {
            b if b.is_ascii_whitespace() => self.at += 1,
            b'(' if self.byte(self.at + 1) == b'*' => {
                let end = self.find(b"*)", self.at + 2).map_or(self.text.len(), |e| e + 2);
                self.token(Kind::Comment, end - self.at);
            }
            b'(' => {
                let top = self.top();
                let list = top.values || top.list;
                if list {
                    top.begun += 1;
                }
                self.frames.push(Frame { list, ..Frame::default() });
                self.token(Kind::Mark, 1);
            }
            b')' => {
                if self.frames.len() > 1 {
                    self.frames.pop();
                }
                self.token(Kind::Mark, 1);
            }
            b'#' => self.token(Kind::Mark, 1),
            b'&' | b'|' | b'+' => {
                self.top().boolean = true;
                self.token(Kind::Boolean, 1);
            }
            b'=' | b'<' | b'>' | b'!' => {
                let two = self.byte(self.at + 1) == b'=' && self.byte(self.at) != b'=';
                let top = self.top();
                if top.name.is_some() {
                    top.values = true;
                }
                self.token(Kind::Relation, if two { 2 } else { 1 });
            }
            b'$' if self.byte(self.at + 1) == b'(' => {
                let name = self.text[self.at + 2..].iter().take_while(|b| is_word(**b)).count();
                let closed = self.byte(self.at + 2 + name) == b')';
                self.begin();
                self.token(Kind::Variable { closed }, 2 + name + usize::from(closed));
            }
            b'$' => self.token(Kind::Mark, 1),
            quote @ (b'"' | b'\'' | b'^') => self.string(quote),
            _ => {
                let len = self.text[self.at..].iter().take_while(|b| is_word(**b)).count().max(1);
                self.word(len, None, true);
            }
        }
    }

    fn string(&mut self, quote: u8) {
        let (delimiter, lead) = if quote == b'^' { (self.byte(self.at + 1), 2) } else { (quote, 1) };
        let mut end = self.at + lead;
        loop {
            match self.text.get(end) {
                None => return self.word(self.text.len() - self.at, Some(quote), false),
                Some(b) if *b == delimiter && self.byte(end + 1) == delimiter => end += 2,
                Some(b) if *b == delimiter => return self.word(end + 1 - self.at, Some(quote), true),
                // Where the closing quote was forgotten, the next attribute is not a part of the string.
                Some(b'\n') if self.relation_follows(end + 1) => {
                    self.word(end - self.at, Some(quote), false);
                    // What was open in this relation ends with it.
                    while self.frames.len() > 1 && self.frames.last().is_some_and(|f| f.list || f.values) {
                        self.frames.pop();
                    }
                    return;
                }
                Some(_) => end += 1,
            }
        }
    }

    /// Whether a line begins like `(name=`.
    fn relation_follows(&self, at: usize) -> bool {
        let rest = self.text.get(at..).unwrap_or_default();
        let blanks = |bytes: &[u8]| bytes.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let open = blanks(rest);
        if rest.get(open) != Some(&b'(') {
            return false;
        }
        let name = &rest[open + 1..];
        let letters = name.iter().take_while(|b| b.is_ascii_alphabetic() || **b == b'_').count();
        letters > 0
            && name.get(letters + blanks(&name[letters..])).is_some_and(|b| matches!(b, b'=' | b'<' | b'>' | b'!'))
    }

    fn word(&mut self, len: usize, quote: Option<u8>, closed: bool) {
        if !self.top().list && !self.top().values {
            self.token(Kind::Name, len);
            self.top().name = self.tokens.last().map(|t| t.span);
            return;
        }
        self.begin();
        self.token(Kind::Value { quote, closed }, len);
    }

    /// Counts a value, unless it is glued to the one before it.
    fn begin(&mut self) {
        let glued = self.tokens.last().is_some_and(|t| {
            let joins = matches!(t.kind, Kind::Value { .. } | Kind::Variable { .. });
            (joins && t.span.end as usize == self.at) || self.text.get(t.span.range()) == Some(b"#")
        });
        if !glued {
            self.top().begun += 1;
        }
    }

    fn find(&self, needle: &[u8], from: usize) -> Option<usize> {
        let rest = self.text.get(from..)?;
        rest.windows(needle.len()).position(|w| w == needle).map(|i| from + i)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place of the `@` in a text.
    fn at(text: &str) -> Place {
        let cursor = text.find('@').expect("a cursor");
        place(&text.replace('@', ""), cursor)
    }

    fn value(text: &str) -> (String, bool, usize, usize) {
        match at(text) {
            Place::Value { name, in_list, index, span, .. } => (name, in_list, index, span.range().len()),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn names() {
        assert_eq!(at("&(@"), Place::Name { span: Span::at(2), bare: false });
        assert_eq!(at("&(exe@)"), Place::Name { span: Span::new(2, 5), bare: false });
        assert_eq!(at("&(a=b)@"), Place::Name { span: Span::at(6), bare: true });
        assert_eq!(at("&(a=b)\n wall@"), Place::Name { span: Span::new(8, 12), bare: true });
        assert_eq!(at("@"), Place::Name { span: Span::at(0), bare: true });
        assert_eq!(at("&(* @"), Place::Nowhere);
        assert_eq!(at("&(a=\"x\"@)"), Place::Nowhere);
        assert_eq!(at("&(a @)"), Place::Nowhere);
    }

    #[test]
    fn values_and_their_numbers() {
        assert_eq!(value("&(queue=@"), ("queue".into(), false, 0, 0));
        assert_eq!(value("&(queue = \"lo@"), ("queue".into(), false, 0, 2));
        assert_eq!(value("&(arguments=a b @)"), ("arguments".into(), false, 2, 0));
        assert_eq!(value("&(inputfiles=(a \"\")(b @"), ("inputfiles".into(), true, 1, 0));
        assert_eq!(value("&(inputfiles=(a \"\")(\"dat@\""), ("inputfiles".into(), true, 0, 3));
        assert_eq!(value("&(inputfiles=(a \"\") @)"), ("inputfiles".into(), false, 1, 0));
        assert_eq!(value("&(environment=(A $(X)#c @"), ("environment".into(), true, 2, 0));
        assert_eq!(at("&(stdout=$(NA@"), Place::Variable { span: Span::new(11, 13) });
    }

    #[test]
    fn a_quote_without_an_end_does_not_swallow_the_rest() {
        assert_eq!(value("&(stdout=\"out\n (queue=@"), ("queue".into(), false, 0, 0));
        assert_eq!(value("&(arguments=\"two\nlines @"), ("arguments".into(), false, 0, 10));
    }

    #[test]
    fn every_byte_is_looked_at_once() {
        let text = "&(a=^xb\"cx)(* c *)(\"q\"!='d''e' $(F)#g)|+<>=!^$((";
        let mut last = 0;
        for t in tokens(text) {
            assert!(t.span.start >= last && t.span.end > t.span.start, "{t:?}");
            last = t.span.end;
        }
        assert_eq!(last as usize, text.len());
        for i in 0..=text.len() {
            let _ = place(text, i);
        }
    }
}
