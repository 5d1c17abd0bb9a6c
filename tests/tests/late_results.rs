//! Results that get their name only when their job is already being dropped: by its user, or by another client of theirs.
//! They are found again, in the trash or in their place. Needs a daemon that is built with the feature `failpoints`.

use std::fs;
use std::path::Path;

use act_tests::{LONG, World, wait_for, xrsl};

use crate::orphans::curl;

#[test]
fn what_came_while_its_job_went_is_not_lost() {
    let mut world = World::new();
    let steps = world.user.root().join("steps");
    // All is here, and it takes long until it is safe on the disk.
    world.user.set_env("ACTD_FAILPOINTS", "retrieve.sync.after=delay:3000");
    world.user.set_env("ACTD_FAILPOINTS_LOG", &steps.display().to_string());
    let user = &world.user;
    let _ = user.actctl(&["proxy"]).ok();
    for name in ["mine", "theirs"] {
        user.write("job.xrsl", xrsl::shell(name, &format!("echo {name}")));
        let _ = user.actctl(&["sub", "job.xrsl"]).ok();
    }
    wait_for("both downloads", LONG, || {
        let passed = fs::read_to_string(&steps).unwrap_or_default();
        if passed.matches("retrieve.sync.after").count() >= 2 { Ok(()) } else { Err(passed) }
    });
    let id = user.job("theirs").and_then(|job| job.id).expect("it has an id");
    let _ = curl(&world, user, &format!("'/jobs?id={id}' -X DELETE"));
    assert_eq!(user.actctl(&["clean", "mine"]).ok().stdout, "Cleaned 1 jobs\n");

    let theirs = user.wait_phase("theirs", "stored").results.expect("a directory");
    assert_eq!(fs::read_to_string(Path::new(&theirs).join("out.txt")).unwrap(), "theirs\n");
    let trash = user.results().join(".trash");
    let kept = wait_for("what was cleaned to be in the trash", LONG, || {
        let found = fs::read_dir(&trash).ok().and_then(|mut dirs| dirs.next()).and_then(Result::ok);
        found.ok_or_else(|| format!("{:?}", user.history()))
    });
    assert_eq!(fs::read_to_string(kept.path().join("out.txt")).unwrap(), "mine\n");
    let mut there: Vec<_> = fs::read_dir(user.results()).unwrap().map(|entry| entry.unwrap().path()).collect();
    there.sort();
    assert_eq!(there, [trash, theirs.into()], "nothing else is left");
    world.sandbox.wait_empty();
}
