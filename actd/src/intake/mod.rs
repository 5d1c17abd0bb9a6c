//! From a description to checked jobs: read it, judge it, look at its local inputs. Blocks (files are stat'ed); sends and
//! stores nothing.

mod digest;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use act_proto::jobs::{Description, Diagnostic, Plan, PlannedUpload};
use url::Url;
use xrsl::lint::{self, FileKind, Files, LintContext};
use xrsl::{Level, LineIndex, LocalInput, Submission};

use crate::engine::handle::NewJob;
use crate::job::{InputFile, Key, Options, Spec};

pub use digest::Digests;

/// What all jobs of a call have in common.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The clusters, in order.
    pub clusters: Vec<String>,
    /// Base URL of the WebDAV store, without a slash at its end.
    pub webdav: Option<String>,
    /// Equal inputs are one file on WebDAV: what is in them. None: each job has its own there, as act has it.
    pub dedupe: Option<Arc<Digests>>,
    /// The directory in which results' directories are made.
    pub results: PathBuf,
    /// How to treat the jobs.
    pub options: Options,
    /// Their batch.
    pub batch: String,
    /// The caller's name for the call.
    pub client_ref: Option<String>,
    /// Submit in spite of errors that ARC would let pass.
    pub force: bool,
    /// Refuse jobs whose walltime is longer than this, in seconds: what the credential has left.
    pub lifetime: Option<u64>,
}

/// One job of a description, or the whole description if it cannot be read.
#[derive(Debug)]
pub struct Checked {
    /// Its name.
    pub name: Option<String>,
    /// What there is to say about it.
    pub diagnostics: Vec<Diagnostic>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a job at intake.
#[derive(Debug)]
pub enum Outcome {
    /// It can be submitted.
    New(Box<NewJob>),
    /// It was submitted by an earlier call of the same name.
    Known(Key),
    /// It cannot be submitted: why, in one line.
    Refused(String),
}

/// The local files below the directory that relative paths are relative to.
struct Local<'a>(&'a Path);

impl Files for Local<'_> {
    fn kind(&self, path: &str) -> FileKind {
        let path = self.0.join(path);
        match std::fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => FileKind::Directory,
            Ok(meta) if meta.is_file() => {
                if rustix::fs::access(&path, rustix::fs::Access::READ_OK).is_ok() {
                    FileKind::File(meta.len())
                } else {
                    FileKind::Unreadable
                }
            }
            Ok(_) => FileKind::Special,
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => FileKind::Unreadable,
            Err(_) => FileKind::Missing,
        }
    }
}

