//! Completion in the real zsh (which thinks that it has a terminal) and fish: live jobs, names, batches and clusters.

use act_tests::wait::{LONG, wait_for};
use act_tests::world::World;
use act_tests::xrsl;

/// What fish offers after this line: a candidate a line, without its description.
fn fish(world: &World, line: &str) -> Vec<String> {
    let script = format!("source (actctl completions fish | psub); complete -C '{line}'");
    let ran = world.user.shell(&format!("fish --no-config -c {script:?}")).ok();
    ran.stdout.lines().map(|l| l.split('\t').next().unwrap_or_default().to_owned()).collect()
}

/// What zsh writes to its terminal when Tab is pressed twice after this line.
fn zsh(world: &World, line: &str) -> String {
    world.user.write(
        "complete.zsh",
        r#"zmodload zsh/zpty
zpty -b shell zsh -f -i
zpty -w shell 'PS1=; TERM=dumb; unsetopt zle_bracketed_paste beep; LISTMAX=0; autoload -Uz compinit && compinit -u -D'
zpty -w shell 'source <(actctl completions zsh); print -r -- "rea""dy"'
out=
until [[ $out == *ready* ]]; do zpty -r -t shell piece && out+=$piece || sleep 0.05; done
zpty -n -w shell "$1"$'\t\t'
out=
# Nothing tells when zsh has said all; what comes later, comes in time for the next try.
for i in {1..40}; do zpty -r -t shell piece && out+=$piece || sleep 0.05; done
print -r -- "$out"
"#,
    );
    let quoted = line.replace('\'', "");
    world.user.shell(&format!("timeout 60 zsh -f complete.zsh '{quoted}'")).ok().stdout
}

#[test]
fn zsh_and_fish_offer_what_there_is() {
    let world = World::ready();
    for name in ["alpha", "beta"] {
        world.user.write(&format!("{name}.xrsl"), xrsl::endless(name));
    }
    let _ = world.user.actctl(&["sub", "--batch", "greek", "alpha.xrsl", "beta.xrsl"]).ok();
    // A daemon that is busy is not waited for at a prompt: the user presses the key again.
    for (line, wanted) in [
        ("actctl ki", &["kill"][..]),
        ("actctl kill ", &["1", "2", "@greek", "alpha", "beta", "last"]),
        ("actctl kill al", &["alpha"]),
        ("actctl sub --clusterlist ", &["default", "down"]),
    ] {
        wait_for(&format!("fish: {wanted:?} after {line:?}"), LONG, || {
            let all = fish(&world, line);
            if wanted.iter().all(|w| all.iter().any(|o| o == w)) { Ok(()) } else { Err(format!("{all:?}")) }
        });
        wait_for(&format!("zsh: {wanted:?} after {line:?}"), LONG, || {
            let said = zsh(&world, line);
            let words: Vec<&str> = said.split_whitespace().collect();
            if wanted.iter().all(|w| words.contains(w)) { Ok(()) } else { Err(said) }
        });
    }
    let some = fish(&world, "actctl kill al");
    assert!(!some.iter().any(|o| o == "beta"), "{some:?}");
}
