//! Units, states and rules of a forecourt.
//!
//! Everything here is pure: events and time come in, commands come out. No clock, no I/O, no randomness of its own, so that one
//! seed replays a whole day at a station. See `docs/architecture.md`.

pub mod authorisation;
pub mod command;
mod desk;
pub mod fuelling_point;
pub mod hold;
pub mod ids;
pub mod layout;
pub mod ledger;
pub mod order;
pub mod preset;
pub mod pump;
pub mod record;
#[cfg(feature = "schema")]
mod schema;
pub mod settlement;
pub mod site;
pub mod testing;
pub mod time;
pub mod timers;
pub mod units;
