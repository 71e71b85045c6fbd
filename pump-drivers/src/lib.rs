//! Dispenser protocols and the scheduler that owns one wire.
//!
//! All is pure but [`port`]: bytes, commands and time come in; bytes and events go out. A [`line::Line`] owns one wire and asks
//! a [`driver::Driver`] for each device on it what to say next. See `docs/architecture.md`.

pub mod contact;
pub mod dart;
pub mod decimals;
pub mod driver;
pub mod gaskitlink;
pub mod head;
pub mod hex;
pub mod line;
pub mod listen;
pub mod modbus;
pub mod port;
pub mod probe;
pub mod protocol;
pub mod told;
pub mod two_wire;
