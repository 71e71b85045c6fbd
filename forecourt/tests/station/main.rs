//! The core against a model of books and pumps: a table of every state × event, scenes by hand, and any sequence of events.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod any_sequence;
mod limits;
mod listened;
mod model;
mod prices;
mod scenes;
mod table;
