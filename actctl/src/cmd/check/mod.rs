//! `check`: what is wrong with job descriptions, without a daemon or a server. Reads the files and asks what local inputs
//! exist; the judging is the xrsl package's, the printing is next door.

mod human;
mod machine;

use std::fs;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use act_proto::{ApiError, Kind};
use serde_json::json;
use xrsl::{Diagnostic, FileKind, Files, Level, LineIndex, LintContext};

use crate::cli_xrsl::{Check, Format};
use crate::ctx::Ctx;
use crate::failure::{DESCRIPTION, Failure, LOCAL, OK, Outcome};

/// The largest description that is read, in bytes.
const MAX_BYTES: u64 = 16 << 20;
/// Corrections that wait for others get so many rounds.
const FIX_ROUNDS: usize = 10;

/// One file and what was found in it.
struct Checked {
    path: String,
    text: String,
    index: LineIndex,
    findings: Vec<Diagnostic>,
    /// Whether ARC accepts it.
    accepted: bool,
    jobs: usize,
    /// How many corrections were written.
    fixed: usize,
}

/// Runs the verb.
///
/// # Errors
/// What concerns no single file.
pub fn run(ctx: &Ctx, args: &Check) -> Outcome {
    if args.canonical {
        return canonical(ctx, args);
    }
    let base_dir = args.base_dir.clone().unwrap_or_else(|| PathBuf::from("."));
    let disk = Disk { base_dir };
    let mut checked = Vec::new();
    let mut unread: Vec<(&Path, Failure)> = Vec::new();
    for path in &args.files {
        match check(path, &disk, args.fix) {
            Ok(c) => checked.push(c),
            Err(failure) => {
                if !ctx.out.json {
                    ctx.out.failure(&failure);
                }
                unread.push((path, failure));
            }
        }
    }
    match if ctx.out.json { Format::Json } else { args.format } {
        Format::Human => {
            for c in &checked {
                // Made printable already, but for our own colours.
                ctx.out.bytes(human::findings(c, ctx.out.paints()).as_bytes())?;
            }
            for c in checked.iter().filter(|c| c.fixed > 0) {
                let s = if c.fixed == 1 { "" } else { "s" };
                ctx.out.note(&format!("{}: {} correction{s} written", c.path, c.fixed));
            }
            if let Some(summary) = human::summary(&checked) {
                ctx.out.note(&summary);
            }
        }
        Format::Json => ctx.out.value(&machine::json(&checked, &unread))?,
        Format::Gcc => ctx.out.text(&machine::gcc(&checked))?,
        Format::Sarif => ctx.out.value(&machine::sarif(&checked))?,
    }
    let errors = checked.iter().flat_map(|c| &c.findings).any(|d| d.level == Level::Error);
    Ok(if errors {
        DESCRIPTION
    } else if !unread.is_empty() {
        LOCAL
    } else {
        OK
    })
}

fn check(path: &Path, disk: &Disk, fix: bool) -> Result<Checked, Failure> {
    let bytes = read_bytes(path)?;
    let mut text = xrsl::decode(&bytes).into_owned();
    let context = LintContext { files: Some(disk) };
    let judge = |text: &str| {
        let mut findings = xrsl::check(text, &context);
        findings.extend(xrsl::check_encoding(&bytes, text));
        findings.sort_by_key(|d| d.span.start);
        findings
    };
    let mut findings = judge(&text);
    let mut fixed = 0;
    if fix {
        for _ in 0..FIX_ROUNDS {
            let (better, count) = xrsl::apply_fixes(&text, &findings);
            if count == 0 {
                break;
            }
            text = better;
            fixed += count;
            findings = judge(&text);
        }
        if fixed > 0 {
            write(path, &text)?;
        }
    }
    let (accepted, jobs) = if xrsl::adl::is_xml(&text) {
        (!findings.iter().any(|d| d.level == Level::Error), 1)
    } else {
        let parsed = xrsl::parse(&text);
        (parsed.accepted(), parsed.jobs().len())
    };
    let index = LineIndex::new(&text);
    Ok(Checked { path: path.display().to_string(), text, index, findings, accepted, jobs, fixed })
}

/// `--canonical`: the evaluated jobs, or why there are none.
fn canonical(ctx: &Ctx, args: &Check) -> Outcome {
    let [path] = args.files.as_slice() else {
        return Err(Failure::usage("--canonical takes one file"));
    };
    let text = read(path)?;
    let parsed = xrsl::parse(&text);
    if !parsed.accepted() {
        let index = LineIndex::new(&text);
        let mut found = parsed.diagnostics().iter().map(|d| {
            let at = index.position(&text, d.span.start);
            (format!("{}:{at}: {} [{}]", path.display(), d.message, d.code), d.help.clone())
        });
        if ctx.out.json {
            let (message, hint) = found.next().unwrap_or_else(|| ("it is not accepted".to_owned(), None));
            let mut error = ApiError::new(Kind::BadDescription, message);
            error.data.hint = hint;
            return Err(error.into());
        }
        found.for_each(|(message, hint)| ctx.out.error(&message, hint.as_deref()));
        return Ok(DESCRIPTION);
    }
    let jobs: Vec<&str> = parsed.jobs().iter().map(xrsl::JobDescription::canonical).collect();
    ctx.out.value(&json!(jobs))?;
    Ok(OK)
}

