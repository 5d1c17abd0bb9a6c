//! WebDAV stores of both kinds, and a CE, over TLS with client certificates.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use url::Url;

use super::act::{ActClient, ActOptions};
use super::arex::{ArexClient, ArexJob};
use super::testserver::{Reply, Seen, TestServer, json, raw};
use super::webdav::{Deleted, Made, WebdavClient, WebdavOptions, below};
use super::{AuthReason, ErrorClass, FileRange, InputFile, Timeouts};
use crate::auth::Trust;
use crate::auth::testpki::{Pki, Recipe, rsa};
use crate::auth::tls::survey;

type Files = Arc<Mutex<HashMap<String, Option<Vec<u8>>>>>;

/// A store: paths to contents, `None` for a directory.
fn store(seen: &Seen, files: &Files, overwrite: bool) -> Reply {
    let mut files = files.lock().expect("lock");
    let reply = |status, body: &str| Reply::Raw(raw(status, "Connection: close\r\n", body));
    let path = seen.target.clone();
    match seen.method.as_str() {
        "MKCOL" if files.contains_key(&path) => reply("405 Method Not Allowed", ""),
        "MKCOL" => {
            files.insert(path, None);
            reply("201 Created", "")
        }
        "PUT" if !overwrite && files.contains_key(&path) => reply("409 Conflict", ""),
        "PUT" => {
            files.insert(path, Some(seen.body.clone()));
            reply("201 Created", "")
        }
        "PROPFIND" => match files.get(&path) {
            None => reply("404 Not Found", ""),
            Some(None) => reply("207 Multi-Status", "<d:resourcetype><d:collection/></d:resourcetype>"),
            Some(Some(content)) => {
                let size = content.len();
                let xml = format!("<d:getcontentlength>{size}</d:getcontentlength><d:resourcetype/>");
                reply("207 Multi-Status", &xml)
            }
        },
        "DELETE" => match files.remove(&path) {
            Some(_) => reply("204 No Content", ""),
            None => reply("404 Not Found", ""),
        },
        _ => reply("501 Not Implemented", ""),
    }
}

fn input(content: &[u8]) -> InputFile {
    let mut file = tempfile::tempfile().expect("temp file");
    file.write_all(content).expect("write");
    InputFile::new(tokio::fs::File::from_std(file), content.len() as u64)
}

fn client(pki: &Pki, options: WebdavOptions) -> WebdavClient {
    let trust = Trust::new(Some(pki.ca_dir()));
    let proxy = pki.proxy(Recipe::default());
    let identity = trust.connector(Some(&proxy)).expect("tls");
    WebdavClient::new(identity, trust.connector(None).expect("tls"), options).expect("client")
}

fn url(base: &Url, relative: &str) -> Url {
    below(base, relative).expect("url")
}

#[tokio::test]
async fn a_plain_store() {
    let pki = Pki::new();
    let files = Files::default();
    let shared = files.clone();
    let server =
        TestServer::tls(pki.acceptor(true), move |seen, whole| whole.then(|| store(seen, &shared, true))).await;
    let client = client(&pki, WebdavOptions::default());
    let dir = url(&server.url, "12");
    assert_eq!(client.mkcol(&dir).await.expect("mkcol"), Made::Created);
    assert_eq!(client.mkcol(&dir).await.expect("mkcol"), Made::Existed);
    let file = url(&server.url, "12/a b.txt");
    let content = vec![5; 700_000];
    client.put(&file, &input(&content), None).await.expect("put");
    assert_eq!(files.lock().expect("lock").get("/12/a%20b.txt"), Some(&Some(content)));
    client.put(&file, &input(b""), None).await.expect("an empty file over it");
    assert_eq!(client.stat(&file).await.expect("stat").and_then(|s| s.size), Some(0));
    assert!(client.mkcol(&file).await.is_err(), "a file is in the way");
    assert_eq!(client.delete(&file).await.expect("delete"), Deleted::Deleted);
    assert_eq!(client.delete(&file).await.expect("delete"), Deleted::WasAbsent);
    assert_eq!(client.stat(&file).await.expect("stat"), None);

    let seen = server.seen();
    assert!(seen.iter().all(|s| s.header("authorization").is_none()));
    assert!(seen.iter().all(|s| s.peer.as_deref().is_some_and(|p| p.contains("commonName"))), "{:?}", seen[0].peer);
    let put = seen.iter().find(|s| s.method == "PUT").expect("put");
    assert_eq!((put.header("expect"), put.header("content-length")), (Some("100-continue"), Some("700000")));
}

