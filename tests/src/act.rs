//! The real Python client `act` 1.0.0 for a [`User`]: same config file, same token, same environment. It is installed with
//! pip into the target directory, once (or `ACT_PY_BIN` names one).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::bins;
use crate::ran::Ran;
use crate::user::User;
use crate::wait::LONG;

/// The client of a user.
pub struct Act<'a> {
    user: &'a User,
    site: PathBuf,
    signing_proxy: PathBuf,
}

impl<'a> Act<'a> {
    /// Installs it if need be.
    ///
    /// # Panics
    /// It cannot be installed.
    #[must_use]
    pub fn new(user: &'a User, proxy: &Path) -> Self {
        // It signs with /tmp/x509up_uUID whatever its configuration says. It is made to believe in a uid that nobody has,
        // so that no file of a person is used or harmed.
        let inode =
            std::os::unix::fs::MetadataExt::ino(&fs::metadata(user.root()).expect("the user's directory is there"));
        let uid = 3_000_000_000 + inode % 1_000_000_000;
        let site = user.root().join("site");
        fs::create_dir_all(&site).expect("a directory can be made");
        fs::write(site.join("sitecustomize.py"), format!("import os\nos.getuid = lambda: {uid}\n"))
            .expect("a file can be written");
        let signing_proxy = PathBuf::from(format!("/tmp/x509up_u{uid}"));
        fs::copy(proxy, &signing_proxy).expect("the proxy can be copied");
        Self { user, site, signing_proxy }
    }

    /// Runs `act` in the user's working directory.
    #[track_caller]
    #[must_use = "look at how it ended"]
    pub fn run(&self, args: &[&str]) -> Ran {
        self.user.run(self.command(args), LONG)
    }

    /// `act` with these arguments, to be run in some other way.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.user.command(program());
        command.args(args).env("PYTHONPATH", &self.site);
        command
    }
}

impl Drop for Act<'_> {
    fn drop(&mut self) {
        // Nobody to report to from here.
        let _ = fs::remove_file(&self.signing_proxy);
    }
}

/// The path of `act`.
///
/// # Panics
/// It cannot be installed.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("sandbox/tests/act-venv.sh");
        let target = bins::dir().parent().expect("target/PROFILE").join("tmp/act-venv");
        let found = Command::new(&script).arg(target).output().unwrap_or_else(|e| panic!("{}: {e}", script.display()));
        assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
        String::from_utf8_lossy(&found.stdout).trim().into()
    })
}
