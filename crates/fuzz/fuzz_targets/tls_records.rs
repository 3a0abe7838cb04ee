#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| derp_tls::fuzz_records::records(data));
