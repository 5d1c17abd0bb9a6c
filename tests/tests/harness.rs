//! The harness itself: what every other test relies on.

use std::panic::catch_unwind;
use std::time::Duration;

use act_tests::{Scratch, World, wait_for};
use serde_json::json;

#[test]
fn the_sandbox_comes_back_where_it_was() {
    let mut world = World::new();
    world.sandbox.stop();
    assert!(std::net::TcpStream::connect(world.sandbox.info().server.trim_start_matches("http://")).is_err());
    world.sandbox.start_again();
    world.sandbox.fault(&json!({"path": "/info", "fault": {"kind": "reset"}}));
    assert_eq!(world.sandbox.faults_applied(), 0);
    assert!(world.sandbox.jobs().is_empty());
}

#[test]
fn waiting_ends_with_the_last_state() {
    let mut looks = 0;
    let failure = catch_unwind(move || {
        wait_for::<()>("the impossible", Duration::from_millis(60), || {
            looks += 1;
            Err(format!("look {}", looks.min(2)))
        });
    });
    let text = failure.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(*text, "waited 60ms for the impossible; last seen: look 2");
}

#[test]
fn a_passing_test_leaves_no_directory() {
    let scratch = Scratch::new();
    let path = scratch.path().to_owned();
    assert!(path.is_dir());
    drop(scratch);
    assert!(!path.exists());
}

#[test]
fn a_users_commands_see_only_their_own_directories() {
    let world = World::new();
    let seen = world.user.shell("echo $HOME $XDG_RUNTIME_DIR; pwd; command -v actctl").ok();
    let root = world.user.root().display();
    let bins = act_tests::bins::dir().display();
    assert_eq!(seen.stdout, format!("{root}/home {root}/run\n{root}/work\n{bins}/actctl\n"));
}
