//! Simulated dispensers, lines, customers, broker and platform: what the daemon is tried against without a forecourt.

pub mod bench;
pub mod broker;
pub mod customer;
pub mod day;
pub mod demo;
pub mod dispenser;
pub mod platform;
pub mod prng;
pub mod rig;
pub mod rigs;
pub mod scenes;
pub mod script;
pub mod serve;
pub mod wire;
