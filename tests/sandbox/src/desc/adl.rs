//! Reads an ADL (XML) job description, as far as a small server needs it to run the job. Not a general XML
//! parser: no DTD, no external entities, namespaces by their local name only.

use super::xrsl::{Item, Relation};

/// An element with its children and its own text.
#[derive(Debug, Default)]
struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

const MAX_DEPTH: usize = 64;

impl Element {
    fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    fn text_at(&self, path: &[&str]) -> Option<String> {
        let mut element = self;
        for name in path {
            element = element.child(name)?;
        }
        Some(element.text.trim().to_owned())
    }
}

/// Translates an ADL document into the same relations as an xRSL text would give.
///
/// # Errors
/// A short English reason when the text is not well-formed or is no `ActivityDescription`.
pub(crate) fn parse(text: &str) -> Result<Vec<Relation>, String> {
    let root = document(text)?;
    if root.name != "ActivityDescription" {
        return Err(format!("unknown document <{}>", root.name));
    }
    let mut relations = Vec::new();
    let mut add = |name: &str, items: Vec<Item>| {
        relations.push(Relation { name: name.to_owned(), op: "=", items });
    };
    if let Some(application) = root.child("Application") {
        if let Some(executable) = application.child("Executable") {
            if let Some(path) = executable.text_at(&["Path"]) {
                add("executable", vec![Item::Text(path)]);
            }
            let arguments: Vec<_> = executable.children.iter().filter(|child| child.name == "Argument").collect();
            if !arguments.is_empty() {
                add("arguments", arguments.into_iter().map(|child| Item::Text(child.text.clone())).collect());
            }
        }
        for (tag, name) in [("Input", "stdin"), ("Output", "stdout"), ("Error", "stderr")] {
            if let Some(value) = application.text_at(&[tag]) {
                add(name, vec![Item::Text(value)]);
            }
        }
        let environment: Vec<_> = application
            .children
            .iter()
            .filter(|child| child.name == "Environment")
            .filter_map(|child| {
                let name = child.text_at(&["Name"])?;
                Some(pair(name, child.text_at(&["Value"]).unwrap_or_default()))
            })
            .collect();
        if !environment.is_empty() {
            add("environment", environment);
        }
    }
    if let Some(seconds) = root.text_at(&["Resources", "IndividualWallTime"]) {
        add("walltime", vec![Item::Text(format!("PT{seconds}S"))]);
    }
    if let Some(staging) = root.child("DataStaging") {
        for (tag, place, name) in [("InputFile", "Source", "inputfiles"), ("OutputFile", "Target", "outputfiles")] {
            let files: Vec<_> = staging
                .children
                .iter()
                .filter(|child| child.name == tag)
                .filter_map(|file| {
                    let path = file.text_at(&["Name"])?;
                    Some(pair(path, file.text_at(&[place, "URI"]).unwrap_or_default()))
                })
                .collect();
            if !files.is_empty() {
                add(name, files);
            }
        }
    }
    let name = root.text_at(&["ActivityIdentification", "Name"]).unwrap_or_default();
    add("jobname", vec![Item::Text(name)]);
    Ok(relations)
}

fn pair(first: String, second: String) -> Item {
    Item::List(vec![Item::Text(first), Item::Text(second)])
}

fn document(text: &str) -> Result<Element, String> {
    let mut stack = vec![Element::default()];
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        let top = stack.last_mut().ok_or("unbalanced")?;
        top.text.push_str(&unescape(&rest[..open]));
        rest = &rest[open..];
        if let Some(after) = rest.strip_prefix("<!--") {
            rest = &after[after.find("-->").ok_or("comment is not closed")? + 3..];
            continue;
        }
        if let Some(after) = rest.strip_prefix("<?") {
            rest = &after[after.find("?>").ok_or("declaration is not closed")? + 2..];
            continue;
        }
        if rest.starts_with("<!") {
            return Err("document types are not supported".to_owned());
        }
        let close = rest.find('>').ok_or("tag is not closed")?;
        let tag = &rest[1..close];
        rest = &rest[close + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let done = stack.pop().ok_or("unbalanced")?;
            if done.name != local(name.trim()) {
                return Err(format!("</{name}> closes <{}>", done.name));
            }
            stack.last_mut().ok_or("unbalanced")?.children.push(done);
            continue;
        }
        let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let name = tag.split_ascii_whitespace().next().ok_or("tag without a name")?;
        let element = Element { name: local(name).to_owned(), ..Element::default() };
        if empty {
            stack.last_mut().ok_or("unbalanced")?.children.push(element);
        } else {
            if stack.len() > MAX_DEPTH {
                return Err("nested too deeply".to_owned());
            }
            stack.push(element);
        }
    }
    if stack.len() != 1 {
        return Err("document is not closed".to_owned());
    }
    let mut root = stack.pop().ok_or("unbalanced")?;
    root.children.pop().ok_or_else(|| "no document element".to_owned())
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_activity() {
        let relations = parse(
            "<?xml version=\"1.0\"?><ActivityDescription xmlns=\"x\"><ActivityIdentification><Name>n &amp; m</Name>\
             </ActivityIdentification><Application><Executable><Path>/bin/cat</Path><Argument>in.txt</Argument>\
             </Executable><Output>o</Output></Application><DataStaging><InputFile><Name>in.txt</Name></InputFile>\
             </DataStaging></ActivityDescription>",
        )
        .unwrap();
        let names: Vec<_> = relations.iter().map(|relation| relation.name.as_str()).collect();
        assert_eq!(names, ["executable", "arguments", "stdout", "inputfiles", "jobname"]);
        assert_eq!(relations[4].items, [Item::Text("n & m".to_owned())]);
    }

    #[test]
    fn refuses_broken_documents() {
        for bad in ["<a>", "<a></b>", "<ActivityDescription>", "<x/>", "</x>", "<!DOCTYPE x><ActivityDescription/>"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
