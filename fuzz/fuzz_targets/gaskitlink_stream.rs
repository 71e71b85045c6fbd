//! Any bytes on a GasKitLink line: described alike whole or cut.
#![no_main]

use forecourt_edge_fuzz::stream;
use libfuzzer_sys::fuzz_target;
use pump_drivers::protocol::Protocol;

fuzz_target!(|data: &[u8]| stream(Protocol::GasKitLink, data));
