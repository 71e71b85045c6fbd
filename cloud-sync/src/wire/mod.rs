//! Messages of the cloud contract, version 1: bytes in, types out, and back.

pub mod chain;
pub mod envelope;
pub mod records;
pub mod reply;
pub mod strict;
