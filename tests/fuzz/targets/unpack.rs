//! For cargo-fuzz: layers beside a canary.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lowerdir_fuzz::unpack::check(data));
