//! Records of the job cache as a damaged disk may give them back: an error or a record, and a record that is written again
//! is read as the same.
#![no_main]

use actd::job::orphan::LostPost;
use actd::job::{Job, Spec};
use actd::store::record::{EventRecord, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(job) = decode::<Job>(data) {
        let again: Job = decode(&encode(&job).expect("a job can be written")).expect("and read");
        assert_eq!(again, job);
    }
    if let Ok(spec) = decode::<Spec>(data) {
        let again: Spec = decode(&encode(&spec).expect("a spec can be written")).expect("and read");
        assert_eq!(again, spec);
    }
    let _ = decode::<EventRecord>(data);
    let _ = decode::<LostPost>(data);
    let _ = decode::<Vec<String>>(data);
});
