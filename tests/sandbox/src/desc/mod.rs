//! A job description as the server understands it: read from xRSL or ADL, checked for shape, printed back the way
//! the real server stores it. Pure; whether input files exist is the caller's question.

mod adl;
mod period;
mod xrsl;

use serde::{Deserialize, Serialize};
use xrsl::{Item, Relation};

/// One pair of `inputfiles`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Input {
    /// Path in the session directory.
    pub(crate) name: String,
    /// As written: empty, a path or a URL.
    pub(crate) source: String,
    /// The pair asks the CE not to cache (`cache=no`), which makes the CE wait for a local file for ever.
    pub(crate) uncached: bool,
}

impl Input {
    /// Whether the client uploads this file to the server (and not the CE from a URL).
    pub(crate) fn is_local(&self) -> bool {
        match self.source.split_once(':') {
            None => true,
            Some((scheme, rest)) => {
                let scheme_like = scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter));
                !scheme_like || (scheme == "file" && (!rest.starts_with("//") || rest.starts_with("///")))
            }
        }
    }
}

/// One pair of `outputfiles`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Output {
    /// Path in the session directory; a trailing `/` means a directory, `/` alone everything.
    pub(crate) name: String,
    /// Empty to keep it for download, or a URL.
    pub(crate) target: String,
}

/// What the CE needs to run one job.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) name: String,
    pub(crate) executable: Option<String>,
    pub(crate) arguments: Vec<String>,
    pub(crate) stdin: Option<String>,
    pub(crate) stdout: Option<String>,
    pub(crate) stderr: Option<String>,
    pub(crate) join: bool,
    pub(crate) gmlog: Option<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) inputs: Vec<Input>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) executables: Vec<String>,
    /// Seconds.
    pub(crate) walltime: Option<u64>,
    /// Seconds.
    pub(crate) cputime: Option<u64>,
    pub(crate) count: u64,
    /// A period without any number: accepted by the server, refused by the CE.
    pub(crate) bad_for_ce: bool,
}

impl Description {
    /// Executable and arguments, for people and for counting.
    pub(crate) fn command_line(&self) -> String {
        let mut line = self.executable.clone().unwrap_or_default();
        for argument in &self.arguments {
            line.push(' ');
            line.push_str(argument);
        }
        line
    }
}

/// A description together with its source form.
pub(crate) struct Parsed {
    /// What to run.
    pub(crate) description: Description,
    relations: Vec<Relation>,
}

const SINGLE: [&str; 14] = [
    "executable",
    "stdin",
    "stdout",
    "stderr",
    "join",
    "gmlog",
    "jobname",
    "cputime",
    "walltime",
    "memory",
    "disk",
    "count",
    "queue",
    "cache",
];

/// Reads an xRSL or ADL text.
///
/// # Errors
/// Why it is not a job description; the real server says only "Invalid job description".
pub(crate) fn parse(text: &str) -> Result<Parsed, String> {
    let relations = if text.trim_start().starts_with('<') { adl::parse(text)? } else { xrsl::parse(text)? };
    let mut job = Description { count: 1, ..Description::default() };
    let mut uncached = false;
    for Relation { name, items, .. } in &relations {
        if SINGLE.contains(&name.as_str()) && !matches!(items.as_slice(), [Item::Text(_)]) {
            return Err(format!("{name} takes one string"));
        }
        let first = match items.first() {
            Some(Item::Text(text)) => text.clone(),
            _ => String::new(),
        };
        match name.as_str() {
            "executable" => {
                if job.executable.as_ref().is_some_and(|old| !old.is_empty()) {
                    return Err("executable is given twice".to_owned());
                }
                job.executable = Some(first);
            }
            "arguments" => job.arguments = strings(items)?,
            "stdin" => job.stdin = Some(first),
            "stdout" => job.stdout = Some(first),
            "stderr" => job.stderr = Some(first),
            "join" => job.join = matches!(first.as_str(), "yes" | "true"),
            "gmlog" => job.gmlog = Some(first),
            "jobname" => job.name = first,
            "environment" => {
                for members in lists(items)? {
                    match members.as_slice() {
                        [key, value] => job.environment.push((key.clone(), value.clone())),
                        _ => return Err("environment takes pairs".to_owned()),
                    }
                }
            }
            "inputfiles" => {
                for members in lists(items)? {
                    let [name, source, options @ ..] = members.as_slice() else {
                        return Err("inputfiles takes pairs".to_owned());
                    };
                    if name.is_empty() {
                        return Err("an input file without a name".to_owned());
                    }
                    let uncached = options.iter().any(|option| option == "cache=no");
                    job.inputs.push(Input { name: name.clone(), source: source.clone(), uncached });
                }
            }
            "outputfiles" => {
                for members in lists(items)? {
                    let [name, target, ..] = members.as_slice() else {
                        return Err("outputfiles takes pairs".to_owned());
                    };
                    job.outputs.push(Output { name: name.clone(), target: target.clone() });
                }
            }
            "executables" => job.executables = strings(items)?,
            "cache" => uncached = first == "no",
            "cputime" | "walltime" => {
                job.bad_for_ce |= !first.contains(|letter: char| letter.is_ascii_digit());
                let seconds = Some(period::seconds(&first));
                if name == "cputime" { job.cputime = seconds } else { job.walltime = seconds }
            }
            "count" => job.count = first.trim().parse().map_err(|_| "count takes an integer")?,
            _ => {}
        }
    }
    if uncached {
        job.inputs.iter_mut().for_each(|input| input.uncached = true);
    }
    Ok(Parsed { description: job, relations })
}

