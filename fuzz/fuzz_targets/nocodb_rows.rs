//! `nocodb_rows` of the properties, for any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| aiviary_fuzz::nocodb_rows(bytes));
