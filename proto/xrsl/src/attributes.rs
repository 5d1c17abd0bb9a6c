//! Every attribute of the language in one table: shape, unit, default, what a second occurrence does, and a sentence for
//! people. The model, the lints, completion and hover read it. No code about single attributes belongs here.
//! Facts: ARC 6.17's parser and the xRSL reference manual.

/// The form of an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Exactly one string.
    Single,
    /// Any number of strings.
    List,
    /// Lists of at least two strings: `(name url option=value …)`.
    Files,
    /// Lists of exactly so many strings.
    Tuples(usize),
    /// Anything; nobody reads it.
    Any,
}

/// What a value measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nothing in particular.
    Text,
    /// A period; a bare number is minutes.
    Period,
    /// Whole megabytes.
    Megabytes,
    /// A whole number.
    Count,
    /// A point in time.
    Time,
    /// A file name in the job's directory.
    File,
    /// A URL.
    Url,
    /// One of the words in [`Attribute::values`].
    Word,
}

/// What a second occurrence does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// ARC refuses the description if the first value was not empty.
    Refused,
    /// The last one counts, silently.
    LastWins,
    /// They add up.
    Accumulate,
}

/// Whether to use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Yes.
    Current,
    /// It still works; the text says what to use instead.
    Deprecated(&'static str),
    /// ARC accepts and ignores it; the text says what to use instead.
    Ignored(&'static str),
    /// Written by ARC itself, of no use in a description.
    Internal,
}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// As ARC compares it: lower case, no underscores.
    pub name: &'static str,
    /// As people write it.
    pub label: &'static str,
    /// The form of its value.
    pub shape: Shape,
    /// What the value measures.
    pub unit: Unit,
    /// What happens without it; empty if there is nothing to say.
    pub default: &'static str,
    /// What a second occurrence does.
    pub duplicates: Duplicates,
    /// Whether to use it.
    pub status: Status,
    /// Words that are meant here, the usual first; for [`Unit::Word`] these are all.
    pub values: &'static [&'static str],
    /// Whether other operators than `=` mean anything.
    pub operators: &'static [&'static str],
    /// One or two sentences.
    pub doc: &'static str,
    /// Something to copy, parentheses included.
    pub example: &'static str,
}

use Duplicates::{Accumulate, LastWins, Refused};
use Shape::{Any, Files, List, Single, Tuples};
use Status::{Current, Deprecated, Ignored, Internal};
use Unit::{Count, File, Megabytes, Period, Text, Time, Url, Word};

const EQ: &[&str] = &["="];
const ALL: &[&str] = &["=", "!=", "<", "<=", ">", ">="];

const fn attribute(name: &'static str, shape: Shape, unit: Unit, duplicates: Duplicates) -> Attribute {
    Attribute {
        name,
        label: name,
        shape,
        unit,
        default: "",
        duplicates,
        status: Current,
        values: &[],
        operators: EQ,
        doc: "",
        example: "",
    }
}

impl Attribute {
    const fn doc(mut self, doc: &'static str, default: &'static str, example: &'static str) -> Self {
        self.doc = doc;
        self.default = default;
        self.example = example;
        self
    }

    const fn words(mut self, values: &'static [&'static str]) -> Self {
        self.values = values;
        self
    }

    const fn ops(mut self, operators: &'static [&'static str]) -> Self {
        self.operators = operators;
        self
    }

    const fn status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    const fn label(mut self, label: &'static str) -> Self {
        self.label = label;
        self
    }
}

const fn globus(name: &'static str, instead: &'static str) -> Attribute {
    attribute(name, Any, Text, Accumulate)
        .doc("An attribute of Globus RSL; ARC ignores it.", "", "")
        .status(Ignored(instead))
}

const fn internal(name: &'static str, doc: &'static str) -> Attribute {
    attribute(name, Single, Text, LastWins).doc(doc, "", "").status(Internal)
}

