//! Measures reading and judging a typical description: `cargo run --release -p xrsl --example speed`.

use std::hint::black_box;
use std::time::Instant;

const TYPICAL: &str = "(* Simulation of the inner detector *)\n&(executable=\"run.sh\")\n (arguments=\"--seed=42\" \"--events=1000\" \
    \"geometry.xml\")\n (inputfiles=(\"run.sh\" \"\")\n  (\"geometry.xml\" \"data/geometry.xml\")\n  (\"events.root\" \
    \"https://dcache.example.org:2880/atlas/events.root\" \"cache=yes\"))\n (outputfiles=(\"hits.root\" \"\") (\"logs/\" \
    \"\"))\n (stdout=\"stdout.txt\")\n (join=\"yes\")\n (gmlog=\"gmlog\")\n (jobname=\"inner detector\")\n (walltime=\"12 \
    hours\")\n (cputime=\"48 hours\")\n (memory=\"2000\")\n (count=\"4\")\n (countpernode=\"4\")\n \
    (runtimeenvironment=\"ENV/PROXY\")\n (runtimeenvironment=\"APPS/HEP/ATLAS-25.0\")\n (environment=(\"OMP_NUM_THREADS\" \"4\"))\n";

fn main() {
    let rounds = 20_000;
    let context = xrsl::LintContext::default();
    let time = |what: &str, f: &dyn Fn()| {
        let start = Instant::now();
        (0..rounds).for_each(|_| f());
        println!("{what}: {:.1} µs", start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds));
    };
    time("parse", &|| drop(black_box(xrsl::parse(black_box(TYPICAL)))));
    time("parse + lint", &|| drop(black_box(xrsl::check(black_box(TYPICAL), &context))));
    time("submission", &|| drop(black_box(xrsl::submissions(black_box(TYPICAL)))));
    let broken = TYPICAL.replace("\"run.sh\")\n (arg", "\"run.sh)\n (arg").replace("walltime", "waltime");
    time("parse + lint, broken", &|| drop(black_box(xrsl::check(black_box(&broken), &context))));
}
