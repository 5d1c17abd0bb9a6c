//! A home for the demo's user, and commands typed in it. Nothing outside of it is touched.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use act_sandbox::Info;

/// The home.
pub(crate) struct Home {
    dir: PathBuf,
    env: Vec<(&'static str, String)>,
}

/// A command's end.
pub(crate) struct Typed {
    /// Its stdout.
    pub(crate) out: String,
    /// Its exit code; none: ended by a signal.
    pub(crate) code: Option<i32>,
    line: String,
}

impl Typed {
    /// Demands exit code `code`.
    pub(crate) fn exits(self, code: i32) -> Result<String, String> {
        if self.code == Some(code) {
            return Ok(self.out);
        }
        Err(format!("`{}` ended with {:?} instead of {code}", self.line, self.code))
    }
}

/// The variables that make a shell a shell of the demo's user.
pub(crate) fn environment(dir: &Path, programs: &Path, ca_dir: &Path) -> Vec<(&'static str, String)> {
    let path = std::env::var("PATH").unwrap_or_default();
    vec![
        ("HOME", dir.join("home").display().to_string()),
        ("XDG_RUNTIME_DIR", dir.join("run").display().to_string()),
        ("X509_CERT_DIR", ca_dir.display().to_string()),
        ("PATH", format!("{}:{path}", programs.display())),
    ]
}

impl Home {
    /// Makes the directories and the config file.
    pub(crate) fn new(dir: &Path, programs: &Path, info: &Info) -> Result<Self, String> {
        let home = Self { dir: dir.to_owned(), env: environment(dir, programs, &info.ca_dir) };
        let make = || -> io::Result<()> {
            fs::create_dir_all(home.config().parent().unwrap_or(dir))?;
            fs::create_dir_all(home.work())?;
            fs::DirBuilder::new().mode(0o700).create(dir.join("run"))
        };
        make().map_err(|e| format!("{}: {e}", dir.display()))?;
        Ok(home)
    }

    /// act's config file.
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.join("home/.config/act-client/config.yaml")
    }

    /// Where the user works.
    pub(crate) fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// Writes a file of the working directory.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), String> {
        fs::write(self.work().join(name), text).map_err(|e| format!("{name}: {e}"))
    }

    /// Shows the command, runs it, shows what it prints.
    pub(crate) fn types(&self, line: &str) -> Result<Typed, String> {
        println!("$ {line}");
        let typed = self.quietly(line)?;
        print!("{}", typed.out);
        io::stdout().flush().map_err(|e| e.to_string())?;
        Ok(typed)
    }

    /// Runs a command line by the shell; stderr goes to the terminal.
    pub(crate) fn quietly(&self, line: &str) -> Result<Typed, String> {
        io::stdout().flush().map_err(|e| e.to_string())?;
        let mut command = Command::new("sh");
        for name in
            ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "X509_USER_PROXY", "ACTD_BIN"]
        {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value))).args(["-c", line]).current_dir(self.work());
        command.stdin(Stdio::null()).stderr(Stdio::inherit()).stdout(Stdio::piped());
        let done = command.output().map_err(|e| format!("cannot run `{line}`: {e}"))?;
        let out = String::from_utf8_lossy(&done.stdout).into_owned();
        Ok(Typed { out, code: done.status.code(), line: line.to_owned() })
    }

    /// The jobs that are not finished with, as actctl's JSON tells.
    pub(crate) fn jobs(&self) -> Result<Vec<serde_json::Value>, String> {
        let text = self.quietly("actctl stat --json")?.exits(0)?;
        let value: serde_json::Value = serde_json::from_str(&text).map_err(|e| format!("stat --json: {e}"))?;
        value["items"].as_array().cloned().ok_or_else(|| format!("stat --json has no items: {value}"))
    }

    /// Stops the daemon, if one runs.
    pub(crate) fn stop_daemon(&self) -> Result<(), String> {
        self.quietly("actctl --quiet daemon stop")?.exits(0).map(drop)
    }
}