/// Checks a description; one item per job in it. `number`: which of the call's descriptions it is. `known`: the job that
/// an earlier call of the same name made.
pub fn check(
    description: &Description,
    number: usize,
    terms: &Terms,
    known: &dyn Fn(&str) -> Option<Key>,
) -> Vec<Checked> {
    let refused = |why: String, diagnostics| vec![Checked { name: None, diagnostics, outcome: Outcome::Refused(why) }];
    let base = Path::new(&description.base_dir);
    if !base.is_absolute() {
        return refused(format!("`base_dir` must be an absolute path, not `{}`", description.base_dir), Vec::new());
    }
    let text = &description.text;
    if text.trim().is_empty() {
        return refused("the description is empty".into(), Vec::new());
    }
    let index = LineIndex::new(text);
    let files = Local(base);
    let context = LintContext { files: Some(&files) };
    // ADL is checked as text.
    let parsed = (!xrsl::adl::is_xml(text)).then(|| xrsl::parse(text));
    let lint = || parsed.as_ref().map_or_else(|| lint::check(text, &context), |parsed| lint::lint(parsed, &context));
    let submissions = match parsed.as_ref().map_or_else(|| xrsl::submissions(text), xrsl::submissions_of) {
        Ok(submissions) => submissions,
        Err(errors) => {
            let mut all = lint();
            for error in errors {
                if !all.iter().any(|d| d.code == error.code && d.span.start == error.span.start) {
                    all.push(error);
                }
            }
            all.sort_by_key(|d| d.span.start);
            return refused(first_error(text, &index, &all), wire(text, &index, &all));
        }
    };
    // What only act reads was repaired; the findings are in the notes then, and ARC's complaints about the text as it
    // stands would only confuse.
    let accepted = parsed.as_ref().is_none_or(xrsl::Parsed::accepted);
    // What has been taken before is not judged again: its inputs may be gone since. All jobs of a description are taken
    // together, so the first one tells.
    let is_known = terms.client_ref.as_ref().is_some_and(|r| known(&format!("{r}/{number}.0")).is_some());
    let findings = if accepted && !is_known { lint() } else { Vec::new() };
    let fatal = |d: &&xrsl::Diagnostic| d.level == Level::Error && (d.rejected || !terms.force || d.code == "E60");
    if let Some(first) = findings.iter().find(fatal) {
        let mut why = first_error(text, &index, std::slice::from_ref(first));
        if !first.rejected && !terms.force && first.code != "E60" {
            why.push_str(" (--force submits it nevertheless)");
        }
        return refused(why, wire(text, &index, &findings));
    }
    let mut findings = wire(text, &index, &findings);
    submissions
        .iter()
        .enumerate()
        .map(|(i, submission)| {
            let client_ref = terms.client_ref.as_ref().map(|r| format!("{r}/{number}.{i}"));
            let mut diagnostics = if i == 0 { std::mem::take(&mut findings) } else { Vec::new() };
            diagnostics.extend(wire(text, &index, &submission.notes));
            let outcome = match client_ref.as_deref().and_then(known) {
                Some(key) => Outcome::Known(key),
                None if outlives(submission, terms).is_some() => {
                    Outcome::Refused(outlives(submission, terms).unwrap_or_default())
                }
                None => match spec(submission, description, base, terms).and_then(|spec| {
                    let contents = contents(submission, &spec, terms)?;
                    Ok((spec, contents))
                }) {
                    Ok((spec, contents)) => Outcome::New(Box::new(NewJob {
                        name: submission.name.clone(),
                        batch: terms.batch.clone(),
                        options: terms.options,
                        spec,
                        contents,
                        client_ref,
                    })),
                    Err((local, why)) => {
                        let at = index.position(text, local.span.start);
                        Outcome::Refused(format!("{at}: {why}"))
                    }
                },
            };
            Checked { name: submission.name.clone(), diagnostics, outcome }
        })
        .collect()
}

/// Why a job may run longer than the credential lives.
fn outlives(submission: &Submission, terms: &Terms) -> Option<String> {
    let (left, walltime) = (terms.lifetime?, u64::try_from(submission.job.walltime?).ok()?);
    let minutes = |seconds: u64| seconds / 60;
    (walltime > left).then(|| {
        format!(
            "its walltime is {} minutes, the credential ends in {}: make a new proxy first",
            minutes(walltime),
            minutes(left)
        )
    })
}

fn spec<'s>(
    submission: &'s Submission,
    description: &Description,
    base: &Path,
    terms: &Terms,
) -> Result<Spec, (&'s LocalInput, String)> {
    let input = |local: &'s LocalInput| {
        let path = base.join(&local.path);
        InputFile::stat(local.name.clone(), path).map_err(|e| (local, format!("input file {}: {e}", local.path)))
    };
    Ok(Spec {
        text: submission.text(),
        clusters: terms.clusters.clone(),
        inputs: submission.locals.iter().map(input).collect::<Result<_, _>>()?,
        webdav: terms.webdav.clone(),
        results: terms.results.clone(),
        source: description.path.clone(),
        base_dir: base.to_owned(),
        staged: Vec::new(),
    })
}

/// What is in the inputs, where equal ones are to be one file.
fn contents<'s>(
    submission: &'s Submission,
    spec: &Spec,
    terms: &Terms,
) -> Result<Vec<String>, (&'s LocalInput, String)> {
    let Some(digests) = terms.dedupe.as_ref().filter(|_| spec.webdav.is_some()) else { return Ok(Vec::new()) };
    let content = |(local, input): (&'s LocalInput, &InputFile)| {
        digests.content(input).map_err(|e| (local, format!("input file {}: {e}", local.path)))
    };
    submission.locals.iter().zip(&spec.inputs).map(content).collect()
}

