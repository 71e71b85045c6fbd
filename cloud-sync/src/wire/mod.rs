//! Messages of the cloud contract, version 1: bytes in, types out, and back.

pub mod chain;
pub mod command;
mod content;
pub mod envelope;
pub mod jws;
mod lists;
mod prices;
pub mod records;
pub mod reply;
pub mod state;
pub mod strict;