/// All attributes, sorted by name.
pub static ATTRIBUTES: &[Attribute] = &[
    attribute("acl", Single, Text, Accumulate)
        .doc("Who may see and steer the job, as GACL XML.", "only you", "(acl=\"<?xml version='1.0'?><gacl>…</gacl>\")")
        .status(Deprecated("modern computing elements take access rules from their own configuration")),
    internal("action", "What a server shall do; refused in a user's description."),
    attribute("architecture", Single, Text, Refused)
        .doc("The processor architecture of the worker node.", "any", "(architecture=\"x86_64\")"),
    attribute("arguments", List, Text, Refused).doc(
        "The program's arguments, one value each. Quote everything that is not plain letters, digits and ./-_",
        "none",
        "(arguments=\"--n=10\" \"input.txt\")",
    ),
    attribute("benchmarks", Tuples(3), Text, LastWins)
        .doc("CPU time at a given benchmark value; only the first readable entry counts.", "", "(benchmarks=(\"HEPSPEC\" \"10\" \"60\"))")
        .status(Deprecated("use cputime")),
    attribute("cache", Single, Word, LastWins).words(&["yes", "no", "copy", "renew", "check", "invariant"]).doc(
        "Whether the cluster may keep the inputs in its cache. With local inputs it makes the job wait for files that never come: \
         write cache=… behind the URL of single inputs instead.",
        "yes",
        "(cache=\"no\")",
    ),
    internal("clientsoftware", "The client that made the description."),
    internal("clientxrsl", "The description as the user wrote it."),
    attribute("cluster", Single, Text, LastWins)
        .doc("A cluster to run on. ARC ignores it.", "", "")
        .status(Ignored("choose clusters when submitting")),
    attribute("count", Single, Count, LastWins).doc("How many slots (usually cores) the job gets.", "1", "(count=\"4\")"),
    attribute("countpernode", Single, Count, LastWins).doc(
        "How many of the slots must be on one node; needs count.",
        "the batch system decides",
        "(count=\"8\")(countpernode=\"4\")",
    ),
    attribute("cputime", Single, Period, LastWins).doc(
        "CPU time of all slots together. A bare number is minutes.",
        "the queue's default",
        "(cputime=\"2 hours\")",
    ),
    attribute("credentialserver", Single, Url, Accumulate)
        .doc("A MyProxy server that renews the job's proxy.", "", "(credentialserver=\"myproxy://host:7512;username=me\")")
        .status(Deprecated("the server that submits the job renews proxies")),
    internal("delegationid", "The delegation that the job's transfers use."),
    globus("directory", "nothing: every job has its own directory"),
    attribute("disk", Single, Megabytes, LastWins).doc("Disk space in MB.", "the queue's default", "(disk=\"2000\")"),
    attribute("dryrun", Single, Word, LastWins).words(&["yes", "no"]).doc(
        "Prepare the job but do not run it; only yes counts.",
        "no",
        "(dryrun=\"yes\")",
    ),
    attribute("environment", Tuples(2), Text, Accumulate).doc(
        "Environment variables, each as (NAME value).",
        "none",
        "(environment=(\"OMP_NUM_THREADS\" \"4\"))",
    ),
    attribute("exclusiveexecution", Single, Word, LastWins).words(&["yes", "no", "true", "false"]).doc(
        "Whether the job wants whole nodes for itself.",
        "the batch system decides",
        "(exclusiveexecution=\"yes\")",
    ),
    attribute("executable", Single, File, Refused).doc(
        "The program to run. An absolute path is on the worker node, a relative one in the job's directory.",
        "required",
        "(executable=\"run.sh\")",
    ),
    attribute("executables", List, File, LastWins).doc(
        "Input files that get the executable bit besides the executable itself.",
        "none",
        "(executables=\"helper.sh\")",
    ),
    globus("filecleanup", "nothing"),
    globus("filestagein", "inputfiles"),
    globus("filestageinshared", "inputfiles"),
    globus("filestageout", "outputfiles"),
    attribute("ftpthreads", Single, Count, LastWins)
        .doc("Parallel streams for gsiftp transfers, 1 to 10.", "1", "(ftpthreads=\"4\")")
        .status(Deprecated("it is of the time of gsiftp")),
    globus("gasscache", "cache"),
    attribute("gmlog", Single, File, Refused).doc(
        "The directory with the computing element's own logs of the job.",
        "gmlog, if the server asks for it",
        "(gmlog=\"gmlog\")",
    ),
    globus("grammyjob", "nothing"),
    attribute("gridtime", Single, Period, LastWins)
        .doc("CPU time on a 2.8 GHz reference processor.", "", "(gridtime=\"60\")")
        .status(Deprecated("use cputime and walltime")),
    globus("hostcount", "count and countpernode"),
    internal("hostname", "The machine that submitted the job."),
    attribute("inputfiles", Files, File, Accumulate).doc(
        "Files the job needs, each as (name source). A source of \"\" means the local file of that name; a path is a local \
         file; a URL is fetched by the cluster.",
        "none",
        "(inputfiles=(\"run.sh\" \"\") (\"data.root\" \"https://host/data.root\"))",
    ),
    internal("jobid", "The job's identifier."),
    attribute("jobname", Single, Text, Refused).doc("A name for people.", "none", "(jobname=\"simulation\")"),
    attribute("jobreport", Single, Url, Accumulate)
        .doc("A service that wants usage records.", "", "(jobreport=\"https://host/sgas\")")
        .status(Deprecated("sites report usage themselves")),
    globus("jobtype", "count"),
    attribute("join", Single, Word, LastWins).words(&["yes", "true", "no"]).doc(
        "Send stderr to the same file as stdout; exactly yes or true, in lower case.",
        "no",
        "(stdout=\"out.txt\")(join=\"yes\")",
    ),
    globus("label", "jobname"),
    globus("librarypath", "environment"),
    attribute("lifetime", Single, Period, LastWins).doc(
        "How long the job's directory stays on the cluster after the end. A bare number is minutes.",
        "the cluster's default",
        "(lifetime=\"7 days\")",
    ),
    globus("maxcputime", "cputime"),
    globus("maxmemory", "memory"),
    globus("maxtime", "walltime"),
    globus("maxwalltime", "walltime"),
    attribute("memory", Single, Megabytes, LastWins).doc(
        "Memory in MB for each slot, a whole number without a unit.",
        "the queue's default",
        "(memory=\"2000\")",
    ),
    attribute("middleware", Single, Text, Accumulate)
        .ops(ALL)
        .doc("Grid software that the cluster must run.", "any", "(middleware>=\"nordugrid-arc-6.0\")")
        .status(Deprecated("choose clusters when submitting")),
    globus("minmemory", "memory"),
    attribute("nodeaccess", List, Word, Accumulate).words(&["inbound", "outbound"]).doc(
        "Network connections the worker node must allow.",
        "none",
        "(nodeaccess=\"outbound\")",
    ),
    attribute("notify", List, Text, Accumulate).doc(
        "E-mail on changes of state: one quoted string per rule, flags (b queued, q running, f finishing, e end, d deleted, \
         c cancelled) then addresses.",
        "none",
        "(notify=\"be me@example.org\")",
    ),
    attribute("opsys", Single, Text, Accumulate).ops(ALL).doc(
        "The operating system of the worker node.",
        "any",
        "(opsys=\"linux\")",
    ),
    attribute("outputfiles", Files, File, Accumulate).doc(
        "Files to keep, each as (name target). A target of \"\" keeps the file for download; a URL sends it there; a name \
         that ends in / is a directory.",
        "none but stdout, stderr and gmlog",
        "(outputfiles=(\"result.root\" \"\"))",
    ),
    attribute("priority", Single, Count, LastWins).doc("0 to 100 among your own jobs.", "50", "(priority=\"60\")"),
    globus("project", "nothing"),
    attribute("queue", Single, Text, LastWins)
        .ops(&["=", "!="])
        .doc("The queue to run in.", "any", "(queue=\"long\")"),
    globus("remoteiourl", "inputfiles and outputfiles"),
    attribute("replicacollection", Single, Url, LastWins)
        .doc("A collection of a file catalogue that no longer exists.", "", "")
        .status(Deprecated("use URLs in outputfiles")),
    attribute("rerun", Single, Count, LastWins).doc(
        "How often the cluster tries again after a failure of the system.",
        "the cluster's default",
        "(rerun=\"2\")",
    ),
    globus("resourcemanagercontact", "nothing: choose clusters when submitting"),
    attribute("rslsubstitution", Tuples(2), Text, Accumulate).label("rsl_substitution").doc(
        "Defines variables, each as (NAME value); $(NAME) is replaced from there on, outside quotes only.",
        "none",
        "(rsl_substitution=(\"DIR\" \"data\"))",
    ),
    attribute("runtimeenvironment", List, Text, Accumulate).ops(ALL).doc(
        "Software that the cluster must offer: one environment per relation, then its options.",
        "none",
        "(runtimeenvironment=\"ENV/PROXY\")",
    ),
    internal("savestate", "Written by an old client."),
    globus("scratchdir", "nothing: every job has its own directory"),
    attribute("starttime", Single, Time, LastWins).doc(
        "Not before: YYYY-MM-DD hh:mm:ss. ARC ignores what it cannot read.",
        "now",
        "(starttime=\"2030-01-31 08:00:00\")",
    ),
    attribute("stderr", Single, File, Refused).doc("The file for the program's errors.", "lost", "(stderr=\"stderr.txt\")"),
    attribute("stdin", Single, File, Refused).doc("The file the program reads as input.", "empty", "(stdin=\"input.txt\")"),
    attribute("stdout", Single, File, Refused).doc("The file for the program's output.", "lost", "(stdout=\"stdout.txt\")"),
    globus("subjobcommstype", "nothing"),
    globus("subjobstarttype", "nothing"),
    attribute("walltime", Single, Period, LastWins).doc(
        "How long the job may run by the clock. A bare number is minutes.",
        "the queue's default",
        "(walltime=\"2 hours\")",
    ),
];

