//! Where the programs under test are. They are built on demand, with the profile and the target directory of the test
//! that asks, so that `cargo test -p act-tests` in a fresh checkout needs no other step.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A directory with ready-built programs, used instead of building: to test an installation.
pub const DIR_VARIABLE: &str = "ACT_TESTS_BIN_DIR";

/// The directory that holds `actd`, `actctl` and `act-sandbox`.
///
/// # Panics
/// They cannot be built.
pub fn dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| match env::var_os(DIR_VARIABLE) {
        Some(dir) => dir.into(),
        None => build(),
    })
}

/// One of the programs.
pub fn program(name: &str) -> PathBuf {
    dir().join(name)
}

fn build() -> PathBuf {
    // target/PROFILE/deps/it-HASH
    let exe = env::current_exe().expect("a running test has a path");
    let out = exe.ancestors().nth(2).expect("a test lies below target/PROFILE/deps").to_owned();
    let profile = match out.file_name().and_then(|name| name.to_str()).expect("a profile has a name") {
        "debug" => "dev",
        name => name,
    };
    let target = out.parent().expect("a profile's directory lies in the target directory");
    let compiled_in = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
    // The programs are those of the checkout that the test runs in, also if its target directory is a copy of another's.
    let root = target.parent().filter(|dir| dir.join("Cargo.toml").exists()).unwrap_or(compiled_in);
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // `--workspace` selects the features of dependencies that `cargo test --workspace` has just used: nothing is compiled
    // twice. Cargo's own lock keeps test programs that start at the same time apart.
    let features: &[&str] = if cfg!(feature = "failpoints") { &["--features", "actd/failpoints"] } else { &[] };
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--workspace", "--bins"])
        .args(features)
        .args(["--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(root)
        .status()
        .expect("cargo can be run");
    assert!(status.success(), "actd, actctl and act-sandbox cannot be built");
    out
}
