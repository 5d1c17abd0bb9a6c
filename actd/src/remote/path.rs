//! URLs of remote files: every path segment percent-encoded by us, so that no name can change the path.
//! It must not normalise: what cannot be said exactly is refused.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

/// Everything but RFC 3986 unreserved characters. Observed on a real aCT server (act-client 1.0.0's API): it decodes
/// each of them, and takes an unencoded `?`, `#` or `%` for something else.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A relative path ("dir/file"), segment by segment. `None` for what a server would resolve to something else:
/// empty segments, `.` and `..`, a leading or trailing slash, a NUL.
pub(crate) fn encode_path(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len() + 16);
    for segment in path.split('/') {
        if segment.is_empty() || segment == "." || segment == ".." || segment.contains('\0') {
            return None;
        }
        if !out.is_empty() {
            out.push('/');
        }
        out.extend(utf8_percent_encode(segment, SEGMENT));
    }
    Some(out)
}

/// `base` with an already encoded path (and query) appended; exactly one slash between them, the base's own path kept.
pub(crate) fn join(base: &Url, encoded: &str) -> String {
    let mut url = String::from(base.as_str().split(['?', '#']).next().unwrap_or_default());
    while url.ends_with('/') {
        url.pop();
    }
    url.push('/');
    url.push_str(encoded.trim_start_matches('/'));
    url
}

/// Whether the host of this URL is this machine: `localhost` or a loopback address.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_meaning() {
        assert_eq!(encode_path("a b/q?x=1#%41+ø").as_deref(), Some("a%20b/q%3Fx%3D1%23%2541%2B%C3%B8"));
        for bad in ["", "/a", "a/", "a//b", "../a", "a/./b", "a\0b", "."] {
            assert_eq!(encode_path(bad), None, "{bad:?}");
        }
        assert_eq!(encode_path("..a/b..").as_deref(), Some("..a/b.."));
    }

    #[test]
    fn the_base_path_is_kept() {
        let base = |text| Url::parse(text).expect("url");
        assert_eq!(join(&base("https://h:1/act/"), "jobs?id=1"), "https://h:1/act/jobs?id=1");
        assert_eq!(join(&base("https://h/act?x#y"), "info"), "https://h/act/info");
        assert_eq!(join(&base("http://h"), "/info"), "http://h/info");
    }

    #[test]
    fn loopback() {
        for (text, expected) in [
            ("http://localhost:80", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:1", true),
            ("http://localhost.example.org", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(text).expect("url")), expected, "{text}");
        }
    }
}
