//! hil-sim

pub mod bench;
pub mod broker;
pub mod demo;
pub mod platform;
pub mod rig;
