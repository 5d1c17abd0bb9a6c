//! Brings a job's inputs into its session directory: uploaded ones when the server submits the job to the CE, remote
//! ones when the CE prepares it; and takes outputs with a URL away when it has ended.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::transfer::Client;
use crate::{desc::Description, rest::data::inside};

/// Makes the session directory and copies the uploaded inputs into it.
///
/// # Errors
/// What makes the server give the job up, as observed: a local input with a space in its name, or a relative
/// executable or stdin that is no input file.
pub(super) fn upload(description: &Description, data: &Path, session: &Path) -> io::Result<()> {
    fs::create_dir_all(session)?;
    for path in [&description.executable, &description.stdin].into_iter().flatten() {
        let listed = description.inputs.iter().any(|input| clean(&input.name) == clean(path));
        if !path.is_empty() && !path.starts_with('/') && !listed {
            return Err(io::Error::other(format!("{path} is relative and not among the input files")));
        }
    }
    for input in description.inputs.iter().filter(|input| input.is_local() && !input.uncached) {
        if input.name.contains(' ') {
            return Err(io::Error::other(format!("the name `{}` has a space", input.name)));
        }
        let (from, to) = (place(data, &input.name)?, place(session, &input.name)?);
        make_parent(&to)?;
        fs::copy(from, &to)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(mode(description, &input.name)))?;
    }
    Ok(())
}

/// Fetches the inputs that lie elsewhere, with the delegated proxy.
pub(super) async fn download(description: &Description, session: &Path, client: &Client<'_>) -> Result<(), String> {
    for input in description.inputs.iter().filter(|input| !input.is_local()) {
        let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", input.source);
        let to = place(session, &input.name).map_err(|error| fail(&error))?;
        make_parent(&to).map_err(|error| fail(&error))?;
        client.get(&input.source, &to).await.map_err(|error| fail(&error))?;
        let mode = fs::Permissions::from_mode(mode(description, &input.name));
        fs::set_permissions(&to, mode).map_err(|error| fail(&error))?;
    }
    Ok(())
}

/// Sends the outputs that have a URL there.
pub(super) async fn deliver(description: &Description, session: &Path, client: &Client<'_>) -> Result<(), String> {
    for output in description.outputs.iter().filter(|output| output.target.contains("://")) {
        let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", output.target);
        let from = place(session, &output.name).map_err(|error| fail(&error))?;
        client.put(&output.target, &from).await.map_err(|error| fail(&error))?;
    }
    Ok(())
}

fn clean(path: &str) -> &str {
    path.trim_start_matches("./")
}

fn mode(description: &Description, name: &str) -> u32 {
    let main = description.executable.as_deref().is_some_and(|path| clean(path) == clean(name));
    if main || description.executables.iter().any(|other| clean(other) == clean(name)) { 0o755 } else { 0o644 }
}

pub(super) fn place(base: &Path, name: &str) -> io::Result<PathBuf> {
    inside(base, name.as_bytes()).ok_or_else(|| io::Error::other(format!("`{name}` is no name for a file")))
}

pub(super) fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}