/// The address is 127.0.0.1 as IPv6 writes it: what listens there needs no IPv6 network.
#[tokio::test]
async fn a_host_that_is_named_by_its_ipv6_address_is_verified_by_it() {
    let pki = Pki::new();
    let dav = client(&pki, WebdavOptions::default());
    let localhost = pki.host(crate::auth::testpki::key(), MessageDigest::sha256());
    for (host, is_right) in [
        (pki.address("::ffff:127.0.0.1"), true),
        (pki.address("::ffff:127.0.0.2"), false),
        (pki.address("::1"), false),
        (localhost, false),
    ] {
        let files = Files::default();
        let server =
            TestServer::tls(pki.lenient(true, &host), move |seen, whole| whole.then(|| store(seen, &files, true)))
                .await;
        let mut base = server.url.clone();
        base.set_host(Some("[::ffff:127.0.0.1]")).expect("host");
        let made = dav.mkcol(&url(&base, "12")).await;
        if is_right {
            assert_eq!(made.expect("mkcol"), Made::Created);
            continue;
        }
        let error = made.expect_err("another's certificate");
        assert!(error.to_string().contains("it is for another host"), "{error}");
        assert_eq!(server.seen().len(), 0, "nothing is said to it");
    }
}

#[tokio::test]
async fn leftovers_are_replaced_and_losses_noticed() {
    let pki = Pki::new();
    let files = Files::default();
    let shared = files.clone();
    let server =
        TestServer::tls(pki.acceptor(false), move |seen, whole| whole.then(|| store(seen, &shared, false))).await;
    let dav = client(&pki, WebdavOptions::default());
    let file = url(&server.url, "x");
    files.lock().expect("lock").insert("/x".into(), Some(b"half".to_vec()));
    dav.put(&file, &input(b"whole"), None).await.expect("put");
    assert_eq!(files.lock().expect("lock").get("/x"), Some(&Some(b"whole".to_vec())));

    // A store that loses the end of what it accepted.
    let lossy = TestServer::tls(pki.acceptor(false), |seen, whole| {
        whole.then(|| match seen.method.as_str() {
            "PUT" => Reply::Raw(raw("201 Created", "", "")),
            _ => Reply::Raw(raw("207 Multi-Status", "", "<D:getcontentlength>3</D:getcontentlength>")),
        })
    })
    .await;
    let error = dav.put(&url(&lossy.url, "x"), &input(b"whole"), None).await.expect_err("lost");
    assert_eq!(error.class(), &ErrorClass::Transient { retry_after: None });
    assert!(error.to_string().contains("3 of 5 bytes"), "{error}");
}

/// A door that redirects uploads to a pool without reading them. Gives both servers and what arrived at the pool.
async fn dcache(pki: &Pki, pool_asks: bool, pool_host: &'static str) -> (TestServer, TestServer, Files) {
    let files = Files::default();
    let shared = files.clone();
    let pool =
        TestServer::tls(pki.acceptor(pool_asks), move |seen, whole| whole.then(|| store(seen, &shared, true))).await;
    let mut target = pool.url.clone();
    target.set_host(Some(pool_host)).expect("host");
    let shared = files.clone();
    let door = TestServer::tls(pki.acceptor(true), move |seen, _| {
        Some(match seen.method.as_str() {
            "PUT" => {
                let location =
                    format!("Location: {}\r\nConnection: close\r\n", url(&target, seen.target.trim_start_matches('/')));
                Reply::Raw(raw("307 Temporary Redirect", &location, ""))
            }
            _ => store(seen, &shared, true),
        })
    })
    .await;
    (door, pool, files)
}

#[tokio::test]
async fn a_redirecting_store_gets_no_byte_at_its_door() {
    let pki = Pki::new();
    let (door, pool, files) = dcache(&pki, true, "localhost").await;
    let content = vec![9; 3_000_000];
    client(&pki, WebdavOptions::default()).put(&url(&door.url, "f"), &input(&content), None).await.expect("put");
    assert_eq!(files.lock().expect("lock").get("/f"), Some(&Some(content)));
    let at_door: Vec<_> = door.seen().into_iter().filter(|s| s.method.starts_with("PUT")).collect();
    assert_eq!((at_door.len(), at_door[0].body.len()), (1, 0));
    assert!(pool.seen()[0].peer.is_some(), "the same host may know us");
    client(&pki, WebdavOptions::default())
        .put(&url(&door.url, "empty"), &input(b""), None)
        .await
        .expect("an empty file");
}

