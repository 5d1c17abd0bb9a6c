//! `get` of one large file, with checksum and fsync, against `curl` and `sync`.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde_json::json;

use crate::bed::{Bed, Server};
use crate::measure::medians;
use crate::report::{Report, Row};
use crate::rows::Size;

pub(crate) fn run(size: &Size, report: &mut Report) {
    let bed = Bed::new(Server::OneWorker);
    let user = &bed.world.user;
    let python = bed.python();
    let original = bed.world.scratch.path().join("large.bin");
    write(&original, size.large);
    let seed = |name: &str| {
        let ids = bed.seed(&json!({"count": 1, "arcstate": "done", "name": name, "files": {"large.bin": "x"}}));
        let rows = bed.world.sandbox.jobs();
        let row = rows.iter().find(|row| row.id == ids[0]).expect("the row");
        let run = row.job_id.as_deref().and_then(|url| url.rsplit('/').next()).expect("a run").to_owned();
        let place = bed.world.sandbox.info().dir.join("act/tmp").join(run).join("large.bin");
        fs::remove_file(&place).expect("the small one can go");
        fs::hard_link(&original, place).expect("the large one can take its place");
        ids[0]
    };
    let (mut ours, mut act, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    let token = fs::read_to_string(user.token()).expect("a token");
    for round in 0..size.rounds {
        let name = |who: &str| format!("{who}{round}x");
        let id = seed(&name("raw"));
        let url = format!("{}/jobs/{id}/results/large.bin", bed.world.sandbox.info().server);
        let mut curl = user.command("bash");
        curl.args(["-euc", "curl -sf -H \"Authorization: Bearer $1\" -o \"$2\" \"$3\"; sync \"$2\"", "-"]);
        curl.args([token.trim(), &format!("{round}.bin"), &url]);
        raw.push(bed.other(curl));
        seed(&name("act"));
        act.push(bed.act(&python, &["get", "-n", &name("act")]));
        bed.expect_results(1);
        seed(&name("ours"));
        bed.list_anew();
        ours.push(bed.actctl(&["get", "-n", &name("ours")]));
        bed.expect_results(1);
    }
    let (ours, act, raw) = (medians(&ours), medians(&act), medians(&raw));
    report.row(Row {
        work: format!("`get`, one file of {} MB, with sha256 and fsync", size.large / 1_000_000),
        target: "1.3 times curl and sync, 64 MiB of memory".into(),
        met: Some(ours.ms <= raw.ms * 1.3 && ours.peak_mib < 64.0),
        ours: Some(ours),
        act: Some(act),
        raw: Some(raw),
        note: String::new(),
    });
}

fn write(path: &Path, bytes: u64) {
    let mut file = fs::File::create(path).expect("a large file");
    let mut state = 1_u64;
    let mut piece = vec![0_u8; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        for byte in &mut piece {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
        let now = left.min(piece.len() as u64);
        file.write_all(&piece[..now as usize]).expect("room");
        left -= now;
    }
    file.sync_all().expect("room");
}
