//! The words of the command line before they are parsed: the program's name, and act's `--webdav URL`.
//!
//! act's parser lets `--webdav` swallow the next word, whatever it is. Here that word is taken only if it looks like a
//! URL: `sub --webdav https://dav/me a.xrsl` means what it means to act, and `sub --webdav a.xrsl`, which act refuses,
//! means the configured URL.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The name to show in usage and help: `act` for an alias or link of that name, else `actctl`.
#[must_use]
pub fn program(argv0: Option<&OsStr>) -> &'static str {
    match argv0.and_then(|a| Path::new(a).file_name()) {
        Some(name) if name == "act" => "act",
        _ => "actctl",
    }
}

/// Joins `--webdav` (or a shortening of it) and a URL that follows it into one word.
#[must_use]
pub fn join_webdav(args: Vec<OsString>) -> Vec<OsString> {
    let mut out = Vec::with_capacity(args.len());
    let mut args = args.into_iter().peekable();
    while let Some(arg) = args.next() {
        if arg == "--" {
            out.push(arg);
            out.extend(args);
            break;
        }
        let flag = arg.to_str().is_some_and(|a| a.len() > 3 && "--webdav".starts_with(a));
        match args.peek() {
            Some(url) if flag && is_url(url) => {
                let mut joined = OsString::from("--webdav=");
                joined.push(url);
                out.push(joined);
                args.next();
            }
            _ => out.push(arg),
        }
    }
    out
}

fn is_url(word: &OsStr) -> bool {
    word.to_str().and_then(|w| w.split_once("://")).is_some_and(|(scheme, rest)| {
        !rest.is_empty()
            && scheme.chars().next().is_some_and(|c| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(words: &str) -> String {
        let args = words.split(' ').map(OsString::from).collect();
        join_webdav(args).join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn webdav_takes_a_url_and_nothing_else() {
        assert_eq!(join("act sub --webdav https://d/x a.xrsl"), "act sub --webdav=https://d/x a.xrsl");
        assert_eq!(join("act sub --webd davs://d/x a.xrsl"), "act sub --webdav=davs://d/x a.xrsl");
        assert_eq!(join("act sub --webdav a.xrsl"), "act sub --webdav a.xrsl");
        assert_eq!(join("act sub a.xrsl --webdav"), "act sub a.xrsl --webdav");
        assert_eq!(join("act sub --webdav=https://d/x a.xrsl"), "act sub --webdav=https://d/x a.xrsl");
        assert_eq!(join("act sub -- --webdav https://d/x"), "act sub -- --webdav https://d/x");
    }

    #[test]
    fn the_name_is_what_it_was_called_by() {
        assert_eq!(program(Some(OsStr::new("/usr/bin/act"))), "act");
        assert_eq!(program(Some(OsStr::new("actctl"))), "actctl");
        assert_eq!(program(None), "actctl");
    }
}
