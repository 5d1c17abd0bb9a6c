//! What the shell offers while a command is being typed.

use act_tests::wait::{LONG, wait_for};
use act_tests::world::World;
use act_tests::xrsl;

/// What a real bash offers after these words.
fn offered(world: &World, words: &[&str]) -> Vec<String> {
    let quoted: Vec<String> = words.iter().map(|w| format!("'{w}'")).collect();
    let script = format!(
        "source <(actctl completions bash); COMP_WORDS=({}); COMP_CWORD={}; COMP_TYPE=9; COMPREPLY=(); \
         complete -p actctl | grep -q _clap_complete_actctl; _clap_complete_actctl actctl '{}' '{}'; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        quoted.join(" "),
        words.len() - 1,
        words[words.len() - 1],
        words[words.len() - 2],
    );
    world.user.shell(&script).ok().stdout.lines().map(|l| l.trim().to_owned()).collect()
}

#[track_caller]
fn wait_offered(world: &World, words: &[&str], wanted: &[&str]) -> Vec<String> {
    // A daemon that is busy is not waited for at a prompt: the user presses the key again.
    wait_for(&format!("{wanted:?} after {words:?}"), LONG, || {
        let all = offered(world, words);
        if wanted.iter().all(|w| all.iter().any(|o| o == w)) { Ok(all) } else { Err(format!("{all:?}")) }
    })
}

#[test]
fn bash_offers_verbs_flags_jobs_batches_and_clusters() {
    let world = World::ready();
    for name in ["alpha", "beta"] {
        world.user.write(&format!("{name}.xrsl"), xrsl::endless(name));
    }
    let _ = world.user.actctl(&["sub", "--batch", "greek", "alpha.xrsl", "beta.xrsl"]).ok();
    wait_offered(&world, &["actctl", "ki"], &["kill"]);
    wait_offered(&world, &["actctl", "kill", "--dr"], &["--dry-run"]);
    wait_offered(&world, &["actctl", "kill", ""], &["1", "2", "@greek", "alpha", "beta", "last"]);
    let some = wait_offered(&world, &["actctl", "kill", "al"], &["alpha"]);
    assert!(!some.iter().any(|o| o == "beta"), "{some:?}");
    wait_offered(&world, &["actctl", "sub", "--clusterlist", ""], &["default", "down"]);
    wait_offered(&world, &["actctl", "stat", "-s", "run"], &["running"]);
    // Jobs that came from elsewhere, too.
    let _ = world.sandbox.synthetic(&serde_json::json!({"count": 3, "arcstate": "running"}));
    wait_offered(&world, &["actctl", "get", "5"], &["5"]);
    // Without a daemon nothing is offered, nothing is said, and none is started.
    world.user.kill_daemon();
    assert!(!offered(&world, &["actctl", "kill", ""]).iter().any(|o| o == "alpha"));
    assert_eq!(world.user.daemon_pid(), None);
    // Not by a service manager, either, that holds the socket and starts the service when somebody connects.
    let _ = std::fs::remove_file(world.user.socket());
    let manager = std::os::unix::net::UnixListener::bind(world.user.socket()).unwrap();
    manager.set_nonblocking(true).unwrap();
    let _ = offered(&world, &["actctl", "kill", ""]);
    assert_eq!(manager.accept().map(drop).map_err(|e| e.kind()), Err(std::io::ErrorKind::WouldBlock));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let world = World::ready();
    let _ = world.sandbox.synthetic(&serde_json::json!({"count": 2000, "arcstate": "running"}));
    wait_for("all jobs in the list", LONG, || match world.user.actctl(&["stat", "-a"]).stdout.lines().count() {
        2_000.. => Ok(()),
        n => Err(format!("{n} lines")),
    });
    let ran = world.user.shell("set +o pipefail; actctl stat -a 2>err.txt | head -n 1; ! grep -i panic err.txt");
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(ran.stdout.starts_with("id"), "{ran}");
}
