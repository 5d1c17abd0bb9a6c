//! What to send for each job of a description: the user's text with the changes that the server needs, and the local
//! files that go with it. Whether those files exist is the caller's question; nothing is read here.
//!
//! Observed on a real aCT server (act-client 1.0.0's API): it takes one job per description; a relative executable or
//! stdin that is not among the inputs leaves the job stuck for good; `cache` or `ftpthreads` together with local inputs
//! makes it wait for files that nobody uploads. So unlisted files are added to `inputfiles`, and the two attributes are
//! moved to the URLs they are meant for.

use crate::adl;
use crate::diagnostic::{Diagnostic, Edit, apply_edits, fits};
use crate::edit::{Site, add_inputs, is_named, job_places, job_text, set_value, sites, source_edits};
use crate::model::{JobDescription, Source};
use crate::names::{self, check_input_name};
use crate::parsed::{Parsed, parse};
use crate::print::quote;
use crate::repair::repair_act_dialect;
use crate::span::Span;

/// A local file that a job needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalInput {
    /// The name in the job's directory, as the description gives it: what to upload it as.
    pub name: String,
    /// The same without `.` and doubled slashes, for building a URL.
    pub upload_path: String,
    /// The path as written, relative to whatever the caller's rule is.
    pub path: String,
    /// It is the executable, or listed in `executables`.
    pub executable: bool,
    /// The description does not list it; it is named as executable or stdin only.
    pub implicit: bool,
    /// Where the description names it, in the caller's text if the job is the only one, else in the job's own text.
    pub span: Span,
}

/// One job, ready to send.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The job's name.
    pub name: Option<String>,
    /// What the job is; empty but for the name when the description is ADL.
    pub job: JobDescription,
    /// The local files to upload, in the order of the description.
    pub locals: Vec<LocalInput>,
    /// What was changed and why, as warnings and hints.
    pub notes: Vec<Diagnostic>,
    base: String,
    edits: Vec<Edit>,
    /// Where each of `locals` gets its source.
    sites: Vec<SourceSite>,
    root_edits: Option<ImplicitSite>,
}

#[derive(Clone, Debug)]
enum SourceSite {
    /// A member of `inputfiles`: these edits, with the source in the place of [`HOLE`].
    Listed(Vec<Edit>),
    /// An `InputFile` of ADL: replace the span; the text around a new source is given.
    Adl(Span, &'static str, &'static str),
    /// It comes with the implicit ones.
    Implicit,
}

/// How members are added to `inputfiles`: the edits, with this in the place of the members.
#[derive(Clone, Debug)]
struct ImplicitSite {
    edits: Vec<Edit>,
}

/// Stands for the members to be added until their sources are known. A byte that no quoted name can be confused with.
const HOLE: &str = "\u{1}";

impl Submission {
    /// The text to send when the local files are uploaded to the aCT server itself.
    #[must_use]
    pub fn text(&self) -> String {
        self.with_sources(|_| None)
    }

    /// The text to send when local files are fetched from elsewhere: `source` gives the URL of each local input by its
    /// name, or None to leave it as it is.
    #[must_use]
    pub fn with_sources(&self, source: impl Fn(&str) -> Option<String>) -> String {
        let mut edits = self.edits.clone();
        let mut implicit = String::new();
        for (local, site) in self.locals.iter().zip(&self.sites) {
            let url = source(&local.name);
            match site {
                SourceSite::Listed(places) => {
                    if let Some(url) = url {
                        let url = url.replace('"', "\"\"");
                        edits.extend(places.iter().map(|e| Edit::replace(e.span, e.text.replace(HOLE, &url))));
                    }
                }
                SourceSite::Adl(span, before, after) => {
                    if let Some(url) = url {
                        edits.push(Edit::replace(*span, format!("{before}{}{after}", adl::escape(&url))));
                    }
                }
                SourceSite::Implicit => {
                    if !implicit.is_empty() {
                        implicit.push(' ');
                    }
                    let source = url.unwrap_or_default();
                    implicit.push_str(&format!("({} {})", quote(&local.name), quote(&source)));
                }
            }
        }
        if let Some(site) = &self.root_edits {
            let fill = |e: &Edit| Edit { span: e.span, text: e.text.replace(HOLE, &implicit) };
            edits.extend(site.edits.iter().map(fill));
        }
        apply_edits(&self.base, &edits).0
    }
}

