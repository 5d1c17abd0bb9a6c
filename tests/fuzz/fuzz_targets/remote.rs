//! Everything that actd reads from a server or a credential file: JSON answers, proxy PEM, tokens, names, job URLs.
#![no_main]

use std::path::Path;

use actd::auth::{Proxy, Token};
use actd::fsutil::RelPath;
use actd::remote::arex::ArexJob;
use actd::remote::webdav::below;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    actd::remote::fuzz_answers(data);
    let _ = Proxy::parse(data, Path::new("/proxy"));
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Token::parse(text);
    if let Some(job) = ArexJob::from_job_id(text) {
        assert!(!job.id().is_empty() && !job.id().contains('/'));
    }
    let base = Path::new("/base");
    if let Ok(name) = RelPath::new(text) {
        let path = base.join(name.as_str());
        assert!(path.starts_with(base) && path != base);
        assert!(path.components().all(|part| !matches!(part, std::path::Component::ParentDir)));
        let url = "https://dav.example.org/base/".parse().expect("url");
        let url = below(&url, name.as_str()).expect("what can be a path can be a URL");
        assert!(url.path().starts_with("/base/") && url.query().is_none() && url.fragment().is_none());
    }
});
