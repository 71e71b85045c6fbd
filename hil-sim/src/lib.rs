//! Simulated dispensers, lines and customers: what the daemon is tried against without a forecourt.

pub mod customer;
pub mod dispenser;
pub mod prng;
pub mod serve;
pub mod wire;
