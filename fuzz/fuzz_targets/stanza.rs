//! Stanzas, as no parser would make them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzz::with_values("stanza", data));