/// Reads a description; `-` is standard input. What is no UTF-8 is read as Latin-1.
///
/// # Errors
/// It cannot be read or is too large.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    Ok(xrsl::decode(&read_bytes(path)?).into_owned())
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let shown = path.display();
    let mut bytes = Vec::new();
    let done = if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|f| f.take(MAX_BYTES + 1).read_to_end(&mut bytes))
    };
    done.map_err(|e| Failure::local(format!("{shown} cannot be read: {e}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Failure::local(format!("{shown} is larger than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(bytes)
}

/// Replaces a file's content in one step, with its mode; `-` is standard output's business.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if path == Path::new("-") {
        return Err(Failure::usage("standard input cannot be corrected in place"));
    }
    let failed = |e: std::io::Error| Failure::local(format!("{} cannot be written: {e}", path.display()));
    // Through a link: the file it points to is meant.
    let path = fs::canonicalize(path).map_err(failed)?;
    // What was read as Latin-1 is written as Latin-1.
    let was = fs::read(&path).map_err(failed)?;
    let bytes =
        match std::str::from_utf8(&was) {
            Ok(_) => text.as_bytes().to_vec(),
            Err(_) => text.chars().map(|c| u8::try_from(u32::from(c))).collect::<Result<_, _>>().map_err(|_| {
                Failure::local(format!("{} is Latin-1, which cannot hold the correction", path.display()))
            })?,
        };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let part = path.with_file_name(name);
    let done = fs::metadata(&path).and_then(|m| {
        fs::write(&part, &bytes)?;
        fs::set_permissions(&part, m.permissions())?;
        fs::rename(&part, &path)
    });
    done.map_err(|e| {
        // The rest of a failed attempt; the error that matters is the first.
        drop(fs::remove_file(&part));
        failed(e)
    })
}

/// The local files, relative to a directory.
pub(crate) struct Disk {
    pub(crate) base_dir: PathBuf,
}

impl Files for Disk {
    fn kind(&self, path: &str) -> FileKind {
        let path = self.base_dir.join(path);
        match fs::metadata(&path) {
            Err(e) if matches!(e.kind(), std::io::ErrorKind::PermissionDenied) => FileKind::Unreadable,
            Err(_) => FileKind::Missing,
            Ok(m) if m.is_dir() => FileKind::Directory,
            Ok(m) if m.file_type().is_fifo() || m.file_type().is_socket() || !m.is_file() => FileKind::Special,
            Ok(_) if fs::File::open(&path).is_err() => FileKind::Unreadable,
            Ok(m) => FileKind::File(m.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn findings(dir: &Path, text: &[u8], fix: bool) -> (Vec<&'static str>, Vec<u8>) {
        let path = dir.join("job.xrsl");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
        let checked = check(&path, &Disk { base_dir: dir.to_owned() }, fix).expect("readable");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o640);
        (checked.findings.iter().map(|d| d.code).collect(), fs::read(&path).expect("there"))
    }

    #[test]
    fn local_inputs_are_looked_for_in_the_base_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("here"), "x").expect("written");
        fs::create_dir(dir.path().join("sub")).expect("made");
        let text = b"&(executable=/a)(walltime=5)(inputfiles=(here \"\")(gone \"\")(b sub))";
        let (codes, after) = findings(dir.path(), text, false);
        assert_eq!(codes, ["E60", "E60"]);
        assert_eq!(after, text);
    }

    #[test]
    fn corrections_keep_everything_else_the_mode_and_the_encoding() {
        let dir = tempfile::tempdir().expect("a directory");
        let text = b"&(executabel=/a)(walltime=5)(* caf\xe9 *)(arguments=--n=10)";
        let (codes, after) = findings(dir.path(), text, true);
        assert_eq!(codes, ["W10"]);
        assert_eq!(after, b"&(executable=/a)(walltime=5)(* caf\xe9 *)(arguments=\"--n=10\")");
        assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 1, "nothing is left over");
    }

    #[test]
    fn machine_formats_hold_every_finding() {
        let text = "&(executable=/a)(walltime=\"1:30\")(memory>=5)".to_owned();
        let findings = xrsl::check(&text, &LintContext::default());
        let index = LineIndex::new(&text);
        let n = findings.len();
        let checked = [Checked { path: "j".into(), text, index, findings, accepted: true, jobs: 1, fixed: 0 }];
        assert!(n >= 3);
        assert_eq!(machine::gcc(&checked).lines().count(), n);
        assert_eq!(machine::json(&checked, &[])["items"][0]["diagnostics"].as_array().map(Vec::len), Some(n));
        let sarif = machine::sarif(&checked);
        assert_eq!(sarif["runs"][0]["results"].as_array().map(Vec::len), Some(n));
        assert_eq!(sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startColumn"], 27);
    }
}
