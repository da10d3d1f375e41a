#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lowerdir_fuzz::unpack::check(data));
