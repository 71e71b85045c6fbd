//! The daemon of a station: configuration, store, line trace and command line.

pub mod config;
pub mod ctl;
pub mod daemon;
pub mod enrol;
pub mod store;
pub mod trace;