#[tokio::test]
async fn a_strange_pool_sees_no_certificate() {
    let pki = Pki::new();
    // Another host name of the same machine; the certificate does not fit it, so trust is tested on the way.
    let (door, pool, _) = dcache(&pki, true, "127.0.0.1").await;
    let error = client(&pki, WebdavOptions::default())
        .put(&url(&door.url, "f"), &input(b"x"), None)
        .await
        .expect_err("untrusted");
    assert!(error.to_string().contains("not trusted"), "{error}");
    assert!(pool.seen().is_empty());

    for location in ["http://pool.example.org/f", "ftp://localhost/f", "https://u@localhost/f", ""] {
        let door = TestServer::tls(pki.acceptor(false), move |_, _| {
            Some(Reply::Raw(raw("307 Temporary Redirect", &format!("Location: {location}\r\n"), "")))
        })
        .await;
        let error = client(&pki, WebdavOptions::default()).put(&url(&door.url, "f"), &input(b"x"), None).await;
        let error = error.expect_err(location);
        assert!(matches!(error.class(), ErrorClass::Rejected { status: 307, .. }), "{location}: {error}");
        assert!(door.seen().len() <= 2, "one redirect is followed at most");
    }
}

#[tokio::test]
async fn refusals_of_the_certificate_are_credential_errors() {
    let pki = Pki::new();
    let server =
        TestServer::tls(pki.acceptor(true), |seen, whole| whole.then(|| store(seen, &Files::default(), true))).await;
    let trust = Trust::new(Some(pki.ca_dir()));
    let bare = || trust.connector(None).expect("tls");
    let nobody = WebdavClient::new(bare(), bare(), WebdavOptions::default()).expect("client");
    let error = nobody.mkcol(&url(&server.url, "1")).await.expect_err("no certificate");
    assert_eq!(error.class(), &ErrorClass::Auth { reason: AuthReason::Missing }, "{error}");
    let other = Pki::new();
    let foreign = trust.connector(Some(&other.proxy(Recipe::default()))).expect("tls");
    let stranger = WebdavClient::new(foreign, bare(), WebdavOptions::default()).expect("client");
    let error = stranger.delete(&url(&server.url, "1")).await.expect_err("unknown CA");
    assert_eq!(error.class(), &ErrorClass::Auth { reason: AuthReason::Invalid }, "{error}");
    let plain = Url::parse("http://dav.example.org/x").expect("url");
    assert_eq!(stranger.stat(&plain).await.expect_err("http").class(), &ErrorClass::Local);
}

