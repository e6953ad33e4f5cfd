//! Any bytes, for the decoder that the first of them names.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| landbridge_tests::fuzz::decode(input));
