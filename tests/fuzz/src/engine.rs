//! The engine under any sequence of packets and events; see `lvs-common/src/host/fuzz`. With `XLVS_FUZZ_SHOW` set, an
//! input is also written out step by step.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lvs_common::host;

fuzz_target!(|data: &[u8]| {
    if std::env::var_os("XLVS_FUZZ_SHOW").is_some() {
        eprintln!("{}", host::describe(data));
    }
    host::fuzz(data);
});
