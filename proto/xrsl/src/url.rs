//! What ARC takes for a URL, and where a file's source or target lies. No general URL library would agree with ARC here.
//! Must not touch the network or the file system.

/// What ARC makes of a text where it wants a URL or a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A path on the machine of whoever submits. The path as written, without `file:`.
    Local(String),
    /// `@path`: a list of URLs in a file. Nobody moves such a source.
    UrlList(String),
    /// A URL, with its scheme in lower case.
    Remote {
        /// Lower case; may be one that nobody knows.
        scheme: String,
    },
    /// ARC refuses it.
    Invalid(&'static str),
}

/// Reads a text as ARC does. An empty text is invalid; callers treat it before.
#[must_use]
pub fn place(s: &str) -> Place {
    let b = s.as_bytes();
    match b.first() {
        None | Some(0) => return Place::Invalid("it is empty"),
        Some(b'#') => return Place::Invalid("it starts with '#'"),
        _ => {}
    }
    let is_scheme = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.');
    let Some(colon) = b.iter().position(|c| *c == b':').filter(|colon| b[..*colon].iter().all(is_scheme)) else {
        return match s.strip_prefix('@') {
            Some(path) => Place::UrlList(path.to_owned()),
            None => Place::Local(s.to_owned()),
        };
    };
    let scheme = s[..colon].to_ascii_lowercase();
    let rest = &s[colon + 1..];
    let Some(authority) = rest.strip_prefix("//") else {
        return match scheme.as_str() {
            "file" => Place::Local(rest.to_owned()),
            "urllist" => Place::UrlList(rest.to_owned()),
            "link" => Place::Remote { scheme },
            "arc" if rest.starts_with('/') => Place::Remote { scheme },
            _ => Place::Invalid("there is no '//' after the ':'"),
        };
    };
    let end = authority.find('/').unwrap_or(authority.len());
    let (host, path) = (after_user(&scheme, authority, end), &authority[end..]);
    if let Some(v6) = host.strip_prefix('[') {
        match v6.find(']').map(|close| v6.as_bytes().get(close + 1)) {
            None => return Place::Invalid("the ']' of the IPv6 address is missing"),
            Some(None | Some(b':' | b';')) => {}
            Some(Some(_)) => return Place::Invalid("something stands between ']' and the port"),
        }
    }
    match scheme.as_str() {
        "file" if host.is_empty() => Place::Local(path.to_owned()),
        _ => Place::Remote { scheme },
    }
}

/// The host part behind `user@`, or behind the locations of the old index services.
fn after_user<'a>(scheme: &str, authority: &'a str, end: usize) -> &'a str {
    let Some(at) = authority.find('@') else { return &authority[..end] };
    if matches!(scheme, "rc" | "fireman" | "lfc") {
        let rest = &authority[at + 1..];
        return &rest[..rest.find('/').unwrap_or(rest.len())];
    }
    if at < end { &authority[at + 1..end] } else { &authority[..end] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let remote = |s: &str| Place::Remote { scheme: s.to_owned() };
        assert_eq!(place("a b?c#d"), Place::Local("a b?c#d".to_owned()));
        assert_eq!(place("file:x"), Place::Local("x".to_owned()));
        assert_eq!(place("file:///x"), Place::Local("/x".to_owned()));
        assert_eq!(place("file://host/x"), remote("file"));
        assert_eq!(place("HTTPS://h/p"), remote("https"));
        assert_eq!(place("@l"), Place::UrlList("l".to_owned()));
        assert_eq!(place("dir/a:b"), Place::Local("dir/a:b".to_owned()));
        for bad in ["C:/x", "http:foo", "#x", "", "http://[::1/x", "http://[::1]x/"] {
            assert!(matches!(place(bad), Place::Invalid(_)), "{bad}");
        }
    }
}
