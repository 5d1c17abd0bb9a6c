//! Proxies made by the tools that people use: `voms-proxy-fake` of VOMS, `arcproxy` of ARC.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use act_proto::daemon::NoParams;
use act_proto::method::ProxyStatus;
use act_proto::proxy::Status;
use act_tests::user::User;
use act_tests::wait::{LONG, wait_for};
use act_tests::world::World;

#[track_caller]
fn run(command: &mut Command) {
    let ran = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{command:?}: {}\n{said}", ran.status);
}

fn pki(world: &World) -> PathBuf {
    world.sandbox.info().dir.join("pki")
}

/// The certificate and key of the sandbox's own user.
fn first_user(world: &World) -> PathBuf {
    pki(world).join("users/Test_20User")
}

/// The certificate and key of another user of the same authority, made here.
fn second_user(world: &World) -> PathBuf {
    let dir = world.scratch.path().join("second");
    fs::create_dir_all(&dir).expect("a directory");
    let (key, request, cert) = (dir.join("key.pem"), dir.join("request.pem"), dir.join("cert.pem"));
    let subject = "/DC=org/DC=example/O=actd tests/CN=Second User";
    run(Command::new("openssl")
        .args(["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", subject])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&request));
    let extensions = dir.join("extensions");
    let text = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n";
    fs::write(&extensions, text).expect("a file");
    let authority = pki(world).join("authority");
    run(Command::new("openssl")
        .args(["x509", "-req", "-days", "2", "-set_serial", "4711", "-extfile"])
        .arg(&extensions)
        .arg("-in")
        .arg(&request)
        .arg("-CA")
        .arg(authority.join("cert.pem"))
        .arg("-CAkey")
        .arg(authority.join("key.pem"))
        .arg("-out")
        .arg(&cert));
    run(Command::new("chmod").arg("600").arg(&key));
    dir
}

/// The command that makes a proxy with a VOMS attribute.
fn fake(world: &World, user: &Path, valid: &str) -> Vec<String> {
    let (pki, info) = (pki(world), world.sandbox.info());
    let path = |p: PathBuf| p.display().to_string();
    let mut words: Vec<String> = ["voms-proxy-fake", "-rfc", "-bits", "2048", "-path-length", "10", "-voms", "testvo"]
        .map(str::to_owned)
        .to_vec();
    for (name, value) in [
        ("-cert", path(user.join("cert.pem"))),
        ("-key", path(user.join("key.pem"))),
        ("-certdir", info.ca_dir.display().to_string()),
        ("-hostcert", path(pki.join("voms/cert.pem"))),
        ("-hostkey", path(pki.join("voms/key.pem"))),
        ("-fqan", "/testvo/Role=NULL/Capability=NULL".to_owned()),
        ("-uri", "voms.localhost:15000".to_owned()),
        // Hours only; the attributes may have less.
        ("-hours", valid.split(':').next().filter(|h| *h != "0").unwrap_or("1").to_owned()),
        ("-vomslife", valid.to_owned()),
    ] {
        words.extend([name.to_owned(), value]);
    }
    words
}

/// Makes a proxy and puts it into its place at once, as a careful tool does.
#[track_caller]
fn make(world: &World, user: &Path, valid: &str, out: &Path) {
    let part = out.with_extension("part");
    let words = fake(world, user, valid);
    run(Command::new(&words[0]).args(&words[1..]).arg("-out").arg(&part));
    fs::rename(part, out).expect("rename");
}

fn status(user: &User) -> Status {
    user.call::<ProxyStatus>(&NoParams {}).expect("proxy.status answers")
}

#[test]
fn a_new_proxy_is_delegated_within_seconds_and_a_shorter_one_is_not() {
    let mut world = World::new();
    let proxy = world.user.root().join("x509up");
    world.user.set_env("X509_USER_PROXY", proxy.to_str().expect("a path"));
    make(&world, &first_user(&world), "2:00", &proxy);
    let _ = world.user.actctl(&["proxy"]).ok();
    let first = status(&world.user);
    assert_eq!((first.state.as_str(), first.voms.len()), ("ok", 1), "{first:?}");
    let delegations = || world.sandbox.journal("PUT", "/proxies").len();
    let before = delegations();
    make(&world, &first_user(&world), "8:00", &proxy);
    let began = Instant::now();
    wait_for("the delegation", LONG, || {
        if delegations() > before { Ok(()) } else { Err(format!("{:?}", status(&world.user))) }
    });
    assert!(began.elapsed() < Duration::from_secs(8), "it took {:?}", began.elapsed());
    wait_for("a token that lives longer", LONG, || {
        let now = status(&world.user);
        if now.token_expires > first.token_expires { Ok(()) } else { Err(format!("{now:?}")) }
    });
    // One that ends earlier is no reason to cut a delegation short.
    let before = delegations();
    make(&world, &first_user(&world), "1:00", &proxy);
    wait_for("the shorter proxy to be seen", LONG, || {
        let now = status(&world.user);
        if now.proxy_expires < now.token_expires { Ok(()) } else { Err(format!("{now:?}")) }
    });
    assert_eq!(delegations(), before);
    world.sandbox.assert_no_violations();
}