/// Old names that people still write, and what they are called now. ARC ignores the old names as unknown.
pub(crate) const RENAMED: &[(&str, &str)] = &[
    ("sstdin", "stdin"),
    ("stdinput", "stdin"),
    ("maxdisk", "disk"),
    ("inputfile", "inputfiles"),
    ("outputfile", "outputfiles"),
    ("argument", "arguments"),
    ("args", "arguments"),
    ("name", "jobname"),
    ("runtime", "walltime"),
    ("wallclocktime", "walltime"),
    ("wallclock", "walltime"),
    ("time", "walltime"),
    ("ram", "memory"),
    ("env", "environment"),
    ("cores", "count"),
    ("ncores", "count"),
    ("ncpus", "count"),
    ("cpus", "count"),
    ("rte", "runtimeenvironment"),
    ("output", "stdout"),
    ("error", "stderr"),
    ("input", "stdin"),
    ("log", "gmlog"),
    ("email", "notify"),
    ("command", "executable"),
    ("program", "executable"),
];

/// Finds an attribute by its normalised name.
#[must_use]
pub fn attribute_named(name: &[u8]) -> Option<&'static Attribute> {
    let i = ATTRIBUTES.binary_search_by(|a| a.name.as_bytes().cmp(name)).ok()?;
    ATTRIBUTES.get(i)
}

