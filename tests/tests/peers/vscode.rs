//! The extension in a real VS Code, in a browser without a screen. Installing that takes a minute and 300 MB: behind a feature
//! of its own, which `.ci/run --full` sets.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use act_tests::{World, bins};

#[test]
fn a_day_in_vs_code() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let tools = match std::env::var_os("ACT_TESTS_VSCODE") {
        Some(dir) => dir.into(),
        None => bins::dir().parent().expect("target/PROFILE").join("tmp/vscode"),
    };
    let made = Command::new(Path::new(root).join("tests/peers/vscode.sh")).arg(&tools).output().expect("a shell");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let world = World::ready();
    let user = &world.user;
    let text = "(* What is spelt wrong here is underlined, and corrected on demand. *)\n&(jobname=\"from-code\")\n \
                (exectuable=\"/bin/sh\")\n (arguments=\"-c\" \"sleep 2; echo written by the job\")\n \
                (runtimeenvironment=\"ENV/PROXY\")\n (stdout=\"out.txt\")\n (walltime=\"10 minutes\")\n (count=\"1\")\n";
    user.write("job.xrsl", text);
    let mut node = user.command("node");
    node.arg(Path::new(root).join("actctl/editors/vscode/test/run.mjs"))
        .arg(user.root().join("vscode"))
        .env("TOOLS", &tools)
        .env("VSIX", tools.join("extension/actd-xrsl.vsix"))
        .env("ACTCTL", bins::program("actctl"))
        .env("WS", user.work());
    let ran = user.run(node, Duration::from_secs(400)).ok();
    println!("{}", ran.stdout);
    assert_eq!(world.sandbox.runs_of("from-code"), 1);
    // The picture in the README.
    if let Some(file) = std::env::var_os("ACT_TESTS_SCREENSHOT") {
        std::fs::copy(user.root().join("vscode/screenshot.png"), file).expect("a screenshot");
    }
}
