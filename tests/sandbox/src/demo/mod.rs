//! `act-sandbox demo`: shows actd and actctl at work. It builds them, starts a sandbox, types the commands that a user
//! would type, and checks what comes of each: it ends well only if everything was as it should be. It uses the programs
//! from outside, as a user does.

mod home;
mod jobs;
mod programs;
mod story;

use std::{path::Path, process::ExitCode, time::Duration};

use act_sandbox::{Delays, Options, Sandbox};
use clap::Args;

/// Time in each state of a job: long enough to see it.
const STATE: Duration = Duration::from_millis(400);

/// Arguments of `demo`.
#[derive(Args)]
pub(crate) struct Demo {
    /// Keep the directory, and say how to go on with it.
    #[arg(long)]
    keep: bool,
}

/// Runs the demo.
pub(crate) fn run(demo: &Demo) -> ExitCode {
    match play(demo) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: the demo did not go as it should: {error}");
            ExitCode::FAILURE
        }
    }
}

fn play(demo: &Demo) -> Result<(), String> {
    println!(
        "actd keeps your jobs on an aCT server; actctl is its command line. This shows both at work, against a\nserver in small that runs on this machine only."
    );
    title("Building actd and actctl");
    let programs = programs::directory()?;
    let dir = tempfile::Builder::new().prefix("act-demo-").tempdir_in("/tmp").map_err(|e| format!("/tmp: {e}"))?;
    let result = on_stage(dir.path(), &programs);
    if demo.keep || result.is_err() {
        let dir = dir.keep();
        println!("\nKept: {}", dir.display());
        if result.is_ok() {
            how_to_go_on(&dir, &programs);
        }
    }
    result
}

/// Starts the sandbox, plays, and ends everything that was started.
fn on_stage(dir: &Path, programs: &Path) -> Result<(), String> {
    title("Starting a sandbox: an aCT server, a computing element and a WebDAV store");
    let runtime = tokio::runtime::Runtime::new().map_err(|e| format!("no runtime: {e}"))?;
    let options = Options { delays: Delays::all(STATE), ..Options::new(dir.join("sandbox")) };
    let sandbox = runtime.block_on(Sandbox::start(options)).map_err(|e| e.to_string())?;
    let home = home::Home::new(dir, programs, sandbox.info())?;
    let result = story::tell(&home, sandbox.info());
    let stopped = home.stop_daemon();
    runtime.block_on(sandbox.shutdown());
    result.and(stopped)
}

fn how_to_go_on(dir: &Path, programs: &Path) {
    println!("To go on with it, in one terminal:\n");
    println!("    {}/act-sandbox serve --dir {}/sandbox\n\nand in another:\n", programs.display(), dir.display());
    for (name, value) in home::environment(dir, programs, &dir.join("sandbox/pki/ca")) {
        println!("    export {name}={value}");
    }
    println!(
        "    cd {}\n    actctl stat\n\nand when you are done: `actctl daemon stop`, and remove {}",
        dir.join("work").display(),
        dir.display()
    );
}

/// Announces a part.
pub(crate) fn title(text: &str) {
    println!("\n== {text}");
}
