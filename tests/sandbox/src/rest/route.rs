//! From a path to an endpoint, in the way of the real server's framework: decided on the decoded path, before any
//! token is looked at.

use percent_encoding::percent_decode_str;

/// An endpoint of the API, or why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Info,
    Jobs,
    Proxies,
    /// `/jobs/ID/data/PATH`, the path decoded.
    Data {
        id: i64,
        path: Vec<u8>,
    },
    /// `/jobs/ID/results/PATH`, the path decoded, empty for the top.
    Results {
        id: i64,
        path: Vec<u8>,
    },
    /// Slashes have to be merged, or one added: the right path, encoded.
    Redirect(String),
    Unknown,
}

impl Route {
    /// Decides where a path, as sent, leads.
    pub(crate) fn of(path: &str) -> Self {
        let decoded: Vec<u8> = percent_decode_str(path).collect();
        match decoded.as_slice() {
            b"/info" => return Self::Info,
            b"/jobs" => return Self::Jobs,
            b"/proxies" => return Self::Proxies,
            _ => {}
        }
        let Some(rest) = decoded.strip_prefix(b"/jobs/") else { return Self::Unknown };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Self::Unknown;
        }
        let id = std::str::from_utf8(&rest[..digits]).ok().and_then(|id| id.parse().ok()).unwrap_or(i64::MAX);
        let rest = &rest[digits..];
        if rest == b"/results" {
            return Self::Redirect(format!("{path}/"));
        }
        for (prefix, is_data) in [(&b"/data/"[..], true), (&b"/results/"[..], false)] {
            let Some(tail) = rest.strip_prefix(prefix) else { continue };
            if tail.first() == Some(&b'/') {
                let start = decoded.len() - tail.len();
                let merged: Vec<u8> = tail.iter().copied().skip_while(|byte| *byte == b'/').collect();
                let right = [&decoded[..start], &merged].concat();
                return Self::Redirect(encode(&right));
            }
            return match (is_data, tail.is_empty()) {
                (true, true) => Self::Unknown,
                (true, false) => Self::Data { id, path: tail.to_vec() },
                (false, _) => Self::Results { id, path: tail.to_vec() },
            };
        }
        Self::Unknown
    }

    /// The value of `Allow` for this endpoint (observed).
    pub(crate) fn allow(&self) -> &'static str {
        match self {
            Self::Jobs => "DELETE, GET, PATCH, POST, OPTIONS, HEAD, PUT",
            Self::Proxies => "DELETE, OPTIONS, POST, PUT",
            Self::Data { .. } => "OPTIONS, PUT",
            _ => "GET, OPTIONS, HEAD",
        }
    }
}

fn encode(path: &[u8]) -> String {
    const KEEP: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'.')
        .remove(b'-')
        .remove(b'_')
        .remove(b'~')
        .remove(b'+');
    percent_encoding::percent_encode(path, KEEP).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_the_real_server_leads_them() {
        let data = |path: &str| Route::Data { id: 21, path: path.into() };
        let results = |path: &str| Route::Results { id: 18, path: path.into() };
        for (path, want) in [
            ("/info", Route::Info),
            ("/info/", Route::Unknown),
            ("/jobs/", Route::Unknown),
            ("/", Route::Unknown),
            ("/jobs/21/data/a%20b.txt", data("a b.txt")),
            ("/jobs/21/data/x//y.txt", data("x//y.txt")),
            ("/jobs/21/data/sub%2Fy", data("sub/y")),
            ("/jobs/21/data/", Route::Unknown),
            ("/jobs/abc/data/x", Route::Unknown),
            ("/jobs/-1/results/", Route::Unknown),
            ("/jobs/21/data///abs.txt", Route::Redirect("/jobs/21/data/abs.txt".into())),
            ("/jobs/21/data/%2Ftmp%2Fx", Route::Redirect("/jobs/21/data/tmp/x".into())),
            ("/jobs/18/results", Route::Redirect("/jobs/18/results/".into())),
            ("/jobs/18/results/", results("")),
            ("/jobs/18/results/sub//deep/", results("sub//deep/")),
            ("/jobs/18/results//etc/passwd", Route::Redirect("/jobs/18/results/etc/passwd".into())),
        ] {
            assert_eq!(Route::of(path), want, "{path}");
        }
    }
}
