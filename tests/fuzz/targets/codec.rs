//! For cargo-fuzz: our decoders beside others.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lowerdir_fuzz::codec::check(data));
