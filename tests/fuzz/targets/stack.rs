//! For cargo-fuzz: layers together beside the model.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lowerdir_fuzz::stack::check(data));
