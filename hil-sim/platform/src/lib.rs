//! A reference platform for the cloud contract, small enough to read.

pub mod contract;
pub mod page;
pub mod qr;