/// What submitting the job would send.
#[must_use]
pub fn plan(job: &NewJob, server: &Url) -> Plan {
    let spec = &job.spec;
    let shared = |name: &str| job.contents.get(spec.inputs.iter().position(|i| i.name == name)?);
    let to = |name: &str| match &spec.webdav {
        Some(base) if shared(name).is_some() => format!("{base}/{}-<JOB>", shared(name).map_or("", String::as_str)),
        Some(base) => format!("{base}/<ID>/{name}"),
        None => format!("{}/jobs/<ID>/data/{name}", server.as_str().trim_end_matches('/')),
    };
    let description = match &spec.webdav {
        Some(_) => xrsl::for_submission(&spec.text, 0).map(|s| s.with_sources(|name| Some(to(name)))).ok(),
        None => None,
    };
    Plan {
        clusters: spec.clusters.clone(),
        description: description.unwrap_or_else(|| spec.text.clone()),
        uploads: spec
            .inputs
            .iter()
            .map(|i| PlannedUpload {
                name: i.name.clone(),
                path: i.path.display().to_string(),
                to: to(&i.name),
                size: i.size,
            })
            .collect(),
    }
}

/// What there is to say about a description as such. `base`: what relative inputs are relative to; none: whether they exist is
/// not looked at.
#[must_use]
pub fn judge(text: &str, base: Option<&Path>) -> act_proto::xrsl::Checked {
    let files = base.map(Local);
    let context = LintContext { files: files.as_ref().map(|files| files as &dyn Files) };
    let mut findings = lint::check(text, &context);
    findings.sort_by_key(|d| d.span.start);
    let (accepted, jobs) = if xrsl::adl::is_xml(text) {
        (!findings.iter().any(|d| d.level == Level::Error), 1)
    } else {
        let parsed = xrsl::parse(text);
        (parsed.accepted(), parsed.jobs().len())
    };
    act_proto::xrsl::Checked { accepted, jobs, diagnostics: wire(text, &LineIndex::new(text), &findings) }
}

fn first_error(text: &str, index: &LineIndex, all: &[xrsl::Diagnostic]) -> String {
    let errors = all.iter().filter(|d| d.level == Level::Error);
    match errors.clone().next().or(all.first()) {
        Some(d) => {
            let more = errors.count().saturating_sub(1);
            let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
            format!("{}: {}{more}", index.position(text, d.span.start), d.message)
        }
        None => "it is no job description".to_owned(),
    }
}

