//! hil-sim

pub mod bench;
pub mod broker;
pub mod platform;
pub mod rig;
