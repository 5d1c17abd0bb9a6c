//! `check`: what is wrong with job descriptions, without a daemon or a server. Reads the files and asks what local inputs
//! exist; the judging is the xrsl package's, the printing is next door.

mod human;
mod machine;

use std::fs;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

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
    let mut unread = false;
    for path in &args.files {
        match check(path, &disk, args.fix) {
            Ok(c) => checked.push(c),
            Err(failure) => {
                unread = true;
                ctx.out.failure(&failure);
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
        Format::Json => ctx.out.value(&machine::json(&checked))?,
        Format::Gcc => ctx.out.text(&machine::gcc(&checked))?,
        Format::Sarif => ctx.out.value(&machine::sarif(&checked))?,
    }
    let errors = checked.iter().flat_map(|c| &c.findings).any(|d| d.level == Level::Error);
    Ok(if errors {
        DESCRIPTION
    } else if unread {
        LOCAL
    } else {
        OK
    })
}

fn check(path: &Path, disk: &Disk, fix: bool) -> Result<Checked, Failure> {
    let mut text = read(path)?;
    let context = LintContext { files: Some(disk) };
    let mut findings = xrsl::check(&text, &context);
    let mut fixed = 0;
    if fix {
        for _ in 0..FIX_ROUNDS {
            let (better, count) = xrsl::apply_fixes(&text, &findings);
            if count == 0 {
                break;
            }
            text = better;
            fixed += count;
            findings = xrsl::check(&text, &context);
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
        for d in parsed.diagnostics() {
            let at = index.position(&text, d.span.start);
            ctx.out.error(&format!("{}:{at}: {} [{}]", path.display(), d.message, d.code), d.help.as_deref());
        }
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
    Ok(xrsl::decode(&bytes).into_owned())
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
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let part = path.with_file_name(name);
    let done = fs::metadata(&path).and_then(|m| {
        fs::write(&part, text)?;
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
struct Disk {
    base_dir: PathBuf,
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
