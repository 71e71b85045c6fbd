//! The contract as a platform reads it, written from its text alone.
//!
//! Shares no code with `cloud-sync`, so that one misreading cannot hide the other. The simulator's test driver and the
//! reference platform stand on this one implementation.

pub mod chain;
pub mod command;
pub mod envelope;
pub mod fake_station;
pub mod keys;
pub mod message;
mod strict;