/// Prepares job `index` (from 0) of a description; see [`submissions`].
///
/// # Errors
/// As [`submissions`], or one diagnostic if there is no such job.
pub fn for_submission(text: &str, index: usize) -> Result<Submission, Vec<Diagnostic>> {
    let mut all = submissions(text)?;
    if index < all.len() {
        return Ok(all.swap_remove(index));
    }
    let message = format!("there is no job {} here, only {}", index + 1, all.len());
    Err(vec![Diagnostic::error("E00", Span::at(0), message)])
}

/// Prepares every job of a description. What only act's own dialect accepts is repaired, with a warning that shows how.
///
/// # Errors
/// Why the description cannot be sent: ARC refuses it, or the server could not carry out what it says.
pub fn submissions(text: &str) -> Result<Vec<Submission>, Vec<Diagnostic>> {
    if adl::is_xml(text) {
        return adl_submission(text).map(|s| vec![s]);
    }
    submissions_of(&parse(text))
}

/// The same for an xRSL description that has been read already.
///
/// # Errors
/// See [`submissions`].
pub fn submissions_of(parsed: &Parsed) -> Result<Vec<Submission>, Vec<Diagnostic>> {
    let mut notes = Vec::new();
    let repaired;
    let parsed = if parsed.accepted() {
        parsed
    } else {
        let Some((text, how)) = repair_act_dialect(parsed.text()) else {
            return Err(parsed.diagnostics().to_vec());
        };
        notes = how;
        repaired = parse(&text);
        &repaired
    };
    let mut out = Vec::new();
    let mut errors = Vec::new();
    for (index, place) in job_places(parsed).into_iter().enumerate() {
        match xrsl_submission(parsed, index, place) {
            Ok(submission) => out.push(submission),
            Err(more) => errors.extend(more),
        }
    }
    if let Some(first) = out.first_mut() {
        notes.append(&mut first.notes);
        first.notes = notes;
    }
    if errors.is_empty() { Ok(out) } else { Err(errors) }
}

fn xrsl_submission(all: &Parsed, index: usize, place: Span) -> Result<Submission, Vec<Diagnostic>> {
    // Errors must point into the text that the caller has.
    let (parsed, offset) = job_text(all, index, place);
    let base = parsed.text().to_owned();
    let (Some(root), [job]) = (parsed.tree(), parsed.jobs()) else {
        return Err(vec![Diagnostic::error("E00", Span::at(0), "this job cannot stand alone")]);
    };
    let mut draft =
        Draft { text: &base, job, sites: sites(root), edits: Vec::new(), notes: Vec::new(), errors: Vec::new() };
    draft.check_executable();
    draft.check_names();
    let (locals, source_sites) = draft.locals();
    draft.move_transfer_options(!locals.is_empty());
    let has_implicit = locals.iter().any(|l| l.implicit);
    let root_edits = has_implicit.then(|| ImplicitSite { edits: add_inputs(&base, root, HOLE) });
    let Draft { edits, notes, mut errors, .. } = draft;
    let listed = source_sites.iter().flat_map(|s| match s {
        SourceSite::Listed(places) => places.as_slice(),
        _ => &[],
    });
    let implicit = root_edits.iter().flat_map(|s| &s.edits);
    let all: Vec<Edit> = edits.iter().chain(listed).chain(implicit).cloned().collect();
    if !fits(&base, &all) {
        let message = "a '^' here is followed by a character that is no ASCII, which cannot be edited";
        errors.push(Diagnostic::error("E00", job.span, message).help("use quotes instead of ^"));
    }
    if !errors.is_empty() {
        for d in &mut errors {
            match offset {
                Some(by) => shift(d, by),
                None => d.span = Span::at(0),
            }
        }
        return Err(errors);
    }
    Ok(Submission {
        name: job.name.clone(),
        job: job.clone(),
        locals,
        notes,
        edits,
        sites: source_sites,
        root_edits,
        base,
    })
}

