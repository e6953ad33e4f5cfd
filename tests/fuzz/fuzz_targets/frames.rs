//! A frame drawn from a seed, and changed.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| landbridge_tests::fuzz::frames::run(input));
