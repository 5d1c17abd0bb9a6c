//! Many jobs that share one large input through WebDAV.

use act_tests::xrsl;
use serde_json::{Value, json};

use crate::bed::{Bed, Server};
use crate::report::{Report, Row};
use crate::rows::Size;

/// Bytes of the input, for a thousand jobs.
const INPUT: usize = 20 << 20;

pub(crate) fn run(size: &Size, report: &mut Report) {
    let jobs = size.thousand;
    let input = INPUT / 1_000 * size.thousand;
    let bed = Bed::new(Server::OneWorker);
    let user = &bed.world.user;
    // Not all the same byte: nobody on the way may find it easy.
    let content: Vec<u8> = (0..input as u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    user.write("large.dat", content);
    let files: Vec<String> = (0..jobs)
        .map(|n| {
            let file = format!("{n}.xrsl");
            user.write(&file, xrsl::cat(&format!("job-{n}"), "large.dat"));
            file
        })
        .collect();
    let mut args = vec!["sub", "--webdav"];
    args.extend(files.iter().map(String::as_str));
    let cost = bed.actctl(&args);
    let journal = bed.world.sandbox.admin("GET", "/webdav/journal", None);
    let uploads: Vec<&Value> =
        journal.as_array().into_iter().flatten().filter(|entry| entry["method"] == json!("PUT")).collect();
    let sent: u64 = uploads.iter().filter_map(|entry| entry["received"].as_u64()).sum();
    report.row(Row {
        work: format!("`sub --webdav`, {jobs} jobs that share one input of {} MiB", input >> 20),
        target: "one upload".into(),
        met: Some(uploads.len() == 1 && sent == input as u64),
        ours: Some(cost),
        note: format!(
            "{} upload, {} MiB sent; one for each would be {} GiB",
            uploads.len(),
            sent >> 20,
            (input * jobs) >> 30
        ),
        ..Row::default()
    });
}
