//! ADL, the XML job description of the EMI Execution Service, as far as sending one needs it: its name and its inputs.
//! ADL passes through unchanged; it is not checked against its schema here.

mod xml;

use crate::diagnostic::Diagnostic;
use crate::span::Span;
use crate::url::{Place, place};
use xml::Document;

/// The largest ADL document that is read, in bytes.
const MAX_ADL: usize = 16 << 20;

/// Whether a text is meant to be XML rather than xRSL (no xRSL starts with `<`).
#[must_use]
pub fn is_xml(text: &str) -> bool {
    text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).starts_with('<')
}

/// What sending a job needs to know of its ADL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adl {
    /// The activity's name.
    pub name: Option<String>,
    /// Path of the executable.
    pub executable: Option<String>,
    /// Name of the file that gets what the program prints.
    pub stdout: Option<String>,
    /// Name of the file that gets the program's errors.
    pub stderr: Option<String>,
    /// Its inputs, in order.
    pub inputs: Vec<AdlInput>,
}

/// One `InputFile`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdlInput {
    /// `Name`
    pub name: String,
    /// The local path if the first source is local: the `URI` without `file:`, or the name if there is no source.
    pub local: Option<String>,
    /// `IsExecutable`, or named as the executable.
    pub executable: bool,
    /// All of the element.
    pub span: Span,
    /// What to replace to give it another source: the first `URI` element, or the place for a `Source`.
    pub source_span: Span,
    /// Whether `source_span` is a `URI` element.
    pub has_uri: bool,
}

/// Text for use in an XML element.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Reads an ADL document.
///
/// # Errors
/// It is no XML, no ADL, too large, or needs a local file that it does not list as an input.
pub fn read(text: &str) -> Result<Adl, Vec<Diagnostic>> {
    let error = |span: Span, message: String| Err(vec![Diagnostic::error("E00", span, message)]);
    if text.len() > MAX_ADL {
        return error(Span::at(0), format!("the description is larger than {} MiB", MAX_ADL >> 20));
    }
    let document = match xml::read(text) {
        Ok(document) => document,
        Err(e) => return error(Span::at(e.at), format!("this is no well-formed XML: {}", e.what)),
    };
    let named =
        |name: &str| document.elements.iter().enumerate().filter(|(_, e)| e.name == name).map(|(i, _)| i).collect();
    let activities: Vec<usize> = named("ActivityDescription");
    let activity = match activities.as_slice() {
        [one] => *one,
        [] => return error(Span::at(0), "this XML is no ADL: it has no ActivityDescription".to_owned()),
        [_, second, ..] => {
            let message = "the server takes one ActivityDescription at a time".to_owned();
            return error(document.elements[*second].span, message);
        }
    };
    read_activity(&document, activity)
}

/// The text of an element reached by a path of names.
fn text_at<'d>(document: &'d Document, from: usize, path: &[&str]) -> Option<(&'d str, Span)> {
    let mut at = from;
    for name in path {
        at = document.child(at, name)?.0;
    }
    let element = document.elements.get(at)?;
    Some((element.text.as_str(), element.span)).filter(|(t, _)| !t.is_empty())
}

fn read_activity(document: &Document, activity: usize) -> Result<Adl, Vec<Diagnostic>> {
    let text = |path: &[&str]| text_at(document, activity, path);
    let name = text(&["ActivityIdentification", "Name"]).map(|(t, _)| t.to_owned());
    let executable = text(&["Application", "Executable", "Path"]);
    let mut inputs = Vec::new();
    let mut errors = Vec::new();
    for (staging, _) in document.children(activity, "DataStaging") {
        for (i, element) in document.children(staging, "InputFile") {
            let Some((name, _)) = text_at(document, i, &["Name"]) else {
                errors.push(Diagnostic::error("E61", element.span, "an InputFile has no Name"));
                continue;
            };
            let uri = document.child(i, "Source").and_then(|(s, _)| document.child(s, "URI"));
            let local = match uri.map(|(_, u)| u.text.as_str()) {
                None | Some("") => Some(name.to_owned()),
                Some(uri) => match place(uri) {
                    Place::Local(path) => Some(path),
                    _ => None,
                },
            };
            let end = if element.empty { element.span.end } else { element.content.end };
            let flag = text_at(document, i, &["IsExecutable"]).is_some_and(|(t, _)| t == "true" || t == "1");
            inputs.push(AdlInput {
                name: name.to_owned(),
                local,
                executable: flag || executable.is_some_and(|(path, _)| path == name),
                span: element.span,
                source_span: uri.map_or(Span { start: end, end }, |(_, u)| u.span),
                has_uri: uri.is_some(),
            });
        }
    }
    for (what, path) in [("executable", executable), ("standard input", text(&["Application", "Input"]))] {
        let Some((path, span)) = path else { continue };
        if !path.starts_with('/') && !inputs.iter().any(|i| i.name == path) {
            let message = format!("the {what} \"{path}\" is relative but no InputFile has this name");
            errors.push(
                Diagnostic::error("E61", span, message).help(format!("add <InputFile><Name>{path}</Name></InputFile>")),
            );
        }
    }
    let owned = |found: Option<(&str, Span)>| found.map(|(text, _)| text.to_owned());
    let (stdout, stderr) = (owned(text(&["Application", "Output"])), owned(text(&["Application", "Error"])));
    let executable = owned(executable);
    if errors.is_empty() { Ok(Adl { name, executable, stdout, stderr, inputs }) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADL: &str = "<?xml version=\"1.0\"?>\n<a:ActivityDescription xmlns:a=\"x\"><ActivityIdentification><Name>n &amp; m</Name>\
        </ActivityIdentification><Application><Executable><Path>run.sh</Path></Executable></Application><DataStaging>\
        <InputFile><Name>run.sh</Name></InputFile><InputFile><Name>b</Name><Source><URI>https://h/b</URI></Source></InputFile>\
        <InputFile><Name>c</Name><Source><URI>file:///d/c</URI></Source></InputFile></DataStaging></a:ActivityDescription>";

    #[test]
    fn local_inputs_are_found() {
        let adl = read(ADL).unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(adl.name.as_deref(), Some("n & m"));
        let local: Vec<_> = adl.inputs.iter().map(|i| (i.name.as_str(), i.local.as_deref(), i.executable)).collect();
        assert_eq!(local, [("run.sh", Some("run.sh"), true), ("b", None, false), ("c", Some("/d/c"), false)]);
        let c = crate::for_submission(ADL, 0).unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(c.text(), ADL);
        let with = c.with_sources(|name| Some(format!("https://dav/7/{name}?a&b")));
        assert!(
            with.contains("<Name>run.sh</Name><Source><URI>https://dav/7/run.sh?a&amp;b</URI></Source></InputFile>")
        );
        assert!(
            with.contains("<URI>https://dav/7/c?a&amp;b</URI></Source>") && with.contains("<URI>https://h/b</URI>")
        );
        assert_eq!(read(&with).unwrap_or_else(|e| panic!("{e:?}")).inputs.len(), 3);
    }

    #[test]
    fn hostile_documents_are_refused() {
        for bad in [
            "<a>",
            "<a></b>",
            "<!DOCTYPE x [<!ENTITY a \"b\">]><a>&a;</a>",
            "<a>&b;</a>",
            "<a/><b/>",
            "<",
            "<a",
            "x<a/>",
            "<ActivityDescription/><x/>",
            "<a/>",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read(&"<a>".repeat(100_000)).is_err());
    }
}
