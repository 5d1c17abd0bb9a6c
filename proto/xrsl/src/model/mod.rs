//! A job as ARC understands it: every attribute typed, units resolved. Built from an evaluated description by `build`.
//! It holds what ARC holds, surprises included (`2GB` of memory is 2 MB); judging it is the lints' work.

pub(crate) mod build;
mod draft;
mod files;
mod notify;
mod settle;
mod values;

use crate::span::Span;
use crate::syntax::{RelOp, Str};

/// One job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobDescription {
    /// `jobname`
    pub name: Option<String>,
    /// `executable`: absolute on the worker node, relative in the job's directory.
    pub executable: Option<String>,
    /// `arguments`
    pub arguments: Vec<String>,
    /// `stdin`
    pub stdin: Option<String>,
    /// `stdout`
    pub stdout: Option<String>,
    /// `stderr`; with a working `join` the same as `stdout`.
    pub stderr: Option<String>,
    /// `gmlog`
    pub gmlog: Option<String>,
    /// `join` with a value that ARC takes for yes.
    pub join: bool,
    /// `inputfiles`, in order.
    pub inputs: Vec<Input>,
    /// `outputfiles`, in order.
    pub outputs: Vec<Output>,
    /// `cache`, as written.
    pub cache: Option<String>,
    /// `ftpthreads`, 1 to 10.
    pub ftpthreads: Option<i32>,
    /// `environment`, in order; names may repeat.
    pub environment: Vec<(String, String)>,
    /// `cputime` (or what `gridtime` or `benchmarks` make of it) in seconds, wrapped to 32 bits as in ARC.
    pub cputime: Option<i32>,
    /// `walltime` (or what `gridtime` makes of it) in seconds, wrapped to 32 bits as in ARC.
    pub walltime: Option<i32>,
    /// Name and value of the benchmark that `cputime` refers to.
    pub benchmark: Option<(String, f64)>,
    /// `lifetime` in seconds.
    pub lifetime: Option<i64>,
    /// `starttime`, as written.
    pub starttime: Option<String>,
    /// `memory` in MB for each slot.
    pub memory: Option<i32>,
    /// `disk` in MB.
    pub disk: Option<i32>,
    /// `count`: slots.
    pub count: Option<i32>,
    /// `countpernode`: slots on each node.
    pub countpernode: Option<i32>,
    /// `exclusiveexecution`
    pub exclusive: Option<bool>,
    /// `runtimeenvironment`, in order.
    pub runtime_environments: Vec<Software>,
    /// `middleware`
    pub middleware: Vec<Software>,
    /// `opsys`
    pub operating_systems: Vec<Software>,
    /// `architecture`
    pub architecture: Option<String>,
    /// `nodeaccess` names `inbound`.
    pub inbound: bool,
    /// `nodeaccess` names `outbound`.
    pub outbound: bool,
    /// `queue=`
    pub queue: Option<String>,
    /// `queue!=`
    pub rejected_queue: Option<String>,
    /// `priority`, at most 100.
    pub priority: Option<i32>,
    /// `rerun`
    pub rerun: Option<i32>,
    /// `notify`, one entry for each address.
    pub notify: Vec<Notify>,
    /// `dryrun` is yes.
    pub dryrun: bool,
    /// `acl`, as written.
    pub acl: Option<String>,
    /// `credentialserver`: valid URLs only.
    pub credential_servers: Vec<String>,
    /// `jobreport`: valid URLs only.
    pub job_reports: Vec<String>,
    /// `replicacollection`: a valid URL only.
    pub replica_collection: Option<String>,
    /// `delegationid`
    pub delegation_id: Option<String>,
    /// Attributes that ARC only keeps: `clientsoftware`, `hostname` and the like.
    pub other: Vec<(&'static str, String)>,
    /// What `|` offers besides this job. Brokers that know them may try them; aCT does not.
    pub alternatives: Vec<JobDescription>,
    /// Where the job stands in the text.
    pub span: Span,
    pub(crate) canonical: String,
}

impl JobDescription {
    /// The evaluated job in ARC's own layout, as ARC keeps it under `clientxrsl`.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The input that the job knows as `name`. Compared as text: `./x` is not `x`.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|i| i.name == name)
    }
}

/// Where an input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file of whoever submits: the path as written, or the input's name if the source is empty.
    Local(String),
    /// A URL that the cluster fetches, as written.
    Remote(String),
    /// `@path`, a list of URLs: ARC accepts it and nobody moves it.
    UrlList(String),
}

/// One member of `inputfiles`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The file's name in the job's directory.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
    /// The second member as it evaluates: empty, a path or a URL.
    pub written: String,
    /// The second member in the text if it is a plain string there.
    pub literal: Option<Str>,
    /// Where the whole member stands, parentheses included.
    pub span: Span,
    /// Where the name stands.
    pub name_span: Span,
    /// Where the source stands.
    pub source_span: Span,
    /// `option=value` members; those behind a `location` belong to that location.
    pub options: Vec<(String, String)>,
    /// Members behind an empty source, which ARC ignores.
    pub ignored: Option<Span>,
    /// Listed in `executables`.
    pub executable: bool,
}

/// Where an output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Kept for download.
    Keep,
    /// Sent to a URL.
    Remote(String),
    /// A local path: ARC drops it silently and keeps the file for download.
    Dropped(String),
}

/// One member of `outputfiles`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The file's name in the job's directory; a directory if it ends in `/`; `@file` names a list made by the job.
    pub name: String,
    /// Where it goes.
    pub target: Target,
    /// Where the whole member stands, parentheses included.
    pub span: Span,
    /// Where the name stands.
    pub name_span: Span,
    /// Where the target stands.
    pub target_span: Span,
    /// `option=value` members.
    pub options: Vec<(String, String)>,
}

/// A piece of software that the cluster must (or must not) have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Software {
    /// The name in front of the version.
    pub name: String,
    /// From the first `-` that a digit follows; empty without.
    pub version: String,
    /// How the version compares.
    pub op: RelOp,
    /// Options of a runtime environment.
    pub options: Vec<String>,
}

impl Software {
    /// Splits `NAME-1.2` as ARC does.
    #[must_use]
    pub fn new(written: &str, op: RelOp, options: Vec<String>) -> Self {
        let cut =
            written.match_indices('-').find(|(i, _)| written.as_bytes().get(i + 1).is_some_and(u8::is_ascii_digit));
        let (name, version) = cut.map_or((written, ""), |(i, _)| (&written[..i], &written[i + 1..]));
        Self { name: name.to_owned(), version: version.to_owned(), op, options }
    }
}

/// Who gets e-mail, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// The address.
    pub email: String,
    /// ARC's words: PREPARING INLRMS FINISHING FINISHED DELETED CANCELING, each once, in the order given.
    pub states: Vec<&'static str>,
}
