//! An open document: its text, what the xrsl package says of it, and where its local files are.

use std::path::{Path, PathBuf};

use gen_lsp_types::Uri;
use xrsl::{Diagnostic, LintContext, Parsed};

use super::text::Text;
use crate::cmd::check::Disk;

/// An open document.
#[derive(Debug)]
pub struct Document {
    /// Its name.
    pub uri: Uri,
    /// The editor's number of its content.
    pub version: i32,
    /// Its text, saved or not.
    pub text: Text,
    /// The same, read.
    pub parsed: Parsed,
    /// What is wrong with it.
    pub findings: Vec<Diagnostic>,
    /// Its file, if it is (to be) one.
    pub path: Option<PathBuf>,
}

impl Document {
    /// Reads and judges a text.
    #[must_use]
    pub fn new(uri: Uri, version: i32, text: Text) -> Self {
        let path = uri.to_file_path().ok();
        let parsed = xrsl::parse(text.as_str());
        let mut document = Self { uri, version, text, parsed, findings: Vec::new(), path };
        document.judge();
        document
    }

    /// Reads and judges again, after the text has changed.
    pub fn changed(&mut self) {
        self.parsed = xrsl::parse(self.text.as_str());
        self.judge();
    }

    /// Judges again, after other files may have changed.
    pub fn judge(&mut self) {
        let disk = self.dir().map(|dir| Disk { base_dir: dir.to_owned() });
        let context = LintContext { files: disk.as_ref().map(|d| d as &dyn xrsl::Files) };
        self.findings = if xrsl::adl::is_xml(self.text.as_str()) {
            xrsl::check(self.text.as_str(), &context)
        } else {
            xrsl::lint(&self.parsed, &context)
        };
    }

    /// The directory that its local inputs are relative to.
    #[must_use]
    pub fn dir(&self) -> Option<&Path> {
        self.path.as_deref().and_then(Path::parent)
    }
}
