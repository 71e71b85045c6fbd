//! hil-sim

pub mod broker;
pub mod platform;
