//! hil-sim

pub mod broker;
pub mod platform;
pub mod rig;
