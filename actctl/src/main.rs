//! The program `actctl`: hands its words to the library and exits with what comes back.

use std::process::ExitCode;

fn main() -> ExitCode {
    actctl::guarded(|| actctl::main(std::env::args_os().collect()))
}
