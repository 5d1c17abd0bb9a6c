//! The plugin in a real Neovim, without a screen: a mistake is shown and corrected, a word completed, the lens submits to
//! the sandbox and changes as the job ends.

use std::time::Duration;

use act_tests::World;

#[test]
fn a_day_in_neovim() {
    let world = World::ready();
    let user = &world.user;
    let text = "&(jobname=\"from-nvim\")\n (exectuable=\"/bin/sh\")\n (arguments=\"-c\" \"sleep 1; echo written by the job\")\n \
                (stdout=\"out.txt\")\n (walltime=\"5\")\n";
    user.write("job.xrsl", text);
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut nvim = user.command("nvim");
    nvim.args(["--headless", "-u", "NONE", "-i", "NONE", "-n", "--cmd", "set nocompatible"])
        .arg("--cmd")
        .arg(format!("set runtimepath^={root}/actctl/editors/nvim"))
        .args(["--cmd", "filetype plugin on", "--cmd", "runtime! plugin/actd.lua"])
        .arg("-S")
        .arg(format!("{root}/tests/peers/nvim.lua"));
    let ran = user.run(nvim, Duration::from_secs(240)).ok();
    let steps = ran.stderr.matches("ok: ").count() + ran.stdout.matches("ok: ").count();
    assert_eq!(steps, 10, "{ran}");
    assert_eq!(world.sandbox.runs_of("from-nvim"), 1);
    world.sandbox.wait_empty();
}
