//! Jobs that never ran, by the thousand, for tests of large listings and downloads.

use std::{collections::BTreeMap, fs, io, path::Path, sync::Arc};

use serde::Deserialize;

use crate::{
    desc::Description,
    rest::data::inside,
    shared::{Shared, now},
    state::new_ce_id,
};

/// What to add.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Synthetic {
    /// How many.
    pub count: u32,
    /// Their `arcstate`.
    #[serde(default = "done")]
    pub arcstate: String,
    /// Their `State`.
    #[serde(default = "finished")]
    pub state: String,
    /// Job names are this, a dash and the number in the series.
    #[serde(default = "synthetic")]
    pub name: String,
    /// Result files: name -> text, in which `{id}` becomes the job's id.
    #[serde(default = "one_file")]
    pub files: BTreeMap<String, String>,
    /// Whose they are; the first identity that has delegated a proxy, if absent.
    #[serde(default)]
    pub proxyid: Option<i64>,
}

fn done() -> String {
    "done".to_owned()
}

fn finished() -> String {
    "Finished".to_owned()
}

fn synthetic() -> String {
    "synthetic".to_owned()
}

fn one_file() -> BTreeMap<String, String> {
    BTreeMap::from([("out.txt".to_owned(), "result of job {id}\n".to_owned())])
}

/// Adds the jobs and returns their ids.
///
/// # Errors
/// Nobody has delegated a proxy yet, or the results cannot be written.
pub(crate) fn add(shared: &Shared, wish: &Synthetic) -> io::Result<Vec<i64>> {
    let description = Arc::new(Description {
        executable: Some("/bin/true".to_owned()),
        stdout: wish.files.keys().next().cloned(),
        count: 1,
        ..Description::default()
    });
    let clusters = shared.clusters.first().map(|cluster| cluster.url.clone()).unwrap_or_default();
    let with_results = matches!(wish.arcstate.as_str(), "done" | "donefailed");
    let made = shared.change(|state| {
        let proxyid = wish.proxyid.or_else(|| state.proxies.keys().next().copied())?;
        state.proxies.get(&proxyid)?;
        let now = now();
        let mut made = Vec::new();
        for number in 1..=wish.count {
            let id = state.create(proxyid, clusters.clone(), now);
            if let Some(job) = state.jobs.get_mut(&id) {
                job.description = Some(description.clone());
                job.jobdesc = Some("&( executable = \"/bin/true\" )".to_owned());
                job.name = Some(format!("{}-{number}", wish.name));
                job.pinned = true;
            }
            state.hand_over(id, now);
            let Some(job) = state.jobs.get_mut(&id) else { continue };
            job.enter(&wish.arcstate, now);
            job.report(&wish.state, now);
            let ce_id = new_ce_id();
            let results = shared.dirs.results(&ce_id);
            job.results = with_results.then(|| results.clone());
            if let Some(arc) = &mut job.arc {
                arc.accepted(&shared.ce_url, &ce_id, &clusters, now);
                arc.check(&description);
                arc.exit_code = (wish.state == "Finished").then_some(0);
                arc.end_time = Some(now);
            }
            made.push((id, results));
        }
        Some(made)
    });
    let made = made.ok_or_else(|| io::Error::other("no proxy was delegated yet"))?;
    if with_results {
        for (id, results) in &made {
            write_files(results, &wish.files, *id)?;
        }
    }
    Ok(made.into_iter().map(|(id, _)| id).collect())
}

/// Writes result files, `{id}` in their text replaced.
pub(crate) fn write_files(dir: &Path, files: &BTreeMap<String, String>, id: i64) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for (name, text) in files {
        let path = inside(dir, name.as_bytes()).ok_or_else(|| io::Error::other(format!("`{name}` is no file name")))?;
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, text.replace("{id}", &id.to_string()))?;
    }
    Ok(())
}