fn shift(d: &mut Diagnostic, by: usize) {
    let move_span = |s: &mut Span| *s = Span::new(s.start as usize + by, s.end as usize + by);
    move_span(&mut d.span);
    d.fix.iter_mut().flat_map(|f| &mut f.edits).for_each(|e| move_span(&mut e.span));
}

struct Draft<'t> {
    text: &'t str,
    job: &'t JobDescription,
    sites: Vec<Site<'t>>,
    edits: Vec<Edit>,
    notes: Vec<Diagnostic>,
    errors: Vec<Diagnostic>,
}

impl Draft<'_> {
    fn relation_span(&self, name: &str) -> Span {
        let found = self.sites.iter().find(|s| is_named(self.text, s.relation, name));
        found.map_or(self.job.span, |s| s.relation.span)
    }

    fn check_executable(&mut self) {
        if self.job.executable.is_none() {
            let d = Diagnostic::error("E20", Span::at(self.job.span.start as usize), "the job has no executable");
            self.errors.push(
                d.help("add (executable=\"/bin/sh\") or whatever the job is to run; without one it runs nothing"),
            );
        }
    }

    fn check_names(&mut self) {
        for input in &self.job.inputs {
            if let Some(d) = check_input_name(input) {
                self.errors.push(d);
            }
        }
        for output in &self.job.outputs {
            if let Some(d) = names::check_output_name(output) {
                self.errors.push(d);
            }
        }
        let own = [("stdout", &self.job.stdout), ("stderr", &self.job.stderr), ("gmlog", &self.job.gmlog)];
        for (attribute, value) in own {
            let listed = |value: &String| self.job.outputs.iter().any(|o| o.name == *value);
            let Some(value) = value.as_ref().filter(|value| !listed(value)) else { continue };
            self.errors.extend(names::check_own_output(attribute, value, self.relation_span(attribute)));
        }
    }

    /// The files to upload, and where their sources stand.
    fn locals(&mut self) -> (Vec<LocalInput>, Vec<SourceSite>) {
        let mut locals = Vec::new();
        let mut source_sites = Vec::new();
        for input in &self.job.inputs {
            let Source::Local(path) = &input.source else { continue };
            locals.push(LocalInput {
                name: input.name.clone(),
                upload_path: names::upload_path(&input.name),
                path: path.clone(),
                executable: input.executable || self.job.executable.as_ref() == Some(&input.name),
                implicit: false,
                span: input.span,
            });
            source_sites.push(SourceSite::Listed(source_edits(input, HOLE)));
        }
        for (attribute, value) in [("executable", &self.job.executable), ("stdin", &self.job.stdin)] {
            let Some(value) = value else { continue };
            if let Some(local) = self.implicit(attribute, value)
                && !locals.iter().any(|l: &LocalInput| l.name == local.name)
            {
                locals.push(local);
                source_sites.push(SourceSite::Implicit);
            }
        }
        let listed = self.job.inputs.iter().map(|i| (i.name.as_str(), i.name_span));
        let unlisted = locals.iter().filter(|l| l.implicit).map(|l| (l.name.as_str(), l.span));
        self.errors.extend(names::clashes(listed.chain(unlisted)));
        (locals, source_sites)
    }

    /// A relative executable or stdin that is not listed. `./x` is written as `x`, since names are compared as text.
    fn implicit(&mut self, attribute: &str, value: &str) -> Option<LocalInput> {
        if value.starts_with('/') || self.job.input(value).is_some() {
            return None;
        }
        let span = self.relation_span(attribute);
        let name = names::upload_path(value);
        if let Some(d) = names::check_unlisted(attribute, value, span) {
            self.errors.push(d);
            return None;
        }
        if name != value {
            let relation = self.sites.iter().find(|s| is_named(self.text, s.relation, attribute))?.relation;
            self.edits.push(set_value(relation, &name));
            let message = format!("{attribute} is sent as \"{name}\": ARC compares names as text");
            self.notes.push(Diagnostic::warning("W66", span, message));
        }
        if self.job.input(&name).is_some() {
            return None;
        }
        let message = format!("\"{name}\" is not in inputfiles; it is uploaded and added there");
        self.notes.push(Diagnostic::hint("W65", span, message));
        let executable = attribute == "executable";
        let (upload_path, path) = (name.clone(), value.to_owned());
        Some(LocalInput { name, upload_path, path, executable, implicit: true, span })
    }

    /// Moves `cache` and `ftpthreads` from the job to its URLs, if there are local inputs that they would spoil.
    fn move_transfer_options(&mut self, has_locals: bool) {
        if !has_locals {
            return;
        }
        let threads = self.job.ftpthreads.map(|n| n.to_string());
        for (attribute, option, value) in
            [("cache", "cache", self.job.cache.clone()), ("ftpthreads", "threads", threads)]
        {
            let Some(value) = value else { continue };
            let mut spans = Vec::new();
            for site in self.sites.iter().filter(|s| is_named(self.text, s.relation, attribute)) {
                match site.group {
                    Some(group) if !site.in_branch => spans.push(group.span),
                    _ => {
                        let message = format!("{attribute} cannot be used together with local inputs here");
                        let d = Diagnostic::error("E75", site.relation.span, message);
                        return self.errors.push(d.help(format!("write \"{option}={value}\" behind the URLs instead")));
                    }
                }
            }
            // A group that must go entirely would leave `&` with nothing; a job has its executable besides.
            for span in &spans {
                self.edits.push(Edit::replace(*span, ""));
            }
            let text = format!(" {}", quote(&format!("{option}={value}")));
            let has = |options: &[(String, String)]| options.iter().any(|(name, _)| name == option);
            for input in &self.job.inputs {
                let wanted = matches!(input.source, Source::Remote(_)) && !(attribute == "cache" && input.executable);
                if wanted && !has(&input.options) {
                    self.edits.push(Edit::insert(input.source_span.end as usize, text.clone()));
                }
            }
            if attribute == "ftpthreads" {
                for output in &self.job.outputs {
                    if matches!(output.target, crate::model::Target::Remote(_)) && !has(&output.options) {
                        self.edits.push(Edit::insert(output.target_span.end as usize, text.clone()));
                    }
                }
            }
            let span = spans.first().copied().unwrap_or(self.job.span);
            let message =
                format!("{attribute} is moved to the URLs: for local inputs it would make the job wait for ever");
            self.notes.push(Diagnostic::warning("W75", span, message));
        }
    }
}

