//! What was owed before a restart, as it never should be in a store.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzz::with_values("owed", data));