#[tokio::test]
async fn session_files() {
    let pki = Pki::new();
    let server = TestServer::tls(pki.acceptor(true), |seen, whole| {
        whole.then(|| match (seen.target.as_str(), seen.header("range")) {
            ("/arex/rest/1.0/jobs/j1/session/out%20put", None) => Reply::Raw(raw("200 OK", "", "hello")),
            ("/arex/rest/1.0/jobs/j1/session/out%20put", Some("bytes=3-")) => {
                Reply::Raw(raw("206 Partial Content", "Content-Range: bytes 3-4/5\r\n", "lo"))
            }
            ("/arex/rest/1.0/jobs/j1/session/out%20put", Some(_)) => Reply::Raw(raw("416 Range", "", "")),
            ("/arex/rest/1.0/jobs/j1/session/", _) => json("200 OK", r#"{"file":["out put"],"dirs":["d"]}"#),
            ("/arex/rest/1.0/jobs/j1/session/secret", _) => json("403 Forbidden", ""),
            _ => Reply::Raw(raw("404 Not Found", "", "")),
        })
    })
    .await;
    let trust = Trust::new(Some(pki.ca_dir()));
    let tls = trust.connector(Some(&pki.proxy(Recipe::default()))).expect("tls");
    let client = ArexClient::new(tls, Timeouts::default()).expect("client");
    let job = ArexJob::new(&server.url, "j1").expect("job");
    let read = async |name: &str, offset| {
        let range = FileRange { offset, ..FileRange::default() };
        let mut file = client.file(&job, name, &range).await.expect("file")?;
        let mut text = String::new();
        while let Some(chunk) = file.chunk().await.expect("chunk") {
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
        Some(text)
    };
    assert_eq!(read("out put", 0).await.as_deref(), Some("hello"));
    assert_eq!(read("out put", 3).await.as_deref(), Some("lo"));
    assert_eq!(read("out put", 5).await, None, "nothing new yet");
    assert_eq!(read("absent", 0).await, None);
    let names: Vec<_> =
        client.list(&job, "").await.expect("list").expect("session").into_iter().map(|e| (e.name, e.is_dir)).collect();
    assert_eq!(names, [("d".to_owned(), true), ("out put".to_owned(), false)]);
    assert_eq!(client.list(&job, "gone").await.expect("list"), None);
    let error = client.file(&job, "secret", &FileRange::default()).await.expect_err("forbidden");
    assert!(matches!(error.class(), ErrorClass::Rejected { status: 403, .. }));
    assert!(client.file(&job, "../j2/session/x", &FileRange::default()).await.is_err());
}

#[tokio::test]
async fn revoked_weak_and_unlisted_servers() {
    let pki = Pki::new();
    let other = pki.host(rsa(2048), MessageDigest::sha256());
    let serve = async |host: &(X509, PKey<Private>)| {
        let shared = Files::default();
        TestServer::tls(pki.lenient(true, host), move |seen, whole| whole.then(|| store(seen, &shared, true))).await
    };
    let server = serve(&other).await;
    let ask = async |server: &TestServer, recipe: Recipe<'_>| {
        let trust = Trust::new(Some(pki.ca_dir()));
        let connector = || trust.connector(Some(&pki.proxy(recipe))).expect("tls");
        let client = WebdavClient::new(connector(), connector(), WebdavOptions::default()).expect("client");
        client.stat(&url(&server.url, "1")).await.map(drop).map_err(|e| (e.to_string(), e.hint().unwrap_or_default()))
    };
    let usual = Recipe::default();
    // Proxies as tools of long ago made them.
    for bits in [None, Some(2048), Some(1024), Some(512)] {
        let answer = ask(&server, Recipe { rsa: bits, ..usual }).await;
        assert!(answer.is_ok(), "a proxy of {bits:?} bits: {answer:?}");
    }
    // The directory's lists, at all strengths of proxies.
    pki.revoke(&[&pki.user.0], 3600);
    for bits in [None, Some(1024)] {
        ask(&server, Recipe { rsa: bits, ..usual }).await.expect("another is revoked");
    }
    let before = server.seen().len();
    for (revoked, until, words, remedy) in
        [(&[&other.0][..], 3600, "revoked it", "administrator"), (&[][..], -60, "out of date", "fetch-crl")]
    {
        pki.revoke(revoked, until);
        for bits in [None, Some(1024)] {
            let (error, hint) = ask(&server, Recipe { rsa: bits, ..usual }).await.expect_err(words);
            assert!(
                error.contains(words) && error.contains("nothing was sent") && hint.contains(remedy),
                "{error} {hint}"
            );
        }
    }
    assert_eq!(server.seen().len(), before);
    let found = survey(&pki.ca_dir()).expect("a directory");
    assert_eq!((found.authorities, found.lists, found.stale.len()), (1, 0, 1), "{found:?}");
    pki.revoke(&[], 3600);
    ask(&server, usual).await.expect("the list is in force again");
    assert_eq!(survey(&pki.ca_dir()).expect("a directory").lists, 1);

    // What is weak is refused, whatever is presented there.
    for weak in [pki.host(rsa(2048), MessageDigest::sha1()), pki.host(rsa(1024), MessageDigest::sha256())] {
        let server = serve(&weak).await;
        for bits in [None, Some(1024)] {
            let (error, hint) = ask(&server, Recipe { rsa: bits, ..usual }).await.expect_err("weak");
            assert!(error.contains("short key") && hint.contains("administrator"), "{error} {hint}");
        }
        let client = ActClient::new(
            server.url.clone(),
            None,
            Trust::new(Some(pki.ca_dir())).rest().expect("tls"),
            ActOptions::default(),
        );
        let error = client.expect("client").reach().await.expect_err("weak").to_string();
        assert!(error.contains("short key"), "{error}");
        assert!(server.seen().is_empty());
    }

    // Names that only OpenSSL before 1.0 looks for.
    let dir = pki.ca_dir();
    let hash = pki.ca.0.subject_name_hash();
    std::fs::rename(dir.join(format!("{hash:08x}.0")), dir.join(format!("{:08x}.0", !hash))).expect("rename");
    let found = survey(&dir).expect("a directory");
    assert_eq!((found.authorities, found.misnamed), (0, 1), "{found:?}");
}
