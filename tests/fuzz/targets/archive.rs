//! For cargo-fuzz: our reader beside another.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lowerdir_fuzz::archive::check(data));
