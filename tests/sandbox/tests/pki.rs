//! The PKI judged by openssl's own command line, and read back with the library's readers.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use act_sandbox::pki::{self, Pki, Proxy, ProxyOptions, ServerCert};

fn new_pki() -> (tempfile::TempDir, Pki) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let pki = Pki::create(dir.path()).expect("a PKI");
    (dir, pki)
}

fn openssl(args: &[&str]) -> Output {
    Command::new("openssl").args(args).output().expect("openssl runs")
}

/// `openssl verify` of a PEM file whose first certificate is the leaf and which holds its own chain.
fn verify(pki: &Pki, file: &Path, more: &[&str]) -> Result<(), String> {
    let file = file.to_str().expect("a UTF-8 path");
    let ca_dir = pki.ca_dir();
    let mut args = vec!["verify", "-CApath", ca_dir.to_str().expect("a UTF-8 path"), "-untrusted", file];
    args.extend(more);
    args.push(file);
    let out = openssl(&args);
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    if out.status.success() { Ok(()) } else { Err(text) }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("the file").permissions().mode() & 0o777
}

fn labels(proxy: &Proxy) -> Vec<String> {
    let text = String::from_utf8(proxy.pem.clone()).expect("PEM is ASCII");
    text.lines().filter_map(|l| l.strip_prefix("-----BEGIN ")?.strip_suffix("-----")).map(str::to_owned).collect()
}

#[test]
fn proxies_of_one_and_two_levels_verify_against_the_hashed_directory() {
    let (_dir, pki) = new_pki();
    for levels in [1, 2] {
        let proxy = pki.proxy(&ProxyOptions::default().levels(levels)).expect("a proxy");
        verify(&pki, &proxy.path, &["-allow_proxy_certs"]).expect("openssl accepts it");
        let refused = verify(&pki, &proxy.path, &[]).expect_err("not without the flag");
        assert!(refused.contains("proxy certificates not allowed"), "{refused}");
        assert_eq!(mode(&proxy.path), 0o600);
        let mut expected = vec!["CERTIFICATE", "RSA PRIVATE KEY"];
        expected.extend(vec!["CERTIFICATE"; usize::from(levels)]);
        assert_eq!(labels(&proxy), expected);
        assert_eq!(proxy.chain.len(), usize::from(levels) + 1);
        assert_eq!(proxy.dn, "/DC=org/DC=act-sandbox/O=Users/CN=Test User");
        assert_eq!(pki::base_dn(&proxy.chain).as_deref(), Some(proxy.dn.as_str()));
        // One level short of the user's certificate, the name is still known from the issuer.
        assert_eq!(pki::base_dn(&proxy.chain[..usize::from(levels)]).as_deref(), Some(proxy.dn.as_str()));
        assert!(pki::is_proxy(&proxy.chain[0]) && !pki::is_proxy(&proxy.chain[usize::from(levels)]));
    }
    assert_eq!(pki::base_dn(&[]), None);
}

#[test]
fn proxies_outside_their_time_are_refused_for_that_reason() {
    let (_dir, pki) = new_pki();
    let expired = pki.proxy(&ProxyOptions::default().expired()).expect("a proxy");
    let why = verify(&pki, &expired.path, &["-allow_proxy_certs"]).expect_err("expired");
    assert!(why.contains("certificate has expired"), "{why}");
    let early = pki.proxy(&ProxyOptions::default().not_yet_valid()).expect("a proxy");
    let why = verify(&pki, &early.path, &["-allow_proxy_certs"]).expect_err("too early");
    assert!(why.contains("certificate is not yet valid"), "{why}");
}

#[test]
fn attributes_are_read_back_and_only_where_they_are() {
    let (_dir, pki) = new_pki();
    let fqans = ["/atlas/Role=production/Capability=NULL", "/atlas/Role=NULL/Capability=NULL"];
    let proxy = pki.proxy(&ProxyOptions::default().fqans("atlas", &fqans).levels(2)).expect("a proxy");
    let [leaf, first, user] = &proxy.chain[..] else { panic!("{} certificates", proxy.chain.len()) };
    assert_eq!(pki::read_fqan(leaf), None);
    assert_eq!(pki::read_fqan(first).as_deref(), Some(fqans[0]));
    assert_eq!(pki::read_fqan(user), None);
    assert_eq!(pki::chain_fqan(&proxy.chain).as_deref(), Some(fqans[0]));
    let attributes = pki::voms_attributes(first).expect("attributes");
    assert_eq!(attributes.fqans, fqans);
    assert_eq!(attributes.uri, "atlas://voms.localhost:15000");

    let plain = pki.proxy(&ProxyOptions::default().without_voms()).expect("a proxy");
    assert_eq!(pki::chain_fqan(&plain.chain), None);

    // The attributes may have ended while the proxy itself still holds.
    let stale = pki.proxy(&ProxyOptions::default().attributes_expired()).expect("a proxy");
    verify(&pki, &stale.path, &["-allow_proxy_certs"]).expect("the proxy holds");
    let stale = pki::voms_attributes(&stale.chain[0]).expect("attributes");
    assert!(stale.not_before < stale.not_after && stale.not_after < attributes.not_before, "{stale:?}");
}

#[test]
fn what_exists_is_loaded_and_users_are_kept_apart() {
    let (dir, pki) = new_pki();
    let anna = pki.user("Anna Åström / 1").expect("a user");
    let bert = pki.user("Bert").expect("a user");
    assert_eq!(anna.dn(), r"/DC=org/DC=act-sandbox/O=Users/CN=Anna \xC3\x85str\xC3\xB6m / 1");
    assert_eq!(mode(&anna.key_file), 0o600);
    let again = Pki::create(dir.path()).expect("the same PKI");
    assert_eq!(again.ca().to_der().expect("DER"), pki.ca().to_der().expect("DER"));
    let same = again.user("Anna Åström / 1").expect("a user");
    assert_eq!(same.credential.cert.to_der().expect("DER"), anna.credential.cert.to_der().expect("DER"));
    assert_ne!(bert.dn(), anna.dn());
    // A host certificate of another authority is replaced, not used.
    let (other, _) = new_pki();
    for file in ["cert.pem", "key.pem"] {
        std::fs::copy(other.path().join("host").join(file), dir.path().join("host").join(file)).expect("copied");
    }
    let healed = Pki::create(dir.path()).expect("the same PKI");
    verify(&healed, &healed.host().cert_file, &["-verify_hostname", "localhost"]).expect("issued by our authority");
}

#[test]
fn server_certificates_are_good_or_wrong_as_asked() {
    let (dir, pki) = new_pki();
    let judge = |condition| {
        let file = dir.path().join("server.pem");
        let pem = pki.server(condition).expect("a certificate").cert.to_pem().expect("PEM");
        std::fs::write(&file, pem).expect("written");
        verify(&pki, &file, &["-purpose", "sslserver", "-verify_hostname", "localhost"])
    };
    judge(ServerCert::Good).expect("good");
    for (condition, reason) in [
        (ServerCert::SelfSigned, "self-signed certificate"),
        (ServerCert::WrongHost, "hostname mismatch"),
        (ServerCert::Expired, "certificate has expired"),
    ] {
        let why = judge(condition).expect_err("refused");
        assert!(why.contains(reason), "{condition:?}: {why}");
    }
    verify(&pki, &pki.host().cert_file, &["-verify_ip", "127.0.0.1"]).expect("IPv4");
    verify(&pki, &pki.host().cert_file, &["-verify_ip", "::1"]).expect("IPv6");
}