fn wire(text: &str, index: &LineIndex, all: &[xrsl::Diagnostic]) -> Vec<Diagnostic> {
    let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    all.iter()
        .map(|d| {
            let at = index.position(text, d.span.start);
            Diagnostic {
                code: d.code.to_owned(),
                level: d.level.name().to_owned(),
                message: d.message.clone(),
                help: d.help.clone(),
                line: clamp(at.line),
                column: clamp(at.column),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        Terms {
            clusters: vec!["https://ce.example.org/q".into()],
            webdav: None,
            dedupe: None,
            results: "/r".into(),
            options: Options::default(),
            batch: "b".into(),
            client_ref: None,
            force: false,
            lifetime: None,
        }
    }

    fn run(dir: &Path, text: &str, terms: &Terms) -> Vec<Checked> {
        let d = Description { text: text.into(), path: None, base_dir: dir.display().to_string() };
        check(&d, 0, terms, &|_| None)
    }

    fn why(checked: &[Checked]) -> &str {
        match &checked[0].outcome {
            Outcome::Refused(why) => why,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn what_was_taken_before_is_known_again_without_its_inputs() {
        let dir = tempfile::tempdir().unwrap();
        let job = "(&(executable=run.sh)(jobname=hello)(walltime=5))";
        let d = Description { text: format!("+{job}{job}"), path: None, base_dir: dir.path().display().to_string() };
        let terms = Terms { client_ref: Some("ref".into()), ..terms() };
        assert!(why(&check(&d, 3, &terms, &|_| None)).contains("run.sh"));
        let known = |r: &str| match r {
            "ref/3.0" => Some(Key(7)),
            "ref/3.1" => Some(Key(8)),
            _ => None,
        };
        let keys: Vec<Key> = check(&d, 3, &terms, &known)
            .into_iter()
            .map(|checked| match checked.outcome {
                Outcome::Known(key) => key,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(keys, [Key(7), Key(8)]);
    }

    #[test]
    fn a_job_with_an_input() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("run.sh"), "#!/bin/sh\n").unwrap();
        let text = "&(executable=run.sh)(jobname=hello)(walltime=5)";
        let checked = run(dir.path(), text, &terms());
        let Outcome::New(job) = &checked[0].outcome else { panic!("{checked:?}") };
        assert_eq!(job.name.as_deref(), Some("hello"));
        assert_eq!(job.spec.inputs[0].path, dir.path().join("run.sh"));
        assert_eq!(job.spec.inputs[0].size, 10);
        let webdav = Terms { webdav: Some("https://dav/u".into()), ..terms() };
        let Outcome::New(job) = &run(dir.path(), text, &webdav)[0].outcome else { panic!("refused") };
        let plan = plan(job, &Url::parse("https://h").unwrap());
        assert!(plan.description.contains("https://dav/u/<ID>/run.sh"), "{}", plan.description);
        assert_eq!(plan.uploads[0].to, "https://dav/u/<ID>/run.sh");
        let shared = Terms { dedupe: Some(Arc::default()), ..webdav };
        std::fs::write(dir.path().join("copy.sh"), "#!/bin/sh\n").unwrap();
        for name in ["run.sh", "copy.sh"] {
            let text = format!("&(executable={name})(walltime=5)");
            let Outcome::New(job) = &run(dir.path(), &text, &shared)[0].outcome else { panic!("refused") };
            let content = "actd-a8076d3d28d21e02012b20eaf7dbf75409a6277134439025f282e368e3305abf-10";
            assert_eq!(job.contents, [content]);
            let url = format!("https://dav/u/{content}-<JOB>");
            assert!(super::plan(job, &Url::parse("https://h").unwrap()).description.contains(&url));
        }
    }

    #[test]
    fn mistakes_have_a_place() {
        let dir = tempfile::tempdir().unwrap();
        let checked =
            run(dir.path(), "&(executable=/bin/true)\n (inputfiles=(\"a\" \"no.txt\"))(walltime=5)", &terms());
        assert!(why(&checked).starts_with("2:"), "{}", why(&checked));
        assert!(checked[0].diagnostics.iter().any(|d| d.code == "E60" && d.line == 2));
        assert!(why(&run(dir.path(), "&(executable=/bin/true", &terms())).contains("1:"));
        assert_eq!(why(&run(dir.path(), " \n", &terms())), "the description is empty");
        let relative = Description { text: "&(executable=/bin/true)".into(), path: None, base_dir: "x".into() };
        assert!(why(&check(&relative, 0, &terms(), &|_| None)).contains("absolute"));
    }

    #[test]
    fn force_gets_past_what_arc_lets_pass_and_not_past_a_missing_file() {
        let dir = tempfile::tempdir().unwrap();
        let typo = "&(executable=/bin/true)(exectutable=x)(walltime=5)";
        assert!(why(&run(dir.path(), typo, &terms())).contains("--force"));
        let force = Terms { force: true, ..terms() };
        assert!(matches!(run(dir.path(), typo, &force)[0].outcome, Outcome::New(_)));
        let missing = "&(executable=/bin/true)(inputfiles=(\"a\" \"no.txt\"))";
        assert!(matches!(run(dir.path(), missing, &force)[0].outcome, Outcome::Refused(_)));
    }

    #[test]
    fn several_jobs_in_one_file_each_with_its_own_name_for_repetitions() {
        let dir = tempfile::tempdir().unwrap();
        let text = "+(&(executable=/bin/a)(walltime=1))(&(executable=/bin/b)(walltime=1))";
        let named = Terms { client_ref: Some("r".into()), ..terms() };
        let d = Description { text: text.into(), path: None, base_dir: dir.path().display().to_string() };
        let checked = check(&d, 3, &named, &|r| (r == "r/3.0").then_some(Key(9)));
        assert!(matches!(checked[0].outcome, Outcome::Known(Key(9))));
        let Outcome::New(job) = &checked[1].outcome else { panic!("{checked:?}") };
        assert_eq!(job.client_ref.as_deref(), Some("r/3.1"));
        assert!(job.spec.text.contains("/bin/b") && !job.spec.text.contains("/bin/a"));
    }
}
