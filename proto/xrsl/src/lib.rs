//! xRSL, the job description language of NorduGrid ARC.
//!
//! ```
//! let parsed = xrsl::parse(r#"&(executable="run.sh")(inputfiles=("run.sh" ""))(walltime="2 hours")"#);
//! let job = &parsed.jobs()[0];
//! assert_eq!(job.executable.as_deref(), Some("run.sh"));
//! assert_eq!(job.walltime, Some(7200));
//! ```
//!
//! Reading ([`parse`]) accepts exactly what ARC 6.17 accepts and evaluates to the same tree; when ARC would refuse, every
//! mistake is reported, not the first. Nothing here reads a file or talks to anyone.

pub mod adl;
pub mod attributes;
pub mod diagnostic;
pub mod differences;
pub mod edit;
pub mod eval;
pub mod layout;
pub mod lint;
pub mod model;
pub mod names;
pub mod number;
mod parsed;
pub mod print;
mod repair;
pub mod span;
pub mod submit;
pub mod sweep;
pub mod syntax;
pub mod url;

pub use diagnostic::{Diagnostic, Edit, Fix, Level, apply_edits, apply_fixes};
pub use edit::{add_input, extract_job, rename, set_source};
pub use layout::layout;
pub use lint::{FileKind, Files, LintContext, check, check_encoding, lint};
pub use model::{Input, JobDescription, Notify, Output, Software, Source, Target};
pub use parsed::{MAX_TEXT, Parsed, decode, parse, parse_bytes};
pub use repair::repair_act_dialect;
pub use span::{LineIndex, Position, Span};
pub use submit::{LocalInput, Submission, for_submission, submissions, submissions_of};
pub use sweep::{Row, Swept, expand_sweep};

/// The examples of the README are tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
