//! Dispenser protocols and the scheduler that owns one wire.
pub mod dart;
