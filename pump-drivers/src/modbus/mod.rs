//! Modbus with profile files: register maps are data, never code.

pub mod point;
pub mod profile;
pub mod wire;