fn strings(items: &[Item]) -> Result<Vec<String>, String> {
    items
        .iter()
        .map(|item| match item {
            Item::Text(text) => Ok(text.clone()),
            Item::List(_) => Err("a list where a string belongs".to_owned()),
        })
        .collect()
}

fn lists(items: &[Item]) -> Result<Vec<Vec<String>>, String> {
    items
        .iter()
        .map(|item| match item {
            Item::List(members) => strings(members),
            Item::Text(_) => Err("a string where a list belongs".to_owned()),
        })
        .collect()
}

/// The order in which the real server prints attributes (observed); the rest follows in the order given.
const ORDER: [&str; 17] = [
    "executable",
    "arguments",
    "stdin",
    "stdout",
    "stderr",
    "join",
    "cputime",
    "walltime",
    "memory",
    "disk",
    "count",
    "environment",
    "inputfiles",
    "executables",
    "outputfiles",
    "gmlog",
    "jobname",
];

impl Parsed {
    /// The text kept in the column `jobdesc`: attributes in the server's order, local sources pointing into
    /// `data_dir`, periods as ISO 8601, and the client's text as `clientxrsl`.
    pub(crate) fn stored_text(&self, data_dir: &str) -> String {
        let rank = |relation: &Relation| ORDER.iter().position(|name| *name == relation.name).unwrap_or(ORDER.len());
        let mut relations = self.relations.clone();
        relations.sort_by_key(rank);
        let mut inputs = self.description.inputs.iter();
        for relation in &mut relations {
            match (relation.name.as_str(), relation.items.as_mut_slice()) {
                ("cputime" | "walltime", [Item::Text(text)]) => *text = period::print(period::seconds(text)),
                ("inputfiles", pairs) => {
                    for (pair, input) in pairs.iter_mut().zip(&mut inputs) {
                        if let (Item::List(members), true) = (pair, input.is_local()) {
                            members[1] = Item::Text(format!("file:{data_dir}/{}", input.name));
                        }
                    }
                }
                _ => {}
            }
        }
        let client = Relation { name: "clientxrsl".into(), op: "=", items: vec![Item::Text(print(&self.relations))] };
        relations.push(client);
        print(&relations)
    }
}

fn print(relations: &[Relation]) -> String {
    let mut text = String::from("&");
    for relation in relations {
        text.push_str("( ");
        text.push_str(&relation.name);
        text.push(' ');
        text.push_str(relation.op);
        text.push(' ');
        print_items(&relation.items, &mut text);
        text.push_str(" )");
    }
    text
}

fn print_items(items: &[Item], text: &mut String) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push(' ');
        }
        match item {
            Item::Text(value) => {
                text.push('"');
                text.push_str(&value.replace('"', "\"\""));
                text.push('"');
            }
            Item::List(members) => {
                text.push_str("( ");
                print_items(members, text);
                text.push_str(" )");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_a_real_server_stored() {
        let parsed = parse(
            "&(executable=\"/bin/cat\")(arguments=\"f.txt\")(inputfiles=(\"f.txt\" \"/local/dir/g.txt\"))(stdout=\"o\")\
             (jobname=\"put-b\")",
        )
        .unwrap();
        assert_eq!(
            parsed.stored_text("/srv/act/data/12"),
            "&( executable = \"/bin/cat\" )( arguments = \"f.txt\" )( stdout = \"o\" )( inputfiles = ( \"f.txt\" \
             \"file:/srv/act/data/12/f.txt\" ) )( jobname = \"put-b\" )( clientxrsl = \"&( executable = \"\"/bin/cat\"\" \
             )( arguments = \"\"f.txt\"\" )( inputfiles = ( \"\"f.txt\"\" \"\"/local/dir/g.txt\"\" ) )( stdout = \"\"o\"\" \
             )( jobname = \"\"put-b\"\" )\" )"
        );
    }

    #[test]
    fn tells_local_inputs_from_remote_ones() {
        for (source, local) in [
            ("", true),
            ("in.txt", true),
            ("/a/b", true),
            ("file:/a", true),
            ("file:///a", true),
            ("file://host/a", false),
            ("https://h/x", false),
            ("srm://h/x", false),
        ] {
            let input = Input { name: "n".into(), source: source.into(), uncached: false };
            assert_eq!(input.is_local(), local, "{source}");
        }
    }

    #[test]
    fn shapes_are_checked() {
        assert!(parse("&(executable=a b)").is_err());
        assert!(parse("&(executable=a)(inputfiles=a b)").is_err());
        assert!(parse("&(executable=a)(environment=(A))").is_err());
        let parsed = parse("&(executable=x)(cputime=notanumber)(unknown=1)").unwrap();
        assert!(parsed.description.bad_for_ce);
    }
}
