//! A shell script that was written for act runs unchanged with actctl in act's place, with automatic download on and off.

use act_tests::{World, xrsl};

/// Written for act 1.0.0; only its first line, the alias, is ours.
const SCRIPT: &str = r#"
shopt -s expand_aliases
alias act=actctl

out=$(act sub a.xrsl b.xrsl c.xrsl)
echo "$out"
ids=$(echo "$out" | sed -n 's/^Inserted job .* with ID \([0-9]*\)$/\1/p')
[ "$(echo "$ids" | wc -l)" = 3 ]
for id in $ids; do
    tries=0
    while ! act stat -s done -i "$id" | grep -q " done"; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || { echo "job $id does not end"; exit 1; }
        sleep 0.1
    done
done
act stat --client id,jobname --arc arcstate
for id in $ids; do
    dir=$(act get -i "$id" | sed -n 's/^Results for job .* stored in \(.*\)$/\1/p')
    cat "$dir/out.txt"
done
act stat
act sub d.xrsl > /dev/null
id=$(act stat -n dropped --client id --arc "" | tail -n 1 | tr -d ' ')
while ! act stat -s done -i "$id" | grep -q done; do sleep 0.1; done
act clean -i "$id"
[ -z "$(act stat)" ]
"#;

fn runs(settings: &[&str]) {
    let world = World::ready_with(&[], settings);
    let user = &world.user;
    for name in ["a", "b", "c"] {
        user.write(&format!("{name}.txt"), format!("input of {name}\n"));
        user.write(&format!("{name}.xrsl"), xrsl::cat(name, &format!("{name}.txt")));
    }
    user.write("d.xrsl", xrsl::shell("dropped", "true"));
    let ran = user.shell(SCRIPT).ok();
    assert_eq!(
        ran.stdout,
        "Inserted job a with ID 1\nInserted job b with ID 2\nInserted job c with ID 3\n\
         id jobname arcstate \n-------------------\n1  a       done     \n2  b       done     \n3  c       done     \n\
         input of a\ninput of b\ninput of c\nCleaned 1 jobs\n"
    );
    world.sandbox.wait_empty();
    for name in ["a", "b", "c", "dropped"] {
        assert_eq!(world.sandbox.runs_of(name), 1);
    }
}

#[test]
fn with_automatic_download() {
    runs(&[]);
}

#[test]
fn without_automatic_download() {
    runs(&["download: manual"]);
}

#[test]
fn a_link_named_act_is_enough() {
    let world = World::ready();
    let user = &world.user;
    std::os::unix::fs::symlink(act_tests::bins::program("actctl"), user.root().join("act")).unwrap();
    let ran = user.shell("PATH=..:$PATH; act info | head -n 1; act --help").ok();
    assert!(ran.stdout.starts_with(&format!("aCT server URL: {}\n", world.sandbox.info().server)), "{ran}");
    assert!(ran.stdout.contains("Usage: act"), "{ran}");
}
