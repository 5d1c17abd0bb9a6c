//! Job descriptions for tests. All are valid for ARC, so that the real `act` takes them, too.

/// A job that runs a shell script: its stdout goes to `out.txt`, its stderr to `err.txt`.
#[must_use]
pub fn shell(name: &str, script: &str) -> String {
    with(name, script, "")
}

/// The same with more attributes: `(outputfiles=("x" ""))`.
#[must_use]
pub fn with(name: &str, script: &str, more: &str) -> String {
    // A quote inside a quoted word is written twice.
    let script = script.replace('"', "\"\"");
    format!(
        "&(executable=\"/bin/sh\")(arguments=\"-c\" \"{script}\")(stdout=\"out.txt\")(stderr=\"err.txt\")(walltime=\"60\")(jobname=\"{name}\"){more}\n"
    )
}

/// A job that copies the input file `input` to its stdout.
#[must_use]
pub fn cat(name: &str, input: &str) -> String {
    with(name, "cat in.txt", &format!("(inputfiles=(\"in.txt\" \"{input}\"))"))
}

/// A job that writes a line and then runs until it is killed.
#[must_use]
pub fn endless(name: &str) -> String {
    shell(name, "echo begun; exec sleep 3600")
}

/// A job that fails with exit code `code`.
#[must_use]
pub fn fail(name: &str, code: u8) -> String {
    shell(name, &format!("echo this goes wrong >&2; exit {code}"))
}
