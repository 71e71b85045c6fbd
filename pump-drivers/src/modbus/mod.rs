//! Modbus with profile files: register maps are data, never code.
pub mod wire;
