//! The CE's own files about a job, which come with every result: ten of them, as observed.

use std::{fs, io, path::Path};

use crate::{
    desc::Description,
    state::{ArcRow, columns::timestamp},
};

/// Name and content of the ten files.
pub(super) type Files = [(&'static str, String); 10];

pub(super) fn files(description: &Description, arc: &ArcRow, ce_url: &str, owner: &str) -> Files {
    let id = arc.id_from_endpoint.clone().unwrap_or_default();
    let time = |time: Option<i64>| time.map(timestamp).unwrap_or_default();
    let failed = arc.exit_code.is_none();
    let list =
        |names: Vec<&str>| names.iter().map(|name| format!("/{}\n", name.trim_start_matches('/'))).collect::<String>();
    let inputs = list(description.inputs.iter().map(|input| input.name.as_str()).collect());
    let kept = description.outputs.iter().map(|output| output.name.as_str());
    let streams = [&description.stdout, &description.stderr].into_iter().flatten().map(String::as_str);
    let outputs = list(kept.chain(streams).collect());
    let name = escape(&description.name);
    let errors = format!(
        "{} Job state change UNDEFINED -> ACCEPTED   Reason: (Re)Accepting new job\n{} Job state change FINISHING -> \
         FINISHED   Reason: {}\n",
        time(arc.submission_time),
        time(arc.end_time),
        arc.error.clone().filter(|error| !error.is_empty()).unwrap_or_else(|| "Stage-out finished.".to_owned())
    );
    let xml = format!(
        "<ComputingActivity xmlns=\"http://schemas.ogf.org/glue/2009/03/spec_2.0_r1\" BaseType=\"Activity\">\n  <Name>{name}\
         </Name>\n  <IDFromEndpoint>urn:idfe:{id}</IDFromEndpoint>\n  <State>arcrest:{}</State>\n  <Owner>{}</Owner>\n\
         </ComputingActivity>\n",
        if failed { "FAILED" } else { "FINISHED" },
        escape(owner)
    );
    let local = format!(
        "globalid={id}\nheadnode={ce_url}/arex\ninterface=org.nordugrid.arcrest\nlrms=fork\nqueue=fork\nlocalid={}\nargs={}\n\
         subject={owner}\njobname={}\n",
        arc.local_id.clone().unwrap_or_default(),
        description.command_line(),
        description.name
    );
    let description_text = format!(
        "<?xml version=\"1.0\"?>\n<ActivityDescription xmlns=\"http://www.eu-emi.eu/es/2010/12/adl\">\n  \
         <ActivityIdentification>\n    <Name>{name}</Name>\n  </ActivityIdentification>\n</ActivityDescription>\n"
    );
    let diag = format!("nodename=sandbox\nProcessors=1\nexitcode={}\n", arc.exit_code.unwrap_or(-1));
    [
        ("description", description_text),
        ("xml", xml),
        ("input_status", inputs),
        ("statistics", String::new()),
        ("input", String::new()),
        ("output", outputs),
        ("diag", diag),
        ("errors", errors),
        ("status", "FINISHED".to_owned()),
        ("local", local),
    ]
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

pub(super) fn write(dir: &Path, files: &Files) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    files.iter().try_for_each(|(name, content)| fs::write(dir.join(name), content))
}
