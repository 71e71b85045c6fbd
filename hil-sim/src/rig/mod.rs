//! What demo, bench and whole-station tests stand on: a station's plan, its simulated dispensers and customers, the real daemon
//! as its own process, its store as seen from outside, and figures in columns.

pub mod bus;
pub mod daemon;
pub mod lone_line;
pub mod page;
pub mod people;
pub mod plan;
pub mod pumps;
pub mod stage;
pub mod store;
pub mod table;
pub mod town;
pub mod workshop;