#[test]
fn another_identity_is_never_taken_silently() {
    let mut world = World::with(&["--delays", "submitting=600000"], &[]);
    let proxy = world.user.root().join("x509up");
    world.user.set_env("X509_USER_PROXY", proxy.to_str().expect("a path"));
    make(&world, &first_user(&world), "2:00", &proxy);
    let _ = world.user.actctl(&["proxy"]).ok();
    world.user.write("a.xrsl", "&(executable=/bin/true)(jobname=a)(walltime=1)");
    let _ = world.user.actctl(&["sub", "a.xrsl"]).ok();
    let delegations = || world.sandbox.journal("POST", "/proxies").len();
    let before = delegations();
    let second = second_user(&world);
    make(&world, &second, "9:00", &proxy);
    wait_for("the other proxy to be seen", LONG, || {
        let now = status(&world.user);
        if now.dn.as_deref().is_some_and(|dn| dn.ends_with("Second User")) { Ok(()) } else { Err(format!("{now:?}")) }
    });
    let ran = world.user.actctl(&["proxy"]).exits(3);
    assert!(ran.stderr.contains("--switch-identity") && ran.stderr.contains("Second User"), "{ran}");
    assert_eq!(delegations(), before, "nothing is delegated");
    // Asked for, it is; the jobs of before are parked and not gone.
    let _ = world.user.actctl(&["proxy", "--switch-identity"]).ok();
    assert_eq!(delegations(), before + 1);
    let parked = world.user.wait_job("j1", "it waits for its identity", |job| {
        job.waiting.as_ref().is_some_and(|w| w.reason == "other_identity")
    });
    assert!(parked.id.is_some());
    make(&world, &first_user(&world), "9:00", &proxy);
    let _ = world.user.actctl(&["proxy", "--switch-identity"]).ok();
    world.user.wait_job("j1", "it goes on", |job| job.waiting.as_ref().is_none_or(|w| w.reason != "other_identity"));
    // One that is cut off between the credential's record and the jobs' takes a second word, and nothing is lost.
    world.user.kill_daemon();
    world.user.set_env("ACTD_FAILPOINTS", "proxy.recorded=crash");
    make(&world, &second, "9:00", &proxy);
    let cut_off = world.user.actctl(&["proxy", "--switch-identity"]);
    assert_ne!(cut_off.code, Some(0), "{cut_off}");
    world.user.set_env("ACTD_FAILPOINTS", "");
    let _ = world.user.actctl(&["proxy", "--switch-identity"]).ok();
    world.user.wait_job("j1", "it waits for its identity", |job| {
        job.waiting.as_ref().is_some_and(|w| w.reason == "other_identity")
    });
}

#[test]
fn a_command_renews_the_proxy_before_it_ends() {
    let mut world = World::new();
    let proxy = world.user.root().join("x509up");
    world.user.set_env("X509_USER_PROXY", proxy.to_str().expect("a path"));
    let mut words = fake(&world, &first_user(&world), "4:00");
    words.extend(["-out".to_owned(), proxy.display().to_string()]);
    world.user.configure(&[&format!("renew: {}", serde_json::to_string(&words).expect("words"))]);
    // An hour, with attributes for a minute at most.
    make(&world, &first_user(&world), "0:01", &proxy);
    let _ = world.user.actctl(&["proxy"]).ok();
    let first = status(&world.user);
    wait_for("a renewed proxy, delegated", Duration::from_secs(90), || {
        let now = status(&world.user);
        if now.state == "ok" && now.token_expires > first.token_expires { Ok(()) } else { Err(format!("{now:?}")) }
    });
    let logs = fs::read_dir(world.user.state().join("hooks")).expect("logs").count();
    assert_eq!(logs, 1, "it ran once");
}

#[test]
fn a_plain_proxy_of_arcproxy_is_read_and_the_server_s_refusal_told() {
    let mut world = World::new();
    let proxy = world.user.root().join("x509up");
    world.user.set_env("X509_USER_PROXY", proxy.to_str().expect("a path"));
    let user = first_user(&world);
    let mut command = world.user.command("arcproxy");
    command.arg("-C").arg(user.join("cert.pem")).arg("-K").arg(user.join("key.pem")).arg("-P").arg(&proxy);
    command.args(["-c", "validityPeriod=12H"]).arg("-T").arg(&world.sandbox.info().ca_dir);
    run(&mut command);
    let ran = world.user.actctl(&["proxy"]);
    assert!(ran.code != Some(0) && ran.stderr.to_lowercase().contains("voms"), "{ran}");
    let seen = status(&world.user);
    assert!(
        seen.dn.is_some_and(|dn| dn.ends_with("Test User")) && seen.voms.is_empty() && seen.proxy_expires.is_some()
    );
    let doctor = world.user.actctl(&["doctor"]).exits(1);
    assert!(doctor.stdout.contains("arcproxy -S VO"), "{doctor}");
}
