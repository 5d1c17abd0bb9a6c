//! Where actd and actctl are: beside this program. Run by cargo, it has them built first; cargo's progress is shown.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The directory that holds them.
///
/// # Errors
/// They cannot be built, or are not there.
pub(crate) fn directory() -> Result<PathBuf, String> {
    let exe = env::current_exe().map_err(|e| format!("cannot tell where this program is: {e}"))?;
    let dir = exe.parent().ok_or("this program lies nowhere")?.to_owned();
    if let Some(cargo) = env::var_os("CARGO") {
        build(Path::new(&cargo), &dir)?;
    }
    for name in ["actd", "actctl"] {
        if !dir.join(name).is_file() {
            return Err(format!("there is no {} in {}; run `cargo demo` in the source tree", name, dir.display()));
        }
    }
    Ok(dir)
}

fn build(cargo: &Path, dir: &Path) -> Result<(), String> {
    let profile = match dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let target = dir.parent().ok_or("no target directory")?;
    // Within a package's directory cargo would choose that package alone.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).ok_or("this program was built nowhere")?;
    // No package is named, here and in the alias that began this: so cargo chooses the same features of what both
    // depend on, and compiles nothing twice.
    println!("$ cargo build --bin actd --bin actctl");
    let status = Command::new(cargo)
        .args(["build", "--bin", "actd", "--bin", "actctl", "--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(root)
        .status()
        .map_err(|e| format!("cannot run cargo: {e}"))?;
    if status.success() { Ok(()) } else { Err("actd and actctl cannot be built".to_owned()) }
}
