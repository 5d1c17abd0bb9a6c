//! What a client may send to the daemon's socket, in both framings of a bare connection.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| actd::rpc::fuzz_framing(data));
