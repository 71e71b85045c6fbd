//! What demo, bench and whole-station tests stand on: a station's plan, the real daemon as its own process, its store as seen
//! from outside, and figures in columns.

pub mod daemon;
pub mod plan;
pub mod store;
pub mod table;
