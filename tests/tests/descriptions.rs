//! Job descriptions from the user's side: sweeps, checking, mending, laying out.

use act_tests::world::World;

const SWEPT: &str = "&(executable=\"/bin/sh\")(arguments=\"-c\" \"echo got $1 $2\" \"sh\" $(i) $(what))(stdout=\"out.txt\")\
    (walltime=\"5\")(jobname=\"sweep\")\n";

#[test]
fn the_daemon_finds_the_mistakes_that_check_finds() {
    use act_proto::method::XrslCheck;
    use act_proto::xrsl::CheckParams;
    let world = World::ready();
    let user = &world.user;
    let texts = [
        "&(executable=/bin/true)(inputfiles=(a.txt \"\"))(walltime=5)(jobname=x)",
        "&(executable=/bin/true)\n(nosuch=1)\n(walltime=",
        "+(&(executable=/bin/true))(&(executable=/bin/false))",
        "",
    ];
    for text in texts {
        user.write("a.xrsl", text);
        let checked = &user.actctl(&["check", "--json", "a.xrsl"]).json()["items"][0];
        let base_dir = Some(user.work().display().to_string());
        let told = user.call::<XrslCheck>(&CheckParams { text: text.into(), base_dir }).expect("it answers");
        assert_eq!((told.accepted, told.jobs as u64), (checked["accepted"] == true, checked["jobs"].as_u64().unwrap()));
        let codes: Vec<_> =
            told.diagnostics.iter().map(|d| (d.code.as_str(), u64::from(d.line), u64::from(d.column))).collect();
        let found: Vec<_> = checked["diagnostics"].as_array().unwrap().iter().collect();
        let found: Vec<_> = found
            .iter()
            .map(|d| {
                (
                    d["code"].as_str().unwrap(),
                    d["start"]["line"].as_u64().unwrap(),
                    d["start"]["column"].as_u64().unwrap(),
                )
            })
            .collect();
        assert_eq!(codes, found, "{text}");
    }
    assert!(world.sandbox.journal("POST", "/jobs").is_empty());
}

#[test]
fn each_row_of_a_file_is_a_job() {
    let world = World::ready();
    world.user.write("job.xrsl", SWEPT);
    world.user.write("params.csv", "i,what\n1,\"a, b\"\n2,c\n");
    let ran = world.user.actctl(&["sub", "job.xrsl", "--each", "params.csv"]).ok();
    let said = ran.stdout;
    assert!(said.contains("Inserted job sweep-1 with ID") && said.contains("Inserted job sweep-2-c with ID"), "{said}");
    let _ = world.user.actctl(&["wait", "-a"]).ok();
    for (name, want) in [("sweep-1", "got 1 a, b\n"), ("sweep-2-c", "got 2 c\n")] {
        let job = world.user.wait_job(name, "results", |j| j.results.is_some());
        let out = std::fs::read_to_string(std::path::Path::new(&job.results.unwrap_or_default()).join("out.txt"));
        assert_eq!(out.unwrap_or_else(|e| format!("{name}: {e}")), want);
    }
}

#[test]
fn a_sweep_that_uses_no_column_sends_nothing() {
    let world = World::ready();
    world.user.write("job.xrsl", "&(executable=/bin/true)(walltime=5)");
    let ran = world.user.actctl(&["sub", "job.xrsl", "--range", "i=0..9"]).exits(4);
    assert!((ran.stdout + &ran.stderr).contains("none of the variables i"));
    std::fs::write(world.user.work().join("latin1.xrsl"), b"&(executable=/bin/true)(jobname=\"caf\xe9\")").unwrap();
    let ran = world.user.actctl(&["sub", "latin1.xrsl"]).exits(4);
    assert!(ran.stdout.contains("not UTF-8"), "{ran}");
    assert!(world.sandbox.jobs().is_empty());
}

#[test]
fn checking_needs_no_daemon() {
    let world = World::new();
    world.user.write("bad.xrsl", "&(executable=/bin/true)(walltime=\"01:30:00\")(arguments=--n=10)");
    let found = world.user.actctl(&["check", "--format", "gcc", "bad.xrsl"]).exits(4).stdout;
    assert_eq!(found.lines().count(), 2, "{found}");
    let _ = world.user.actctl(&["check", "--canonical", "bad.xrsl"]).exits(4);
    let _ = world.user.actctl(&["check", "--fix", "bad.xrsl"]).ok();
    let want = "&(executable=/bin/true)(walltime=\"90 minutes\")(arguments=\"--n=10\")";
    assert_eq!(world.user.read("bad.xrsl"), want);
    let jobs = world.user.actctl(&["check", "--canonical", "bad.xrsl"]).ok().json();
    assert_eq!(jobs.as_array().map(Vec::len), Some(1));
    let _ = world.user.actctl(&["fmt", "--check", "bad.xrsl"]).exits(1);
    let _ = world.user.actctl(&["fmt", "bad.xrsl"]).ok();
    let _ = world.user.actctl(&["fmt", "--check", "bad.xrsl"]).ok();
    assert!(world.user.daemon_pid().is_none());
}