/// The attribute that someone who wrote `name` most likely meant, if one is close.
#[must_use]
pub fn did_you_mean(name: &[u8]) -> Option<&'static Attribute> {
    let name = crate::syntax::normalise_name(name);
    if let Some((_, meant)) = RENAMED.iter().find(|(old, _)| old.as_bytes() == name) {
        return attribute_named(meant.as_bytes());
    }
    // A third of the letters may be wrong, at most three.
    let limit = (name.len() / 3).clamp(1, 3);
    if name.len() < 3 || name.len() > 40 {
        return None;
    }
    ATTRIBUTES
        .iter()
        .filter(|a| matches!(a.status, Current | Deprecated(_)) && a.name.len().abs_diff(name.len()) <= limit)
        .map(|a| (distance(a.name.as_bytes(), &name), a))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, a)| a)
}

/// How many letters must be inserted, removed, replaced or swapped with their neighbour.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let mut d = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                d = d.min(before[j - 1] + 1);
            }
            row.push(d);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_complete() {
        assert!(ATTRIBUTES.is_sorted_by(|a, b| a.name < b.name));
        for a in ATTRIBUTES {
            assert!(!a.doc.is_empty(), "{} has no text", a.name);
            assert_eq!(attribute_named(a.name.as_bytes()), Some(a));
            if !a.example.is_empty() {
                let text = format!("&(inputfiles=(helper.sh \"\")){}", a.example.replace('…', ""));
                let parsed = crate::parse(&text);
                assert!(parsed.accepted(), "{}: {:?}", a.example, parsed.diagnostics());
            }
        }
    }

    #[test]
    fn suggestions() {
        let meant = |s: &str| did_you_mean(s.as_bytes()).map(|a| a.name);
        assert_eq!(meant("exectutable"), Some("executable"));
        assert_eq!(meant("Wall_Tiem"), Some("walltime"));
        assert_eq!(meant("stdinput"), Some("stdin"));
        assert_eq!(meant("zzz"), None);
    }
}
