//! The sandbox's program for tests of this package, which cannot name it: it is another package's. Part of several test
//! programs, and none itself.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Its path. The first caller builds it, with the features that a test of the whole workspace has just used: then there
/// is nothing to compile.
pub(crate) fn path() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let test = std::env::current_exe().expect("a running test has a path");
        let out = test.ancestors().nth(2).expect("a test lies below target/PROFILE/deps").to_owned();
        let profile = match out.file_name().and_then(|name| name.to_str()).expect("a profile has a name") {
            "debug" => "dev",
            name => name,
        };
        let features: &[&str] = if cfg!(feature = "failpoints") { &["--features", "actd/failpoints"] } else { &[] };
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--workspace", "--bins", "--profile", profile, "--target-dir"])
            .arg(out.parent().expect("a profile's directory lies in the target directory"))
            .args(features)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .status()
            .expect("cargo can be run");
        assert!(built.success(), "act-sandbox cannot be built");
        out.join("act-sandbox")
    })
}
