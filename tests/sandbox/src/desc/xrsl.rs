//! Reads the xRSL text that a client sends, into relations of one job. Only what a server needs to run it:
//! no positions in errors, no lints. It must not share code with the client side's parser, so that the two
//! readings check each other.

use std::collections::HashMap;

/// A value: one string, or a parenthesised list of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// One string, variables and concatenation already applied.
    Text(String),
    /// A parenthesised list.
    List(Vec<Item>),
}

/// `(name op value ...)`; `name` is lower case without underscores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relation {
    /// Normalised attribute name.
    pub(crate) name: String,
    /// The operator as written.
    pub(crate) op: &'static str,
    /// The values, possibly none.
    pub(crate) items: Vec<Item>,
}

/// Nesting deeper than this is refused: the text comes from the network.
const MAX_DEPTH: usize = 200;

/// Parses a whole document and returns the relations of its last job (a multi-job text runs only its last job,
/// as observed on a real aCT server).
///
/// # Errors
/// A short English reason; the server only tells its client "Invalid job description".
pub(crate) fn parse(text: &str) -> Result<Vec<Relation>, String> {
    let mut parser = Parser { text: text.as_bytes(), at: 0, depth: 0 };
    let mut jobs = Vec::new();
    parser.skip_space()?;
    parser.document(&mut jobs)?;
    parser.skip_space()?;
    if parser.at != parser.text.len() {
        return Err(format!("unexpected text at byte {}", parser.at));
    }
    jobs.pop().ok_or_else(|| "no job".to_owned())
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

type Variables = HashMap<String, String>;

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) -> Result<(), String> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r') => self.at += 1,
                Some(b'(') if self.text.get(self.at + 1) == Some(&b'*') => {
                    let rest = &self.text[self.at..];
                    let end = rest.windows(2).position(|pair| pair == b"*)").ok_or("comment is not closed")?;
                    self.at += end + 2;
                }
                _ => return Ok(()),
            }
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        self.skip_space()?;
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(format!("'{}' expected at byte {}", char::from(byte), self.at))
    }

    /// `+(job)(job)`, `&(..)`, `|(..)` or one bare relation; each job found is appended.
    fn document(&mut self, jobs: &mut Vec<Vec<Relation>>) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("nested too deeply".to_owned());
        }
        if self.peek() == Some(b'+') {
            self.at += 1;
            let mut any = false;
            loop {
                self.skip_space()?;
                if self.peek() != Some(b'(') {
                    break;
                }
                self.at += 1;
                self.skip_space()?;
                self.document(jobs)?;
                self.expect(b')')?;
                any = true;
            }
            if !any {
                return Err("'+' without jobs".to_owned());
            }
        } else {
            let mut relations = Vec::new();
            self.node(&mut relations, &mut Variables::new())?;
            jobs.push(relations);
        }
        self.depth -= 1;
        Ok(())
    }

    fn node(&mut self, into: &mut Vec<Relation>, variables: &mut Variables) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("nested too deeply".to_owned());
        }
        match self.peek() {
            Some(operator @ (b'&' | b'|')) => {
                self.at += 1;
                let mut scope = variables.clone();
                let mut count = 0;
                loop {
                    self.skip_space()?;
                    if self.peek() != Some(b'(') {
                        break;
                    }
                    self.at += 1;
                    self.skip_space()?;
                    // Of alternatives the first is the job itself; the others only matter to a broker.
                    let mut ignored = Vec::new();
                    let target = if operator == b'|' && count > 0 { &mut ignored } else { &mut *into };
                    self.node(target, &mut scope)?;
                    self.expect(b')')?;
                    count += 1;
                }
                if count == 0 {
                    return Err("operator without relations".to_owned());
                }
            }
            _ => into.push(self.relation(variables)?),
        }
        self.depth -= 1;
        Ok(())
    }

    fn relation(&mut self, variables: &mut Variables) -> Result<Relation, String> {
        let name = self.string()?.ok_or("attribute name expected")?;
        let name = name.to_ascii_lowercase().replace('_', "");
        self.skip_space()?;
        let rest = &self.text[self.at..];
        let op = ["!=", "<=", ">=", "=", "<", ">"]
            .into_iter()
            .find(|op| rest.starts_with(op.as_bytes()))
            .ok_or("operator expected")?;
        self.at += op.len();
        let items = self.items(variables)?;
        if name == "rslsubstitution" {
            for item in &items {
                match item {
                    Item::List(pair) => match pair.as_slice() {
                        [Item::Text(key), Item::Text(value)] => {
                            variables.insert(key.clone(), value.clone());
                        }
                        _ => return Err("rsl_substitution takes pairs".to_owned()),
                    },
                    Item::Text(_) => return Err("rsl_substitution takes pairs".to_owned()),
                }
            }
        }
        Ok(Relation { name, op, items })
    }

    fn items(&mut self, variables: &Variables) -> Result<Vec<Item>, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("nested too deeply".to_owned());
        }
        let mut items = Vec::new();
        loop {
            self.skip_space()?;
            if self.peek() == Some(b'(') {
                self.at += 1;
                let inner = self.items(variables)?;
                self.expect(b')')?;
                items.push(Item::List(inner));
                continue;
            }
            let Some(mut text) = self.simple(variables)? else { break };
            loop {
                // Strings that touch are one; `#` joins across white space.
                if let Some(more) = self.simple(variables)? {
                    text.push_str(&more);
                    continue;
                }
                let before = self.at;
                self.skip_space()?;
                if self.peek() == Some(b'#') {
                    self.at += 1;
                    self.skip_space()?;
                    let more = self.simple(variables)?.ok_or("right operand of '#' expected")?;
                    text.push_str(&more);
                    continue;
                }
                if before == self.at && self.peek() == Some(b'(') {
                    return Err("a list cannot be joined to a string".to_owned());
                }
                break;
            }
            items.push(Item::Text(text));
        }
        self.depth -= 1;
        Ok(items)
    }

    fn simple(&mut self, variables: &Variables) -> Result<Option<String>, String> {
        if self.peek() == Some(b'$') {
            self.at += 1;
            self.expect(b'(')?;
            self.skip_space()?;
            let name = self.string()?.ok_or("variable name expected")?;
            self.expect(b')')?;
            return Ok(Some(variables.get(&name).cloned().unwrap_or_default()));
        }
        self.string()
    }

    fn string(&mut self) -> Result<Option<String>, String> {
        let quote = match self.peek() {
            Some(quote @ (b'"' | b'\'')) => {
                self.at += 1;
                quote
            }
            Some(b'^') => {
                self.at += 1;
                let delimiter = self.peek().ok_or("delimiter expected")?;
                self.at += 1;
                delimiter
            }
            _ => {
                let start = self.at;
                while self.peek().is_some_and(|byte| !b"+&|()=<>!\"'^#$ \t\n\x0b\x0c\r".contains(&byte)) {
                    self.at += 1;
                }
                if start == self.at {
                    return Ok(None);
                }
                return Ok(Some(String::from_utf8_lossy(&self.text[start..self.at]).into_owned()));
            }
        };
        let mut bytes = Vec::new();
        loop {
            let byte = self.peek().ok_or("string is not closed")?;
            self.at += 1;
            if byte == quote {
                if self.peek() != Some(quote) {
                    return Ok(Some(String::from_utf8_lossy(&bytes).into_owned()));
                }
                self.at += 1;
            }
            bytes.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Item {
        Item::Text(value.to_owned())
    }

    #[test]
    fn reads_quotes_comments_lists_and_variables() {
        let relations = parse(
            "(* head *)&(Executable=\"/bin/sh\")(arguments=-c \"say \"\"hi\"\"\" 'it''s')\
             (rsl_substitution=(\"D\" /data))(stdOut=$(D)/out)(input_files=(\"a\" \"\")(b c(*x*)))(queue!=\"long\"#er)",
        )
        .unwrap();
        let names: Vec<_> = relations.iter().map(|relation| relation.name.as_str()).collect();
        assert_eq!(names, ["executable", "arguments", "rslsubstitution", "stdout", "inputfiles", "queue"]);
        assert_eq!(relations[1].items, [text("-c"), text("say \"hi\""), text("it's")]);
        assert_eq!(relations[3].items, [text("/data/out")]);
        assert_eq!(relations[4].items[1], Item::List(vec![text("b"), text("c")]));
        assert_eq!((relations[5].op, &relations[5].items), ("!=", &vec![text("longer")]));
    }

    #[test]
    fn of_many_jobs_the_last_counts() {
        let relations = parse("+(&(executable=a)(jobname=m1))(&(executable=b)(jobname=m2))").unwrap();
        assert_eq!(relations[1].items, [text("m2")]);
    }

    #[test]
    fn refuses_what_is_not_a_description() {
        for bad in ["", "garbage", "&(executable=", "&", "+", "&(a=b", "&(a=\"b)", "(a=b)", "&(a=b)(", "&(a=b)x"] {
            assert!(parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(parse(&"&(".repeat(100_000)).is_err());
        assert!(parse(&format!("&(a={})", "(".repeat(100_000))).is_err());
    }
}
