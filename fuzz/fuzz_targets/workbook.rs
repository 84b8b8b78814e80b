#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| insyn_fuzz::body("workbook")(data));