fn adl_submission(text: &str) -> Result<Submission, Vec<Diagnostic>> {
    let adl = adl::read(text)?;
    let mut locals = Vec::new();
    let mut source_sites = Vec::new();
    let mut errors = names::clashes(adl.inputs.iter().map(|i| (i.name.as_str(), i.span)));
    for input in adl.inputs {
        if let Some(why) = names::bad_name(&names::upload_path(&input.name)) {
            let message = format!("the input name \"{}\" cannot be used: {why}", input.name);
            errors.push(Diagnostic::error("E61", input.span, message));
            continue;
        }
        errors.extend(input.local.as_ref().and_then(|_| names::blank(&input.name, input.span)));
        let Some(path) = input.local else { continue };
        locals.push(LocalInput {
            upload_path: names::upload_path(&input.name),
            name: input.name,
            path,
            executable: input.executable,
            implicit: false,
            span: input.span,
        });
        let (before, after) = match input.has_uri {
            true => ("<URI>", "</URI>"),
            false => ("<Source><URI>", "</URI></Source>"),
        };
        source_sites.push(SourceSite::Adl(input.source_span, before, after));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let (stdout, stderr) = (adl.stdout, adl.stderr);
    let job = JobDescription {
        name: adl.name.clone(),
        executable: adl.executable,
        stdout,
        stderr,
        ..JobDescription::default()
    };
    Ok(Submission {
        name: adl.name,
        job,
        locals,
        notes: Vec::new(),
        base: text.to_owned(),
        edits: Vec::new(),
        sites: source_sites,
        root_edits: None,
    })
}
