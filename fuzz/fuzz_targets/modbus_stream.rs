//! Any bytes on a Modbus line or connection: described alike whole or cut.
#![no_main]

use forecourt_edge_fuzz::stream;
use libfuzzer_sys::fuzz_target;
use pump_drivers::protocol::Protocol;

fuzz_target!(|data: &[u8]| stream(Protocol::Modbus, data));
